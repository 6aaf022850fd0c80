//! The processes that call each other.

/// A process that calls a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Caller {
    /// A program that is not part of the cluster, with or without an access token.
    Direct,
    Gateway,
    Auth,
    AgentStreaming,
    ProjectStorage,
    RateLimit,
    Compile,
    /// A person who has the cluster secret (`backlot token`).
    Operator,
}

impl Caller {
    /// All callers that have a caller token.
    pub const NAMED: [Caller; 7] =
        [Self::Gateway, Self::Auth, Self::AgentStreaming, Self::ProjectStorage, Self::RateLimit, Self::Compile, Self::Operator];

    /// The name of the service, which is also the name of its folder: `agent-streaming`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Gateway => "gateway",
            Self::Auth => "auth",
            Self::AgentStreaming => "agent-streaming",
            Self::ProjectStorage => "project-storage",
            Self::RateLimit => "rate-limit",
            Self::Compile => "compile",
            Self::Operator => "operator",
        }
    }

    /// The caller with this name. `direct` is not such a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Caller> {
        Self::NAMED.into_iter().find(|c| c.name() == name)
    }
}
