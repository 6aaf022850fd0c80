//! The context of a request: caller, user, client address, deadline and trace. A handler passes it on to the services it calls.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use proto::error::{ErrorCode, Fault};
use tonic::{Request, metadata::AsciiMetadataValue};

use crate::identity::{Caller, User};

/// Subtracted from an inherited deadline, so that the callee times out first and its error, which has the cause, still arrives.
const DEADLINE_MARGIN: Duration = Duration::from_millis(50);
/// The timeout of a unary call without an inherited deadline.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// An extension of every request, set by the server's middleware.
#[derive(Clone, Debug)]
pub struct Context {
    /// The service that handles the request. Its errors have this name as their domain.
    pub service: Caller,
    /// The process that calls.
    pub caller: Caller,
    /// The user of the access token.
    pub user: Option<User>,
    /// The address of the client at the gateway, or of a direct caller.
    pub client_address: Option<IpAddr>,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// W3C trace id, 32 hexadecimal digits.
    pub trace_id: String,
}

/// The client's address, as an extension of an outgoing request. The interceptor puts it into the caller token.
#[derive(Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl Context {
    /// The context of a received request.
    #[must_use]
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_else(Self::background)
    }

    /// A context for background work.
    #[must_use]
    pub fn background() -> Self {
        Self {
            service: Caller::Direct,
            caller: Caller::Direct,
            user: None,
            client_address: None,
            deadline: None,
            trace_id: crate::propagation::trace_id(),
        }
    }

    /// The user, for calls that need one.
    ///
    /// # Errors
    /// UNAUTHENTICATED, reason TOKEN_MISSING.
    pub fn user(&self) -> Result<&User, Fault> {
        self.user
            .as_ref()
            .ok_or_else(|| Fault::new(self.service.name(), ErrorCode::Unauthenticated, "TOKEN_MISSING", "this call needs an access token"))
    }

    /// A unary call on behalf of this request. It carries the user's access token, the client's address, and the time that is left until
    /// the deadline (ten seconds without a deadline).
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = self.stream_request(message);
        if self.deadline.is_none() {
            request.set_timeout(DEFAULT_TIMEOUT);
        }
        request
    }

    /// The same for a call with a response stream. Without a deadline the stream has no time limit.
    pub fn stream_request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()).saturating_sub(DEADLINE_MARGIN));
        }
        if let Some(user) = &self.user
            && let Ok(mut value) = AsciiMetadataValue::try_from(format!("Bearer {}", user.token.expose()))
        {
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        if let Some(address) = self.client_address {
            request.extensions_mut().insert(ClientAddress(address));
        }
        request
    }
}
