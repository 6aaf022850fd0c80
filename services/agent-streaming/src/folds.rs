//! Folds of the logs of running turns. A page of a preview asks for each of its files, and all of them need the same fold; while the turn
//! goes on, the next fold continues an earlier one. A fold depends on nothing but the events up to its own, so it is never wrong. The folds
//! of a turn are dropped when it ends: at once by the process that drives it and by one that is asked for it, and elsewhere when nobody has
//! asked for a while.

use std::{sync::Arc, time::Duration};

use chassis::task::Ticks;

use proto::{
    agent_streaming::turn_event::Kind,
    error::{ErrorCode, Fault},
    id::TurnId,
};
use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    drive::base::{TurnFiles, started_tree},
    error::{Error, SERVICE},
    store::{Pool, events},
    turn::{Turn, transcript::RecordedTurn},
    upstream::Upstream,
    workspace::{
        overlay::{BaseError, Overlay},
        tools::{self, catalogue},
    },
};

/// A client repeats the request itself.
pub(crate) const NO_RETRY: Duration = Duration::ZERO;
/// Bytes of the folds of one process.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Turns whose newest folds are known.
const MAX_TURNS: usize = 10_000;
/// Bytes of a fold without its events and files.
const FOLD_BYTES: u64 = 1024;
/// Folds that nobody has asked for in this time are dropped.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// A turn and the seq of its last event.
type Key = (TurnId, u32);

/// The state of a turn after an event.
#[derive(Clone)]
pub(crate) struct Fold {
    recorded: RecordedTurn,
    /// The last event.
    seq: u32,
    /// Bytes of the events.
    bytes: u64,
    /// The calls whose changes are in the overlay, in their order.
    made: Vec<String>,
    overlay: Overlay,
    /// Empty for a project that had no files.
    revision: String,
}

/// Folds by the bytes that they hold: the events in the transcript, and the files with the contents in the overlay. What the folds of a
/// turn share counts for each.
#[derive(Clone)]
struct ByteWeighter;

impl Weighter<Key, Arc<Fold>> for ByteWeighter {
    fn weight(&self, _: &Key, fold: &Arc<Fold>) -> u64 {
        fold.bytes + fold.overlay.held_bytes() as u64 + FOLD_BYTES
    }
}

/// What a fold is made of.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    /// Has the log.
    pub(crate) db: &'a Pool,
    /// Has the files of the base.
    pub(crate) upstream: &'a Upstream,
}

/// The folds of one process.
pub(crate) struct Folds {
    folds: Cache<Key, Arc<Fold>, ByteWeighter>,
    newest: Cache<TurnId, Newest>,
}

/// The newest fold of a turn.
#[derive(Debug, Clone, Copy)]
struct Newest {
    seq: u32,
    /// When a fold of the turn was last asked for.
    used_at: Instant,
}

impl Folds {
    pub(crate) fn new() -> Self {
        let mut options = OptionsBuilder::new();
        // In one shard a fold may take nearly all bytes. In several it could take only those of its shard.
        options.shards(1).estimated_items_capacity(MAX_TURNS).weight_capacity(MAX_BYTES);
        let folds = match options.build() {
            Ok(options) => Cache::with_options(options, ByteWeighter, DefaultHashBuilder::default(), DefaultLifecycle::default()),
            // The capacities above are all that the builder needs.
            Err(_) => Cache::with_weighter(MAX_TURNS, MAX_BYTES, ByteWeighter),
        };
        Self { folds, newest: Cache::new(MAX_TURNS) }
    }

    /// The fold up to an event, if it is known.
    pub(crate) fn get(&self, turn: TurnId, seq: u32) -> Option<Arc<Fold>> {
        let fold = self.folds.get(&(turn, seq));
        if fold.is_some() {
            self.used(turn, seq);
        }
        fold
    }

    /// Notes that a fold was asked for now.
    fn used(&self, turn: TurnId, seq: u32) {
        let newest = self.newest.get(&turn).map_or(seq, |newest| newest.seq.max(seq));
        self.newest.insert(turn, Newest { seq: newest, used_at: Instant::now() });
    }

    /// Drops the folds of a turn.
    pub(crate) fn forget(&self, turn: TurnId) {
        if self.newest.remove(&turn).is_some() {
            self.folds.retain(|(of, _), _| *of != turn);
        }
    }

