//! One private server per test process, one template per schema, one database per test.

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

/// What the folders of test servers begin with.
const PREFIX: &str = "backlot-test-";
/// A folder that nobody touched this long belongs to a process that is gone.
const STALE: Duration = Duration::from_secs(3_600);
/// Tests run side by side, each with a pool of its own, on one server.
const CONNECTIONS: u32 = 8;

/// A database of its own for one test.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    pub pool: PgPool,
    pub url: String,
}

/// An empty database with this schema.
///
/// # Panics
/// If this machine has no PostgreSQL, or the schema cannot be made.
pub async fn postgres(migrator: &'static Migrator) -> TestDatabase {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let (maintenance, template) = template(migrator).await;
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&maintenance).await.expect("the private server answers");
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}"))).await.expect("a copy of the template");
    // A failed farewell changes nothing for the test.
    let _ = admin.close().await;
    let url = maintenance.replacen("/postgres?", &format!("/{name}?"), 1);
    let config = postgres::Config { max_connections: CONNECTIONS, ..postgres::Config::of_url("test", Secret::new(url.as_str())) };
    let pool = postgres::connect(&config, migrator).await.expect("a pool on the test's database");
    TestDatabase { pool, url }
}

/// Where a cluster under test may make databases of its own: the URL of `name` on the private server.
///
/// # Panics
/// If this machine has no PostgreSQL.
pub async fn database_url(name: &str) -> String {
    server().await.postgres.url(name)
}

/// The server of this process, until it exits.
static SERVER: Mutex<Option<Server>> = Mutex::const_new(None);

struct Server {
    postgres: PrivatePostgres,
    folder: PathBuf,
    /// Databases that nobody connects to any more, so that they can be copied, by what their schema is made of.
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
    sweep(&parent);
    let folder = parent.join(format!("{PREFIX}{}-{:x}", std::process::id(), uuid::Uuid::new_v4().as_u64_pair().0));
    let options = Options { fsync: false, max_connections: 500, ..Options::default() };
    let postgres =
        PrivatePostgres::start(&folder, options).unwrap_or_else(|e| panic!("tests need PostgreSQL: {}", crate::error::chain(&e)));
    #[allow(unsafe_code, reason = "statics are never dropped: only this call is made when a process exits")]
    // SAFETY: a function without arguments that does not unwind: nothing in it panics.
    unsafe {
        libc::atexit(clear);
    }
    Server { postgres, folder, templates: HashMap::new() }
}

/// Stops the server and removes its folder. A process that is killed leaves the first to the kernel, the second to the next run.
extern "C" fn clear() {
    if let Some(server) = SERVER.try_lock().ok().and_then(|mut server| server.take()) {
        drop(server.postgres);
        let _ = fs::remove_dir_all(server.folder);
    }
}

/// The URL of the server's database for maintenance, and the template of this schema.
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
        postgres::connect(&config, migrator).await.unwrap_or_else(|e| panic!("the schema cannot be made: {}", crate::error::chain(&e)));
    pool.close().await;
    server.templates.insert(key, name.clone());
    (admin, name)
}

/// Removes what earlier test processes left behind.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        if is_stale(&entry.path()).unwrap_or(false) {
            // Somebody else may be sweeping too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether the process that made the folder is gone.
fn is_stale(folder: &PathBuf) -> io::Result<bool> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let pid: Option<u32> = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse().ok());
    if let Some(pid) = pid {
        if sys::exists(pid) {
            return Ok(false);
        }
        // Its server may be a moment behind it.
        return Ok(!folder.join("data/postmaster.pid").exists() || age(folder)? > STALE);
    }
    Ok(age(folder)? > STALE)
}

#[allow(clippy::disallowed_methods, reason = "compared with the clock of the file system")]
fn age(folder: &PathBuf) -> io::Result<Duration> {
    let changed = fs::metadata(folder)?.modified()?;
    Ok(SystemTime::now().duration_since(changed).unwrap_or_default())
}
