//! How a stream of a log's entries is refused or ends, besides by the end of the log.

use std::time::Duration;

use proto::error::{ErrorCode, Fault};

use crate::jitter::jitter;

/// Why a reader gets no more entries. After all but the first, the reader continues after its last entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The cursor is after the newest entry.
    CursorAhead { last: u32 },
    /// The reader did not read.
    SlowReader,
    /// The replica is stopping.
    Draining,
}

impl StreamEnd {
    /// The fault with the name of the service.
    #[must_use]
    pub fn fault(self, service: &str) -> Fault {
        match self {
            Self::CursorAhead { last } => {
                let text = format!("the number of the newest event is {last}");
                Fault::new(service, ErrorCode::InvalidArgument, "CURSOR_AHEAD", text).with("last_seq", last.to_string())
            }
            Self::SlowReader => {
                let text = "the reader is too slow; continue after the last event";
                Fault::new(service, ErrorCode::RateLimited, "SLOW_READER", text).retry_after(Duration::from_secs(1))
            }
            Self::Draining => {
                let text = "this replica is stopping; continue after the last event";
                // A random delay keeps clients from reconnecting all at once.
                Fault::new(service, ErrorCode::Unavailable, "DRAINING", text).retry_after(Duration::from_millis(jitter(1_000..=5_000)))
            }
        }
    }
}
