//! The processes that call each other.

/// A process that may call another, as the folders are named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Caller {
    /// Not one of ours: a program with an access token, or without.
    Direct,
    Gateway,
    Auth,
    AgentStreaming,
    ProjectStorage,
    RateLimit,
    /// A person with the cluster secret (`backlot token`).
    Operator,
}

impl Caller {
    /// Everybody who shows a caller token.
    pub const NAMED: [Caller; 6] = [Self::Gateway, Self::Auth, Self::AgentStreaming, Self::ProjectStorage, Self::RateLimit, Self::Operator];

    /// The folder's name: `agent-streaming`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Gateway => "gateway",
            Self::Auth => "auth",
            Self::AgentStreaming => "agent-streaming",
            Self::ProjectStorage => "project-storage",
            Self::RateLimit => "rate-limit",
            Self::Operator => "operator",
        }
    }

    /// The caller with this name, unless it is `direct`.
    #[must_use]
    pub fn named(name: &str) -> Option<Caller> {
        Self::NAMED.into_iter().find(|c| c.name() == name)
    }
}
