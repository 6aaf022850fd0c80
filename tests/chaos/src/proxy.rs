//! A network between processes that can fail. A [`Link`] is an address that forwards to the first of its targets that answers, so a service
//! with many replicas has one address. A link can close its connections, stall, be slow and, in front of PostgreSQL, drop the answer of a
//! statement that was executed ([`frontend`] parses the protocol).

pub mod frontend;

use std::{
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chassis::task;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

use self::frontend::Frontend;

const CHUNK: usize = 16 * 1024;
/// A target that does not accept in time is skipped.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Where a link leads.
#[derive(Debug, Clone)]
pub enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// An address that forwards, until it is dropped.
pub struct Link {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

struct Shared {
    name: String,
    targets: Vec<Target>,
    next: AtomicUsize,
    state: watch::Sender<State>,
    /// PostgreSQL is behind it.
    postgres: bool,
    /// The statements whose answers are dropped, by a part of their text.
    doomed: Mutex<VecDeque<String>>,
    lost: AtomicUsize,
    open: AtomicUsize,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Connections of an earlier generation are closed.
    generation: u64,
    held: bool,
    delay: Duration,
}

impl Link {
    /// Opens a link on a free port.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn open(name: &str, targets: Vec<Target>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            postgres: targets.iter().any(|target| matches!(target, Target::Unix(_))),
            targets,
            next: AtomicUsize::new(0),
            state: watch::Sender::new(State::default()),
            doomed: Mutex::default(),
            lost: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let accepting = task::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { shared, address, accepting })
    }

    /// `gateway -> auth`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether PostgreSQL is behind it.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        self.shared.postgres
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Resets every open connection. Tells how many there were.
    pub fn cut(&self) -> usize {
        let open = self.connections();
        self.shared.state.send_modify(|state| state.generation += 1);
        open
    }

    /// Forwards nothing until [`Link::heal`]; connections stay. What is on the way when they are cut is lost.
    pub fn hold(&self) {
        self.shared.state.send_modify(|state| state.held = true);
    }

    /// Forwards nothing for a while; connections stay.
    pub async fn stall(&self, time: Duration) {
        self.hold();
        tokio::time::sleep(time).await;
        self.heal();
    }

    /// Everything arrives this much later, each way.
    pub fn delay(&self, delay: Duration) {
        self.shared.state.send_modify(|state| state.delay = delay);
    }

    /// The next statement outside of a transaction whose text holds `part`, or the next `COMMIT`, is carried out, and then its
    /// connection is cut in place of its answer.
    pub fn lose_answer(&self, part: &str) {
        lock(&self.shared.doomed).push_back(part.to_owned());
    }

    /// Answers that were lost so far.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// No delay, no stall, and no answer will be lost any more.
    pub fn heal(&self) {
        lock(&self.shared.doomed).clear();
        self.shared.state.send_modify(|state| {
            state.held = false;
            state.delay = Duration::ZERO;
        });
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.shared.name, self.address)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl Shared {
    /// A connection to the next target that takes one.
    async fn dial(&self) -> io::Result<Box<dyn Stream>> {
        let mut error = io::Error::other("no targets");
        for _ in 0..self.targets.len() {
            let at = self.next.fetch_add(1, Ordering::Relaxed) % self.targets.len();
            let dialled = tokio::time::timeout(CONNECT_LIMIT, dial(&self.targets[at])).await;
            match dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => return Ok(stream),
                Err(refused) => error = refused,
            }
        }
        Err(error)
    }

    /// Takes a doomed statement that one of these is.
    fn dooms(&self, passed: &[frontend::Passed]) -> bool {
        let mut doomed = lock(&self.doomed);
        let Some(at) = doomed.iter().position(|part| passed.iter().any(|passed| passed.is(part))) else { return false };
        doomed.remove(at);
        true
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn dial(target: &Target) -> io::Result<Box<dyn Stream>> {
    Ok(match target {
        Target::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        Target::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        task::spawn(async move {
            shared.open.fetch_add(1, Ordering::Relaxed);
            // However a connection ends, its two ends learn of it by the end of the other.
            let _ = carry(client, &shared).await;
            shared.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn carry(client: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut state = shared.state.subscribe();
    let generation = state.borrow_and_update().generation;
    // Whatever ends this connection but a clean end of both sides is a reset.
    client.set_zero_linger()?;
    client.set_nodelay(true)?;
    let (from_server, to_server) = tokio::io::split(shared.dial().await?);
    let (from_client, to_client) = client.into_split();
    let doomed = AtomicBool::new(false);
    let there = up(from_client, to_server, shared, &doomed);
    let back = down(from_server, to_client, shared, &doomed);
    tokio::select! {
        carried = async { tokio::try_join!(there, back) } => carried.map(drop),
        _ = state.wait_for(|state| state.generation != generation) => Ok(()),
    }
}

/// From the client to the server.
async fn up(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, shared: &Shared, doomed: &AtomicBool) -> io::Result<()> {
    let mut frontend = shared.postgres.then(Frontend::default);
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        pass(shared).await;
        let passed = frontend.as_mut().map(|frontend| frontend.read(&buffer[..read])).unwrap_or_default();
        if shared.dooms(&passed) {
            doomed.store(true, Ordering::SeqCst);
        }
        to.write_all(&buffer[..read]).await?;
    }
}

/// From the server to the client.
async fn down(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, shared: &Shared, doomed: &AtomicBool) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        if doomed.load(Ordering::SeqCst) {
            // The server has answered, so it was done.
            shared.lost.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if read == 0 {
            return to.shutdown().await;
        }
        pass(shared).await;
        to.write_all(&buffer[..read]).await?;
    }
}

/// Waits as long as the link wants it.
async fn pass(shared: &Shared) {
    let State { held, delay, .. } = *shared.state.borrow();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if held {
        // The sender lives as long as the link; without it the connection is about to be cut.
        let _ = shared.state.subscribe().wait_for(|state| !state.held).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
