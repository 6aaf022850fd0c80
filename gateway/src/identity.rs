//! Identifies the sender of a request by session cookie or access token.

pub(crate) mod authenticate;
pub(crate) mod cookie;
pub(crate) mod sessions;
