//! What a handler knows about the request it serves, and how it passes that on to the next service.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use proto::error::{ErrorCode, Fault};
use tonic::{Request, metadata::AsciiMetadataValue};

use crate::identity::{Caller, User};

/// Kept back from an inherited deadline, so that the callee reports why it was late and not the caller that it was.
const DEADLINE_MARGIN: Duration = Duration::from_millis(50);
/// A unary call without an inherited deadline.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Put into every request by the server's stack.
#[derive(Clone, Debug)]
pub struct Context {
    /// The service that handles the request; its errors carry its name.
    pub service: Caller,
    /// Which process calls.
    pub caller: Caller,
    /// Whose access token it carries.
    pub user: Option<User>,
    /// The client's address at the edge.
    pub client_address: Option<IpAddr>,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// W3C trace id, 32 hexadecimal digits.
    pub trace_id: String,
}

/// The client's address on its way into the caller token.
#[derive(Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl Context {
    /// The context of a request that came through the server's stack.
    #[must_use]
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_else(Self::background)
    }

    /// For work that no request waits for.
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

    /// The person, where one is needed.
    ///
    /// # Errors
    /// UNAUTHENTICATED, reason TOKEN_MISSING.
    pub fn user(&self) -> Result<&User, Fault> {
        self.user
            .as_ref()
            .ok_or_else(|| Fault::new(self.service.name(), ErrorCode::Unauthenticated, "TOKEN_MISSING", "this call needs an access token"))
    }

    /// A unary call on behalf of this request: its person, its client's address, what is left of its deadline (ten seconds if
    /// it has none).
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = self.stream_request(message);
        if self.deadline.is_none() {
            request.set_timeout(DEFAULT_TIMEOUT);
        }
        request
    }

    /// The same for an answer that may go on for ever.
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
