//! Bytecode of tools: who gets it, and what happens to bytecode that is not what the compiler made.

use compiler_client::message::PackagesAnswer;
use prost::Message as _;
use sqlx::PgPool;

use crate::{
    harness::{Project, database, replica},
    packages::{brief, registry},
};

fn styled(css: &str) -> Project {
    let files = [
        ("index.html", "<link rel=stylesheet href=/a.css><p class=mt-7></p>"),
        ("package.json", r#"{"devDependencies": {"tailwindcss": "4.3.5"}}"#),
        ("vite.config.js", "export default {};"),
        ("a.css", css),
    ];
    files.into_iter().map(|(path, text)| (path, text.to_owned())).collect()
}

/// Gives the kept tools the form that an earlier release of the compiler gave them.
async fn become_earlier_release(pool: &PgPool) {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as("select key, body from bundles").fetch_all(pool).await.expect("bundles");
    for (key, body) in rows {
        let mut answer = PackagesAnswer::decode(body.as_slice()).expect("an answer");
        for package in &mut answer.packages {
            package.url = package.url.replace(".qjs", ".js");
        }
        let change = sqlx::query("update bundles set body = $2 where key = $1").bind(key).bind(answer.encode_to_vec());
        change.execute(pool).await.expect("changed");
    }
    let change = sqlx::query("insert into outputs select replace(name, '.qjs', '.js'), body, used_at from outputs where name like '%.qjs'");
    assert_eq!(change.execute(pool).await.expect("changed").rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_gets_only_the_bytecode_of_the_bundle() {
    let database = database().await;
    let registry = registry();
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", registry.as_str())]).await;
    let page = replica.build(&styled("@import 'tailwindcss';")).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    let sql = "select name from outputs where name like '%.qjs'";
    let program: String = sqlx::query_scalar(sql).fetch_one(&database.pool).await.expect("a program");
    assert_eq!(replica.module(&program).await.expect_err("not for browsers").reason, "MODULE_NOT_FOUND");

    become_earlier_release(&database.pool).await;
    let fault = replica.build(&styled("@import 'tailwindcss'; a { color: red }")).await.map(drop).expect_err("another form");
    assert_eq!(fault.reason, "COMPILER_MISSING", "{fault:?}");
    assert!(fault.message.contains("earlier release"), "{fault:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_bytecode_is_refused() {
    let database = database().await;
    let registry = registry();
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", registry.as_str())]).await;
    replica.build(&styled("@import 'tailwindcss';")).await.expect("a page");
    let change = sqlx::query("update outputs set body = body || 'a' where name like '%.qjs'");
    assert_eq!(change.execute(&database.pool).await.expect("changed").rows_affected(), 1);
    let fault = replica.build(&styled("@import 'tailwindcss'; a { color: red }")).await.map(drop).expect_err("a refusal");
    assert_eq!(fault.reason, "INTERNAL", "{fault:?}");
}
