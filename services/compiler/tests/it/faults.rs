//! Faults planted into a project that has none. Each is found, at its place, and nothing else.

use std::collections::BTreeMap;

use crate::{
    planted::{FAULTS, MORE, PROJECT, planted},
    support::{brief, compile, request},
};

#[test]
fn a_project_without_faults_has_no_finding() {
    let answer = compile(request(PROJECT));
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    assert!(answer.page.contains("importmap"));
}

#[test]
fn every_planted_fault_is_found_at_its_place() {
    let mut wrong = BTreeMap::new();
    for (name, file, from, to, expected) in FAULTS.iter().chain(MORE) {
        let files = planted(file, from, to);
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let answer = compile(request(&files));
        let found = brief(&answer.findings);
        let is_first = found.first().is_some_and(|found| found.starts_with(expected));
        let is_right = if expected.is_empty() { found.is_empty() } else { is_first && found.len() == 1 };
        let has_frame = answer.findings.iter().all(|found| found.frame.contains('^') && !found.message.is_empty());
        let loads = |found: &compiler_client::message::Finding| found.is_warning || found.code == "UNDEFINED_NAME";
        let blocks = answer.findings.iter().all(loads) != answer.page.is_empty();
        if !is_right || !has_frame || !blocks {
            wrong.insert(*name, found);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_of_tools_may_use_what_comes_later() {
    let with = |files: &[(&'static str, &'static str)]| brief(&compile(request(&[PROJECT, files].concat())).findings);
    let server = ("server.js", "const { render } = await import('./dist/server/entry-server.js');\nrender();\n");
    let tool =
        ("eslint.config.js", "import globals from 'globals';\nexport default [{ languageOptions: { globals: globals.browser } }];\n");
    assert_eq!(with(&[server, tool]), Vec::<String>::new());
    let files = [("server.js", "import('./server/dist/entry.js');\n"), ("src/eslint.config.js", "import 'globals';\n")];
    assert_eq!(with(&files), ["UNRESOLVED_IMPORT server.js:1:8", "MISSING_PACKAGE src/eslint.config.js:1:8"]);
    let reached = planted("src/App.tsx", "./lib/format", "../dist/format");
    let reached: Vec<_> = reached.iter().map(|(path, text)| (*path, text.as_str())).collect();
    assert_eq!(brief(&compile(request(&reached)).findings), ["UNRESOLVED_IMPORT src/App.tsx:3:23"]);
}
