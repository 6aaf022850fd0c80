//! One request of the process that fetches.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chassis::share::{Exhausted, Share};
use fetcher::message::{Artifact, Content, Outcome, Reply, Verdict};
use npm::RegistryError;
use tokio::sync::mpsc::{Receiver, Sender};

/// A request, and what follows it.
pub(super) struct Exchange {
    pub(super) id: u64,
    pub(super) wanted: Artifact,
    pub(super) parts: Receiver<Content>,
    pub(super) replies: Sender<Reply>,
}

/// What was fetched.
pub(super) struct Download {
    /// How much the registry has sent.
    pub(super) bytes: usize,
    /// There was no connection. `None` if the process did not say it.
    pub(super) is_away: Option<bool>,
    /// A tarball, or nothing.
    pub(super) body: Result<Bytes, RegistryError>,
}

impl Exchange {
    /// Permits to fetch, and reads what comes. Each part is counted in `memory` before it is kept. After an error nothing of it is.
    pub(super) async fn fetch(&mut self, addresses: Vec<String>, limit: usize, memory: &Mutex<Share>) -> Download {
        let reply = Reply { id: self.id, verdict: Verdict::Fetch.into(), addresses, ..Reply::default() };
        let mut fetched = Download { bytes: 0, is_away: None, body: Err(ended()) };
        if self.replies.send(reply).await.is_err() {
            return fetched;
        }
        let (mut body, mut held) = (Vec::new(), 0);
        while let Some(content) = self.parts.recv().await {
            match content {
                Content::Part(part) => {
                    let size = part.data.len().max(part.size.try_into().unwrap_or(usize::MAX));
                    fetched.bytes = fetched.bytes.saturating_add(size);
                    if let Err(error) = count(size, fetched.bytes, limit, memory) {
                        fetched.body = Err(error);
                        break;
                    }
                    held += size;
                    body.extend_from_slice(&part.data);
                }
                Content::End(end) => {
                    fetched.is_away = Some(end.is_away);
                    fetched.body = match end.outcome() {
                        Outcome::Whole => Ok(body.into()),
                        Outcome::NotFound => Err(RegistryError::NotFound),
                        Outcome::Failed => Err(RegistryError::Failed(end.problem)),
                    };
                    break;
                }
                _ => break,
            }
        }
        if fetched.body.is_err() {
            lock(memory).shrink(held);
        }
        fetched
    }
}

fn count(size: usize, all: usize, limit: usize, memory: &Mutex<Share>) -> Result<(), RegistryError> {
    if all > limit {
        return Err(RegistryError::Failed(format!("its answer has more than {limit} bytes")));
    }
    lock(memory).try_grow(size).map_err(|by| busy(&by))
}

pub(super) fn lock(memory: &Mutex<Share>) -> MutexGuard<'_, Share> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn busy(exhausted: &Exhausted) -> RegistryError {
    RegistryError::Failed(format!("too much is fetched at once: {exhausted:?}"))
}

fn ended() -> RegistryError {
    RegistryError::Failed("the process that fetches has ended".to_owned())
}
