//! The thread that supervises the server process: it creates the data folder, starts the server, waits until it is ready, restarts it when
//! it has ended, and stops it on request.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender},
    time::{Duration, Instant},
};

use crate::{
    error::Error,
    folders::Folders,
    options::{Options, SUPERUSER},
    sys,
};

const POLL: Duration = Duration::from_millis(20);
/// How often the supervisor checks that the server is running.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// How long the server of an earlier run may take to end by itself after its parent was killed.
const GRACE: Duration = Duration::from_secs(3);
/// How long a signal may take to stop the server before a stronger one is sent.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// How long a server that ends before it is ready is started again. The shared memory of a killed server may still be in use.
const START_RETRY_LIMIT: Duration = Duration::from_secs(10);
/// The size in bytes above which the log is truncated at the next start.
const LOG_LIMIT: u64 = 4 << 20;

pub(super) struct Server {
    pub(super) folders: Folders,
    pub(super) binaries: PathBuf,
    pub(super) options: Options,
}

/// Runs the server until `stop` gets a message or is closed. `report` gets the result of the first start.
pub(super) fn run(server: &Server, stop: &Receiver<()>, report: &SyncSender<Result<(), Error>>) {
    let mut child = match server.prepare().and_then(|()| server.start()) {
        Ok(child) => child,
        Err(error) => {
            let _ = report.send(Err(error));
            return;
        }
    };
    let _ = report.send(Ok(()));
    loop {
        match stop.recv_timeout(CHECK_INTERVAL) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return server.stop(&mut child),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Ok(Some(status)) = child.try_wait() {
            tracing::error!(log = %server.folders.log().display(), "the private PostgreSQL ended ({status}); restarting it");
            match server.start() {
                Ok(restarted) => child = restarted,
                // The next check sees the ended child again and repeats the start.
                Err(error) => tracing::error!("{error}"),
            }
        }
    }
}

impl Server {
    /// Ensures that the data folder exists and that no earlier server uses it.
    fn prepare(&self) -> Result<(), Error> {
        if self.folders.data().join("PG_VERSION").exists() { self.stop_earlier_server() } else { self.initdb() }
    }

