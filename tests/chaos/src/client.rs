//! A well-behaved client. It starts turns with idempotency keys, retries transient errors, follows by server-sent events, disconnects after
//! any byte, resumes at another gateway with its last event, and sometimes cancels.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use test_support::{
    Person,
    canary::{Stopwatch, within},
    sse::{Frame, HungUp, Viewer},
};
use tokio::time::sleep;

use super::{
    ask::Ask,
    record::{Cancel, End, Record, View, Watched},
};
use crate::deployment::timeline;

/// The limit for one answer. A viewer's may take longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);
/// A viewer's connection without a byte for this long counts as dead. Heartbeats are more frequent.
const SILENCE: Duration = Duration::from_secs(20);
/// The most bytes before a viewer disconnects.
const LONGEST_VIEW: usize = 12_000;

/// Somebody with a browser.
pub struct Client {
    pub people: Arc<Vec<Person>>,
    pub person: usize,
    pub urls: Vec<String>,
    pub record: Arc<Record>,
    pub rng: StdRng,
    /// If the end of a turn is not seen within this time, not counting starved time, that is a violation.
    pub patience: Duration,
}

/// What a client does besides watching its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Watch,
    /// Disconnect again and again.
    Restless,
    /// Cancel after this many events.
    Cancel(usize),
    /// Disconnect and do not return.
    Leave,
}

enum Answer {
    Good(reqwest::Response),
    /// A permanent refusal.
    Refused(StatusCode, Value),
    /// A transient refusal.
    Later(Duration),
}

/// A request that is sent until it gets an answer.
pub struct Call<'a> {
    /// For people.
    pub what: &'a str,
    pub method: Method,
    pub path: &'a str,
    pub body: Value,
    /// Its idempotency key.
    pub key: Option<String>,
}

/// The final answer to a request.
pub type Answered = Result<Value, (StatusCode, Value)>;

impl Client {
    /// The same person with another browser and other random numbers.
    #[must_use]
    pub fn twin(&mut self) -> Self {
        Self {
            people: Arc::clone(&self.people),
            person: self.person,
            urls: self.urls.clone(),
            record: Arc::clone(&self.record),
            rng: StdRng::from_rng(&mut self.rng),
            patience: self.patience,
        }
    }

    /// Runs one turn on the project of a draft to its end.
    pub async fn turn(&mut self, ask: Ask, draft: &str, mood: Mood) {
        let Some(mut watched) = self.start(ask, draft, json!({})).await else { return };
        self.follow(&mut watched, mood).await;
        self.record.watched(watched);
    }

    /// Starts a turn. `wishes` are additional fields of the request. `None` is recorded as a violation.
    pub async fn start(&mut self, ask: Ask, draft: &str, wishes: Value) -> Option<Watched> {
        match self.try_start(ask, draft, wishes).await? {
            Ok(watched) => Some(watched),
            Err((status, problem)) => {
                self.record.wrong(format!("turn {} was not started: {status} {problem}", ask.number));
                None
            }
        }
    }

    /// The same where a refusal may be right.
    pub async fn try_start(&mut self, ask: Ask, draft: &str, wishes: Value) -> Option<Result<Watched, (StatusCode, Value)>> {
        let begun = Stopwatch::start();
        let mut body = json!({ "draftId": draft, "prompt": ask.prompt(), "model": ask.model() });
        let replaces = wishes["replacesTurnId"].as_str().map(str::to_owned);
        if let (Some(body), Value::Object(wishes)) = (body.as_object_mut(), wishes) {
            body.extend(wishes);
        }
        let key = Some(format!("key-{}", ask.number));
        let turn = match self.ask(Call { what: "start", method: Method::POST, path: "/api/turns", body, key }).await? {
            Ok(turn) => turn["id"].as_str().unwrap_or_default().to_owned(),
            Err(refused) => return Some(Err(refused)),
        };
        Some(Ok(Watched { ask, person: self.person, begun, turn, replaces, views: Vec::new(), cancel: None, finished: false }))
    }

    /// Sends a request until it gets a final answer. `None` means that it got none, which is recorded as a violation.
    pub async fn ask(&mut self, call: Call<'_>) -> Option<Answered> {
        let clock = Stopwatch::start();
        while clock.elapsed() < self.patience {
            let mut request = self.request(call.method.clone(), call.path);
            if call.method != Method::GET {
                request = request.json(&call.body);
            }
            if let Some(key) = &call.key {
                request = request.header("idempotency-key", key);
            }
            match self.send(call.what, request).await {
                Answer::Good(response) if response.status() == StatusCode::NO_CONTENT => return Some(Ok(Value::Null)),
                // A truncated answer is requested again.
                Answer::Good(response) => match response.json::<Value>().await {
                    Ok(answer) => return Some(Ok(answer)),
                    Err(_) => continue,
                },
                Answer::Refused(status, problem) => return Some(Err((status, problem))),
                Answer::Later(pause) => sleep(pause).await,
            }
        }
        self.record.wrong(format!("{} {} was not answered in {:?}", call.what, call.path, self.patience));
        None
    }

