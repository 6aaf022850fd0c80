//! Typed clients of the services. A client is a handle on a shared channel, so a clone of it for each call is cheap.

use chassis::{
    client::{MAX_MESSAGE_BYTES, ServiceChannel, connect, connect_for_streams, idempotent},
    context::Context,
    identity::Caller,
};
use proto::{
    agent_streaming::{StartTurnRequest, Turn, agent_streaming_service_client::AgentStreamingServiceClient},
    auth::auth_service_client::AuthServiceClient,
    compile::compile_service_client::CompileServiceClient,
    error::ErrorCode,
    project_storage::project_storage_service_client::ProjectStorageServiceClient,
    rate_limit::rate_limit_service_client::RateLimitServiceClient,
};

use crate::{
    config::Config,
    error::{Failure, fault},
    http::idempotency::Replay,
};

pub(crate) struct Upstream {
    auth: ServiceChannel,
    /// To auth, for exports.
    auth_streams: ServiceChannel,
    agent_streaming: ServiceChannel,
    /// To agent-streaming, for event streams.
    streams: ServiceChannel,
    project_storage: ServiceChannel,
    /// To project-storage, for exports and contents of files.
    project_streams: ServiceChannel,
    /// To project-storage, for event streams.
    project_events: ServiceChannel,
    rate_limit: ServiceChannel,
    compile: ServiceChannel,
}

impl Upstream {
    /// The channels connect at the first call.
    pub(crate) fn new(config: &Config) -> Self {
        let channel = |to, uri| connect(Caller::Gateway, to, uri, &config.cluster_secret);
        let streams = |to, uri| connect_for_streams(Caller::Gateway, to, uri, &config.cluster_secret);
        Self {
            auth: channel(Caller::Auth, &config.auth_url),
            auth_streams: streams(Caller::Auth, &config.auth_url),
            agent_streaming: channel(Caller::AgentStreaming, &config.agent_streaming_url),
            streams: streams(Caller::AgentStreaming, &config.agent_streaming_url),
            project_storage: channel(Caller::ProjectStorage, &config.project_storage_url),
            project_streams: streams(Caller::ProjectStorage, &config.project_storage_url),
            project_events: streams(Caller::ProjectStorage, &config.project_storage_url),
            rate_limit: channel(Caller::RateLimit, &config.rate_limit_url),
            compile: channel(Caller::Compile, &config.compile_url),
        }
    }

    pub(crate) fn auth_channel(&self) -> ServiceChannel {
        self.auth.clone()
    }

    pub(crate) fn auth(&self) -> AuthServiceClient<ServiceChannel> {
        AuthServiceClient::new(self.auth.clone())
    }

    /// For streams alone, so that a client that does not read its stream delays no other call.
    pub(crate) fn auth_streams(&self) -> AuthServiceClient<ServiceChannel> {
        AuthServiceClient::new(self.auth_streams.clone())
    }

    pub(crate) fn agents(&self) -> AgentStreamingServiceClient<ServiceChannel> {
        AgentStreamingServiceClient::new(self.agent_streaming.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// For `StreamTurnEvents` alone, so that a client that does not read its stream delays no other call.
    pub(crate) fn event_streams(&self) -> AgentStreamingServiceClient<ServiceChannel> {
        AgentStreamingServiceClient::new(self.streams.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Starts a turn. A request with an idempotency key is retried.
    pub(crate) async fn start_turn(&self, context: &Context, request: StartTurnRequest) -> Result<(Turn, Replay), Failure> {
        let key = request.idempotency_key.clone();
        let answer = self.agents().start_turn(idempotent(context.request(request), &key)).await?.into_inner();
        Ok((present(answer.turn)?, Replay(answer.replayed)))
    }

    pub(crate) fn projects(&self) -> ProjectStorageServiceClient<ServiceChannel> {
        ProjectStorageServiceClient::new(self.project_storage.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// For streams alone, so that a client that does not read its stream delays no other call.
    pub(crate) fn project_streams(&self) -> ProjectStorageServiceClient<ServiceChannel> {
        ProjectStorageServiceClient::new(self.project_streams.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// For `WatchProject` alone, so that a client that does not read its stream delays no other call.
    pub(crate) fn project_event_streams(&self) -> ProjectStorageServiceClient<ServiceChannel> {
        ProjectStorageServiceClient::new(self.project_events.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn rate_limit(&self) -> RateLimitServiceClient<ServiceChannel> {
        RateLimitServiceClient::new(self.rate_limit.clone())
    }

    pub(crate) fn compiler(&self) -> CompileServiceClient<ServiceChannel> {
        CompileServiceClient::new(self.compile.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Each service and its channel.
    pub(crate) fn services(&self) -> [(Caller, ServiceChannel); 5] {
        [
            (Caller::Auth, self.auth.clone()),
            (Caller::AgentStreaming, self.agent_streaming.clone()),
            (Caller::ProjectStorage, self.project_storage.clone()),
            (Caller::RateLimit, self.rate_limit.clone()),
            (Caller::Compile, self.compile.clone()),
        ]
    }
}

/// A part of a response that the contract promises.
pub(crate) fn present<T>(part: Option<T>) -> Result<T, Failure> {
    part.ok_or_else(|| fault(ErrorCode::Internal, "INTERNAL", "a service left out what it promises").into())
}
