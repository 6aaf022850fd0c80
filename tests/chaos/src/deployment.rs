//! A cluster whose parts can fail: each replica is a process ([`node`]), PostgreSQL and Redis can be killed ([`engines`]), any two parts are
//! connected by a [`crate::proxy::Link`], and the [`timeline`] records the faults.

pub mod engines;
pub mod node;
pub mod timeline;

use std::{net::SocketAddr, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use backlot::role::Role;
use chassis::task;
use test_support::process::Launch;
use tokio::task::JoinHandle;

use self::node::Addresses;
pub use self::{engines::Engines, node::Node, timeline::Timeline};
use crate::proxy::{Link, Target};

/// At least five times the duration of a start on a busy machine with two cores.
const STARTED_WITHIN: Duration = Duration::from_secs(90);
/// The time between two checks of the processes.
const CHECK_INTERVAL: Duration = Duration::from_millis(25);
/// The ports of replicas, below the ephemeral ports.
const PORTS: Range<u16> = 12_000..32_000;
/// Times of the services that are shortened by their names in milliseconds (see [`chassis::fault_time`]), so that a round reaches what they
/// delay.
const TIMES: [(&str, u64); 14] = [
    ("compile-sweep-interval", 1_000),
    ("sweep-interval", 1_000),
    ("object-sweep-grace", OBJECT_SWEEP_GRACE),
    ("object-sweep-claim", 2_000),
    ("unused-store-grace", 10_000),
    // Longer than a replica is paused.
    ("write-lease", 10_000),
    ("write-lease-renewal", 5),
    ("preview-touch-interval", 0),
    ("deletion-poll", 1_000),
    // Nobody uses a token of a deleted account. Requests that began before are over by then.
    ("account-deletion-final", 10_000),
    // A mail is a file, so an attempt takes milliseconds.
    ("mail-lease", 10_000),
    // What is deleted then keeps its age.
    ("housekeeping-interval", 2_000),
    // Longer than a start: mostly the replica that starts adds the partition that the harness has dropped, and seldom another one.
    ("partitions-interval", 10_000),
    ("page-touch-interval", 0),
];
/// The milliseconds after which objects that became unreachable are deleted.
pub const OBJECT_SWEEP_GRACE: u64 = 4_000;
/// The data folder of all processes.
const DATA: &str = "data";
pub(crate) const SECRET: &str = "a secret of at least thirty-two letters";

/// The replicas and settings of a deployment.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The executable of this crate, which also runs every role.
    pub executable: PathBuf,
    pub gateways: usize,
    pub agents: usize,
    pub storages: usize,
    pub auths: usize,
    pub limiters: usize,
    pub compilers: usize,
    pub settings: Vec<(String, String)>,
}

impl Plan {
    /// A plan with two replicas of each role.
    #[must_use]
    pub fn new(executable: impl Into<PathBuf>) -> Self {
        Self {
            executable: executable.into(),
            gateways: 2,
            agents: 2,
            storages: 2,
            auths: 2,
            limiters: 2,
            compilers: 2,
            settings: Vec::new(),
        }
    }

    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    fn replicas(&self, role: Role) -> usize {
        match role {
            Role::Gateway => self.gateways,
            Role::Auth => self.auths,
            Role::AgentStreaming => self.agents,
            Role::ProjectStorage => self.storages,
            Role::RateLimit => self.limiters,
            Role::Compile => self.compilers,
        }
    }
}

/// A running cluster. Its processes end when it is dropped or this process ends.
pub struct Deployment {
    pub nodes: Vec<Arc<Node>>,
    pub links: Vec<Arc<Link>>,
    pub engines: Arc<Engines>,
    pub timeline: Arc<Timeline>,
    /// The prefix of the names of the databases.
    pub database: String,
    /// The origin of the installation as browsers see it. Authenticators know it by a name, so it has no address.
    pub site: String,
    pub folder: PathBuf,
    supervisor: JoinHandle<()>,
}

