//! What happens to every request before its handler sees it, outermost first:
//!
//! 1. trace: everything below belongs to the caller's trace, and whose trace is believed depends on who calls;
//! 2. metrics: also what is shed or refused below is counted;
//! 3. the guards of callers that are not of the cluster, by address and by connection: cheaper than any work below;
//! 4. caller identity and access table; then the policy `general` for those callers;
//! 5. the message, whole and within its size: who sends it slowly holds no slot;
//! 6. load shed: a slot, with its share for each connection, address and person. Health and reflection need none;
//! 7. bytes that are no message: what the library answers then becomes a refusal that names the field;
//! 8. deadline: counts what the handler takes, and then what its stream takes;
//! 9. panic to INTERNAL: innermost, so that the stack itself always answers.

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
use hyper::body::Incoming;
use prost_reflect::DescriptorError;
use proto::error::{ErrorCode, Fault, FieldViolation, QuotaViolation};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::Service;
use tracing::{Instrument, field::Empty, info_span};

use super::{
    Config, Rule, Size,
    message::{self, Bounds, Contract, Unread},
    metrics,
    reflection::{self, MAX_QUERY_BYTES, Stream},
    undecodable,
};
use crate::{
    client::{CALLER_HEADER, MAX_MESSAGE_BYTES},
    context::Context,
    deadline::{Deadlined, passed, timeout_of},
    edge::{Edge, Guard},
    identity::Caller,
    limit::General,
    listen::{Connection, OnBehalfOf},
    propagation::{self, Sender},
    share::{Holder, Share, Shares},
    task::Tasks,
    verifier::Verifier,
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

/// The one RPC whose request is a stream.
const REFLECTION: &str = "grpc.reflection.";
/// What a message may have unless its RPC says otherwise: the limit of gRPC's own servers.
const ORDINARY: usize = 4 * 1024 * 1024;

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) me: Caller,
    verifier: Arc<Verifier>,
    rules: &'static [Rule],
    /// The services of this server, as the contract names them.
    pub(super) names: Vec<&'static str>,
    pub(super) general: Option<General>,
    edge: Edge,
    /// Open calls of callers that are not of the cluster, until their answer has ended.
    direct: Arc<Shares>,
    /// Bytes of messages that are not yet answered.
    receiving: Arc<Shares>,
    /// Requests whose answer has not begun.
    running: Arc<Shares>,
    body_timeout: Duration,
    contract: Contract,
    /// Of one message of a caller that is not of the cluster.
    fields: usize,
    /// Messages of one stream of reflection.
    questions: usize,
}

/// What the head of a request says.
struct Head {
    path: String,
    headers: HeaderMap,
    /// The process that calls, and the client's address as it says.
    caller: Result<(Caller, Option<IpAddr>), Fault>,
    connection: Connection,
    trace_id: String,
}

impl Shared {
    pub(super) fn new(me: Caller, verifier: Arc<Verifier>, rules: &'static [Rule], config: &Config) -> Self {
        let shares = |total| Shares::new(total, config.limits.percent);
        Self {
            me,
            verifier,
            rules,
            names: Vec::new(),
            general: None,
            edge: config.edge,
            direct: shares(config.direct_calls),
            receiving: shares(config.receiving),
            running: shares(config.max_concurrent_requests),
            body_timeout: config.body_timeout,
            contract: Contract::default(),
            fields: config.message_fields,
            questions: config.questions,
        }
    }

    /// Puts the stack around the routes. `tasks` keeps its memory small.
    pub(super) fn around(mut self, routes: Routes, tasks: &Tasks) -> Result<Stack, DescriptorError> {
        self.contract = Contract::of(&self.names)?;
        let guard = Guard::new(self.edge, self.me.name(), tasks);
        Ok(Stack { shared: Arc::new(self), guard, routes: routes.prepare() })
    }

