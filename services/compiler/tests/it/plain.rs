//! The check of files that a browser gets as they are.

use compiler_client::message::{Answer, File, Request};

use crate::support::{brief, compile, file, request};

/// A site of three pages without faults: modules, classic scripts, an import map, servers of its own.
const SITE: &[(&str, &str)] = &[
    (
        "index.html",
        "<!doctype html>\n<html><head>\n<link rel=stylesheet href=css/site.css>\n<script type=importmap>{ \"imports\": { \"three\": \"https://esm.sh/three\", \"lib/\": \"/lib/\" } }</script>\n<script type=module src=./js/main.js></script>\n</head><body><img src=/img/logo.png alt=\"\"></body></html>\n",
    ),
    ("css/site.css", "@import \"./parts.css\";\nbody {\n  background: url(../img/logo.png);\n}\n"),
    ("css/parts.css", "p { color: red }\n"),
    ("img/logo.png", "png"),
    (
        "js/main.js",
        "import { Scene } from 'three';\nimport 'lib/tool.js';\nimport { greet } from './greet.js';\nimport data from './data.json' with { type: 'json' };\ngreet(Scene, data, document.title);\n",
    ),
    ("js/greet.js", "export function greet(...all) {\n  console.log(all);\n}\n"),
    ("js/data.json", "[1, 2]\n"),
    ("lib/tool.js", "export {};\n"),
    (
        "about/index.html",
        "<!doctype html>\n<title>About</title>\n<script type=module>\n  import { greet } from '../js/greet.js';\n  greet(1);\n</script>\n<img src=photo.png>\n",
    ),
    ("about/photo.png", "png"),
    ("server.js", "import express from 'express';\nimport './routes';\nexport default express(process.env.PORT);\n"),
    ("server/main.ts", "import { port } from './settings';\nexport const next: number = port + 1;\n"),
    ("server/view.tsx", "export const view = (name: string) => <p>{name}</p>;\n"),
    ("types.d.ts", "declare const version: string;\n"),
    ("notes.txt", "not { checked"),
];

/// A fault: its name, the file, a text of it, what stands there instead, and the only finding.
const FAULTS: &[(&str, &str, &str, &str, &str)] = &[
    ("syntax of a module", "js/greet.js", "console.log(all);", "console.log(all;", "SYNTAX_ERROR js/greet.js:2:18"),
    ("syntax of a script that no page loads", "server.js", "express(process", "express((process", "SYNTAX_ERROR server.js:3:"),
    ("syntax of TypeScript", "server/main.ts", "port + 1;", "(port + 1;", "SYNTAX_ERROR server/main.ts:2:"),
    ("syntax of an inline module", "about/index.html", "greet(1);", "greet(1;", "SYNTAX_ERROR about/index.html:5:"),
    ("a module that is not there", "js/main.js", "'./greet.js'", "'./great.js'", "UNRESOLVED_IMPORT js/main.js:3:23"),
    ("an import without its extension", "js/main.js", "'./greet.js'", "'./greet'", "UNRESOLVED_IMPORT js/main.js:3:23"),
    ("a module of an inline script", "about/index.html", "../js/greet.js", "./greet.js", "UNRESOLVED_IMPORT about/index.html:4:25"),
    ("a package", "js/main.js", "'three'", "'threes'", "UNRESOLVED_IMPORT js/main.js:1:23"),
    ("no such export", "js/main.js", "{ greet }", "{ meet as greet }", "MISSING_EXPORT js/main.js:3:10"),
    ("a style sheet as a script", "js/main.js", "import 'lib/tool.js';", "import '../css/site.css';", "UNSUPPORTED js/main.js:2:8"),
    ("an undefined name", "js/greet.js", "console.log(all)", "console.log(every)", "UNDEFINED_NAME js/greet.js:2:15"),
    ("a script that is not there", "index.html", "./js/main.js", "./js/app.js", "MISSING_FILE index.html:5:1"),
    ("a style sheet that is not there", "index.html", "css/site.css", "css/main.css", "MISSING_FILE index.html:3:1"),
    ("an image that is not there", "about/index.html", "photo.png", "picture.png", "MISSING_FILE about/index.html:7:1"),
    ("an image of a style sheet", "css/site.css", "../img/logo.png", "img/logo.png", "MISSING_FILE css/site.css:3:"),
    ("an import of a style sheet", "css/site.css", "./parts.css", "./pieces.css", "UNRESOLVED_IMPORT css/site.css:1:"),
    ("a style sheet that is cut", "css/parts.css", "red }", "red", "INVALID_CSS css/parts.css:1:"),
    ("data", "js/data.json", "[1, 2]", "[1, 2", "INVALID_JSON js/data.json:2:"),
];

/// A site whose addresses are encoded, as browsers decode them.
const ENCODED: &[(&str, &str)] = &[
    (
        "index.html",
        "<!doctype html>\n<link rel=stylesheet href=\"css/my%20site.css\">\n<script type=module src=\"/js/%C3%BCber%20uns.js\"></script>\n<img src=\"img/a%20b.png?x=1#y\">\n<img src=\"img/100%25.png\">\n",
    ),
    ("css/my site.css", "@import \"./more%20rules.css\";\np { background: url(\"../img/a%20b.png\") }\n"),
    ("css/more rules.css", "p { color: red }\n"),
    ("img/a b.png", "png"),
    ("img/100%.png", "png"),
    ("js/über uns.js", "import { a } from './other%20one.js';\nconsole.log(a, new URL('../img/a%20b.png', import.meta.url));\n"),
    ("js/other one.js", "export const a = 1;\n"),
];

