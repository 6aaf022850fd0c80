//! Another user, who looks at projects and saves files at a steady pace, however long the answers take.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chassis::task;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::Person;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::queries::Queries;
use crate::{ground::Cluster, sample::Samples, seed};

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(20);
/// Every so many requests one saves a file.
const SAVE_EVERY: usize = 5;
const FILES: usize = 10;

pub(super) struct Visitor {
    person: Person,
    project: String,
    metrics: String,
}

/// How long answers took, and what the database was asked meanwhile by whomever.
#[derive(Debug, Default)]
pub(super) struct Visits {
    pub(super) gets: Samples,
    pub(super) saves: Samples,
    pub(super) queries: Queries,
}

impl Visits {
    pub(super) fn extend(&mut self, other: Self) {
        self.gets.extend(other.gets);
        self.saves.extend(other.saves);
        self.queries.add(&other.queries);
    }
}

impl Visitor {
    pub(super) async fn arrive(cluster: &Cluster) -> Result<Self> {
        let person = cluster.person.clone();
        let changes: Vec<Value> = (0..FILES).map(change).collect();
        let saved = person.post("/api/projects/save", json!({ "draftId": "visited", "changes": changes })).await?;
        let project = saved["project"]["id"].as_str().context("a project")?.to_owned();
        Ok(Self { person, project, metrics: cluster.metrics.clone() })
    }

    /// Requests at a steady pace for a while.
    pub(super) async fn visit(&self, time: Duration) -> Result<Visits> {
        let queries = Queries::read(&self.person.http, &self.metrics).await?;
        let until = Instant::now() + time;
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut requests = Vec::new();
        while Instant::now() < until {
            ticks.tick().await;
            requests.push(task::spawn(ask(self.person.clone(), self.project.clone(), requests.len())));
        }
        let mut visits = Visits::default();
        for request in requests {
            let (is_save, took) = request.await??;
            if is_save { visits.saves.push(took) } else { visits.gets.push(took) }
        }
        visits.queries = Queries::read(&self.person.http, &self.metrics).await?.since(&queries);
        Ok(visits)
    }
}

/// One request of the visitor: whether it saved, and how long it took.
async fn ask(person: Person, project: String, number: usize) -> Result<(bool, Duration)> {
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
