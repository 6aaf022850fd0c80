//! Packages of pages: from a registry of the test, and from the registry that npm is set up for.

use std::process::Command;

use proto::compile::{Finding, Page};
use serde_json::json;

use crate::{
    harness::{Project, Replica, database, react, replica},
    upstream::{Answer, Upstream, integrity, tarball, tarball_path},
};

pub(crate) fn brief(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|found| format!("{} {}:{}", found.code, found.file, found.line)).collect()
}

/// A page that imports packages.
pub(crate) fn project(manifest: &str, imports: &[&str]) -> Project {
    let script: String =
        imports.iter().enumerate().map(|(at, import)| format!("import * as a{at} from '{import}'; console.log(a{at});\n")).collect();
    let page = "<head></head><script type=module src=/main.js></script>";
    // With it the project has Vite's layout.
    let configuration = ("vite.config.js", "export default {};");
    [("index.html", page), ("package.json", manifest), configuration, ("main.js", &script)]
        .into_iter()
        .map(|(path, text)| (path, text.to_owned()))
        .collect()
}

/// The code of the page's modules.
pub(crate) async fn code(replica: &Replica, page: &Page) -> String {
    let mut code = String::new();
    for name in &page.modules {
        code.push_str(&String::from_utf8_lossy(&replica.module(name).await.expect("a module").body));
    }
    code
}

