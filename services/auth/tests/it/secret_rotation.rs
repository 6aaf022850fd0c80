//! The cluster secret is replaced under load (row A13 of the reliability reference).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chassis::{config::Env, identity::Caller, secret::ClusterSecret, task, testing};
use proto::auth::GetKeySetRequest;
use rate_limit::Policies;
use sqlx::Row as _;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::harness::{Client, Cluster, PASSWORD, Replica, SECRET, Settings};

const NEW: &str = "b7f4a90c5d3e1182ac64de07f93b5510";
/// The first and the second secret of each round, as operations.md has them. The round before the first one has the old secret only.
const ROUNDS: [(&str, Option<&str>); 4] = [(SECRET, None), (SECRET, Some(NEW)), (NEW, Some(SECRET)), (NEW, None)];
const TASKS: usize = 4;

fn settings((current, previous): (&'static str, Option<&'static str>)) -> Vec<(&'static str, &'static str)> {
    let previous = previous.map(|previous| ("BACKLOT_CLUSTER_SECRET_PREVIOUS", previous));
    [("BACKLOT_CLUSTER_SECRET", current)].into_iter().chain(previous).collect()
}

fn secret(round: (&'static str, Option<&'static str>)) -> ClusterSecret {
    let mut env = Env::of(settings(round));
    let secret = ClusterSecret::read_root(&mut env);
    env.check().expect("secrets");
    secret
}

async fn rate_limit(round: (&'static str, Option<&'static str>)) -> (String, DropGuard) {
    let listener = testing::listener().await;
    let url = format!("http://{}", listener.local_addr().expect("address"));
    let mut config = rate_limit::Config::read(&mut Env::of(settings(round)));
    let wide = "policies: [{name: auth, limit: 10000, window: 1s}, {name: auth-account, limit: 10000, window: 1s}, \
                {name: auth-guess, limit: 10000, window: 1s}, {name: general, limit: 10000, window: 1s}]";
    config.policies = Policies::shipped().with(wide).expect("policies");
    let stop = CancellationToken::new();
    task::spawn(rate_limit::serve(config, listener, stop.clone()));
    (url, stop.drop_guard())
}

/// Signs in and uses the token at any replica, until it is stopped.
async fn load(mut clients: watch::Receiver<Vec<Client>>, number: usize, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) {
    let email = format!("load-{number}@example.org");
    let first = clients.borrow_and_update()[0].clone();
    let account = first.sign_up(&email, PASSWORD).await.expect("an account");
    for turn in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let now = clients.borrow_and_update().clone();
        let at = |offset: usize| &now[(number + turn + offset) % now.len()];
        at(0).sign_in(&email, PASSWORD).await.expect("a sign-in");
        let access = at(1).exchange(&account.session_token).await.expect("an access token");
        at(2).session(&access.access_token).await.expect("the token is accepted by another replica");
        done.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_no_request_fails_while_the_secret_is_replaced() {
    let cluster = Cluster::start().await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (limits_url, mut limits) = rate_limit(ROUNDS[0]).await;
    let mut limits_url = limits_url;
    let mut replicas = vec![start(&cluster, ROUNDS[0], &limits_url).await, start(&cluster, ROUNDS[0], &limits_url).await];
    let clients = watch::Sender::new(clients_of(&replicas, &[ROUNDS[0]]));
    let tasks: Vec<_> =
        (0..TASKS).map(|number| task::spawn(load(clients.subscribe(), number, Arc::clone(&stop), Arc::clone(&done)))).collect();
    requests(&done).await;
    for rounds in ROUNDS.windows(2) {
        // One replica after the other, while callers are of both rounds. Then the service that auth calls.
        for at in 0..replicas.len() {
            let before = std::mem::replace(&mut replicas[at], start(&cluster, rounds[1], &limits_url).await);
            clients.send_replace(clients_of(&replicas, rounds));
            requests(&done).await;
            drop(before);
        }
        let (url, next) = rate_limit(rounds[1]).await;
        for at in 0..replicas.len() {
            let before = std::mem::replace(&mut replicas[at], start(&cluster, rounds[1], &url).await);
            clients.send_replace(clients_of(&replicas, &rounds[1..]));
            requests(&done).await;
            drop(before);
        }
        drop(std::mem::replace(&mut limits, next));
        limits_url = url;
    }
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.expect("no request has failed");
    }
    // The signing key is the same, and only the new secret opens it.
    let keys = sqlx::query("select count(*)::int as keys from signing_keys").fetch_one(&cluster.database.pool).await.expect("a row");
    assert_eq!(keys.get::<i32, _>("keys"), 1, "no key was lost");
    drop(limits);
}

async fn start(cluster: &Cluster, round: (&'static str, Option<&'static str>), limits_url: &str) -> Replica {
    let mut all = settings(round);
    all.push(("BACKLOT_RATE_LIMIT_URL", limits_url));
    let replica = cluster.auth_with(Settings(&all)).await;
    // The connection waits until the replica serves.
    replica.direct().get_key_set(GetKeySetRequest {}).await.expect("the keys");
    replica
}

/// For each replica a gateway of each round.
fn clients_of(replicas: &[Replica], rounds: &[(&'static str, Option<&'static str>)]) -> Vec<Client> {
    let of = |replica: &Replica| rounds.iter().map(|round| replica.with_secret(Caller::Gateway, &secret(*round))).collect::<Vec<_>>();
    replicas.iter().flat_map(of).collect()
}

/// Waits until every task has made some more requests.
async fn requests(done: &AtomicUsize) {
    let until = done.load(Ordering::SeqCst) + 3 * TASKS;
    testing::eventually(Duration::from_secs(60), async || (done.load(Ordering::SeqCst) >= until).then_some(())).await;
}
