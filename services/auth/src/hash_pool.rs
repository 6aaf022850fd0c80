//! Hashes and verifies passwords on blocking threads, with a limit of threads, of waiting passwords and of the wait. A thread reuses
//! Argon2's memory. One client address may use only its share of the threads and of the queue, and its next password waits
//! behind those of other addresses. So a flood of sign-ins from one address neither exhausts the memory nor delays other addresses for long.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chassis::{
    share::{Holder, Percent, Share, Shares},
    task,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tracing::{Instrument as _, field::Empty, info_span};

use crate::{
    breached::BreachedPasswords,
    error::{Error, SERVICE},
    metered_hasher::MeteredHasher,
    password::{self, Cost, HashError, Verdict, Weakness},
};

/// The names of the two limits in refusals.
const ADMITTED: &str = "passwords that are being checked or are waiting";
const CONCURRENT: &str = "passwords that are being checked at the same time";

/// The limits of the pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Passwords that are hashed at the same time.
    pub(crate) threads: usize,
    /// Passwords that may wait for a thread.
    pub(crate) queue: usize,
    /// How long a password may wait for a thread.
    pub(crate) wait: Duration,
    /// The share of threads and queue that one address may use.
    pub(crate) percent: Percent,
}

pub(crate) struct HashPool {
    shared: Arc<Shared>,
}

struct Shared {
    cost: Cost,
    /// What no new password may be.
    breached: Option<Arc<BreachedPasswords>>,
    wait: Duration,
    /// Slots of the threads and the queue together.
    admitted: Arc<Shares>,
    /// Limits the threads that one address uses. An address with all its slots in use waits here for one of them.
    concurrent: Arc<Shares>,
    /// Threads, in the order in which passwords got a slot of `concurrent`.
    threads: Arc<Semaphore>,
    /// Memory of threads that are not in use.
    hashers: Mutex<Vec<MeteredHasher>>,
    /// The hash that is verified if there is no account, so that an unknown address takes as long as a known one.
    dummy_hash: String,
}

/// What one request holds of the pool and of the share of its address while it hashes passwords, one at a time.
#[derive(Clone)]
pub(crate) struct Slot {
    until: Instant,
    _held: Arc<[Share; 2]>,
}

