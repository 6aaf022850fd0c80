//! The viewers. Each starts a turn and follows it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chassis::task;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use test_support::Person;
use tokio::{task::JoinHandle, time::sleep};
use uuid::Uuid;

use crate::{sample::Samples, upstream::now, watch::Marks};

/// The number of turns per user, below the default limit of open turns.
const TURNS_PER_USER: usize = 50;
/// The number of concurrent sign-ups.
const SIGN_UPS: usize = 8;

/// Enough users for a number of concurrent turns.
pub(crate) struct People(Vec<Person>);

impl People {
    pub(crate) async fn sign_up(url: &str, turns: usize) -> Result<Self> {
        let people = stream::iter(0..turns.div_ceil(TURNS_PER_USER)).map(|_| Person::sign_up(url)).buffer_unordered(SIGN_UPS);
        Ok(Self(people.try_collect().await?))
    }

    pub(crate) fn person(&self, index: usize) -> &Person {
        &self.0[index % self.0.len()]
    }

    /// The request that starts a turn on a new project and follows it.
    pub(crate) fn turn(&self, index: usize) -> RequestBuilder {
        let body = json!({ "draftId": Uuid::new_v4().to_string(), "prompt": "tell me the time, again and again" });
        self.person(index).request(Method::POST, "/api/agent/stream").json(&body)
    }
}

/// Viewers that connect one after the other.
pub(crate) struct Viewers {
    shared: Arc<Shared>,
    viewers: Vec<JoinHandle<Result<Observation>>>,
}

/// The state that all viewers share.
#[derive(Debug, Default)]
struct Shared {
    recording: AtomicBool,
    /// The number of viewers that have received a delta or have failed.
    started: AtomicUsize,
    deltas: AtomicU64,
    /// The turns with the index of their viewer.
    turns: Mutex<Vec<(usize, String)>>,
}

/// The observations of a viewer.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    /// The time from the request to the first delta.
    pub(crate) first: Duration,
    /// The latency of the first delta.
    pub(crate) first_latency: Duration,
    /// The latencies of all deltas while recording was on.
    pub(crate) latencies: Samples,
    pub(crate) deltas: u64,
}

impl Viewers {
    /// Sends the requests, with a pause between two of them.
    pub(crate) fn start(requests: Vec<RequestBuilder>, pause: Duration, end_marker: &'static [u8]) -> Self {
        let shared = Arc::new(Shared::default());
        let viewer = |(index, request): (usize, RequestBuilder)| {
            let shared = Arc::clone(&shared);
            task::spawn(async move {
                sleep(pause * u32::try_from(index)?).await;
                let mut observation = Observation::default();
                let outcome = view(request, &shared, (index, end_marker), &mut observation).await;
                if observation.deltas == 0 {
                    shared.started.fetch_add(1, Ordering::Relaxed);
                }
                outcome.map(|()| observation)
            })
        };
        let viewers = requests.into_iter().enumerate().map(viewer).collect();
        Self { shared, viewers }
    }

    /// Waits until every stream has started or failed. The limit is for the time between two of them.
    pub(crate) async fn wait_until_started(&self, limit: Duration) -> Result<()> {
        let (mut last, mut since) = (0, now());
        while last < self.viewers.len() {
            sleep(Duration::from_millis(20)).await;
            let started = self.shared.started.load(Ordering::Relaxed);
            if started > last {
                (last, since) = (started, now());
            }
            ensure!(now() - since < limit, "only {started} of {} streams have started", self.viewers.len());
        }
        Ok(())
    }

    pub(crate) fn record(&self, on: bool) {
        self.shared.recording.store(on, Ordering::Relaxed);
    }

    /// The number of deltas that all viewers have received.
    pub(crate) fn deltas(&self) -> u64 {
        self.shared.deltas.load(Ordering::Relaxed)
    }

    /// The started turns with the indices of their viewers.
    pub(crate) fn turns(&self) -> Vec<(usize, String)> {
        self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the end of all streams. Returns the observations and the errors.
    pub(crate) async fn rest(self) -> (Vec<Observation>, Vec<anyhow::Error>) {
        let (mut all, mut failures) = (Vec::with_capacity(self.viewers.len()), Vec::new());
        for viewer in self.viewers {
            match viewer.await {
                Ok(Ok(observation)) => all.push(observation),
                Ok(Err(error)) => failures.push(error),
                Err(error) => failures.push(error.into()),
            }
        }
        (all, failures)
    }

    /// Disconnects all viewers. Their connections are closed when this returns.
    pub(crate) async fn leave(self) {
        for viewer in &self.viewers {
            viewer.abort();
        }
        for viewer in self.viewers {
            // The task was aborted.
            let _ = viewer.await;
        }
    }
}

async fn view(request: RequestBuilder, shared: &Shared, (index, end_marker): (usize, &[u8]), observation: &mut Observation) -> Result<()> {
    let start = now();
    let response = request.send().await?;
    ensure!(response.status().is_success(), "{} {}", response.status(), response.text().await?);
    if let Some(turn) = response.headers().get("x-backlot-turn-id").and_then(|turn| turn.to_str().ok()) {
        shared.turns.lock().unwrap_or_else(PoisonError::into_inner).push((index, turn.to_owned()));
    }
    let mut body = response.bytes_stream();
    let (mut marks, mut end) = (Marks::default(), [bytes::Bytes::new(), bytes::Bytes::new()]);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.with_context(|| format!("the stream broke after {} deltas", observation.deltas))?;
        let arrived = now();
        marks.read(&chunk, |sent| {
            let latency = arrived.saturating_sub(sent);
            if observation.deltas == 0 {
                observation.first = arrived.saturating_sub(start);
                observation.first_latency = latency;
                shared.started.fetch_add(1, Ordering::Relaxed);
            }
            observation.deltas += 1;
            shared.deltas.fetch_add(1, Ordering::Relaxed);
            if shared.recording.load(Ordering::Relaxed) {
                observation.latencies.push(latency);
            }
        });
        end.swap(0, 1);
        end[1] = chunk;
    }
    let end = end.concat();
    let is_complete = end.windows(end_marker.len()).any(|words| words == end_marker);
    ensure!(is_complete, "the stream ended with {:?}", String::from_utf8_lossy(&end));
    Ok(())
}
