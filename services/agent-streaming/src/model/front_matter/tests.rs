use super::*;

#[test]
fn a_file_is_split_where_its_front_matter_ends() {
    for (text, front, body) in [
        ("---\na: b\n---\nx", "a: b\n", "x"),
        ("---\na: b\n---", "a: b\n", ""),
        ("---\n---\nx", "", "x"),
        ("\u{feff}\n --- \t\na: b\n---  \n\nx\n---\ny\n", "a: b\n", "x\n---\ny"),
        ("---\r\na: b\r\n---\r\nx\r\ny", "a: b\n", "x\ny"),
        ("---\ra: b\r---\rx\ry", "a: b\n", "x\ny"),
        ("---\na: b\n---\u{c}\nx\u{c}y", "a: b\n", "x\u{c}y"),
        ("\0---\na: b\n---\nx\0y", "a: b\n", "x\0y"),
    ] {
        assert_eq!(split(text), Ok((front.to_owned(), body.to_owned())), "{text:?}");
    }
    for text in ["", "x", "# Title\n---\na: b\n---\n", "----\na: b\n---\n", "---a: b\n---\n"] {
        assert_eq!(split(text), Err(NoFrontMatter::Absent), "{text:?}");
    }
    for text in ["---", "---\na: b\n", "---\na: b\n ---\nx", "--- a: b\n---\nx", "---\na: b\n----\nx"] {
        assert_eq!(split(text), Err(NoFrontMatter::Broken), "{text:?}");
    }
}

#[test]
fn every_text_is_one_line_without_control_characters() {
    let text = "name: \" a\\0b \"\ndescription: \"two\\nlines\\u0007\"\ncategory: \"x\\0y\"\nmodel: \"openai/x\\0\"\n\
                tags: [\"t\\0\", \"\\0\"]\nexamples: [\"e\\n\\0f\"]";
    let mut notes = Vec::new();
    let front = FrontMatter::read(text, &mut notes);
    let texts = [front.name, front.description, front.category, front.model].map(Option::unwrap_or_default);
    assert_eq!(texts, ["a b", "two lines", "x y", "openai/x"]);
    assert_eq!((front.tags, front.examples, notes), (vec!["t".to_owned()], vec!["e f".to_owned()], Vec::new()));
}

#[test]
fn control_characters_are_found() {
    for (text, is_valid) in
        [("a\tb\r\nc\rd", true), ("\u{feff}é\u{2028}", true), ("a\0", false), ("\u{1b}[1m", false), ("\u{c}", false), ("\u{9b}", false)]
    {
        assert_eq!(check_characters(text).is_ok(), is_valid, "{text:?}");
    }
}

/// A front matter, the tools that it allows and denies, and whether a part of that cannot be read.
type Case = (String, Option<&'static [&'static str]>, &'static [&'static str], bool);

