//! One viewer of one turn: reads the turn's events from agent-streaming, writes them as a stream, comes back to
//! agent-streaming with the last number when that breaks, and never ends cleanly before the terminal event was written. A
//! stream that cannot go on fails its body: HTTP/1.1 closes without the last chunk, HTTP/2 resets that stream only.

mod calls;

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use chassis::{jitter::spread, propagation, task::apart};
use futures::{FutureExt as _, StreamExt as _};
use proto::{
    agent_streaming::{EventLine, StreamTurnEventsResponse, TurnEvent},
    error::{ErrorCode, Fault},
};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument as _, info_span};

use self::calls::{Calls, Events};
use crate::{
    app::App,
    auth::Signed,
    error::{Failure, fault, fault_of},
    sse::Projection,
    streams::OpenStream,
};

/// How long the answer waits for the first event, so that an early failure is still a problem document.
const PEEK: Duration = Duration::from_millis(500);
/// How long a viewer is kept while agent-streaming is away.
const PATIENCE: Duration = Duration::from_secs(15);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Between the last bytes of a stream and its break, so that they reach the socket.
const FLUSH: Duration = Duration::from_millis(250);
/// Events that are there already go out together, up to about this much.
const CHUNK: usize = 64 * 1024;

/// Why a stream broke before its terminal event. The client sees only that it broke, and comes back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error("the gateway is draining")]
    Draining,
    #[error("the session has ended")]
    SessionEnded,
    #[error("agent-streaming cut the stream")]
    Refused(#[source] Fault),
    #[error("agent-streaming was away for too long")]
    Away(#[source] Fault),
    #[error("an event cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// What is needed to follow a turn, and to come back to it.
pub(crate) struct Viewer {
    calls: Calls,
    projection: Box<dyn Projection>,
    /// Held until the body is dropped.
    _open: OpenStream,
}

impl Viewer {
    pub(crate) fn new(app: Arc<App>, signed: Signed, turn: String, projection: Box<dyn Projection>, open: OpenStream) -> Self {
        let Signed { context, credential, .. } = signed;
        let calls = Calls { app, context, credential, turn, compact: false, as_lines: projection.takes_lines() };
        Self { calls, projection, _open: open }
    }

    /// The same for a projection that can do with the short form of what is in the log already.
    pub(crate) fn compact(mut self) -> Self {
        self.calls.compact = true;
        self
    }

    /// The answer to a viewer that has everything up to `after`.
    pub(crate) async fn follow(self, after: u32) -> Result<Response, Failure> {
        let after = if chassis::seeded_bug::is("cursor-off-by-one") { after.saturating_sub(1) } else { after };
        let mut events = match self.calls.open(after).await {
            Ok(events) => events,
            Err(fault) if fault.reason == "CURSOR_AHEAD" && self.calls.is_over(after).await? => {
                return Ok(StatusCode::NO_CONTENT.into_response());
            }
            Err(fault) => return Err(fault.into()),
        };
        let first = match timeout(PEEK, events.next()).await {
            Err(_) => None,
            Ok(Some(Ok(first))) => Some(first),
            Ok(Some(Err(status))) => match fault_of(&status) {
                // A replica that is about to end, say: the stream opens and tries on, at another one.
                fault if passes(fault.code) => return Ok(self.answer(after, Source::broken(), None)),
                fault => return Err(fault.into()),
            },
            // The turn has ended and the viewer has seen it all: 204 keeps an EventSource from coming back.
            Ok(None) => return Ok(StatusCode::NO_CONTENT.into_response()),
        };
        Ok(self.answer(after, Source::Open(Box::new(events)), first))
    }

    /// The answer to the request that started the turn. The turn is on record, so agent-streaming being away is no reason to
    /// hide its id: the stream opens and tries on.
    pub(crate) async fn follow_started(self) -> Result<Response, Failure> {
        let mut events = match self.calls.open(0).await {
            Ok(events) => events,
            Err(fault) if passes(fault.code) => return Ok(self.answer(0, Source::broken(), None)),
            Err(fault) => return Err(fault.into()),
        };
        match timeout(PEEK, events.next()).await {
            Ok(Some(Ok(first))) => Ok(self.answer(0, Source::Open(Box::new(events)), Some(first))),
            Ok(Some(Err(status))) => match fault_of(&status) {
                fault if passes(fault.code) => Ok(self.answer(0, Source::broken(), None)),
                fault => Err(fault.into()),
            },
            Ok(None) | Err(_) => Ok(self.answer(0, Source::Open(Box::new(events)), None)),
        }
    }

    fn answer(self, after: u32, source: Source, first: Option<StreamTurnEventsResponse>) -> Response {
        let headers = self.projection.headers();
        let quiet_until = Instant::now() + self.calls.app.config.heartbeat;
        let traceparent = propagation::traceparent().unwrap_or_default();
        let follower = Follower { viewer: self, traceparent, last: after, source, first, phase: Phase::Opening, quiet_until };
        let body = futures::stream::unfold(follower, |mut follower| async move {
            let chunk = follower.next().await?;
            if let Err(cut) = &chunk {
                tracing::debug!(
                    turn = follower.viewer.calls.turn,
                    last = follower.last,
                    "event stream cut: {}",
                    chassis::error::chain(cut)
                );
            }
            Some((chunk, follower))
        });
        (headers, Body::from_stream(body)).into_response()
    }
}

/// What goes away by itself.
fn passes(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Unavailable | ErrorCode::Timeout)
}

/// The connection to agent-streaming.
enum Source {
    Open(Box<Events>),
    Broken {
        since: Instant,
        attempt: u32,
        retry_at: Instant,
    },
    /// It failed while there was something else to write first.
    Failed(Fault),
    /// It ended cleanly; whether that was the turn's end is not known yet.
    Ended,
}

impl Source {
    fn broken() -> Self {
        let now = Instant::now();
        Self::Broken { since: now, attempt: 0, retry_at: now + spread(FIRST_WAIT) }
    }
}

/// An event in either form.
enum Arrived {
    Event(TurnEvent),
    Line(EventLine),
}

impl Arrived {
    /// Its seq, and whether none follows.
    fn place(&self) -> (u32, bool) {
        match self {
            Self::Event(event) => (event.seq, event.is_terminal()),
            Self::Line(line) => (line.seq, line.terminal),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Live,
    /// The last words are written; the break follows.
    Cutting,
    /// The terminal event is written, or the stream is broken.
    Over,
}

struct Follower {
    viewer: Viewer,
    /// Calls after a break stay in the trace of the request.
    traceparent: String,
    /// The last event written.
    last: u32,
    source: Source,
    first: Option<StreamTurnEventsResponse>,
    phase: Phase,
    /// When a sign of life is due.
    quiet_until: Instant,
}

impl Follower {
    /// The next bytes of the body; `None` is its clean end.
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        let mut out = BytesMut::new();
        let written = match self.phase {
            Phase::Over => return None,
            Phase::Cutting => Err(Cut::Draining),
            Phase::Opening => {
                self.phase = Phase::Live;
                self.viewer.projection.opening(&mut out);
                match self.first.take() {
                    Some(first) => self.write(&mut out, first),
                    None => Ok(()),
                }
            }
            Phase::Live => self.live(&mut out).await,
        };
        if let Err(cut) = written {
            // hyper drops what it has not sent yet when a body fails; while it waits here it sends.
            tokio::time::sleep(FLUSH).await;
            self.phase = Phase::Over;
            return Some(Err(cut));
        }
        self.quiet_until = Instant::now() + self.viewer.calls.app.config.heartbeat;
        // Only a stream of lines can have nothing to say at its opening or its end.
        if out.is_empty() && self.phase == Phase::Over { None } else { Some(Ok(out.freeze())) }
    }

    /// Waits until there is something to write.
    async fn live(&mut self, out: &mut BytesMut) -> Result<(), Cut> {
        let app = Arc::clone(&self.viewer.calls.app);
        let session = self.viewer.calls.context.user.as_ref().map(|user| user.session_id);
        let mut ended = pin!(async {
            match session {
                Some(session) => app.revocations.until_ended(session).await,
                None => std::future::pending().await,
            }
        });
        while out.is_empty() && self.phase == Phase::Live {
            let quiet_until = self.quiet_until;
            tokio::select! {
                biased;
                () = app.draining.cancelled() => {
                    self.phase = if chassis::seeded_bug::is("clean-end-on-drain") { Phase::Over } else { Phase::Cutting };
                    return Ok(());
                }
                () = &mut ended => return Err(Cut::SessionEnded),
                message = self.message() => match message? {
                    Some(message) => self.write(out, message)?,
                    None => self.phase = Phase::Over,
                },
                () = sleep_until(quiet_until) => self.viewer.projection.heartbeat(out),
            }
        }
        Ok(())
    }

    /// The next message of agent-streaming, from whichever connection brings it; `None` once the turn is over. Dropping the
    /// future loses nothing: what was learned is in `source`.
    async fn message(&mut self) -> Result<Option<StreamTurnEventsResponse>, Cut> {
        loop {
            match &mut self.source {
                Source::Open(events) => match events.next().await {
                    Some(Ok(message)) => return Ok(Some(message)),
                    Some(Err(status)) => self.broke(fault_of(&status))?,
                    None => self.source = Source::Ended,
                },
                Source::Ended => {
                    let (calls, last) = (self.viewer.calls.clone(), self.last);
                    // The client may stop reading in the middle, and an answer that is left unread takes room from everybody's calls.
                    match apart(async move { calls.is_over(last).await }).await {
                        Ok(true) => return Ok(None),
                        Ok(false) => self.broke(fault(ErrorCode::Unavailable, "DRAINING", "the stream ended too early"))?,
                        Err(why) => self.broke(why)?,
                    };
                }
                Source::Failed(why) => {
                    let why = why.clone();
                    self.broke(why)?;
                }
                Source::Broken { retry_at, .. } => {
                    sleep_until(*retry_at).await;
                    self.reopen().await?;
                }
            }
        }
    }

    async fn reopen(&mut self) -> Result<(), Cut> {
        let span = info_span!("resume", svc = "gateway", turn = self.viewer.calls.turn, after = self.last);
        propagation::adopt_traceparent(&span, &self.traceparent);
        let (calls, last) = (self.viewer.calls.clone(), self.last);
        match apart(async move { calls.reopen(last).await }.instrument(span)).await {
            Ok(events) => {
                self.source = Source::Open(Box::new(events));
                Ok(())
            }
            Err(why) => self.broke(why),
        }
    }

    /// Takes note of a break; an error if there is no use in coming back.
    fn broke(&mut self, why: Fault) -> Result<(), Cut> {
        if !passes(why.code) {
            return Err(Cut::Refused(why));
        }
        let now = Instant::now();
        let (since, attempt) = match &self.source {
            Source::Broken { since, attempt, .. } => (*since, attempt + 1),
            Source::Open(_) | Source::Failed(_) | Source::Ended => (now, 0),
        };
        if now.duration_since(since) >= PATIENCE {
            return Err(Cut::Away(why));
        }
        let wait = spread((FIRST_WAIT * 2_u32.saturating_pow(attempt.min(8))).min(LONGEST_WAIT));
        tracing::debug!(turn = self.viewer.calls.turn, last = self.last, "coming back to agent-streaming: {why}");
        self.source = Source::Broken { since, attempt, retry_at: now + wait };
        Ok(())
    }

    /// Writes a message and whatever has arrived behind it.
    fn write(&mut self, out: &mut BytesMut, message: StreamTurnEventsResponse) -> Result<(), Cut> {
        let mut next = Some(message);
        while let Some(message) = next.take() {
            let StreamTurnEventsResponse { events, lines } = message;
            for arrived in events.into_iter().map(Arrived::Event).chain(lines.into_iter().map(Arrived::Line)) {
                let (seq, terminal) = arrived.place();
                // A connection that came back may repeat events; one that leaves some out is not to be trusted.
                if seq <= self.last {
                    continue;
                }
                if seq != self.last + 1 && !self.viewer.calls.compact {
                    return self.broke(fault(ErrorCode::Unavailable, "UNAVAILABLE", "an event is missing"));
                }
                match &arrived {
                    Arrived::Event(event) => self.viewer.projection.event(out, event).map_err(Cut::Json)?,
                    Arrived::Line(line) => self.viewer.projection.line(out, line),
                }
                self.last = seq;
                if terminal {
                    self.phase = Phase::Over;
                    return Ok(());
                }
            }
            if out.len() < CHUNK
                && let Source::Open(events) = &mut self.source
            {
                match events.next().now_or_never() {
                    Some(Some(Ok(message))) => next = Some(message),
                    Some(Some(Err(status))) => self.source = Source::Failed(fault_of(&status)),
                    Some(None) => self.source = Source::Ended,
                    None => {}
                }
            }
        }
        Ok(())
    }
}
