//! Who sends a request: session cookies and access tokens, and which sessions have ended.

pub(crate) mod authenticate;
pub(crate) mod cookie;
pub(crate) mod revocations;
pub(crate) mod sessions;
