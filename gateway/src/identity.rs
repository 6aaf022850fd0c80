//! Identifies the sender of a request by session cookie or access token, and tracks ended sessions.

pub(crate) mod authenticate;
pub(crate) mod cookie;
pub(crate) mod revocations;
pub(crate) mod sessions;
