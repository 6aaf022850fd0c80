//! Pages, modules and findings.

use std::time::Duration;

use compile::testing::{blob_id, sweep};

use crate::harness::{database, react, replica};

#[tokio::test(flavor = "multi_thread")]
async fn a_react_project_becomes_a_page_whose_modules_are_served() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    let built = replica.build(&react()).await.expect("a page");
    assert_eq!((built.page.findings.as_slice(), built.page.error_html.as_str()), (&[][..], ""));
    assert!(built.page.html.contains("importmap") && built.page.html.contains("/src/App"), "{}", built.page.html);
    assert!(built.page.packages.iter().any(|name| name == "react/jsx-runtime"), "{:?}", built.page.packages);
    assert!(built.page.modules.len() >= 4, "{:?}", built.page.modules);
    let mut code = String::new();
    for name in &built.page.modules {
        let module = replica.module(name).await.expect("a module");
        assert_eq!(module.media_type, "text/javascript; charset=utf-8");
        code.push_str(std::str::from_utf8(&module.body).expect("UTF-8"));
    }
    assert!(code.contains("Hello, ") && !code.contains(": string"), "{code}");

    let again = replica.build(&react()).await.expect("a page");
    assert_eq!((again.listed, again.asked.len()), (false, 0), "the page is known");
    assert_eq!(again.page, built.page);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_sends_one_content_and_compiles_one_module() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    let mut project = react();
    let before = replica.build(&project).await.expect("a page").page;
    let rows = async || -> i64 { sqlx::query_scalar("select count(*) from facts").fetch_one(&database.pool).await.expect("a number") };
    let facts = rows().await;
    project.insert("src/greet.ts", "export const greet = (name: string): string => `Good day, ${name}`;\n".to_owned());
    let after = replica.build(&project).await.expect("a page");
    assert_eq!(after.asked, [blob_id(project["src/greet.ts"].as_bytes())]);
    assert_eq!(rows().await, facts + 1);
    let new: Vec<_> = after.page.modules.iter().filter(|name| !before.modules.contains(name)).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    assert!(replica.module(new[0]).await.expect("a module").body.windows(8).any(|text| text == b"Good day"));
    assert_ne!(after.page.etag, before.etag);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_found_in_the_page_and_by_a_check() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    let mut project = react();
    assert_eq!(replica.check(&project).await.expect("findings"), []);
    project.insert("src/greet.ts", "export const greeting = 1;\n".to_owned());
    project.insert("src/unused.ts", "import './absent';\n".to_owned());
    let found = replica.check(&project).await.expect("findings");
    let brief: Vec<_> = found.iter().map(|found| (found.code.as_str(), found.file.as_str(), found.line)).collect();
    assert_eq!(brief, [("MISSING_EXPORT", "src/App.tsx", 1), ("UNRESOLVED_IMPORT", "src/unused.ts", 1)]);
    let page = replica.build(&project).await.expect("a page").page;
    assert_eq!(page.html, "");
    assert!(page.error_html.contains("src/App.tsx:1:"), "{}", page.error_html);
    assert_eq!(page.findings.iter().map(|found| found.file.as_str()).collect::<Vec<_>>(), ["src/App.tsx"], "only what the page loads");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_give_the_same_bytes() {
    let (one, other) = (database().await, database().await);
    let (first, second) = (replica(&one, &[]).await, replica(&other, &[]).await);
    let page = first.build(&react()).await.expect("a page").page;
    assert_eq!(second.build(&react()).await.expect("a page").page, page, "computed twice");
    for name in &page.modules {
        assert_eq!(first.module(name).await.expect("a module"), second.module(name).await.expect("a module"), "{name}");
    }
    let third = replica(&one, &[]).await;
    let shared = third.build(&react()).await.expect("a page");
    assert!(!shared.listed, "replicas share what is kept");
    assert_eq!(shared.page, page);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_used_is_deleted_and_made_again() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    let page = replica.build(&react()).await.expect("a page").page;
    let (hour, now) = (Duration::from_secs(3_600), chassis::clock::now());
    assert_eq!(sweep(&database.pool, hour, usize::MAX, now).await.expect("a sweep"), 0, "all is in use");
    // Half an hour after the page, its modules can be deleted, too.
    assert!(sweep(&database.pool, hour, usize::MAX, now + 2 * hour).await.expect("a sweep") > 0);
    let name = &page.modules[0];
    assert_eq!(replica.module(name).await.expect_err("deleted").reason, "MODULE_NOT_FOUND");
    let again = replica.build(&react()).await.expect("a page");
    assert!(again.listed);
    assert_eq!(again.page, page);
    replica.module(name).await.expect("a module");
    // All that is kept is too much, so the time is halved from a day to two hours.
    let rows = sweep(&database.pool, 24 * hour, 1, chassis::clock::now() + 4 * hour).await.expect("a sweep");
    assert!(rows > 0);
}
