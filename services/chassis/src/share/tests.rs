use std::time::Duration;

use super::*;

const UNLIMITED: Percent = Percent { connection: 100, address: 100, person: 100 };

fn holder(connection: u64, address: &str) -> Holder {
    Holder { connection: Some(connection), address: Some(address.parse().unwrap()), person: None }
}

fn take(shares: &Arc<Shares>, holder: Holder, amount: usize) -> Result<Share, Bound> {
    shares.try_take(&holder, amount).map_err(|e| e.by)
}

#[test]
fn each_bound_applies_by_itself() {
    let shares = Shares::new(100, Percent { address: 50, ..Percent::default() });
    let one = take(&shares, holder(1, "192.0.2.1"), 25).unwrap();
    assert_eq!(take(&shares, holder(1, "192.0.2.1"), 1).unwrap_err(), Bound::Connection);
    let two = take(&shares, holder(2, "192.0.2.1"), 25).unwrap();
    assert_eq!(take(&shares, holder(3, "192.0.2.1"), 1).unwrap_err(), Bound::Address);
    let person = Holder { person: Some(UserId::generate()), ..Holder::default() };
    assert_eq!(two.amount(), 25);
    let three = take(&shares, person, 25).unwrap();
    assert_eq!(take(&shares, person, 1).unwrap_err(), Bound::Person);
    let four = take(&shares, holder(4, "192.0.2.4"), 25).unwrap();
    assert_eq!(take(&shares, holder(5, "192.0.2.5"), 1).unwrap_err(), Bound::All);
    drop((one, two, three, four));
    assert_eq!((shares.held(), shares.lock().by_account.len()), (0, 0));
}

#[test]
fn wider_networks_of_ipv6_have_limits() {
    let shares = Shares::new(100, Percent { connection: 100, address: 40, person: 100 });
    let most = |prefix: &dyn Fn(u32) -> String| {
        let mut kept = Vec::new();
        for at in 0..200 {
            kept.extend(take(&shares, holder(u64::from(at), &prefix(at)), 1));
        }
        kept.len()
    };
    assert_eq!(most(&|at| format!("2001:db8::{at:x}")), 40);
    assert_eq!(most(&|at| format!("2001:db8:0:{at:x}::1")), 50);
    assert_eq!(most(&|at| format!("2001:db8:0:{at:x}00::1")), 60);
    assert_eq!(most(&|at| format!("2001:db8:{at:x}::1")), 100);
    assert_eq!(most(&|_| "::ffff:192.0.2.1".to_owned()), 40);
}

#[test]
fn two_addresses_cannot_hold_everything() {
    let networks: [fn(u32) -> String; 4] = [
        |_| "192.0.2.1".to_owned(),
        |at| format!("2001:db8::{at:x}"),
        |at| format!("2001:db8:0:{at:x}::1"),
        |at| format!("2001:db8:0:{at:x}00::1"),
    ];
    for network in networks {
        let shares = Shares::new(1000, Percent::default());
        let another = |at| network(at).replace("2001:db8", "2001:db9").replace("192.0.2.1", "192.0.2.2");
        let mut kept = Vec::new();
        for at in 0..1000 {
            kept.extend([network(at % 200), another(at % 200)].map(|address| take(&shares, holder(at.into(), &address), 1)));
        }
        let held: usize = kept.iter().flatten().map(Share::amount).sum();
        assert!((600..1000).contains(&held), "{held} of 1000 by {}", network(1));
        take(&shares, holder(5000, "192.0.2.3"), 1).expect("some is left");
    }
}

/// Many bodies each take their whole size at once, run for some steps, and give it back. All of them finish, whoever their holders are.
#[tokio::test]
async fn holders_that_take_everything_at_once_do_not_deadlock() {
    for seed in 0..50_u64 {
        let shares = Shares::new(100, Percent::default());
        // Pseudorandom numbers that are the same in each run.
        let mut state = seed;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let people: Vec<_> = (0..6).map(|_| UserId::generate()).collect();
        let bodies = (0..60).map(|connection| {
            let address = Some(format!("192.0.2.{}", next(4)).parse().unwrap());
            let person = Some(people[usize::try_from(next(6)).unwrap()]);
            let (amount, steps) = (usize::try_from(1 + next(25)).unwrap(), next(100));
            let shares = Arc::clone(&shares);
            async move {
                let mut share = shares.try_take(&Holder { connection: Some(connection), address, person }, 0).unwrap();
                share.grow(amount, Instant::now() + Duration::from_secs(600)).await.unwrap();
                for _ in 0..steps {
                    tokio::task::yield_now().await;
                }
            }
        });
        futures::future::join_all(bodies).await;
        assert_eq!((shares.held(), shares.lock().queue.is_empty()), (0, true), "seed {seed}");
    }
}

