//! The attacked cluster, and the scale of an attack.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use test_support::Person;

/// The prompt of turns.
pub(crate) const PROMPT: &str = "a to-do list";

/// The attacked cluster.
#[derive(Clone)]
pub struct Target {
    /// The base URL of the gateway.
    pub url: String,
    pub main: SocketAddr,
    pub preview: SocketAddr,
    /// gRPC addresses by service name.
    pub grpc: BTreeMap<&'static str, SocketAddr>,
    /// The id of the measured process.
    pub process: u32,
    /// The log of the process.
    pub log: PathBuf,
    /// The attacker's free account.
    pub attacker: Person,
    /// A project of the attacker with several megabytes.
    pub project: String,
    /// A turn of the attacker that has ended.
    pub turn: String,
}

/// The scale of an attack.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// A factor for the numbers of requests and connections.
    pub times: usize,
    /// How long the bystander is measured before the attack.
    pub idle: Duration,
    /// The least duration. An attack that ends earlier is repeated.
    pub lasts: Duration,
    /// Whether the attack runs with the lowest priority, because a real attacker would use another machine. Set this to compare latencies. On a
    /// busy machine the attack then gets little time.
    pub low_priority: bool,
}

/// The scale for `make test`.
pub const SHORT: Scale = Scale { times: 1, idle: Duration::from_secs(1), lasts: Duration::from_secs(2), low_priority: false };
/// The scale for `make chaos ATTACK=1`.
pub const LONG: Scale = Scale { times: 4, idle: Duration::from_secs(2), lasts: Duration::from_secs(10), low_priority: false };

impl Target {
    /// # Errors
    /// If the addresses cannot be read, or the attacker cannot sign up.
    pub async fn of(url: &str, process: u32, data: &Path) -> Result<Self> {
        let list: Value = serde_json::from_slice(&std::fs::read(data.join("endpoints.json"))?)?;
        let address = |text: &Value| -> Result<SocketAddr> {
            let url: url::Url = text.as_str().context("no address")?.parse()?;
            url.socket_addrs(|| None)?.into_iter().find(SocketAddr::is_ipv4).context("no address")
        };
        let names =
            [("auth", "auth"), ("agent-streaming", "agentStreaming"), ("project-storage", "projectStorage"), ("rate-limit", "rateLimit")];
        let grpc = names.into_iter().map(|(name, key)| Ok((name, address(&list["grpc"][key])?))).collect::<Result<_>>()?;
        let attacker = Person::sign_up(url).await?;
        let project = large_project(&attacker).await?;
        let turn = attacker.turn(json!({ "draftId": "attacked", "prompt": PROMPT })).await?.turn;
        Ok(Self {
            url: url.to_owned(),
            main: address(&list["url"])?,
            preview: address(&list["previewUrl"])?,
            grpc,
            process,
            log: data.with_extension("log"),
            attacker,
            project,
            turn,
        })
    }
}

/// Creates a project of eight megabytes, the limit of a free account.
async fn large_project(person: &Person) -> Result<String> {
    let created = person.post("/api/projects", json!({ "displayName": "large" })).await?;
    let project = created["id"].as_str().context("no project")?.to_owned();
    let text = "line of some text\n".repeat(2_800);
    let changes: Vec<_> = (0..160).map(|at| json!({ "path": format!("f{at}.txt"), "write": { "text": text } })).collect();
    person.post("/api/projects/save", json!({ "projectId": project, "changes": changes })).await?;
    Ok(project)
}