impl Deployment {
    /// Starts all processes and waits until they listen.
    ///
    /// # Errors
    /// A process does not start.
    pub async fn start(plan: &Plan, engines: &Arc<Engines>, folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let database = format!("d{}", uuid::Uuid::new_v4().simple());
        let timeline = Arc::new(Timeline::default());
        let mut addresses = Vec::new();
        for role in Role::ALL {
            for number in 1..=plan.replicas(role) {
                let (address, preview) = (free_address(), free_address());
                addresses.push(Addresses { role, name: format!("{}-{number}", role.name()), address, preview });
            }
        }
        let base = Launch::new(&plan.executable.to_string_lossy(), &folder.join(DATA));
        let gateway = addresses.iter().find(|replica| replica.role == Role::Gateway).context("a gateway")?;
        let site = format!("http://localhost:{}", gateway.address.port());
        let base = shared_settings(base, plan, &folder, &database)?.set("BACKLOT_PUBLIC_URL", &site);
        let (mut links, mut nodes) = (Vec::new(), Vec::new());
        for role in Role::ALL {
            let mut launch = base.clone();
            for to in Role::SERVICES {
                let targets = addresses.iter().filter(|replica| replica.role == to).map(|replica| Target::Tcp(replica.address)).collect();
                let link = Link::open(&format!("{} -> {}", role.name(), to.name()), targets).await?;
                launch = launch.set(to.url_setting().context("a service")?, &format!("http://{}", link.address()));
                links.push(Arc::new(link));
            }
            let postgres = Link::open(&format!("{} -> postgres", role.name()), vec![engines.postgres()]).await?;
            let redis = Link::open(&format!("{} -> redis", role.name()), vec![engines.redis().await]).await?;
            launch = launch
                .set("DATABASE_URL", &format!("postgres://app@{}/{database}?sslmode=disable", postgres.address()))
                .set("REDIS_URL", &format!("redis://{}", redis.address()));
            links.extend([postgres, redis].map(Arc::new));
            let of_role = addresses.iter().filter(|replica| replica.role == role);
            nodes.extend(of_role.map(|replica| Arc::new(Node::new(replica, &launch, &folder, &timeline))));
        }
        for node in &nodes {
            node.start().await?;
        }
        let supervisor = task::spawn(supervise(nodes.clone()));
        let deployment = Self { nodes, links, engines: Arc::clone(engines), timeline, database, site, folder, supervisor };
        deployment.ready().await?;
        Ok(deployment)
    }

    /// Waits until every process listens.
    ///
    /// # Errors
    /// One of them does not.
    pub async fn ready(&self) -> Result<()> {
        for node in &self.nodes {
            node.ready(STARTED_WITHIN).await?;
        }
        Ok(())
    }

