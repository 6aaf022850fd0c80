//! Workers that fail, and requests that are refused.

use std::os::unix::fs::PermissionsExt as _;

use chassis::testing::compiler;
use proto::{
    compile::{Content, Files, GetModuleRequest, Start, TreeFile, build_page_request::Part},
    error::{ErrorCode, Fault},
};

use crate::{
    harness::{database, files, react, replica, start},
    packages::{project, rows},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_compiler_is_named() {
    let database = database().await;
    let replica = replica(&database, &[("BACKLOT_COMPILER", "/nowhere/backlot-compiler")]).await;
    let fault = replica.build(&react()).await.expect_err("no compiler");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unavailable, "COMPILER_MISSING"));
    assert!(fault.message.contains("/nowhere/backlot-compiler") && fault.message.contains("BACKLOT_COMPILER"), "{}", fault.message);
}

/// The executable is a script that dies in some requests, also when it bundles packages, and starts the compiler in others.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_costs_one_request() {
    let database = database().await;
    let folder = std::env::temp_dir().join(format!("backlot-compile-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (script, trap) = (folder.join("compiler"), folder.join("trap"));
    let text = format!(
        "#!/bin/sh\nif [ -e {} ] || [ -e {}.$1 ]; then echo 'file: src/App.tsx' >&2; kill -SEGV $$; fi\nexec {} \"$@\"\n",
        trap.display(),
        trap.display(),
        compiler().display()
    );
    std::fs::write(&script, text).expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    let replica = replica(&database, &[("BACKLOT_COMPILER", script.to_str().expect("UTF-8"))]).await;
    std::fs::write(&trap, "").expect("a trap");
    let fault = replica.build(&react()).await.expect_err("a crash");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "COMPILER_FAILED"));
    assert_eq!(fault.metadata.get("file").map(String::as_str), Some("src/App.tsx"));
    std::fs::remove_file(&trap).expect("no trap");
    let trap = folder.join("trap.packages");
    std::fs::write(&trap, "").expect("a trap");
    assert_eq!(replica.build(&react()).await.expect_err("a crash").reason, "COMPILER_FAILED");
    std::fs::remove_file(&trap).expect("no trap");
    assert_ne!(replica.build(&react()).await.expect("a page").page.html, "", "a crash is not kept");
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_an_end_is_named() {
    let database = database().await;
    let replica = replica(&database, &[("BACKLOT_COMPILE_FILE_TIMEOUT", "500ms")]).await;
    let mut project = react();
    project.insert("src/main.tsx", "import './loop.scss';\n".to_owned());
    project.insert("src/loop.scss", "@while true {}\n".to_owned());
    let fault = replica.build(&project).await.expect_err("no end");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Timeout, "COMPILER_TIMEOUT"));
    assert_eq!(fault.metadata.get("file").map(String::as_str), Some("src/loop.scss"));
    assert!(fault.message.contains("500ms"), "{}", fault.message);
}

/// The error is not the registry's, so that no page shows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_while_packages_are_fetched_is_an_error_of_the_service() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    let rename = async |text: &'static str| sqlx::query(text).execute(&database.pool).await.expect("renamed");
    rename("alter table tarballs rename to elsewhere").await;
    assert_eq!(replica.build(&react()).await.expect_err("no table").reason, "INTERNAL");
    rename("alter table elsewhere rename to tarballs").await;
    assert_ne!(replica.build(&react()).await.expect("a page").page.html, "");
}

/// An optional package that the registry does not have is left out for good. One that the database cannot look up is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_while_versions_are_found_keeps_no_resolution() {
    let database = database().await;
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", "none")]).await;
    let own = project(r#"{"optionalDependencies": {"a": "1"}}"#, &["a"]);
    let rename = async |text: &'static str| sqlx::query(text).execute(&database.pool).await.expect("renamed");
    rename("alter table vendored_packages rename to elsewhere").await;
    assert_eq!(replica.build(&own).await.expect_err("no table").reason, "INTERNAL");
    assert_eq!(rows(&database.pool, "resolutions").await, 0);
    rename("alter table elsewhere rename to vendored_packages").await;
    replica.build(&own).await.expect("a page");
    assert_eq!(rows(&database.pool, "resolutions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_out_of_order_are_refused() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    let project = react();
    let (begin, list) = (Part::Start(start(&project)), Part::Files(files(&project)));
    for parts in [vec![], vec![list.clone()], vec![begin.clone()], vec![begin.clone(), begin.clone()], vec![begin, list.clone(), list]] {
        let fault = replica.refused(parts).await;
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "UNEXPECTED_MESSAGE"), "{}", fault.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_fields_are_named() {
    let database = database().await;
    let replica = replica(&database, &[("BACKLOT_COMPILE_MAX_FILES", "8")]).await;
    let good = start(&react());
    let field = |fault: &Fault| fault.violations.first().map(|violation| violation.field.clone()).unwrap_or_default();
    for (start, expected) in [
        (Start { tree_id: "ab".to_owned(), ..good.clone() }, "start.tree_id"),
        (Start { base_path: "a/".to_owned(), ..good.clone() }, "start.base_path"),
        (Start { base_path: "/\"/".to_owned(), ..good.clone() }, "start.base_path"),
        (Start { mode: 9, ..good.clone() }, "start.mode"),
        (Start { person_id: "me".to_owned(), ..good.clone() }, "start.person_id"),
    ] {
        assert_eq!(field(&replica.refused(vec![Part::Start(start)]).await), expected);
    }
    let file = |path: &str| TreeFile { path: path.to_owned(), blob_id: good.tree_id.clone(), size: 1 };
    let list = |files| vec![Part::Start(good.clone()), Part::Files(Files { files, is_last: true })];
    for path in ["", "/a", "a//b", "../a", "a/.", "a\0"] {
        assert_eq!(field(&replica.refused(list(vec![file(path)])).await), "files.files[0].path", "{path:?}");
    }
    assert_eq!(field(&replica.refused(list(vec![file("a"), file("a")])).await), "files.files[1].path");
    let many = (0..9).map(|number| file(&format!("{number}"))).collect();
    let fault = replica.refused(list(many)).await;
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::RateLimited, "TREE_TOO_LARGE"));
    let mut parts = list(vec![TreeFile { blob_id: good.tree_id.clone(), ..file("index.html") }]);
    parts.push(Part::Content(Content { blob_id: good.tree_id.clone(), data: "other".into(), is_last: true }));
    assert_eq!(field(&replica.refused(parts).await), "content.data", "the bytes must have the id");
    for name in ["", "\0"] {
        assert_eq!(replica.module(name).await.expect_err("invalid").reason, "INVALID_FIELD");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_gateway_gets_modules() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    let status = replica.other.clone().get_module(GetModuleRequest { name: "@m/a.js".to_owned() }).await.expect_err("denied");
    assert_eq!(Fault::from_status(&status).reason, "CALLER_DENIED");
}
