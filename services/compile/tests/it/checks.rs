//! What a check says of packages.

use serde_json::{Value, json};

use crate::{
    harness::{Project, Replica, database, replica},
    packages::{brief, code, project, rows},
    upstream::{Answer, Upstream, tarball_path},
};

async fn check(replica: &Replica, own: &Project) -> Vec<proto::compile::Finding> {
    replica.check(own).await.expect("findings")
}

/// An address where nothing listens.
async fn closed() -> String {
    let listener = chassis::testing::listener().await;
    format!("http://{}", listener.local_addr().expect("an address"))
}

fn of(dependencies: &Value, more: &Value) -> String {
    let mut manifest = json!({ "dependencies": dependencies });
    manifest.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    manifest.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_that_cannot_be_resolved_are_errors_of_a_check() {
    let (database, upstream) = (database().await, Upstream::with_react().await);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    let bare =
        json!({"name": "bare", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {"name": "bare", "version": "1.0.0", "dist": {}}}});
    upstream.answer("/bare", Answer::Body(bare.to_string().into_bytes()));
    for (dependencies, more, import, expected) in [
        (json!({"left-padd": "^1"}), json!({}), "left-padd", "UNKNOWN_PACKAGE"),
        (json!({"react": "^19", "left-padd": "^1"}), json!({}), "react", "UNKNOWN_PACKAGE"),
        (json!({"react-dom": "99"}), json!({}), "react-dom", "UNKNOWN_PACKAGE"),
        (json!({"react": "file:../x"}), json!({}), "react", "INVALID_DEPENDENCY"),
        (json!({"react": "git+https://127.0.0.1:1/x.git"}), json!({}), "react", "INVALID_DEPENDENCY"),
        (json!({"react": "http://127.0.0.1:1/x.tgz"}), json!({}), "react", "INVALID_DEPENDENCY"),
        (json!({"react": "^19"}), json!({"overrides": {"react": "18"}}), "react", "PACKAGE_CONFLICT"),
        (json!({"bare": "1"}), json!({}), "bare", "DAMAGED_PACKAGE"),
    ] {
        let found = check(&replica, &project(&of(&dependencies, &more), &[import])).await;
        assert_eq!(brief(&found), [format!("{expected} package.json:1")], "{dependencies}");
        assert!(!found[0].is_warning && !found[0].help.is_empty(), "{found:?}");
    }
    assert_eq!(rows(&database.pool, "tarballs").await, 0, "no files of a set that cannot be resolved");

    // It ends with the fault, although the tree is the same.
    let own = project(&of(&json!({"left-padd": "^1"}), &json!({})), &["left-padd"]);
    upstream.publish("left-padd", "1.0.0", &json!({}), &[("index.js", "exports.a = 1;")]);
    assert_eq!(check(&replica, &own).await, []);
    // The versions are found once for a manifest.
    upstream.requests();
    let mut edited = own.clone();
    edited.insert("main.js", "import * as a from 'left-padd'; console.log(a, 'edited');".to_owned());
    assert_eq!((check(&replica, &edited).await, upstream.requests()), (vec![], vec![]));
    let mut without = project("{}", &["left-padd"]);
    without.remove("package.json");
    assert_eq!(brief(&check(&replica, &without).await), ["MISSING_PACKAGE package.json:1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_package_does_not_have_is_found_by_the_first_check() {
    let (database, upstream) = (database().await, Upstream::with_react().await);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    let manifest = of(&json!({"react": "^19", "react-dom": "^19"}), &json!({}));
    let mut own = project(&manifest, &["react-dom"]);
    let mut faulty = project(&manifest, &["react-dom", "react-dom/none"]);
    let found = check(&replica, &faulty).await;
    assert_eq!(brief(&found), ["UNRESOLVED_IMPORT package.json:1"], "no page has fetched the files");
    assert!(found[0].message.contains("react-dom/none"), "{found:?}");
    assert_eq!(check(&replica, &own).await, []);
    upstream.requests();
    let made = replica.build(&own).await.expect("a page").page;
    assert!(!made.html.is_empty() && upstream.requests().is_empty(), "the page has the bundle of the check: {made:?}");
    faulty.insert("main.js", "import { marker, none } from 'react-dom'; console.log(marker, none);".to_owned());
    assert_eq!(brief(&check(&replica, &faulty).await), ["MISSING_EXPORT main.js:1"]);
    own.insert("main.js", "import { marker, useEffects } from 'react'; console.log(marker, useEffects);".to_owned());
    assert_eq!(brief(&check(&replica, &own).await), ["MISSING_EXPORT main.js:1"]);
    assert_eq!(upstream.requests(), Vec::<String>::new());
    let page = replica.build(&own).await.expect("a page").page;
    assert!(page.html.is_empty() && page.error_html.contains("useEffects"), "{page:?}");
}

/// What a model's turn changes must not depend on the network.
#[tokio::test(flavor = "multi_thread")]
async fn an_absent_registry_is_one_warning_and_is_not_kept() {
    let (database, upstream, closed) = (database().await, Upstream::with_react().await, closed().await);
    let away = replica(&database, &[("BACKLOT_NPM_REGISTRY", closed.as_str())]).await;
    let own = project(&of(&json!({"react": "^19"}), &json!({})), &["react"]);
    let found = check(&away, &own).await;
    assert_eq!(brief(&found), ["REGISTRY_UNAVAILABLE package.json:1"]);
    assert!(found[0].is_warning && found[0].message.contains("not checked"), "{found:?}");
    // The rest of a project whose compilers are packages is checked, too.
    for (package, version, file, text) in [
        ("tailwindcss", "^4", "style.css", "@import \"tailwindcss\";\n"),
        ("vue", "^3", "A.vue", "<template><p>a</p></template>\n"),
        ("svelte", "^5", "A.svelte", "<p>a</p>\n"),
    ] {
        let mut own = project(&of(&json!({package: version, "react": "^19"}), &json!({})), &["react"]);
        own.insert(file, text.to_owned());
        own.insert("main.js", format!("import 'react';\nimport './{file}';\nimport './none';\n"));
        let found = check(&away, &own).await;
        assert_eq!(brief(&found), ["UNRESOLVED_IMPORT main.js:3", "REGISTRY_UNAVAILABLE package.json:1"], "{package}");
        assert!(found[1].is_warning, "{found:?}");
    }
    let back = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    assert_eq!(check(&back, &own).await, []);
    // A person who has fetched too much.
    let settings = [("BACKLOT_NPM_REGISTRY", upstream.url.as_str()), ("BACKLOT_COMPILE_REGISTRY_MIB", "40")];
    let limited = replica(&database, &settings).await;
    upstream.answer("/flood", Answer::Flood);
    for _ in 0..2 {
        let found = check(&limited, &project(&of(&json!({"flood": "1"}), &json!({})), &["flood"])).await;
        assert_eq!((brief(&found), found[0].is_warning), (vec!["REGISTRY_UNAVAILABLE package.json:1".to_owned()], true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_for_servers_is_named_with_what_to_use_instead() {
    let (database, upstream) = (database().await, Upstream::start().await);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    let module = |text: &'static str| [("package.json", r#"{"type": "module", "main": "index.js"}"#), ("index.js", text)];
    upstream.publish("express", "5.0.0", &json!({}), &module("import http from 'http'; export default () => http.createServer();"));
    let reader = module("import { readFile } from 'node:fs'; export const read = () => typeof readFile;");
    upstream.publish("reader", "1.0.0", &json!({}), &reader);
    let native = [("package.json", "{}"), ("index.js", "exports.a = 1;"), ("binding.gyp", "{}")];
    upstream.publish("sharp", "1.0.0", &json!({}), &native);
    upstream.publish("uses", "1.0.0", &json!({"dependencies": {"sharp": "1"}}), &module("import a from 'sharp'; export default a;"));

    // A page that imports one of them is not shown.
    for (package, instead) in [("express", "called with fetch"), ("sharp", "a canvas")] {
        let own = project(&of(&json!({ package: "*" }), &json!({})), &[package]);
        let page = replica.build(&own).await.expect("a page").page;
        let found = check(&replica, &own).await;
        for findings in [&page.findings, &found] {
            let errors: Vec<_> = findings.iter().filter(|finding| !finding.is_warning).collect();
            assert_eq!((errors.len(), errors[0].code.as_str()), (1, "NO_BROWSER_PACKAGE"), "{findings:?}");
            assert!(errors[0].message.starts_with(package) && errors[0].help.contains(instead), "{findings:?}");
        }
        assert!(page.html.is_empty() && page.error_html.contains(instead), "{page:?}");
    }

    // One that Backlot does not know is found by its files.
    upstream.publish("addon", "1.0.0", &json!({}), &native);
    let own = project(&of(&json!({"addon": "1"}), &json!({})), &["addon"]);
    let found = check(&replica, &own).await;
    assert_eq!((brief(&found), found[0].is_warning), (vec!["NO_BROWSER_PACKAGE package.json:1".to_owned()], false));
    assert_eq!(replica.build(&own).await.expect("a page").page.findings, found);

    // What another package brings along is a warning, and so are modules of Node.js.
    let own = project(&of(&json!({"uses": "1"}), &json!({})), &["uses"]);
    let page = replica.build(&own).await.expect("a page").page;
    let found = check(&replica, &own).await;
    assert_eq!((brief(&found), page.html.is_empty()), (vec!["NO_BROWSER_PACKAGE package.json:1".to_owned()], false));
    assert!(found[0].is_warning && found[0].message.starts_with("sharp") && found == page.findings, "{found:?}");
    let own = project(&of(&json!({"reader": "1"}), &json!({})), &["reader"]);
    let page = replica.build(&own).await.expect("a page").page;
    let found = check(&replica, &own).await;
    assert_eq!(brief(&found), ["UNSUPPORTED node_modules/reader/index.js:1"]);
    assert!(found[0].is_warning && found[0].help == "Use instead: import the file, or fetch it from public/.", "{found:?}");
    let text = code(&replica, &page).await;
    assert!(!page.html.is_empty() && text.contains("Use instead: import the file, or fetch it from public/."), "{text}");
    assert!(upstream.requests().contains(&tarball_path("reader", "1.0.0")));

    // What another package imports may never run, so that a check does not mention it.
    upstream.publish("wraps", "1.0.0", &json!({"dependencies": {"reader": "1"}}), &module("export { read } from 'reader';"));
    let own = project(&of(&json!({"wraps": "1"}), &json!({})), &["wraps"]);
    assert_eq!(check(&replica, &own).await, []);
    assert_eq!(brief(&replica.build(&own).await.expect("a page").page.findings), ["UNSUPPORTED node_modules/reader/index.js:1"]);
}
