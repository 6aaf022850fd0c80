//! A private PostgreSQL as a child process, for `backlot up` without a `DATABASE_URL` and for tests. It runs the installed programs on a
//! data folder of its own. Only the current user can open its Unix socket. It ends with this process, even if this process is killed, and
//! is restarted if the server itself is killed.
//!
//! - [`PrivatePostgres::start`] is the entry point. `binaries` finds the programs, `folders` prepares the folders and the user, and
//!   `supervisor` is the thread that supervises the server.
//! - [`download`] gets the programs for a machine that has none.
//! - [`sys`] wraps the system calls that the standard library lacks.

mod binaries;
pub mod download;
mod error;
mod folders;
mod options;
mod supervisor;
pub mod sys;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    thread::JoinHandle,
};

pub use self::{error::Error, options::Options};
use self::{folders::Folders, options::SUPERUSER};

/// A running private server. Dropping it stops the server.
#[derive(Debug)]
pub struct PrivatePostgres {
    sockets: PathBuf,
    #[cfg(feature = "testing")]
    lock: PathBuf,
    stop: mpsc::Sender<()>,
    supervisor: Option<JoinHandle<()>>,
}

impl PrivatePostgres {
    /// Starts a server on `folder`, which is created if it does not exist and is locked while the server runs. Blocks until the server accepts
    /// connections.
    ///
    /// # Errors
    /// PostgreSQL is not installed, the folder is in use or cannot be used, or the server does not start.
    pub fn start(folder: &Path, options: Options) -> Result<Self, Error> {
        let folders = Folders::lock(folder, options.progress.as_ref())?;
        let version = fs::read_to_string(folders.data().join("PG_VERSION")).ok().and_then(|text| binaries::major(&text));
        let path = std::env::var_os("PATH");
        let binaries = binaries::find(options.bin_dir.as_deref(), path.as_deref(), version)?;
        let sockets = folders.sockets.clone();
        #[cfg(feature = "testing")]
        let lock = folders.data().join("postmaster.pid");
        let (stop, stopped) = mpsc::channel();
        let (report, started) = mpsc::sync_channel(1);
        let server = supervisor::Server { folders, binaries: binaries.folder, options };
        // The kernel ends the server when the thread that spawned it dies, so this thread only supervises the server.
        let supervisor = std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || supervisor::run(&server, &stopped, &report))
            .map_err(|source| Error::Spawn { program: "postgres".into(), source })?;
        let child = Self {
            sockets,
            #[cfg(feature = "testing")]
            lock,
            stop,
            supervisor: Some(supervisor),
        };
        match started.recv() {
            Ok(Ok(())) => Ok(child),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Start("the supervisor thread panicked".to_owned())),
        }
    }

    /// The URL of a database, which need not exist yet.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let mut url = format!("postgres://{SUPERUSER}@localhost/{database}?host=");
        url.extend(url::form_urlencoded::byte_serialize(self.sockets.as_os_str().as_encoded_bytes()));
        url
    }

    /// The Unix socket of the server.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.sockets.join(".s.PGSQL.5432")
    }

    /// Kills the server with SIGKILL. The supervisor restarts it, and it recovers everything that was committed.
    ///
    /// # Errors
    /// The server is not running at the moment.
    #[cfg(feature = "testing")]
    pub fn crash(&self) -> std::io::Result<()> {
        let lock = fs::read_to_string(&self.lock)?;
        let pid = lock.lines().next().and_then(|line| line.trim().parse().ok());
        sys::signal(pid.ok_or_else(|| std::io::Error::other("no process in postmaster.pid"))?, libc::SIGKILL)
    }

    /// Ends all sessions and shuts the server down cleanly. Blocks.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // If the supervisor has ended, the server has ended, too.
        let _ = self.stop.send(());
        if let Some(supervisor) = self.supervisor.take() {
            let _ = supervisor.join();
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.end();
    }
}
