use std::{net::SocketAddr, time::Duration};

use chassis::{
    config::Env,
    task,
    testing::{eventually, listener},
};
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_util::sync::CancellationToken;

/// Nothing listens at this address.
const NOWHERE: &str = "http://127.0.0.1:1";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

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

/// Starts a gateway; what the settings do not name is as in production, but the other services are away.
pub(crate) async fn start(settings: &[(&str, &str)]) -> Gateway {
    chassis::install_crypto();
    let services = ["BACKLOT_AUTH_URL", "BACKLOT_AGENT_STREAMING_URL", "BACKLOT_PROJECT_STORAGE_URL", "BACKLOT_RATE_LIMIT_URL"]
        .map(|name| (name, NOWHERE));
    let secret = ("BACKLOT_CLUSTER_SECRET", "a cluster secret that only tests have");
    let mut env = Env::of(services.into_iter().chain([secret]).chain(settings.iter().copied()));
    let config = gateway::Config::read(&mut env);
    env.check().expect("good settings");
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

/// Everything that comes until the other end closes.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("closed in time");
    // A reset is a close as well.
    let _ = read;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(probe: impl Fn() -> bool) -> impl Future<Output = ()> {
    eventually(PATIENCE, move || {
        let holds = probe();
        async move { holds.then_some(()) }
    })
}