fn rules_of_tools() -> Vec<Case> {
    // A line that is no YAML, so that the text is read line by line.
    let broken = "hint: \"x\n";
    vec![
        (String::new(), None, &[], false),
        ("# none".to_owned(), None, &[], false),
        ("tools: []".to_owned(), Some(&[]), &[], false),
        ("tools: {}".to_owned(), Some(&[]), &[], false),
        ("tools:".to_owned(), None, &[], true),
        ("tools: ''".to_owned(), None, &[], true),
        ("tools: true".to_owned(), None, &[], true),
        ("tools: !x [read]".to_owned(), None, &[], true),
        ("tools: [read, [edit]]".to_owned(), None, &[], true),
        ("tools: {read: true, edit: deny, write: 'yes'}".to_owned(), Some(&["read", "write"]), &["edit"], false),
        ("tools: {read: , search: }".to_owned(), Some(&["read", "search"]), &[], false),
        ("tools: {bash: false}".to_owned(), None, &["bash"], false),
        ("tools: {bash: ask, edit: off}".to_owned(), None, &["bash", "edit"], false),
        ("tools: {a: b}".to_owned(), None, &[], true),
        ("tools: {read: true, edit: {allow: '*.md'}}".to_owned(), Some(&["read"]), &[], true),
        ("tools: {'*': false}".to_owned(), Some(&[]), &[], false),
        ("tools: {'*': false, read: true}".to_owned(), Some(&["read"]), &[], false),
        ("tools: {[a]: false}".to_owned(), None, &[], true),
        ("disallowedTools:".to_owned(), None, &[], true),
        ("disallowedTools: ~".to_owned(), None, &[], true),
        ("disallowedTools: ''".to_owned(), None, &[], true),
        ("disallowedTools: []".to_owned(), None, &[], false),
        ("- tools: [read_file]".to_owned(), None, &[], true),
        ("- tools:\n  - read_file".to_owned(), None, &[], true),
        ("&t tools: [read_file]".to_owned(), None, &[], true),
        ("!x tools: [read_file]".to_owned(), None, &[], true),
        ("<<: {tools: [read_file]}".to_owned(), None, &[], true),
        ("x: y\n{tools: [read_file]}".to_owned(), None, &[], true),
        ("%YAML 1.1".to_owned(), None, &[], true),
        (format!("{broken}? tools\n: [read_file]"), None, &[], true),
        (format!("{broken}\"\\x74ools\": [read_file]"), None, &[], true),
        (format!("{broken}description: use these tools: all"), None, &[], false),
        ("disallowedTools: [edit, 7]".to_owned(), None, &["edit", "7"], false),
        ("disallowedTools: [edit, {a: b}]".to_owned(), None, &[], true),
        ("disallowedTools: {edit: true}".to_owned(), None, &[], true),
        ("disallowedTools: true".to_owned(), None, &[], true),
        ("disallowedTools: 'Bash(npm, edit'".to_owned(), None, &["Bash(npm, edit"], true),
        (format!("{broken}tools: []"), Some(&[]), &[], false),
        (format!("{broken}tools: [read,\n  edit]"), Some(&["[read, edit]"]), &[], false),
        (format!("{broken}disallowedTools:\n  - Write\n  # no\n\n- \"Edit\" # no"), None, &["Write", "Edit"], false),
        (format!("{broken}disallowedTools: [Write,\n  Edit] # no"), None, &["[Write, Edit]"], false),
        (format!("{broken}  'disallowedTools' : Write"), None, &["Write"], false),
        (format!("{broken}disallowedTools: Bash(git add *), *"), None, &["Bash(git add *), *"], false),
        (format!("{broken}disallowedTools: *base"), None, &["*base"], true),
        (format!("{broken}disallowedTools: &base [Write]"), None, &["&base [Write]"], true),
        (format!("{broken}disallowedTools: >\n  Write"), None, &["> Write"], true),
        (format!("{broken}disallowedTools:\n  Write: true"), None, &["Write: true"], true),
        (format!("{broken}? disallowedTools\n: [Write]"), None, &[], true),
        (format!("{{disallowedTools: [Write], {broken}"), None, &[], true),
        (format!("tools: [read]\n{}disallowedTools: Write", "a: b\n".repeat(7_000)), Some(&["[read]"]), &[], true),
        ("tools: [read]\ntools: '*'".to_owned(), Some(&["'*'"]), &[], true),
        ("disallowedTools: Write\ndisallowedTools: Edit".to_owned(), None, &["Edit"], true),
    ]
}

#[test]
fn what_cannot_be_read_of_tools_is_said() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (text, allowed, denied, is_unreadable) in rules_of_tools() {
        let rules = FrontMatter::read(&text, &mut Vec::new()).tools;
        assert_eq!(rules, ToolRules { allowed: allowed.map(names), denied: names(denied), is_unreadable }, "{text}");
        assert_eq!(rules.narrows(), allowed.is_some() || !denied.is_empty() || is_unreadable, "{text}");
    }
}

#[test]
fn text_that_is_not_yaml_is_read_line_by_line() {
    let text = "name: a\ndescription: use this: always\nhint: \"x\ntags:\n  - one\n  - 'two'\nexamples:\n- First, please\nother: 1";
    let mut notes = Vec::new();
    let front = FrontMatter::read(text, &mut notes);
    assert_eq!((front.name.as_deref(), front.description.as_deref()), (Some("a"), Some("use this: always")));
    assert_eq!((front.tags.join(" "), front.examples.join("; ")), ("one two".to_owned(), "First, please".to_owned()));
    assert_eq!(front.tools, ToolRules::default());
    assert!(notes[0].contains("is not YAML") && notes[1] == "ignores hint, other", "{notes:?}");
    for (text, problem) in [
        ("a: &a [1]", "has anchors"),
        ("a: &_a [1]", "has anchors"),
        ("a: &-a [1]", "has anchors"),
        ("{\"a\":&a [1]}", "has anchors"),
        (&format!("name: {}", "x".repeat(40_000)), "has more than 32768 bytes"),
        ("[a]", "is not YAML"),
    ] {
        let mut notes = Vec::new();
        FrontMatter::read(text, &mut notes);
        assert!(notes[0].contains(problem), "{notes:?}");
    }
}
