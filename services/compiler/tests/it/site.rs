//! Sites: the files of a build, and that its scripts run.

use std::{collections::BTreeMap, fs, process::Command};

use compiler::site::build;
use compiler_client::message::{File, Request, SiteAnswer, SiteRequest, finding::code};

use crate::{
    packages::{THREADS, installed},
    support::{brief, file, many_warnings, workers},
};

const PAGE: &str = "<!doctype html><html><head><meta charset=utf-8><link rel=icon href=/icon.svg><link rel=stylesheet href=/src/base.css>\
    </head><body><img src=/src/photo.png><script type=module src=/src/main.ts></script></body></html>";

/// A project with what a site can have, besides packages.
const PROJECT: &[(&str, &str)] = &[
    ("index.html", PAGE),
    ("public/icon.svg", "<svg/>"),
    ("public/robots.txt", "User-agent: *"),
    ("public/assets/own-12345678.js", "own"),
    (".env", "VITE_NAME=fruit\nSECRET=s\n"),
    ("src/photo.png", "png"),
    ("src/base.css", "@import url(https://fonts.example/a;b.css);\n@import './theme.css' print;\nbody { background: url(./photo.png) }"),
    ("src/theme.css", "i { color: #ff0000; background: url(/icon.svg) }"),
    (
        "src/main.ts",
        "import './base.css';\nimport styles from './page.module.css';\nimport photo from './photo.png';\nimport text from './note.txt?raw';\n\
        import inline from './theme.css?inline';\nimport Counter from './count.ts?worker';\nimport pages from './pages';\nimport { used } from './unused';\n\
        const name: string = import.meta.env.VITE_NAME;\nif (import.meta.env.DEV) console.log('development');\n\
        const late = await import('./late');\nconst address = new URL('./photo.png', import.meta.url);\n\
        console.log(JSON.stringify({ name, used, photo, text, inline, title: styles.title, late: late.value, pages, worker: typeof Counter,\n\
        address: address.href, env: import.meta.env }));",
    ),
    ("src/pages.ts", "export default Object.keys(import.meta.glob('./pages/*.ts', { eager: true }));"),
    ("src/pages/a.ts", "export const a = 1;"),
    ("src/unused.ts", "export const used = 'used';\nexport const unused = 'not in the site';"),
    ("src/late.ts", "import './late.css';\nexport const value: number = 2;"),
    ("src/late.css", ".late { color: blue }"),
    ("src/page.module.css", ".title { color: teal; composes: big from './big.module.css' }"),
    ("src/big.module.css", ".big { font-size: 2em }"),
    ("src/note.txt", "a note"),
    ("src/count.ts", "import { used } from './unused';\nself.onmessage = () => self.postMessage(used);"),
];

fn request(files: &[(&str, &str)], packages: Vec<File>) -> SiteRequest {
    let files = files.iter().map(|(path, content)| file(path, content.as_bytes())).collect();
    SiteRequest { tree: Some(Request { files, ..Request::default() }), packages }
}

pub(crate) fn site(files: &[(&str, &str)]) -> SiteAnswer {
    build(request(files, Vec::new()), &THREADS, &mut |_| ())
}

/// The contents by path, with those of the tree.
pub(crate) fn contents(answer: &SiteAnswer, tree: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    let content = |source: &str| tree.iter().find(|(path, _)| *path == source).map(|(_, content)| content.as_bytes().to_vec());
    let files = answer.files.iter();
    files.map(|file| (file.path.clone(), content(&file.source).unwrap_or_else(|| file.content.to_vec()))).collect()
}

fn text_of<'a>(contents: &'a BTreeMap<String, Vec<u8>>, start: &str, end: &str) -> &'a str {
    let found = contents.iter().find(|(path, _)| path.starts_with(start) && path.ends_with(end));
    std::str::from_utf8(found.unwrap_or_else(|| panic!("no {start}*{end} in {:?}", contents.keys())).1).expect("UTF-8")
}

