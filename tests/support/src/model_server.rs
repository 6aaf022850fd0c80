//! A model provider for tests, over real HTTP. It streams scripted answers in the formats of Anthropic Messages (`POST /v1/messages`) and
//! OpenAI chat completions (`POST /v1/chat/completions`), and can simulate the faults of providers. It refuses requests that the providers
//! would refuse, and detects when a client disconnects.
//!
//! - [`answer`]: the content and the faults of an answer ([`Answer`], [`Gate`]). [`script`]: chooses the answer to a request ([`Script`]).
//! - [`request`]: the request of a client.
//! - `anthropic`, `openai`: the wire formats: the frames of an answer, refusals, and the validation of requests.
//! - `stream`: sends the frames, with the faults.
//!
//! ```no_run
//! # use test_support::model_server::{Answer, ModelServer, Script};
//! # use serde_json::json;
//! # async fn example() {
//! let server = ModelServer::start(Script::queue([
//!     Answer::default().text("On it.").tool("write_file", json!({"path": "index.html", "content": "<h1>Hi</h1>"})),
//!     Answer::default().text("Done.").cut_at(test_support::model_server::At::Event(3)),
//! ]))
//! .await;
//! // ANTHROPIC_BASE_URL = server.url(); OPENAI_BASE_URL = server.url() + "/v1"
//! let request = server.request(0).await;
//! let ending = server.closed(0).await;
//! # }
//! ```

pub mod answer;
pub mod request;
pub mod script;

mod anthropic;
mod openai;
mod stream;

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

pub use self::{
    answer::{Answer, At, Gate, Refusal, Stop, Usage},
    request::{Protocol, Request},
    script::Script,
};

type Body = UnsyncBoxBody<Bytes, ConnectionCut>;

/// A running model server. Dropping it closes all of its connections.
pub struct ModelServer {
    url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Everything was sent.
    Finished,
    /// The script cut the connection.
    Cut,
    /// The client closed its connection (or reset its stream) first.
    ClientClosed,
}

/// The end of an exchange.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    pub how: How,
    pub at: Instant,
    /// The bytes of the body that were passed to the connection.
    pub bytes: usize,
}

/// The error that ends a connection when the script cuts it.
#[derive(Debug)]
pub(crate) struct ConnectionCut;

impl fmt::Display for ConnectionCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script closed the connection")
    }
}

impl std::error::Error for ConnectionCut {}

impl From<Infallible> for ConnectionCut {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The state that the server and its connections share.
struct Shared {
    script: Mutex<Script>,
    log: watch::Sender<Vec<Exchange>>,
    connections: watch::Sender<usize>,
}

#[derive(Clone)]
struct Exchange {
    request: Request,
    ending: Option<Ending>,
}

impl ModelServer {
    /// Starts a server on a free port of the loopback interface.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shared = Arc::new(Shared { script: Mutex::new(script), log: watch::Sender::default(), connections: watch::Sender::default() });
        let serving = chassis::task::spawn(accept(listener, Arc::clone(&shared)));
        Self { url, shared, serving }
    }

    /// The base URL for Anthropic, `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The base URL for OpenAI.
    #[must_use]
    pub fn openai_url(&self) -> String {
        format!("{}/v1", self.url)
    }

    /// Replaces the script for the next requests.
    pub fn script(&self, script: Script) {
        *lock(&self.shared.script) = script;
    }

    /// All requests so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.borrow().iter().map(|e| e.request.clone()).collect()
    }

    /// Frees the bodies of ended exchanges, which use most of the memory in a long run.
    pub fn free_bodies(&self) {
        self.shared.log.send_modify(|log| {
            for exchange in log.iter_mut().filter(|exchange| exchange.ending.is_some()) {
                exchange.request.body = serde_json::Value::Null;
            }
        });
    }

    /// Waits for the request with this index.
    ///
    /// # Panics
    /// Never: the log lives as long as the server.
    pub async fn request(&self, index: usize) -> Request {
        let mut log = self.shared.log.subscribe();
        let log = log.wait_for(|log| log.len() > index).await.expect("the server owns the sender");
        log[index].request.clone()
    }

    /// Waits until the exchange with this index has ended.
    ///
    /// # Panics
    /// Never: the log lives as long as the server.
    pub async fn closed(&self, index: usize) -> Ending {
        let mut log = self.shared.log.subscribe();
        let log = log.wait_for(|log| log.get(index).is_some_and(|e| e.ending.is_some())).await.expect("the server owns the sender");
        log[index].ending.expect("an end")
    }

    /// The end of an exchange, if it has ended.
    #[must_use]
    pub fn ending(&self, index: usize) -> Option<Ending> {
        self.shared.log.borrow().get(index)?.ending
    }

    /// The number of exchanges that have not ended.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.shared.log.borrow().iter().filter(|e| e.ending.is_none()).count()
    }

    /// The number of open TCP connections, including idle ones.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// The errors of malformed requests. Empty if the client follows the protocols.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.shared.log.borrow().iter().filter_map(|e| e.request.complaint.clone()).collect()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// An exchange that has not ended. If it is dropped before its end, the client has disconnected.
