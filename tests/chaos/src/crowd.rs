//! Many concurrent clients, some of them on the same project, until they are told to finish what they have begun.

use std::sync::{Arc, atomic::Ordering};

use anyhow::Result;
use chassis::task;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::StatusCode;
use serde_json::json;
use test_support::{
    Person,
    canary::{Stopwatch, within},
};
use tokio::{
    task::JoinHandle,
    time::{Duration, error::Elapsed, sleep},
};

use super::{
    ask::{Ask, Wish},
    client::{Client, Mood},
    editor::{self, Job},
    record::Record,
};
use crate::deployment::Deployment;

/// Turns of a client on one project before it takes another.
const TURNS: u64 = 5;
/// People besides these clients: one works without an agent, one replaces old questions, the others work during turns.
const EDITORS: usize = 7;
/// The time between two rounds of the prober.
const PROBES: Duration = Duration::from_millis(400);
/// The limit for an answer to the prober.
const PATIENCE: Duration = Duration::from_secs(8);

/// How many, and how long each waits for the end of a turn.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub clients: usize,
    pub patience: Duration,
}

/// Clients at work.
pub struct Crowd {
    stop: Arc<std::sync::atomic::AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// Starts the clients, each with its own random numbers.
    #[must_use]
    pub fn start(deployment: &Deployment, people: &Arc<Vec<Person>>, record: &Arc<Record>, size: Size, seed: u64) -> Self {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mut tasks = Vec::new();
        for number in 0..size.clients + EDITORS {
            let client = Client {
                people: Arc::clone(people),
                person: number % people.len(),
                urls: deployment.urls(),
                record: Arc::clone(record),
                rng: StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(number as u64)),
                patience: size.patience,
            };
            let (name, stop) = (format!("{seed}-{number}"), Arc::clone(&stop));
            tasks.push(match number.checked_sub(size.clients) {
                None => task::spawn(live(client, name, stop)),
                Some(0) => task::spawn(editor::work(client, Job::KeepHouse, name, stop)),
                Some(1) => task::spawn(editor::work(client, Job::ThinkAgain, name, stop)),
                Some(_) => task::spawn(editor::work(client, Job::BesideAgents, name, stop)),
            });
        }
        tasks.push(task::spawn(probe(deployment.urls(), people[0].clone(), Arc::clone(record), Arc::clone(&stop))));
        Self { stop, clients: tasks }
    }

    /// Nobody starts anything new. Waits for everything that was started.
    ///
    /// # Errors
    /// A client panicked.
    pub async fn finish(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await?;
        }
        Ok(())
    }
}

async fn live(mut client: Client, name: String, stop: Arc<std::sync::atomic::AtomicBool>) {
    let mut turns = 0;
    while !stop.load(Ordering::Relaxed) {
        let (ask, mood) = wish(&client.record, &mut client.rng);
        let shared = client.rng.random_ratio(1, 6);
        let draft =
            if shared { format!("{}-shared", name.split('-').next().unwrap_or_default()) } else { format!("{name}-{}", turns / TURNS) };
        client.turn(ask, &draft, mood).await;
        turns += 1;
    }
}

fn wish(record: &Record, rng: &mut StdRng) -> (Ask, Mood) {
    let wish = match rng.random_range(0..10) {
        0..4 => Wish::File,
        4 => Wish::Move,
        5..8 => Wish::Shared,
        8 => Wish::Talk,
        _ => Wish::Think,
    };
    let mood = match rng.random_range(0..10) {
        0 => Mood::Cancel(rng.random_range(1..50)),
        1..6 => Mood::Restless,
        _ => Mood::Watch,
    };
    (Ask { number: record.number(), wish }, mood)
}

/// The prober sends requests that must be refused and reads everything, so that every path through the services is used.
async fn probe(urls: Vec<String>, person: Person, record: Arc<Record>, stop: Arc<std::sync::atomic::AtomicBool>) {
    let absent = uuid::Uuid::now_v7();
    let (mut round, mut key) = (0, record.number());
    let mut settled = true;
    // A started turn is requested until it is refused. Otherwise it stays open until the service gives it up.
    while !settled || !stop.load(Ordering::Relaxed) {
        let person = Person { url: urls[round % urls.len()].clone(), ..person.clone() };
        round += 1;
        let body = json!({ "projectId": absent, "prompt": "anything", "model": "openai/test", "ifActive": "IF_ACTIVE_REJECT" });
        let request = person.request(reqwest::Method::POST, "/api/turns").header("idempotency-key", format!("probe-{key}"));
        let asked = request.json(&body).send();
        let (sent, asked) = (Stopwatch::start(), within(PATIENCE, asked).await);
        // The turn got no answer for so long that the service has given it up, which is its answer from now on.
        let given_up = matches!(&asked, Ok(Ok(response)) if response.status() == StatusCode::CREATED);
        let expected = if given_up { StatusCode::CREATED } else { StatusCode::NOT_FOUND };
        settled = tell(&record, "start nowhere", (sent, asked), expected);
        if settled {
            key = record.number();
        }
        let asked = person.request(reqwest::Method::GET, "/api/projects").send();
        tell(&record, "list", (Stopwatch::start(), within(PATIENCE, asked).await), StatusCode::OK);
        sleep(PROBES).await;
    }
}

/// When a request was sent, and what came in time.
type Asked = (Stopwatch, Result<reqwest::Result<reqwest::Response>, Elapsed>);

/// Records an answer and tells whether it was the expected one.
fn tell(record: &Record, what: &str, (sent, asked): Asked, expected: StatusCode) -> bool {
    let status = asked.ok().and_then(Result::ok).map(|response| response.status());
    match status {
        Some(status) if status == expected => record.succeeded(format!("{what}: {}", status.as_u16())),
        Some(status) if status.is_server_error() && status != StatusCode::INTERNAL_SERVER_ERROR => {
            record.failed(format!("{what}: {}", status.as_u16()), sent);
        }
        Some(status) => record.wrong(format!("{what}: {status} in place of {expected}")),
        None => record.failed(format!("{what}: no connection"), sent),
    }
    status == Some(expected)
}
