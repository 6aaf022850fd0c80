//! A model provider for tests, over real HTTP. It streams scripted answers in the formats of Anthropic Messages (`POST /v1/messages`) and
//! OpenAI chat completions (`POST /v1/chat/completions`), with the faults that providers have. It refuses requests that the providers
//! would refuse, and notices when a client disconnects.
//!
//! - [`answer`]: what to say and how to fail: [`Answer`], [`Gate`]; [`script`]: which answer a request gets: [`Script`].
//! - [`request`]: what a client sent.
//! - `anthropic`, `openai`: the wire formats: frames of an answer, refusals, and which requests are legal.
//! - `stream`: frames to bytes with faults.
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

type Body = UnsyncBoxBody<Bytes, HungUp>;

/// A running model server; dropping it ends it and all of its connections.
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
    /// Bytes of the body that had been handed to the connection.
    pub bytes: usize,
}

/// What ends a connection that the script cuts.
#[derive(Debug)]
pub(crate) struct HungUp;

impl fmt::Display for HungUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script hung up")
    }
}

impl std::error::Error for HungUp {}

impl From<Infallible> for HungUp {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// What the server and its connections share.
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
    /// On a free port of the loopback interface.
    ///
    /// # Panics
    /// If there is no such port.
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shared = Arc::new(Shared { script: Mutex::new(script), log: watch::Sender::default(), connections: watch::Sender::default() });
        let serving = chassis::task::spawn(accept(listener, Arc::clone(&shared)));
        Self { url, shared, serving }
    }

    /// `http://127.0.0.1:port`: Anthropic's base URL; OpenAI's is this and `/v1`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// OpenAI's base URL.
    #[must_use]
    pub fn openai_url(&self) -> String {
        format!("{}/v1", self.url)
    }

    /// Replaces the script, from the next request on.
    pub fn script(&self, script: Script) {
        *lock(&self.shared.script) = script;
    }

    /// Every request so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.borrow().iter().map(|e| e.request.clone()).collect()
    }

    /// Frees the requests of ended exchanges, which take most of the memory in a long run.
    pub fn forget_bodies(&self) {
        self.shared.log.send_modify(|log| {
            for exchange in log.iter_mut().filter(|exchange| exchange.ending.is_some()) {
                exchange.request.body = serde_json::Value::Null;
            }
        });
    }

    /// Waits for the request of an index.
    ///
    /// # Panics
    /// Never: the log lives as long as the server.
    pub async fn request(&self, index: usize) -> Request {
        let mut log = self.shared.log.subscribe();
        let log = log.wait_for(|log| log.len() > index).await.expect("the log lives");
        log[index].request.clone()
    }

    /// Waits until the exchange of an index has ended, however it ended.
    ///
    /// # Panics
    /// Never: the log lives as long as the server.
    pub async fn closed(&self, index: usize) -> Ending {
        let mut log = self.shared.log.subscribe();
        let log = log.wait_for(|log| log.get(index).is_some_and(|e| e.ending.is_some())).await.expect("the log lives");
        log[index].ending.expect("waited for")
    }

    /// How an exchange ended, if it has.
    #[must_use]
    pub fn ending(&self, index: usize) -> Option<Ending> {
        self.shared.log.borrow().get(index)?.ending
    }

    /// Exchanges that have not ended: calls that a client still holds open.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.shared.log.borrow().iter().filter(|e| e.ending.is_none()).count()
    }

    /// TCP connections that are open now, idle ones of a client's pool included.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// Why requests were refused as malformed. Empty if the client follows the protocols.
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

/// One exchange from its request to its end. If it is dropped earlier, the client has disconnected.
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

/// Connections end with this future: dropping the set aborts them.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        // Small frames must leave at once.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let open = Open::new(&shared);
        connections.spawn(async move {
            let _open = open;
            let service = service_fn(move |request| exchange(Arc::clone(&shared), request));
            // An error here is a client that left or a cut that the script asked for.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Counts one connection.
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

/// The request, with the reason if the provider would refuse it.
fn checked(mut request: Request) -> Request {
    let legal = match request.protocol {
        Protocol::Anthropic => anthropic::check(&request),
        Protocol::OpenAi => openai::check(&request),
    };
    if let Err(complaint) = legal {
        request.refuse(complaint);
    }
    request
}

/// An error closes the connection without an answer.
async fn exchange(shared: Arc<Shared>, request: http::Request<Incoming>) -> Result<Response<Body>, HungUp> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| HungUp)?.to_bytes();
    let Some(protocol) = Protocol::of(&head.uri) else {
        return Ok(plain(StatusCode::NOT_FOUND, "this model server knows /v1/messages and /v1/chat/completions"));
    };
    if head.method != http::Method::POST {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "POST only"));
    }
    let request = checked(Request::read(protocol, head, &body));
    let mut guard = Guard::open(&shared, request.clone());
    if let Some(complaint) = &request.complaint {
        let refusal = Refusal { status: request.complaint_status, ..Refusal::bad_request(complaint) };
        return Ok(refuse(&request, &refusal, guard));
    }
    let answer = lock(&shared.script).next(guard.index, &request);
    let Some(answer) = answer else {
        return Ok(refuse(&request, &Refusal::bad_request("the script holds no answer for this request"), guard));
    };
    answer.before_headers().await;
    if answer.hangs_up() {
        guard.end(How::Cut);
        return Err(HungUp);
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
    response.body(Full::from(body).map_err(HungUp::from).boxed_unsync()).expect("legal headers")
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::from(text).map_err(HungUp::from).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
