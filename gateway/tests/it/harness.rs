use std::{net::SocketAddr, time::Duration};

use chassis::{
    config::Env,
    task,
    testing::{eventually, listener},
};
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_util::sync::CancellationToken;

/// Nothing listens at this address.
const UNREACHABLE: &str = "http://127.0.0.1:1";
/// A test fails if it has to wait for longer.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Gateway {
    pub(crate) main: SocketAddr,
    pub(crate) preview: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) done: tokio::task::JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts a gateway with these settings. All other settings have their defaults, but the services cannot be reached.
pub(crate) async fn start(settings: &[(&str, &str)]) -> Gateway {
    chassis::install_crypto();
    let services =
        ["BACKLOT_AUTH_URL", "BACKLOT_AGENT_STREAMING_URL", "BACKLOT_PROJECT_STORAGE_URL", "BACKLOT_RATE_LIMIT_URL", "BACKLOT_COMPILE_URL"]
            .map(|name| (name, UNREACHABLE));
    let secret = ("BACKLOT_CLUSTER_SECRET", "a cluster secret that only tests have");
    let mut env = Env::of(services.into_iter().chain([secret]).chain(settings.iter().copied()));
    let config = gateway::Config::read(&mut env);
    env.check().expect("valid settings");
    let listeners = gateway::Listeners { main: listener().await, preview: listener().await, metrics: Some(listener().await) };
    let (main, preview) = (listeners.main.local_addr().unwrap(), listeners.preview.local_addr().unwrap());
    let metrics = listeners.metrics.as_ref().unwrap().local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = gateway::serve(config, listeners, stop.clone());
    let done = task::spawn(async move { serving.await.expect("served") });
    Gateway { main, preview, metrics, stop, done }
}

impl Gateway {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.main)
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.main).await.expect("connected")
    }
}

/// Reads until the peer closes the connection.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(WAIT_LIMIT, stream.read_to_end(&mut bytes)).await.expect("closed in time");
    // A reset also closes the connection.
    let _ = read;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Lets time pass. Only for a test that asserts what does or does not happen within that time; to wait for something, use [`until`]. The
/// clock of tokio cannot be paused instead, because it advances by itself while the runtime waits for a socket.
pub(crate) async fn let_time_pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn until(probe: impl Fn() -> bool) -> impl Future<Output = ()> {
    eventually(WAIT_LIMIT, move || {
        let holds = probe();
        async move { holds.then_some(()) }
    })
}
