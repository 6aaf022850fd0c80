//! A private PostgreSQL as a child process: `backlot up` uses one without a `DATABASE_URL`, and so do tests. It runs the
//! machine's own programs on a folder of ours. Only this user can open its Unix socket. It ends with this process, even when
//! this process is killed, and starts again when it is killed itself.
//!
//! - [`PrivatePostgres::start`] reads top to bottom. `binaries` finds the programs, `place` prepares the folder and the user, and
//!   `keeper` is the thread that owns the server.
//! - [`download`] fetches the programs for a machine that has none.
//! - [`sys`] has the system calls that the standard library does not offer.

mod binaries;
pub mod download;
mod error;
mod keeper;
mod options;
mod place;
pub mod sys;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    thread::JoinHandle,
};

pub use self::{error::Error, options::Options};
use self::{options::SUPERUSER, place::Place};

/// A running private server. It stops when this is dropped.
#[derive(Debug)]
pub struct PrivatePostgres {
    sockets: PathBuf,
    #[cfg(feature = "testing")]
    lock: PathBuf,
    stop: mpsc::Sender<()>,
    keeper: Option<JoinHandle<()>>,
}

impl PrivatePostgres {
    /// Starts a server on `folder`, which is made if absent and then belongs to this server alone. Blocks until it accepts
    /// connections.
    ///
    /// # Errors
    /// No binaries, a folder that cannot be used or is in use, or a server that does not start.
    pub fn start(folder: &Path, options: Options) -> Result<Self, Error> {
        let place = Place::claim(folder, options.progress.as_ref())?;
        let version = fs::read_to_string(place.data().join("PG_VERSION")).ok().and_then(|text| binaries::major(&text));
        let path = std::env::var_os("PATH");
        let binaries = binaries::find(options.bin_dir.as_deref(), path.as_deref(), version)?;
        let sockets = place.sockets.clone();
        #[cfg(feature = "testing")]
        let lock = place.data().join("postmaster.pid");
        let (stop, stopped) = mpsc::channel();
        let (report, started) = mpsc::sync_channel(1);
        let server = keeper::Server { place, binaries: binaries.folder, options };
        // The kernel ends the server when the thread that spawned it dies, so it gets one that does nothing else.
        let keeper = std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || keeper::run(&server, &stopped, &report))
            .map_err(|source| Error::Spawn { program: "postgres".into(), source })?;
        let child = Self {
            sockets,
            #[cfg(feature = "testing")]
            lock,
            stop,
            keeper: Some(keeper),
        };
        match started.recv() {
            Ok(Ok(())) => Ok(child),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Start("its keeper ended".to_owned())),
        }
    }

    /// URL of one of its databases, or of one that it does not have yet.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let mut url = format!("postgres://{SUPERUSER}@localhost/{database}?host=");
        url.extend(url::form_urlencoded::byte_serialize(self.sockets.as_os_str().as_encoded_bytes()));
        url
    }

    /// The socket that it listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.sockets.join(".s.PGSQL.5432")
    }

    /// Kills the server as a crash would. Its keeper starts it again, which recovers what was committed.
    ///
    /// # Errors
    /// It does not run at the moment.
    #[cfg(feature = "testing")]
    pub fn crash(&self) -> std::io::Result<()> {
        let lock = fs::read_to_string(&self.lock)?;
        let pid = lock.lines().next().and_then(|line| line.trim().parse().ok());
        sys::signal(pid.ok_or_else(|| std::io::Error::other("no process in postmaster.pid"))?, libc::SIGKILL)
    }

    /// Ends all sessions, writes everything down and stops. Blocks.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // A keeper that is gone has nothing to stop.
        let _ = self.stop.send(());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.end();
    }
}
