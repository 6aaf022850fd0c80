//! Row A3 of the reference for the tabs of one program: under the documented rule they stay in, whenever each of them exchanges, uses and
//! crashes. Without the rule they sign each other out.

use std::{sync::Arc, time::Duration};

use chassis::task;
use futures::future::try_join_all;
use tokio::sync::Mutex;

use crate::{
    harness::{Client, Cluster, within_a_minute},
    refresh_tokens::{LIVE, number, program, reason, use_access},
};

const TABS: u64 = 3;
/// The exchanges of each tab.
const ROTATIONS: usize = 40;

/// The same numbers for the same seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Changes the order in which the tabs go on.
    async fn pause(&mut self) {
        tokio::time::sleep(Duration::from_micros(self.below(3_000))).await;
    }
}

/// A tab that obeys the rule: it exchanges what is stored under the lock, and uses the access token after it has stored the next refresh token.
/// Now and then it crashes before it stores. Returns the number of crashes.
async fn tab(gateway: Client, store: Arc<Mutex<String>>, mut random: Random) -> usize {
    let mut crashes = 0;
    for _ in 0..ROTATIONS {
        random.pause().await;
        let mut stored = store.lock().await;
        let next = gateway.refresh(&stored).await.expect("the tab stays in");
        if random.below(4) == 0 {
            crashes += 1;
            continue;
        }
        random.pause().await;
        stored.clone_from(&next.refresh_token);
        drop(stored);
        random.pause().await;
        use_access(&gateway, &next.access_token).await.expect("the access token is accepted");
    }
    crashes
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_tabs_that_share_a_store_and_a_lock_stay_in() {
    let cluster = Cluster::start().await;
    let replicas = [cluster.auth().await, cluster.auth().await];
    for seed in 1..=3 {
        let gateways = [replicas[0].gateway_for("192.0.2.1"), replicas[1].gateway_for("192.0.2.2")];
        let access = gateways[0].signed_up(&format!("ada-{seed}@example.org")).await;
        let store = Arc::new(Mutex::new(gateways[0].refresh_token(&access).await.expect("token").refresh_token));
        let tabs = (0..TABS).map(|number| {
            let gateway = if number == 0 { &gateways[0] } else { &gateways[1] };
            task::spawn(tab(gateway.clone(), Arc::clone(&store), Random(seed * 1_000 + number)))
        });
        let crashes: usize = within_a_minute(try_join_all(tabs)).await.expect("no tab failed").into_iter().sum();
        assert!(crashes > 10, "{crashes} crashes with seed {seed}");
    }
    assert_eq!(number(&cluster, LIVE).await, 3, "one live token for each program");
    assert_eq!(number(&cluster, "select count(*) from revocations").await, 0);
}

/// Two tabs read the same token without a lock. What the first one uses before the request of the second one arrives looks like a theft.
#[tokio::test]
async fn a3_tabs_without_a_lock_sign_each_other_out() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let read_by_both = program(&gateway).await;
    let first = gateway.refresh(&read_by_both).await.expect("the first tab");
    use_access(&gateway, &first.access_token).await.expect("accepted");
    assert_eq!(reason(gateway.refresh(&read_by_both).await), Err("TOKEN_REUSED".to_owned()), "the second tab");
    assert_eq!(reason(gateway.refresh(&first.refresh_token).await), Err("SESSION_ENDED".to_owned()), "the first tab, too");
    assert_eq!(number(&cluster, LIVE).await, 0);
}