    /// Creates the data under a temporary name, so that the next start repeats an interrupted initdb.
    fn initdb(&self) -> Result<(), Error> {
        let (unfinished, data) = (self.folders.unfinished_data(), self.folders.data());
        let failed = |source| Error::Folder { folder: unfinished.clone(), source };
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(failed)?;
        }
        (self.options.progress)("creating a private PostgreSQL database");
        let mut command = self.command("initdb");
        command.args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions", "-D"]).arg(&unfinished);
        if !self.options.fsync {
            command.arg("--no-sync");
        }
        sys::die_with_parent(&mut command, libc::SIGKILL);
        let output = command.output().map_err(|source| Error::Spawn { program: self.binaries.join("initdb"), source })?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::Initdb { status: output.status, output: text });
        }
        fs::rename(&unfinished, &data).map_err(failed)?;
        File::open(&self.folders.root).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Stops a server that still uses the data folder. This process holds the lock of the folder, so the parent of that server has died.
    fn stop_earlier_server(&self) -> Result<(), Error> {
        let started = Instant::now();
        let mut is_signalled = false;
        while let Some(pid) = self.earlier_server() {
            let waited = started.elapsed();
            if waited > GRACE && !is_signalled {
                is_signalled = true;
                (self.options.progress)("stopping the PostgreSQL of an earlier run");
                sys::signal(pid, libc::SIGINT).map_err(|_| Error::StillRunning(pid))?;
            }
            if waited > GRACE + STOP_LIMIT * 2 {
                return Err(Error::StillRunning(pid));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The process id in `postmaster.pid`, if that process is a server of this data folder.
    fn earlier_server(&self) -> Option<u32> {
        let data = self.folders.data();
        let pid: u32 = fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()?;
        // After a restart of the machine another process may have this id.
        let is_ours = match fs::read(format!("/proc/{pid}/cmdline")) {
            Ok(line) => contains(&line, data.as_os_str().as_encoded_bytes()),
            Err(_) if Path::new("/proc/self").exists() => false,
            Err(_) => UnixStream::connect(self.socket()).is_ok(),
        };
        (is_ours && sys::exists(pid)).then_some(pid)
    }

    /// Starts the server and waits until it accepts connections.
    fn start(&self) -> Result<Child, Error> {
        let started = Instant::now();
        let mut next_progress = Duration::from_secs(3);
        'restart: loop {
            let mut child = self.spawn()?;
            loop {
                if is_ready(&self.socket()) {
                    return Ok(child);
                }
                if let Ok(Some(status)) = child.try_wait() {
                    if started.elapsed() > START_RETRY_LIMIT {
                        return Err(Error::Start(format!("{status}: {}", self.log_tail())));
                    }
                    std::thread::sleep(CHECK_INTERVAL);
                    continue 'restart;
                }
                if started.elapsed() > self.options.start_limit {
                    self.stop(&mut child);
                    return Err(Error::Start(format!("not ready after {} s: {}", started.elapsed().as_secs(), self.log_tail())));
                }
                if started.elapsed() > next_progress {
                    next_progress *= 2;
                    (self.options.progress)("waiting for PostgreSQL, which may be recovering");
                }
                std::thread::sleep(POLL);
            }
        }
    }

    fn spawn(&self) -> Result<Child, Error> {
        let streams = self.folders.open_log(LOG_LIMIT).and_then(|file| Ok((file.try_clone()?, file)));
        let (output, errors) = streams.map_err(|source| Error::Folder { folder: self.folders.root.clone(), source })?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.folders.data()).arg("-k").arg(&self.folders.sockets);
        for setting in self.settings() {
            command.arg("-c").arg(setting);
        }
        command.stdout(Stdio::from(output)).stderr(Stdio::from(errors));
        // SIGINT is PostgreSQL's fast and clean shutdown.
        sys::die_with_parent(&mut command, libc::SIGINT);
        command.spawn().map_err(|source| Error::Spawn { program: self.binaries.join("postgres"), source })
    }

    fn settings(&self) -> Vec<String> {
        let mut settings = vec![
            "listen_addresses=".to_owned(),
            "port=5432".to_owned(),
            "unix_socket_permissions=0700".to_owned(),
            format!("max_connections={}", self.options.max_connections),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
            // All our statements are shorter than a JIT compilation.
            "jit=off".to_owned(),
        ];
        if !self.options.fsync {
            settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
        }
        settings
    }

    /// A program of the installation, run as the user of the folders. It has its own process group, so that a Ctrl-C at the terminal reaches
    /// only this process, which stops the server last. It gets only the variables of our environment that it needs.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.env_clear().env("LC_ALL", "C").current_dir("/").stdin(Stdio::null()).process_group(0);
        for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(user) = self.folders.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    fn stop(&self, child: &mut Child) {
        // Without fsync the data is temporary, so a clean shutdown is not needed.
        let first = if self.options.fsync { libc::SIGINT } else { libc::SIGQUIT };
        for signal in [first, libc::SIGQUIT, libc::SIGKILL] {
            // An error means that the process has just ended.
            let _ = sys::signal(child.id(), signal);
            if sys::wait(child, STOP_LIMIT) {
                return;
            }
            tracing::warn!("the private PostgreSQL did not stop within {STOP_LIMIT:?} of a signal");
        }
    }

    fn socket(&self) -> PathBuf {
        self.folders.sockets.join(".s.PGSQL.5432")
    }

    fn log_tail(&self) -> String {
        let text = self.folders.read_log().unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether the server accepts sessions. While it is starting, it answers with an error.
fn is_ready(socket: &Path) -> bool {
    open_session(socket).is_ok_and(|answer| answer == b'R')
}

/// Opens and closes a session. Returns the type of the server's first message: `R` for authentication, `E` for an error.
fn open_session(socket: &Path) -> io::Result<u8> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let parameters = format!("user\0{SUPERUSER}\0database\0postgres\0\0");
    let length = u32::try_from(8 + parameters.len()).map_err(io::Error::other)?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend(0x0003_0000_u32.to_be_bytes());
    message.extend(parameters.as_bytes());
    stream.write_all(&message)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    // Terminate. The server may have closed the connection already.
    let _ = stream.write_all(&[b'X', 0, 0, 0, 4]);
    Ok(kind[0])
}
