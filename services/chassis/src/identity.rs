//! Who calls, and for whom: the caller token that services show each other on every hop, and the access token that speaks for a
//! person. A client that shows no caller token is [`Caller::Direct`].

mod jws;
mod signer;
mod verifier;

use std::sync::Arc;

use proto::{
    auth::Plan,
    id::{SessionId, UserId},
};
use serde::{Deserialize, Serialize};

pub use self::{
    signer::{SignError, Signer},
    verifier::{Keys, Verifier},
};
use crate::clock;

/// `iss` of access tokens.
pub const ISSUER: &str = "backlot";
/// `aud` of access tokens.
pub const AUDIENCE: &str = "backlot-internal";
/// `typ` of access tokens (RFC 9068).
pub const TOKEN_TYPE: &str = "at+jwt";
/// How far two clocks may be apart.
pub const LEEWAY_SECONDS: u64 = 30;

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
    pub fn name(self) -> &'static str {
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

    /// The caller of a name; nobody is called `direct`.
    #[must_use]
    pub fn named(name: &str) -> Option<Caller> {
        Self::NAMED.into_iter().find(|c| c.name() == name)
    }
}

/// A person whose access token was good.
#[derive(Clone, Debug)]
pub struct User {
    pub id: UserId,
    pub session_id: SessionId,
    pub plan: Plan,
    /// The token itself, to be shown to the next service within the same request.
    pub token: Token,
}

/// A secret text that never shows in a log.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What an access token says; auth mints it, [`Verifier`] reads it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    /// User id.
    pub sub: String,
    /// Session id.
    pub sid: String,
    /// `free`, `pro`, `team` or `enterprise`.
    pub plan: String,
    pub jti: String,
    /// Seconds since 1970, as all times here.
    pub iat: u64,
    pub nbf: u64,
    pub exp: u64,
    /// When the person signed in.
    pub auth_time: u64,
}

/// A plan as tokens spell it.
#[must_use]
pub fn plan_name(plan: Plan) -> &'static str {
    match plan {
        Plan::Unspecified | Plan::Free => "free",
        Plan::Pro => "pro",
        Plan::Team => "team",
        Plan::Enterprise => "enterprise",
    }
}

fn plan_named(name: &str) -> Option<Plan> {
    [Plan::Free, Plan::Pro, Plan::Team, Plan::Enterprise].into_iter().find(|p| plan_name(*p) == name)
}

/// SHA-256, for looking secrets up without keeping them.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    hash
}

pub(crate) fn unix_now() -> u64 {
    clock::now().unix_timestamp().unsigned_abs()
}
