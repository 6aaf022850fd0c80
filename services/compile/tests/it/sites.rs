//! Sites: the same bytes from every replica, packages from the registry, and what stands in the way.

use proto::compile::Start;

use crate::harness::{BuiltSite, database, react, replica, start};

#[tokio::test]
async fn a_site_has_its_packages_and_the_same_bytes_at_every_replica() {
    let (first, second) = (database().await, database().await);
    let (first, second) = (replica(&first, &[]).await, replica(&second, &[]).await);
    let mut project = react();
    project.insert("public/robots.txt", "User-agent: *\n".to_owned());
    project.insert("public/assets/own-12345678.txt", "mine".to_owned());
    project.insert("public/.well-known/x.txt", "hidden".to_owned());
    let BuiltSite { findings, files, hashed } = first.site(&project, start(&project)).await.expect("a site");
    assert_eq!(files["assets/own-12345678.txt"], b"mine");
    let expected = files.keys().filter(|path| path.starts_with("assets/") && *path != "assets/own-12345678.txt");
    assert!(!hashed.is_empty() && hashed.iter().eq(expected), "{hashed:?} of {:?}", files.keys());
    assert!(files.keys().all(|path| !path.starts_with('.')), "{:?}", files.keys());
    assert!(findings.iter().all(|finding| finding.is_warning), "{findings:#?}");
    assert_eq!(files["robots.txt"], b"User-agent: *\n");
    let script = files.iter().find(|(path, _)| path.starts_with("assets/main-")).expect("a script");
    let page = String::from_utf8(files["index.html"].clone()).expect("UTF-8");
    assert!(page.contains(&format!("src=\"/{}\"", script.0)) && page.contains("rel=\"stylesheet\""), "{page}");
    let code = String::from_utf8_lossy(script.1);
    assert!(code.contains("Hello, ") && !code.contains("from\"react"), "{code}");
    // Whatever the mode says, a site is for production.
    let below = Start { base_path: "/below/".to_owned(), mode: 1, ..start(&project) };
    let moved = first.site(&project, below).await.expect("a site");
    assert!(String::from_utf8_lossy(&moved.files["index.html"]).contains("src=\"/below/assets/main-"));
    assert_eq!(second.site(&project, start(&project)).await.expect("a site").files, files);
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_site_is_a_finding() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    let broken = |path: &'static str, text: &str| {
        let mut project = react();
        project.insert(path, text.to_owned());
        project
    };
    let manifest = r#"{"dependencies": {"react": "^19.0.0", "react-dom": "99.0.0"}}"#;
    for (project, code, file) in [
        (broken("src/App.tsx", "export const = 1"), "SYNTAX_ERROR", "src/App.tsx"),
        (broken("src/App.tsx", "import 'zod'; export const App = 1"), "MISSING_PACKAGE", "src/App.tsx"),
        (broken("package.json", manifest), "UNKNOWN_PACKAGE", "package.json"),
    ] {
        let BuiltSite { findings, files, .. } = replica.site(&project, start(&project)).await.expect("findings");
        let errors: Vec<_> =
            findings.iter().filter(|finding| !finding.is_warning).map(|found| (found.code.as_str(), found.file.as_str())).collect();
        assert!(errors.contains(&(code, file)), "{findings:#?}");
        assert!(files.is_empty(), "{:?}", files.keys());
    }
    let fault = replica.site(&react(), Start { base_path: "below".to_owned(), ..start(&react()) }).await.expect_err("a fault");
    assert_eq!(fault.reason, "INVALID_FIELD");
}
