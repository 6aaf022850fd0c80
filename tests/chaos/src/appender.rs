//! Concurrent clients that append unique elements to lists. A list is a file with one element a line. A client reads all lists and saves some
//! of them with one or two more elements, on the condition that nobody has changed them meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::join_all;
use rand::{RngExt as _, seq::IteratorRandom as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use super::{
    client::{ApiCall, Client, Outcome},
    record::{ListHistory, ListOperation, ListOutcome, Lists},
};

const CLIENTS: usize = 4;
const PATHS: [&str; 3] = ["lists/a.txt", "lists/b.txt", "lists/c.txt"];
/// The most milliseconds between two operations of a client.
const LONGEST_PAUSE: u64 = 300;

/// Works on one project until stopped, and records what happened.
pub async fn work(mut client: Client, draft: String, stop: Arc<AtomicBool>) {
    match append_until_stopped(&mut client, &draft, &stop).await {
        Some(history) => client.record.lists(history),
        None => client.record.violation(format!("the lists of the draft {draft} were not finished")),
    }
}

async fn append_until_stopped(client: &mut Client, draft: &str, stop: &AtomicBool) -> Option<ListHistory> {
    let body = json!({ "draftId": draft, "changes": [{ "path": "readme.txt", "write": { "text": "lists\n" } }] });
    let key = Some(format!("lists-{}", client.record.number()));
    let created = client.call(ApiCall { what: "create lists", method: Method::POST, path: "/api/projects/save", body, key }).await?;
    let Ok(created) = created else {
        client.record.violation(format!("a project for lists was refused: {created:?}"));
        return None;
    };
    let project = created["project"]["id"].as_str()?.to_owned();
    let appenders = (0..CLIENTS).map(|_| Appender { client: client.second_client(), project: &project, operations: Vec::new() });
    let appenders: Vec<_> = appenders.collect();
    let operations = join_all(appenders.into_iter().map(|appender| appender.run(stop))).await.concat();
    let mut last = Appender { client: client.second_client(), project: &project, operations: Vec::new() };
    let base = last.read().await?;
    Some(ListHistory { project: project.clone(), operations, last: (base.number, base.lists) })
}

/// The revision that a client has read.
struct Base {
    revision: String,
    number: u32,
    lists: Lists,
}

struct Appender<'a> {
    client: Client,
    project: &'a str,
    operations: Vec<ListOperation>,
}

impl Appender<'_> {
    async fn run(mut self, stop: &AtomicBool) -> Vec<ListOperation> {
        while !stop.load(Ordering::Relaxed) {
            // A failure is recorded.
            let Some(base) = self.read().await else { break };
            self.append(base).await;
            sleep(Duration::from_millis(self.client.rng.random_range(0..LONGEST_PAUSE))).await;
        }
        self.operations
    }

    async fn read(&mut self) -> Option<Base> {
        let began = self.client.record.number();
        let path = format!("/api/projects/load?projectId={}", self.project);
        let call = ApiCall { what: "read lists", method: Method::GET, path: &path, body: Value::Null, key: None };
        let base = match self.client.call(call).await? {
            Ok(answer) => base(&answer),
            Err(refused) => Err(format!("{refused:?}")),
        };
        match base {
            Ok(base) => {
                let outcome = ListOutcome::Done(base.number);
                self.record(ListOperation { began, ended: None, seen: base.lists.clone(), appended: Lists::new(), outcome });
                Some(base)
            }
            Err(problem) => {
                self.client.record.violation(format!("the lists of project {} cannot be read: {problem}", self.project));
                None
            }
        }
    }

    /// Appends to some of the lists. Half of the saves are repeated until they have a final answer. The others are sent once, so that their
    /// outcome may stay unknown.
    async fn append(&mut self, base: Base) {
        let count = self.client.rng.random_range(1..=2);
        let paths = PATHS.into_iter().sample(&mut self.client.rng, count);
        let (mut seen, mut appended) = (Lists::new(), Lists::new());
        for path in paths {
            let elements = (0..self.client.rng.random_range(1..=2)).map(|_| self.client.record.number()).collect();
            seen.insert(path.to_owned(), base.lists.get(path).cloned().unwrap_or_default());
            appended.insert(path.to_owned(), elements);
        }
        let began = self.client.record.number();
        let changes: Vec<_> = seen.iter().map(|(path, list)| change(path, list.iter().chain(&appended[path]))).collect();
        let body = json!({ "projectId": self.project, "baseRevision": base.revision, "changes": changes });
        let key = Some(format!("append-{began}"));
        let call = ApiCall { what: "append", method: Method::POST, path: "/api/projects/save", body, key };
        let answered = if self.client.rng.random() { self.client.call(call).await } else { self.client.try_call(&call).await.ok() };
        let outcome = self.outcome(answered);
        self.record(ListOperation { began, ended: None, seen, appended, outcome });
    }

    fn outcome(&self, answered: Option<Outcome>) -> ListOutcome {
        match answered {
            None => ListOutcome::Unknown,
            Some(Err((StatusCode::CONFLICT, problem))) if problem["reason"] == "STALE_REVISION" => ListOutcome::Refused,
            Some(Err(refused)) => {
                self.client.record.violation(format!("an append in project {} was refused: {refused:?}", self.project));
                ListOutcome::Refused
            }
            Some(Ok(answer)) => number(&answer).map_or(ListOutcome::Unknown, ListOutcome::Done),
        }
    }

    /// Records an operation that has just ended.
    fn record(&mut self, operation: ListOperation) {
        let ended = (operation.outcome != ListOutcome::Unknown).then(|| self.client.record.number());
        self.operations.push(ListOperation { ended, ..operation });
    }
}

fn change<'a>(path: &str, elements: impl Iterator<Item = &'a u64>) -> Value {
    let text: String = elements.map(|element| format!("{element}\n")).collect();
    json!({ "path": path, "write": { "text": text } })
}

fn number(answer: &Value) -> Option<u32> {
    answer["revision"]["number"].as_u64().and_then(|number| u32::try_from(number).ok())
}

/// The revision and the lists of a loaded project. A list without a file is empty.
fn base(answer: &Value) -> Result<Base, String> {
    let parts = || Some((answer["revision"]["id"].as_str()?.to_owned(), number(answer)?, answer["files"].as_array()?));
    let (revision, number, files) = parts().ok_or_else(|| format!("not a project: {answer}"))?;
    let mut lists = Lists::new();
    for path in PATHS {
        let file = files.iter().find(|file| file["path"] == path);
        let text = file.map_or(Some(""), |file| file["content"]["text"].as_str()).ok_or_else(|| format!("{path} has no text"))?;
        let list: Result<Vec<u64>, _> = text.lines().map(str::parse).collect();
        lists.insert(path.to_owned(), list.map_err(|_| format!("{path} is not a list: {text:?}"))?);
    }
    Ok(Base { revision, number, lists })
}
