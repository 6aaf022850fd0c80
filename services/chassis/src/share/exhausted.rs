//! The error of a share that cannot be taken.

use std::time::Duration;

use proto::error::{ErrorCode, Fault};

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The bound that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The whole quantity is used.
    All,
    Connection,
    /// An address, or a wider network around an IPv6 address.
    Address,
    Person,
}

/// There is not enough left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    pub by: Bound,
    /// The limit of the bound.
    pub limit: usize,
}

impl Exhausted {
    /// The fault for the client: UNAVAILABLE if the whole quantity is used, RESOURCE_EXHAUSTED if the client itself holds too much.
    /// `what` is the quantity in the plural, such as `requests in work`.
    #[must_use]
    pub fn fault(self, service: &str, what: &str) -> Fault {
        let holder = match self.by {
            Bound::All => {
                let fault = Fault::new(service, ErrorCode::Unavailable, "OVERLOADED", format!("too many {what}; try again"));
                return fault.retry_after(RETRY_AFTER);
            }
            Bound::Connection => "connection",
            Bound::Address => "address",
            Bound::Person => "person",
        };
        let text = format!("one {holder} may have at most {} {what}; try again", self.limit);
        Fault::new(service, ErrorCode::RateLimited, "SHARE_EXHAUSTED", text)
            .with("limit", self.limit.to_string())
            .with("per", holder)
            .retry_after(RETRY_AFTER)
    }
}
