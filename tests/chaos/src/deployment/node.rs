//! A replica of a role: a process that can be killed, paused, drained and restarted on the same address, with failpoints.

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

use anyhow::{Context as _, Result, bail, ensure};
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
/// A process that ends so many times in a row before it listens does not start by itself.
const FAILED_STARTS: u32 = 3;
/// The prefix of the log line of a fired failpoint.
const FIRED: &str = "failpoint fired: ";
/// A part of the log line of every panic.
const PANIC: &str = "panicked at";

/// A replica. Its process may or may not be running.
pub struct Node {
    pub name: String,
    pub role: Role,
    pub address: SocketAddr,
    pub log: PathBuf,
    launch: Launch,
    timeline: Arc<Timeline>,
    instance: Mutex<Instance>,
    /// Failpoints that are armed at the next start.
    armed: PlainMutex<BTreeSet<Failpoint>>,
    log_state: PlainMutex<LogState>,
    starts: PlainMutex<Starts>,
}

/// The role, the name and the addresses of a replica.
pub(super) struct Addresses {
    pub(super) role: Role,
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// The address of the preview listener, for gateways.
    pub(super) preview: SocketAddr,
}

/// A failpoint and its effect, which happens once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failpoint {
    /// The name, such as `claim-turns/after`.
    pub place: String,
    /// `abort`, `error` or `timeout`.
    pub mode: String,
}

#[derive(Default)]
struct Instance {
    child: Option<Child>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Down,
    Starting,
    Up,
    Paused,
}

/// What was read from the log so far.
#[derive(Default)]
struct LogState {
    read_to: u64,
    fired: Vec<Failpoint>,
    panics: Vec<String>,
    /// The last line that is not blank.
    last_line: String,
}

/// The failed starts in a row. A start that a failpoint has ended does not count.
#[derive(Default)]
struct Starts {
    failed: u32,
    /// The number of failpoints that had fired before.
    fired: usize,
}

impl Starts {
    fn fail(&mut self, fired: usize) {
        let failed = if fired == self.fired { self.failed + 1 } else { 0 };
        *self = Self { failed, fired };
    }
}

