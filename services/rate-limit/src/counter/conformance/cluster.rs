//! A Redis Cluster of one node: it has every slot, and still refuses a script whose keys lie in several.

use std::{net::TcpListener, process::Stdio};

use chassis::testing::eventually;
use fred::{clients::Pool, interfaces::ClientLike, types::CustomCommand};
use tokio::process::{Child, Command};

use super::{PATIENCE, connect};

/// Ends the server when its input does, and that ends with this process, however it ends.
const KEEPER: &str = r#"redis-server "$@" >/dev/null 2>&1 & server=$!; read -r _; kill -9 "$server""#;

/// Ends with its input, which closes when this is dropped.
pub(super) struct Cluster {
    _keeper: Child,
    _folder: tempfile::TempDir,
}

impl Cluster {
    pub(super) async fn start() -> (Self, Pool) {
        let folder = tempfile::tempdir().expect("folder");
        let port = || TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port().to_string();
        let (port, bus) = (port(), port());
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh", "--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes"]);
        keeper.args(["--cluster-announce-ip", "127.0.0.1", "--port", &port, "--cluster-port", &bus]);
        let keeper = keeper.current_dir(folder.path()).stdin(Stdio::piped()).spawn().expect("sh");

        let node = format!("redis://127.0.0.1:{port}");
        let node = eventually(PATIENCE, || connect(&node)).await;
        let cluster = || CustomCommand::new_static("CLUSTER", None, false);
        node.custom::<(), _>(cluster(), vec!["ADDSLOTSRANGE", "0", "16383"]).await.expect("all slots");
        eventually(PATIENCE, || async {
            let info: String = node.custom(cluster(), vec!["INFO"]).await.ok()?;
            info.contains("cluster_state:ok").then_some(())
        })
        .await;
        let pool = connect(&format!("redis-cluster://127.0.0.1:{port}")).await.expect("reachable");
        assert!(pool.is_clustered());
        (Self { _keeper: keeper, _folder: folder }, pool)
    }
}
