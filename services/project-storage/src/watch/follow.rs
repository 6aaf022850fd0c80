//! The stream of one watcher: first the revisions after its cursor, at its own pace, then the new ones from the project's tail.

use std::sync::Arc;

use chassis::{
    tail::{DetachReason, StreamEnd, Viewer},
    task::spawn_and_wait,
};
use futures::Stream;

use super::{
    Watch,
    changes::LoggedRevision,
    reader,
    watchers::{Registration, Watcher},
};
use crate::{
    error::{Error, SERVICE},
    model::{
        project::{Role, Target},
        revision::Revision,
    },
    read::member,
    store::revisions,
};

/// A reader whose cursor is further behind loads the project, and gets the later revisions only.
const MAX_BEHIND: u32 = 1000;
/// Revisions in one read for a watcher that catches up, and in one message.
const PAGE: u32 = 64;
/// The largest message, unless a single revision is larger.
const MESSAGE_BYTES: usize = 64 * 1024;

/// What a watcher gets.
pub(crate) enum Event {
    Committed(Arc<LoggedRevision>),
    /// The stream continues from this head.
    Reset(Option<Box<Revision>>),
}

/// Where a stream begins.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    After(u32),
    Head,
}

/// Where the stream of a watcher with this cursor begins, if the head has this number.
fn start(after: Option<u32>, head: u32) -> Result<Start, StreamEnd> {
    match after {
        None => Ok(Start::Head),
        Some(after) if after > head => Err(StreamEnd::CursorAhead { last: head }),
        Some(after) if head - after > MAX_BEHIND => Ok(Start::Head),
        Some(after) => Ok(Start::After(after)),
    }
}

/// Streams what happens to a project, several events in one message. The stream ends only with an error.
///
/// # Errors
/// [`Error::ProjectNotFound`], and CURSOR_AHEAD.
pub(crate) async fn follow(
    watch: Watch,
    watcher: Watcher,
    after: Option<u32>,
) -> Result<impl Stream<Item = Result<Vec<Event>, Error>> + Send + 'static, Error> {
    // Before the check: then the reader sees an access that is lost after it.
    let mut registration = watch.watchers.add(watcher);
    let member = member::find(&watch.pool, watcher.user, &Target::Id(watcher.project), Role::Viewer).await?;
    let head = member.head.as_ref().map_or(0, |head| head.number);
    let start = start(after, head).map_err(|end| Error::Fault(end.fault(SERVICE)))?;
    Ok(async_stream::try_stream! {
        let mut cursor = match start {
            Start::After(after) => after,
            Start::Head => {
                yield vec![Event::Reset(member.head.map(Box::new))];
                head
            }
        };
        loop {
            let mut viewer = loop {
                match page(&watch, watcher, cursor).await? {
                    Page::Live(viewer) => break viewer,
                    Page::Revisions(page) => {
                        cursor = last(&page).unwrap_or(cursor);
                        if !page.is_empty() {
                            yield page.into_iter().map(Event::Committed).collect();
                        }
                    }
                }
            };
            while let Some(batch) = next(&watch, &mut registration, &mut viewer).await? {
                cursor = last(&batch).unwrap_or(cursor);
                yield batch.into_iter().map(Event::Committed).collect();
            }
        }
    })
}

fn last(revisions: &[Arc<LoggedRevision>]) -> Option<u32> {
    revisions.last().map(|revision| revision.0.number)
}

/// The next revisions of the tail. `None` if the watcher is behind the tail and has to read the log.
async fn next(
    watch: &Watch,
    registration: &mut Registration,
    viewer: &mut Viewer<proto::id::ProjectId, LoggedRevision>,
) -> Result<Option<Vec<Arc<LoggedRevision>>>, Error> {
    let end = |end: StreamEnd| Error::Fault(end.fault(SERVICE));
    tokio::select! {
        biased;
        // Revisions that were made after the loss may be in the queue.
        lost = registration.lost_access() => Err(lost.into()),
        () = watch.stop.cancelled() => Err(end(StreamEnd::Draining)),
        batch = viewer.next(MESSAGE_BYTES) => match batch {
            Ok(batch) => Ok(Some(batch)),
            Err(DetachReason::Behind) => Ok(None),
            Err(DetachReason::Stalled) => Err(end(StreamEnd::SlowReader)),
        },
    }
}

enum Page {
    Revisions(Vec<Arc<LoggedRevision>>),
    /// The watcher has the newest revision and has joined the project's tail.
    Live(Viewer<proto::id::ProjectId, LoggedRevision>),
}

/// Reads the log after a cursor, and then the watcher's access. The read is a task of its own: a watcher that disconnects must not cancel a
/// query on a pooled connection.
async fn page(watch: &Watch, watcher: Watcher, cursor: u32) -> Result<Page, Error> {
    let pool = watch.pool.clone();
    let read = async move {
        let page = revisions::after(&pool, watcher.project, cursor, i64::from(PAGE)).await?;
        let lost = reader::lost_access(&pool, &[watcher]).await?;
        Ok::<_, Error>((page, lost))
    };
    let (page, lost) = spawn_and_wait(read).await?;
    if let Some((_, lost)) = lost.first() {
        return Err((*lost).into());
    }
    if !page.is_empty() {
        return Ok(Page::Revisions(page.into_iter().map(LoggedRevision::new).collect()));
    }
    // If the tail is ahead of the cursor, the missing revisions have just been made, and the next read finds them.
    Ok(watch.changes.tails.join(watcher.project, cursor).map_or(Page::Revisions(Vec::new()), Page::Live))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_begins_after_its_cursor_unless_that_is_too_old() {
        assert_eq!(start(None, 0), Ok(Start::Head));
        assert_eq!(start(None, 7), Ok(Start::Head));
        for after in 0..=7 {
            assert_eq!(start(Some(after), 7), Ok(Start::After(after)));
        }
        assert_eq!(start(Some(8), 7), Err(StreamEnd::CursorAhead { last: 7 }));
        assert_eq!(start(Some(1), 0), Err(StreamEnd::CursorAhead { last: 0 }));
        assert_eq!(start(Some(5), 5 + MAX_BEHIND), Ok(Start::After(5)));
        assert_eq!(start(Some(5), 6 + MAX_BEHIND), Ok(Start::Head));
        assert_eq!(start(Some(0), u32::MAX), Ok(Start::Head));
    }
}
