//! Another user, who reads projects and saves files at a constant rate, independent of the latency of the answers.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chassis::task;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::Person;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::queries::Queries;
use crate::{environment::Cluster, sample::Samples, seed};

/// The time between two requests.
const PAUSE: Duration = Duration::from_millis(20);
/// One of this many requests is a save.
const SAVE_EVERY: usize = 5;
const FILES: usize = 10;

pub(super) struct OtherUser {
    person: Person,
    project: String,
    metrics: String,
}

/// The latencies of the requests, and all database calls meanwhile.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) gets: Samples,
    pub(super) saves: Samples,
    pub(super) queries: Queries,
}

impl Requests {
    pub(super) fn extend(&mut self, other: Self) {
        self.gets.extend(other.gets);
        self.saves.extend(other.saves);
        self.queries.add(&other.queries);
    }
}

impl OtherUser {
    pub(super) async fn new(cluster: &Cluster) -> Result<Self> {
        let person = cluster.person.clone();
        let changes: Vec<Value> = (0..FILES).map(change).collect();
        let saved = person.post("/api/projects/save", json!({ "draftId": "other-user", "changes": changes })).await?;
        let project = saved["project"]["id"].as_str().context("a project")?.to_owned();
        Ok(Self { person, project, metrics: cluster.metrics.clone() })
    }

    /// Sends requests at a constant rate for `time`.
    pub(super) async fn send_requests(&self, time: Duration) -> Result<Requests> {
        let queries = Queries::read(&self.person.http, &self.metrics).await?;
        let until = Instant::now() + time;
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut requests = Vec::new();
        while Instant::now() < until {
            ticks.tick().await;
            requests.push(task::spawn(send(self.person.clone(), self.project.clone(), requests.len())));
        }
        let mut results = Requests::default();
        for request in requests {
            let (is_save, took) = request.await??;
            if is_save { results.saves.push(took) } else { results.gets.push(took) }
        }
        results.queries = Queries::read(&self.person.http, &self.metrics).await?.since(&queries);
        Ok(results)
    }
}

/// Sends one request. Returns whether it was a save, and its latency.
async fn send(person: Person, project: String, number: usize) -> Result<(bool, Duration)> {
    let start = Instant::now();
    let is_save = number.is_multiple_of(SAVE_EVERY);
    if is_save {
        person.post("/api/projects/save", json!({ "projectId": project, "changes": [change(number % FILES)] })).await?;
    } else {
        let path = match number % SAVE_EVERY {
            1 => "/api/projects?pageSize=20".to_owned(),
            2 => format!("/api/projects/load?projectId={project}"),
            3 => format!("/api/projects/{project}/messages"),
            _ => format!("/api/projects/{project}/revisions"),
        };
        let answer = person.request(Method::GET, &path).send().await?;
        let (status, body) = (answer.status(), answer.bytes().await?);
        anyhow::ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
    }
    Ok((is_save, start.elapsed()))
}

fn change(number: usize) -> Value {
    json!({ "path": format!("src/file-{number}.tsx"), "write": { "text": seed::source() } })
}