/// Runs a script of a site in Node.js, and returns what it prints.
pub(crate) fn run(contents: &BTreeMap<String, Vec<u8>>, script: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, content) in contents {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    fs::write(folder.path().join("package.json"), r#"{"type":"module"}"#).expect("a manifest");
    // Channels of a package can keep the process open.
    let code = format!("await import({:?}); process.exit(0);", format!("./{script}"));
    let output = Command::new("node").args(["--input-type=module", "-e", &code]).current_dir(folder.path()).output().expect("node");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

#[test]
fn a_site_has_few_small_files_with_hashes_in_their_names() {
    let answer = site(PROJECT);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let contents = contents(&answer, PROJECT);
    let page = text_of(&contents, "index.html", "");
    let main = contents.keys().find(|path| path.starts_with("assets/main-")).expect("a script").clone();
    for part in [format!("<script type=module src=\"/{main}\">"), "<meta charset=utf-8>".to_owned(), "href=\"/icon.svg\"".to_owned()] {
        assert!(page.contains(&part), "{part} is not in {page}");
    }
    assert!(!page.contains("base.css") && page.contains("rel=\"stylesheet\" crossorigin href=\"/assets/index-"), "{page}");
    let sheet = text_of(&contents, "assets/index-", ".css");
    assert!(sheet.starts_with("@import \"https://fonts.example/a;b.css\";"), "{sheet}");
    for part in ["@media print{i{", "url(\"../icon.svg\")", "url(\"photo-", "color:teal", "font-size:2em", ".late{"] {
        assert!(sheet.contains(part), "{part} is not in {sheet}");
    }
    let scripts: String =
        contents.iter().filter(|(path, _)| path.ends_with(".js")).map(|(_, code)| String::from_utf8_lossy(code)).collect();
    for part in ["not in the site", "development", "SECRET", "sourceMappingURL", "backlot:"] {
        assert!(!scripts.contains(part), "{part} is in {scripts}");
    }
    assert_eq!(contents["robots.txt"], b"User-agent: *");
    // A file of `public` keeps its name, whatever it looks like.
    let is_made = |path: &str| path.starts_with("assets/") && path != "assets/own-12345678.js";
    assert!(answer.files.iter().all(|file| file.hashed == is_made(&file.path)), "{:?}", contents.keys());
    assert!(answer.files.iter().filter(|file| file.hashed).count() >= 5);
    assert!(contents.keys().all(|path| !path.starts_with('.') && !path.starts_with("src/")), "{:?}", contents.keys());
    let printed: serde_json::Value = serde_json::from_str(&run(&contents, &main)).expect("JSON");
    assert_eq!((&printed["name"], &printed["used"], &printed["text"]), (&"fruit".into(), &"used".into(), &"a note".into()));
    assert_eq!((&printed["late"], &printed["worker"]), (&2.into(), &"function".into()));
    assert_eq!(printed["pages"], serde_json::json!(["./pages/a.ts"]));
    assert_eq!(printed["title"].as_str().expect("classes").split(' ').count(), 2);
    for name in ["photo", "address"] {
        let address = printed[name].as_str().expect("an address");
        assert!(address.contains("/assets/photo-") && contents.keys().any(|path| address.ends_with(path)), "{address}");
    }
    assert_eq!(
        printed["env"],
        serde_json::json!({"BASE_URL": "/", "MODE": "production", "DEV": false, "PROD": true, "SSR": false, "VITE_NAME": "fruit"})
    );
}

#[test]
fn the_same_tree_has_the_same_bytes_and_names_change_with_their_contents() {
    let answer = site(PROJECT);
    assert_eq!(answer, site(PROJECT));
    let names = |answer: &SiteAnswer| answer.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    let mut other = PROJECT.to_vec();
    other.retain(|(path, _)| *path != "src/late.ts");
    other.push(("src/late.ts", "export const value: number = 3;"));
    assert_ne!(names(&answer), names(&site(&other)));
    let mut below = request(PROJECT, Vec::new());
    below.tree.as_mut().expect("a tree").base = "/below/".to_owned();
    let below = contents(&build(below, &THREADS, &mut |_| ()), PROJECT);
    let page = text_of(&below, "index.html", "");
    assert!(page.contains("src=\"/below/assets/main-") && page.contains("href=\"/below/icon.svg\""), "{page}");
}

#[test]
fn the_name_of_an_entry_changes_with_the_environment_and_with_packages() {
    let project = |env: &'static str| {
        [("index.html", "<script type=module src=/main.ts></script>"), ("main.ts", "console.log(import.meta.env.VITE_API)"), (".env", env)]
    };
    let entry = |answer: SiteAnswer| {
        let found = answer.files.into_iter().find(|file| file.path.starts_with("assets/main-"));
        found.expect("an entry").path
    };
    let first = entry(site(&project("VITE_API=a")));
    assert_eq!(first, entry(site(&project("VITE_API=a"))));
    assert_ne!(first, entry(site(&project("VITE_API=b"))));
    let package = |content: &'static str| File { path: "a/index.js".to_owned(), content: Some(content.into()), ..File::default() };
    let with = |content| entry(build(request(&project("VITE_API=a"), vec![package(content)]), &THREADS, &mut |_| ()));
    assert_ne!(with("export default 1"), with("export default 2"));
}

#[test]
fn what_breaks_the_page_breaks_the_site() {
    let page = ("index.html", "<script type=module src=/a.ts></script>");
    for (code, expected) in [("const = 1", "SYNTAX_ERROR a.ts:1:7"), ("import './b'", "UNRESOLVED_IMPORT a.ts:1:8")] {
        let answer = site(&[page, ("a.ts", code)]);
        assert_eq!((brief(&answer.findings), answer.files.len()), (vec![expected.to_owned()], 0));
    }
    let package = |code: &str| {
        let files = [page, ("package.json", r#"{"dependencies": {"p": "1"}}"#), ("a.ts", "import 'p'; missing();")];
        let packages = vec![file("node_modules/p/index.js", code.as_bytes())];
        build(request(&files, packages), &THREADS, &mut |_| ())
    };
    let broken = package("export const = 1");
    let of_package = broken.findings.iter().any(|finding| finding.file == "node_modules/p/index.js");
    assert_eq!((of_package, broken.files.len()), (true, 0), "{:?}", broken.findings);
    // An undefined name fails only where it is used.
    let whole = package("export const a = 1");
    assert_eq!((brief(&whole.findings), whole.files.is_empty()), (vec!["UNDEFINED_NAME a.ts:1:13".to_owned()], false));
    let mut partial = request(&[page, ("a.ts", "export {}")], Vec::new());
    partial.tree.as_mut().expect("a tree").files[1].content = None;
    let answer = build(partial, &THREADS, &mut |_| ());
    assert_eq!((answer.wanted, answer.files.len()), (vec!["a.ts".to_owned()], 0));
}

/// What of a package is not used is not in the site, and its sheets are in that of the site.
#[tokio::test]
async fn published_packages_are_part_of_the_bundle() {
    let files = [
        ("index.html", "<div id=root></div><script type=module src=/src/main.tsx></script>"),
        ("package.json", r#"{"dependencies":{"react":"19","react-dom":"19","lucide-react":"1","swiper":"14"}}"#),
        (
            "src/main.tsx",
            "import { renderToString } from 'react-dom/server';\nimport { Apple } from 'lucide-react';\nimport 'swiper/css';\n\
             console.log(renderToString(<Apple size={7} />));",
        ),
    ];
    let answer = workers().build_site(&request(&files, installed())).await.expect("a site");
    assert_eq!(answer.findings.iter().filter(|found| !found.is_warning).count(), 0, "{:#?}", answer.findings);
    let contents = contents(&answer, &files);
    let main = contents.keys().find(|path| path.starts_with("assets/main-")).expect("a script").clone();
    let printed = run(&contents, &main);
    assert!(printed.starts_with("<svg") && printed.contains("width=\"7\""), "{printed}");
    assert!(text_of(&contents, "assets/index-", ".css").contains(".swiper"));
    let script = text_of(&contents, "assets/main-", ".js");
    assert!(!script.contains("swiper") && script.len() < 1_000_000, "{} bytes", script.len());
}

/// The configuration of the project does not reach components of packages, and they do not need one.
#[test]
fn components_of_a_package_and_of_a_configured_project_are_in_one_site() {
    let files = [
        ("index.html", "<!doctype html><script type=module src=/src/main.js></script>"),
        ("package.json", r#"{"dependencies":{"svelte":"5","parts":"1"}}"#),
        ("svelte.config.js", "export default { compilerOptions: { runes: true } };"),
        ("src/main.js", "import Own from './Own.svelte';\nimport Part from 'parts';\nconsole.log(Own, Part);"),
        ("src/Own.svelte", "<script>let { name = 'own' } = $props();</script><p>{name}</p>"),
    ];
    let packages = vec![
        file("node_modules/parts/package.json", br#"{"name":"parts","version":"1.0.0","svelte":"./Part.svelte"}"#),
        file("node_modules/parts/Part.svelte", b"<script>export let name = 'part';</script><b>{name}</b>"),
    ];
    let mut request = request(&files, packages.into_iter().chain(installed()).collect());
    request.tree.as_mut().expect("a tree").tools = crate::tools::all();
    let answer = build(request, &THREADS, &mut |_| ());
    let failed: Vec<_> = answer.findings.iter().filter(|found| found.code == code::TOOL_FAILED).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(answer.files.iter().any(|file| String::from_utf8_lossy(&file.content).contains("part")), "{:#?}", answer.findings);
}

#[test]
fn warnings_hide_no_error() {
    let warnings = many_warnings();
    let files = [
        ("index.html", "<!doctype html><script type=module src=/src/main.ts></script>"),
        ("src/main.ts", "import './a';\nimport './z';\n"),
        ("src/a.ts", &warnings),
        ("src/a.module.css", ".main { color: red }\n"),
        ("src/z.ts", "const = 1;\n"),
    ];
    let answer = site(&files);
    assert_eq!(brief(&answer.findings)[0], "SYNTAX_ERROR src/z.ts:1:7");
    assert_eq!((answer.findings.len(), answer.files.len()), (200, 0));
}
