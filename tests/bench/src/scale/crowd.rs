//! The viewers: each person has a turn and follows it.

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

/// Turns of one person: below what one person may have open by default.
const TURNS_EACH: usize = 50;
/// Sign-ups at once.
const AT_ONCE: usize = 8;

/// Enough people for a number of turns at once.
pub(crate) struct People(Vec<Person>);

impl People {
    pub(crate) async fn sign_up(url: &str, turns: usize) -> Result<Self> {
        let people = stream::iter(0..turns.div_ceil(TURNS_EACH)).map(|_| Person::sign_up(url)).buffer_unordered(AT_ONCE);
        Ok(Self(people.try_collect().await?))
    }

    pub(crate) fn person(&self, place: usize) -> &Person {
        &self.0[place % self.0.len()]
    }

    /// The request for a turn on a new project, answered with its events.
    pub(crate) fn turn(&self, place: usize) -> RequestBuilder {
        let body = json!({ "draftId": Uuid::new_v4().to_string(), "prompt": "tell me the time, again and again" });
        self.person(place).request(Method::POST, "/api/agent/stream").json(&body)
    }
}

/// Viewers that come one after the other and stay.
pub(crate) struct Audience {
    stage: Arc<Stage>,
    viewers: Vec<JoinHandle<Result<Viewed>>>,
}

/// What all viewers share.
#[derive(Debug, Default)]
struct Stage {
    recording: AtomicBool,
    /// Viewers that have seen a delta, or never will.
    seated: AtomicUsize,
    deltas: AtomicU64,
    /// Turns by the place of their viewer.
    turns: Mutex<Vec<(usize, String)>>,
}

/// What one viewer saw.
#[derive(Debug, Default)]
pub(crate) struct Viewed {
    /// From the request to the first delta.
    pub(crate) first: Duration,
    /// From the model server's first delta to its arrival.
    pub(crate) first_latency: Duration,
    /// From the model server to here, for each delta while that was recorded.
    pub(crate) latencies: Samples,
    pub(crate) deltas: u64,
}

impl Audience {
    /// Sends the requests, one after each pause.
    pub(crate) fn enter(requests: Vec<RequestBuilder>, pause: Duration, last_words: &'static [u8]) -> Self {
        let stage = Arc::new(Stage::default());
        let viewer = |(place, request): (usize, RequestBuilder)| {
            let stage = Arc::clone(&stage);
            task::spawn(async move {
                sleep(pause * u32::try_from(place)?).await;
                let mut viewed = Viewed::default();
                let outcome = view(request, &stage, (place, last_words), &mut viewed).await;
                if viewed.deltas == 0 {
                    stage.seated.fetch_add(1, Ordering::Relaxed);
                }
                outcome.map(|()| viewed)
            })
        };
        let viewers = requests.into_iter().enumerate().map(viewer).collect();
        Self { stage, viewers }
    }

    /// Waits until every stream has begun or failed; the limit is for each, from the moment at which one did last.
    pub(crate) async fn seated(&self, limit: Duration) -> Result<()> {
        let (mut last, mut since) = (0, now());
        while last < self.viewers.len() {
            sleep(Duration::from_millis(20)).await;
            let seated = self.stage.seated.load(Ordering::Relaxed);
            if seated > last {
                (last, since) = (seated, now());
            }
            ensure!(now() - since < limit, "only {seated} of {} streams have begun", self.viewers.len());
        }
        Ok(())
    }

    pub(crate) fn record(&self, on: bool) {
        self.stage.recording.store(on, Ordering::Relaxed);
    }

    /// Deltas seen by all viewers so far.
    pub(crate) fn deltas(&self) -> u64 {
        self.stage.deltas.load(Ordering::Relaxed)
    }

    /// The turns that have begun, with the places of those who asked for them.
    pub(crate) fn turns(&self) -> Vec<(usize, String)> {
        self.stage.turns.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All streams to their ends: what was seen, and what went wrong.
    pub(crate) async fn rest(self) -> (Vec<Viewed>, Vec<anyhow::Error>) {
        let (mut all, mut failures) = (Vec::with_capacity(self.viewers.len()), Vec::new());
        for viewer in self.viewers {
            match viewer.await {
                Ok(Ok(viewed)) => all.push(viewed),
                Ok(Err(error)) => failures.push(error),
                Err(error) => failures.push(error.into()),
            }
        }
        (all, failures)
    }

    /// All viewers go away in the middle; their connections are gone when this returns.
    pub(crate) async fn leave(self) {
        for viewer in &self.viewers {
            viewer.abort();
        }
        for viewer in self.viewers {
            // It was aborted.
            let _ = viewer.await;
        }
    }
}

async fn view(request: RequestBuilder, stage: &Stage, (place, last_words): (usize, &[u8]), viewed: &mut Viewed) -> Result<()> {
    let start = now();
    let response = request.send().await?;
    ensure!(response.status().is_success(), "{} {}", response.status(), response.text().await?);
    if let Some(turn) = response.headers().get("x-backlot-turn-id").and_then(|turn| turn.to_str().ok()) {
        stage.turns.lock().unwrap_or_else(PoisonError::into_inner).push((place, turn.to_owned()));
    }
    let mut body = response.bytes_stream();
    let (mut marks, mut end) = (Marks::default(), [bytes::Bytes::new(), bytes::Bytes::new()]);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.with_context(|| format!("the stream broke after {} deltas", viewed.deltas))?;
        let arrived = now();
        marks.read(&chunk, |sent| {
            let latency = arrived.saturating_sub(sent);
            if viewed.deltas == 0 {
                viewed.first = arrived.saturating_sub(start);
                viewed.first_latency = latency;
                stage.seated.fetch_add(1, Ordering::Relaxed);
            }
            viewed.deltas += 1;
            stage.deltas.fetch_add(1, Ordering::Relaxed);
            if stage.recording.load(Ordering::Relaxed) {
                viewed.latencies.push(latency);
            }
        });
        end.swap(0, 1);
        end[1] = chunk;
    }
    let end = end.concat();
    let whole = end.windows(last_words.len()).any(|words| words == last_words);
    ensure!(whole, "the stream ended with {:?}", String::from_utf8_lossy(&end));
    Ok(())
}
