//! Signs caller tokens.

use std::{net::IpAddr, sync::Arc};

use ring::hmac;
use serde::{Deserialize, Serialize};

use super::{Caller, jws, unix_now};
use crate::secret::ClusterSecret;

/// How long a caller token is valid.
const CALLER_SECONDS: u64 = 60;

/// Why a caller token could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("this process has no key for calls of {from} to {to}")]
    NoKey { from: &'static str, to: &'static str },
    #[error("the claims cannot be written as JSON")]
    Claims(#[from] serde_json::Error),
}

/// The claims of a caller token.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CallerClaims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    /// The address of the client at the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) addr: Option<IpAddr>,
}

/// Signs the caller tokens of one process.
#[derive(Clone)]
pub struct Signer {
    me: Caller,
    keys: Arc<Keys>,
}

struct Keys {
    /// One key for each service that may be called.
    pairs: Vec<(Caller, hmac::Key)>,
    /// The shared key. Only a process with the cluster's secret has it.
    shared: Option<hmac::Key>,
}

impl Signer {
    #[must_use]
    pub fn new(me: Caller, secret: &ClusterSecret) -> Self {
        let pairs = Caller::NAMED.into_iter().filter_map(|to| Some((to, key(*secret.pair(me, to).first()?)))).collect();
        Self { me, keys: Arc::new(Keys { pairs, shared: secret.shared().first().copied().map(key) }) }
    }

    /// A token that `to` accepts for a minute. `client` is the address of the client at the gateway.
    ///
    /// # Errors
    /// The process has no key for this service, or the claims could not be serialised.
    pub fn sign(&self, to: Caller, client: Option<IpAddr>) -> Result<String, SignError> {
        let now = unix_now();
        let claims = CallerClaims { iss: self.me.name().into(), aud: to.name().into(), iat: now, exp: now + CALLER_SECONDS, addr: client };
        let pair = self.keys.pairs.iter().find(|(of, _)| *of == to).map(|(_, key)| key);
        let pair = pair.ok_or_else(|| SignError::NoKey { from: self.me.name(), to: to.name() })?;
        Ok(match &self.keys.shared {
            // The previous release verifies only the first signature, and a role with a bundle only the second one.
            Some(shared) => jws::sign_hs256(shared, Some(pair), &claims)?,
            None => jws::sign_hs256(pair, None, &claims)?,
        })
    }
}

pub(crate) fn key(bytes: [u8; 32]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &bytes)
}
