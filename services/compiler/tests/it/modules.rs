//! What becomes of each kind of file.

use compiler_client::message::{Request, facts::Kind};

use crate::support::{answer, brief, code, code_of, compile, known, request};

#[test]
fn typescript_and_jsx_become_modules_with_absolute_specifiers() {
    let main = "import type { T } from './types';\nimport { Unused } from './types';\nimport { App } from './app/App';\nimport x, { y as z } from '../lib/x.js';\n\
        export * from './all';\nexport { b } from './b.ts';\nenum Color { Red }\nconst later = () => import('./later');\n\
        export const element = <App color={Color.Red as T} {...{ x, z, later }}><>text</></App>;\n";
    let answer = answer(&[
        ("package.json", r#"{"dependencies":{"react":"19"}}"#),
        ("src/main.tsx", main),
        ("src/types.ts", "export type T = unknown; export interface Unused {}"),
        ("src/app/App.tsx", "export function App(): null { return null }"),
        ("lib/x.ts", "export default 1; export const y = 2;"),
        ("src/all.ts", "export const all = 1"),
        ("src/b.ts", "export const b = 1"),
        ("src/later.ts", "export {}"),
    ]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let code = code(&answer, "src/main.tsx");
    for part in [
        "from \"/src/app/App\"",
        "from \"/lib/x.js\"",
        "export * from \"/src/all\"",
        "from \"/src/b.ts\"",
        "backlotImport(\"/src/later\")",
        "from \"react/jsx-runtime\"",
        "sourceMappingURL=",
    ] {
        assert!(code.contains(part), "{part} is not in {code}");
    }
    assert!(!code.contains("types"), "{code}");
    assert_eq!(answer.bare, ["backlot:tool/react-refresh", "react/jsx-runtime"]);
    for specifier in ["/src/app/App", "/lib/x.js", "/src/all", "/src/b.ts", "/src/later"] {
        assert!(answer.page.contains(&format!("\"{specifier}\":\"/@m/")), "{specifier} is not in {}", answer.page);
    }
    // The page, the entry and what it needs at once; not what it loads later.
    assert_eq!(answer.page.matches("rel=\"modulepreload\"").count(), 5, "{}", answer.page);
}

#[test]
fn settings_of_tsconfig_decide_over_jsx_and_fields() {
    let jsx = "export const a = <><b c='d' /></>;";
    let class = "export class A { a = 1; b: number; #c = 2; get() { return this.#c } }";
    let files = |config: &'static str| [("tsconfig.json", config), ("src/main.tsx", jsx), ("src/a.ts", class)];
    let automatic = answer(&files(r#"{"compilerOptions":{"jsx":"react-jsx","jsxImportSource":"preact","target":"ES2022"}} // comment"#));
    assert!(code(&automatic, "src/main.tsx").contains("from \"preact/jsx-runtime\""));
    assert!(code(&automatic, "src/a.ts").contains("a = 1;\nb;\n#c"), "{}", code(&automatic, "src/a.ts"));
    let classic =
        answer(&files(r#"{"compilerOptions":{"jsx":"react","jsxFactory":"h","jsxFragmentFactory":"Fragment","target":"ES2020"}}"#));
    assert!(code(&classic, "src/main.tsx").contains("h(Fragment, null,"), "{}", code(&classic, "src/main.tsx"));
    let loose = code(&classic, "src/a.ts");
    assert!(loose.contains("this.a = 1") && !loose.contains("\nb"), "{loose}");
    assert!(answer_has_no_error(&classic), "{:?}", classic.findings);
    let plain = answer(&files(r#"{"compilerOptions":{"jsx":"react"}}"#));
    assert!(code(&plain, "src/main.tsx").contains("React.createElement(React.Fragment"), "{}", code(&plain, "src/main.tsx"));
}

#[test]
fn jsx_needs_the_name_that_it_calls_unless_a_plugin_compiles_it() {
    let found = |packages: &str, options: &str, main: &str| {
        let manifest = format!(r#"{{"dependencies":{{"react":"19","preact":"10"{packages}}}}}"#);
        let configuration = format!(r#"{{"compilerOptions":{{"jsx":"react"{options}}}}}"#);
        let unused = ("src/unused.tsx", "export const b = <b />;\n");
        answer(&[("package.json", &manifest), ("tsconfig.json", &configuration), ("src/main.tsx", main), unused])
    };
    let (element, fragment) = ("const a = 1;\nexport const b = <b>{a}</b>;\n", "export const b = <></>;\n");
    for plugin in ["@vitejs/plugin-react", "@vitejs/plugin-react-swc"] {
        let answer = found(&format!(r#","{plugin}":"5""#), "", element);
        assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{plugin}");
        assert!(code(&answer, "src/main.tsx").contains("/jsx-runtime\""), "{}", code(&answer, "src/main.tsx"));
    }
    let h = r#","jsxFactory":"h","jsxFragmentFactory":"Fragment""#;
    for (packages, options, main, expected) in [
        ("", "", element, "UNDEFINED_NAME src/main.tsx:2:18"),
        ("", "", fragment, "UNDEFINED_NAME src/main.tsx:1:18"),
        ("", "", "import type React from 'react';\nexport const b = <b />;\n", "UNDEFINED_NAME src/main.tsx:2:18"),
        ("", h, element, "UNDEFINED_NAME src/main.tsx:2:18"),
        (r#","@vitejs/plugin-react":"5""#, h, element, "UNDEFINED_NAME src/main.tsx:2:18"),
        ("", h, "import { h } from 'preact';\nexport const b = <><b /></>;\n", "UNDEFINED_NAME src/main.tsx:2:18"),
        ("", "", "import React from 'react';\nexport const b = <><b /></>;\n", ""),
        ("", "", "import * as React from 'react';\nexport function B() { return <b /> }\n", ""),
        ("", "", "export const b = (React) => <b />;\n", ""),
        ("", "", "/** @jsxRuntime automatic */\nexport const b = <b />;\n", ""),
        ("", "", "/** @jsx h */\nimport { h } from 'preact';\nexport const b = <b />;\n", ""),
        ("", h, "import { h, Fragment } from 'preact';\nexport const b = <><b /></>;\n", ""),
    ] {
        let answer = found(packages, options, main);
        let expected: Vec<_> = Some(expected).filter(|expected| !expected.is_empty()).into_iter().collect();
        assert_eq!(brief(&answer.findings), expected, "{main}");
        assert!(answer.findings.iter().all(|found| found.help.contains("react-jsx") && !found.is_warning), "{:#?}", answer.findings);
    }
}

fn answer_has_no_error(answer: &compiler_client::message::Answer) -> bool {
    answer.findings.iter().all(|found| found.is_warning || found.code == "UNDEFINED_NAME")
}

#[test]
fn decorators_are_compiled_if_the_project_asks_for_them() {
    let main = "declare function mark(...all: unknown[]): any;\n@mark class A { @mark() a: string = '' }\nexport { A };";
    let files =
        |config: &'static str| [("tsconfig.json", config), ("src/main.tsx", main), ("src/mark.d.ts", "declare function mark(): any;")];
    let legacy = answer(&files(r#"{"compilerOptions":{"experimentalDecorators":true,"useDefineForClassFields":false}}"#));
    assert_eq!(brief(&legacy.findings), Vec::<String>::new());
    assert!(code(&legacy, "src/main.tsx").contains("@oxc-project/runtime/helpers/decorate"));
    assert!(legacy.page.contains("\"@oxc-project/runtime/helpers/decorate\":\"/@m/") && legacy.bare.is_empty(), "{}", legacy.page);
    assert_eq!(brief(&answer(&files("{}")).findings)[0], "UNSUPPORTED src/main.tsx:2:1");
}

#[test]
fn files_that_are_no_code_become_modules() {
    let main = "import data, { name, class as c } from './data.json';\nimport raw from './note.txt?raw';\nimport url from './logo.svg';\n\
        import other from './code.ts?url';\nimport shared from '/shared.png';\nimport './side.css';\nimport css from './side.css?inline';\n\
        console.log(data, name, c, raw, url, other, shared, css, new URL('./photo.png', import.meta.url));";
    let answer = answer(&[
        ("src/main.tsx", main),
        ("src/data.json", r#"{"name": 1, "class": 2, "not a name": 3, "__proto__": {"x": 1}, "json": 4}"#),
        ("src/note.txt", "a \"note\"\n\u{2028}"),
        ("src/logo.svg", "<svg/>"),
        ("src/code.ts", "export {}"),
        ("src/photo.png", "png"),
        ("public/shared.png", "png"),
        ("src/side.css", ".a { color: red }"),
    ]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let json = code(&answer, "src/data.json");
    assert!(
        json.contains("JSON.parse(") && json.contains("as name }") && json.contains("as class }") && !json.contains("as not"),
        "{json}"
    );
    assert_eq!(code_of(&answer, "src/note.txt", Kind::Raw), "export default \"a \\\"note\\\"\\n\u{2028}\";\n");
    let logo = code_of(&answer, "src/logo.svg", Kind::Address);
    assert!(logo.starts_with("export default new URL(\"../@a/") && logo.ends_with(".svg\", import.meta.url).href;\n"), "{logo}");
    assert_eq!(code_of(&answer, "public/shared.png", Kind::Address), "export default new URL(\"../shared.png\", import.meta.url).href;\n");
    let main = code(&answer, "src/main.tsx");
    assert!(main.contains("new URL(backlot0, import.meta.url)") && main.contains("import backlot0 from \"/src/photo.png?url\";"), "{main}");
    assert!(code_of(&answer, "src/side.css", Kind::Inline).starts_with("export default \".a {"));
    assert!(code(&answer, "src/side.css").contains("document.head.append(style)"));
    let assets: Vec<_> = answer.resources.iter().map(|resource| resource.path.as_str()).filter(|path| !path.is_empty()).collect();
    assert_eq!(assets.len(), 3, "{assets:?}");
}

#[test]
fn css_modules_have_scoped_names_and_compose() {
    let answer = answer(&[
        ("src/main.tsx", "import s, { title } from './a.module.css'; console.log(s.title, title, s['two-words'], s.absent)"),
        ("src/a.module.css", ".title { composes: base from './b.module.css'; color: red }\n.two-words { & b { c: d } }"),
        ("src/b.module.css", ".base { background: url(./x.png) }"),
        ("src/x.png", "png"),
    ]);
    let code = code(&answer, "src/a.module.css");
    assert!(code.contains("import part0 from \"/src/b.module.css\"") && code.contains("part0[\"base\"]"), "{code}");
    assert!(code.contains("as title }") && code.contains("[\"two-words\"]"), "{code}");
    assert_eq!(brief(&answer.findings), ["MISSING_CLASS src/main.tsx:1:90"]);
    assert!(answer.findings[0].is_warning && !answer.page.is_empty());
    assert!(self::code(&answer, "src/b.module.css").contains("\" + part0 + \""), "{}", self::code(&answer, "src/b.module.css"));
}

#[test]
fn style_sheets_import_others_with_their_conditions() {
    let answer = answer(&[
        ("src/main.tsx", "import './a.css'"),
        (
            "src/a.css",
            "@import url(https://fonts.example/x.css);\n@import './b.css';\n@import 'c.css' layer(base) screen;\n.a { background: url(data:x) }",
        ),
        ("src/b.css", ".b { color: red }"),
        ("src/c.css", ".c { color: red }"),
    ]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let code = code(&answer, "src/a.css");
    assert!(code.contains("import \"/src/b.css\";") && code.contains("import part0 from \"/src/c.css?inline\";"), "{code}");
    assert!(code.contains("\"@media screen{@layer base{\" + part0 + \"}}\\n\"") && code.contains("https://fonts.example/x.css"), "{code}");
}

#[test]
fn css_modules_export_values() {
    let answer = answer(&[
        (
            "src/main.tsx",
            "import s from './a.module.scss'; import c, { size } from './b.module.css'; console.log(s.primary, size, c.title, c.none)",
        ),
        ("src/a.module.scss", "$color: #ff0000;\n:export { primary: $color; }\n"),
        ("src/b.module.css", ":export { size: 4px; title: none; two-words: \"a\" }\n.title { color: red }"),
    ]);
    assert_eq!(brief(&answer.findings), ["MISSING_CLASS src/main.tsx:1:116"]);
    assert!(code(&answer, "src/a.module.scss").contains("const value0 = \"#ff0000\";"), "{}", code(&answer, "src/a.module.scss"));
    let code = code(&answer, "src/b.module.css");
    assert!(code.contains("const value0 = \"4px\";\nexport { value0 as size };") && code.contains("[\"two-words\"]: value1"), "{code}");
    assert!(!code.contains(":export") && code.contains("as title }"), "a class comes before a value: {code}");
}

#[test]
fn environment_and_globs_are_modules_of_the_page() {
    let main = "const pages = import.meta.glob(['./pages/*.tsx', '!./pages/no.tsx']);\nconst texts = import.meta.glob('/notes/**/*.md', { query: '?raw', import: 'default', eager: true });\n\
        if (import.meta.env.DEV && process.env.NODE_ENV !== 'production') console.log(import.meta.env.VITE_A, pages, texts)";
    let mut files = vec![
        ("src/main.tsx", main),
        (".env", "VITE_A=one\nSECRET=two"),
        ("src/pages/a.tsx", "export default 1"),
        ("src/pages/no.tsx", "export default 2"),
        ("src/pages/deep/b.tsx", "export default 3"),
        ("notes/x/y.md", "# y"),
    ];
    let first = answer(&files);
    assert_eq!(brief(&first.findings), Vec::<String>::new());
    let texts: Vec<_> = first.resources.iter().map(|resource| resource.text.as_str()).collect();
    let all = texts.join("");
    assert!(
        all.contains("\"./pages/a.tsx\": () => load(\"/src/pages/a.tsx\")") && !all.contains("no.tsx") && !all.contains("deep"),
        "{all}"
    );
    assert!(
        all.contains("import { \"default\" as file0 } from \"/notes/x/y.md?raw\"") && all.contains("\"/notes/x/y.md\": file0"),
        "{all}"
    );
    assert!(all.contains("\"VITE_A\":\"one\"") && !all.contains("SECRET"), "{all}");
    let main = code(&first, "src/main.tsx").to_owned();
    assert!(main.contains("\"development\" !== \"production\"") && !main.contains("import.meta.env"), "{main}");
    files.push(("src/pages/c.tsx", "export default 4"));
    assert_eq!(code(&answer(&files), "src/main.tsx"), main, "a file that a glob finds changes no module");
}

#[test]
fn files_with_one_code_are_two_modules() {
    let answer =
        answer(&[("src/main.tsx", "import './a'; import './b'"), ("src/a.ts", "export const a = []"), ("src/b.ts", "export const a = []")]);
    let urls: std::collections::BTreeSet<_> = answer.modules.iter().filter_map(|module| Some(&module.facts.as_ref()?.url)).collect();
    assert_eq!(urls.len(), 3);
}

#[test]
fn aliases_and_paths_are_followed() {
    let main = "import a from '@/a'; import b from '~lib/b'; import c from 'util/c'; import d from '#d'; console.log(a, b, c, d)";
    let answer = answer(&[
        ("package.json", r##"{"imports":{"#d":"./src/d.ts"}}"##),
        ("tsconfig.json", r#"{"files":[],"references":[{"path":"./tsconfig.app.json"},{"path":"./tsconfig.node.json"}]}"#),
        (
            "tsconfig.app.json",
            r#"{"extends":["@tsconfig/none","./base.json"],"include":["src"],"compilerOptions":{"paths":{"@/*":["./none/*","./src/*"]}}}"#,
        ),
        ("tsconfig.node.json", r#"{"include":["vite.config.ts"]}"#),
        ("base.json", r#"{"compilerOptions":{"baseUrl":"."}}"#),
        (
            "vite.config.ts",
            "export default { resolve: { alias: { '~lib': fileURLToPath(new URL('./lib', import.meta.url)) } } }\nimport { fileURLToPath } from 'node:url'",
        ),
        ("src/main.tsx", main),
        ("src/a/index.ts", "export default 1"),
        ("lib/b.ts", "export default 1"),
        ("util/c.ts", "export default 1"),
        ("src/d.ts", "export default 1"),
    ]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    assert!(answer.bare.is_empty(), "{:?}", answer.bare);
    for specifier in ["@/a", "~lib/b", "util/c", "#d"] {
        assert!(answer.page.contains(&format!("\"{specifier}\":\"/@m/")), "{specifier} is not in {}", answer.page);
    }
}

#[test]
fn a_project_of_javascript_has_its_paths_in_jsconfig() {
    let answer = answer(&[
        ("index.html", "<script type=module src=./src/main.jsx></script>"),
        ("jsconfig.json", r#"{"compilerOptions":{"paths":{"@/*":["./src/*"]}}}"#),
        ("package.json", r#"{"dependencies":{"preact":"10"}}"#),
        ("src/main.jsx", "import A from '@/a'; console.log(<A/>)"),
        ("src/a.js", "export default () => <b/>"),
    ]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    assert_eq!(answer.bare, ["preact/jsx-runtime"]);
}

#[test]
fn the_same_request_has_the_same_answer_and_known_modules_are_not_compiled_again() {
    let files = [
        ("index.html", "<script type=module src=/src/main.tsx></script>"),
        ("src/main.tsx", "import './a.css'; import { b } from './b'; b()"),
        ("src/a.css", ".a { color: red }"),
        ("src/b.ts", "import './main'; export function b() {}"),
    ];
    let first = compile(request(&files));
    assert_eq!(first, compile(request(&files)));
    let kept = known(&first);
    let mut second = request(&files);
    second.known.clone_from(&kept);
    for file in second.files.iter_mut().filter(|file| file.path.starts_with("src/")) {
        file.content = None;
    }
    let second = compile(second);
    assert!(second.wanted.is_empty() && second.modules.is_empty(), "{second:?}");
    assert_eq!(second.page, first.page);
    let mut changed = request(&files);
    changed.known = kept;
    changed.files[3] = crate::support::file("src/b.ts", b"export function b() { return 1 }");
    let changed = compile(changed);
    assert_eq!(changed.modules.len(), 1, "one edit compiles one module");
    assert_ne!(changed.page, first.page);
}

#[test]
fn modules_of_another_release_are_compiled_again() {
    let files = [
        ("index.html", "<script type=module src=/src/main.tsx></script><link rel=stylesheet href=/src/b.css>"),
        (
            "src/main.tsx",
            "import './a.scss'; import b from './b.json'; import c from './c.svg'; import W from './w?worker'; console.log(b, c, W)",
        ),
        ("src/a.scss", "a { b { color: red } }"),
        ("src/b.css", "b { color: red }"),
        ("src/b.json", "{}"),
        ("src/c.svg", "<svg/>"),
        ("src/w.ts", "postMessage(1)"),
    ];
    let by = |release: &str, known: Vec<bytes::Bytes>| compile(Request { release: release.to_owned(), known, ..request(&files) });
    let first = by("a", Vec::new());
    let kept = known(&first);
    assert_eq!(by("a", kept.clone()).modules, []);
    let second = by("b", kept.clone());
    assert_eq!(second.modules.len(), first.modules.len(), "{:?}", brief(&second.findings));
    assert!(known(&second).iter().all(|facts| !kept.contains(facts)), "each key has the release");
}

#[test]
fn contents_that_are_absent_are_asked_for_at_once() {
    let files = [
        ("index.html", "<script type=module src=/src/main.tsx></script>"),
        ("src/main.tsx", "import './b'"),
        ("src/b.ts", "import './c'"),
        ("src/c.ts", "export {}"),
        ("src/x.png", "png"),
        ("package.json", "{}"),
    ];
    let mut request = request(&files);
    for file in &mut request.files {
        file.content = None;
    }
    let answer = compile(request);
    assert_eq!(answer.wanted, ["index.html", "package.json", "src/b.ts", "src/c.ts", "src/main.tsx"]);
    assert!(answer.page.is_empty());
}
