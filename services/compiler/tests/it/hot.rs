//! What pages and modules have so that an open page can exchange modules.

use compiler::packages::bundle;
use compiler_client::message::{
    Package, PackagesRequest, Request,
    facts::Kind,
    tools::{PREFRESH, REACT_REFRESH},
};
use serde_json::{Value, json};

use crate::{
    packages::{THREADS, small_packages, text},
    support::{answer, answer_with_tools, brief, code, code_of, compile, request},
};

const REACT: (&str, &str) = ("package.json", r#"{"dependencies":{"react":"19"}}"#);

/// The modules that the page lists.
fn links(page: &str) -> Value {
    let start = "<script type=\"application/json\" data-backlot>";
    let text = page.split(start).nth(1).and_then(|rest| rest.split("</script>").next());
    serde_json::from_str(text.unwrap_or_else(|| panic!("no modules in {page}"))).expect("JSON")
}

#[test]
fn components_of_react_are_registered() {
    let component = "import { useState } from 'react';\nexport function App() { const [a] = useState(0); return <p>{a}</p>; }\n";
    let files = [REACT, ("src/main.tsx", "import { App } from './app'; console.log(App);"), ("src/app.tsx", component)];
    let first = answer(&files);
    assert_eq!(brief(&first.findings), Vec::<String>::new());
    let app = code(&first, "src/app.tsx");
    for part in [
        "backlotSign()",
        "function backlotRegister(type, name) { return backlotRefresh.register(type, \"src/app.tsx \" + name); }",
        "import backlotRefresh from \"backlot:tool/react-refresh\";",
        "backlotRefresh.watch(backlotHot());",
    ] {
        assert!(app.contains(part), "{part} is not in {app}");
    }
    assert!(app.starts_with("import { useState } from \"react\";\n"), "no line moves: {app}");
    assert!(!code(&first, "src/main.tsx").contains("backlotRefresh"), "{}", code(&first, "src/main.tsx"));
    assert!(first.bare.contains(&REACT_REFRESH.to_owned()), "{:?}", first.bare);
    // Without the package the page works.
    assert!(
        first.page.contains("\"backlot:tool/react-refresh\":\"/@m/") && !first.page.contains("type=\"module\" src=\"/@m/"),
        "{}",
        first.page
    );
    let package = Package { specifier: REACT_REFRESH.to_owned(), url: "@m/refresh.js".to_owned(), exports: Vec::new() };
    let mut all = vec![("index.html", "<!doctype html><head></head><script type=module src=/src/main.tsx></script>")];
    all.extend(files);
    let provided = compile(Request { packages: vec![package], ..request(&all) });
    assert!(provided.page.contains("</script><script type=\"module\" src=\"/@m/refresh.js\" data-backlot></script>"), "{}", provided.page);
}

#[test]
fn components_of_preact_are_registered_with_prefresh() {
    let component = "import { useState } from 'preact/hooks';\nexport function App() { const [a] = useState(0); return <p>{a}</p>; }\n";
    let main = ("src/main.tsx", "import { App } from './app'; console.log(App);");
    let preact = r#"{"dependencies":{"preact":"11"}}"#;
    let both = r#"{"dependencies":{"preact":"11","react":"19"}}"#;
    let source = r#"{"compilerOptions":{"jsx":"react-jsx","jsxImportSource":"preact"}}"#;
    for (manifest, configuration, expected) in [
        (preact, "{}", Some(PREFRESH)),
        (preact, source, Some(PREFRESH)),
        (both, source, Some(PREFRESH)),
        (both, "{}", Some(REACT_REFRESH)),
        ("{}", "{}", None),
    ] {
        let answer = answer(&[("package.json", manifest), ("tsconfig.json", configuration), main, ("src/app.tsx", component)]);
        let app = code(&answer, "src/app.tsx");
        for tool in [PREFRESH, REACT_REFRESH] {
            let is_used = app.contains(&format!("import backlotRefresh from \"{tool}\";")) && app.contains("backlotSign()");
            assert_eq!(is_used, expected == Some(tool), "{manifest} {configuration}: {app}");
            assert_eq!(answer.bare.contains(&tool.to_owned()), expected == Some(tool), "{:?}", answer.bare);
        }
        if expected == Some(PREFRESH) {
            assert!(answer.bare.contains(&"preact".to_owned()), "it shares the instance of the page: {:?}", answer.bare);
            assert!(answer.page.contains(&format!("\"{PREFRESH}\":\"/@m/")), "without the package the page works: {}", answer.page);
        }
    }
}

#[test]
fn prefresh_shares_the_instance_of_preact_with_the_page() {
    let request = PackagesRequest { files: small_packages(), specifiers: vec![PREFRESH.to_owned()], ..PackagesRequest::default() };
    let answer = bundle(request, &THREADS);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let [module] = answer.modules.as_slice() else { panic!("{answer:#?}") };
    let code = text(module);
    assert!(code.contains("from \"preact\"") && code.contains("__PREFRESH__"), "{code}");
    assert!(!code.contains("node_modules/preact/"), "{code}");
    // With a stand-in for Preact, a changed component takes the place of the one before.
    let script = "globalThis.self = globalThis; const { default: refresh } = await import(\"./refresh.mjs\");
let behaviour; refresh.watch({ setBehaviour: (found) => { behaviour = found } });
const make = (key) => { const sign = refresh.sign(); function App() { sign() } sign(App, key); refresh.register(App, 'a App'); return App };
const before = { App: make('1'), size: 1 }, after = { App: make('1'), size: 1 };
const replaced = []; self.__PREFRESH__.replaceComponent = (from, to, isReset) => replaced.push([from === before.App, to === after.App, isReset]);
console.log(behaviour.accepts(before), behaviour.accepts({ size: 1 }), behaviour.exchange('a', before, after), behaviour.exchange('a', before, { size: 2 }));
behaviour.finish(); console.log(JSON.stringify(replaced));";
    let folder = tempfile::tempdir().expect("a folder");
    let preact = folder.path().join("node_modules/preact");
    std::fs::create_dir_all(&preact).expect("a folder");
    for (path, text) in [
        (preact.join("package.json"), r#"{"type": "module", "main": "index.js"}"#),
        (preact.join("index.js"), "export class Component {} export const options = {}; export const Fragment = () => {};"),
        (folder.path().join("refresh.mjs"), code),
        (folder.path().join("main.mjs"), script),
    ] {
        std::fs::write(path, text).expect("a file");
    }
    let output = std::process::Command::new("node").arg("main.mjs").current_dir(folder.path()).output().expect("node");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "true false true false\n[[true,true,false]]\n");
}

#[test]
fn only_pages_that_are_open_have_it() {
    let app = "export const App = () => <p>{String(import.meta.hot)}</p>; import('./b');";
    let files = [
        REACT,
        ("index.html", "<head></head><script type=module src=/src/main.tsx></script>"),
        ("src/main.tsx", app),
        ("src/b.ts", "export {}"),
    ];
    let production = compile(Request { mode: "production".to_owned(), ..request(&files) });
    let main = code(&production, "src/main.tsx");
    assert!(main.contains("import.meta.hot") && main.contains("import(\"/src/b\")") && !main.contains("backlot"), "{main}");
    assert!(!production.page.contains("data-backlot"), "{}", production.page);
    let lit = [("package.json", r#"{"dependencies":{"lit":"3"}}"#), ("src/main.tsx", app), ("src/b.ts", "export {}")];
    assert!(!code(&answer(&lit), "src/main.tsx").contains("Refresh"));
}

#[test]
fn import_meta_hot_and_dynamic_imports_reach_the_page() {
    let main = "import.meta.hot?.accept('./a', () => {});\nconst backlot = 1;\nimport(`${backlot}`); import('./a'); import('https://a.b/c.js');\n\
        new Worker(new URL('./w.ts', import.meta.url));\nexport const all = import.meta.glob('./*.ts');";
    let answer = answer(&[("src/main.tsx", main), ("src/a.ts", "export {}"), ("src/w.ts", "console.log(import.meta.hot); import('./a');")]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let code = code(&answer, "src/main.tsx");
    for part in [
        "backlot_Hot()?.accept(\"./a\"",
        "backlot_Import(\"/src/a\")",
        "import(`${backlot}`)",
        "import(\"https://a.b/c.js\")",
        "function backlot_Hot() { return globalThis[Symbol.for(\"backlot:hot\")]?.context(import.meta.url); }",
        "?.load(import.meta.url, specifier) ?? import(specifier); }",
    ] {
        assert!(code.contains(part), "{part} is not in {code}");
    }
    let glob = answer.resources.iter().find(|resource| resource.text.contains("\"./a.ts\"")).expect("the glob");
    assert!(glob.text.contains("() => load(\"/src/a.ts\")") && glob.text.contains("function load(specifier)"), "{}", glob.text);
    let worker = answer.resources.iter().find(|resource| resource.text.contains("import.meta.hot")).expect("the worker");
    assert!(!worker.text.contains("backlot:hot"), "{}", worker.text);
    assert!(code_of(&answer, "src/a.ts", Kind::Module).len() < 100);
}

#[test]
fn the_page_lists_modules_with_their_imports() {
    let files = [
        (
            "src/main.tsx",
            "import './a.css'; import { b } from './b'; import image from './c.svg'; import('./later'); import.meta.env; b(image);",
        ),
        ("src/a.css", "p { color: red }"),
        ("src/b.ts", "export const b = console.log;"),
        ("src/c.svg", "<svg/>"),
        ("src/later.ts", "import './b';"),
    ];
    let page = answer(&files).page;
    let found = links(&page);
    let modules = found["modules"].as_array().expect("modules");
    let at = |id: &str| modules.iter().position(|module| module[0] == id).unwrap_or_else(|| panic!("{id} is not in {found}"));
    let main = &modules[at("src/main.tsx")];
    assert_eq!(found["entries"], json!([at("src/main.tsx")]));
    let expected =
        json!({"/src/a.css": at("src/a.css"), "/src/b": at("src/b.ts"), "/src/c.svg": at("src/c.svg?url"), "/@env": at("/@env")});
    assert_eq!((&main[2], &main[3]), (&expected, &json!({"/src/later": at("src/later.ts")})));
    assert_eq!(modules[at("src/later.ts")][2], json!({"/src/b": at("src/b.ts")}));
    assert!(page.contains(&format!("\"/src/b\":{}", modules[at("src/b.ts")][1])), "the address is that of the import map");
}

#[test]
fn files_of_vue_and_svelte_accept_themselves() {
    let vue = "<script setup lang=\"ts\">\nconst a: number = 1\n</script>\n<template><p>{{ (a as number) }}</p></template>\n";
    let files = |vue: &'static str| {
        [
            ("package.json", r#"{"dependencies": {"vue": "3"}, "devDependencies": {"svelte": "5"}}"#),
            ("src/main.ts", "import './A.vue'; import './B.svelte';"),
            ("src/A.vue", vue),
            ("src/B.svelte", "<script>let { a } = $props();</script><p>{a}</p>"),
        ]
    };
    let answer = answer_with_tools(&files(vue));
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let script = |code: &str| code.split("__script = ").nth(1).and_then(|rest| rest.split(';').next()).expect("a number").to_owned();
    let first = code(&answer, "src/A.vue");
    assert!(
        first.contains("component.render = render") && first.contains("backlotHot().accept(") && !first.contains(" as number"),
        "{first}"
    );
    assert!(code(&answer, "src/B.svelte").contains("backlotHot().accept("), "{}", code(&answer, "src/B.svelte"));
    for (text, is_same) in [(vue.replace("<p>", "<p>b "), true), (vue.replace("= 1", "= 2"), false)] {
        let other = answer_with_tools(&files(Box::leak(text.into_boxed_str())));
        assert_eq!(script(code(&other, "src/A.vue")) == script(first), is_same);
    }
    let production = Request {
        mode: "production".to_owned(),
        tools: crate::tools::all(),
        ..request(&{
            let mut all = vec![("index.html", "<head></head><script type=module src=/src/main.ts></script>")];
            all.extend(files(vue));
            all
        })
    };
    let production = compile(production);
    assert!(!code(&production, "src/A.vue").contains("__hmrId") && !code(&production, "src/B.svelte").contains("hot"));
}
