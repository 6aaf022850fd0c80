//! What the process asks for: its caller first, and the registry if the caller permits it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use npm::{Limits, RegistryError};
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    message::{Artifact, Content, End, Event, MAX_PART, Outcome, Part, Reply, Verdict},
    registry::{FetchError, Registry, chain, failed},
};

/// Who waits for replies, by the number of the request.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<HashMap<u64, UnboundedSender<Reply>>>);

impl Waiting {
    fn open(&self, id: u64) -> UnboundedReceiver<Reply> {
        let (sender, replies) = unbounded_channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        replies
    }

    fn close(&self, id: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Passes a reply on. One that nobody waits for is left out.
    pub(crate) fn pass(&self, reply: Reply) {
        if let Some(sender) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&reply.id) {
            let _ = sender.send(reply);
        }
    }
}

pub(crate) struct Requests {
    registry: Registry,
    limits: Limits,
    events: Sender<Event>,
    waiting: Arc<Waiting>,
    last: AtomicU64,
}

impl Requests {
    pub(crate) fn new(registry: Registry, limits: Limits, events: Sender<Event>, waiting: Arc<Waiting>) -> Self {
        Self { registry, limits, events, waiting, last: AtomicU64::new(0) }
    }

    /// Sends an event that is about no request.
    pub(crate) async fn tell(&self, content: Content) -> Result<(), RegistryError> {
        self.send(0, content).await
    }

    pub(crate) async fn send(&self, id: u64, content: Content) -> Result<(), RegistryError> {
        self.events.send(Event { id, content: Some(content) }).await.map_err(|_| gone())
    }

    async fn get(&self, wanted: Artifact) -> Result<Bytes, RegistryError> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut replies = self.waiting.open(id);
        let got = self.attempt(id, wanted, &mut replies).await;
        self.waiting.close(id);
        got
    }

    async fn attempt(&self, id: u64, wanted: Artifact, replies: &mut UnboundedReceiver<Reply>) -> Result<Bytes, RegistryError> {
        self.send(id, Content::Request(wanted.clone())).await?;
        let reply = replies.recv().await.ok_or_else(gone)?;
        if reply.verdict() != Verdict::Fetch {
            return given(reply, None);
        }
        self.registry.set_addresses(&reply.addresses);
        let fetched = tokio::select! {
            fetched = self.fetch(id, &wanted) => fetched,
            // The caller has seen enough.
            reply = replies.recv() => return given(reply.ok_or_else(gone)?, None),
        };
        let (body, end) = match fetched {
            Ok(body) => (Some(body), End::default()),
            Err(refused) => (None, end(refused)),
        };
        self.send(id, Content::End(end)).await?;
        given(replies.recv().await.ok_or_else(gone)?, body)
    }

    async fn fetch(&self, id: u64, wanted: &Artifact) -> Result<Bytes, FetchError> {
        let is_tarball = !wanted.version.is_empty();
        let (mut response, limit) = if is_tarball {
            (self.registry.tarball(&wanted.name, &wanted.version).await?, self.limits.packed_bytes)
        } else {
            (self.registry.packument(&wanted.name).await?, self.limits.packument_bytes)
        };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(chain(&error.without_url())))? {
            if body.len() + chunk.len() > limit {
                return Err(failed(format!("its answer has more than {limit} bytes")));
            }
            for at in (0..chunk.len()).step_by(MAX_PART) {
                let part = chunk.slice(at..chunk.len().min(at + MAX_PART));
                let size = part.len() as u64;
                let data = if is_tarball { part } else { Bytes::new() };
                self.send(id, Content::Part(Part { size, data })).await.map_err(|error| FetchError { error, is_away: false })?;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}

impl npm::Registry for Requests {
    async fn packument(&self, name: &str) -> Result<Bytes, RegistryError> {
        self.get(Artifact { name: name.to_owned(), version: String::new() }).await
    }

    async fn tarball(&self, name: &str, version: &str) -> Result<Bytes, RegistryError> {
        self.get(Artifact { name: name.to_owned(), version: version.to_owned() }).await
    }
}

/// What a reply says. `fetched` is what the process has.
fn given(reply: Reply, fetched: Option<Bytes>) -> Result<Bytes, RegistryError> {
    match reply.verdict() {
        Verdict::Accepted => fetched.ok_or_else(|| RegistryError::Failed("nothing was fetched".to_owned())),
        Verdict::Given => Ok(reply.content),
        Verdict::NotFound => Err(RegistryError::NotFound),
        Verdict::Failed => Err(RegistryError::Failed(reply.problem)),
        Verdict::Fetch => Err(RegistryError::Failed("it was permitted twice".to_owned())),
    }
}

fn end(refused: FetchError) -> End {
    let is_away = refused.is_away;
    match refused.error {
        RegistryError::NotFound => End { outcome: Outcome::NotFound.into(), problem: String::new(), is_away },
        RegistryError::Failed(problem) => End { outcome: Outcome::Failed.into(), problem, is_away },
    }
}

fn gone() -> RegistryError {
    RegistryError::Failed("the caller is gone".to_owned())
}
