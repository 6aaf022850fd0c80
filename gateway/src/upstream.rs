//! Typed clients of the four services. A client is a handle on a shared channel: cloning it for a call costs nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chassis::{
    client::{MAX_MESSAGE_BYTES, ServiceChannel, connect, connect_for_streams, keyed},
    context::Context,
    identity::Caller,
    postgres,
};
use futures::future::join_all;
use proto::{
    agent_streaming::{StartTurnRequest, Turn, agent_streaming_service_client::AgentStreamingServiceClient},
    auth::auth_service_client::AuthServiceClient,
    project_storage::project_storage_service_client::ProjectStorageServiceClient,
    rate_limit::rate_limit_service_client::RateLimitServiceClient,
};
use tokio::sync::Mutex;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{config::Config, error::Failure, json::present, routes::Replayed};

/// How long a service may take to say that it is well.
const HEALTH_TIME: Duration = Duration::from_secs(1);
/// How long that is remembered.
const REMEMBERED: Duration = Duration::from_millis(250);

pub(crate) struct Upstream {
    auth: ServiceChannel,
    agent_streaming: ServiceChannel,
    /// To agent-streaming, for the streams of viewers.
    viewers: ServiceChannel,
    project_storage: ServiceChannel,
    rate_limit: ServiceChannel,
}

impl Upstream {
    /// Connects at the first call.
    pub(crate) fn new(config: &Config) -> Self {
        let channel = |to, uri| connect(Caller::Gateway, to, uri, &config.secret);
        Self {
            auth: channel(Caller::Auth, &config.auth_url),
            agent_streaming: channel(Caller::AgentStreaming, &config.agent_streaming_url),
            viewers: connect_for_streams(Caller::Gateway, Caller::AgentStreaming, &config.agent_streaming_url, &config.secret),
            project_storage: channel(Caller::ProjectStorage, &config.project_storage_url),
            rate_limit: channel(Caller::RateLimit, &config.rate_limit_url),
        }
    }

    pub(crate) fn auth_channel(&self) -> ServiceChannel {
        self.auth.clone()
    }

    pub(crate) fn auth(&self) -> AuthServiceClient<ServiceChannel> {
        AuthServiceClient::new(self.auth.clone())
    }

    pub(crate) fn agents(&self) -> AgentStreamingServiceClient<ServiceChannel> {
        AgentStreamingServiceClient::new(self.agent_streaming.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// For `StreamTurnEvents` alone: a viewer that does not read keeps others' streams and calls from nothing.
    pub(crate) fn viewers(&self) -> AgentStreamingServiceClient<ServiceChannel> {
        AgentStreamingServiceClient::new(self.viewers.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Starts a turn; with an idempotency key it is asked for again where nobody answers.
    pub(crate) async fn start_turn(&self, context: &Context, request: StartTurnRequest) -> Result<(Turn, Replayed), Failure> {
        let key = request.idempotency_key.clone();
        let answer = self.agents().start_turn(keyed(context.request(request), &key)).await?.into_inner();
        Ok((present(answer.turn)?, Replayed(answer.replayed)))
    }

    pub(crate) fn projects(&self) -> ProjectStorageServiceClient<ServiceChannel> {
        ProjectStorageServiceClient::new(self.project_storage.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn rate_limit(&self) -> RateLimitServiceClient<ServiceChannel> {
        RateLimitServiceClient::new(self.rate_limit.clone())
    }

    /// Each service's name and what it can do now.
    pub(crate) async fn health(&self) -> Vec<(&'static str, Health)> {
        let services = [
            (Caller::Auth, &self.auth),
            (Caller::AgentStreaming, &self.agent_streaming),
            (Caller::ProjectStorage, &self.project_storage),
            (Caller::RateLimit, &self.rate_limit),
        ];
        join_all(services.map(|(name, channel)| async move { (name.name(), health_of(channel.clone()).await) })).await
    }
}

/// What the services said of themselves a moment ago: however many probes ask, the services are asked four times a second.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, Services)>>);

/// Each service's name and what it can do.
type Services = Arc<Vec<(&'static str, Health)>>;

impl Readiness {
    pub(crate) async fn of(&self, upstream: &Upstream) -> Services {
        let mut known = self.0.lock().await;
        if let Some((since, health)) = &*known
            && since.elapsed() < REMEMBERED
        {
            return Arc::clone(health);
        }
        let health = Arc::new(upstream.health().await);
        *known = Some((Instant::now(), Arc::clone(&health)));
        health
    }
}

/// What a service says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Serving,
    /// It answers and cannot work: this is missing.
    Lacks(&'static str),
    /// It does not answer, or is about to leave.
    Away,
}

async fn health_of(channel: ServiceChannel) -> Health {
    let mut client = HealthClient::new(channel);
    let asking = async {
        match status(&mut client, "").await {
            Some(ServingStatus::Serving) => Health::Serving,
            Some(_) if status(&mut client, postgres::ENGINE).await == Some(ServingStatus::NotServing) => Health::Lacks(postgres::ENGINE),
            _ => Health::Away,
        }
    };
    tokio::time::timeout(HEALTH_TIME, asking).await.unwrap_or(Health::Away)
}

async fn status(client: &mut HealthClient<ServiceChannel>, service: &str) -> Option<ServingStatus> {
    let request = Context::background().request(HealthCheckRequest { service: service.to_owned() });
    Some(client.check(request).await.ok()?.into_inner().status())
}
