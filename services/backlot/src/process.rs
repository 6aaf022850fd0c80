//! One service or the gateway as a process of its own.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use chassis::{config::Env, lifecycle, telemetry};
use tokio::{net::TcpListener, runtime};

use crate::{
    role::Role,
    settings::listen::{METRICS_LISTEN, grpc_address},
};

/// How long the runtime waits for work on blocking threads after everything else has ended.
const BLOCKING_LIMIT: Duration = Duration::from_secs(2);

/// A role with its configuration.
pub enum Process {
    Gateway(Box<gateway::Config>),
    Auth(Box<auth::Config>, SocketAddr),
    AgentStreaming(Box<agent_streaming::Config>, SocketAddr),
    ProjectStorage(Box<project_storage::Config>, SocketAddr),
    RateLimit(Box<rate_limit::Config>, SocketAddr),
    Compile(Box<compile::Config>, SocketAddr),
}

impl Process {
    /// Reads all settings except those of the telemetry, which the process reads once.
    pub fn read(env: &mut Env, role: Role) -> Self {
        match role {
            Role::Gateway => Self::Gateway(Box::new(gateway::Config::read(env))),
            Role::Auth => Self::Auth(Box::new(auth::Config::read(env)), grpc_address(env, role)),
            Role::AgentStreaming => Self::AgentStreaming(Box::new(agent_streaming::Config::read(env)), grpc_address(env, role)),
            Role::ProjectStorage => Self::ProjectStorage(Box::new(project_storage::Config::read(env)), grpc_address(env, role)),
            Role::RateLimit => Self::RateLimit(Box::new(rate_limit::Config::read(env)), grpc_address(env, role)),
            Role::Compile => Self::Compile(Box::new(compile::Config::read(env)), grpc_address(env, role)),
        }
    }

    /// Binds the listeners and serves until a signal stops the process.
    pub(crate) async fn serve(self) -> anyhow::Result<()> {
        let shutdown = lifecycle::shutdown_on_signal().context("cannot wait for signals")?;
        match self {
            Self::Gateway(config) => {
                let metrics = match config.metrics_listen.0 {
                    Some(address) => Some(bind(address).await.context(METRICS_LISTEN)?),
                    None => None,
                };
                let listeners =
                    gateway::Listeners { main: bind(config.listen).await?, preview: bind(config.preview_listen).await?, metrics };
                gateway::serve(*config, listeners, shutdown).await.context("the gateway failed")
            }
            Self::Auth(config, address) => auth::serve(*config, bind(address).await?, shutdown).await.context("auth failed"),
            Self::AgentStreaming(config, address) => {
                agent_streaming::serve(*config, bind(address).await?, shutdown).await.context("agent-streaming failed")
            }
            Self::ProjectStorage(config, address) => {
                project_storage::serve(*config, bind(address).await?, shutdown).await.context("project-storage failed")
            }
            Self::RateLimit(config, address) => {
                rate_limit::serve(*config, bind(address).await?, shutdown).await.context("rate-limit failed")
            }
            Self::Compile(config, address) => compile::serve(*config, bind(address).await?, shutdown).await.context("compile failed"),
        }
    }
}

/// Runs a future with telemetry. The last flush blocks its thread, so it happens after the runtime has stopped.
pub(crate) fn in_runtime(
    telemetry: &telemetry::Config,
    service: &'static str,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let guard = {
        let _inside = runtime.enter();
        telemetry::init(telemetry, service)
    };
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(BLOCKING_LIMIT);
    if result.is_ok() {
        tracing::info!("stopped");
    }
    drop(guard);
    result
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!(address = %listener.local_addr().unwrap_or(address), "listening");
    Ok(listener)
}
