//! How large a body may be, in bytes, and how long it may take.

use std::{sync::Arc, time::Duration};

use chassis::share::Shares;

/// The body of an ordinary request.
pub(crate) const ORDINARY: usize = 1024 * 1024;
/// A request with a prompt of at most 32 KiB, each byte of which may be written as an escape of six bytes.
pub(crate) const PROMPT: usize = 256 * 1024;
/// A chat message. Clients send the whole chat with it, of which only the last message is read.
pub(crate) const CHAT: usize = 8 * 1024 * 1024;
/// A save of 50 MiB, the size of the largest project, with room for escapes, base64 and paths.
pub(crate) const SAVE: usize = 72 * 1024 * 1024;

/// The limits of bodies that all requests share.
#[derive(Clone)]
pub(crate) struct BodyLimits {
    /// Bytes of bodies that are arriving.
    pub(crate) receiving: Arc<Shares>,
    /// How long an ordinary body may take; larger ones may take three times as long.
    pub(crate) timeout: Duration,
}
