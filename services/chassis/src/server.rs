//! The gRPC server that every service runs: one listener, one stack, health and reflection.

mod message;
mod metrics;
mod reflection;
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

use crate::{
    config::Env,
    edge::Edge,
    identity::{Caller, User},
    limit::General,
    listen::{Limits, Listener, Protocol},
    share::Shares,
    task::{self, Tasks},
    verifier::Verifier,
};

/// One row of a service's access table. An RPC without a row is denied to everybody.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The RPC's name within its service: `SignIn`.
    pub rpc: &'static str,
    /// Who may call it.
    pub callers: &'static [Caller],
    /// Whether it needs an access token.
    pub user: bool,
    /// The kind of right that it needs.
    pub scope: Scope,
    /// How large its message may be.
    pub size: Size,
}

/// The kind of right that an RPC needs. A credential that has only some of a person's rights names these. No request is refused by its
/// scope yet: an access token has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Needs no right of a person: sign-in, public keys.
    Open,
    /// A person's own account and sessions.
    Account,
    /// Reads projects, turns and agents.
    Read,
    /// Changes projects or starts and stops turns.
    Write,
    /// Calls among services and of operators.
    Internal,
}

/// How large the message of a request may be.
#[derive(Debug, Clone, Copy)]
pub enum Size {
    /// As every gRPC server takes it: 4 MiB.
    Ordinary,
    /// So many bytes for the person of the request.
    OfUser(fn(&User) -> usize),
    /// What services send each other.
    Large,
}

/// Settings of the server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Requests whose answer has not begun; more are shed with UNAVAILABLE.
    pub max_concurrent_requests: usize,
    /// Reflection also on listeners that are not loopback.
    pub reflection: bool,
    /// How long open calls may go on after the stop signal.
    pub drain: Duration,
    /// How long the message of a request may take to arrive; three times as long where it may be large.
    pub body_timeout: Duration,
    /// Bytes of messages that have begun to arrive and are not yet answered.
    pub receiving: usize,
    /// Fields of one message of a caller that is not of the cluster, those of its elements included.
    pub message_fields: usize,
    /// Messages of one stream of reflection.
    pub questions: usize,
    /// Open calls of callers that are not of the cluster.
    pub direct_calls: usize,
    /// How often one address that is not of the cluster may call.
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
            drain: env.get("BACKLOT_DRAIN_TIMEOUT", "10s", "how long open calls and turns may go on after the stop signal"),
            body_timeout: body_timeout(env),
            receiving: receiving(env),
            message_fields: env
                .get::<NonZeroUsize>(
                    "BACKLOT_MAX_MESSAGE_FIELDS",
                    "10000",
                    "fields of one message of a program that calls a service without the gateway",
                )
                .get(),
            questions: env.get::<NonZeroUsize>("BACKLOT_MAX_REFLECTION_MESSAGES", "100", "messages of one stream of gRPC reflection").get(),
            direct_calls: env
                .get::<NonZeroUsize>("BACKLOT_MAX_DIRECT_CALLS", "10000", "open calls of programs that call a service without the gateway")
                .get(),
            edge: Edge::read(env),
            limits: Limits::read(env),
        }
    }
}

/// How long the body of a request may take, at a service and at the gateway.
pub fn body_timeout(env: &mut Env) -> Duration {
    let timeout = env.get("BACKLOT_BODY_TIMEOUT", "20s", "how long the body of a request may take; a large one three times as long");
    env.longer_than_zero([("BACKLOT_BODY_TIMEOUT", timeout)]);
    timeout
}

/// How many bytes may be arriving, at a service and at the gateway.
pub fn receiving(env: &mut Env) -> usize {
    env.get::<NonZeroUsize>("BACKLOT_RECEIVING_BYTES", "536870912", "bytes of arriving requests, in total").get()
}

