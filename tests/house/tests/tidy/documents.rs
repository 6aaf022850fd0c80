//! Documents, comments and the Makefile.

use std::{collections::BTreeSet, fs};

use house::{
    root,
    source::{File, files, names, sources},
};

const MAX_TARGETS: usize = 13;

#[test]
fn every_library_describes_its_modules() {
    for file in sources().into_iter().filter(|file| file.path.ends_with("src/lib.rs")) {
        assert!(file.text.starts_with("//! "), "{}: no comment at the beginning", file.path);
    }
}

#[test]
fn makefile_targets_have_a_help_text_and_one_line() {
    let text = fs::read_to_string(root().join("Makefile")).expect("Makefile");
    let targets: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .collect();
    assert!((1..=MAX_TARGETS).contains(&targets.len()), "{targets:?}");
    let phony = text.lines().find_map(|line| line.strip_prefix(".PHONY: ")).expect(".PHONY");
    let named: BTreeSet<_> = phony.split_whitespace().collect();
    assert_eq!(named, targets.iter().map(|(name, _)| *name).collect(), ".PHONY lists all targets");
    assert!(targets.iter().all(|(_, rest)| rest.contains("## ")), "a target without a help text: {targets:?}");
    let recipes = text.lines().filter(|line| line.starts_with('\t')).count();
    assert!(recipes <= targets.len(), "a target with more than one line needs a script in deploy/scripts");
}

#[test]
fn no_comment_is_a_todo() {
    for file in sources() {
        for (at, line) in file.text.lines().enumerate() {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            let is_todo = ["TODO", "FIXME", "XXX", "HACK"].iter().any(|word| names(comment, word));
            assert!(!is_todo, "{}:{}: {}", file.path, at + 1, line.trim());
        }
    }
}

#[test]
fn links_in_documents_are_valid() {
    let documents = files(|path| path.ends_with(".md") && (!path.contains('/') || path.starts_with("docs/")));
    assert!(documents.len() > 10, "only {} documents were found", documents.len());
    for File { path: name, text } in &documents {
        let folder = root().join(name).parent().expect("a folder").to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            if path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            let linked = if path.is_empty() { root().join(name) } else { folder.join(path) };
            assert!(linked.exists(), "{name} links to {target}");
            let headings = || fs::read_to_string(&linked).unwrap_or_default().lines().filter_map(anchor).collect::<Vec<_>>();
            assert!(fragment.is_empty() || headings().iter().any(|heading| heading == fragment), "{name} links to {target}");
        }
    }
}

/// Whether the row of the table has each of the fields, as JSON spells it.
fn has_fields(row: &str, message: &str) -> bool {
    let fields = message.lines().map(str::trim).filter(|line| !line.starts_with("//")).filter_map(|line| line.split_once(" = "));
    let names = fields.filter_map(|(declared, _)| declared.split(' ').next_back());
    names.into_iter().all(|name| {
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        let json = words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..]);
        row.contains(&format!("`{json}`"))
    })
}

#[test]
fn the_table_of_events_has_every_type_with_its_fields() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let (contract, page) = (read("proto/backlot/agent_streaming/v1/event.proto"), read("docs/api.md"));
    let kinds = contract.split_once("oneof kind {").and_then(|(_, rest)| rest.split_once('}')).expect("the kinds of events").0;
    let kinds: Vec<_> = kinds.lines().filter_map(|line| line.trim().split_once(' ')).collect();
    assert!(kinds.len() > 25, "{kinds:?}");
    for (message, field) in kinds {
        let kind = field.split(' ').next().unwrap_or_default().replacen('_', ".", 1);
        let row = page.lines().find(|line| line.starts_with(&format!("| `{kind}` |"))).unwrap_or_else(|| panic!("no row for {kind}"));
        let body =
            contract.split_once(&format!("message {message} {{\n")).map_or("", |(_, rest)| rest.split("\n}").next().unwrap_or_default());
        assert!(has_fields(row, body), "docs/api.md: {row} lacks a field of {message}");
    }
}

#[test]
fn every_rpc_that_starts_a_session_is_a_documented_way_to_get_access() {
    let of_auth = files(|path| path.starts_with("proto/backlot/auth/") && path.ends_with(".proto"));
    let contract: String = of_auth.into_iter().map(|file| file.text).collect();
    let page = fs::read_to_string(root().join("docs/security.md")).expect("docs/security.md");
    let ways = page.split_once("### Ways to get access\n").and_then(|(_, rest)| rest.split("\n### ").next()).expect("the section");
    let has_secret = |answer: &str| {
        let body =
            contract.split_once(&format!("message {answer} {{\n")).map_or("", |(_, rest)| rest.split("\n}").next().unwrap_or_default());
        body.contains(" session_token = ")
    };
    let starting: Vec<_> = contract
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.trim_start().strip_prefix("rpc ")?.split_once('(')?;
            let answer = rest.split_once("returns (")?.1.split(')').next()?;
            has_secret(answer).then_some(name)
        })
        .collect();
    assert!(starting.len() >= 9, "{starting:?}");
    let missing: Vec<_> = starting.into_iter().filter(|name| !ways.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/security.md, Ways to get access: {missing:?}");
}

/// The anchor that GitHub generates for a heading; `None` for other lines.
fn anchor(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
}
