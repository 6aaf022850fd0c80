//! What happens to every request before its handler sees it, outermost first:
//!
//! 1. trace: everything below belongs to the caller's trace;
//! 2. metrics: also what is shed or refused below is counted;
//! 3. load shed and concurrency limit: cheaper than any work below;
//! 4. caller identity and access table: needs the trace, must precede the handler;
//! 5. bytes that are no message: what the library answers then becomes a refusal that names the field;
//! 6. deadline: counts what the handler takes, and then what its stream takes;
//! 7. panic to INTERNAL: innermost, so that the stack itself always answers.

use std::{
    convert::Infallible,
    future::Future,
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
    time::{Duration, Instant},
};

use futures::FutureExt;
use http::{HeaderMap, Request, Response};
use proto::error::{ErrorCode, Fault};
use tokio::sync::Semaphore;
use tonic::{Code, Status, body::Body, service::Routes, transport::server::TcpConnectInfo};
use tower::{Layer, Service};
use tracing::{Instrument, field::Empty, info_span};

use super::{Rule, metrics, undecodable};
use crate::{
    client::CALLER_HEADER,
    context::Context,
    deadline::{Deadlined, passed, timeout_of},
    identity::{Caller, Verifier},
    propagation::{self, Sender},
};

/// How long before the caller's deadline the answer is that it passed, so that it is there in time. Callers through
/// [`crate::client`] are told the same where the transport's timers, here and at the caller, come first; others would be told
/// CANCELLED without a reason.
const HEAD_START: Duration = Duration::from_millis(10);