/// Why a server could not be built or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the listener has no address")]
    Listener(#[source] std::io::Error),
    #[error("the descriptors are not readable")]
    Reflection(#[source] tonic_reflection::server::Error),
    #[error("the contract is not readable")]
    Contract(#[source] prost_reflect::DescriptorError),
}

/// Builds up to [`Server::serve`].
pub struct Server {
    config: Config,
    stack: stack::Shared,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    engines: Vec<Engine>,
}

/// What a service cannot work without, and what is wrong with it.
type Engine = (&'static str, watch::Receiver<Option<String>>);

impl Server {
    #[must_use]
    pub fn new(me: Caller, config: Config, verifier: Arc<Verifier>, rules: &'static [Rule]) -> Self {
        let stack = stack::Shared::new(me, verifier, rules, &config);
        Self { config, stack, routes: Routes::builder(), names: Vec::new(), engines: Vec::new() }
    }

    /// Mounts a generated service. `add` is the field's word for it.
    #[must_use]
    #[allow(clippy::should_implement_trait)]
    pub fn add<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.stack.names.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Counts the calls of programs that come without the gateway by the policy `general`, as the gateway counts its own.
    #[must_use]
    pub fn counts(mut self, general: General) -> Self {
        self.stack.general = Some(general);
        self
    }

    /// The service is ready only while this engine can be used: the receiver has `None`. Its name is a service of the health
    /// service, so that whoever finds the whole NOT_SERVING can ask what is missing.
    #[must_use]
    pub fn needs(mut self, engine: &'static str, problem: watch::Receiver<Option<String>>) -> Self {
        self.engines.push((engine, problem));
        self
    }

    /// Serves until `shutdown`, then reports NOT_SERVING and lets open calls finish for the drain time.
    ///
    /// # Errors
    /// If the descriptors or the listener are unusable, or the transport failed.
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
                    // What the details of an error are, for tools that print them.
                    .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
                    .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            };
            self.routes.add_service(self.named(reflection()).build_v1().map_err(ServeError::Reflection)?);
            self.routes.add_service(self.named(reflection()).build_v1alpha().map_err(ServeError::Reflection)?);
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
        };
        let stack = self.stack.around(self.routes.routes(), &background).map_err(ServeError::Contract)?;
        listening.serve(listener, stack, &connections, shutdown).await;

        stopping.cancelled().await;
        // Or it could say that all is well once more.
        let _ = reporting.await;
        for name in std::iter::once("").chain(names) {
            health.set_service_status(name, ServingStatus::NotServing).await;
            // Whoever watches hears it, and the stream ends: it would hold the stop for as long as it is open.
            health.clear_service_status(name).await;
        }
        // An open stream would hold the graceful stop for ever.
        connections.shutdown(drain).await;
        background.shutdown(drain).await;
        Ok(())
    }

    /// Lists only what this server serves, not the whole contract.
    fn named<'a>(&self, mut builder: tonic_reflection::server::Builder<'a>) -> tonic_reflection::server::Builder<'a> {
        for name in self.names.iter().copied().chain(["grpc.health.v1.Health"]) {
            builder = builder.with_service_name(name);
        }
        builder
    }
}

/// Says of every service and engine whether it can be used.
async fn report(health: &HealthReporter, names: &[&'static str], engines: &[Engine]) {
    let status = |well: bool| if well { ServingStatus::Serving } else { ServingStatus::NotServing };
    let mut all = true;
    for (engine, problem) in engines {
        let well = problem.borrow().is_none();
        all &= well;
        health.set_service_status(*engine, status(well)).await;
    }
    for name in std::iter::once("").chain(names.iter().copied()) {
        health.set_service_status(name, status(all)).await;
    }
}

async fn keep_reporting(health: HealthReporter, names: Vec<&'static str>, mut engines: Vec<Engine>) {
    loop {
        let changes = engines.iter_mut().map(|(_, problem)| Box::pin(problem.changed()));
        // Without engines nothing ever changes; an engine that is watched no more has stopped with its service.
        if engines_changed(changes.collect()).await.is_err() {
            return;
        }
        report(&health, &names, &engines).await;
    }
}

async fn engines_changed<F: Future<Output = Result<(), watch::error::RecvError>> + Unpin>(
    changes: Vec<F>,
) -> Result<(), watch::error::RecvError> {
    if changes.is_empty() { std::future::pending().await } else { futures::future::select_all(changes).await.0 }
}
