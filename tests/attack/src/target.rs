//! The cluster that is attacked, and how hard.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use test_support::Person;

/// What turns are asked for.
pub(crate) const PROMPT: &str = "a to-do list";

/// The cluster that is attacked.
#[derive(Clone)]
pub struct Target {
    /// Of the gateway.
    pub url: String,
    pub main: SocketAddr,
    pub preview: SocketAddr,
    /// gRPC addresses by service name.
    pub grpc: BTreeMap<&'static str, SocketAddr>,
    /// The process that is measured.
    pub process: u32,
    /// Its log.
    pub log: PathBuf,
    /// A free account of the attacker's.
    pub attacker: Person,
    /// A project of the attacker's with some megabytes.
    pub project: String,
    /// A turn of the attacker's that has ended.
    pub turn: String,
}

/// How hard an attack is.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The factor on the numbers of the original reports.
    pub times: usize,
    /// How long the bystander is watched before the attack.
    pub idle: Duration,
    /// The least duration of an attack. An attack that ends earlier is repeated.
    pub lasts: Duration,
    /// Whether the attack runs with the lowest priority, because a real stranger would use another machine. Set this where times are
    /// compared. On a machine that is busy with something else the attack then does not run.
    pub gives_way: bool,
}

/// The form for every build.
pub const SHORT: Scale = Scale { times: 1, idle: Duration::from_secs(1), lasts: Duration::from_secs(2), gives_way: false };
/// The form of `make chaos ATTACK=1`.
pub const LONG: Scale = Scale { times: 4, idle: Duration::from_secs(2), lasts: Duration::from_secs(10), gives_way: false };

impl Target {
    /// # Errors
    /// If the cluster does not say where it is, or the attacker cannot sign up.
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

/// A project of eight megabytes, as a free account may have.
async fn large_project(person: &Person) -> Result<String> {
    let created = person.post("/api/projects", json!({ "displayName": "large" })).await?;
    let project = created["id"].as_str().context("no project")?.to_owned();
    let text = "line of some text\n".repeat(2_800);
    let changes: Vec<_> = (0..160).map(|at| json!({ "path": format!("f{at}.txt"), "write": { "text": text } })).collect();
    person.post("/api/projects/save", json!({ "projectId": project, "changes": changes })).await?;
    Ok(project)
}
