//! Databases for tests: one private server per test process, one template per schema, one database per test.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use private_postgres::{Options, PrivatePostgres, sys};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, migrate::Migrator};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::{config::Secret, postgres, task};

/// The prefix of the folders of test servers.
const PREFIX: &str = "backlot-test-";
/// A folder that was not modified for this long belongs to a process that has ended.
const STALE: Duration = Duration::from_secs(3_600);
/// The size of a test's pool. It is small, because many tests share the server.
const CONNECTIONS: u32 = 8;

/// The database of one test.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    pub pool: PgPool,
    pub url: String,
}

impl TestDatabase {
    /// The tables with a row that has the text in any column, sorted by name. Bytes are compared as hexadecimal digits.
    ///
    /// # Panics
    /// The database failed.
    pub async fn tables_with(&self, text: &str) -> Vec<String> {
        let names = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
        let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&self.pool).await.expect("tables");
        assert!(!names.is_empty(), "a database without tables");
        let mut found = Vec::new();
        for name in names {
            let select = AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM \"{name}\" t WHERE strpos(t::text, $1) > 0)"));
            if sqlx::query_scalar(select).bind(text).fetch_one(&self.pool).await.expect("rows") {
                found.push(name);
            }
        }
        found
    }
}

/// Creates an empty database with this schema.
///
/// # Panics
/// This machine has no PostgreSQL, or the schema cannot be created.
pub async fn postgres(migrator: &'static Migrator) -> TestDatabase {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let (maintenance, template) = template(migrator).await;
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&maintenance).await.expect("the private server answers");
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}"))).await.expect("a copy of the template");
    // An error while closing does not matter.
    let _ = admin.close().await;
    let url = maintenance.replacen("/postgres?", &format!("/{name}?"), 1);
    let config = postgres::Config { max_connections: CONNECTIONS, ..postgres::Config::of_url("test", Secret::new(url.as_str())) };
    let pool = postgres::connect(&config, migrator).await.expect("a pool on the test's database");
    TestDatabase { pool, url }
}

/// The URL of a database on the private server, for a cluster that creates its databases itself.
///
/// # Panics
/// This machine has no PostgreSQL.
pub async fn database_url(name: &str) -> String {
    server().await.postgres.url(name)
}

/// The server of this process.
static SERVER: Mutex<Option<Server>> = Mutex::const_new(None);

struct Server {
    postgres: PrivatePostgres,
    folder: PathBuf,
    /// Names of template databases by the checksums of their migrations. A template has no connections, so that it can be copied.
    templates: HashMap<Vec<u8>, String>,
}

async fn server() -> MappedMutexGuard<'static, Server> {
    let mut server = SERVER.lock().await;
    if server.is_none() {
        *server = Some(task::blocking(start).await.expect("a private server"));
    }
    MutexGuard::map(server, |server| server.as_mut().expect("just started"))
}

fn start() -> Server {
    let parent = std::env::temp_dir();
    remove_stale_folders(&parent);
    let folder = parent.join(format!("{PREFIX}{}-{:x}", std::process::id(), uuid::Uuid::new_v4().as_u64_pair().0));
    let options = Options { fsync: false, max_connections: 500, ..Options::default() };
    let postgres =
        PrivatePostgres::start(&folder, options).unwrap_or_else(|e| panic!("tests need PostgreSQL: {}", crate::error::chain(&e)));
    #[allow(unsafe_code, reason = "statics are not dropped at exit, so the server needs an exit handler")]
    // SAFETY: the handler takes no arguments and does not unwind, because nothing in it panics.
    unsafe {
        libc::atexit(clear);
    }
    Server { postgres, folder, templates: HashMap::new() }
}

/// Stops the server and removes its folder. After a killed process the kernel stops the server, and the next run removes the folder.
extern "C" fn clear() {
    if let Some(server) = SERVER.try_lock().ok().and_then(|mut server| server.take()) {
        drop(server.postgres);
        let _ = fs::remove_dir_all(server.folder);
    }
}

/// The URL of the server's maintenance database, and the name of the template for this schema.
async fn template(migrator: &'static Migrator) -> (String, String) {
    let mut server = server().await;
    let admin = server.postgres.url("postgres");
    let key = migrator.iter().flat_map(|migration| migration.checksum.iter().copied()).collect::<Vec<u8>>();
    if let Some(name) = server.templates.get(&key) {
        return (admin, name.clone());
    }
    let name = format!("template_{}", server.templates.len());
    let config = postgres::Config::of_url("test", Secret::new(server.postgres.url(&name)));
    let pool =
        postgres::connect(&config, migrator).await.unwrap_or_else(|e| panic!("the schema cannot be created: {}", crate::error::chain(&e)));
    pool.close().await;
    server.templates.insert(key, name.clone());
    (admin, name)
}

/// Removes the folders of test processes that have ended.
fn remove_stale_folders(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        if is_stale(&entry.path()).unwrap_or(false) {
            // Another test process may remove it at the same time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether the process that created the folder has ended.
fn is_stale(folder: &PathBuf) -> io::Result<bool> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let pid: Option<u32> = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse().ok());
    if let Some(pid) = pid {
        if sys::exists(pid) {
            return Ok(false);
        }
        // Its server may still be stopping.
        return Ok(!folder.join("data/postmaster.pid").exists() || age(folder)? > STALE);
    }
    Ok(age(folder)? > STALE)
}

#[allow(clippy::disallowed_methods, reason = "compared with a modification time of the file system")]
fn age(folder: &PathBuf) -> io::Result<Duration> {
    let changed = fs::metadata(folder)?.modified()?;
    Ok(SystemTime::now().duration_since(changed).unwrap_or_default())
}
