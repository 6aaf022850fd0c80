//! Faults planted into a project that has none. Each is found, at its place, and nothing else.

use std::collections::BTreeMap;

use compiler_client::message::{Answer, Finding, Package, Request};

use crate::{
    planted::{FAULTS, Fault, MORE, PROJECT, planted},
    support::{answer, brief, code, compile, many_warnings, request},
};

/// What pages have most often besides their modules.
const INLINE: &str = "<script>try { document.documentElement.dataset.theme = localStorage.theme } catch {}</script>";
const FOREIGN: &str = "<script async src=\"https://tags.example/gtag.js?id=1\"></script><script>window.dataLayer = window.dataLayer || [];\
    function gtag() { dataLayer.push(arguments) } gtag('js', new Date())</script>";
/// The only fault that a script of another origin leaves open.
const DOUBTFUL: &str = "undefined variable";

#[test]
fn a_project_without_faults_has_no_finding() {
    let answer = compile(request(PROJECT));
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    assert!(answer.page.contains("importmap"));
}

/// The answer for the project with a fault, whose page has scripts before its end.
fn answer_to((_, file, from, to, _): &Fault, scripts: &str) -> Answer {
    let with_scripts = |(path, text): (&'static str, String)| match path {
        "index.html" => (path, text.replace("</body>", &format!("{scripts}</body>"))),
        _ => (path, text),
    };
    let files: Vec<_> = planted(file, from, to).into_iter().map(with_scripts).collect();
    let request = request(&files.iter().map(|(path, text)| (*path, text.as_str())).collect::<Vec<_>>());
    compile(Request { packages: bundled(), ..request })
}

/// A package of the project, as a bundle has it.
fn bundled() -> Vec<Package> {
    let exports = ["createRoot", "default", "hydrateRoot"].map(str::to_owned).to_vec();
    vec![Package { specifier: "react-dom/client".to_owned(), url: "@m/dom.js".to_owned(), exports }]
}

/// The faults that are not found at their places alone, with what is found.
fn wrong(scripts: &str, answers: &mut dyn FnMut(&Fault, &Answer)) -> BTreeMap<&'static str, Vec<String>> {
    let mut wrong = BTreeMap::new();
    for fault in FAULTS.iter().chain(MORE) {
        let (name, expected) = (fault.0, fault.4);
        let answer = answer_to(fault, scripts);
        let found = brief(&answer.findings);
        let is_first = found.first().is_some_and(|found| found.starts_with(expected));
        let is_right = if expected.is_empty() { found.is_empty() } else { is_first && found.len() == 1 };
        let has_frame = answer.findings.iter().all(|found| found.frame.contains('^') && !found.message.is_empty());
        let loads = |found: &Finding| found.is_warning || found.code == "UNDEFINED_NAME";
        let blocks = answer.findings.iter().all(loads) != answer.page.is_empty();
        if !is_right || !has_frame || !blocks {
            wrong.insert(name, found);
        }
        answers(fault, &answer);
    }
    wrong
}

#[test]
fn every_planted_fault_is_found_at_its_place() {
    let wrong = wrong("", &mut |_, _| ());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_planted_fault_is_found_beside_an_inline_script() {
    let mut warnings = Vec::new();
    let wrong =
        wrong(INLINE, &mut |fault, answer| warnings.extend(answer.findings.iter().filter(|found| found.is_warning).map(|_| fault.0)));
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(!warnings.contains(&DOUBTFUL), "{warnings:?}");
}

#[test]
fn a_script_of_another_origin_makes_only_names_of_variables_doubtful() {
    let mut severities = BTreeMap::new();
    let wrong = wrong(FOREIGN, &mut |fault, answer| {
        let undefined = answer.findings.iter().filter(|found| found.code == "UNDEFINED_NAME");
        severities.extend(undefined.map(|found| (fault.0, found.is_warning)));
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(severities, BTreeMap::from([(DOUBTFUL, true), ("hook not imported", false), ("unknown component", false)]));
}

/// The answer for a page with a file besides one that has many warnings and is sorted before it.
fn warned(other: (&'static str, &'static str)) -> Answer {
    answer(&[
        ("src/main.tsx", "import './a';\nimport './z';\n"),
        ("src/a.ts", &many_warnings()),
        ("src/a.module.css", ".main { color: red }\n"),
        ("src/z.ts", "export {};\n"),
        other,
    ])
}

#[test]
fn names_that_a_package_lacks_are_found_where_a_page_imports_them() {
    let with = |main: &str, other: &str| {
        let files = [("src/main.tsx", main), ("src/other.ts", other), ("package.json", r#"{"dependencies":{"react-dom":"19"}}"#)];
        let page = ("index.html", "<!doctype html><head></head><script type=module src=/src/main.tsx></script>");
        compile(Request { packages: bundled(), ..request(&[&[page][..], &files].concat()) })
    };
    let answer = with("import Dom, { hydrateRoots } from 'react-dom/client';\nDom(hydrateRoots);\n", "export {};\n");
    assert_eq!(brief(&answer.findings), ["MISSING_EXPORT src/main.tsx:1:15"]);
    assert!(answer.page.is_empty() && answer.findings[0].help.contains("hydrateRoot?"), "{:?}", answer.findings);
    for main in [
        "import * as all from 'react-dom/client';\nall.none();\n",
        "import type { Root } from 'react-dom/client';\nexport type A = Root;\n",
        "import { Root } from 'react-dom/client';\nexport const a = (root: Root) => root;\n",
        "const { none } = await import('react-dom/client');\nnone();\n",
        "import { none } from 'react-dom';\nnone();\n",
    ] {
        let answer = with(main, "import { none } from 'react-dom/client';\nnone();\n");
        assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{main}");
    }
}

#[test]
fn warnings_hide_no_error() {
    let broken = warned(("src/z.ts", "const = 1;\n"));
    assert_eq!((brief(&broken.findings)[0].as_str(), broken.findings.len()), ("SYNTAX_ERROR src/z.ts:1:7", 200));
    assert!(broken.page.is_empty() && broken.error_page.contains("src/z.ts:1:7"), "{}", broken.error_page);
    let undefined = warned(("src/z.ts", "nothing();\n"));
    assert_eq!(brief(&undefined.findings)[0], "UNDEFINED_NAME src/z.ts:1:1");
    assert!(undefined.findings[1..].iter().all(|found| found.is_warning) && !undefined.page.is_empty());
    // A module that has no finding can change alone, however many the others have.
    let clean = warned(("src/y.ts", "export {};\n"));
    assert_eq!(clean.findings.len(), 200);
    assert!(clean.independent.iter().any(|module| module.path == "src/z.ts"), "{:?}", clean.independent);
    assert!(!clean.independent.iter().any(|module| module.path == "src/a.ts"), "{:?}", clean.independent);
    assert!(code(&clean, "src/a.ts").contains("c204"));
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
