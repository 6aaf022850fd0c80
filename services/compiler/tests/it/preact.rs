//! Preact in place of React, with the preset of Vite: in modules, in packages and in sites.

use compiler::{packages::bundle, site::build};
use compiler_client::message::{PackagesRequest, Request, SiteRequest};

use crate::{
    packages::{THREADS, code as package_code, run as run_packages},
    site::{contents, run},
    support::{answer, brief, code, file},
};

const MANIFEST: &str = r#"{"dependencies":{"preact":"10","widget":"1"},"devDependencies":{"@preact/preset-vite":"2"}}"#;
const MAIN: &str = "import React, { useState } from 'react';\nimport { createRoot } from 'react-dom/client';\nimport { Widget } from 'widget';\n\
    const late = await import('react-dom');\nconsole.log(React.name, useState(), createRoot(), Widget(), late.default.name, (<p>a</p>));";
const PACKAGES: &[(&str, &str)] = &[
    (
        "preact/package.json",
        r#"{"exports":{".":"./index.mjs","./compat":"./compat.mjs","./compat/client":"./client.mjs","./jsx-runtime":"./jsx.mjs"}}"#,
    ),
    ("preact/index.mjs", "export const name = 'preact'"),
    ("preact/compat.mjs", "import { name } from 'preact'; export const useState = () => name + ' state'; export default { name };"),
    ("preact/client.mjs", "export const createRoot = () => 'preact root'"),
    ("preact/jsx.mjs", "export const jsx = (kind) => 'preact ' + kind; export const jsxs = jsx"),
    ("react/package.json", r#"{"main":"index.js"}"#),
    ("react/index.js", "throw new Error('there are two of them')"),
    ("widget/package.json", r#"{"main":"index.js"}"#),
    ("widget/index.js", "const { useState } = require('react'); exports.Widget = () => 'a widget with ' + useState();"),
    ("widget/node_modules/react/index.js", "throw new Error('there are three of them')"),
];

#[test]
fn modules_import_preact_if_the_project_has_the_preset_and_no_react() {
    let with_tsconfig = r#"{"compilerOptions":{"jsx":"react-jsx","paths":{"react":["./node_modules/preact/compat/"]}}}"#;
    for tsconfig in ["{}", with_tsconfig] {
        let preact = answer(&[("package.json", MANIFEST), ("tsconfig.json", tsconfig), ("src/main.tsx", MAIN)]);
        assert_eq!(brief(&preact.findings), Vec::<String>::new());
        let main = code(&preact, "src/main.tsx");
        for part in ["from \"preact/compat\";", "from \"preact/compat/client\";", "from \"preact/jsx-runtime\";", "(\"preact/compat\")"] {
            assert!(main.contains(part), "{part} is not in {main}");
        }
        assert!(!main.contains("\"react"), "{main}");
        assert_eq!(preact.bare, ["preact/compat", "preact/compat/client", "preact/jsx-runtime", "widget"]);
    }
    let listed = MANIFEST.replace("\"widget\"", "\"react\":\"19\",\"react-dom\":\"19\",\"widget\"");
    let react = answer(&[("package.json", listed.as_str()), ("src/main.tsx", MAIN)]);
    assert!(code(&react, "src/main.tsx").contains("from \"react-dom/client\"") && react.bare.contains(&"react".to_owned()));
    let without_preset = answer(&[("package.json", r#"{"dependencies":{"preact":"10"}}"#), ("src/main.tsx", "import 'react'")]);
    assert_eq!(brief(&without_preset.findings), ["MISSING_PACKAGE src/main.tsx:1:8"]);
}

#[test]
fn packages_share_the_preact_of_the_project() {
    let files = PACKAGES.iter().map(|(path, content)| file(&format!("node_modules/{path}"), content.as_bytes())).collect();
    let specifiers = ["preact/compat", "widget"].map(str::to_owned).to_vec();
    let request = PackagesRequest { files, specifiers, has_preact_for_react: true, ..PackagesRequest::default() };
    let answer = bundle(request.clone(), &THREADS);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let script = "import { Widget } from \"widget\"; import { useState } from \"preact/compat\"; console.log(Widget(), useState());";
    assert_eq!(run_packages(&answer, script), "a widget with preact state preact state");
    let react = bundle(PackagesRequest { has_preact_for_react: false, ..request }, &THREADS);
    assert!(!package_code(&react, "widget").contains("preact"), "a project with React keeps it");
}

#[test]
fn a_site_has_preact_in_place_of_react() {
    let tree = [
        ("index.html", "<head></head><script type=module src=/src/main.tsx></script>"),
        ("package.json", MANIFEST),
        ("src/main.tsx", MAIN),
    ];
    let packages = PACKAGES.iter().map(|(path, content)| file(&format!("node_modules/{path}"), content.as_bytes())).collect();
    let files = tree.iter().map(|(path, content)| file(path, content.as_bytes())).collect();
    let answer = build(SiteRequest { tree: Some(Request { files, ..Request::default() }), packages }, &THREADS, &mut |_| ());
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let contents = contents(&answer, &tree);
    let main = contents.keys().find(|path| path.starts_with("assets/main-")).expect("a script").clone();
    assert_eq!(run(&contents, &main), "preact preact state preact root a widget with preact state preact preact p");
}
