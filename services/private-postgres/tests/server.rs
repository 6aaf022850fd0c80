//! The life cycle of a private server: creation, exclusive use, a killed server, a killed parent, an interrupted initdb.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use chassis::testing::eventually;
use private_postgres::{Error, Options, PrivatePostgres};
use sqlx::{Connection as _, PgConnection};

const LIMIT: Duration = Duration::from_secs(120);
const HELPER_FOLDER: &str = "PRIVATE_POSTGRES_FOLDER";

fn start(folder: &Path) -> PrivatePostgres {
    PrivatePostgres::start(folder, Options::default()).unwrap()
}

/// A folder that the server's user can also enter if this process is root.
fn accessible_folder() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

async fn number(url: &str, sql: &'static str) -> Option<i64> {
    let mut connection = PgConnection::connect(url).await.ok()?;
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.ok()
}

fn postmaster(folder: &Path) -> Option<u32> {
    let folder = fs::canonicalize(folder).unwrap();
    fs::read_to_string(folder.join("data/postmaster.pid")).ok()?.lines().next()?.parse().ok()
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn data_survives_a_stop_and_the_folder_has_one_server() {
    let root = accessible_folder();
    let folder = root.path().join("pg");
    // The remains of an interrupted initdb.
    fs::create_dir_all(folder.join("data.new/base")).unwrap();
    let messages = Arc::new(Mutex::new(Vec::new()));
    let log = messages.clone();
    let options = Options { progress: Arc::new(move |text| log.lock().unwrap().push(text.to_owned())), ..Options::default() };
    let server = PrivatePostgres::start(&folder, options).unwrap();
    assert!(messages.lock().unwrap().iter().any(|text| text.contains("creating a private PostgreSQL")), "{messages:?}");
    assert!(matches!(PrivatePostgres::start(&folder, Options::default()), Err(Error::InUse(_))));
    let url = server.url("postgres");
    assert_eq!(number(&url, "SELECT 7::int8").await, Some(7));
    assert_eq!(number(&url, "SELECT current_setting('max_connections')::int8").await, Some(200));
    assert_eq!(number(&url, "SELECT (current_setting('fsync') = 'on')::int::int8").await, Some(1));
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE kept AS SELECT 42::int8 AS n").execute(&mut connection).await.unwrap();
    server.stop();
    assert!(postmaster(&folder).is_none());
    let restarted = start(&folder);
    assert_eq!(number(&restarted.url("postgres"), "SELECT n FROM kept").await, Some(42));
}

#[tokio::test]
async fn a_killed_server_is_restarted() {
    let root = accessible_folder();
    let folder = root.path().join("pg");
    let server = start(&folder);
    let first = postmaster(&folder).unwrap();
    kill(first);
    let second = eventually(LIMIT, || async {
        number(&server.url("postgres"), "SELECT 1::int8").await?;
        postmaster(&folder).filter(|pid| *pid != first)
    });
    second.await;
}

#[tokio::test]
async fn a_new_process_replaces_the_server_of_a_killed_one() {
    let root = accessible_folder();
    let folder = root.path().join("pg");
    for round in 0..3_i64 {
        let mut parent = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "helper_parent", "--ignored", "--nocapture"])
            .env(HELPER_FOLDER, &folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| line.unwrap().split_once("url=").map(|(_, url)| url.to_owned())).unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::query("CREATE TABLE IF NOT EXISTS kept (n int8)").execute(&mut connection).await.unwrap();
        sqlx::query("INSERT INTO kept VALUES ($1)").bind(round).execute(&mut connection).await.unwrap();
        parent.kill().unwrap();
        parent.wait().unwrap();
    }
    let server = start(&folder);
    assert_eq!(number(&server.url("postgres"), "SELECT count(*) FROM kept").await, Some(3));
}

/// The parent process that the test above starts and kills.
#[test]
#[ignore = "run by another test"]
fn helper_parent() {
    use std::io::Write as _;
    let Some(folder) = std::env::var_os(HELPER_FOLDER) else { return };
    let server = start(Path::new(&folder));
    writeln!(std::io::stdout(), "url={}", server.url("postgres")).unwrap();
    loop {
        std::thread::park();
    }
}
