//! The gRPC server of every service: a listener, the middleware stack, health and reflection.

mod message;
mod metrics;
mod reflection;
pub(crate) mod scope;
mod stack;
mod undecodable;

use std::{convert::Infallible, num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    body::Body,
    server::NamedService,
    service::{Routes, RoutesBuilder},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::Service;

pub use self::undecodable::stream_fault;
use crate::{
    config::Env,
    edge::Edge,
    identity::{Caller, User},
    limit::General,
    listen::{Limits, Listener, Protocol},
    revocations::Revocations,
    share::Shares,
    task::{self, Tasks},
    verifier::Verifier,
};

/// A row of a service's access table. An RPC without a row is denied to all callers.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The RPC's name within its service: `SignIn`.
    pub rpc: &'static str,
    /// Who may call it.
    pub callers: &'static [Caller],
    /// Whether it needs an access token.
    pub user: bool,
    /// The kind of permission that it needs.
    pub scope: Scope,
    /// The limit of its request message.
    pub size: Size,
}

/// The kind of permission that an RPC needs. The access token of a session has all permissions of its user, unless an operator acts for
/// the user, or the user has to add a second factor first. That of a key has those of its [`Grant`](crate::identity::Grant), which the server
/// checks before every handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Needs no user: sign-in, public keys.
    Open,
    /// The user's own account and sessions. An operator who acts for the user may only read it, and a key may do nothing with it.
    Account,
    /// The same, also while the user has to add a second factor first: what that needs, and the end of the session and of the account.
    AccountWithoutFactor,
    /// Reads projects, turns and agents.
    Read,
    /// Changes projects or starts and stops turns.
    Write,
    /// Calls between services and from operators. Those on behalf of a user need the permission to write.
    Internal,
}

impl Scope {
    /// Whether it is about the user's own account and sessions.
    #[must_use]
    pub const fn is_of_account(self) -> bool {
        matches!(self, Self::Account | Self::AccountWithoutFactor)
    }
}

/// The size limit of a request message.
#[derive(Debug, Clone, Copy)]
pub enum Size {
    /// 4 MiB, the default of gRPC servers.
    Ordinary,
    /// A number of bytes that depends on the user of the request.
    OfUser(fn(&User) -> usize),
    /// A request stream. It does not wait for its end and holds no slot for requests in work; the service must limit its open streams.
    Stream(StreamSize),
    /// The limit between services, [`MAX_MESSAGE_BYTES`](crate::client::MAX_MESSAGE_BYTES).
    Large,
}

/// The limits of a request stream.
#[derive(Debug, Clone, Copy)]
pub struct StreamSize {
    /// Bytes of each message.
    pub message_bytes: usize,
    /// Messages of the stream.
    pub messages: usize,
    /// How long the stream may take to its end.
    pub time: Duration,
}

/// Settings of the server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Requests whose response has not begun. Further ones are shed with UNAVAILABLE.
    pub max_concurrent_requests: usize,
    /// Whether reflection is also served on listeners that are not loopback.
    pub reflection: bool,
    /// How long open calls may continue after the stop signal.
    pub drain: Duration,
    /// How long the message of a request may take to arrive. Large messages have three times as long.
    pub body_timeout: Duration,
    /// Bytes of messages that are being received or processed.
    pub receiving: usize,
    /// Fields of one message of a direct caller, including those of nested messages.
    pub message_fields: usize,
    /// Messages of one reflection stream.
    pub max_reflection_messages: usize,
    /// Open calls of direct callers.
    pub direct_calls: usize,
    /// The rate limit of the address of a direct caller.
    pub edge: Edge,
    pub limits: Limits,
}

