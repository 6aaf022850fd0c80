//! Many concurrent clients, some of them on the same project. They run turns until they are stopped, and then finish their last turn.

use std::sync::{Arc, atomic::Ordering};

use anyhow::Result;
use chassis::task;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::StatusCode;
use serde_json::json;
use test_support::{
    Person,
    canary::{Stopwatch, within},
    identity_provider::IdentityProvider,
    upstream::Upstream,
};
use tokio::{
    task::JoinHandle,
    time::{Duration, error::Elapsed, sleep},
};

use super::{
    appender,
    client::{Behavior, Client},
    editor::{self, Addresses, Job},
    moderator,
    operator::{self, Operator},
    prompt::{Prompt, Task},
    record::Record,
};
use crate::deployment::Deployment;

/// The number of turns of a client on one project before it uses the next one.
const TURNS_PER_PROJECT: u64 = 5;
/// The number of editors besides these clients: three work without an agent, one replaces old prompts, one appends to lists, one changes
/// messages, two use contents again, one opens compiled pages, one stores keys of providers, two delete accounts, one uses credentials, one
/// links in mails, one a second factor, one devices and service accounts, one passkeys, one a provider of sign-ins, and the
/// others save during turns.
const EDITORS: usize = 23;
/// The time between two rounds of probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(400);
/// The limit for an answer to a probe.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

/// The number of clients, the limit for the end of a turn, the base URL of the model server for the provider `openai`, the registry of the
/// packages, and the provider of sign-ins.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    pub clients: usize,
    pub turn_limit: Duration,
    pub model: String,
    pub registry: Arc<Upstream>,
    pub provider: Arc<IdentityProvider>,
}

/// Running clients.
pub struct Load {
    stop: Arc<std::sync::atomic::AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the clients, each with its own random numbers.
    #[must_use]
    pub fn start(deployment: &Deployment, people: &Arc<Vec<Person>>, record: &Arc<Record>, size: LoadOptions, seed: u64) -> Self {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (database, outbox) = (deployment.engines.url(&deployment.database), deployment.outbox());
        let addresses = Arc::new(Addresses { model: size.model, database, outbox, site: deployment.site.clone(), provider: size.provider });
        let operator = Operator::connect(deployment);
        let mut tasks = Vec::new();
        for number in 0..size.clients + EDITORS {
            let client = Client {
                people: Arc::clone(people),
                person: number % people.len(),
                urls: deployment.urls(),
                record: Arc::clone(record),
                operator: operator.clone(),
                rng: StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(number as u64)),
                turn_limit: size.turn_limit,
            };
            let (name, stop) = (format!("{seed}-{number}"), Arc::clone(&stop));
            tasks.push(match number.checked_sub(size.clients) {
                None => task::spawn(run_turns(client, name, stop)),
                Some(0) => task::spawn(editor::work(client, Job::WithoutAgent, name, stop)),
                Some(1) => task::spawn(editor::work(client, Job::ReplacePrompts, name, stop)),
                Some(2) => task::spawn(appender::work(client, name, stop)),
                Some(3) => task::spawn(editor::work(client, Job::ChangeMessages, name, stop)),
                Some(4 | 5) => task::spawn(editor::work(client, Job::ReuseContents, name, stop)),
                Some(6 | 7) => task::spawn(editor::work(client, Job::WithoutAgent, name, stop)),
                Some(8) => task::spawn(editor::work(client, Job::OpenCompiled(Arc::clone(&size.registry)), name, stop)),
                Some(9) => task::spawn(editor::work(client, Job::UseOwnKeys(Arc::clone(&addresses)), name, stop)),
                Some(10) => task::spawn(editor::work(client, Job::DeleteAccount(Arc::clone(&addresses)), name, stop)),
                Some(11) => task::spawn(editor::work(client, Job::DeleteGuests(Arc::clone(&addresses)), name, stop)),
                Some(12) => task::spawn(editor::work(client, Job::UseCredentials, name, stop)),
                Some(13) => task::spawn(editor::work(client, Job::UseLinks(Arc::clone(&addresses)), name, stop)),
                Some(14) => task::spawn(editor::work(client, Job::UseSecondFactor(Arc::clone(&addresses)), name, stop)),
                Some(15) => task::spawn(editor::work(client, Job::UsePrograms, name, stop)),
                Some(16) => task::spawn(editor::work(client, Job::UsePasskeys(Arc::clone(&addresses)), name, stop)),
                Some(17) => task::spawn(editor::work(client, Job::UseProvider(Arc::clone(&addresses)), name, stop)),
                Some(_) => task::spawn(editor::work(client, Job::SaveDuringTurns, name, stop)),
            });
        }
        tasks.push(task::spawn(moderator::work(moderator::connect(deployment), Arc::clone(record), Arc::clone(&stop))));
        tasks.push(task::spawn(operator::work(operator, Arc::clone(record), Arc::clone(&stop))));
        tasks.push(task::spawn(probe(deployment.urls(), people[0].clone(), Arc::clone(record), Arc::clone(&stop))));
        Self { stop, clients: tasks }
    }

    /// Stops the start of new turns and waits for the clients.
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

