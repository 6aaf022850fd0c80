//! The model server of the bench: Anthropic Messages over SSE, deltas of 24 bytes at a fixed pace, each carrying the time at
//! which it was sent.

use std::{
    convert::Infallible,
    sync::{Arc, LazyLock, Mutex, PoisonError},
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
use tokio::{net::TcpListener, time::MissedTickBehavior};

/// A delta: `@`, its time in 22 digits, `;`.
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

/// The bench's own clock.
pub(crate) fn now() -> Duration {
    START.elapsed()
}

/// What every answer says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) deltas: usize,
    pub(crate) pace: Duration,
}

/// Runs as long as the runtime.
pub(crate) struct Upstream {
    pub(crate) url: String,
    load: Arc<Mutex<Load>>,
}

impl Upstream {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let load = Arc::new(Mutex::new(Load { deltas: 0, pace: Duration::ZERO }));
        task::spawn(accept(listener, Arc::clone(&load)));
        Ok(Self { url, load })
    }

    /// What answers say from now on.
    pub(crate) fn set(&self, load: Load) {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner) = load;
    }
}

async fn accept(listener: TcpListener, load: Arc<Mutex<Load>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Each delta leaves at once.
        let _ = stream.set_nodelay(true);
        let load = Arc::clone(&load);
        task::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&load), request));
            // An error is a client that has left.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn answer(load: Arc<Mutex<Load>>, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    request.into_body().collect().await?;
    let Load { deltas, pace } = *load.lock().unwrap_or_else(PoisonError::into_inner);
    // The first delta waits for nothing; not even for the tick of a timer.
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + pace, pace.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The head is 0, then the deltas, then the tail.
    let frames = stream::unfold((0, ticks), move |(place, mut ticks)| async move {
        let frame = match place {
            0 => Bytes::from_static(HEAD.as_bytes()),
            1 => delta(),
            _ if place <= deltas => {
                ticks.tick().await;
                delta()
            }
            _ if place == deltas + 1 => Bytes::from_static(TAIL.as_bytes()),
            _ => return None,
        };
        Some((Ok(Frame::data(frame)), (place + 1, ticks)))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/event-stream; charset=utf-8"));
    Ok(response)
}

fn delta() -> Bytes {
    let text = format!("@{:022};", now().as_nanos());
    debug_assert_eq!(text.len(), MARK_BYTES);
    Bytes::from(format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
         \"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
    ))
}