impl Config {
    pub fn read(env: &mut Env) -> Self {
        Self {
            max_concurrent_requests: env
                .get::<NonZeroUsize>(
                    "BACKLOT_MAX_CONCURRENT_REQUESTS",
                    "1024",
                    "requests a service works on at once; more are shed with UNAVAILABLE",
                )
                .get(),
            reflection: env.get("BACKLOT_REFLECTION", "false", "gRPC reflection also on listeners that are not loopback"),
            drain: env.get("BACKLOT_DRAIN_TIMEOUT", "10s", "how long open calls may continue after the stop signal"),
            body_timeout: body_timeout(env),
            receiving: receiving(env),
            message_fields: env
                .get::<NonZeroUsize>(
                    "BACKLOT_MAX_MESSAGE_FIELDS",
                    "10000",
                    "fields of one message of a program that calls a service without the gateway",
                )
                .get(),
            max_reflection_messages: env
                .get::<NonZeroUsize>("BACKLOT_MAX_REFLECTION_MESSAGES", "100", "messages of one stream of gRPC reflection")
                .get(),
            direct_calls: env
                .get::<NonZeroUsize>("BACKLOT_MAX_DIRECT_CALLS", "10000", "open calls of programs that call a service without the gateway")
                .get(),
            edge: Edge::read(env),
            limits: Limits::read(env),
        }
    }
}

/// Reads the time limit for the body of a request, at a service and at the gateway.
pub fn body_timeout(env: &mut Env) -> Duration {
    let timeout = env.get("BACKLOT_BODY_TIMEOUT", "20s", "how long the body of a request may take; a large one three times as long");
    env.require_positive([("BACKLOT_BODY_TIMEOUT", timeout)]);
    timeout
}

/// Reads the time limit for a build of compile, at compile and at those who call it.
pub fn build_timeout(env: &mut Env) -> Duration {
    let timeout = env.get("BACKLOT_COMPILE_BUILD_TIMEOUT", "60s", "how long the build of a page or a check may take");
    env.require_positive([("BACKLOT_COMPILE_BUILD_TIMEOUT", timeout)]);
    timeout
}

/// Reads the limit of bytes that are being received, at a service and at the gateway.
pub fn receiving(env: &mut Env) -> usize {
    env.get::<NonZeroUsize>("BACKLOT_RECEIVING_BYTES", "536870912", "bytes of arriving requests, in total").get()
}