pub(crate) struct Guard {
    shared: Arc<Shared>,
    index: usize,
    bytes: usize,
    ended: bool,
}

impl Guard {
    fn open(shared: &Arc<Shared>, request: Request) -> Self {
        let mut index = 0;
        shared.log.send_modify(|log| {
            index = log.len();
            log.push(Exchange { request, ending: None });
        });
        Self { shared: Arc::clone(shared), index, bytes: 0, ended: false }
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(crate) fn end(&mut self, how: How) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let ending = Ending { how, at: Instant::now(), bytes: self.bytes };
        self.shared.log.send_modify(|log| log[self.index].ending = Some(ending));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end(How::ClientClosed);
    }
}

/// Accepts connections. Dropping this future aborts them.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        // Small frames must be sent at once.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let open = Open::new(&shared);
        connections.spawn(async move {
            let _open = open;
            let service = service_fn(move |request| exchange(Arc::clone(&shared), request));
            // An error means that the client disconnected or the script cut the connection.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// An open connection, which is counted until it is dropped.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.connections.send_modify(|n| *n += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.send_modify(|n| *n -= 1);
    }
}

/// Adds the error to a request that the provider would refuse.
fn validated(mut request: Request) -> Request {
    let result = match request.protocol {
        Protocol::Anthropic => anthropic::check(&request),
        Protocol::OpenAi => openai::check(&request),
    };
    if let Err(complaint) = result {
        request.refuse(complaint);
    }
    request
}

/// Answers a request. An error closes the connection without an answer.
async fn exchange(shared: Arc<Shared>, request: http::Request<Incoming>) -> Result<Response<Body>, ConnectionCut> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| ConnectionCut)?.to_bytes();
    let Some(protocol) = Protocol::of(&head.uri) else {
        return Ok(plain(StatusCode::NOT_FOUND, "the paths are /v1/messages and /v1/chat/completions"));
    };
    if head.method != http::Method::POST {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "POST only"));
    }
    let request = validated(Request::read(protocol, head, &body));
    let mut guard = Guard::open(&shared, request.clone());
    if let Some(complaint) = &request.complaint {
        let refusal = Refusal { status: request.complaint_status, ..Refusal::bad_request(complaint) };
        return Ok(refuse(&request, &refusal, guard));
    }
    let answer = lock(&shared.script).next(guard.index, &request);
    let Some(answer) = answer else {
        return Ok(refuse(&request, &Refusal::bad_request("the script has no answer for this request"), guard));
    };
    answer.before_headers().await;
    if answer.disconnects() {
        guard.end(How::Cut);
        return Err(ConnectionCut);
    }
    Ok(match &answer.refusal {
        Some(refusal) => refuse(&request, refusal, guard),
        None => stream::respond(&request, &answer, guard),
    })
}

fn refuse(request: &Request, refusal: &Refusal, mut guard: Guard) -> Response<Body> {
    let (status, body) = match request.protocol {
        Protocol::Anthropic => anthropic::refusal(refusal, guard.index),
        Protocol::OpenAi => openai::refusal(refusal),
    };
    let body = body.to_string();
    guard.sent(body.len());
    guard.end(How::Finished);
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    for (name, value) in refusal.headers() {
        response = response.header(name, value);
    }
    response.body(Full::from(body).map_err(ConnectionCut::from).boxed_unsync()).expect("valid headers")
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::from(text).map_err(ConnectionCut::from).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
