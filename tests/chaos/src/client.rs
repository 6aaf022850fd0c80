//! A well-behaved client. It starts turns with idempotency keys, retries transient errors, follows server-sent events, disconnects after any
//! byte, reconnects to another gateway with the id of its last event, and sometimes cancels. [`forms`]: what is no JSON.

pub mod forms;

mod pages;

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
    sse::{Disconnected, Frame, Viewer},
};
use tokio::time::sleep;
use tonic::Status;

use super::{
    moderator,
    operator::Operator,
    prompt::Prompt,
    record::{Cancel, End, Record, View, WatchedTurn},
};
use crate::deployment::timeline;

/// The limit for one answer. A viewer's may take longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);
/// A viewer reconnects after this long without a byte. Heartbeats are more frequent.
const SILENCE: Duration = Duration::from_secs(20);
/// The most bytes that a viewer reads before it disconnects.
const LONGEST_VIEW: usize = 12_000;

/// A client of one user.
pub struct Client {
    pub people: Arc<Vec<Person>>,
    pub person: usize,
    pub urls: Vec<String>,
    pub record: Arc<Record>,
    /// Who invites newcomers.
    pub operator: Operator,
    pub rng: StdRng,
    /// The limit for the final answer to a request, and for the end of a turn that is followed, without starved time. Longer is a violation.
    pub turn_limit: Duration,
}

/// How a client behaves while it follows a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    Watch,
    /// Disconnect and reconnect several times.
    Reconnect,
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

/// A request that is repeated until it gets a final answer.
pub struct ApiCall<'a> {
    /// The name of the request in reports.
    pub what: &'a str,
    pub method: Method,
    pub path: &'a str,
    /// The JSON body. A string is sent as it is, as bytes and without quotes.
    pub body: Value,
    /// Its idempotency key.
    pub key: Option<String>,
}

/// The final answer to a request.
pub type Outcome = Result<Value, (StatusCode, Value)>;

impl Client {
    /// Another client of the same user, with its own random numbers.
    #[must_use]
    pub fn second_client(&mut self) -> Self {
        Self {
            people: Arc::clone(&self.people),
            person: self.person,
            urls: self.urls.clone(),
            record: Arc::clone(&self.record),
            operator: self.operator.clone(),
            rng: StdRng::from_rng(&mut self.rng),
            turn_limit: self.turn_limit,
        }
    }

    /// A client of a new account. An attempt that is not answered leaves an account that nobody uses, so each has an invite of its own.
    pub async fn sign_up(&mut self) -> Option<Self> {
        let (clock, mut last) = (Stopwatch::start(), String::new());
        while clock.elapsed() < self.turn_limit {
            let Some(invite) = self.invite().await else {
                "no invite".clone_into(&mut last);
                continue;
            };
            let (sent, url) = (Stopwatch::start(), self.urls[self.rng.random_range(0..self.urls.len())].clone());
            match within(ANSWERED_WITHIN, Person::sign_up_with(&url, &invite)).await {
                Ok(Ok(person)) => {
                    self.record.succeeded("sign up: 200".to_owned());
                    return Some(Self { people: Arc::new(vec![person]), person: 0, ..self.second_client() });
                }
                Ok(Err(error)) => last = format!("{error:#}"),
                Err(_) => "no answer".clone_into(&mut last),
            }
            self.record.failed("sign up: no account".to_owned(), sent);
            sleep(Duration::from_millis(self.rng.random_range(50..300))).await;
        }
        self.record.violation(format!("nobody could sign up within {:?}: {last}", self.turn_limit));
        None
    }

