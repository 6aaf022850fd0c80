//! A well-behaved user who calls the cluster continuously, from another address than the attacker.

use std::{
    collections::BTreeMap,
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use proto::auth::{GetKeySetRequest, auth_service_client::AuthServiceClient};
use reqwest::Method;
use serde_json::json;
use test_support::{Person, canary::Stopwatch};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::target::{PROMPT, Target};

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(1);
/// The limit for a successful readiness probe. As in usual configurations, a single failure does not count.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// The time between two rounds of calls, so that the bystander stays below the shipped limits.
const PAUSE: Duration = Duration::from_millis(200);
/// The limit for a call. It checks liveness, not speed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

pub struct Bystander {
    person: Person,
    project: String,
    preview: String,
    /// A turn that has ended.
    turn: String,
    /// A direct gRPC channel to auth.
    auth: Channel,
}

/// The durations and failures of the calls.
#[derive(Debug, Default)]
pub struct Record {
    /// The durations of the calls by name.
    pub times: BTreeMap<&'static str, Vec<Duration>>,
    pub failures: Vec<String>,
}

impl Record {
    #[must_use]
    pub fn calls(&self) -> usize {
        self.times.values().map(Vec::len).sum()
    }

    /// The percentile of the durations of all calls. `share` is between 0 and 1.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Duration {
        let mut times: Vec<_> = self.times.values().flatten().copied().collect();
        times.sort_unstable();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
        let at = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(at).copied().unwrap_or_default()
    }

    fn note(&mut self, name: &'static str, started: Instant, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.times.entry(name).or_default().push(started.elapsed()),
            Err(e) => self.failures.push(format!("{name}: {e:#}")),
        }
    }
}

impl Bystander {
    /// # Errors
    /// If the cluster refuses the setup.
    pub async fn new(target: &Target) -> Result<Self> {
        let mut person = Person::sign_up(&target.url).await?;
        // Do not reuse a connection that the gateway may close because it is idle.
        person.http = reqwest::Client::builder().no_proxy().pool_idle_timeout(IDLE).build()?;
        let created = person.post("/api/projects", json!({ "displayName": "mine" })).await?;
        let project = created["id"].as_str().context("no project")?.to_owned();
        let page = json!([{ "path": "index.html", "write": { "text": "<h1>mine</h1>" } }]);
        person.post("/api/projects/save", json!({ "projectId": project, "changes": page })).await?;
        let shown = person.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
        let preview = shown["url"].as_str().context("no preview")?.to_owned();
        let turn = person.turn(json!({ "projectId": project, "prompt": PROMPT })).await?.turn;
        let auth = target.grpc.get("auth").context("no auth")?;
        let auth = Channel::from_shared(format!("http://{auth}"))?.connect_lazy();
        Ok(Self { person, project, preview, turn, auth })
    }

    /// Calls the cluster until the future completes.
    pub async fn watch<F: Future>(&self, during: F) -> (Record, F::Output) {
        let mut record = Record::default();
        let mut during = std::pin::pin!(during);
        let mut round = 0_usize;
        loop {
            self.round(round, &mut record).await;
            round += 1;
            tokio::select! {
                output = during.as_mut() => return (record, output),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn round(&self, round: usize, record: &mut Record) {
        let started = Instant::now();
        record.note("list projects", started, limited(self.ok(Method::GET, "/api/projects")).await);
        let started = Instant::now();
        record.note("healthz", started, limited(self.ok(Method::GET, "/healthz")).await);
        let started = Instant::now();
        record.note("readyz", started, limited(self.ready()).await);
        let started = Instant::now();
        record.note("save", started, limited(self.save(round)).await);
        let started = Instant::now();
        record.note("preview", started, limited(self.preview()).await);
        let started = Instant::now();
        record.note("list agents", started, limited(self.ok(Method::GET, "/api/agents")).await);
        let started = Instant::now();
        record.note("turn", started, limited(self.ok(Method::GET, &format!("/api/turns/{}", self.turn))).await);
        let started = Instant::now();
        record.note("follow", started, limited(self.follow()).await);
        let started = Instant::now();
        record.note("keys over gRPC", started, limited(self.keys()).await);
        let started = Instant::now();
        record.note("health over gRPC", started, limited(self.health()).await);
    }

    async fn ok(&self, method: Method, path: &str) -> Result<()> {
        let response = self.person.request(method, path).send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{status} {text}");
        Ok(())
    }

    async fn ready(&self) -> Result<()> {
        let clock = Stopwatch::start();
        loop {
            let probed = self.ok(Method::GET, "/readyz").await;
            if probed.is_ok() || clock.elapsed() > READY_WITHIN {
                return probed;
            }
            tokio::time::sleep(IDLE).await;
        }
    }

    async fn save(&self, round: usize) -> Result<()> {
        // Large enough to count against the budget for bodies in transit.
        let text = format!("{round:>8}\n").repeat(4_500);
        let changes = json!([{ "path": "round.txt", "write": { "text": text } }]);
        self.person.post("/api/projects/save", json!({ "projectId": self.project, "changes": changes })).await.map(drop)
    }

    async fn preview(&self) -> Result<()> {
        let mut url: url::Url = self.preview.parse()?;
        // The host is below localhost, which not every resolver knows.
        let host = format!("{}:{}", url.host_str().context("no host")?, url.port().context("no port")?);
        url.set_host(Some("127.0.0.1"))?;
        let response = self.person.http.get(url).header("host", host).send().await?;
        let status = response.status();
        ensure!(status.is_success() && response.text().await?.contains("mine"), "{status}");
        Ok(())
    }

    async fn follow(&self) -> Result<()> {
        let frames = self.person.follow(&self.turn, 0).await?.rest().await?;
        ensure!(frames.last().is_some_and(|frame| frame.kind() == "turn.completed"), "no end");
        Ok(())
    }

    async fn keys(&self) -> Result<()> {
        AuthServiceClient::new(self.auth.clone()).get_key_set(GetKeySetRequest {}).await?;
        Ok(())
    }

    async fn health(&self) -> Result<()> {
        HealthClient::new(self.auth.clone()).check(HealthCheckRequest::default()).await?;
        Ok(())
    }
}

async fn limited(call: impl Future<Output = Result<()>>) -> Result<()> {
    test_support::canary::within(ANSWERED_WITHIN, call).await.context("no answer")?
}
