//! Bundles of packages: what cannot be bundled, and published packages, whose bundles run in Node.js. `make test` installs the packages of
//! `tests/packages` with npm; without its folder the tests do it themselves.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use compiler::packages::{Threads, bundle};
use compiler_client::message::{File, PackageModule, PackagesAnswer, PackagesRequest, packages::is_bundled};
use prost::Message;
use serde_json::Value;

use crate::support::{brief, file, workers};

pub(crate) static THREADS: LazyLock<Threads> = LazyLock::new(|| Threads::start(64 << 20).expect("threads"));

fn request(files: &[(&str, &str)], specifiers: &[&str]) -> PackagesRequest {
    let files = files.iter().map(|(path, content)| file(&format!("node_modules/{path}"), content.as_bytes())).collect();
    PackagesRequest {
        files,
        specifiers: specifiers.iter().map(|specifier| (*specifier).to_owned()).collect(),
        ..PackagesRequest::default()
    }
}

fn bundled(files: &[(&str, &str)], specifiers: &[&str]) -> PackagesAnswer {
    bundle(request(files, specifiers), &THREADS)
}

fn specifiers(answer: &PackagesAnswer) -> Vec<&str> {
    answer.packages.iter().map(|package| package.specifier.as_str()).collect()
}

pub(crate) fn code<'a>(answer: &'a PackagesAnswer, specifier: &str) -> &'a str {
    let package = answer.packages.iter().find(|package| package.specifier == specifier);
    let url = &package.unwrap_or_else(|| panic!("{specifier} is not in {answer:#?}")).url;
    text(answer.modules.iter().find(|module| module.url == *url).expect("a module"))
}

/// The code of a module that is no tool.
pub(crate) fn text(module: &PackageModule) -> &str {
    std::str::from_utf8(&module.code).expect("a text")
}

