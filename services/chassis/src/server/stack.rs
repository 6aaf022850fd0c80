//! The middleware that runs before every handler, outermost first:
//!
//! 1. trace: the request continues the caller's trace; only services of the cluster decide whether it is sampled;
//! 2. metrics: requests that are refused below are counted too;
//! 3. limits of direct callers by address and by connection, which are cheaper than the steps below;
//! 4. caller identity and access table ([`access`]), then the policy `general` for direct callers;
//! 5. the message, complete and within its size limit: a client that sends it slowly holds no slot;
//! 6. load shedding: a slot, with a share for each connection, address and person. Health and reflection need none;
//! 7. messages that cannot be decoded: the library's status is replaced by a fault that names the field;
//! 8. deadline: limits the time of the handler and of its response stream. The stream also ends with the session of its user;
//! 9. panics become INTERNAL: innermost, so that all other steps also apply to them.

mod access;
mod sessions;
mod streams;

use std::{
    convert::Infallible,
    future::Future,
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context as Task, Poll},
    time::{Duration, Instant},
};

use futures::FutureExt;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use prost_reflect::DescriptorError;
use proto::{
    error::{ErrorCode, Fault, FieldViolation, QuotaViolation},
    id::UserId,
};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::Service;
use tracing::{Instrument, field::Empty, info_span};

use super::{
    Config, Rule, Size,
    message::{self, Bounds, Methods, ReadError},
    metrics,
    reflection::MAX_QUERY_BYTES,
    undecodable,
};
use crate::{
    client::MAX_MESSAGE_BYTES,
    context::Context,
    deadline::{DeadlineBody, exceeded},
    edge::{Edge, Guard},
    identity::Caller,
    limit::General,
    listen::{Connection, OnBehalfOf},
    propagation::{self, Sender},
    revocations::Revocations,
    share::{Holder, Share, Shares},
    task::Tasks,
    verifier::Verifier,
};

/// Subtracted from the caller's deadline, so that DEADLINE_EXCEEDED arrives in time. Otherwise the timers of the transport end the call
/// with CANCELLED and no reason; [`crate::client`] corrects that, but other clients do not.
const DEADLINE_MARGIN: Duration = Duration::from_millis(10);