impl HashPool {
    /// # Errors
    /// The parameters are out of Argon2's bounds.
    pub(crate) fn new(cost: Cost, breached: Option<Arc<BreachedPasswords>>, bounds: Bounds) -> Result<Self, HashError> {
        let Bounds { threads, queue, wait, percent } = bounds;
        let mut hasher = password::hasher(cost)?;
        let dummy_hash = password::hash("no account has this password", cost, &mut hasher)?;
        hasher.take_work();
        // Only addresses are limited. A sign-in belongs to no person yet, and one connection of the gateway carries many clients.
        let of_address = |address| Percent { connection: 100, address, person: 100 };
        let shared = Shared {
            cost,
            breached,
            wait,
            admitted: Shares::new(threads + queue, of_address(percent.address)),
            concurrent: Shares::new(concurrent_slots(threads, percent.address), of_address(1)),
            threads: Arc::new(Semaphore::new(threads)),
            hashers: Mutex::new(vec![hasher]),
            dummy_hash,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Hashes a new password. It must resist guessing by an attacker who knows the words of `personal`, and be on no list of breached ones.
    ///
    /// # Errors
    /// WEAK_PASSWORD, OVERLOADED, SHARE_EXHAUSTED.
    pub(crate) async fn hash(&self, address: Option<IpAddr>, password: String, personal: Vec<String>) -> Result<String, Error> {
        self.run(address, move |shared, hasher| {
            password::check_strength(&password, &personal).map_err(Error::WeakPassword)?;
            if let Some(breached) = &shared.breached
                && breached.contains(&password)?
            {
                return Err(Error::WeakPassword(Weakness::breached()));
            }
            Ok(password::hash(&password, shared.cost, hasher)?)
        })
        .await
    }

    /// Compares the password with the stored hash. Without one the verdict is `Wrong` and takes as long.
    ///
    /// # Errors
    /// OVERLOADED, SHARE_EXHAUSTED.
    pub(crate) async fn verify(&self, address: Option<IpAddr>, password: String, stored: Option<String>) -> Result<Verdict, Error> {
        let slot = self.slot(address).await?;
        self.verify_in(&slot, password, stored).await
    }

    /// The same in a slot.
    ///
    /// # Errors
    /// OVERLOADED.
    pub(crate) async fn verify_in(&self, slot: &Slot, password: String, stored: Option<String>) -> Result<Verdict, Error> {
        self.run_in(slot, move |shared, hasher| {
            let verdict = password::verify(&password, stored.as_deref().unwrap_or(&shared.dummy_hash), shared.cost, hasher)?;
            Ok(if stored.is_some() { verdict } else { Verdict::Wrong })
        })
        .await
    }

    /// Whether the password is that of the stored hash. It takes as long as for a wrong one.
    ///
    /// # Errors
    /// OVERLOADED.
    pub(crate) async fn matches_in(&self, slot: &Slot, password: String, stored: Option<String>) -> Result<bool, Error> {
        self.run_in(slot, move |shared, hasher| {
            let is_match = password::matches(&password, stored.as_deref().unwrap_or(&shared.dummy_hash), shared.cost, hasher)?;
            Ok(is_match && stored.is_some())
        })
        .await
    }

    /// Waits until the address may use a thread. As many requests of one address have a slot as it may use threads.
    ///
    /// # Errors
    /// OVERLOADED, SHARE_EXHAUSTED.
    pub(crate) async fn slot(&self, address: Option<IpAddr>) -> Result<Slot, Error> {
        let shared = &self.shared;
        let until = Instant::now() + shared.wait;
        let holder = Holder { address, ..Holder::default() };
        let admitted = shared.admitted.try_take(&holder, 1).map_err(|e| e.fault(SERVICE, ADMITTED))?;
        let mut concurrent = shared.concurrent.try_take(&holder, 0).map_err(|e| e.fault(SERVICE, CONCURRENT))?;
        concurrent.grow(1, until).await.map_err(|e| e.fault(SERVICE, CONCURRENT))?;
        Ok(Slot { until, _held: Arc::new([admitted, concurrent]) })
    }

    async fn run<T, F>(&self, address: Option<IpAddr>, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Shared, &mut MeteredHasher) -> Result<T, Error> + Send + 'static,
    {
        let slot = self.slot(address).await?;
        self.run_in(&slot, work).await
    }

    /// Runs the work on a thread, when there is one. Its span shows that wait, too, and how many blocks of one KiB the hashes have filled.
    async fn run_in<T, F>(&self, slot: &Slot, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Shared, &mut MeteredHasher) -> Result<T, Error> + Send + 'static,
    {
        let span = info_span!("hash password", kib = Empty);
        let (output, kib) = self.run_metered(slot.clone(), work).instrument(span.clone()).await?;
        span.record("kib", kib);
        Ok(output)
    }

    /// The output of the work, and the blocks of one KiB that its hashes have filled.
    async fn run_metered<T, F>(&self, slot: Slot, work: F) -> Result<(T, u64), Error>
    where
        T: Send + 'static,
        F: FnOnce(&Shared, &mut MeteredHasher) -> Result<T, Error> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let thread = timeout_at(slot.until, Arc::clone(&shared.threads).acquire_owned()).await;
        // The semaphore is never closed.
        let Ok(Ok(thread)) = thread else { return Err(Error::Overloaded) };
        // The slot is held until the work ends, even if the caller has given up before.
        task::blocking(move || {
            let kept = shared.hashers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let result = kept.map_or_else(|| password::hasher(shared.cost).map_err(Error::from), Ok).and_then(|mut hasher| {
                let result = work(&shared, &mut hasher);
                let kib = hasher.take_work();
                shared.hashers.lock().unwrap_or_else(PoisonError::into_inner).push(hasher);
                result.map(|output| (output, kib))
            });
            drop((thread, slot));
            result
        })
        .await
        .map_err(Error::Thread)?
    }
}

/// The size of [`Shared::concurrent`]: one percent of it is the number of threads that one address may use.
fn concurrent_slots(threads: usize, percent: u8) -> usize {
    let of_one = (threads * usize::from(percent) / 100).max(1);
    of_one * 100 + 99
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, iterations: 1 };
    const NO_ADDRESS: Option<IpAddr> = None;
    const LONG: Duration = Duration::from_secs(60);