impl Node {
    pub(super) fn new(addresses: &Addresses, launch: &Launch, folder: &Path, timeline: &Arc<Timeline>) -> Self {
        let Addresses { role, name, address, preview } = addresses;
        timeline.add_replica(*role, name);
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
            instance: Mutex::default(),
            armed: PlainMutex::default(),
            log_state: PlainMutex::default(),
            starts: PlainMutex::default(),
        }
    }

    /// Starts the process if it is not running.
    ///
    /// # Errors
    /// The executable cannot be started.
    pub async fn start(&self) -> Result<()> {
        self.spawn(&mut *self.instance.lock().await)
    }

    fn spawn(&self, instance: &mut Instance) -> Result<()> {
        if instance.child.is_some() {
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
        instance.child = Some(command.spawn().with_context(|| format!("{} does not start", self.name))?);
        instance.state = State::Starting;
        Ok(())
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// It does not listen within this time, or [`Node::check_starts`].
    pub async fn ready(&self, within: Duration) -> Result<()> {
        let clock = Stopwatch::start();
        loop {
            self.check().await;
            if self.instance.lock().await.state == State::Up {
                return Ok(());
            }
            if !self.armed().is_empty() {
                self.check_starts()?;
            }
            if clock.elapsed() > within {
                bail!("{} does not listen after {within:?}, see {}", self.name, self.log.display());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// # Errors
    /// It has ended several times in a row before it listened, and no failpoint has ended it.
    pub fn check_starts(&self) -> Result<()> {
        let failed = lock(&self.starts).failed;
        let last = self.read_log().last_line.clone();
        ensure!(failed < FAILED_STARTS, "{} ended {failed} times before it listened: {last:?}, see {}", self.name, self.log.display());
        Ok(())
    }

    /// Updates the state, and restarts the process if it has exited.
    pub async fn check(&self) {
        // The lock is held while the process is started or ended. The supervisor must not wait for that.
        let Ok(mut instance) = self.instance.try_lock() else { return };
        let Some(child) = &mut instance.child else { return };
        if let Ok(Some(status)) = child.try_wait() {
            instance.child = None;
            if instance.state == State::Starting {
                let fired = self.fired().len();
                lock(&self.starts).fail(fired);
            }
            self.set_down(&mut instance);
            self.timeline.note(format!("{} exited: {status}", self.name));
            // The next check repeats a failed start.
            let _ = self.spawn(&mut instance);
            return;
        }
        if instance.state == State::Starting && matches!(timeout(POLL, TcpStream::connect(self.address)).await, Ok(Ok(_))) {
            instance.state = State::Up;
            lock(&self.starts).failed = 0;
            self.timeline.replica_up(self.role, &self.name);
        }
    }

    /// Sends SIGKILL. Returns whether the process was running.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(&self) -> Result<bool> {
        let mut instance = self.instance.lock().await;
        let Some(mut child) = instance.child.take() else { return Ok(false) };
        self.set_down(&mut instance);
        child.kill().await?;
        Ok(true)
    }

    /// The id of its process, if it is running.
    pub async fn process(&self) -> Option<u32> {
        self.instance.lock().await.child.as_ref().and_then(Child::id)
    }

    /// Sends SIGTERM and waits for the exit. Returns `None` if the process was not running.
    ///
    /// # Errors
    /// It does not exit within thirty seconds.
    pub async fn terminate(&self) -> Result<Option<ExitStatus>> {
        let mut instance = self.instance.lock().await;
        let Some(mut child) = instance.child.take() else { return Ok(None) };
        self.set_down(&mut instance);
        if let Some(id) = child.id() {
            testing::signal(id, Signal::Terminate)?;
        }
        let status = canary::within(DRAINED_WITHIN, child.wait()).await;
        Ok(Some(status.with_context(|| format!("{} did not exit within {DRAINED_WITHIN:?}", self.name))??))
    }

    /// Sends SIGSTOP. Returns whether the process was running.
    pub async fn pause(&self) -> bool {
        let mut instance = self.instance.lock().await;
        let paused = instance.state == State::Up && signal(&instance, Signal::Stop);
        if paused {
            instance.state = State::Paused;
            self.timeline.replica_paused(self.role, &self.name);
        }
        paused
    }

    /// Sends SIGCONT to a paused process.
    pub async fn resume(&self) {
        let mut instance = self.instance.lock().await;
        if instance.state == State::Paused && signal(&instance, Signal::Continue) {
            instance.state = State::Up;
            self.timeline.replica_up(self.role, &self.name);
        }
    }

    fn set_down(&self, instance: &mut Instance) {
        if instance.state == State::Up {
            self.timeline.replica_down(self.role, &self.name);
        }
        instance.state = State::Down;
    }

    /// Arms these failpoints for the next start, and clears the list of fired ones.
    pub fn arm(&self, failpoints: impl IntoIterator<Item = Failpoint>) {
        self.read_log().fired.clear();
        *lock(&self.starts) = Starts::default();
        lock(&self.armed).extend(failpoints);
    }

    /// Disarms all failpoints. Returns whether any was armed.
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

    /// The value of the environment variable `FAILPOINTS`.
    fn failpoints(&self) -> String {
        let armed: Vec<_> = self.armed().iter().map(|point| format!("{}=1*return({})", point.place, point.mode)).collect();
        armed.join(";")
    }

    /// The failpoints that have fired since the last call of [`Node::arm`].
    #[must_use]
    pub fn fired(&self) -> Vec<Failpoint> {
        self.read_log().fired.clone()
    }

    /// The log lines of all panics.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        self.read_log().panics.clone()
    }

    /// Reads the new lines of the log.
    fn read_log(&self) -> MutexGuard<'_, LogState> {
        let mut log_state = lock(&self.log_state);
        let Ok(mut file) = File::open(&self.log) else { return log_state };
        if file.seek(SeekFrom::Start(log_state.read_to)).is_err() {
            return log_state;
        }
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if !line.ends_with(b"\n") {
                break;
            }
            log_state.read_to += line.len() as u64;
            let text = String::from_utf8_lossy(&line);
            if let Some((place, mode)) = text.strip_prefix(FIRED).and_then(|rest| rest.trim_end().split_once(' ')) {
                log_state.fired.push(Failpoint { place: place.to_owned(), mode: mode.to_owned() });
            } else if text.contains(PANIC) {
                log_state.panics.push(format!("{}: {}", self.name, text.trim_end()));
            }
            if !text.trim().is_empty() {
                text.trim_end().clone_into(&mut log_state.last_line);
            }
            line.clear();
        }
        log_state
    }
}

fn signal(instance: &Instance, signal: Signal) -> bool {
    instance.child.as_ref().and_then(Child::id).is_some_and(|id| testing::signal(id, signal).is_ok())
}

fn lock<T>(mutex: &PlainMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_starts_that_no_failpoint_has_ended_fail() {
        let mut starts = Starts::default();
        (0..3).for_each(|_| starts.fail(0));
        assert_eq!(starts.failed, 3);
        starts.fail(1);
        assert_eq!(starts.failed, 0, "a failpoint has fired");
        starts.fail(1);
        assert_eq!(starts.failed, 1);
    }
}
