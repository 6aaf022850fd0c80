//! The six roles.

use chassis::{identity::Caller, server::Rule};
use clap::ValueEnum;

/// A role of the cluster, named like its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Gateway,
    Auth,
    AgentStreaming,
    ProjectStorage,
    RateLimit,
    Compile,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 6] = [Self::Gateway, Self::Auth, Self::AgentStreaming, Self::ProjectStorage, Self::RateLimit, Self::Compile];
    /// The roles that serve gRPC, in the order of their ports.
    pub const SERVICES: [Role; 5] = [Self::Auth, Self::AgentStreaming, Self::ProjectStorage, Self::RateLimit, Self::Compile];

    /// The name of its folder: `agent-streaming`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.caller().name()
    }

    /// The role as other services see it.
    pub(crate) fn caller(self) -> Caller {
        match self {
            Self::Gateway => Caller::Gateway,
            Self::Auth => Caller::Auth,
            Self::AgentStreaming => Caller::AgentStreaming,
            Self::ProjectStorage => Caller::ProjectStorage,
            Self::RateLimit => Caller::RateLimit,
            Self::Compile => Caller::Compile,
        }
    }

    /// Who may call which of its RPCs. The gateway has none.
    #[must_use]
    pub fn rules(self) -> &'static [Rule] {
        match self {
            Self::Gateway => &[],
            Self::Auth => auth::RULES,
            Self::AgentStreaming => agent_streaming::RULES,
            Self::ProjectStorage => project_storage::RULES,
            Self::RateLimit => rate_limit::RULES,
            Self::Compile => compile::RULES,
        }
    }

    /// The setting with its address for the other roles. The gateway has none, because no role calls it.
    #[must_use]
    pub fn url_setting(self) -> Option<&'static str> {
        match self {
            Self::Gateway => None,
            Self::Auth => Some("BACKLOT_AUTH_URL"),
            Self::AgentStreaming => Some("BACKLOT_AGENT_STREAMING_URL"),
            Self::ProjectStorage => Some("BACKLOT_PROJECT_STORAGE_URL"),
            Self::RateLimit => Some("BACKLOT_RATE_LIMIT_URL"),
            Self::Compile => Some("BACKLOT_COMPILE_URL"),
        }
    }

    /// The default address of its gRPC listener, which the defaults of [`Role::url_setting`] name.
    pub(crate) fn default_grpc_listen(self) -> &'static str {
        match self {
            Self::Gateway | Self::Auth => "127.0.0.1:9090",
            Self::AgentStreaming => "127.0.0.1:9091",
            Self::ProjectStorage => "127.0.0.1:9092",
            Self::RateLimit => "127.0.0.1:9093",
            Self::Compile => "127.0.0.1:9094",
        }
    }
}
