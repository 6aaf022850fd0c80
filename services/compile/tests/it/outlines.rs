//! Outlines of files.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use chassis::{context::Context, testing::compiler};
use compile::testing::sweep;
use proto::{
    compile::{FileOutline, OutlineTreeRequest, Start, SymbolKind, outline_tree_request::Part},
    error::{ErrorCode, Fault},
};

use crate::{
    harness::{database, react, replica, start},
    packages::rows,
};

fn names(outline: &FileOutline) -> Vec<(SymbolKind, &str, u32)> {
    outline.symbols.iter().map(|symbol| (symbol.kind(), symbol.name.as_str(), symbol.first_line)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_call_reads_only_what_has_changed() {
    let database = database().await;
    let first = replica(&database, &[]).await;
    let mut project = react();
    project.insert("logo.png", "png".to_owned());
    project.insert("README.md", "# The app\n".to_owned());
    let (outlines, asked) = first.outline(&project).await.expect("outlines");
    assert_eq!(asked.len(), 8, "{asked:?}");
    assert!(!asked.contains("logo.png") && outlines.keys().eq(asked.iter()), "{:?}", outlines.keys());
    assert_eq!(names(&outlines["src/App.tsx"]), [(SymbolKind::Component, "App", 2)]);
    assert_eq!(names(&outlines["README.md"]), [(SymbolKind::Heading, "The app", 1)]);
    assert_eq!(outlines["src/App.tsx"].language, "typescript");
    let imports: Vec<_> = outlines["src/main.tsx"].imports.iter().map(|import| (import.specifier.as_str(), import.line)).collect();
    assert_eq!(imports, [("react-dom/client", 1), ("./App", 2), ("./style.css", 3)]);

    let (again, asked) = first.outline(&project).await.expect("outlines");
    assert_eq!((again, asked.len()), (outlines, 0));
    let kept = rows(&database.pool, "outlines").await;
    project.insert("src/greet.ts", "export const hail = 1;\n".to_owned());
    let second = replica(&database, &[]).await;
    let (edited, asked) = second.outline(&project).await.expect("outlines");
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), ["src/greet.ts"], "replicas share what is kept");
    assert_eq!(names(&edited["src/greet.ts"]), [(SymbolKind::Variable, "hail", 1)]);
    assert_eq!(rows(&database.pool, "outlines").await, kept + 1);
    let later = chassis::clock::now() + Duration::from_secs(2 * 3_600);
    sweep(&database.pool, Duration::from_secs(3_600), usize::MAX, later).await.expect("a sweep");
    assert_eq!(rows(&database.pool, "outlines").await, 0);
}

/// The contents that builds keep are not asked for.
#[tokio::test(flavor = "multi_thread")]
async fn builds_and_outlines_share_contents() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    replica.check(&react()).await.expect("findings");
    let (outlines, asked) = replica.outline(&react()).await.expect("outlines");
    assert_eq!((outlines.len(), asked.len()), (7, 0), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_without_files_has_no_outlines() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    let (outlines, asked) = replica.outline(&[("a.png", "a".to_owned())].into()).await.expect("outlines");
    assert!(outlines.is_empty() && asked.is_empty());
}

/// The parser of one file exhausts its stack. The others have their outlines, and the file is not tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_on_which_the_compiler_fails_has_no_outline() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    let mut project = react();
    project.insert("src/a-deep.tsx", format!("const a = {};", "<a>".repeat(170_000)));
    project.insert("src/b-deep.js", "a=>".repeat(170_000));
    project.insert("src/null.ts", "const a = '\0';".to_owned());
    let (outlines, asked) = replica.outline(&project).await.expect("outlines");
    assert_eq!(asked.len(), 10, "{asked:?}");
    let absent: Vec<_> = project.keys().filter(|path| !outlines.contains_key(*path)).copied().collect();
    assert_eq!(absent, ["src/a-deep.tsx", "src/b-deep.js", "src/null.ts"]);
    let (again, asked) = replica.outline(&project).await.expect("outlines");
    assert_eq!((again, asked.len()), (outlines, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_always_fails_is_an_error() {
    let database = database().await;
    let folder = std::env::temp_dir().join(format!("backlot-outline-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (script, trap) = (folder.join("compiler"), folder.join("trap"));
    let text = format!("#!/bin/sh\nif [ -e {} ]; then kill -SEGV $$; fi\nexec {} \"$@\"\n", trap.display(), compiler().display());
    std::fs::write(&script, text).expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    std::fs::write(&trap, "").expect("a trap");
    let replica = replica(&database, &[("BACKLOT_COMPILER", script.to_str().expect("UTF-8"))]).await;
    let fault = replica.outline(&react()).await.expect_err("a crash");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "COMPILER_FAILED"));
    std::fs::remove_file(&trap).expect("no trap");
    assert_eq!(replica.outline(&react()).await.expect("outlines").0.len(), 7, "a crash is not kept");
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_messages_and_callers_are_refused() {
    let database = database().await;
    let replica = replica(&database, &[]).await;
    let refused = async |start: Start, is_other: bool| {
        let client = if is_other { &replica.other } else { &replica.client };
        let messages = tokio_stream::iter([OutlineTreeRequest { part: Some(Part::Start(start)) }, OutlineTreeRequest { part: None }]);
        let answers = client.clone().outline_tree(Context::background().stream_request(messages)).await;
        let status = match answers {
            Err(status) => status,
            Ok(answers) => {
                let mut answers = answers.into_inner();
                loop {
                    match answers.message().await {
                        Ok(Some(_)) => {}
                        Ok(None) => panic!("not refused"),
                        Err(status) => break status,
                    }
                }
            }
        };
        Fault::from_status(&status).reason
    };
    let good = start(&react());
    assert_eq!(refused(Start { tree_id: "x".to_owned(), ..good.clone() }, true).await, "INVALID_FIELD");
    assert_eq!(refused(good.clone(), true).await, "UNEXPECTED_MESSAGE");
    assert_eq!(refused(good, false).await, "CALLER_DENIED");
}
