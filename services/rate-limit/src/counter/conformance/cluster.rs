//! A Redis Cluster of one node. It has every slot, but refuses a script whose keys are in several slots.

use std::{net::TcpListener, process::Stdio};

use chassis::testing::eventually;
use fred::{clients::Pool, interfaces::ClientLike, types::CustomCommand};
use tokio::process::{Child, Command};

use super::{REDIS_TIMEOUT, connect};

/// Kills the server when its standard input is closed, which happens at the latest when this process ends.
const SUPERVISOR: &str = r#"redis-server "$@" >/dev/null 2>&1 & server=$!; read -r _; kill -9 "$server""#;

/// The server stops when this is dropped, because that closes the input of the supervisor.
pub(super) struct Cluster {
    _supervisor: Child,
    _folder: tempfile::TempDir,
}

impl Cluster {
    pub(super) async fn start() -> (Self, Pool) {
        let folder = tempfile::tempdir().expect("folder");
        let port = || TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port().to_string();
        let (port, bus) = (port(), port());
        let mut supervisor = Command::new("sh");
        supervisor.args(["-c", SUPERVISOR, "sh", "--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes"]);
        supervisor.args(["--cluster-announce-ip", "127.0.0.1", "--port", &port, "--cluster-port", &bus]);
        let supervisor = supervisor.current_dir(folder.path()).stdin(Stdio::piped()).spawn().expect("sh");

        let node = format!("redis://127.0.0.1:{port}");
        let node = eventually(REDIS_TIMEOUT, || connect(&node)).await;
        let cluster = || CustomCommand::new_static("CLUSTER", None, false);
        node.custom::<(), _>(cluster(), vec!["ADDSLOTSRANGE", "0", "16383"]).await.expect("all slots");
        eventually(REDIS_TIMEOUT, || async {
            let info: String = node.custom(cluster(), vec!["INFO"]).await.ok()?;
            info.contains("cluster_state:ok").then_some(())
        })
        .await;
        let pool = connect(&format!("redis-cluster://127.0.0.1:{port}")).await.expect("reachable");
        assert!(pool.is_clustered());
        (Self { _supervisor: supervisor, _folder: folder }, pool)
    }
}
