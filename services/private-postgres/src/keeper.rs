//! The thread that owns the server: makes the data folder, starts the server, waits until it is ready, starts it again when it
//! dies, and stops it when asked.

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
    options::{Options, SUPERUSER},
    place::Place,
    sys,
};

const POLL: Duration = Duration::from_millis(20);
/// How often the keeper looks whether the server still lives.
const WATCH: Duration = Duration::from_millis(200);
/// How long a server of a killed parent may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);
/// How long a stop may take before it is made harder.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// A server that ends before it was ready is tried again this long: the memory of a killed one may still be held.
const RETRY: Duration = Duration::from_secs(10);
/// What the log may have grown to before it is begun anew.
const LOG_LIMIT: u64 = 4 << 20;

pub(super) struct Server {
    pub(super) place: Place,
    pub(super) binaries: PathBuf,
    pub(super) options: Options,
}

/// The keeper's life.
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
        match stop.recv_timeout(WATCH) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return server.stop(&mut child),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Ok(Some(status)) = child.try_wait() {
            tracing::error!(log = %server.place.log().display(), "the private PostgreSQL ended ({status}); starting it again");
            match server.start() {
                Ok(again) => child = again,
                // Tried again at the next look: the child is still the dead one.
                Err(error) => tracing::error!("{error}"),
            }
        }
    }
}

impl Server {
    /// Sees to it that there is data and that no earlier server uses it.
    fn prepare(&self) -> Result<(), Error> {
        if self.place.data().join("PG_VERSION").exists() { self.dismiss_earlier() } else { self.initdb() }
    }

    /// Makes the data under another name first: if it is cut short, the next start does it again.
    fn initdb(&self) -> Result<(), Error> {
        let (draft, data) = (self.place.draft(), self.place.data());
        let failed = |source| Error::Folder { folder: draft.clone(), source };
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(failed)?;
        }
        (self.options.progress)("making a private PostgreSQL database");
        let mut command = self.command("initdb");
        command.args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions", "-D"]).arg(&draft);
        if !self.options.fsync {
            command.arg("--no-sync");
        }
        sys::die_with_parent(&mut command, libc::SIGKILL);
        let output = command.output().map_err(|source| Error::Spawn { program: self.binaries.join("initdb"), source })?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::Initdb { status: output.status, output: text });
        }
        fs::rename(&draft, &data).map_err(failed)?;
        File::open(&self.place.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// We hold the folder's lock, so a server that still runs has lost its parent: it is ending, or is told to.
    fn dismiss_earlier(&self) -> Result<(), Error> {
        let started = Instant::now();
        let mut told = false;
        while let Some(pid) = self.earlier() {
            let waited = started.elapsed();
            if waited > GRACE && !told {
                told = true;
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

    /// The process that the data folder's lock file names, if it is a server of this folder.
    fn earlier(&self) -> Option<u32> {
        let data = self.place.data();
        let pid: u32 = fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()?;
        // After a restart of the machine the number may be somebody else's.
        let ours = match fs::read(format!("/proc/{pid}/cmdline")) {
            Ok(line) => contains(&line, data.as_os_str().as_encoded_bytes()),
            Err(_) if Path::new("/proc/self").exists() => false,
            Err(_) => UnixStream::connect(self.socket()).is_ok(),
        };
        (ours && sys::exists(pid)).then_some(pid)
    }

    /// Starts the server and waits until it accepts connections.
    fn start(&self) -> Result<Child, Error> {
        let began = Instant::now();
        let mut waiting = Duration::from_secs(3);
        'again: loop {
            let mut child = self.spawn()?;
            loop {
                if is_ready(&self.socket()) {
                    return Ok(child);
                }
                if let Ok(Some(status)) = child.try_wait() {
                    if began.elapsed() > RETRY {
                        return Err(Error::Start(format!("{status}: {}", self.last_words())));
                    }
                    std::thread::sleep(WATCH);
                    continue 'again;
                }
                if began.elapsed() > self.options.start_limit {
                    self.stop(&mut child);
                    return Err(Error::Start(format!("not ready after {} s: {}", began.elapsed().as_secs(), self.last_words())));
                }
                if began.elapsed() > waiting {
                    waiting *= 2;
                    (self.options.progress)("waiting for PostgreSQL, which may be recovering");
                }
                std::thread::sleep(POLL);
            }
        }
    }

    fn spawn(&self) -> Result<Child, Error> {
        let streams = self.place.open_log(LOG_LIMIT).and_then(|file| Ok((file.try_clone()?, file)));
        let (output, errors) = streams.map_err(|source| Error::Folder { folder: self.place.folder.clone(), source })?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.place.data()).arg("-k").arg(&self.place.sockets);
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
            // Compiling a statement costs more than any of ours takes.
            "jit=off".to_owned(),
        ];
        if !self.options.fsync {
            settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
        }
        settings
    }

    /// A program of the installation, as the right user, in a group of its own (a Ctrl-C at the terminal is for us, who stop
    /// the server last), and with nothing of our environment that would change what it does.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.env_clear().env("LC_ALL", "C").current_dir("/").stdin(Stdio::null()).process_group(0);
        for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(user) = self.place.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    fn stop(&self, child: &mut Child) {
        // Nothing is worth keeping where fsync is off.
        let gentle = if self.options.fsync { libc::SIGINT } else { libc::SIGQUIT };
        for signal in [gentle, libc::SIGQUIT, libc::SIGKILL] {
            // An error means that it has just ended.
            let _ = sys::signal(child.id(), signal);
            if sys::wait(child, STOP_LIMIT) {
                return;
            }
            tracing::warn!("the private PostgreSQL does not stop");
        }
    }

    fn socket(&self) -> PathBuf {
        self.place.sockets.join(".s.PGSQL.5432")
    }

    fn last_words(&self) -> String {
        let text = self.place.read_log().unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether a session can be opened. A server that is starting answers too, but with an error.
fn is_ready(socket: &Path) -> bool {
    open_session(socket).is_ok_and(|answer| answer == b'R')
}

/// Opens a session and closes it; returns the kind of the first answer: `R`, it goes on with authentication; `E`, an error.
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
    // Terminate; it may have hung up already.
    let _ = stream.write_all(&[b'X', 0, 0, 0, 4]);
    Ok(kind[0])
}