    /// The row of an RPC that this server has.
    fn rule(&self, path: &str) -> Option<&'static Rule> {
        let (service, rpc) = path.split_once('/')?;
        self.rules.iter().find(|rule| rule.rpc == rpc).filter(|_| self.names.contains(&service))
    }

    fn fault(&self, code: ErrorCode, reason: &str, text: impl Into<String>) -> Fault {
        Fault::new(self.me.name(), code, reason, text)
    }

    async fn answer(self: Arc<Self>, guard: Guard, mut routes: Routes, connection: Connection, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().trim_start_matches('/').to_owned();
        // Anybody can ask for RPCs that do not exist: all of them have one name.
        let name = if self.rule(&path).is_some() || LIBRARY.contains(&path.as_str()) { path.clone() } else { UNKNOWN.to_owned() };
        let started = Instant::now();
        let caller = self.caller(request.headers());
        let is_cluster = caller.as_ref().is_ok_and(|(caller, _)| *caller != Caller::Direct);
        // Before a span is made and the headers are copied: a flood costs as little as can be.
        if !is_cluster && let Err(wait) = guard.check(connection.peer().ip()) {
            connection.count_wasted();
            metrics::record(self.me.name(), &name, Code::ResourceExhausted, started.elapsed());
            return Status::from(self.too_often(wait)).into_http();
        }
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
        let headers = request.headers().clone();
        let sender = if is_cluster { Sender::Cluster } else { Sender::Stranger };
        let trace_id = propagation::adopt(&span, &headers, sender);
        span.record("trace_id", &trace_id);
        let head = Head { path, headers, caller, connection, trace_id };
        let answered = self.pass(&mut routes, head, request).instrument(span.clone()).await;
        let response = answered.unwrap_or_else(|fault| Status::from(fault).into_http());
        let code = code_of(response.headers());
        span.record("rpc.status_code", metrics::code_name(code));
        metrics::record(self.me.name(), &name, code, started.elapsed());
        response
    }

    /// From the shares to the handler.
    async fn pass(&self, routes: &mut Routes, head: Head, request: Request<Body>) -> Result<Response<Body>, Fault> {
        let (caller, client) = head.caller.clone().inspect_err(|_| head.connection.count_wasted())?;
        let peer = head.connection.peer().ip();
        let direct = caller == Caller::Direct;
        let call = if direct {
            let holder = Holder { connection: Some(head.connection.number()), address: Some(peer), person: None };
            Some(self.direct.try_take(&holder, 1).map_err(|e| e.fault(self.me.name(), "open calls"))?)
        } else {
            head.connection.trust();
            None
        };
        let context = self.admit(&head, caller, client.or(direct.then_some(peer))).await?;
        let of_library = head.path.starts_with("grpc.");
        if direct
            && !of_library
            && let Some(general) = &self.general
        {
            general.check(&context).await?;
        }
        let person = context.user.as_ref().map(|user| user.id);
        let holder = Holder { connection: direct.then(|| head.connection.number()), address: context.client_address, person };
        let until_end = |response: Response<Body>| match call {
            Some(call) => response.map(|body| call.until_end_of(body)),
            None => response,
        };
        if head.path.starts_with(REFLECTION) {
            return Ok(until_end(self.reflect(routes, request, context).await));
        }
        let (request, _receiving) = self.receive(&head, &context, &holder, request).await?;
        // Given back when the answer begins: open streams are bounded by those who serve them.
        let _slot = match of_library {
            true => None,
            false => Some(self.running.try_take(&holder, 1).map_err(|e| e.fault(self.me.name(), "requests in work"))?),
        };
        let mut response = self.run(routes, request, context).await;
        // Clients of health and reflection know what the library answers.
        if !of_library {
            response = undecodable::answer(self.me.name(), response);
        }
        if let Some(person) = person {
            response.extensions_mut().insert(OnBehalfOf(person));
        }
        Ok(until_end(response))
    }

    async fn reflect(&self, routes: &mut Routes, request: Request<Body>, context: Context) -> Response<Body> {
        let stream = Stream { service: self.me.name(), questions: self.questions, time: self.body_timeout * 3 };
        let (parts, body) = request.into_parts();
        let (body, refusal) = reflection::questions(body, stream);
        // Where the client takes no answer, nobody looks for its next question, nor at its time.
        let deadline = Instant::now() + stream.time + self.body_timeout;
        let context = Context { deadline: Some(context.deadline.map_or(deadline, |earlier| earlier.min(deadline))), ..context };
        let response = self.run(routes, Request::from_parts(parts, body), context).await;
        response.map(|body| reflection::answers(body, refusal))
    }

    fn too_often(&self, wait: Duration) -> Fault {
        let text = format!("policy `edge` allows {} per 1 s", self.edge.per_second);
        let mut fault = self.fault(ErrorCode::RateLimited, "RATE_LIMITED", text).retry_after(wait.max(Duration::from_millis(1)));
        let description = format!("{} per 1 s", self.edge.per_second);
        fault.quota = vec![QuotaViolation { policy: "edge".to_owned(), description }];
        fault.with("policy", "edge").with("limit", self.edge.per_second.to_string())
    }

    /// The request with its message, and what it holds of the bytes that arrive.
    async fn receive(
        &self,
        head: &Head,
        context: &Context,
        holder: &Holder,
        request: Request<Body>,
    ) -> Result<(Request<Body>, Share), Fault> {
        let largest = match self.rule(&head.path).map(|rule| rule.size) {
            None => MAX_QUERY_BYTES,
            Some(Size::Ordinary) => ORDINARY,
            Some(Size::Large) => MAX_MESSAGE_BYTES,
            Some(Size::OfUser(size)) => context.user.as_ref().map_or(ORDINARY, size),
        };
        let patience = if largest > ORDINARY { self.body_timeout * 3 } else { self.body_timeout };
        let until = context.deadline.map_or(Instant::now() + patience, |deadline| deadline.min(Instant::now() + patience));
        let mut receiving = self.receiving.try_take(holder, 0).map_err(|e| e.fault(self.me.name(), "bytes that are arriving"))?;
        let (parts, body) = request.into_parts();
        let of_cluster = context.caller != Caller::Direct;
        let gzip = parts.headers.get("grpc-encoding").is_some_and(|coding| coding == "gzip");
        let mut bounds = Bounds { service: self.me.name(), largest, until: until.into(), of_cluster, gzip, receiving: &mut receiving };
        let message = message::whole(body, &mut bounds).await.map_err(|unread| match unread {
            Unread::Refused(fault) => fault,
            Unread::Broken => {
                head.connection.count_wasted();
                self.fault(ErrorCode::InvalidArgument, "BODY_BROKEN", "the message ended early")
            }
        })?;
        if !of_cluster && let Some(field) = message.first_beyond(self.fields, &self.contract, &head.path) {
            return Err(self.too_many(field));
        }
        Ok((Request::from_parts(parts, message.into_body()), receiving))
    }

    fn too_many(&self, field: String) -> Fault {
        let description = format!("the message may have at most {} fields, those of its elements included", self.fields);
        let fault = self.fault(ErrorCode::RateLimited, "MESSAGE_TOO_LARGE", description.clone());
        Fault { violations: vec![FieldViolation { field, description }], ..fault.with("limit", self.fields.to_string()) }
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
    async fn admit(&self, head: &Head, caller: Caller, client_address: Option<IpAddr>) -> Result<Context, Fault> {
        let (path, headers) = (head.path.as_str(), &head.headers);
        let mut context = Context {
            service: self.me,
            caller,
            user: None,
            client_address,
            deadline: timeout_of(headers).map(|left| Instant::now() + left.saturating_sub(HEAD_START)),
            trace_id: head.trace_id.clone(),
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

/// The routes behind the stack.
#[derive(Clone)]
pub(super) struct Stack {
    shared: Arc<Shared>,
    guard: Guard,
    routes: Routes,
}

impl Service<Request<Incoming>> for Stack {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.routes, cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let (shared, guard, routes) = (Arc::clone(&self.shared), self.guard.clone(), self.routes.clone());
        let connection = request.extensions_mut().remove::<Connection>();
        let request = request.map(Body::new);
        Box::pin(async move {
            match connection {
                Some(connection) => Ok(shared.answer(guard, routes, connection, request).await),
                // The accept loop has put it there.
                None => Ok(Status::internal("the request has no connection").into_http()),
            }
        })
    }
}
