//! Lists, describes and calls the services with `buf curl`, which uses reflection like grpcurl. The contract must also pass `buf lint`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use test_support::{Cluster, process::Launch};
use tokio::process::Command;

/// The path of buf: `BACKLOT_BUF`, which `make test` sets, or `buf` on the PATH.
fn buf() -> PathBuf {
    #[allow(clippy::disallowed_methods, reason = "the path of a tool, not a setting of a service")]
    let named = std::env::var("BACKLOT_BUF").ok();
    named.map_or_else(|| "buf".into(), PathBuf::from)
}

async fn run(arguments: &[&str]) -> Result<String> {
    let output = Command::new(buf()).args(arguments).output().await.context("buf is missing: `make test` installs it")?;
    ensure!(
        output.status.success(),
        "buf {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn the_contract_passes_buf_lint() -> Result<()> {
    run(&["lint", concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto")]).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_can_be_listed_described_and_called() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    let bearer = format!("authorization: Bearer {}", person.access_token().await?);
    let operator = operator_header(&cluster).await?;
    for (service, rpc, header, field) in [
        ("auth", "backlot.auth.v1.AuthService/GetSession", &bearer, "user"),
        ("agent-streaming", "backlot.agent_streaming.v1.AgentStreamingService/ListAgents", &bearer, "agents"),
        ("project-storage", "backlot.project_storage.v1.ProjectStorageService/ListProjects", &bearer, "projects"),
        ("rate-limit", "backlot.rate_limit.v1.RateLimitService/ListPolicies", &operator, "policies"),
    ] {
        let url = &cluster.grpc[service];
        let plain = ["curl", "--http2-prior-knowledge", "--protocol", "grpc"];
        let listed = run(&[&plain[..], &["--list-services", url]].concat()).await?;
        let name = rpc.split('/').next().unwrap_or_default();
        ensure!(listed.contains(name) && listed.contains("grpc.health.v1.Health"), "{service}: {listed}");
        let methods = run(&[&plain[..], &["--list-methods", url]].concat()).await?;
        ensure!(methods.contains(rpc), "{service}: {methods}");
        let called = run(&[&plain[..], &["-H", header, "-d", "{}", &format!("{url}/{rpc}")]].concat()).await?;
        let answer: Value = serde_json::from_str(&called)?;
        ensure!(!answer[field].is_null(), "{rpc}: {answer}");
        let health = run(&[&plain[..], &["-d", "{}", &format!("{url}/grpc.health.v1.Health/Check")]].concat()).await?;
        ensure!(health.contains("SERVING"), "{service}: {health}");
    }
    cluster.stop().await
}

/// The output of `backlot token --for rate-limit` as a header.
async fn operator_header(cluster: &Cluster) -> Result<String> {
    let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), cluster.data_dir());
    let printed = launch.command(&["token", "--for", "rate-limit"]).output().await?;
    ensure!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    Ok(format!("x-backlot-caller: {}", String::from_utf8(printed.stdout)?.trim()))
}
