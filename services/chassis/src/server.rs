//! The gRPC server that every service runs: one listener, one stack, health and reflection.

mod metrics;
mod stack;
mod undecodable;

use std::{convert::Infallible, num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    server::NamedService,
    service::{Routes, RoutesBuilder},
    transport::{Server as Transport, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::Service;

use crate::{
    config::Env,
    identity::{Caller, Verifier},
    task,
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
        }
    }
}

/// Why a server could not be built or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the listener has no address")]
    Listener(#[source] std::io::Error),
    #[error("the descriptors are not readable")]
    Reflection(#[source] tonic_reflection::server::Error),
    #[error("the server stopped")]
    Transport(#[source] tonic::transport::Error),
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
        let stack = stack::Shared::new(me, verifier, rules, config.max_concurrent_requests);
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
        let serving = transport().layer(stack::StackLayer::new(self.stack)).add_routes(self.routes.routes()).serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            async move {
                stopping.cancelled().await;
                // Or it could say that all is well once more.
                let _ = reporting.await;
                for name in std::iter::once("").chain(names) {
                    health.set_service_status(name, ServingStatus::NotServing).await;
                    // Whoever watches hears it, and the stream ends: it would hold the stop for as long as it is open.
                    health.clear_service_status(name).await;
                }
            },
        );
        // An open stream would hold the graceful stop for ever.
        let overdue = async {
            shutdown.cancelled().await;
            tokio::time::sleep(drain).await;
        };
        tokio::select! {
            served = serving => served.map_err(ServeError::Transport),
            () = overdue => Ok(()),
        }
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

fn transport() -> Transport {
    Transport::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(10_000)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .http2_max_header_list_size(64 * 1024)
        // The gateway's viewers come and go on one connection; see the client's twin of these settings.
        .http2_max_pending_accept_reset_streams(Some(100_000))
        .http2_max_local_error_reset_streams(None)
}
