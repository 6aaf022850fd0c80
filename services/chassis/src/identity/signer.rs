//! The caller tokens that a process makes.

use std::{net::IpAddr, sync::Arc};

use ring::hmac;
use serde::{Deserialize, Serialize};

use super::{Caller, jws, unix_now};
use crate::secret::ClusterSecret;

/// How long a caller token lives.
const CALLER_SECONDS: u64 = 60;

/// Why a caller token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("the claims cannot be written as JSON")]
    Claims(#[from] serde_json::Error),
}

/// What a caller token says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CallerClaims {
    pub(super) iss: String,
    pub(super) aud: String,
    iat: u64,
    pub(super) exp: u64,
    /// The address of the client at the edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) addr: Option<IpAddr>,
}

/// Makes the caller tokens of one process.
#[derive(Clone)]
pub struct Signer {
    me: Caller,
    key: Arc<hmac::Key>,
}

impl Signer {
    #[must_use]
    pub fn new(me: Caller, secret: &ClusterSecret) -> Self {
        Self { me, key: Arc::new(key(secret)) }
    }

    /// A token that `to` accepts for a minute; `client` is the address at the edge.
    ///
    /// # Errors
    /// Only if the claims could not be written.
    pub fn sign(&self, to: Caller, client: Option<IpAddr>) -> Result<String, SignError> {
        let now = unix_now();
        let claims = CallerClaims { iss: self.me.name().into(), aud: to.name().into(), iat: now, exp: now + CALLER_SECONDS, addr: client };
        Ok(jws::sign_hs256(&self.key, &claims)?)
    }
}

/// The key of caller tokens.
pub(super) fn key(secret: &ClusterSecret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &secret.derive("caller tokens"))
}