/// RPCs of the libraries that every service has.
const LIBRARY: [&str; 5] = [
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/List",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// The name of all others, on spans and metrics.
const UNKNOWN: &str = "_OTHER";

/// What all connections of a server share.
pub(super) struct Shared {
    me: Caller,
    verifier: Arc<Verifier>,
    rules: &'static [Rule],
    /// The services of this server, as the contract names them.
    pub(super) names: Vec<&'static str>,
    running: Semaphore,
}

impl Shared {
    pub(super) fn new(me: Caller, verifier: Arc<Verifier>, rules: &'static [Rule], max_concurrent_requests: usize) -> Self {
        Self { me, verifier, rules, names: Vec::new(), running: Semaphore::new(max_concurrent_requests) }
    }

    /// The row of an RPC that this server has.
    fn rule(&self, path: &str) -> Option<&'static Rule> {
        let (service, rpc) = path.split_once('/')?;
        self.rules.iter().find(|rule| rule.rpc == rpc).filter(|_| self.names.contains(&service))
    }

    fn fault(&self, code: ErrorCode, reason: &str, text: impl Into<String>) -> Fault {
        Fault::new(self.me.name(), code, reason, text)
    }

    async fn answer(self: Arc<Self>, mut routes: Routes, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().trim_start_matches('/').to_owned();
        // Anybody can ask for RPCs that do not exist: all of them have one name.
        let name = if self.rule(&path).is_some() || LIBRARY.contains(&path.as_str()) { path.as_str() } else { UNKNOWN };
        let span = info_span!(
            "request",
            otel.name = name,
            otel.kind = "server",
            svc = self.me.name(),
            rpc.system.name = "grpc",
            rpc.method = name,
            rpc.status_code = Empty,
            trace_id = Empty,
        );
        let caller = self.caller(request.headers());
        let sender = if caller.is_ok_and(|(caller, _)| caller != Caller::Direct) { Sender::Cluster } else { Sender::Stranger };
        let trace_id = propagation::adopt(&span, request.headers(), sender);
        span.record("trace_id", &trace_id);
        let started = Instant::now();
        let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr).map(|a| a.ip());
        let headers = request.headers().clone();
        let response = async {
            // Given back when the answer begins: open streams are bounded by those who serve them.
            let Ok(_slot) = self.running.try_acquire() else {
                let fault = self.fault(ErrorCode::Unavailable, "OVERLOADED", "too many requests are in work; try again");
                return Status::from(fault.retry_after(Duration::from_secs(1))).into_http();
            };
            match self.admit(&path, &headers, peer, trace_id).await {
                Ok(context) => {
                    let response = self.run(&mut routes, request, context).await;
                    // Clients of health and reflection know what the library answers.
                    if path.starts_with("grpc.") { response } else { undecodable::answer(self.me.name(), response) }
                }
                Err(fault) => Status::from(fault).into_http(),
            }
        }
        .instrument(span.clone())
        .await;
        let code = code_of(response.headers());
        span.record("rpc.status_code", metrics::code_name(code));
        metrics::record(self.me.name(), name, code, started.elapsed());
        response
    }

    /// Which process calls, and for which client.
    fn caller(&self, headers: &HeaderMap) -> Result<(Caller, Option<IpAddr>), Fault> {
        match headers.get(CALLER_HEADER).map(|v| v.to_str()) {
            None => Ok((Caller::Direct, None)),
            Some(Ok(token)) => Ok(self.verifier.caller(token)?),
            Some(Err(_)) => Err(self.fault(ErrorCode::Unauthenticated, "TOKEN_INVALID", "the caller token is not text")),
        }
    }

    /// Who calls, whether they may, and for how long they wait.
    async fn admit(&self, path: &str, headers: &HeaderMap, peer: Option<IpAddr>, trace_id: String) -> Result<Context, Fault> {
        let (caller, client) = self.caller(headers)?;
        let mut context = Context {
            service: self.me,
            caller,
            user: None,
            client_address: client.or(if caller == Caller::Direct { peer } else { None }),
            deadline: timeout_of(headers).map(|left| Instant::now() + left.saturating_sub(HEAD_START)),
            trace_id,
        };
        // Health and reflection: open where they are mounted at all.
        if path.starts_with("grpc.") {
            return Ok(context);
        }
        let Some(rule) = self.rule(path) else {
            return Err(self.fault(ErrorCode::Unimplemented, "UNIMPLEMENTED", format!("there is no RPC {path}")));
        };
        if !rule.callers.contains(&caller) {
            let text = format!("{} may not call {}", caller.name(), rule.rpc);
            return Err(self.fault(ErrorCode::Forbidden, "CALLER_DENIED", text));
        }
        if let Some(token) = bearer(headers) {
            context.user = Some(self.verifier.user(token).await?);
        }
        if rule.user {
            context.user()?;
        }
        Ok(context)
    }

    async fn run(&self, routes: &mut Routes, mut request: Request<Body>, context: Context) -> Response<Body> {
        let deadline = context.deadline;
        request.extensions_mut().insert(context);
        let handled = AssertUnwindSafe(routes.call(request)).catch_unwind();
        let caught = match deadline {
            None => handled.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), handled).await {
                Ok(caught) => caught,
                Err(_) => return passed(Some(self.me)).into_http(),
            },
        };
        match caught {
            Ok(Ok(response)) => match deadline {
                Some(deadline) => response.map(|body| Deadlined::wrap(body, deadline, Some(self.me))),
                None => response,
            },
            Ok(Err(never)) => match never {},
            // The panic hook has reported the place and told Sentry; the client learns only that it happened.
            Err(_) => {
                let fault = self.fault(ErrorCode::Internal, "INTERNAL", "internal error");
                Status::from(fault.with("trace_id", propagation::trace_id())).into_http()
            }
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// An error without a body carries its code in the headers; a stream's own end is not seen here.
fn code_of(headers: &HeaderMap) -> Code {
    headers.get("grpc-status").map_or(Code::Ok, |v| Code::from_bytes(v.as_bytes()))
}

/// Puts the stack around the routes of each connection.
#[derive(Clone)]
pub(super) struct StackLayer(Arc<Shared>);

impl StackLayer {
    pub(super) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Layer<Routes> for StackLayer {
    type Service = Stack;

    fn layer(&self, routes: Routes) -> Stack {
        Stack { shared: Arc::clone(&self.0), routes }
    }
}

/// The routes behind the stack.
#[derive(Clone)]
pub(super) struct Stack {
    shared: Arc<Shared>,
    routes: Routes,
}

impl Service<Request<Body>> for Stack {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.routes, cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (shared, routes) = (Arc::clone(&self.shared), self.routes.clone());
        Box::pin(async move { Ok(shared.answer(routes, request).await) })
    }
}
