//! What happens to a request before a handler sees it: addresses, hosts, limits, slots and request logs.

pub(crate) mod client_address;
pub(crate) mod cross_origin;
pub(crate) mod head_limits;
pub(crate) mod host;
mod metrics;
pub(crate) mod origin;
pub(crate) mod rate_limit;
pub(crate) mod request;
pub(crate) mod slots;
