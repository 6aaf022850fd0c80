//! PgBouncer between a cluster and PostgreSQL. With session pooling everything works. With any other mode the start fails with a message.

use std::{
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chassis::testing::{self, eventually};
use serde_json::json;
use test_support::Cluster;
use tokio::net::TcpStream;

const STARTED_WITHIN: Duration = Duration::from_secs(60);

/// A running PgBouncer. Dropping it ends the process.
struct Bouncer {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Bouncer {
    /// Starts PgBouncer in front of the private server of the tests, with this pool mode.
    async fn start(mode: &str) -> Result<Self> {
        let server = url::Url::parse(&testing::database_url("any").await)?;
        let socket =
            server.query_pairs().find(|(name, _)| name == "host").context("the private server listens on a socket")?.1.into_owned();
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={socket} user={user}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {mode}\nmax_client_conn = 400\ndefault_pool_size = 60\n",
            user = server.username(),
            port = address.port(),
        );
        std::fs::write(&config, text)?;
        #[allow(clippy::disallowed_methods, reason = "the environment of a shell")]
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("pgbouncer");
        command.env("PATH", path).arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            // PgBouncer refuses to run as root.
            command.args(["-u", "postgres"]);
        }
        let process = command.spawn().context("tests need pgbouncer (apt install pgbouncer)")?;
        let bouncer = Self { process, address, _folder: folder };
        eventually(STARTED_WITHIN, || async { TcpStream::connect(address).await.ok() }).await;
        Ok(bouncer)
    }

    fn url(&self) -> String {
        format!("postgres://app@{}/b{}", self.address, uuid::Uuid::new_v4().simple())
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // The process may have exited.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_session_pooling_a_cluster_creates_its_databases_and_runs_turns() -> Result<()> {
    let bouncer = Bouncer::start("session").await?;
    let cluster = Cluster::with(&[("DATABASE_URL", &bouncer.url())]).await?;
    let person = cluster.person().await?;
    let turn = person.turn(json!({ "draftId": "pooled", "prompt": "a to-do list" })).await?;
    assert_eq!(turn.outcome(), "turn.completed");
    let files = person.files(&turn.project).await?;
    assert!(files.contains_key("index.html"), "{:?}", files.keys());
    let second = person.turn(json!({ "projectId": turn.project, "prompt": "make it dark" })).await?;
    assert_eq!(second.outcome(), "turn.completed");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_session_pooling_the_start_fails_with_the_reason() -> Result<()> {
    for mode in ["transaction", "statement"] {
        let bouncer = Bouncer::start(mode).await?;
        let Err(error) = Cluster::with(&[("DATABASE_URL", &bouncer.url())]).await else { panic!("{mode}: the cluster started") };
        let text = format!("{error:#}");
        ensure!(text.contains("pool_mode=session") && text.contains(&bouncer.address.to_string()), "{mode}: {text}");
    }
    Ok(())
}