    /// Follows a turn to its end, from the last event that was seen. The time limit is for the whole turn.
    pub async fn follow(&mut self, watched: &mut Watched, mood: Mood) {
        let mut last = watched.views.last().map_or(0, View::last);
        while watched.begun.elapsed() < self.patience {
            let path = format!("/api/turns/{}/events", watched.turn);
            let request = self.request(Method::GET, &path).header("last-event-id", last);
            let response = match self.send("follow", request).await {
                Answer::Good(response) => response,
                Answer::Refused(status, problem) => {
                    self.record.wrong(format!("turn {} is not to be followed after {last}: {status} {problem}", watched.turn));
                    return;
                }
                Answer::Later(pause) => {
                    sleep(pause).await;
                    continue;
                }
            };
            if response.status() == StatusCode::NO_CONTENT {
                watched.finished = true;
                return;
            }
            let view = self.view(response, last, watched, mood).await;
            last = view.last();
            let (finished, broken) = (view.end == End::Clean, view.end == End::Broken);
            watched.views.push(view);
            if finished {
                watched.finished = true;
                return;
            }
            if mood == Mood::Leave {
                return;
            }
            self.record.reconnects.fetch_add(1, Ordering::Relaxed);
            if broken {
                sleep(Duration::from_millis(self.rng.random_range(10..120))).await;
            }
        }
    }

    /// Follows on one connection until the connection ends.
    async fn view(&mut self, response: reqwest::Response, after: u32, watched: &mut Watched, mood: Mood) -> View {
        let mut view = View { after, opened: timeline::now(), frames: Vec::new(), came: Vec::new(), end: End::Broken };
        let mut viewer = match Viewer::open(response).await {
            Ok(viewer) => viewer,
            Err(error) => return View { end: End::Bad(format!("{error:#}")), ..view },
        };
        if matches!(mood, Mood::Restless | Mood::Leave) {
            viewer.hang_up_after(self.rng.random_range(1..LONGEST_VIEW));
        }
        loop {
            let ended = match within(SILENCE, viewer.next()).await {
                Ok(Ok(Some(frame))) => {
                    view.frames.push(frame);
                    view.came.push(timeline::now());
                    None
                }
                Ok(Ok(None)) => Some(End::Clean),
                Ok(Err(error)) if error.is::<HungUp>() => Some(End::HungUp),
                Ok(Err(error)) if !error.is::<reqwest::Error>() => Some(End::Bad(format!("{error:#}"))),
                Ok(Err(_)) | Err(_) => Some(End::Broken),
            };
            if let Some(end) = ended {
                return View { end, ..view };
            }
            let seen: usize = watched.views.iter().map(|view| view.frames.len()).sum::<usize>() + view.frames.len();
            if matches!(mood, Mood::Cancel(events) if seen >= events) && watched.cancel.is_none() && !is_over(&view.frames) {
                watched.cancel = Some(self.cancel(&watched.turn).await);
            }
        }
    }

    /// Until it is known whether it worked.
    async fn cancel(&mut self, turn: &str) -> Cancel {
        let path = format!("/api/turns/{turn}/cancel");
        match self.ask(Call { what: "cancel", method: Method::POST, path: &path, body: json!({}), key: None }).await {
            Some(Ok(_)) => Cancel::Done(timeline::now()),
            Some(Err((_, problem))) if problem["reason"] == "TOO_LATE" => Cancel::TooLate,
            Some(Err((status, problem))) => {
                self.record.wrong(format!("turn {turn} is not to be cancelled: {status} {problem}"));
                Cancel::Unknown
            }
            None => Cancel::Unknown,
        }
    }

    /// To any gateway.
    fn request(&mut self, method: Method, path: &str) -> RequestBuilder {
        let person = &self.people[self.person];
        let url = &self.urls[self.rng.random_range(0..self.urls.len())];
        person.http.request(method, format!("{url}{path}")).header("cookie", &person.cookie)
    }

    async fn send(&mut self, what: &str, request: RequestBuilder) -> Answer {
        let pause = Duration::from_millis(self.rng.random_range(50..300));
        let sent = Stopwatch::start();
        let response = match within(ANSWERED_WITHIN, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => {
                self.record.failed(format!("{what}: no connection"), sent);
                return Answer::Later(pause);
            }
            Err(_) => {
                self.record.failed(format!("{what}: no answer"), sent);
                return Answer::Later(pause);
            }
        };
        let status = response.status();
        if status.is_success() {
            self.record.succeeded(format!("{what}: {}", status.as_u16()));
            return Answer::Good(response);
        }
        let problem: Value = response.json().await.unwrap_or_default();
        let reason = problem["reason"].as_str().unwrap_or("no reason");
        let domain = problem["domain"].as_str().unwrap_or("nobody");
        let later = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        let kind = format!("{what}: {} {reason} by {domain}", status.as_u16());
        if later {
            self.record.failed(kind, sent)
        } else {
            self.record.succeeded(kind)
        }
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            self.record.wrong(format!("{what}: {problem}"));
        }
        if later { Answer::Later(pause) } else { Answer::Refused(status, problem) }
    }
}

fn is_over(frames: &[Frame]) -> bool {
    frames.last().is_some_and(Frame::is_terminal)
}
