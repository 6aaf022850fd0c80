//! One replica of a role: a process that can be killed, stopped, drained and restarted on the same address, with failpoints.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{Arc, Mutex as PlainMutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use backlot::role::Role;
use chassis::testing::{self, Signal};
use test_support::{
    canary::{self, Stopwatch},
    process::Launch,
};
use tokio::{net::TcpStream, process::Child, sync::Mutex, time::timeout};

use super::timeline::Timeline;

const POLL: Duration = Duration::from_millis(20);
const DRAINED_WITHIN: Duration = Duration::from_secs(30);
/// The prefix of the log line of a fired failpoint.
const FIRED: &str = "failpoint fired: ";
/// A part of the log line of a panic.
const PANIC: &str = "panicked at";

/// A replica, whether its process runs or not.
pub struct Node {
    pub name: String,
    pub role: Role,
    pub address: SocketAddr,
    pub log: PathBuf,
    launch: Launch,
    timeline: Arc<Timeline>,
    running: Mutex<Running>,
    /// Armed at the next start: `claim-turns/after=1*return(abort)`.
    armed: PlainMutex<BTreeSet<Failpoint>>,
    heard: PlainMutex<Heard>,
}

/// The addresses of a replica.
pub(super) struct Place {
    pub(super) role: Role,
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// The gateway's second listener.
    pub(super) preview: SocketAddr,
}

/// A failpoint and what it does once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failpoint {
    /// `claim-turns/after`.
    pub place: String,
    /// abort, error or timeout.
    pub mode: String,
}

#[derive(Default)]
struct Running {
    child: Option<Child>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Down,
    Starting,
    Up,
    Stopped,
}

/// What was found in the log.
#[derive(Default)]
struct Heard {
    read_to: u64,
    fired: Vec<Failpoint>,
    panics: Vec<String>,
}

impl Node {
    pub(super) fn new(place: &Place, launch: &Launch, folder: &Path, timeline: &Arc<Timeline>) -> Self {
        let Place { role, name, address, preview } = place;
        timeline.exists(*role, name);
        let listen = if *role == Role::Gateway { "BACKLOT_LISTEN" } else { "BACKLOT_GRPC_LISTEN" };
        let launch = launch
            .clone()
            .set(listen, &address.to_string())
            .set("BACKLOT_PREVIEW_LISTEN", &preview.to_string())
            .set("BACKLOT_METRICS_LISTEN", "none");
        Self {
            name: name.clone(),
            role: *role,
            address: *address,
            log: folder.join(format!("{name}.log")),
            launch,
            timeline: Arc::clone(timeline),
            running: Mutex::default(),
            armed: PlainMutex::default(),
            heard: PlainMutex::default(),
        }
    }

    /// Starts the process unless it runs.
    ///
    /// # Errors
    /// The executable cannot be started.
    pub async fn start(&self) -> Result<()> {
        self.spawn(&mut *self.running.lock().await)
    }