#[tokio::test]
async fn an_impossible_amount_fails_without_waiting() {
    let shares = Shares::new(100, Percent::default());
    let mut share = take(&shares, holder(1, "192.0.2.1"), 0).unwrap();
    let later = Instant::now() + Duration::from_secs(3600);
    assert_eq!(share.grow(26, later).await.unwrap_err(), Exhausted { by: Bound::Connection, limit: 25 });
    let mut share = take(&shares, Holder::default(), 0).unwrap();
    assert_eq!(share.grow(101, later).await.unwrap_err(), Exhausted { by: Bound::All, limit: 100 });
}

#[tokio::test]
async fn a_returned_amount_is_granted_to_a_waiter() {
    let shares = Shares::new(10, UNLIMITED);
    let mut first = take(&shares, Holder::default(), 8).unwrap();
    let mut second = take(&shares, Holder::default(), 0).unwrap();
    let soon = Instant::now() + Duration::from_millis(20);
    assert_eq!(second.grow(4, soon).await.unwrap_err().by, Bound::All);
    let later = Instant::now() + Duration::from_secs(60);
    let (grown, ()) = tokio::join!(second.grow(4, later), async { first.shrink(2) });
    grown.unwrap();
    assert_eq!((first.amount(), second.amount(), shares.held()), (6, 4, 10));
}

#[tokio::test]
async fn the_holder_with_the_least_is_next_and_then_the_oldest_waiter() {
    let shares = Shares::new(4, Percent { connection: 100, address: 75, person: 75 });
    let later = Instant::now() + Duration::from_secs(60);
    let of = |address: &str| Holder { address: Some(address.parse().unwrap()), person: Some(UserId::generate()), connection: None };
    let order = Mutex::new(Vec::new());
    let wait = async |name: &'static str, address: &str| {
        let mut share = shares.try_take(&of(address), 0).unwrap();
        share.grow(1, later).await.unwrap();
        order.lock().unwrap().push(name);
        share
    };
    let held = ["192.0.2.2", "192.0.2.1", "192.0.2.1", "192.0.2.1"].map(|address| shares.try_take(&of(address), 1).unwrap());
    let free = async {
        for share in held {
            drop(share);
            // Lets the waiters run.
            tokio::task::yield_now().await;
        }
    };
    let (a, b, c, d, ()) =
        tokio::join!(wait("1a", "192.0.2.1"), wait("1b", "192.0.2.1"), wait("3", "192.0.2.3"), wait("4", "192.0.2.4"), free);
    assert_eq!(*order.lock().unwrap(), ["3", "4", "1a", "1b"]);
    drop((a, b, c, d));
    let state = shares.lock();
    assert_eq!((state.held, state.by_account.len(), state.queue.is_empty()), (0, 0, true));
}

#[tokio::test]
async fn a_small_amount_does_not_overtake_the_next_waiter() {
    let shares = Shares::new(10, UNLIMITED);
    let mut first = take(&shares, Holder::default(), 8).unwrap();
    let (mut large, mut small) = (take(&shares, Holder::default(), 0).unwrap(), take(&shares, Holder::default(), 0).unwrap());
    let later = Instant::now() + Duration::from_secs(60);
    let mut waiting = Box::pin(large.grow(6, later));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    let soon = Instant::now() + Duration::from_millis(20);
    assert_eq!(small.grow(1, soon).await.unwrap_err().by, Bound::All);
    first.shrink(4);
    waiting.await.unwrap();
    assert_eq!((shares.held(), large.amount()), (10, 6));
}

#[tokio::test]
async fn a_dropped_waiter_holds_nothing() {
    let shares = Shares::new(10, UNLIMITED);
    let later = Instant::now() + Duration::from_secs(60);
    for is_granted in [false, true] {
        let mut first = take(&shares, Holder::default(), 10).unwrap();
        let (mut second, mut third) = (take(&shares, Holder::default(), 0).unwrap(), take(&shares, Holder::default(), 0).unwrap());
        let mut waiting = Box::pin(second.grow(6, later));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        let mut next = Box::pin(third.grow(2, later));
        assert!(futures::poll!(next.as_mut()).is_pending());
        first.shrink(if is_granted { 6 } else { 2 });
        drop(waiting);
        next.await.unwrap();
        assert_eq!((second.amount(), third.amount()), (0, 2));
        drop((first, second, third));
        assert_eq!((shares.held(), shares.lock().queue.is_empty()), (0, true), "granted: {is_granted}");
    }
}
