//! Workers: their scripts, what they import, and how a page starts them.

use compiler_client::message::{Answer, Package, Request, facts::Kind};

use crate::support::{answer, brief, code, code_of, compile, known, request};

/// The generated texts that contain a part.
fn texts<'a>(answer: &'a Answer, part: &str) -> Vec<&'a str> {
    answer.resources.iter().map(|resource| resource.text.as_str()).filter(|text| text.contains(part)).collect()
}

/// The text that an address of the form `./HASH.js` names.
fn beside<'a>(answer: &'a Answer, text: &str, before: &str) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("{before} is not in {text}")).1;
    let name = rest.split('"').next().expect("an address").trim_start_matches("./");
    let found = answer.resources.iter().find(|resource| resource.url == format!("@m/{name}"));
    found.map(|resource| resource.text.as_str()).unwrap_or_else(|| panic!("there is no {name}, of {text}"))
}

#[test]
fn a_worker_of_the_project_is_compiled_with_addresses_in_place_of_specifiers() {
    let answer = answer(&[
        ("package.json", r#"{"dependencies":{"comlink":"4"}}"#),
        (
            "src/main.tsx",
            "const w = new Worker(new URL('./w.ts', import.meta.url), { type: 'module' });\nconst n = new Worker(new URL('./w.ts', import.meta.url), { name: 'n' });\n\
             const s = new SharedWorker(new URL('w.ts', import.meta.url));\nconsole.log(w, n, s)",
        ),
        (
            "src/w.ts",
            "import { expose } from 'comlink';\nimport { add, type T } from './math';\nimport data from './data.json';\n\
             self.onmessage = async (event: MessageEvent<T>) => postMessage([add(event.data), data, import.meta.env.MODE, await import('./later'), new URL('./x.png', import.meta.url).href]);\nexpose({})",
        ),
        ("src/math.ts", "import './w';\nexport type T = number; export const add = (a: T): T => a + 1"),
        ("src/later.ts", "export {}"),
        ("src/data.json", "[1]"),
        ("src/x.png", "png"),
    ]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let main = code(&answer, "src/main.tsx");
    assert!(main.contains("import backlot0 from \"/src/w.ts?worker&url\";"), "{main}");
    assert_eq!(main.matches("type: \"module\"").count(), 3, "{main}");
    assert!(answer.page.contains("\"/src/w.ts?worker&url\":\"/@m/") && !answer.page.contains("/src/math"), "{}", answer.page);
    let start = texts(&answer, "export default new URL(\"./");
    assert_eq!(start.len(), 1, "{start:?}");
    let script = beside(&answer, start[0], "new URL(\"");
    assert!(script.contains("onmessage") && !script.contains("backlot-") && !script.contains("/src/"), "{script}");
    assert!(script.contains("from \"comlink\"") && answer.bare == ["comlink"], "a package that has no address yet: {script}");
    let math = beside(&answer, script, "import { add } from \"");
    assert!(math.contains("add = (a) => a + 1"), "{math}");
    // They import each other.
    assert_eq!(beside(&answer, math, "import \""), script);
    assert_eq!(beside(&answer, script, "import(\""), texts(&answer, "export {}")[0]);
    assert!(beside(&answer, script, "import backlot0 from \"").contains("\"MODE\":\"development\""), "{script}");
    assert!(answer.resources.iter().any(|resource| resource.path == "src/x.png"));
}

#[test]
fn a_query_makes_a_constructor_or_an_address() {
    let answer = answer(&[
        (
            "src/main.tsx",
            "import A from './w?worker'; import B from './w?worker&inline'; import C from './w?sharedworker'; import d from './w?worker&url';\nimport e from '/p.js?worker&url';\nconsole.log(A, B, C, d, e)",
        ),
        ("src/w.ts", "postMessage(1); import W from './w?worker'; export const x = () => new W()"),
        ("public/p.js", "importScripts('./q.js')"),
    ]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    for query in ["w?worker", "w?worker&inline", "w?sharedworker", "w?worker&url"] {
        assert!(answer.page.contains(&format!("\"/src/{query}\":\"/@m/")), "{query} is not in {}", answer.page);
    }
    assert_eq!((texts(&answer, "new Worker(").len(), texts(&answer, "new SharedWorker(").len()), (1, 1));
    let script = texts(&answer, "postMessage(1)");
    assert!(script.len() == 1 && beside(&answer, script[0], "import W from \"").contains("new Worker("), "{script:?}");
    // A file of `public` is served as it is.
    assert!(code_of(&answer, "public/p.js", Kind::Address).contains("new URL(\"../p.js\", import.meta.url)"));
}

#[test]
fn an_edit_of_what_a_worker_imports_changes_its_address_and_a_package_has_one() {
    let files = |text: &'static str| {
        [
            ("index.html", "<script type=module src=/main.js></script>"),
            ("package.json", r#"{"dependencies":{"a":"1"}}"#),
            ("main.js", "import W from './w?worker'; new W()"),
            ("w.js", "import 'a'; import './b'; import './c'"),
            ("b.js", text),
            ("c.js", "export {}"),
        ]
    };
    let with = |text, packages: Vec<Package>| compile(Request { packages, ..request(&files(text)) });
    let package = Package { specifier: "a".to_owned(), url: "@m/1.js".to_owned(), exports: Vec::new() };
    let first = with("export {}", vec![package.clone()]);
    assert!(texts(&first, "import \"./1.js\";").len() == 1, "{:?}", first.resources);
    let urls = |answer: &Answer| answer.resources.iter().map(|resource| resource.url.clone()).collect::<Vec<_>>();
    assert_eq!(urls(&first), urls(&with("export {}", vec![package.clone()])));
    let changed = with("export { };1", vec![package]);
    assert!(urls(&changed).iter().all(|url| !urls(&first).contains(url)), "each file of the workers has another address");
    // What is known is not compiled again.
    let kept = known(&first);
    let again = compile(Request {
        known: kept,
        packages: vec![Package { specifier: "a".to_owned(), url: "@m/1.js".to_owned(), exports: Vec::new() }],
        ..request(&files("export {}"))
    });
    assert_eq!((again.modules.len(), &again.page), (0, &first.page));
}

#[test]
fn what_is_wrong_with_a_worker_is_found() {
    let answer = answer(&[
        (
            "src/main.tsx",
            "new Worker(new URL('./none.ts', import.meta.url));\nimport A, { x } from './w?worker'; import b from './b.css?worker'; console.log(A, x, b)",
        ),
        ("src/w.ts", "import { none } from './m'; import './absent'; none(nothing);"),
        ("src/m.ts", "export const m = 1"),
        ("src/b.css", "a{}"),
    ]);
    let expected = [
        "MISSING_FILE src/main.tsx:1:20",
        "MISSING_EXPORT src/main.tsx:2:13",
        "UNSUPPORTED src/main.tsx:2:50",
        "MISSING_EXPORT src/w.ts:1:10",
        "UNRESOLVED_IMPORT src/w.ts:1:36",
        "UNDEFINED_NAME src/w.ts:1:53",
    ];
    assert_eq!(brief(&answer.findings), expected);
    assert!(answer.page.is_empty() && !answer.error_page.is_empty());
}

#[test]
fn the_globs_of_a_worker_are_scripts_of_it() {
    let answer = answer(&[
        ("src/main.tsx", "new Worker(new URL('./w.ts', import.meta.url));"),
        (
            "src/w.ts",
            "const name = String(self.name);\nexport const all = import.meta.glob('./jobs/*.ts', { eager: true });\n\
             postMessage([await import(`./jobs/${name}.ts`), new URL(`./img/${name}.png`, import.meta.url).href]);",
        ),
        ("src/jobs/a.ts", "export const a: number = 'job' + 1;"),
        ("src/img/a.png", "png"),
    ]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let script = texts(&answer, "postMessage(")[0];
    assert!(!script.contains("import.meta.glob") && !script.contains("/@glob/") && !script.contains("backlot-"), "{script}");
    for (at, part) in [(0, "import * as file0 from \""), (1, "\"./jobs/a.ts\": () => import(\"")] {
        let glob = beside(&answer, script, &format!("import backlot{at} from \""));
        assert!(beside(&answer, glob, part).contains("\"job\" + 1"), "{glob}");
    }
    let images = beside(&answer, script, "import backlot2 from \"");
    assert!(images.contains("\"./img/a.png\": file0"), "{images}");
    assert!(
        script.contains("await backlot1(`./jobs/${name}.ts`)") && script.contains("new URL(backlot2(`./img/${name}.png`), "),
        "{script}"
    );
    assert!(answer.resources.iter().any(|resource| resource.path == "src/img/a.png"));
}