/// The RPCs of every service that libraries implement.
const LIBRARY: [&str; 5] = [
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/List",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// The name of all unknown RPCs on spans and metrics.
const UNKNOWN: &str = "_OTHER";

/// The prefix of reflection.
const REFLECTION: &str = "grpc.reflection.";
/// The message limit of [`Size::Ordinary`] in bytes, the default of gRPC servers.
const ORDINARY_BYTES: usize = 4 * 1024 * 1024;

/// The state that all connections of a server share.
pub(super) struct Shared {
    pub(super) me: Caller,
    pub(super) verifier: Arc<Verifier>,
    rules: &'static [Rule],
    /// The full names of the services of this server.
    pub(super) names: Vec<&'static str>,
    pub(super) general: Option<General>,
    /// The sessions whose tokens are refused.
    pub(super) revocations: Option<Arc<Revocations>>,
    edge: Edge,
    /// Open calls of direct callers, until their response has ended.
    direct: Arc<Shares>,
    /// Bytes of messages that are being received or processed.
    receiving: Arc<Shares>,
    /// Requests whose response has not begun.
    running: Arc<Shares>,
    body_timeout: Duration,
    methods: Methods,
    /// The most fields of a message of a direct caller.
    max_fields: usize,
    /// The most messages of a reflection stream.
    max_reflection_messages: usize,
}

/// The request without its body.
struct Head {
    path: String,
    headers: HeaderMap,
    /// The calling process, and the client's address that its caller token names.
    caller: Result<(Caller, Option<IpAddr>), Fault>,
    connection: Connection,
    trace_id: String,
    /// The person of the access token, once it is checked.
    user: OnceLock<UserId>,
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
            revocations: None,
            edge: config.edge,
            direct: shares(config.direct_calls),
            receiving: shares(config.receiving),
            running: shares(config.max_concurrent_requests),
            body_timeout: config.body_timeout,
            methods: Methods::default(),
            max_fields: config.message_fields,
            max_reflection_messages: config.max_reflection_messages,
        }
    }

    /// Wraps the routes. `tasks` gets the cleanup task of the guard.
    pub(super) fn wrap(mut self, routes: Routes, tasks: &Tasks) -> Result<Stack, DescriptorError> {
        self.methods = Methods::of(&self.names)?;
        let guard = Guard::new(self.edge, self.me.name(), tasks);
        Ok(Stack { shared: Arc::new(self), guard, routes: routes.prepare() })
    }

    /// The access rule of an RPC of this server.
    fn rule(&self, path: &str) -> Option<&'static Rule> {
        let (service, rpc) = path.split_once('/')?;
        self.rules.iter().find(|rule| rule.rpc == rpc).filter(|_| self.names.contains(&service))
    }

    fn fault(&self, code: ErrorCode, reason: &str, text: impl Into<String>) -> Fault {
        Fault::new(self.me.name(), code, reason, text)
    }

    async fn answer(self: Arc<Self>, guard: Guard, mut routes: Routes, connection: Connection, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().trim_start_matches('/').to_owned();
        // A client can invent names, so all unknown RPCs have the same one.
        let name = if self.rule(&path).is_some() || LIBRARY.contains(&path.as_str()) { path.clone() } else { UNKNOWN.to_owned() };
        let started = Instant::now();
        let caller = self.caller(request.headers(), &connection);
        let is_cluster = caller.as_ref().is_ok_and(|(caller, _)| *caller != Caller::Direct);
        // Before a span is made and headers are copied, so that a flood costs little.
        if !is_cluster && let Err(wait) = guard.check(connection.peer().ip()) {
            connection.add_penalty();
            metrics::record(self.me.name(), &name, Code::ResourceExhausted, started.elapsed());
            return Status::from(self.rate_limited(wait)).into_http();
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
        let head = Head { path, headers, caller, connection, trace_id, user: OnceLock::new() };
        let result = self.handle(&mut routes, &head, request).instrument(span.clone()).await;
        let response = result.unwrap_or_else(|fault| Status::from(fault).into_http());
        span.in_scope(|| access::log_refusal(&head, &name, &response));
        let code = code_of(response.headers());
        span.record("rpc.status_code", metrics::code_name(code));
        metrics::record(self.me.name(), &name, code, started.elapsed());
        response
    }

    /// Authorises the request, takes its shares, and calls the handler.
    async fn handle(&self, routes: &mut Routes, head: &Head, request: Request<Body>) -> Result<Response<Body>, Fault> {
        let (caller, client) = head.caller.clone().inspect_err(|_| head.connection.add_penalty())?;
        let peer = head.connection.peer().ip();
        let direct = caller == Caller::Direct;
        let call = if direct {
            let holder = Holder { connection: Some(head.connection.number()), address: Some(peer), person: None };
            Some(self.direct.try_take(&holder, 1).map_err(|e| e.fault(self.me.name(), "open calls"))?)
        } else {
            head.connection.trust();
            None
        };
        let context = self.authorize(head, caller, client.or(direct.then_some(peer))).await?;
        let of_library = head.path.starts_with("grpc.");
        if direct
            && !of_library
            && let Some(general) = &self.general
        {
            general.check(&context).await?;
        }
        let (person, session) = context.user.as_ref().map(|user| (user.id, user.session_id)).unzip();
        let holder = Holder { connection: direct.then(|| head.connection.number()), address: context.client_address, person };
        let until_end = |response: Response<Body>| match call {
            Some(call) => response.map(|body| call.attach_to(body)),
            None => response,
        };
        if head.path.starts_with(REFLECTION) {
            return Ok(until_end(self.call_reflection(routes, request, context).await));
        }
        if let Some(Size::Stream(size)) = self.rule(&head.path).map(|rule| rule.size) {
            let mut response = self.call_with_stream(routes, request, context, size).await?;
            if let Some(person) = person {
                response.extensions_mut().insert(OnBehalfOf(person));
            }
            return Ok(until_end(response));
        }
        let (request, _receiving) = self.receive(head, &context, &holder, request).await?;
        // Released when the response begins. Services limit their open streams themselves.
        let _slot = match of_library {
            true => None,
            false => Some(self.running.try_take(&holder, 1).map_err(|e| e.fault(self.me.name(), "requests in work"))?),
        };
        let mut response = self.call_handler(routes, request, context).await;
        // Clients of health and reflection expect the statuses of the libraries.
        if !of_library {
            response = undecodable::replace_status(self.me.name(), response);
            response = self.until_session_ends(&head.path, session, response);
        }
        if let Some(person) = person {
            response.extensions_mut().insert(OnBehalfOf(person));
        }
        Ok(until_end(response))
    }

    fn rate_limited(&self, wait: Duration) -> Fault {
        let text = format!("policy `edge` allows {} per 1 s", self.edge.per_second);
        let mut fault = self.fault(ErrorCode::RateLimited, "RATE_LIMITED", text).retry_after(wait.max(Duration::from_millis(1)));
        let description = format!("{} per 1 s", self.edge.per_second);
        fault.quota = vec![QuotaViolation { policy: "edge".to_owned(), description }];
        fault.with("policy", "edge").with("limit", self.edge.per_second.to_string())
    }

    /// Reads the message. Returns the request with it, and its share of the bytes that are being received.
    async fn receive(
        &self,
        head: &Head,
        context: &Context,
        holder: &Holder,
        request: Request<Body>,
    ) -> Result<(Request<Body>, Share), Fault> {
        let largest = match self.rule(&head.path).map(|rule| rule.size) {
            None => MAX_QUERY_BYTES,
            // A stream is not received here.
            Some(Size::Ordinary | Size::Stream(_)) => ORDINARY_BYTES,
            Some(Size::Large) => MAX_MESSAGE_BYTES,
            Some(Size::OfUser(size)) => context.user.as_ref().map_or(ORDINARY_BYTES, size),
        };
        let timeout = if largest > ORDINARY_BYTES { self.body_timeout * 3 } else { self.body_timeout };
        let until = context.deadline.map_or(Instant::now() + timeout, |deadline| deadline.min(Instant::now() + timeout));
        let mut receiving = self.receiving.try_take(holder, 0).map_err(|e| e.fault(self.me.name(), "bytes that are arriving"))?;
        let (parts, body) = request.into_parts();
        let of_cluster = context.caller != Caller::Direct;
        let gzip = parts.headers.get("grpc-encoding").is_some_and(|coding| coding == "gzip");
        let mut bounds = Bounds { service: self.me.name(), largest, until: until.into(), of_cluster, gzip, receiving: &mut receiving };
        let message = message::read(body, &mut bounds).await.map_err(|error| match error {
            ReadError::Refused(fault) => fault,
            ReadError::Broken => {
                head.connection.add_penalty();
                self.fault(ErrorCode::InvalidArgument, "BODY_BROKEN", "the message ended early")
            }
        })?;
        if !of_cluster && let Some(field) = message.first_excess_field(self.max_fields, &self.methods, &head.path) {
            return Err(self.too_many_fields(field));
        }
        Ok((Request::from_parts(parts, message.into_body()), receiving))
    }

    fn too_many_fields(&self, field: String) -> Fault {
        let description = format!("the message may have at most {} fields, including those of nested messages", self.max_fields);
        let fault = self.fault(ErrorCode::RateLimited, "MESSAGE_TOO_LARGE", description.clone());
        Fault { violations: vec![FieldViolation { field, description }], ..fault.with("limit", self.max_fields.to_string()) }
    }

    async fn call_handler(&self, routes: &mut Routes, mut request: Request<Body>, context: Context) -> Response<Body> {
        let deadline = context.deadline;
        request.extensions_mut().insert(context);
        let call = AssertUnwindSafe(routes.call(request)).catch_unwind();
        let result = match deadline {
            None => call.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), call).await {
                Ok(result) => result,
                Err(_) => return exceeded(Some(self.me)).into_http(),
            },
        };
        match result {
            Ok(Ok(response)) => match deadline {
                Some(deadline) => response.map(|body| DeadlineBody::wrap(body, deadline, Some(self.me))),
                None => response,
            },
            Ok(Err(never)) => match never {},
            // The panic hook has logged the panic and reported it to Sentry. The client gets no details.
            Err(_) => {
                let fault = self.fault(ErrorCode::Internal, "INTERNAL", "internal error");
                Status::from(fault.with("trace_id", propagation::trace_id())).into_http()
            }
        }
    }
}

/// The code of a response without a body, which is in its headers. The code in the trailers of a stream is not known here.
fn code_of(headers: &HeaderMap) -> Code {
    headers.get("grpc-status").map_or(Code::Ok, |v| Code::from_bytes(v.as_bytes()))
}

/// The routes with the middleware.
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
                // The accept loop inserts the extension.
                None => Ok(Status::internal("the request has no connection").into_http()),
            }
        })
    }
}
