//! From the log to a viewer: first page by page at the viewer's own pace, then from its turn's tail. And the one reader that
//! looks at the log for all tails of the process.

use std::{sync::Arc, time::Duration};

use chassis::context::Context;
use futures::Stream;
use proto::id::TurnId;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    Parts,
    error::Error,
    event,
    store::{
        Pool,
        events::{self, Stored},
        turns,
    },
    tail::{Frame, Tails},
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
            _ = poll.tick() => true,
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

/// The events of a person's turn after a cursor, several at a time, until the terminal one.
pub(crate) async fn follow(
    parts: Arc<Parts>,
    context: &Context,
    turn: TurnId,
    after: u32,
) -> Result<impl Stream<Item = Result<Vec<Arc<Frame>>, Error>> + Send + 'static, Error> {
    let user = context.user()?.id;
    let found = turns::find(&parts.db, turn, user).await?.ok_or(Error::TurnNotFound)?;
    if after > found.last_seq {
        return Err(Error::CursorAhead { last: found.last_seq });
    }
    let ended_at = found.state.ended().then_some(found.last_seq);
    let deadline = context.deadline.map(Instant::from_std);
    Ok(async_stream::try_stream! {
        let mut cursor = after;
        let mut viewer = loop {
            if ended_at == Some(cursor) {
                return;
            }
            let page = events::read(&parts.db, turn, cursor, VIEWER_PAGE).await?;
            if page.is_empty() && ended_at.is_some() {
                Err(Error::CursorExpired)?;
            }
            let full = page.len() >= VIEWER_PAGE as usize;
            for message in messages(&page) {
                if let Some(last) = message.last() {
                    cursor = last.event.seq;
                    let terminal = last.event.is_terminal();
                    yield message;
                    if terminal {
                        return;
                    }
                }
            }
            if full {
                continue;
            }
            if let Some(viewer) = parts.tails.join(turn, cursor) {
                break viewer;
            }
        };
        loop {
            let batch = tokio::select! {
                biased;
                () = parts.stop.cancelled() => Err(Error::draining()),
                batch = viewer.next(MESSAGE_BYTES) => batch.map_err(|_| Error::SlowReader),
                () = passed(deadline) => Err(Error::Deadline),
            };
            let batch = batch?;
            let terminal = batch.last().is_some_and(|last| last.event.is_terminal());
            yield batch;
            if terminal {
                return;
            }
        }
    })
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

/// Rows as messages of a bounded size.
fn messages(rows: &[Stored]) -> Vec<Vec<Arc<Frame>>> {
    let mut messages: Vec<Vec<Arc<Frame>>> = Vec::new();
    let mut size = usize::MAX;
    for frame in rows.iter().map(frame) {
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