fn check(files: &[(&str, &str)]) -> Answer {
    compile(Request { is_plain: true, ..request(files) })
}

fn planted<'f>(path: &str, from: &str, to: &str, texts: &'f mut String) -> Vec<(&'static str, &'f str)> {
    let original = SITE.iter().find(|(at, _)| *at == path).unwrap_or_else(|| panic!("no file {path}")).1;
    assert!(original.contains(from), "{from} is not in {path}");
    *texts = original.replacen(from, to, 1);
    SITE.iter().map(|(at, text)| (*at, if *at == path { texts.as_str() } else { text })).collect()
}

#[test]
fn a_site_without_faults_has_no_finding() {
    let answer = check(SITE);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    assert!(answer.page.is_empty() && answer.wanted.is_empty());
}

#[test]
fn addresses_are_decoded_as_browsers_do() {
    assert_eq!(brief(&check(ENCODED).findings), Vec::<String>::new());
    // A page finds no file whose name looks encoded.
    let twice = [("index.html", "<img src=\"a%20b.png\">"), ("a%20b.png", "png")];
    assert!(brief(&check(&twice).findings)[0].starts_with("MISSING_FILE index.html:1:1"));
    let absent = [("index.html", "<img src=\"a%20c.png\">"), ("a b.png", "png")];
    assert!(brief(&check(&absent).findings)[0].starts_with("MISSING_FILE index.html:1:1"));
    // The same in a project that is compiled.
    let compiled: Vec<_> = ENCODED.iter().copied().chain([("vite.config.js", "export default {}")]).collect();
    let answer = compile(request(&compiled));
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let count = |part: &str| answer.page.matches(part).count();
    assert_eq!((count("<img src=\"/@a/"), count("<script type=module src=\"/@m/")), (2, 1), "{}", answer.page);
}

#[test]
fn every_fault_is_found_at_its_place() {
    let mut wrong = Vec::new();
    for (name, path, from, to, expected) in FAULTS {
        let mut text = String::new();
        let found = brief(&check(&planted(path, from, to, &mut text)).findings);
        if found.len() != 1 || !found[0].starts_with(expected) {
            wrong.push((*name, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn classic_scripts_are_no_modules() {
    let page = "<!doctype html>\n<script src=https://cdn.example/lib.js></script>\n<script src=a.js></script>\n<script>\n  with (Math) { show(max(010, await)) }\n</script>\n";
    let found = |script: &str| brief(&check(&[("index.html", page), ("a.js", script)]).findings);
    assert_eq!(
        found("var await = 1; delete await; function show(x) { Lib.show(x) }"),
        Vec::<String>::new(),
        "sloppy, with names of others"
    );
    assert!(found("function show( {").first().is_some_and(|found| found.starts_with("SYNTAX_ERROR a.js:1:")));
    let broken = page.replace("show(max(010, await))", "show(");
    let found = brief(&check(&[("index.html", &broken), ("a.js", "")]).findings);
    assert!(found.len() == 1 && found[0].starts_with("SYNTAX_ERROR index.html:"), "{found:?}");
}

#[test]
fn names_of_classic_scripts_are_known() {
    let page = "<!doctype html>\n<p id=note></p>\n<script src=a.js></script>\n<script>\n  note.textContent = total(1);\n</script>\n";
    let found = |script: &str| brief(&check(&[("index.html", page), ("a.js", script)]).findings);
    assert_eq!(found("function total(x) { return x }"), Vec::<String>::new());
    assert_eq!(found("window.total = (x) => x"), Vec::<String>::new());
    assert_eq!(found("function totals(x) { return x }"), ["UNDEFINED_NAME index.html:5:22"]);
    assert_eq!(found("function total(x) { return y }"), ["UNDEFINED_NAME a.js:1:28"]);
}

#[test]
fn a_tree_needs_no_page() {
    assert_eq!(
        brief(&check(&[("README.md", "# x"), ("data.json", "{}"), ("lib/a.js", "export const a = 1")]).findings),
        Vec::<String>::new()
    );
    assert_eq!(brief(&check(&[("data.json", "{")]).findings).len(), 1);
    let based = "<base href=/elsewhere/><script src=a.js></script>";
    assert_eq!(brief(&check(&[("index.html", based)]).findings), Vec::<String>::new(), "addresses with another base");
}

#[test]
fn contents_are_asked_for() {
    let absent = |path: &str, text: &str| File { content: None, ..file(path, text.as_bytes()) };
    let files = SITE.iter().map(|(path, text)| absent(path, text)).collect();
    let wanted = compile(Request { files, is_plain: true, check_all: true, ..Request::default() }).wanted;
    for path in ["index.html", "about/index.html", "js/main.js", "css/site.css", "js/data.json", "server.js"] {
        assert!(wanted.iter().any(|wanted| wanted == path), "{path}: {wanted:?}");
    }
    assert!(!wanted.iter().any(|wanted| wanted.ends_with(".png") || wanted.ends_with(".txt")), "{wanted:?}");
}
