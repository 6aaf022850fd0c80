//! A TCP proxy between two parts of a cluster. A [`Link`] forwards each connection to one of its targets, so that a service with several
//! replicas has one address. A link can cut, stall and delay its connections. In front of PostgreSQL it can also drop the answer to an
//! executed statement ([`frontend`] parses the protocol).

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
/// The limit for a connection to a target. A slower target is skipped.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// The address of a server.
#[derive(Debug, Clone)]
pub enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A proxy on an address of its own, until it is dropped.
pub struct Link {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

struct Shared {
    name: String,
    targets: Vec<Target>,
    next: AtomicUsize,
    /// The target that new connections go to, if it accepts.
    preferred: Mutex<Option<SocketAddr>>,
    state: watch::Sender<State>,
    /// Whether the targets are PostgreSQL servers.
    postgres: bool,
    /// Parts of the texts of statements whose answers will be dropped.
    answers_to_drop: Mutex<VecDeque<String>>,
    dropped: AtomicUsize,
    open: AtomicUsize,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Connections with an earlier generation are closed.
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
            preferred: Mutex::default(),
            state: watch::Sender::new(State::default()),
            answers_to_drop: Mutex::default(),
            dropped: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let accepting = task::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { shared, address, accepting })
    }

    /// The name, such as `gateway -> auth`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the targets are PostgreSQL servers.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        self.shared.postgres
    }

    /// The number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Resets all open connections. Returns how many there were.
    pub fn cut(&self) -> usize {
        let open = self.connections();
        self.shared.state.send_modify(|state| state.generation += 1);
        open
    }

    /// Forwards nothing until [`Link::heal`]. Connections stay open. Bytes in transit are lost if the link is cut meanwhile.
    pub fn hold(&self) {
        self.shared.state.send_modify(|state| state.held = true);
    }

    /// Forwards nothing for `time`. Connections stay open.
    pub async fn stall(&self, time: Duration) {
        self.hold();
        tokio::time::sleep(time).await;
        self.shared.state.send_modify(|state| state.held = false);
    }

    /// Delays all bytes in both directions.
    pub fn delay(&self, delay: Duration) {
        self.shared.state.send_modify(|state| state.delay = delay);
    }

    /// Drops the answer to the next statement outside a transaction whose text contains `part`, or to the next `COMMIT` if `part` is that
    /// word. The statement is executed, and then its connection is reset.
    pub fn drop_answer(&self, part: &str) {
        lock(&self.shared.answers_to_drop).push_back(part.to_owned());
    }

    /// The number of answers that were dropped so far.
    #[must_use]
    pub fn dropped_answers(&self) -> usize {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Lets new connections go to this target while it accepts; without one, to all targets in turn.
    pub fn prefer(&self, target: Option<SocketAddr>) {
        *lock(&self.shared.preferred) = target;
    }

    /// Ends a stall and a delay, drops no more answers, and prefers no target.
    pub fn heal(&self) {
        self.prefer(None);
        lock(&self.shared.answers_to_drop).clear();
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
    /// Connects to the preferred target or to the next one, and otherwise to another one that accepts.
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let mut error = io::Error::other("no targets");
        let preferred = *lock(&self.preferred);
        let preferred = self.targets.iter().position(|target| matches!(target, Target::Tcp(address) if Some(*address) == preferred));
        let first = preferred.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed) % self.targets.len());
        for at in (first..self.targets.len()).chain(0..first) {
            let connected = tokio::time::timeout(CONNECT_LIMIT, connect(&self.targets[at])).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => return Ok(stream),
                Err(refused) => error = refused,
            }
        }
        Err(error)
    }

    /// Whether the answer to one of these must be dropped. Removes it from the list.
    fn must_drop(&self, operations: &[frontend::Operation]) -> bool {
        let mut parts = lock(&self.answers_to_drop);
        let Some(at) = parts.iter().position(|part| operations.iter().any(|operation| operation.matches(part))) else { return false };
        parts.remove(at);
        true
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(target: &Target) -> io::Result<Box<dyn Stream>> {
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
            // An error closes both connections, which is all that the two ends need to know.
            let _ = forward(client, &shared).await;
            shared.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn forward(client: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut state = shared.state.subscribe();
    let generation = state.borrow_and_update().generation;
    // With a linger time of zero, a connection that does not end cleanly on both sides is reset.
    client.set_zero_linger()?;
    client.set_nodelay(true)?;
    let (from_server, to_server) = tokio::io::split(shared.connect().await?);
    let (from_client, to_client) = client.into_split();
    let drop_answer = AtomicBool::new(false);
    let requests = client_to_server(from_client, to_server, shared, &drop_answer);
    let answers = server_to_client(from_server, to_client, shared, &drop_answer);
    tokio::select! {
        forwarded = async { tokio::try_join!(requests, answers) } => forwarded.map(drop),
        _ = state.wait_for(|state| state.generation != generation) => Ok(()),
    }
}

/// Forwards the requests.
async fn client_to_server(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shared: &Shared,
    drop_answer: &AtomicBool,
) -> io::Result<()> {
    let mut frontend = shared.postgres.then(Frontend::default);
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        wait_for_link(shared).await;
        let operations = frontend.as_mut().map(|frontend| frontend.read(&buffer[..read])).unwrap_or_default();
        if shared.must_drop(&operations) {
            drop_answer.store(true, Ordering::SeqCst);
        }
        to.write_all(&buffer[..read]).await?;
    }
}

/// Forwards the answers.
async fn server_to_client(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shared: &Shared,
    drop_answer: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        if drop_answer.load(Ordering::SeqCst) {
            // The server has answered, so the statement was executed.
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if read == 0 {
            return to.shutdown().await;
        }
        wait_for_link(shared).await;
        to.write_all(&buffer[..read]).await?;
    }
}

/// Waits while the link is delayed or stalled.
async fn wait_for_link(shared: &Shared) {
    let State { held, delay, .. } = *shared.state.borrow();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if held {
        // An error means that the link was dropped, which also cuts the connection.
        let _ = shared.state.subscribe().wait_for(|state| !state.held).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
