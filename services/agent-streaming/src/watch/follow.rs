//! From the log to a viewer: first page by page at the viewer's own pace, then from its turn's tail. And the one reader that
//! looks at the log for all tails of the process.

use std::{sync::Arc, time::Duration};

use chassis::{context::Context, seeded_bug, task::apart};
use futures::Stream;
use proto::id::TurnId;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    error::Error,
    metrics::GaugeGuard,
    store::{
        Pool,
        events::{self, Stored},
        turns,
    },
    turn::event,
    watch::compact::Compactor,
    watch::tail::{DetachReason, Frame, Tails, Viewer},
};

/// A doorbell may be lost: then an event is this late.
const POLL: Duration = Duration::from_secs(2);
/// Events of one turn in one read of the reader; with the usual sizes well below a viewer's queue.
const TAIL_PAGE: u32 = 64;
/// Events in one read of a viewer that catches up.
const VIEWER_PAGE: u32 = 128;
/// Turns in one read.
const TURNS: usize = 200;
/// What one message to a viewer carries, unless a single event is larger.
const MESSAGE_BYTES: usize = 64 * 1024;
/// After a failed read.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads the log for every tail that a doorbell says is behind, and for all of them when the poll is due.
pub(crate) async fn read_for_tails(tails: Tails, db: Pool, stop: CancellationToken) {
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let all = tokio::select! {
            () = stop.cancelled() => return,
            _ = poll.tick() => !seeded_bug::is("drop-poll"),
            () = tails.behind() => false,
        };
        for cursors in tails.take_behind(all).chunks(TURNS) {
            read_once(&tails, &db, cursors).await;
        }
    }
}

async fn read_once(tails: &Tails, db: &Pool, cursors: &[(TurnId, u32)]) {
    let rows = match events::read_many(db, cursors, TAIL_PAGE).await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::warn!(error = %error, "the log could not be read for viewers");
            tails.put_behind(cursors.iter().map(|(turn, _)| *turn));
            return sleep(PAUSE).await;
        }
    };
    for rows in rows.chunk_by(|a, b| a.turn == b.turn) {
        let frames: Vec<_> = rows.iter().map(frame).collect();
        tails.deliver_read(rows[0].turn, &frames);
        if frames.len() >= TAIL_PAGE as usize {
            tails.put_behind([rows[0].turn]);
        }
    }
}

/// Where a reader begins, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From {
    /// The last event that it has.
    pub(crate) after: u32,
    /// What is in the log already comes in its short form.
    pub(crate) compact: bool,
}

/// The events of a person's turn after a cursor, several at a time, until the terminal one.
pub(crate) async fn follow(
    app: Arc<App>,
    context: &Context,
    turn: TurnId,
    from: From,
) -> Result<impl Stream<Item = Result<Message, Error>> + Send + 'static, Error> {
    let user = context.user()?.id;
    let found = turns::find(&app.db, turn, user).await?.ok_or(Error::TurnNotFound)?;
    let From { after, compact } = from;
    if after > found.last_seq {
        return Err(Error::CursorAhead { last: found.last_seq });
    }
    let ended_at = found.state.has_ended().then_some(found.last_seq);
    let follower = (found.cancel_unfollowed && ended_at.is_none()).then(|| app.followers.add(turn));
    let deadline = context.deadline.map(Instant::from_std);
    let reader = Reader { app, turn, ended_at };
    Ok(async_stream::try_stream! {
        // Until the reader has left.
        let _left = (follower, GaugeGuard::stream());
        let mut cursor = after;
        loop {
            let mut short = compact.then(|| Compactor::after(cursor));
            // The log, at the viewer's own pace.
            let mut viewer = loop {
                let (events, viewer) = match reader.page(cursor).await? {
                    Page::Events(events) => (events, None),
                    Page::Live(viewer) => (Vec::new(), Some(viewer)),
                    Page::End => return,
                };
                cursor = last_seq(&events).unwrap_or(cursor);
                let events = match &mut short {
                    Some(compactor) => shortened(compactor, events, viewer.is_some()),
                    None => events,
                };
                for message in messages(events) {
                    let terminal = ends(&message);
                    yield message;
                    if terminal {
                        return;
                    }
                }
                if let Some(viewer) = viewer {
                    break viewer;
                }
            };
            // What is new, as it comes.
            loop {
                let batch = tokio::select! {
                    biased;
                    () = reader.app.stop.cancelled() => Err(Error::draining()),
                    batch = viewer.next(MESSAGE_BYTES) => Ok(batch),
                    () = passed(deadline) => Err(Error::Deadline),
                };
                let batch = match batch? {
                    Ok(batch) => batch,
                    Err(DetachReason::Behind) => break,
                    Err(DetachReason::Stalled) => Err(Error::SlowReader)?,
                };
                cursor = last_seq(&batch).unwrap_or(cursor);
                let terminal = ends(&batch);
                yield batch;
                if terminal {
                    return;
                }
            }
        }
    })
}

/// Messages for a viewer, each with events in order.
type Message = Vec<Arc<Frame>>;

fn last_seq(message: &Message) -> Option<u32> {
    message.last().map(|frame| frame.event.seq)
}

fn ends(message: &Message) -> bool {
    message.last().is_some_and(|frame| frame.event.is_terminal())
}

/// A viewer's way through the log of one turn.
struct Reader {
    app: Arc<App>,
    turn: TurnId,
    /// The last event, if the turn had ended when the viewer came.
    ended_at: Option<u32>,
}

enum Page {
    Events(Message),
    /// The viewer has everything and joins its turn's tail.
    Live(Viewer),
    End,
}

impl Reader {
    async fn page(&self, cursor: u32) -> Result<Page, Error> {
        if self.ended_at == Some(cursor) {
            return Ok(Page::End);
        }
        let (app, turn) = (Arc::clone(&self.app), self.turn);
        // The viewer may stop reading in the middle; the connection to the database is everybody's.
        let page = apart(async move { events::read(&app.db, turn, cursor, VIEWER_PAGE).await }).await?;
        if !page.is_empty() {
            return Ok(Page::Events(page.iter().map(frame).collect()));
        }
        if let Some(last) = self.ended_at {
            return Err(Error::CursorExpired { last });
        }
        // The tail is further: what is between was written a moment ago and is there at the next look.
        Ok(self.app.tails.join(self.turn, cursor).map_or(Page::Events(Vec::new()), Page::Live))
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn frame(row: &Stored) -> Arc<Frame> {
    Frame::new(event::decode(row.turn, row.seq, &row.payload))
}

/// What may go out of events that were read; everything, before the reader goes on with what is new.
fn shortened(compactor: &mut Compactor, events: Message, all: bool) -> Message {
    let mut out: Vec<_> = events.iter().flat_map(|frame| compactor.push(frame.event.clone())).collect();
    if all {
        out.extend(compactor.flush());
    }
    out.into_iter().map(Frame::new).collect()
}

/// Events as messages of a bounded size.
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