    fn spawn(&self, running: &mut Running) -> Result<()> {
        if running.child.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = self.launch.command(&[self.role.name()]);
        let failpoints = self.failpoints();
        if !failpoints.is_empty() {
            command.env("FAILPOINTS", failpoints);
        }
        command.stdout(log.try_clone()?).stderr(log);
        testing::die_with_parent(command.as_std_mut());
        running.child = Some(command.spawn().with_context(|| format!("{} does not start", self.name))?);
        running.state = State::Starting;
        Ok(())
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// It does not within this time.
    pub async fn ready(&self, within: Duration) -> Result<()> {
        let clock = Stopwatch::start();
        loop {
            self.tend().await;
            if self.running.lock().await.state == State::Up {
                return Ok(());
            }
            if clock.elapsed() > within {
                bail!("{} does not listen after {within:?}, see {}", self.name, self.log.display());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Notes whether it listens, and starts it again if it ended by itself.
    pub async fn tend(&self) {
        // Whoever holds the lock starts or ends the process. The keeper must not wait for that.
        let Ok(mut running) = self.running.try_lock() else { return };
        let Some(child) = &mut running.child else { return };
        if let Ok(Some(status)) = child.try_wait() {
            running.child = None;
            self.is_down(&mut running);
            self.timeline.note(format!("{} ended by itself: {status}", self.name));
            // If this fails, the next check tries again.
            let _ = self.spawn(&mut running);
            return;
        }
        if running.state == State::Starting && matches!(timeout(POLL, TcpStream::connect(self.address)).await, Ok(Ok(_))) {
            running.state = State::Up;
            self.timeline.up(self.role, &self.name);
        }
    }

    /// SIGKILL. Tells whether there was a process.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(&self) -> Result<bool> {
        let mut running = self.running.lock().await;
        let Some(mut child) = running.child.take() else { return Ok(false) };
        self.is_down(&mut running);
        child.kill().await?;
        Ok(true)
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// It does not end within thirty seconds.
    pub async fn terminate(&self) -> Result<Option<ExitStatus>> {
        let mut running = self.running.lock().await;
        let Some(mut child) = running.child.take() else { return Ok(None) };
        self.is_down(&mut running);
        if let Some(id) = child.id() {
            testing::signal(id, Signal::Terminate)?;
        }
        let status = canary::within(DRAINED_WITHIN, child.wait()).await;
        Ok(Some(status.with_context(|| format!("{} does not end within {DRAINED_WITHIN:?}", self.name))??))
    }

    /// SIGSTOP. Tells whether there was a process to stop.
    pub async fn pause(&self) -> bool {
        let mut running = self.running.lock().await;
        let stopped = running.state == State::Up && signal(&running, Signal::Stop);
        if stopped {
            running.state = State::Stopped;
            self.timeline.stopped(self.role, &self.name);
        }
        stopped
    }

    /// SIGCONT.
    pub async fn resume(&self) {
        let mut running = self.running.lock().await;
        if running.state == State::Stopped && signal(&running, Signal::Continue) {
            running.state = State::Up;
            self.timeline.up(self.role, &self.name);
        }
    }

    fn is_down(&self, running: &mut Running) {
        if running.state == State::Up {
            self.timeline.down(self.role, &self.name);
        }
        running.state = State::Down;
    }

    /// Arms these failpoints for the next start, each once, and forgets which have fired.
    pub fn arm(&self, failpoints: impl IntoIterator<Item = Failpoint>) {
        self.listen().fired.clear();
        lock(&self.armed).extend(failpoints);
    }

    /// Disarms the failpoints for the next start, and tells whether any was armed.
    pub fn disarm(&self) -> bool {
        let left = !self.armed().is_empty();
        lock(&self.armed).clear();
        left
    }

    /// The failpoints that have not fired yet.
    #[must_use]
    pub fn armed(&self) -> BTreeSet<Failpoint> {
        let fired = self.fired();
        let mut armed = lock(&self.armed);
        armed.retain(|failpoint| !fired.contains(failpoint));
        armed.clone()
    }

    fn failpoints(&self) -> String {
        let armed: Vec<_> = self.armed().iter().map(|point| format!("{}=1*return({})", point.place, point.mode)).collect();
        armed.join(";")
    }

    /// Every failpoint that fired in this process so far.
    #[must_use]
    pub fn fired(&self) -> Vec<Failpoint> {
        self.listen().fired.clone()
    }

    /// The log lines of panics.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        self.listen().panics.clone()
    }

    /// Reads the new part of the log.
    fn listen(&self) -> MutexGuard<'_, Heard> {
        let mut heard = lock(&self.heard);
        let Ok(mut file) = File::open(&self.log) else { return heard };
        if file.seek(SeekFrom::Start(heard.read_to)).is_err() {
            return heard;
        }
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if !line.ends_with(b"\n") {
                break;
            }
            heard.read_to += line.len() as u64;
            let text = String::from_utf8_lossy(&line);
            if let Some((place, mode)) = text.strip_prefix(FIRED).and_then(|rest| rest.trim_end().split_once(' ')) {
                heard.fired.push(Failpoint { place: place.to_owned(), mode: mode.to_owned() });
            } else if text.contains(PANIC) {
                heard.panics.push(format!("{}: {}", self.name, text.trim_end()));
            }
            line.clear();
        }
        heard
    }
}

fn signal(running: &Running, signal: Signal) -> bool {
    running.child.as_ref().and_then(Child::id).is_some_and(|id| testing::signal(id, signal).is_ok())
}

fn lock<T>(mutex: &PlainMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