/// Why a server could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the listener has no address")]
    Listener(#[source] std::io::Error),
    #[error("the reflection service cannot be built")]
    Reflection(#[source] tonic_reflection::server::Error),
    #[error("the descriptors of the contract cannot be decoded")]
    Contract(#[source] prost_reflect::DescriptorError),
}

/// Builds a server and serves it with [`Server::serve`].
pub struct Server {
    config: Config,
    stack: stack::Shared,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    engines: Vec<Engine>,
}

/// The name of an engine that the service needs, and its current problem.
type Engine = (&'static str, watch::Receiver<Option<String>>);

impl Server {
    #[must_use]
    pub fn new(me: Caller, config: Config, verifier: Arc<Verifier>, rules: &'static [Rule]) -> Self {
        let stack = stack::Shared::new(me, verifier, rules, &config);
        Self { config, stack, routes: Routes::builder(), names: Vec::new(), engines: Vec::new() }
    }

    /// Adds a generated service.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.stack.names.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Applies the policy `general` to direct callers. The gateway applies it to its own clients.
    #[must_use]
    pub fn limit_direct_callers(mut self, general: General) -> Self {
        self.stack.general = Some(general);
        self
    }

    /// Refuses the access tokens of ended sessions, and ends the response streams of a session with it. A token from before a change of its session
    /// proves nothing any more. The caller spawns [`Revocations::follow`].
    #[must_use]
    pub fn refuse_ended_sessions(mut self, revocations: Arc<Revocations>) -> Self {
        self.stack.revocations = Some(revocations);
        self
    }

    /// Makes readiness depend on an engine: the service is ready only while the receiver has `None`. The health service also reports the
    /// engine by its name, so that an operator can find the cause of NOT_SERVING.
    #[must_use]
    pub fn needs(mut self, engine: &'static str, problem: watch::Receiver<Option<String>>) -> Self {
        self.engines.push((engine, problem));
        self
    }

    /// Serves until `shutdown` is cancelled. Then it reports NOT_SERVING and waits for open calls, at most for the drain time.
    ///
    /// # Errors
    /// The descriptors or the listener cannot be used.
    pub async fn serve(mut self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
        let (mut health, health_service) = tonic_health::server::health_reporter();
        let engines = std::mem::take(&mut self.engines);
        report(&health, &self.names, &engines).await;
        self.routes.add_service(health_service);
        let address = listener.local_addr().map_err(ServeError::Listener)?;
        if self.config.reflection || address.ip().is_loopback() {
            let reflection = || {
                tonic_reflection::server::Builder::configure()
                    .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
                    // The types of error details, for tools that print them.
                    .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
                    .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            };
            self.routes.add_service(self.with_service_names(reflection()).build_v1().map_err(ServeError::Reflection)?);
            self.routes.add_service(self.with_service_names(reflection()).build_v1alpha().map_err(ServeError::Reflection)?);
        }

        let (names, drain) = (self.names.clone(), self.config.drain);
        let stopping = shutdown.clone();
        let reporting = task::spawn(shutdown.clone().run_until_cancelled_owned(keep_reporting(health.clone(), names.clone(), engines)));
        let (connections, background) = (Tasks::new(), Tasks::new());
        let me = self.stack.me;
        let listening = Listener {
            protocol: Protocol::Grpc,
            proxied: false,
            unsent: Shares::new(self.config.limits.unsent, self.config.limits.percent),
            refuse: Arc::new(move |exhausted| Status::from(exhausted.fault(me.name(), "unread bytes of answers")).into_http()),
            limits: self.config.limits.clone(),
            tls: self.stack.verifier.tls.clone(),
        };
        if let Some(tls) = &listening.tls {
            tls.observe();
        }
        let stack = self.stack.wrap(self.routes.routes(), &background).map_err(ServeError::Contract)?;
        listening.serve(listener, stack, &connections, shutdown).await;

        stopping.cancelled().await;
        // Wait for the task, so that it does not report SERVING after this.
        let _ = reporting.await;
        for name in std::iter::once("").chain(names) {
            health.set_service_status(name, ServingStatus::NotServing).await;
            // Watchers get the status, and then their streams end. Open streams would delay the shutdown.
            health.clear_service_status(name).await;
        }
        // The time is limited, because open streams may never end.
        connections.shutdown(drain).await;
        background.shutdown(drain).await;
        Ok(())
    }

    /// Lists only the services of this server instead of the whole contract.
    fn with_service_names<'a>(&self, mut builder: tonic_reflection::server::Builder<'a>) -> tonic_reflection::server::Builder<'a> {
        for name in self.names.iter().copied().chain(["grpc.health.v1.Health"]) {
            builder = builder.with_service_name(name);
        }
        builder
    }
}

/// Sets the health status of every service and engine.
async fn report(health: &HealthReporter, names: &[&'static str], engines: &[Engine]) {
    let status = |is_healthy: bool| if is_healthy { ServingStatus::Serving } else { ServingStatus::NotServing };
    let mut all = true;
    for (engine, problem) in engines {
        let is_healthy = problem.borrow().is_none();
        all &= is_healthy;
        health.set_service_status(*engine, status(is_healthy)).await;
    }
    for name in std::iter::once("").chain(names.iter().copied()) {
        health.set_service_status(name, status(all)).await;
    }
}

/// Updates the health status whenever the problem of an engine changes.
async fn keep_reporting(health: HealthReporter, names: Vec<&'static str>, mut engines: Vec<Engine>) {
    loop {
        let changes = engines.iter_mut().map(|(_, problem)| Box::pin(problem.changed()));
        // An error means that the pool of an engine was closed, so the service shuts down.
        if engines_changed(changes.collect()).await.is_err() {
            return;
        }
        report(&health, &names, &engines).await;
    }
}

/// Waits for the first change. Without engines it never returns.
async fn engines_changed<F: Future<Output = Result<(), watch::error::RecvError>> + Unpin>(
    changes: Vec<F>,
) -> Result<(), watch::error::RecvError> {
    if changes.is_empty() { std::future::pending().await } else { futures::future::select_all(changes).await.0 }
}