/// A new folder with the modules, and a script whose imports are the specifiers. Returns what the script prints.
pub(crate) fn run(answer: &PackagesAnswer, script: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("@m")).expect("a folder");
    for module in &answer.modules {
        fs::write(folder.path().join(&module.url), &module.code).expect("a module");
    }
    fs::write(folder.path().join("package.json"), r#"{"type":"module"}"#).expect("a manifest");
    let mut script = script.to_owned();
    for package in &answer.packages {
        script = script.replace(&format!("\"{}\"", package.specifier), &format!("\"./{}\"", package.url));
    }
    fs::write(folder.path().join("main.js"), script).expect("a script");
    let output = Command::new("node").arg("main.js").current_dir(folder.path()).output().expect("node");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

#[test]
fn commonjs_has_named_exports_and_one_copy_of_what_is_shared() {
    let files = [
        ("a/package.json", r#"{"main":"index"}"#),
        ("a/index.js", "if (process.env.NODE_ENV === 'production') module.exports = require('./p'); else module.exports = require('./d');"),
        ("a/p.js", "exports.useState = () => 'production'"),
        ("a/d.js", "exports.useState = () => 'development'; exports.count = { value: 0 }; exports.default = 'd';"),
        ("b/package.json", r#"{"exports":{".":{"import":"./b.mjs"},"./deep":"./deep.mjs"}}"#),
        ("b/b.mjs", "export * from 'a'; export * from './own.mjs'; import a from 'a'; a.count.value += 1; export default a.count;"),
        ("b/own.mjs", "export const own = 'own'"),
        ("b/deep.mjs", "import { count } from 'a'; export const read = () => count.value;"),
    ];
    let answer = bundled(&files, &["b/deep", "b", "a", "a"]);
    assert_eq!((specifiers(&answer), brief(&answer.findings)), (vec!["a", "b", "b/deep"], vec![]));
    let exports = |at: usize| answer.packages[at].exports.clone();
    assert_eq!((exports(1), exports(2)), (["count", "default", "own", "useState"].map(str::to_owned).to_vec(), vec!["read".to_owned()]));
    let printed = run(
        &answer,
        "import A, { useState } from \"a\"; import count, { own, useState as again } from \"b\"; import { read } from \"b/deep\";\n\
         console.log(useState(), A.useState === useState, again === useState, own, count.value, read());",
    );
    assert_eq!(printed, "development true true own 1 1");
    let mut production = request(&files, &["a"]);
    production.mode = "production".to_owned();
    let answer = bundle(production, &THREADS);
    assert_eq!(run(&answer, "import { useState } from \"a\"; console.log(useState());"), "production");
}

/// Packages with what no bundle can have.
const ODD: &[(&str, &str)] = &[
    ("good/package.json", r#"{"main":"i.js","peerDependenciesMeta":{"peer":{"optional":true}}}"#),
    ("good/i.js", "let peer = 'none'; try { require('lost') } catch (error) { peer = error.code } exports.peer = peer;"),
    ("esm/package.json", r#"{"module":"i.js","browser":{"./server.js":false},"peerDependenciesMeta":{"peer":{"optional":true}}}"#),
    (
        "esm/i.js",
        "import fs, { readFile } from 'node:fs'; import server from './server.js'; import { x } from 'peer'; import { y } from 'lost';\n\
             import { absent } from './names.js'; export const found = [typeof readFile, typeof x, typeof y, typeof absent, typeof server];",
    ),
    ("esm/server.js", "export default fail()"),
    ("esm/names.js", "export const present = 1"),
    ("broken/index.js", "export const = 1"),
    ("uses/index.js", "export const late = () => import('broken')"),
    ("native/index.js", "module.exports = require('./build/a.node')"),
    ("native/build/a.node", "\u{0}"),
    ("component/package.json", r#"{"main":"A.vue"}"#),
    ("component/A.vue", "<template/>"),
    ("scss/package.json", r#"{"main":"a.scss"}"#),
    ("scss/a.scss", "a { b: c }"),
    ("manifest/package.json", "{"),
    ("manifest/index.js", "exports.a = 1"),
];

#[test]
fn what_cannot_be_bundled_has_a_finding_and_the_rest_is_bundled() {
    let deep = format!("x = {}{}", "[".repeat(3_000), "]".repeat(3_000));
    let mut files = ODD.to_vec();
    files.push(("deep/index.js", &deep));
    let wanted = [
        "good",
        "esm",
        "broken",
        "uses",
        "native",
        "deep",
        "component",
        "scss",
        "manifest",
        "fs",
        "none",
        "@a/none",
        "good/none",
        "",
        "./x",
        "../../x",
        "/etc/passwd",
    ];
    let answer = bundled(&files, &wanted);
    let mut found = brief(&answer.findings);
    found.sort();
    let has = |text: &str| found.iter().any(|found| found.starts_with(text));
    for expected in [
        "SYNTAX_ERROR node_modules/broken/index.js:1:14",
        "UNSUPPORTED node_modules/esm/i.js:1:1",
        "UNRESOLVED_IMPORT node_modules/esm/i.js:1:1",
        "UNSUPPORTED node_modules/native/build/a.node:1:1",
        "NESTED_TOO_DEEPLY node_modules/deep/index.js:1:1",
        "MISSING_PACKAGE node_modules/component/A.vue:1:1",
        "UNSUPPORTED node_modules/scss/a.scss:1:1",
        "MISSING_PACKAGE package.json:1:1",
    ] {
        assert!(has(expected), "{expected} is not in {found:#?}");
    }
    let messages: String = answer.findings.iter().map(|finding| format!("{}\n", finding.message)).collect();
    assert!(
        messages.contains("fs is a module of Node.js") && messages.contains("the package good has no file for the import good/none"),
        "{messages}"
    );
    assert!(!messages.contains("peer"), "an optional package: {messages}");
    let helps = answer.findings.iter().filter(|finding| finding.message.contains("node:fs")).map(|finding| finding.help.as_str());
    assert_eq!(helps.collect::<Vec<_>>(), ["Use instead: import the file, or fetch it from public/."]);
    assert!(code(&answer, "esm").contains("Use instead: import the file"), "what stands for the module says it, too");
    let printed = run(
        &answer,
        "import { peer } from \"good\"; import { found } from \"esm\"; import { late } from \"uses\"; console.warn = () => {};\n\
         console.log(peer, found.join(), await late().catch((error) => error.message));",
    );
    assert_eq!(printed, "MODULE_NOT_FOUND undefined,undefined,undefined,undefined,object node_modules/broken/index.js: Unexpected token");
}

#[test]
fn styles_of_packages_are_modules_and_their_files_are_resources() {
    let files = [
        ("ui/package.json", r#"{"exports":{"./style.css":"./style.css","./theme":{"style":"./theme.css"},"./data.json":"./data.json"}}"#),
        ("ui/style.css", "@import './base.css'; @font-face { font-family: F; src: url(fonts/f.woff2) } .a { color: red }"),
        ("ui/base.css", ".base { margin: 0 }"),
        ("ui/theme.css", ".theme { color: blue }"),
        ("ui/data.json", r#"{"name":"data"}"#),
        ("ui/fonts/f.woff2", "font"),
    ];
    let answer = bundled(&files, &["ui/style.css", "ui/theme", "ui/data.json", "ui/style.css?inline", "ui/style.css?raw"]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    assert!(code(&answer, "ui/theme").contains(".theme"), "{answer:#?}");
    let [font] = answer.resources.as_slice() else { panic!("{:?}", answer.resources) };
    assert!(font.path == "node_modules/ui/fonts/f.woff2" && font.url.starts_with("@a/"), "{font:?}");
    let printed = run(
        &answer,
        "const styles = []; globalThis.document = { createElement: () => ({ dataset: {} }), head: { append: (style) => styles.push(style) } };\n\
         await import(\"ui/style.css\"); const { default: text } = await import(\"ui/style.css?inline\");\n\
         const { name } = await import(\"ui/data.json\");\n\
         console.log(styles.length, styles[1].textContent.includes('/@a/'), text.includes('.base'), name);",
    );
    assert_eq!(printed, "2 true true data");
}

#[test]
fn an_address_changes_with_what_the_module_loads() {
    let files = |value: &str| {
        let shared = format!("export const shared = {value}");
        bundled(
            &[
                ("a/index.js", "export * from 'c'"),
                ("b/index.js", "export * from 'c'; export const b = 1"),
                ("c/index.js", &shared),
                ("d/index.js", "export const d = 1"),
            ],
            &["a", "b", "d"],
        )
    };
    let (one, same, two) = (files("1"), files("1"), files("2"));
    assert_eq!(one.encode_to_vec(), same.encode_to_vec());
    let url = |answer: &PackagesAnswer, at: usize| answer.packages[at].url.clone();
    assert!(url(&one, 0) != url(&two, 0) && url(&one, 1) != url(&two, 1));
    assert_eq!(url(&one, 2), url(&two, 2), "what loads nothing else keeps its address");
    assert_eq!(bundled(&[], &["a"]).packages, []);
    assert_eq!(bundled(&[], &[]), PackagesAnswer::default());
}

/// The folder `node_modules` of the packages in `tests/packages`.
static INSTALLED: LazyLock<PathBuf> = LazyLock::new(|| {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
    let named = std::env::var_os("BACKLOT_COMPILER_PACKAGES");
    named.map_or_else(install, PathBuf::from)
});

fn install() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    fs::create_dir_all(&folder).expect("a folder");
    for name in ["package.json", "package-lock.json"] {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages").join(name), folder.join(name)).expect("a list of packages");
    }
    let status =
        Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder).status().expect("npm");
    assert!(status.success(), "npm does not install the packages");
    folder
}

pub(crate) fn installed() -> Vec<File> {
    let (mut files, mut open) = (Vec::new(), vec![INSTALLED.join("node_modules")]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let kind = entry.file_type().expect("a kind");
            let path = entry.path();
            let name = path.strip_prefix(&*INSTALLED).expect("a path below").to_str().expect("UTF-8").to_owned();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() && is_bundled(&name) {
                files.push(file(&name, &fs::read(&path).expect("a file")));
            }
        }
    }
    files
}

const LARGE: [&str; 5] = ["date-fns", "lucide-react", "recharts", "swiper", "react-dom"];

/// The installed packages without large ones that no test of tools needs.
pub(crate) fn small_packages() -> Vec<File> {
    let mut files = installed();
    files.retain(|file| !LARGE.iter().any(|name| file.path.starts_with(&format!("node_modules/{name}/"))));
    files
}

const PUBLISHED: [&str; 14] = [
    "react",
    "react/jsx-runtime",
    "react/jsx-dev-runtime",
    "react-dom",
    "react-dom/client",
    "react-dom/server",
    "zustand",
    "lucide-react",
    "recharts",
    "date-fns",
    "prop-types",
    "swiper/react",
    "swiper/css",
    "fs-extra",
];

const PAGE: &str = r#"
import React, { useState, createElement } from "react";
import { jsx } from "react/jsx-runtime";
import { createRoot } from "react-dom/client";
import { renderToStaticMarkup } from "react-dom/server";
import { create } from "zustand";
import { Rocket } from "lucide-react";
import { LineChart, Surface } from "recharts";
import { format } from "date-fns";
import PropTypes, { string } from "prop-types";
import { Swiper } from "swiper/react";
const useStore = create(() => ({ name: "store" }));
function Page() {
  const [count] = useState(7);
  const name = useStore((state) => state.name);
  return jsx("p", { children: [String(count), " ", name, " ", createElement(Rocket, { size: 10, key: "icon" })] });
}
const chart = renderToStaticMarkup(createElement(Surface, { width: 90, height: 40 }));
console.log(JSON.stringify({
  page: renderToStaticMarkup(createElement(Page)),
  same: React.useState === useState && PropTypes.string === string,
  date: format(new Date(2026, 10, 28), "yyyy-MM-dd"),
  kinds: [typeof createRoot, typeof Swiper, typeof LineChart],
  chart: chart.includes("recharts-surface"),
}));
// A channel of React keeps the process.
process.exit();
"#;

#[tokio::test]
async fn published_packages_are_bundled_in_a_worker_and_run() {
    let files = installed();
    let request = |mode: &str| PackagesRequest {
        files: files.clone(),
        specifiers: PUBLISHED.map(str::to_owned).to_vec(),
        mode: mode.to_owned(),
        ..PackagesRequest::default()
    };
    let first = workers().bundle(&request("")).await.expect("a bundle");
    let second = workers().bundle(&request("")).await.expect("a bundle");
    assert_eq!(first.encode_to_vec(), second.encode_to_vec(), "the same bytes");
    let mut expected = PUBLISHED.to_vec();
    expected.sort_unstable();
    assert_eq!(specifiers(&first), expected, "{:#?}", first.findings);
    assert!(code(&first, "swiper/css").contains(".swiper"));
    // Only the package for servers lacks something.
    let is_of_servers = |finding: &compiler_client::message::Finding| {
        finding.is_warning && ["fs-extra", "graceful-fs", "jsonfile", "universalify"].iter().any(|name| finding.file.contains(name))
    };
    assert!(!first.findings.is_empty() && first.findings.iter().all(is_of_servers), "{:#?}", first.findings);
    for answer in [first, workers().bundle(&request("production")).await.expect("a bundle")] {
        let printed: Value = serde_json::from_str(&run(&answer, PAGE)).expect("JSON");
        assert!(
            printed["page"].as_str().is_some_and(|page| page.starts_with("<p>7 store <svg") && page.contains("lucide-rocket")),
            "{printed}"
        );
        assert_eq!(
            (&printed["same"], &printed["date"], &printed["chart"]),
            (&Value::Bool(true), &Value::from("2026-11-28"), &Value::Bool(true))
        );
        assert_eq!(printed["kinds"], serde_json::json!(["function", "object", "object"]));
    }
}