    /// The token of a new invite. Returns `None` after a pause if a replica of auth does not answer.
    pub async fn invite(&mut self) -> Option<String> {
        let (sent, replica) = (Stopwatch::start(), self.rng.random_range(0..usize::MAX));
        let answer = within(ANSWERED_WITHIN, self.operator.create_invite(replica)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        let invite = answer.as_ref().ok().cloned();
        moderator::answered(&self.record, "make an invite", answer.map(drop), sent);
        if invite.is_none() {
            sleep(Duration::from_millis(self.rng.random_range(50..300))).await;
        }
        invite
    }

    /// Runs one turn on the project of a draft to its end.
    pub async fn turn(&mut self, prompt: Prompt, draft: &str, behavior: Behavior) {
        let Some(mut watched) = self.start(prompt, draft, json!({})).await else { return };
        self.follow(&mut watched, behavior).await;
        self.record.watched(watched);
    }

    /// Starts a turn on the project of a draft, or on the one of `fields`, which are additional fields of the request. Returns `None` on failure, which is recorded as a violation.
    pub async fn start(&mut self, prompt: Prompt, draft: &str, fields: Value) -> Option<WatchedTurn> {
        match self.try_start(prompt, draft, fields).await? {
            Ok(watched) => Some(watched),
            Err((status, problem)) => {
                self.record.violation(format!("turn {} was not started: {status} {problem}", prompt.number));
                None
            }
        }
    }

    /// Like [`Client::start`], but returns a refusal and does not record it.
    pub async fn try_start(&mut self, prompt: Prompt, draft: &str, fields: Value) -> Option<Result<WatchedTurn, (StatusCode, Value)>> {
        let asked = timeline::now();
        let mut body = json!({ "draftId": draft, "prompt": prompt.text(), "model": prompt.model(), "mode": prompt.mode() });
        let replaces = fields["replacesTurnId"].as_str().map(str::to_owned);
        if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
            if fields.contains_key("projectId") {
                body.remove("draftId");
            }
            body.extend(fields);
        }
        let key = Some(format!("key-{}", prompt.number));
        let turn = match self.call(ApiCall { what: "start", method: Method::POST, path: "/api/turns", body, key }).await? {
            Ok(turn) => turn["id"].as_str().unwrap_or_default().to_owned(),
            Err(refused) => return Some(Err(refused)),
        };
        let (person, started) = (self.person, (asked, timeline::now()));
        Some(Ok(WatchedTurn { prompt, person, started, turn, replaces, views: Vec::new(), cancel: None, finished: false }))
    }

