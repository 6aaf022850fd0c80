use super::{tools::READING, *};
use crate::{model::front_matter::MAX_DESCRIPTION, workspace::tools::catalogue::NAMES};

fn read(text: &str) -> Result<Parsed, String> {
    parse("x", text)
}

#[test]
fn a_valid_file_is_parsed() {
    let text = "---\nname: a-1\ndescription: >-\n  Two\n  lines\ncategory: games\ntags: [one, two]\nmodel: anthropic/claude\n\
                tools: Read, Edit, grep\nexamples:\n  - First, please\n  - Second\nversion: 1.0.0\n---\n\n# Body\n---\nmore\n";
    let Parsed { agent, notes } = read(text).expect("a valid file");
    assert_eq!((agent.name.as_str(), agent.description.as_str(), agent.body.as_str()), ("a-1", "Two lines", "# Body\n---\nmore"));
    assert_eq!((agent.category.as_str(), agent.tags.join(" ").as_str()), ("games", "one two"));
    assert_eq!(agent.examples, ["First, please", "Second"]);
    assert_eq!(agent.model, Model::Named("anthropic/claude".to_owned()));
    assert_eq!(agent.tools, ["read_file", "search", "edit_file"]);
    assert_eq!((agent.version.len(), notes), (32, Vec::new()));
    assert_eq!(read(&text.replace('\n', "\r\n")).expect("a valid file").agent, agent);
    assert_ne!(read(&text.replace("more", "less")).expect("a valid file").agent.version, agent.version);
    let plain = read("---\nname: b\ndescription: d\nmodel: inherit\n---\nx").expect("a valid file").agent;
    assert_eq!((plain.model, plain.tools.len()), (Model::Default, NAMES.len()));
}

#[test]
fn a_file_without_instructions_is_refused() {
    for (text, problem) in [
        ("", "does not begin"),
        ("# Title", "does not begin"),
        ("---\nname: a\n", "is not between"),
        ("---\nname: a\ndescription: d\n---\n \n", "no text"),
        ("---\nname: a\ndescription: d\n---", "no text"),
        ("---\nname: \u{4f60}\ndescription: d\n---\nx", "has no letter"),
        ("---\nname: select\ndescription: d\n---\nx", "is reserved"),
        ("---\nname: a\ndescription: d\n---\nx\0y", "has control characters"),
    ] {
        let found = read(text).expect_err(text);
        assert!(found.contains(problem), "{text:?}: {found}");
    }
}

#[test]
fn foreign_files_are_taken_as_far_as_they_go() {
    for (text, expected, note) in [
        ("---\nname: A Big_Name!\ndescription: d\n---\nx", "a-big-name d 8", "becomes \"a-big-name\""),
        ("---\ndescription: d\n---\nx", "x d 8", "its file names it \"x\""),
        ("---\nname: a\n---\n# Title\n\nFirst words.\n\nMore.", "a First words. 8", "the first paragraph"),
        ("---\nname: a\ndescription: use this: always\nhint: \"x\n---\nx", "a use this: always 8", "is not YAML"),
        ("---\nname: a\ndescription: d\ncolor: red\nhooks: {a: b}\n---\nx", "a d 8", "ignores color, hooks"),
        ("---\nname: a\ndescription: d\ntools: [Bash, Read]\n---\nx", "a d 1", "ignores the tools bash"),
        ("---\nname: a\ndescription: d\ntools: [Bash]\n---\nx", "a d 3", "it gets list_files, read_file, search"),
        ("---\nname: a\ndescription: d\ntools:\n  write: true\n  edit: false\n---\nx", "a d 1", ""),
        ("---\nname: a\ndescription: d\ntools: {bash: false, write: false}\n---\nx", "a d 7", "does not have: bash"),
        ("---\nname: a\ndescription: d\ndisallowedTools: Write, Edit\n---\nx", "a d 6", ""),
        ("---\nname: a\ndescription: d\ntools: Read, Bash(npm:*, git:*), Edit\n---\nx", "a d 2", "ignores the tools bash"),
        ("---\nname: a\ndescription: d\nbase: &base [1]\nmore: *base\n---\nx", "a d 8", "has anchors"),
        ("---\nname: a\ndescription: d\ntags: [\"x\\0y\", \"two\\nlines\"]\n---\nx", "a d 8", ""),
        ("---\nname: a\ndescription: d\ntools: '*'\n---\nx", "a d 8", ""),
        ("---\nname: a\ndescription: d\ntools: 7\n---\nx", "a d 3", "ignores the tools 7"),
        ("---\nname: a\ndescription: d\nmodel: gpt\n---\nx", "a d 8", "its model \"gpt\""),
        ("---\nname: 12\ndescription: 3\n---\nx", "12 3 8", ""),
    ] {
        let Parsed { agent, notes } = read(text).expect(text);
        assert_eq!(format!("{} {} {}", agent.name, agent.description, agent.tools.len()), expected, "{text:?}");
        let found = notes.join("; ");
        assert_eq!(found.is_empty(), note.is_empty(), "{text:?}: {found}");
        assert!(found.contains(note), "{text:?}: {found}");
    }
    let long = read(&format!("---\nname: {}\ndescription: {}\n---\nx", "n".repeat(99), "d ".repeat(2_000))).expect("a long file");
    assert_eq!((long.agent.name.len(), long.agent.description.chars().count(), long.notes.len()), (MAX_NAME, MAX_DESCRIPTION, 2));
    for (class, model) in [("haiku", Model::Small), ("sonnet", Model::Default), ("opus", Model::Large), ("small", Model::Small)] {
        assert_eq!(read(&format!("---\nname: a\ndescription: d\nmodel: {class}\n---\nx")).expect(class).agent.model, model);
    }
}

#[test]
fn restrictions_that_cannot_be_read_leave_the_tools_that_read() {
    // A line that is no YAML, so that the front matter is read line by line.
    let broken = "hint: \"x\n";
    for (fields, tools, note) in [
        ("tools: []".to_owned(), &[][..], ""),
        ("tools: [Bash]".to_owned(), &READING, "has none of the tools"),
        ("tools:".to_owned(), &READING, "cannot be read"),
        ("tools: Read Edit".to_owned(), &["read_file", "edit_file"], ""),
        ("tools: [\"Read, Edit\"]".to_owned(), &["read_file", "edit_file"], ""),
        ("disallowedTools: [Writ, Bash]".to_owned(), &NAMES, "denies tools that Backlot does not have: writ, bash"),
        ("disallowedTools: '*'".to_owned(), &[], ""),
        ("disallowedTools: [All]".to_owned(), &[], ""),
        ("disallowedTools: ['*_file', ls, check]".to_owned(), &["search"], ""),
        ("disallowedTools: ['*****x*x*']".to_owned(), &NAMES, "does not have: *****x*x*"),
        ("disallowedTools: [{Write: true}]".to_owned(), &READING, "cannot be read"),
        (format!("{broken}disallowedTools:\n  - '*_file'\n  - Edit"), &["list_files", "search", "check"], "is not YAML"),
        (format!("{broken}disallowedTools: *base"), &READING, "cannot be read"),
        ("tools: [search, edit_file]\ntools: [edit_file]".to_owned(), &[], "cannot be read"),
    ] {
        let Parsed { agent, notes } = read(&format!("---\nname: a\ndescription: d\n{fields}\n---\nx")).expect(&fields);
        let found = notes.join("; ");
        assert_eq!(agent.tools, tools, "{fields}: {found}");
        assert!(found.contains(note) && found.is_empty() == note.is_empty(), "{fields}: {found}");
    }
}
