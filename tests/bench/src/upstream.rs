//! The model server of the bench: Anthropic Messages over SSE, with deltas of 24 bytes at a constant rate. Each delta contains the time at
//! which it was sent.

use std::{
    convert::Infallible,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use chassis::task;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Interval, MissedTickBehavior},
};

/// The length of a delta: `@`, the time in nanoseconds with 22 digits, `;`.
pub(crate) const MARK_BYTES: usize = 24;

const HEAD: &str = "event: message_start\n\
    data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_0\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"bench\",\
    \"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":100,\"output_tokens\":1}}}\n\n\
    event: content_block_start\n\
    data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";

const TAIL: &str = "event: content_block_stop\n\
    data: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
    event: message_delta\n\
    data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\
    \"usage\":{\"output_tokens\":1000}}\n\n\
    event: message_stop\n\
    data: {\"type\":\"message_stop\"}\n\n";

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time since the start of the bench.
pub(crate) fn now() -> Duration {
    START.elapsed()
}

/// The number and the pace of the deltas of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// The number of deltas, at least 1.
    pub(crate) deltas: usize,
    pub(crate) pace: Duration,
}

impl Load {
    /// An answer that ends with [`Upstream::end_answers`].
    pub(crate) fn endless(pace: Duration) -> Self {
        Self { deltas: usize::MAX, pace }
    }
}

/// Answers whose client disconnected before their end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AbandonedAnswers {
    pub(crate) answers: usize,
    /// When the last of them was noticed.
    pub(crate) last: Duration,
}

/// The model server. It runs until the runtime ends.
pub(crate) struct Upstream {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    load: Mutex<Load>,
    /// Answers of an earlier generation end.
    generation: AtomicU64,
    sent: AtomicU64,
    /// The path of the last request.
    last_path: Mutex<String>,
    abandoned: watch::Sender<AbandonedAnswers>,
}

impl Upstream {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            load: Mutex::new(Load { deltas: 1, pace: Duration::ZERO }),
            generation: AtomicU64::default(),
            sent: AtomicU64::default(),
            last_path: Mutex::default(),
            abandoned: watch::Sender::default(),
        });
        task::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { url, shared })
    }

    /// Sets the load of new answers.
    pub(crate) fn set(&self, load: Load) {
        *lock(&self.shared.load) = load;
    }

    /// Ends all running answers at their next delta.
    pub(crate) fn end_answers(&self) {
        self.shared.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of deltas of all answers so far.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// The path of the last request, which identifies the caller.
    pub(crate) fn last_path(&self) -> String {
        lock(&self.shared.last_path).clone()
    }

    pub(crate) fn abandoned(&self) -> watch::Receiver<AbandonedAnswers> {
        self.shared.abandoned.subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Each delta must be sent at once.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        task::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // An error means that the client has disconnected.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    request.uri().path().clone_into(&mut lock(&shared.last_path));
    request.into_body().collect().await?;
    let frames = stream::unfold(Answer::new(shared), |mut answer| async move {
        let frame = answer.next().await?;
        Some((Ok(Frame::data(frame)), answer))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/event-stream; charset=utf-8"));
    Ok(response)
}

/// The head, the deltas, the tail.
struct Answer {
    shared: Arc<Shared>,
    generation: u64,
    deltas: usize,
    ticks: Interval,
    /// The number of sent frames.
    sent_frames: usize,
    ended: bool,
}

impl Answer {
    fn new(shared: Arc<Shared>) -> Self {
        let Load { deltas, pace } = *lock(&shared.load);
        // The first delta is sent without waiting for a tick.
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + pace, pace.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { generation: shared.generation.load(Ordering::Relaxed), shared, deltas, ticks, sent_frames: 0, ended: false }
    }

    async fn next(&mut self) -> Option<Bytes> {
        let number = self.sent_frames;
        self.sent_frames += 1;
        match number {
            0 => return Some(Bytes::from_static(HEAD.as_bytes())),
            1 => {}
            _ if self.ended => return None,
            _ if number > self.deltas => return self.end(),
            _ => _ = self.ticks.tick().await,
        }
        if self.generation != self.shared.generation.load(Ordering::Relaxed) {
            return self.end();
        }
        self.shared.sent.fetch_add(1, Ordering::Relaxed);
        Some(delta())
    }

    fn end(&mut self) -> Option<Bytes> {
        self.ended = true;
        Some(Bytes::from_static(TAIL.as_bytes()))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.abandoned.send_modify(|abandoned| *abandoned = AbandonedAnswers { answers: abandoned.answers + 1, last: now() });
        }
    }
}

fn delta() -> Bytes {
    let text = format!("@{:022};", now().as_nanos());
    debug_assert_eq!(text.len(), MARK_BYTES);
    Bytes::from(format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
         \"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
    ))
}
