//! The roles in separate processes, as in containers, with PostgreSQL, Redis and a secret.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use chassis::testing;
use serde_json::json;
use test_support::{Person, canary::within, process::Launch};
use tokio::process::{Child, Command};

pub(crate) const ROLES: [&str; 5] = ["auth", "agent-streaming", "project-storage", "rate-limit", "compile"];
const STARTED_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

pub(crate) async fn free_address() -> Result<SocketAddr> {
    Ok(testing::listener().await.local_addr()?)
}

const SECRET: &str = "a secret of at least thirty-two letters";

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_completes_with_separate_processes_and_they_exit_cleanly() -> Result<()> {
    run_cluster("roles", &[], false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_completes_if_all_roles_have_their_own_keys() -> Result<()> {
    run_cluster("bundles", &["gateway", "auth", "agent-streaming", "project-storage", "rate-limit", "compile"], false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_completes_if_every_role_needs_a_certificate() -> Result<()> {
    run_cluster("certificates", &[], true).await
}

/// As during a migration to role keys: both kinds of roles call each other.
#[tokio::test(flavor = "multi_thread")]
async fn roles_with_their_own_keys_and_roles_with_the_secret_work_together() -> Result<()> {
    run_cluster("mixed", &["gateway", "project-storage"], false).await
}

/// The output of `backlot keys` for a role.
async fn keys_of(role: &str) -> Result<String> {
    let mut keys = Command::new(env!("CARGO_BIN_EXE_backlot-under-test"));
    let output = keys.args(["keys", role]).env("BACKLOT_CLUSTER_SECRET", SECRET).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The same settings, with a certificate for each role.
async fn with_certificates(launch: Launch) -> Result<Launch> {
    let made = launch.command(&["certs", "make"]).output().await?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(launch.set("BACKLOT_TLS", "require"))
}

/// Runs a cluster in which these roles have their own keys and the others have the secret, with or without TLS between them.
async fn run_cluster(name: &str, with_keys: &[&str], with_tls: bool) -> Result<()> {
    let data = tempfile::tempdir()?;
    let redis = testing::redis().await;
    let base = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("data"))
        .set("DATABASE_URL", &testing::database_url(name).await)
        .set("REDIS_URL", &redis.url)
        .set("BACKLOT_DEMO_PACE", "1ms");
    let base = if with_tls { with_certificates(base).await? } else { base };
    let mut addresses = Vec::new();
    for _ in ROLES {
        addresses.push(free_address().await?);
    }
    let launch = ROLES.iter().zip(&addresses).fold(base, |launch, (role, address)| {
        launch.set(&format!("BACKLOT_{}_URL", role.to_uppercase().replace('-', "_")), &format!("http://{address}"))
    });
    let (listen, preview) = (free_address().await?, free_address().await?);
    let mut children = Vec::new();
    let mut keys = HashMap::new();
    for role in ROLES.into_iter().chain(["gateway"]) {
        let has_keys = with_keys.contains(&role);
        let setting = if has_keys { ("BACKLOT_ROLE_KEYS", keys_of(role).await?) } else { ("BACKLOT_CLUSTER_SECRET", SECRET.to_owned()) };
        keys.insert(role, setting);
    }
    for (role, address) in ROLES.iter().zip(&addresses) {
        children.push(start(&launch, role, &[("BACKLOT_GRPC_LISTEN", address.to_string()), keys[role].clone()])?);
    }
    let listens = [
        ("BACKLOT_LISTEN", listen.to_string()),
        ("BACKLOT_PREVIEW_LISTEN", preview.to_string()),
        ("BACKLOT_METRICS_LISTEN", "none".to_owned()),
        keys["gateway"].clone(),
    ];
    children.push(start(&launch, "gateway", &listens)?);

    let url = format!("http://{listen}");
    ready(&url).await?;
    let person = Person::sign_up(&url).await?;
    let done = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    ensure!(done.outcome() == "turn.completed", "{:?}", done.frames.last());
    ensure!(person.files(&done.project).await?.contains_key("index.html"));
    administer(&launch, &person).await?;
    for (role, address) in ROLES.iter().zip(&addresses) {
        let probe = launch.clone().set("BACKLOT_GRPC_LISTEN", &address.to_string()).command(&["health", role]).output().await?;
        ensure!(probe.status.success(), "{}", String::from_utf8_lossy(&probe.stderr));
    }
    for child in children.into_iter().rev() {
        terminate(child).await?;
    }
    Ok(())
}

/// An operator with the cluster secret and the address of auth sees the account.
async fn administer(launch: &Launch, person: &Person) -> Result<()> {
    let command = async |arguments: &[&str]| {
        let admin = launch.clone().set("BACKLOT_CLUSTER_SECRET", SECRET).command(&[&["admin"][..], arguments].concat()).output().await?;
        ensure!(admin.status.success(), "{}", String::from_utf8_lossy(&admin.stderr));
        Ok(String::from_utf8(admin.stdout)?)
    };
    let shown = command(&["users", "show", &person.email]).await?;
    ensure!(shown.contains(&person.user_id), "{shown}");
    let ended = command(&["sessions", "end", &person.email, "--operator", "grace"]).await?;
    ensure!(ended == "sessions ended: 1\n", "{ended}");
    let log = command(&["audit", "export"]).await?;
    ensure!(log.contains("session.revoked") && log.contains("grace"), "{log}");
    Ok(())
}

pub(crate) fn start(launch: &Launch, role: &str, settings: &[(&str, String)]) -> Result<(String, Child)> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(launch.log())?;
    let launch = settings.iter().fold(launch.clone(), |launch, (name, value)| launch.set(name, value));
    Ok((role.to_owned(), launch.command(&[role]).stderr(log).spawn().with_context(|| format!("{role} does not start"))?))
}

/// Waits until the cluster is ready.
pub(crate) async fn ready(url: &str) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    testing::eventually(STARTED_WITHIN, || async {
        let answer = http.get(format!("{url}/readyz")).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    Ok(())
}

pub(crate) async fn terminate((role, mut child): (String, Child)) -> Result<()> {
    let id = child.id().with_context(|| format!("{role} has exited"))?;
    Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
    let status = within(STOPPED_WITHIN, child.wait()).await.with_context(|| format!("{role} did not exit in time"))??;
    ensure!(status.success(), "{role} exited with {status}");
    Ok(())
}