async fn run_turns(mut client: Client, name: String, stop: Arc<std::sync::atomic::AtomicBool>) {
    let mut turns = 0;
    while !stop.load(Ordering::Relaxed) {
        let (prompt, behavior) = choose(&client.record, &mut client.rng);
        let shared = client.rng.random_ratio(1, 6);
        let draft = if shared {
            format!("{}-shared", name.split('-').next().unwrap_or_default())
        } else {
            format!("{name}-{}", turns / TURNS_PER_PROJECT)
        };
        client.turn(prompt, &draft, behavior).await;
        turns += 1;
    }
}

fn choose(record: &Record, rng: &mut StdRng) -> (Prompt, Behavior) {
    let task = match rng.random_range(0..10) {
        0..4 => Task::Write,
        4 => Task::Move,
        5..8 => Task::Shared,
        8 if rng.random() => Task::Answer,
        8 => Task::Ask,
        _ => Task::SlowAnswer,
    };
    let behavior = match rng.random_range(0..10) {
        0 => Behavior::Cancel(rng.random_range(1..50)),
        1..6 => Behavior::Reconnect,
        _ => Behavior::Watch,
    };
    (Prompt { number: record.number(), task }, behavior)
}

/// Repeats a request that must be refused and a list request, so that these paths through the services are used.
async fn probe(urls: Vec<String>, person: Person, record: Arc<Record>, stop: Arc<std::sync::atomic::AtomicBool>) {
    let absent = uuid::Uuid::now_v7();
    let (mut round, mut key) = (0, record.number());
    let mut settled = true;
    // The start is repeated until it is refused. Otherwise the turn stays open until the service withdraws it.
    while !settled || !stop.load(Ordering::Relaxed) {
        let person = Person { url: urls[round % urls.len()].clone(), ..person.clone() };
        round += 1;
        let body = json!({ "projectId": absent, "prompt": "anything", "model": "openai/test", "ifActive": "IF_ACTIVE_REJECT" });
        let request = person.request(reqwest::Method::POST, "/api/turns").header("idempotency-key", format!("probe-{key}"));
        let response = request.json(&body).send();
        let (sent, response) = (Stopwatch::start(), within(ANSWERED_WITHIN, response).await);
        // The start had no answer for so long that the service withdrew the turn. Repeated starts return this turn.
        let withdrawn = matches!(&response, Ok(Ok(answer)) if answer.status() == StatusCode::CREATED);
        let expected = if withdrawn { StatusCode::CREATED } else { StatusCode::NOT_FOUND };
        settled = check_answer(&record, "start in a missing project", (sent, response), expected);
        if settled {
            key = record.number();
        }
        let response = person.request(reqwest::Method::GET, "/api/projects").send();
        check_answer(&record, "list", (Stopwatch::start(), within(ANSWERED_WITHIN, response).await), StatusCode::OK);
        sleep(PROBE_INTERVAL).await;
    }
}

/// When a request was sent, and its answer if there was one in time.
type TimedAnswer = (Stopwatch, Result<reqwest::Result<reqwest::Response>, Elapsed>);

/// Records an answer. Returns whether it was the expected one.
fn check_answer(record: &Record, what: &str, (sent, response): TimedAnswer, expected: StatusCode) -> bool {
    let status = response.ok().and_then(Result::ok).map(|response| response.status());
    match status {
        Some(status) if status == expected => record.succeeded(format!("{what}: {}", status.as_u16())),
        Some(status) if status.is_server_error() && status != StatusCode::INTERNAL_SERVER_ERROR => {
            record.failed(format!("{what}: {}", status.as_u16()), sent);
        }
        Some(status) => record.violation(format!("{what}: {status} instead of {expected}")),
        None => record.failed(format!("{what}: no connection"), sent),
    }
    status == Some(expected)
}