    fn pool(threads: usize, queue: usize, wait: Duration) -> HashPool {
        HashPool::new(CHEAP, None, Bounds { threads, queue, wait, percent: Percent { address: 50, ..Percent::default() } }).expect("pool")
    }

    fn at(address: &str) -> Option<IpAddr> {
        Some(address.parse().expect("address"))
    }

    /// Work that ends when the sender is dropped.
    fn until_dropped(receiver: mpsc::Receiver<()>) -> impl FnOnce(&Shared, &mut MeteredHasher) -> Result<(), Error> + Send + 'static {
        move |_, _| {
            _ = receiver.recv();
            Ok(())
        }
    }

    fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.expect_err("refused").reason().to_owned()
    }

    #[tokio::test]
    async fn only_the_hashed_password_verifies() {
        let pool = pool(2, 2, LONG);
        let stored = pool.hash(NO_ADDRESS, "correct horse battery".into(), vec![]).await.expect("hash");
        let verdict = async |password: &str, stored| pool.verify(NO_ADDRESS, password.into(), stored).await.expect("verdict");
        assert_eq!(verdict("correct horse battery", Some(stored.clone())).await, Verdict::Correct);
        assert_eq!(verdict("another", Some(stored)).await, Verdict::Wrong);
        assert_eq!(verdict("no account has this password", None).await, Verdict::Wrong);
        assert!(matches!(pool.hash(NO_ADDRESS, "password1".into(), vec![]).await, Err(Error::WeakPassword(_))));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_immediately_and_recovers() {
        let pool = pool(1, 1, LONG);
        let (release, blocked) = mpsc::channel::<()>();
        let mut running = Box::pin(pool.run(NO_ADDRESS, move |_, _| {
            blocked.recv().expect("released");
            Ok(1)
        }));
        let mut waiting = Box::pin(pool.run(NO_ADDRESS, |_, _| Ok(2)));
        assert!(futures::poll!(&mut running).is_pending(), "on the thread");
        assert!(futures::poll!(&mut waiting).is_pending(), "in the queue");
        assert_eq!(reason(pool.run(NO_ADDRESS, |_, _| Ok(())).await), "OVERLOADED");
        release.send(()).expect("running");
        assert_eq!((running.await.expect("one"), waiting.await.expect("two")), (1, 2));
        assert!(pool.run(NO_ADDRESS, |_, _| Ok(())).await.is_ok());
        assert_eq!(pool.shared.hashers.lock().expect("hashers").len(), 1, "one thread uses one memory");
    }

    #[tokio::test]
    async fn the_wait_is_limited() {
        let pool = pool(1, 8, Duration::from_millis(20));
        let (_release, blocked) = mpsc::channel();
        let mut running = Box::pin(pool.run(at("192.0.2.1"), until_dropped(blocked)));
        assert!(futures::poll!(&mut running).is_pending());
        assert_eq!(reason(pool.run(at("192.0.2.1"), |_, _| Ok(())).await), "SHARE_EXHAUSTED", "the address has used its share");
        assert_eq!(reason(pool.run(at("192.0.2.2"), |_, _| Ok(())).await), "OVERLOADED");
        assert_eq!(pool.shared.admitted.held(), 1);
    }

    #[tokio::test]
    async fn addresses_alternate() {
        for threads in [1, 2, 3] {
            let pool = pool(threads, 100, LONG);
            let (started, mut starts) = unbounded_channel();
            let waiting = ["192.0.2.1"; 20].into_iter().chain(["192.0.2.2"; 20]).chain(["198.51.100.7"]).map(|address| {
                let started = started.clone();
                pool.run(at(address), move |_, _| {
                    let (release, blocked) = mpsc::channel::<()>();
                    started.send((address, release)).expect("test");
                    _ = blocked.recv();
                    Ok(())
                })
            });
            let all = futures::future::try_join_all(waiting);
            let observed = async {
                // The order in which threads start is not defined, so all of them are busy before one is released.
                // Without the limit per address 198.51.100.7 would be the last of 41.
                let mut first = Vec::new();
                while first.len() < 3 {
                    let mut busy = Vec::new();
                    while busy.len() < threads {
                        busy.push(starts.recv().await.expect("start"));
                    }
                    first.extend(busy.iter().map(|(address, _)| *address));
                }
                assert!(first.contains(&"198.51.100.7"), "{threads} threads: {first:?}");
                for _ in first.len()..41 {
                    drop(starts.recv().await.expect("start"));
                }
            };
            let (done, ()) = tokio::join!(all, observed);
            assert_eq!(done.expect("work").len(), 41);
        }
    }

    #[tokio::test]
    async fn an_address_has_a_share_of_the_queue() {
        let pool = pool(1, 9, LONG);
        let (release, blocked) = mpsc::channel();
        let mut held: Vec<futures::future::LocalBoxFuture<'_, _>> = vec![Box::pin(pool.run(at("192.0.2.1"), until_dropped(blocked)))];
        assert!(futures::poll!(&mut held[0]).is_pending());
        for _ in 0..4 {
            let mut waiting = Box::pin(pool.run(at("192.0.2.1"), |_, _| Ok(())));
            assert!(futures::poll!(&mut waiting).is_pending());
            held.push(waiting);
        }
        assert_eq!(reason(pool.run(at("192.0.2.1"), |_, _| Ok(())).await), "SHARE_EXHAUSTED");
        held.push(Box::pin(pool.run(at("198.51.100.7"), |_, _| Ok(()))));
        assert!(futures::poll!(&mut held[5]).is_pending());
        drop(release);
        futures::future::try_join_all(held).await.expect("work");
        assert_eq!((pool.shared.admitted.held(), pool.shared.concurrent.held()), (0, 0));
    }

    /// Row A17 of the reference: passwords of a list, from many addresses at the same time, take the memory of the threads and no more.
    #[tokio::test(flavor = "multi_thread")]
    async fn a17_the_memory_for_hashes_is_that_of_the_threads() {
        const THREADS: usize = 3;
        const TRIES: usize = 2_000;
        let pool = pool(THREADS, TRIES, LONG);
        let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tries = (0..TRIES).map(|number| {
            let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
            pool.run(at(&format!("192.0.2.{}", number % 100)), move |shared, hasher| {
                peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let verdict = password::verify("stolen", &shared.dummy_hash, shared.cost, hasher);
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(verdict?)
            })
        });
        let verdicts = futures::future::try_join_all(tries).await.expect("work");
        assert!(verdicts.len() == TRIES && verdicts.iter().all(|verdict| *verdict == Verdict::Wrong));
        let hashers = pool.shared.hashers.lock().expect("hashers");
        let kib: usize = hashers.iter().map(MeteredHasher::reserved_blocks).sum();
        let most = THREADS * usize::try_from(CHEAP.memory_kib).expect("a number");
        assert!((1..=THREADS).contains(&peak.load(Ordering::SeqCst)), "{peak:?} at the same time");
        assert!(hashers.len() <= THREADS && (1..=most).contains(&kib), "{} hashers have {kib} KiB", hashers.len());
    }

    #[test]
    fn an_address_has_its_share_of_the_threads() {
        for (threads, percent, of_one) in [(1, 50, 1), (2, 50, 1), (16, 50, 8), (16, 100, 16), (4, 1, 1)] {
            let total = concurrent_slots(threads, percent);
            assert_eq!((total / 100, total > 100), (of_one, true), "{threads} threads, {percent} %");
        }
    }

    #[tokio::test]
    async fn cancelled_work_keeps_its_slot_until_it_ends() {
        let pool = pool(1, 0, LONG);
        let (release, blocked) = mpsc::channel::<()>();
        let mut cancelled = Box::pin(pool.run(NO_ADDRESS, move |_, _| {
            blocked.recv().expect("released");
            Ok(())
        }));
        assert!(futures::poll!(&mut cancelled).is_pending());
        drop(cancelled);
        assert_eq!(reason(pool.run(NO_ADDRESS, |_, _| Ok(())).await), "OVERLOADED");
        release.send(()).expect("running");
        chassis::testing::eventually(Duration::from_secs(10), || async { pool.run(NO_ADDRESS, |_, _| Ok(())).await.ok() }).await;
    }
}
