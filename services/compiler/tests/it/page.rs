//! `index.html`.

use compiler_client::message::Package;

use crate::support::{answer, brief, compile, request};

#[test]
fn a_page_gets_its_import_map_before_its_scripts_and_keeps_the_rest() {
    let html = "<!DOCTYPE html>\n<html lang=en><head>\n<title>T</title><link rel=icon href=/icon.svg><link rel=stylesheet href=/src/a.css>\n\
        <script type=module>import './src/main.tsx'; console.log(1)</script></head><body><div id=root></div><img src=./src/x.png></body></html>";
    let files = [
        ("index.html", html),
        ("public/icon.svg", "<svg/>"),
        ("src/main.tsx", "import 'pkg'"),
        ("src/a.css", "@import './b.css';\n.a { background: url(x.png) }"),
        ("src/b.css", "@import './a.css'; .b { color: red }"),
        ("src/x.png", "png"),
        ("package.json", r#"{"dependencies":{"pkg":"1"}}"#),
    ];
    let mut with_base = request(&files);
    with_base.base = "/p/1/".to_owned();
    with_base.packages =
        ["pkg", "other"].map(|name| Package { specifier: name.to_owned(), url: format!("@m/{name}.js"), exports: Vec::new() }).to_vec();
    let answer = compile(with_base);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let page = &answer.page;
    let map = page.find("<script type=\"importmap\">").expect("an import map");
    assert!(map < page.find("modulepreload").expect("a preload") && map > page.find("<head>").expect("a head"), "{page}");
    for part in
        ["<title>T</title>", "href=\"/p/1/icon.svg\"", "<img src=\"/p/1/@a/", "\"pkg\":\"/p/1/@m/pkg.js\"", "href=\"/p/1/@m/pkg.js\""]
    {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!page.contains("other") && !page.contains("console.log(1)"), "{page}");
    let sheets: Vec<_> = answer.resources.iter().filter(|resource| resource.url.ends_with(".css")).map(|resource| &resource.text).collect();
    assert!(sheets.iter().any(|text| text.contains("../@a/")) && sheets.iter().any(|text| text.contains("@import \"./")), "{sheets:?}");
}

/// The first letters of `BASE_URL` and of the file are hexadecimal digits.
#[test]
fn names_of_the_environment_in_a_page_have_values() {
    let html = "<head><title>%VITE_TITLE% %MODE%</title><link rel=icon href=%BASE_URL%favicon.svg><link rel=icon href=%BASE_URL%fade.svg>\
        <base-url>%BASE_URL%</base-url></head><script type=module src=%BASE_URL%src/main.tsx></script>\
        <script type=module>console.log('%BASE_URL%')</script>";
    let files = [("index.html", html), (".env", "VITE_TITLE=Shop"), ("public/favicon.svg", "<svg/>"), ("src/main.tsx", "export {}")];
    let mut request = request(&files);
    request.base = "/p/1/".to_owned();
    let answer = compile(request);
    assert_eq!(brief(&answer.findings), ["MISSING_FILE index.html:1:80"]);
    for part in ["<title>Shop development</title>", "href=\"/p/1/favicon.svg\"", "<base-url>/p/1/</base-url>", "src=\"/p/1/@m/"] {
        assert!(answer.page.contains(part), "{part} is not in {}", answer.page);
    }
    assert!(answer.modules.iter().any(|module| module.code.contains("/p/1/")), "{:?}", answer.modules);
}

#[test]
fn findings_of_inline_scripts_are_in_the_page() {
    let answer = answer(&[("index.html", "<head>\n<script type=module>\n  import './none';\n  nothing();\n</script>")]);
    assert_eq!(brief(&answer.findings), ["UNRESOLVED_IMPORT index.html:3:10", "UNDEFINED_NAME index.html:4:3"]);
    assert!(answer.page.is_empty());
}

#[test]
fn a_link_to_a_sheet_that_a_script_has_to_import_has_a_warning() {
    let html = "<head><link rel=stylesheet href=/src/a.scss?v=1><link rel=stylesheet href=/src/b.css></head>\n<script type=module src=/src/main.tsx></script>";
    let files =
        [("index.html", html), ("src/a.scss", "a { b { color: red } }"), ("src/b.css", "b { color: red }"), ("src/main.tsx", "export {}")];
    let answer = answer(&files);
    assert_eq!(brief(&answer.findings), ["UNSUPPORTED index.html:1:7"]);
    assert!(answer.findings[0].is_warning && answer.findings[0].help.contains("Import the style sheet") && !answer.page.is_empty());
}

#[test]
fn errors_that_stop_a_page_are_shown_in_its_place() {
    let broken = answer(&[("src/main.tsx", "import './</h2><script>alert(1)</script>';\nnothing();\nexport const = 1;")]);
    let shown = &broken.error_page;
    assert!(
        broken.page.is_empty() && shown.contains("<h2>src/main.tsx:3:14</h2>") && shown.contains("&gt;    3 | export const = 1"),
        "{shown}"
    );
    let missing = answer(&[("src/main.tsx", "import './</h2><script>alert(1)</script>';\nnothing();")]);
    let shown = &missing.error_page;
    assert!(shown.contains("&lt;script&gt;") && !shown.contains("<script") && !shown.contains("nothing is not defined"), "{shown}");
    assert!(compile(request(&[])).error_page.contains("no index.html"));
    let whole = answer(&[("src/main.tsx", "nothing()")]);
    assert!(whole.error_page.is_empty() && !whole.page.is_empty());
    // An empty file is a page of no elements, and still no blank answer.
    let empty = answer(&[("index.html", "")]);
    assert!(empty.page.is_empty() != empty.error_page.is_empty(), "{empty:?}");
    let mut wanted = request(&[("index.html", "<script type=module src=/a.js></script>"), ("a.js", "")]);
    wanted.files[1].content = None;
    let wanted = compile(wanted);
    assert!(wanted.error_page.is_empty() && wanted.wanted == ["a.js"]);
}

#[test]
fn an_import_map_cannot_end_its_script() {
    let answer = answer(&[("src/main.tsx", "import './</script><script>alert(1)//.js?raw'"), ("src/</script><script>alert(1)//.js", "")]);
    assert!(!answer.page.contains("</script><script>alert"), "{}", answer.page);
}

#[test]
fn a_tree_without_a_page_says_so() {
    assert_eq!(brief(&compile(request(&[("src/a.ts", "")])).findings), ["MISSING_PAGE index.html:1:1"]);
    assert_eq!(brief(&compile(request(&[])).findings), ["MISSING_PAGE index.html:1:1"]);
}

#[test]
fn a_framework_that_is_not_compiled_is_named_without_a_page_and_packages() {
    let files = [("package.json", r#"{"dependencies": {"astro": "6", "react": "19"}}"#), ("src/pages/index.astro", "---\n---\n<p>a</p>")];
    let answer = compile(request(&files));
    assert_eq!(brief(&answer.findings), ["UNSUPPORTED package.json:1:19"]);
    assert!(answer.error_page.contains("Astro needs a server"), "{}", answer.error_page);
    let with_page = [
        ("index.html", "<script type=module src=/src/main.jsx></script>"),
        ("package.json", r#"{"dependencies": {"solid-js": "1"}}"#),
        ("src/main.jsx", "import { render } from 'solid-js/web'; render(() => <p>a</p>, document.body);"),
    ];
    assert_eq!(compile(request(&with_page)).bare, Vec::<String>::new(), "nothing is fetched");
}

const ATTRIBUTES: &str = "<!doctype html><html><head>\
    <link rel=preload as=image href=/src/a.png imagesrcset='/src/a.png 1x, /src/b.png 2x'><meta property=og:image content=/src/a.png>\
    <meta name=description content=/src/a.png><meta name=msapplication-config content=none></head><body>\
    <img src=/src/a.png srcset='/src/a.png 1x,/src/b.png 2x, https://x.example/c.png 3x, /big%20one.png 4x'>\
    <picture><source srcset='/icon.png 1x'></picture><video poster=/src/a.png src=/src/v.mp4></video><object data=/src/d.svg></object>\
    <svg><image href='/src/a.png'/><use xlink:href='/src/d.svg#home'/><use href='#own'/></svg><img vite-ignore src=/none.png></body></html>";

/// The page with `{a}` and the like as the addresses of its files.
fn written(a: &str, b: &str, v: &str, d: &str) -> String {
    format!(
        "<!doctype html><html><head>\
        <link rel=preload as=image href=\"{a}\" imagesrcset=\"{a} 1x, {b} 2x\"><meta property=og:image content=\"{a}\">\
        <meta name=description content=/src/a.png><meta name=msapplication-config content=none></head><body>\
        <img src=\"{a}\" srcset=\"{a} 1x,{b} 2x, https://x.example/c.png 3x, /big%20one.png 4x\">\
        <picture><source srcset=\"/icon.png 1x\"></picture><video poster=\"{a}\" src=\"{v}\"></video><object data=\"{d}\"></object>\
        <svg><image href=\"{a}\" /><use xlink:href=\"{d}#home\" /><use href='#own'/></svg><img vite-ignore src=/none.png></body></html>"
    )
}

#[test]
fn every_attribute_that_names_a_file_gets_its_address() {
    let files = [
        ("index.html", ATTRIBUTES),
        ("public/icon.png", "icon"),
        ("public/big one.png", "big"),
        ("src/a.png", "a"),
        ("src/b.png", "b"),
        ("src/v.mp4", "v"),
        ("src/d.svg", "<svg/>"),
    ];
    let id = |content: &str| crate::support::file("", content.as_bytes()).id;
    let preview = answer(&files);
    assert_eq!(brief(&preview.findings), Vec::<String>::new());
    let [a, b, v, d] = [("a", "png"), ("b", "png"), ("v", "mp4"), ("<svg/>", "svg")].map(|(text, end)| format!("/@a/{}.{end}", id(text)));
    // The import map comes first.
    let head = preview.page.split_once("<link rel=preload").expect("the link").0;
    let page = preview.page.replacen(head, "<!doctype html><html><head>", 1);
    assert_eq!(page, written(&a, &b, &v, &d));
    assert!(preview.resources.iter().any(|resource| resource.path == "src/b.png"));

    let site = crate::site::site(&files);
    assert_eq!(brief(&site.findings), Vec::<String>::new());
    let address = |name: &str, text: &str, end: &str| format!("/assets/{name}-{}.{end}", id(text));
    let [a, b, v, d] =
        [("a", "a", "png"), ("b", "b", "png"), ("v", "v", "mp4"), ("d", "<svg/>", "svg")].map(|(name, text, end)| address(name, text, end));
    let page = site.files.iter().find(|file| file.path == "index.html").expect("the page");
    assert_eq!(String::from_utf8_lossy(&page.content), written(&a, &b, &v, &d));
    for path in [a, b, v, d].iter().map(|path| &path[1..]).chain(["icon.png", "big one.png"]) {
        assert!(site.files.iter().any(|file| file.path == path), "{path} is not published");
    }
}

#[test]
fn a_file_that_no_attribute_finds_has_a_warning() {
    let page = "<head></head>\n<img srcset='/none.png 1x, /there.png 2x'>\n<video poster=none.png></video>\n<object data=/none.svg></object>\n\
        <meta name=twitter:image content=none.png>";
    let answer = answer(&[("index.html", page), ("public/there.png", "png")]);
    let expected = [2, 3, 4, 5].map(|line| format!("MISSING_FILE index.html:{line}:1"));
    assert_eq!(brief(&answer.findings), expected);
    assert!(answer.findings.iter().all(|found| found.is_warning) && answer.findings[0].message.contains("srcset=\"/none.png\""));
}