    /// Drops folds that nobody asks for any more, until `stop` is cancelled.
    pub(crate) async fn expire(&self, stop: CancellationToken) {
        let mut ticks = Ticks::new(MAX_IDLE / 4, stop);
        while ticks.next().await {
            self.forget_idle(Instant::now());
        }
    }

    fn forget_idle(&self, now: Instant) {
        let is_idle = |newest: Newest| now.saturating_duration_since(newest.used_at) >= MAX_IDLE;
        self.newest.retain(|_, newest| !is_idle(*newest));
        self.folds.retain(|(turn, _), _| self.newest.peek(turn).is_some());
    }

    /// The fold up to an event that the log has. It is made once, however many requests wait for it.
    ///
    /// # Errors
    /// The log or the base could not be read.
    pub(crate) async fn at(&self, from: Sources<'_>, turn: &Turn, seq: u32) -> Result<Arc<Fold>, Error> {
        let make = async {
            let earlier = self.newest.get(&turn.id).and_then(|newest| self.folds.get(&(turn.id, newest.seq))).filter(|fold| fold.seq < seq);
            let begun = match earlier {
                Some(fold) => Fold::clone(&fold),
                None => Fold::begin(from, turn).await?,
            };
            Ok::<_, Error>(Arc::new(begun.advance(from, turn, seq).await?))
        };
        let fold = self.folds.get_or_insert_async(&(turn.id, seq), make).await?;
        self.used(turn.id, seq);
        Ok(fold)
    }
}

impl Fold {
    /// The state before the first event.
    async fn begin(from: Sources<'_>, turn: &Turn) -> Result<Self, Error> {
        let (overlay, revision) = base(from.upstream, turn).await?;
        Ok(Self { recorded: RecordedTurn::default(), seq: 0, bytes: 0, made: Vec::new(), overlay, revision })
    }

    /// The state after a later event. Makes the changes again that the log has. A call that was refused or that only reads is left out.
    async fn advance(mut self, from: Sources<'_>, turn: &Turn, seq: u32) -> Result<Self, Error> {
        let mut is_undone = false;
        let apply = |at: u32, kind: &Kind| {
            if at <= seq {
                is_undone |= matches!(kind, Kind::StepSuperseded(_));
                self.bytes += kind.encoded_len() as u64;
                self.recorded.apply(at, kind);
            }
        };
        events::read_after(from.db, turn.id, self.seq, apply).await?;
        self.seq = seq;
        // The changes of a step that is tried again are not made, and its calls may have the same ids.
        if is_undone || !self.recorded.transcript.changes().map(|call| call.id).zip(&self.made).all(|(id, made)| id == made) {
            (self.overlay, self.revision) = base(from.upstream, turn).await?;
            self.made.clear();
        }
        let base = TurnFiles { upstream: from.upstream.clone(), turn: turn.id, revision: self.revision.clone(), timeout: NO_RETRY };
        let tools = tools::specs(&catalogue::NAMES);
        for call in self.recorded.transcript.changes().skip(self.made.len()) {
            let outcome = tools::execute(&mut self.overlay, &base, &tools, call.tool, call.input).await;
            if let Some(failure) = outcome.map_err(|BaseError(fault)| fault)?.failure {
                tracing::error!(turn.id = %turn.id, call = call.id, reason = failure.reason, "a change of the log cannot be made again");
                return Err(Fault::new(SERVICE, ErrorCode::Internal, "INTERNAL", "the log of the turn cannot be read").into());
            }
            self.made.push(call.id.to_owned());
        }
        Ok(self)
    }

    pub(crate) fn seq(&self) -> u32 {
        self.seq
    }

    pub(crate) fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// The revision below the changes.
    pub(crate) fn revision(&self) -> &str {
        &self.revision
    }
}

/// The files that a turn has started with, and their revision.
async fn base(upstream: &Upstream, turn: &Turn) -> Result<(Overlay, String), Error> {
    let tree = started_tree(upstream, turn, NO_RETRY).await?;
    Ok((Overlay::new(tree.files, tree.limits.unwrap_or_default()), tree.revision))
}

#[cfg(test)]
mod tests;