pub(crate) async fn rows(pool: &sqlx::PgPool, table: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {table}"))).fetch_one(pool).await.expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_fetched_and_bundled_once_for_all_projects_and_replicas() {
    let (database, upstream) = (database().await, Upstream::with_react().await);
    upstream.publish("vite", "6.0.0", &json!({}), &[("package.json", "{}")]);
    let settings = [("BACKLOT_NPM_REGISTRY", upstream.url.as_str())];
    let first = replica(&database, &settings).await;
    let mut own = react();
    own.insert(
        "package.json",
        r#"{"dependencies": {"react": "^19.0.0", "react-dom": "^19.0.0"}, "devDependencies": {"vite": "6"}}"#.to_owned(),
    );
    let page = first.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    for specifier in ["react/jsx-runtime", "react-dom/client"] {
        assert!(page.html.contains(&format!("\"{specifier}\":\"/@m/")), "{specifier} is not in {}", page.html);
    }
    let code = code(&first, &page).await;
    assert!(code.contains("react itself") && code.contains("createRoot"), "{code}");
    let (react, dom) = (tarball_path("react", "19.0.0"), tarball_path("react-dom", "19.0.0"));
    let refresh = tarball_path("react-refresh", "0.19.0");
    let expected = ["/react", "/react-dom", "/react-refresh", &react, &dom, &refresh, "/vite"];
    let mut expected = expected.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(upstream.requests(), expected, "what no page imports is resolved, and not fetched");

    // An edit, and another project with the same packages, at another replica.
    own.insert("src/greet.ts", "export const greet = (name: string): string => name;\n".to_owned());
    let edited = first.build(&own).await.expect("a page").page;
    assert!(edited.html.contains("\"react/jsx-runtime\":\"/@m/"), "{}", edited.html);
    assert_eq!(upstream.requests(), Vec::<String>::new());
    let second = replica(&database, &settings).await;
    own.insert("package.json", r#"{"name": "other", "dependencies": {"react": "19", "react-dom": "19"}}"#.to_owned());
    let other = second.build(&own).await.expect("a page").page;
    assert_eq!(upstream.requests(), ["/react", "/react-dom"], "resolved anew, and bundled already");
    assert_eq!(other.html, edited.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_works_without_react_refresh_and_is_not_kept() {
    let (database, upstream) = (database().await, Upstream::with_react().await);
    upstream.answer("/react-refresh", Answer::Body(b"{}".to_vec()));
    let settings = [("BACKLOT_NPM_REGISTRY", upstream.url.as_str())];
    let page = replica(&database, &settings).await.build(&react()).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    assert!(!page.html.is_empty() && !page.html.contains("type=\"module\" src=\"/@m/"), "{}", page.html);
    let asked = |requests: Vec<String>| requests.iter().filter(|path| *path == "/react-refresh").count();
    assert_eq!(asked(upstream.requests()), 1);
    // A build soon after does not ask again; another process does.
    let first = replica(&database, &settings).await;
    first.build(&react()).await.expect("a page");
    first.build(&react()).await.expect("a page");
    assert_eq!(asked(upstream.requests()), 1);
    upstream.publish_refresh();
    let page = replica(&database, &settings).await.build(&react()).await.expect("a page").page;
    let script = page.html.split("<script type=\"module\" src=\"/").nth(1).and_then(|rest| rest.split('"').next()).expect("the script");
    let module = first.module(script).await.expect("a module");
    assert!(String::from_utf8_lossy(&module.body).contains("the hook"), "{}", page.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_package_is_a_finding_that_ends_when_it_is_published() {
    let (database, upstream) = (database().await, Upstream::start().await);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    let own = project("{\n  \"dependencies\": {\n    \"left-padd\": \"^1.0.0\"\n  }\n}", &["left-padd"]);
    let page = replica.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), ["UNKNOWN_PACKAGE package.json:3"]);
    assert!(page.html.is_empty() && page.findings[0].help.contains("left-padd") && page.findings[0].frame.contains('^'), "{page:?}");
    upstream.publish("left-padd", "0.9.0", &json!({}), &[("index.js", "exports.a = 'padded';")]);
    let page = replica.build(&own).await.expect("a page").page;
    assert!(page.html.is_empty() && page.findings[0].help.contains("latest"), "no version matches: {page:?}");
    upstream.publish("left-padd", "1.2.0", &json!({}), &[("index.js", "exports.a = 'padded';")]);
    let page = replica.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    assert!(code(&replica, &page).await.contains("padded"));
    // A package that the project does not list.
    let page = replica.build(&project("{}", &["left-padd"])).await.expect("a page").page;
    assert_eq!(brief(&page.findings), ["MISSING_PACKAGE main.js:1"]);
    assert!(page.findings[0].help.contains("Add left-padd to the dependencies"), "{page:?}");
    let mut without = project("{}", &["left-padd"]);
    without.remove("package.json");
    let page = replica.build(&without).await.expect("a page").page;
    assert_eq!(brief(&page.findings), ["MISSING_PACKAGE package.json:1"]);
    assert!(page.html.is_empty() && page.findings[0].help.contains("\"left-padd\": \"latest\""), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_not_published_are_refused() {
    let (database, upstream) = (database().await, Upstream::start().await);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    upstream.publish("a", "1.0.0", &json!({}), &[("index.js", "exports.a = 1;")]);
    upstream.answer(&tarball_path("a", "1.0.0"), Answer::Body(tarball(&[("index.js", "exports.a = 'evil';")])));
    let own = project(r#"{"dependencies": {"a": "1"}}"#, &["a"]);
    let page = replica.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), ["DAMAGED_PACKAGE package.json:1"]);
    assert_eq!((page.html.as_str(), rows(&database.pool, "tarballs").await, rows(&database.pool, "bundles").await), ("", 0, 0));
    upstream.answer(&tarball_path("a", "1.0.0"), Answer::Body(b"no archive".to_vec()));
    assert_eq!(brief(&replica.build(&own).await.expect("a page").page.findings), ["DAMAGED_PACKAGE package.json:1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_host_is_asked() {
    let (database, upstream, other) = (database().await, Upstream::start().await, Upstream::with_react().await);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    // Redirects.
    upstream.answer("/react", Answer::Redirect(format!("{}/react", other.url)));
    let own = project(r#"{"dependencies": {"react": "19"}}"#, &["react"]);
    let page = replica.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), ["REGISTRY_UNAVAILABLE package.json:1"]);
    assert!(page.findings[0].message.contains("redirects to another host"), "{page:?}");
    // One to the same registry is followed, and a circle ends.
    upstream.publish("b", "1.0.0", &json!({}), &[("index.js", "exports.b = 'from b';")]);
    upstream.answer("/moved", Answer::Redirect("/b".to_owned()));
    upstream.answer("/circle", Answer::Redirect("/circle".to_owned()));
    upstream.answer(&tarball_path("c", "1.0.0"), Answer::Redirect(tarball_path("b", "1.0.0")));
    let circle = project(r#"{"dependencies": {"circle": "1"}}"#, &["circle"]);
    assert_eq!(brief(&replica.build(&circle).await.expect("a page").page.findings), ["REGISTRY_UNAVAILABLE package.json:1"]);
    // Addresses of a lock file.
    let hash = integrity(&tarball(&[("index.js", "exports.b = 'from b';")]));
    let mut locked = project(r#"{"dependencies": {"c": "^1.0.0"}}"#, &["c"]);
    let lock = json!({
        "lockfileVersion": 3,
        "packages": {
            "": {"dependencies": {"c": "^1.0.0"}},
            "node_modules/c": {"version": "1.0.0", "resolved": format!("{}/react/-/react-19.0.0.tgz", other.url), "integrity": hash},
        },
    });
    locked.insert("package-lock.json", lock.to_string());
    upstream.requests();
    let page = replica.build(&locked).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    assert!(code(&replica, &page).await.contains("from b"));
    assert_eq!(upstream.requests(), [tarball_path("b", "1.0.0"), tarball_path("c", "1.0.0")], "a lock file that fits needs no document");
    // The lock file is not read again for an edit.
    locked.insert("main.js", "import * as c from 'c'; console.log(c, 'edited');".to_owned());
    let built = replica.build(&locked).await.expect("a page");
    assert_eq!((built.asked.len(), built.page.html.is_empty()), (1, false));
    upstream.requests();
    // Specifiers that are addresses.
    for value in ["git+http://127.0.0.1:1/x.git", "OTHER/react/-/react-19.0.0.tgz", "file:../x", "github:a/b"] {
        let manifest = json!({"dependencies": {"react": value.replace("OTHER", &other.url)}}).to_string();
        let page = replica.build(&project(&manifest, &["react"])).await.expect("a page").page;
        assert_eq!((brief(&page.findings), page.html.as_str()), (vec!["INVALID_DEPENDENCY package.json:1".to_owned()], ""), "{value}");
        assert!(!page.findings[0].help.is_empty(), "{page:?}");
    }
    assert_eq!(other.requests(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_end_at_the_limits() {
    let (database, upstream) = (database().await, Upstream::start().await);
    let settings = [("BACKLOT_NPM_REGISTRY", upstream.url.as_str()), ("BACKLOT_COMPILE_REGISTRY_MIB", "40")];
    let replica = replica(&database, &settings).await;
    upstream.answer("/flood", Answer::Flood);
    let page = replica.build(&project(r#"{"dependencies": {"flood": "1"}}"#, &["flood"])).await.expect("a page").page;
    assert_eq!(brief(&page.findings), ["REGISTRY_UNAVAILABLE package.json:1"]);
    assert!(page.findings[0].message.contains("more than"), "{page:?}");
    // The rest of the hour.
    upstream.publish("a", "1.0.0", &json!({}), &[("index.js", "exports.a = 1;")]);
    upstream.answer(&tarball_path("a", "1.0.0"), Answer::Flood);
    let own = project(r#"{"dependencies": {"a": "1"}}"#, &["a"]);
    assert_eq!(brief(&replica.build(&own).await.expect("a page").page.findings), ["REGISTRY_UNAVAILABLE package.json:1"]);
    let page = replica.build(&own).await.expect("a page").page;
    assert!(page.findings[0].message.contains("registry fails"), "{page:?}");
    upstream.publish("b", "1.0.0", &json!({}), &[("index.js", "exports.b = 1;")]);
    let page = replica.build(&project(r#"{"dependencies": {"b": "1"}}"#, &["b"])).await.expect("a page").page;
    assert!(page.findings[0].message.contains("within an hour"), "{page:?}");
    // What needs no package has a page.
    let page = replica.build(&project("{}", &[])).await.expect("a page").page;
    assert!(!page.html.is_empty() && page.findings.is_empty(), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_without_a_place_in_a_browser_is_named() {
    let (database, upstream) = (database().await, Upstream::start().await);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    upstream.publish(
        "a",
        "1.0.0",
        &json!({}),
        &[("index.js", "import { b } from './none.js'; export const a = b;"), ("package.json", r#"{"type":"module"}"#)],
    );
    let own = project(r#"{"dependencies": {"a": "1"}}"#, &["a", "a/absent"]);
    let page = replica.build(&own).await.expect("a page").page;
    assert!(page.html.is_empty() && page.findings.iter().any(|found| !found.is_warning && found.message.contains("a/absent")), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_builds_at_once_fetch_once_and_an_absent_registry_is_named() {
    let (database, upstream) = (database().await, Upstream::with_react().await);
    let one = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    let (own, mut other) = (react(), react());
    other.insert("src/greet.ts", "export const greet = (name: string): string => name;\n".to_owned());
    let (first, second) = tokio::join!(one.build(&own), one.build(&other));
    assert!(!first.expect("a page").page.html.is_empty() && !second.expect("a page").page.html.is_empty());
    assert_eq!(upstream.requests().len(), 6);
    let listener = chassis::testing::listener().await;
    let closed = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let none = replica(&database, &[("BACKLOT_NPM_REGISTRY", closed.as_str())]).await;
    other.insert("src/greet.ts", "export const greet = (name: string): string => name + 1;\n".to_owned());
    let page = none.build(&other).await.expect("a page").page;
    assert_eq!((brief(&page.findings), page.html.as_str()), (vec!["REGISTRY_UNAVAILABLE package.json:1".to_owned()], ""));
}

/// The registry that npm is set up for.
pub(crate) fn registry() -> String {
    let output = Command::new("npm").args(["config", "get", "registry"]).output().expect("npm");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn published_compilers_of_frameworks_are_bundled_and_kept() {
    let database = database().await;
    let registry = registry();
    let settings = [("BACKLOT_NPM_REGISTRY", registry.as_str())];
    let first = replica(&database, &settings).await;
    let files = [
        ("index.html", "<head></head><script type=module src=/main.js></script>"),
        ("package.json", r#"{"dependencies": {"vue": "3.5.45"}, "devDependencies": {"svelte": "5.57.3"}}"#),
        (
            "main.js",
            "import { mount } from 'svelte'; import { createApp } from 'vue'; import A from './A.svelte'; import B from './B.vue';\n\
             mount(A, { target: document.body }); createApp(B).mount('#b');",
        ),
        ("A.svelte", "<script>let count = $state(0);</script><p>{count}</p><style>p { color: red }</style>"),
        ("B.vue", "<template><p>b</p></template><style scoped>p { color: red }</style>"),
    ];
    let mut own: Project = files.into_iter().map(|(path, text)| (path, text.to_owned())).collect();
    let page = first.build(&own).await.expect("a page").page;
    assert_eq!((brief(&page.findings), page.html.is_empty()), (vec![], false));
    assert!(page.html.contains("\"/A.svelte?0.css\":\"/@m/") && page.html.contains("\"svelte/internal/client\":\"/@m/"), "{}", page.html);
    assert_eq!(first.check(&own).await.expect("findings"), []);
    own.insert("A.svelte", "<p>{#if}</p>".to_owned());
    let found = first.check(&own).await.expect("findings");
    assert_eq!(brief(&found), ["SVELTE_SYNTAX A.svelte:1"]);
    // Another replica has what the first one has kept.
    own.insert("A.svelte", "<script>let count = $state(1);</script><p>again {count}</p>".to_owned());
    let second = replica(&database, &settings).await;
    let kept = rows(&database.pool, "bundles").await;
    let edited = second.build(&own).await.expect("a page").page;
    assert_eq!((brief(&edited.findings), edited.html.is_empty()), (vec![], false));
    assert_eq!(rows(&database.pool, "bundles").await, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn components_of_packages_are_compiled_by_the_compiler_of_the_project() {
    let database = database().await;
    let registry = registry();
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", registry.as_str())]).await;
    let manifest = r#"{"dependencies": {"svelte-spa-router": "5.1.1"}, "devDependencies": {"svelte": "5.57.3"}}"#;
    let own = project(manifest, &["svelte-spa-router", "svelte-spa-router/active"]);
    let page = replica.build(&own).await.expect("a page").page;
    assert_eq!((brief(&page.findings), page.html.is_empty()), (vec![], false));
    let code = code(&replica, &page).await;
    assert!(code.contains("hashchange") && !code.contains("$state.raw("), "the runes are compiled");
    // A project has to list the framework whose components it uses.
    let own = project(r#"{"dependencies": {"svelte-spa-router": "5.1.1"}}"#, &["svelte-spa-router"]);
    let page = replica.build(&own).await.expect("a page").page;
    assert!(page.html.is_empty() && page.findings.iter().any(|found| !found.is_warning), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn style_sheets_of_packages_are_fetched_for_scss_and_kept() {
    let (database, upstream) = (database().await, Upstream::start().await);
    let theme = json!({"dependencies": {"colors": "1"}});
    let sheet = "@use 'colors/all';\n.theme { color: all.$brand }";
    upstream.publish("theme", "1.0.0", &theme, &[("package.json", r#"{"sass": "scss/theme.scss"}"#), ("scss/theme.scss", sheet)]);
    upstream.publish("colors", "1.0.0", &json!({}), &[("package.json", "{}"), ("_all.scss", "$brand: #123456;")]);
    let settings = [("BACKLOT_NPM_REGISTRY", upstream.url.as_str())];
    let first = replica(&database, &settings).await;
    let mut own = project(r#"{"dependencies": {"theme": "1"}}"#, &[]);
    own.insert("main.js", "import './a.scss';".to_owned());
    own.insert("a.scss", "@use 'pkg:theme';".to_owned());
    let page = first.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    assert!(code(&first, &page).await.contains("#123456"), "{}", code(&first, &page).await);
    assert_eq!(upstream.requests().len(), 4);
    // Another replica has the sheets from the database.
    own.insert("a.scss", "@use 'pkg:theme';\n.own { a: b }".to_owned());
    let second = replica(&database, &settings).await;
    let page = second.build(&own).await.expect("a page").page;
    assert!(code(&second, &page).await.contains(".own"), "{}", page.error_html);
    assert_eq!(upstream.requests(), Vec::<String>::new());
    own.insert("a.scss", "@use 'none/all';".to_owned());
    assert_eq!(brief(&second.build(&own).await.expect("a page").page.findings), ["MISSING_PACKAGE a.scss:1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tailwind_is_written_for_each_page_and_its_bundle_is_kept() {
    let database = database().await;
    let registry = registry();
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", registry.as_str())]).await;
    let files = [
        ("index.html", "<head></head><script type=module src=/main.js></script>"),
        ("package.json", r#"{"devDependencies": {"tailwindcss": "4.3.5"}}"#),
        ("vite.config.js", "export default {};"),
        ("main.js", "import './a.css'; import { b } from './b.js'; b();"),
        ("b.js", "export const b = () => { document.body.className = 'mt-7'; };"),
        ("a.css", "@import 'tailwindcss';"),
    ];
    let mut own: Project = files.into_iter().map(|(path, text)| (path, text.to_owned())).collect();
    let page = replica.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    assert!(code(&replica, &page).await.contains(".mt-7"));
    let (kept, facts) = (rows(&database.pool, "bundles").await, rows(&database.pool, "facts").await);
    own.insert("b.js", "export const b = () => { document.body.className = 'mt-8'; };".to_owned());
    let edited = replica.build(&own).await.expect("a page");
    assert_eq!(edited.asked.len(), 1, "the style sheet is not read again");
    let css = code(&replica, &edited.page).await;
    assert!(css.contains(".mt-8") && !css.contains(".mt-7"), "{css}");
    assert_eq!((rows(&database.pool, "bundles").await, rows(&database.pool, "facts").await), (kept, facts + 1), "only b.js");
    own.insert("a.css", "@import 'tailwindcss';\na { @apply none-such; }".to_owned());
    assert_eq!(brief(&replica.check(&own).await.expect("findings")), ["TAILWIND a.css:2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_cannot_be_had_is_a_finding() {
    let (database, upstream) = (database().await, Upstream::start().await);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    let mut own = project(r#"{"dependencies": {"svelte": "5"}}"#, &[]);
    own.insert("main.js", "import './A.svelte';".to_owned());
    own.insert("A.svelte", "<p>a</p>".to_owned());
    let page = replica.build(&own).await.expect("a page").page;
    assert_eq!((brief(&page.findings), page.html.as_str()), (vec!["UNKNOWN_PACKAGE package.json:1".to_owned()], ""));
    assert!(page.error_html.contains("svelte"), "{page:?}");
    // A package that is no compiler.
    upstream.publish("svelte", "5.0.0", &json!({}), &[("package.json", "{}"), ("index.js", "exports.a = 1;")]);
    let page = replica.build(&own).await.expect("a page").page;
    let codes: Vec<_> = page.findings.iter().filter(|found| !found.is_warning).map(|found| found.code.as_str()).collect();
    assert!(page.html.is_empty() && !codes.is_empty(), "{page:?}");
    assert!(page.error_html.contains("svelte") || page.error_html.contains("Svelte") || page.error_html.contains("framework"), "{page:?}");
}

/// The packages that npm itself would install.
#[tokio::test(flavor = "multi_thread")]
async fn published_packages_have_the_same_bytes_on_two_replicas() {
    let registry = registry();
    let settings = [("BACKLOT_NPM_REGISTRY", registry.as_str())];
    let (one, two) = (database().await, database().await);
    let (first, second) = (replica(&one, &settings).await, replica(&two, &settings).await);
    let mut own = react();
    own.insert("package.json", r#"{"dependencies": {"react": "19.1.0", "react-dom": "19.1.0", "clsx": "2.1.1"}}"#.to_owned());
    own.insert(
        "src/greet.ts",
        "import clsx from 'clsx';\nexport const greet = (name: string): string => clsx('hello', name);\n".to_owned(),
    );
    let page = first.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    assert!(page.html.contains("\"react-dom/client\":\"/@m/"), "{}", page.html);
    assert!(code(&first, &page).await.contains("react.transitional.element"));
    assert_eq!(second.build(&own).await.expect("a page").page, page);
    assert_eq!(code(&second, &page).await, code(&first, &page).await);
}