    /// Repeats a request until it gets a final answer. Returns `None` if there is none in time, which is recorded as a violation.
    pub async fn call(&mut self, call: ApiCall<'_>) -> Option<Outcome> {
        let clock = Stopwatch::start();
        while clock.elapsed() < self.turn_limit {
            match self.try_call(&call).await {
                Ok(outcome) => return Some(outcome),
                Err(pause) => sleep(pause).await,
            }
        }
        self.record.violation(format!("{} {} was not answered within {:?}", call.what, call.path, self.turn_limit));
        None
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// There was no final answer. The request may be repeated after a pause of this length.
    pub async fn try_call(&mut self, call: &ApiCall<'_>) -> Result<Outcome, Duration> {
        let mut request = self.request(call.method.clone(), call.path);
        request = match &call.body {
            _ if call.method == Method::GET => request,
            Value::String(text) => request.header("content-type", "application/octet-stream").body(text.clone()),
            body => request.json(body),
        };
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        match self.send(call.what, request).await {
            Answer::Good(response) if response.status() == StatusCode::NO_CONTENT => Ok(Ok(Value::Null)),
            // The request is repeated if the answer is truncated.
            Answer::Good(response) => response.json::<Value>().await.map(Ok).map_err(|_| Duration::ZERO),
            Answer::Refused(status, problem) => Ok(Err((status, problem))),
            Answer::Later(pause) => Err(pause),
        }
    }

    /// Follows a turn to its end, from the last received event. The time limit begins here, because the start of a turn has its own. After it the
    /// turn stays unfinished, which violates the rule "viewers receive the end".
    pub async fn follow(&mut self, watched: &mut WatchedTurn, behavior: Behavior) {
        let (clock, mut last) = (Stopwatch::start(), watched.views.last().map_or(0, View::last));
        while clock.elapsed() < self.turn_limit {
            let path = format!("/api/turns/{}/events", watched.turn);
            let request = self.request(Method::GET, &path).header("last-event-id", last);
            let response = match self.send("follow", request).await {
                Answer::Good(response) => response,
                Answer::Refused(status, problem) => {
                    self.record.violation(format!("turn {} cannot be followed after event {last}: {status} {problem}", watched.turn));
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
            let view = self.view(response, last, watched, behavior).await;
            last = view.last();
            let (finished, broken) = (view.end == End::Clean, view.end == End::Broken);
            watched.views.push(view);
            if finished {
                watched.finished = true;
                return;
            }
            if behavior == Behavior::Leave {
                return;
            }
            self.record.reconnects.fetch_add(1, Ordering::Relaxed);
            if broken {
                sleep(Duration::from_millis(self.rng.random_range(10..120))).await;
            }
        }
    }

    /// Reads one connection to its end.
    async fn view(&mut self, response: reqwest::Response, after: u32, watched: &mut WatchedTurn, behavior: Behavior) -> View {
        let mut view = View { after, opened: timeline::now(), frames: Vec::new(), arrived: Vec::new(), end: End::Broken };
        let mut viewer = match Viewer::open(response).await {
            Ok(viewer) => viewer,
            Err(error) => return View { end: End::Invalid(format!("{error:#}")), ..view },
        };
        if matches!(behavior, Behavior::Reconnect | Behavior::Leave) {
            viewer.disconnect_after(self.rng.random_range(1..LONGEST_VIEW));
        }
        loop {
            let ended = match within(SILENCE, viewer.next()).await {
                Ok(Ok(Some(frame))) => {
                    view.frames.push(frame);
                    view.arrived.push(timeline::now());
                    None
                }
                Ok(Ok(None)) => Some(End::Clean),
                Ok(Err(error)) if error.is::<Disconnected>() => Some(End::Disconnected),
                Ok(Err(error)) if !error.is::<reqwest::Error>() => Some(End::Invalid(format!("{error:#}"))),
                Ok(Err(_)) | Err(_) => Some(End::Broken),
            };
            if let Some(end) = ended {
                return View { end, ..view };
            }
            let seen: usize = watched.views.iter().map(|view| view.frames.len()).sum::<usize>() + view.frames.len();
            if matches!(behavior, Behavior::Cancel(events) if seen >= events) && watched.cancel.is_none() && !is_ended(&view.frames) {
                watched.cancel = Some(self.cancel(&watched.turn).await);
            }
        }
    }

    /// Follows a project from its first revision up to the one with this number, over as many connections as it takes. Returns the ids of the
    /// revisions. An event that is missing, or is sent twice, is a violation.
    pub async fn watch_project(&mut self, project: &str, last: u64) -> Option<Vec<String>> {
        let clock = Stopwatch::start();
        let mut ids = Vec::new();
        while clock.elapsed() < self.turn_limit {
            let request = self.request(Method::GET, &format!("/api/projects/{project}/events")).header("last-event-id", ids.len());
            let response = match self.send("watch", request).await {
                Answer::Good(response) => response,
                Answer::Refused(status, problem) => {
                    self.record.violation(format!("project {project} cannot be watched: {status} {problem}"));
                    return None;
                }
                Answer::Later(pause) => {
                    sleep(pause).await;
                    continue;
                }
            };
            let Ok(mut viewer) = Viewer::open(response).await else { continue };
            viewer.disconnect_after(self.rng.random_range(1..LONGEST_VIEW));
            while let Ok(Ok(Some(frame))) = within(SILENCE, viewer.next()).await {
                let event = frame.json();
                if event["seq"] != json!(ids.len() + 1) {
                    self.record.violation(format!("project {project}: after {} revisions there is the event {event}", ids.len()));
                    return None;
                }
                ids.push(event["data"]["revision"]["id"].as_str()?.to_owned());
                if event["seq"] == json!(last) {
                    return Some(ids);
                }
            }
        }
        self.record.violation(format!("project {project}: only {} of {last} revisions were sent within {:?}", ids.len(), self.turn_limit));
        None
    }

    /// Cancels a turn. Repeats the request until there is a final answer.
    async fn cancel(&mut self, turn: &str) -> Cancel {
        let path = format!("/api/turns/{turn}/cancel");
        match self.call(ApiCall { what: "cancel", method: Method::POST, path: &path, body: json!({}), key: None }).await {
            Some(Ok(_)) => Cancel::Done(timeline::now()),
            Some(Err((_, problem))) if problem["reason"] == "TOO_LATE" => Cancel::TooLate,
            Some(Err((status, problem))) => {
                self.record.violation(format!("turn {turn} cannot be cancelled: {status} {problem}"));
                Cancel::Unknown
            }
            None => Cancel::Unknown,
        }
    }

    /// Builds a request to a random gateway.
    fn request(&mut self, method: Method, path: &str) -> RequestBuilder {
        let person = &self.people[self.person];
        let url = &self.urls[self.rng.random_range(0..self.urls.len())];
        let request = person.http.request(method, format!("{url}{path}"));
        match &person.token {
            Some(token) => request.bearer_auth(token),
            None => request.header("cookie", &person.cookie),
        }
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
        // A client that follows redirects gets none.
        if status.is_success() || status.is_redirection() {
            self.record.succeeded(format!("{what}: {}", status.as_u16()));
            return Answer::Good(response);
        }
        let problem: Value = response.json().await.unwrap_or_default();
        let reason = problem["reason"].as_str().unwrap_or("no reason");
        let domain = problem["domain"].as_str().unwrap_or("no domain");
        let later = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        let kind = format!("{what}: {} {reason} by {domain}", status.as_u16());
        if later {
            self.record.failed(kind, sent)
        } else {
            self.record.succeeded(kind)
        }
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            self.record.violation(format!("{what}: {problem}"));
        }
        if later { Answer::Later(pause) } else { Answer::Refused(status, problem) }
    }
}

fn is_ended(frames: &[Frame]) -> bool {
    frames.last().is_some_and(Frame::is_terminal)
}