    /// The replicas of a role.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().filter(move |node| node.role == role)
    }

    /// The replica with this name, such as `agent-streaming-1`.
    ///
    /// # Panics
    /// There is none with this name.
    #[must_use]
    pub fn node(&self, name: &str) -> &Arc<Node> {
        self.nodes.iter().find(|node| node.name == name).expect("a node with this name")
    }

    /// The link with this name, such as `gateway -> auth`.
    ///
    /// # Panics
    /// There is none with this name.
    #[must_use]
    pub fn link(&self, name: &str) -> &Arc<Link> {
        self.links.iter().find(|link| link.name() == name).expect("a link with this name")
    }

    /// The links with open connections.
    pub fn used_links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.iter().filter(|link| link.connections() > 0)
    }

    /// Base URLs of the gateways.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.of(Role::Gateway).map(|node| format!("http://{}", node.address)).collect()
    }

    /// The folder with the mails of auth, which has no mail server.
    #[must_use]
    pub fn outbox(&self) -> PathBuf {
        self.folder.join(DATA).join("outbox")
    }

    /// Connects to the database of a service directly, without a link.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn pool(&self, service: &str) -> Result<sqlx::PgPool> {
        test_support::cluster::pool(&self.engines.url(&self.database), service).await
    }

    /// Repairs all links, engines and processes, and disarms all failpoints.
    ///
    /// # Errors
    /// A process does not start.
    pub async fn heal(&self) -> Result<()> {
        for link in &self.links {
            link.heal();
        }
        self.engines.heal().await?;
        for node in &self.nodes {
            node.resume().await;
            if node.disarm() {
                node.kill().await?;
            }
            node.start().await?;
        }
        self.ready().await
    }

    /// Ends all processes with SIGTERM, the gateways first.
    ///
    /// # Errors
    /// One of them does not end, or not cleanly.
    pub async fn stop(self) -> Result<()> {
        self.supervisor.abort();
        for node in &self.nodes {
            let status = node.terminate().await?;
            ensure!(status.is_none_or(|status| status.success()), "{} ended with {status:?}", node.name);
        }
        Ok(())
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// A free address below the ephemeral ports, so that no other process gets it while the replica is restarted.
fn free_address() -> SocketAddr {
    let drawn = std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], rand::random_range(PORTS))));
    let mut free = drawn.filter(|address| std::net::TcpListener::bind(address).is_ok());
    free.next().expect("an endless iterator")
}

/// Restarts processes that have exited, as an orchestrator does.
async fn supervise(nodes: Vec<Arc<Node>>) {
    loop {
        for node in &nodes {
            node.check().await;
        }
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

fn shared_settings(launch: Launch, plan: &Plan, folder: &std::path::Path, database: &str) -> Result<Launch> {
    let times = TIMES.map(|(name, millis)| format!("{name}={millis}")).join(";");
    let policies = folder.join("policies.yaml");
    std::fs::write(&policies, test_support::cluster::OPEN_POLICIES)?;
    let settings = [
        ("BACKLOT_CLUSTER_SECRET", SECRET),
        ("BACKLOT_POLICIES", &policies.to_string_lossy()),
        ("BACKLOT_COMPILER", &chassis::testing::compiler().to_string_lossy()),
        ("BACKLOT_COMPILE_WORKER_TIMEOUT", "60s"),
        // The model server is the address of stored keys.
        ("BACKLOT_OUTBOUND_ALLOW", "127.0.0.1"),
        ("BACKLOT_REDIS_PREFIX", &format!("{database}:")),
        ("FAULT_TIMES", &times),
        ("BACKLOT_OBJECT_SWEEP", "1s"),
        ("BACKLOT_SITES_URL", "http://{site}.sites.localhost"),
        ("BACKLOT_LEASE", "1500ms"),
        ("BACKLOT_BEGIN_TIMEOUT", "10s"),
        ("BACKLOT_DRAIN_TIMEOUT", "2s"),
        ("BACKLOT_DISCONNECT_GRACE", "1s"),
        ("BACKLOT_EDGE_PER_SECOND", "0"),
        ("BACKLOT_MAX_STREAMS_PER_USER", "10000"),
        ("BACKLOT_STREAM_OPENINGS", "100000"),
    ];
    let launch = settings.into_iter().fold(launch, |launch, (name, value)| launch.set(name, value));
    Ok(plan.settings.iter().fold(launch, |launch, (name, value)| launch.set(name, value)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::TIMES;

    #[test]
    fn every_time_that_a_service_lets_a_run_shorten_is_shortened() {
        let services = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services");
        let files = ignore::WalkBuilder::new(services).build().filter_map(Result::ok).map(ignore::DirEntry::into_path);
        let sources = files.filter(|path| path.extension().is_some_and(|end| end == "rs") && !path.ends_with("chassis/src/fault_time.rs"));
        let texts: Vec<String> = sources.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let names = texts.iter().flat_map(|text| text.split("fault_time::shortened(\"").skip(1));
        let names: BTreeSet<&str> = names.map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(names, TIMES.iter().map(|(name, _)| *name).collect());
    }
}
