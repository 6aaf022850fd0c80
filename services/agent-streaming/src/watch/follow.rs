//! Streams a turn's events to a viewer: first pages of the log at the viewer's own pace, then the events of the turn's tail. Also reads the
//! log for all tails of the process.

use std::sync::Arc;

use chassis::{
    context::Context,
    tail::{self, DetachReason, LogReader, StreamEnd},
    task::spawn_and_wait,
};
use futures::Stream;
use proto::id::TurnId;
use tokio::time::{Instant, sleep_until};

use crate::{
    app::App,
    error::Error,
    intake::list,
    metrics::GaugeGuard,
    store::{
        Pool, StoreError,
        events::{self, StoredEvent},
    },
    turn::event,
    watch::compact::Compactor,
    watch::tail::{Frame, Viewer},
};

/// Events in one read for a viewer that catches up.
const VIEWER_PAGE: u32 = 128;
/// The largest message to a viewer, unless a single event is larger.
const MESSAGE_BYTES: usize = 64 * 1024;

/// Reads the logs of turns for the tails of this process.
pub(crate) struct Reader(pub(crate) Pool);

impl LogReader<TurnId, Frame> for Reader {
    // Events of common sizes fit into a viewer's queue.
    const PAGE: u32 = 64;

    async fn read(&mut self, cursors: &[(TurnId, u32)]) -> Result<Vec<tail::Page<TurnId, Frame>>, StoreError> {
        let rows = events::read_many(&self.0, cursors, Self::PAGE).await?;
        Ok(rows.chunk_by(|a, b| a.turn == b.turn).map(|rows| (rows[0].turn, rows.iter().map(frame).collect())).collect())
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct FollowOptions {
    /// The seq of the last event that the viewer has.
    pub(crate) after: u32,
    /// Compact the events that are in the log already.
    pub(crate) compact: bool,
}

/// Streams the events of a user's turn, several in one message, up to the terminal event.
pub(crate) async fn follow(
    app: Arc<App>,
    context: &Context,
    turn: TurnId,
    options: FollowOptions,
) -> Result<impl Stream<Item = Result<Message, Error>> + Send + 'static, Error> {
    let found = list::get(&app.db, context.user()?, turn).await?;
    let FollowOptions { after, compact } = options;
    if after > found.last_seq {
        return Err(Error::end(StreamEnd::CursorAhead { last: found.last_seq }));
    }
    let ended_at = found.state.has_ended().then_some(found.last_seq);
    let follower = (found.cancel_unfollowed && ended_at.is_none()).then(|| app.followers.add(turn));
    let deadline = context.deadline.map(Instant::from_std);
    let reader = PageReader { app, turn, ended_at };
    Ok(async_stream::try_stream! {
        // These are dropped when the viewer disconnects.
        let _guards = (follower, GaugeGuard::stream());
        let mut cursor = after;
        loop {
            let mut compactor = compact.then(|| Compactor::after(cursor));
            // Reads the log at the viewer's own pace.
            let mut viewer = loop {
                let (events, viewer) = match reader.page(cursor).await? {
                    Page::Events(events) => (events, None),
                    Page::Live(viewer) => (Vec::new(), Some(viewer)),
                    Page::End => return,
                };
                cursor = last_seq(&events).unwrap_or(cursor);
                let events = match &mut compactor {
                    Some(compactor) => compacted(compactor, events, viewer.is_some()),
                    None => events,
                };
                for message in messages(events) {
                    let terminal = is_terminal(&message);
                    yield message;
                    if terminal {
                        return;
                    }
                }
                if let Some(viewer) = viewer {
                    break viewer;
                }
            };
            // Streams new events from the tail.
            loop {
                let batch = tokio::select! {
                    biased;
                    () = reader.app.stop.cancelled() => Err(Error::end(StreamEnd::Draining)),
                    batch = viewer.next(MESSAGE_BYTES) => Ok(batch),
                    () = sleep_until_deadline(deadline) => Err(Error::Deadline),
                };
                let batch = match batch? {
                    Ok(batch) => batch,
                    Err(DetachReason::Behind) => break,
                    Err(DetachReason::Stalled) => Err(Error::end(StreamEnd::SlowReader))?,
                };
                cursor = last_seq(&batch).unwrap_or(cursor);
                let terminal = is_terminal(&batch);
                yield batch;
                if terminal {
                    return;
                }
            }
        }
    })
}

/// The events of one message to a viewer.
type Message = Vec<Arc<Frame>>;

fn last_seq(message: &Message) -> Option<u32> {
    message.last().map(|frame| frame.event.seq)
}

fn is_terminal(message: &Message) -> bool {
    message.last().is_some_and(|frame| frame.event.is_terminal())
}

/// Reads the log of one turn for a viewer.
struct PageReader {
    app: Arc<App>,
    turn: TurnId,
    /// The seq of the last event, if the turn had ended when the viewer connected.
    ended_at: Option<u32>,
}

enum Page {
    Events(Message),
    /// The viewer has read the whole log and has joined the turn's tail.
    Live(Viewer),
    End,
}

impl PageReader {
    async fn page(&self, cursor: u32) -> Result<Page, Error> {
        if self.ended_at == Some(cursor) {
            return Ok(Page::End);
        }
        let (app, turn) = (Arc::clone(&self.app), self.turn);
        // The read is a task of its own: a viewer that disconnects must not cancel a query on a pooled connection.
        let page = spawn_and_wait(async move { events::read(&app.db, turn, cursor, VIEWER_PAGE).await }).await?;
        if !page.is_empty() {
            return Ok(Page::Events(page.iter().map(frame).collect()));
        }
        if let Some(last) = self.ended_at {
            return Err(Error::CursorExpired { last });
        }
        // If the tail is ahead of the cursor, the missing events have just been written, and the next read finds them.
        Ok(self.app.tails.join(self.turn, cursor).map_or(Page::Events(Vec::new()), Page::Live))
    }
}

/// Never returns without a deadline.
async fn sleep_until_deadline(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn frame(row: &StoredEvent) -> Arc<Frame> {
    Frame::new(event::decode(row.turn, row.seq, &row.payload))
}

/// Compacts events. `flush` also returns the events that the compactor holds back.
fn compacted(compactor: &mut Compactor, events: Message, flush: bool) -> Message {
    let mut out: Vec<_> = events.iter().flat_map(|frame| compactor.push(frame.event.clone())).collect();
    if flush {
        out.extend(compactor.flush());
    }
    out.into_iter().map(Frame::new).collect()
}

/// Splits events into messages of at most [`MESSAGE_BYTES`].
fn messages(events: Message) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let mut size = usize::MAX;
    for frame in events {
        if size.saturating_add(frame.bytes) > MESSAGE_BYTES {
            messages.push(Vec::new());
            size = 0;
        }
        size += frame.bytes;
        if let Some(message) = messages.last_mut() {
            message.push(frame);
        }
    }
    messages
}
