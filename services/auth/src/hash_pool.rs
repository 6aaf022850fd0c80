//! Where password work runs: on blocking threads, as many at once as configured, each with Argon2's memory kept from the last
//! time. Before them addresses take turns: one address has at most its share of the threads and of the places in the queue, and
//! its next password waits behind one of everybody else's. A flood of sign-ins takes neither memory without end nor the threads
//! that serve others, and somebody from another address is soon next.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use argon2::Block;
use chassis::{
    share::{Holder, Percent, Shares},
    task,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use crate::{
    error::{Error, SERVICE},
    password::{self, Cost, HashError, Verdict},
};

/// As refusals name them.
const IN_ALL: &str = "passwords that are checked or wait for it";
const AT_ONCE: &str = "passwords that are checked at the same time";

/// How much password work there may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Passwords that are hashed at once.
    pub threads: usize,
    /// Passwords that may wait.
    pub queue: usize,
    /// How long one may wait.
    pub wait: Duration,
    /// What one address may have of both.
    pub percent: Percent,
}

/// Cheap to clone; all clones share the threads and the queue.
#[derive(Clone)]
pub struct HashPool {
    shared: Arc<Shared>,
}

struct Shared {
    cost: Cost,
    wait: Duration,
    /// A place on a thread or in the queue.
    admitted: Arc<Shares>,
    /// The turn of an address. It has no more of them than it may have threads, and gives one back before it takes the next.
    turns: Arc<Shares>,
    /// A place on a thread, in the order in which turns were taken.
    running: Arc<Semaphore>,
    memory: Mutex<Vec<Vec<Block>>>,
    /// Verified against when there is no account, so that an unknown address costs what a known one costs.
    nobody: String,
}

impl HashPool {
    /// # Errors
    /// The parameters are out of Argon2's bounds.
    pub fn new(cost: Cost, bounds: Bounds) -> Result<Self, HashError> {
        let Bounds { threads, queue, wait, percent } = bounds;
        let mut memory = Vec::new();
        let nobody = password::hash("nobody has this password", cost, &mut memory)?;
        // Connections and persons have no part in it: a sign-in is nobody's yet, and the gateway's connections carry those of all.
        let of_address = |address| Percent { connection: 100, address, person: 100 };
        let shared = Shared {
            cost,
            wait,
            admitted: Shares::new(threads + queue, of_address(percent.address)),
            turns: Shares::new(turns(threads, percent.address), of_address(1)),
            running: Arc::new(Semaphore::new(threads)),
            memory: Mutex::new(vec![memory]),
            nobody,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The hash of a new password that resists guessing by somebody who knows `known`.
    ///
    /// # Errors
    /// WEAK_PASSWORD, OVERLOADED, SHARE_EXHAUSTED.
    pub async fn hash(&self, address: Option<IpAddr>, password: String, known: Vec<String>) -> Result<String, Error> {
        self.run(address, move |shared, memory| {
            password::check_strength(&password, &known).map_err(Error::WeakPassword)?;
            Ok(password::hash(&password, shared.cost, memory)?)
        })
        .await
    }

    /// Whether the password belongs to the stored hash; without one the answer is "wrong" and takes as long.
    ///
    /// # Errors
    /// OVERLOADED, SHARE_EXHAUSTED.
    pub async fn verify(&self, address: Option<IpAddr>, password: String, stored: Option<String>) -> Result<Verdict, Error> {
        self.run(address, move |shared, memory| {
            let verdict = password::verify(&password, stored.as_deref().unwrap_or(&shared.nobody), shared.cost, memory)?;
            Ok(if stored.is_some() { verdict } else { Verdict::Wrong })
        })
        .await
    }

    async fn run<T, F>(&self, address: Option<IpAddr>, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Shared, &mut Vec<Block>) -> Result<T, Error> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let until = Instant::now() + shared.wait;
        let holder = Holder { address, ..Holder::default() };
        let place = shared.admitted.try_take(&holder, 1).map_err(|e| e.fault(SERVICE, IN_ALL))?;
        let mut turn = shared.turns.try_take(&holder, 0).map_err(|e| e.fault(SERVICE, AT_ONCE))?;
        turn.grow(1, until).await.map_err(|e| e.fault(SERVICE, AT_ONCE))?;
        let thread = timeout_at(until, Arc::clone(&shared.running).acquire_owned()).await;
        // It is never closed.
        let Ok(Ok(thread)) = thread else { return Err(Error::Overloaded) };
        // What is held moves onto the thread: a caller that gives up does not make room before its work has ended.
        task::blocking(move || {
            let mut memory = shared.memory.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let result = work(&shared, &mut memory);
            shared.memory.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
            drop((thread, turn, place));
            result
        })
        .await
        .map_err(Error::Thread)?
    }
}

/// How many turns there are, of which one percent is an address's part of the threads.
fn turns(threads: usize, percent: u8) -> usize {
    let of_one = (threads * usize::from(percent) / 100).max(1);
    of_one * 100 + 99
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, iterations: 1 };
    const NOBODY: Option<IpAddr> = None;
    const LONG: Duration = Duration::from_secs(60);

    fn pool(threads: usize, queue: usize, wait: Duration) -> HashPool {
        HashPool::new(CHEAP, Bounds { threads, queue, wait, percent: Percent { address: 50, ..Percent::default() } }).expect("pool")
    }

    fn at(address: &str) -> Option<IpAddr> {
        Some(address.parse().expect("address"))
    }

    /// Work that ends when the other end is dropped.
    fn until_dropped(other: mpsc::Receiver<()>) -> impl FnOnce(&Shared, &mut Vec<Block>) -> Result<(), Error> + Send + 'static {
        move |_, _| {
            _ = other.recv();
            Ok(())
        }
    }

    fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.expect_err("refused").reason().to_owned()
    }

    #[tokio::test]
    async fn a_password_goes_in_and_out() {
        let pool = pool(2, 2, LONG);
        let stored = pool.hash(NOBODY, "correct horse battery".into(), vec![]).await.expect("hash");
        let verdict = async |password: &str, stored| pool.verify(NOBODY, password.into(), stored).await.expect("verdict");
        assert_eq!(verdict("correct horse battery", Some(stored.clone())).await, Verdict::Right);
        assert_eq!(verdict("another", Some(stored)).await, Verdict::Wrong);
        assert_eq!(verdict("nobody has this password", None).await, Verdict::Wrong);
        assert!(matches!(pool.hash(NOBODY, "password1".into(), vec![]).await, Err(Error::WeakPassword(_))));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_recovers() {
        let pool = pool(1, 1, LONG);
        let (release, blocked) = mpsc::channel::<()>();
        let mut running = Box::pin(pool.run(NOBODY, move |_, _| {
            blocked.recv().expect("released");
            Ok(1)
        }));
        let mut waiting = Box::pin(pool.run(NOBODY, |_, _| Ok(2)));
        assert!(futures::poll!(&mut running).is_pending(), "on the thread");
        assert!(futures::poll!(&mut waiting).is_pending(), "in the queue");
        assert_eq!(reason(pool.run(NOBODY, |_, _| Ok(())).await), "OVERLOADED");
        release.send(()).expect("running");
        assert_eq!((running.await.expect("one"), waiting.await.expect("two")), (1, 2));
        assert!(pool.run(NOBODY, |_, _| Ok(())).await.is_ok());
        assert_eq!(pool.shared.memory.lock().expect("memory").len(), 1, "one thread needs one memory");
    }

    #[tokio::test]
    async fn nobody_waits_forever() {
        let pool = pool(1, 8, Duration::from_millis(20));
        let (_release, blocked) = mpsc::channel();
        let mut running = Box::pin(pool.run(at("192.0.2.1"), until_dropped(blocked)));
        assert!(futures::poll!(&mut running).is_pending());
        assert_eq!(reason(pool.run(at("192.0.2.1"), |_, _| Ok(())).await), "SHARE_EXHAUSTED", "its own address is at work");
        assert_eq!(reason(pool.run(at("192.0.2.2"), |_, _| Ok(())).await), "OVERLOADED");
        assert_eq!(pool.shared.admitted.held(), 1);
    }

    #[tokio::test]
    async fn addresses_take_turns() {
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
                // Work starts on several threads in no order. So all threads are busy before one of them is released.
                // Without turns 198.51.100.7 would be the last of 41.
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
        assert_eq!((pool.shared.admitted.held(), pool.shared.turns.held()), (0, 0));
    }

    #[test]
    fn an_address_has_its_part_of_the_threads() {
        for (threads, percent, of_one) in [(1, 50, 1), (2, 50, 1), (16, 50, 8), (16, 100, 16), (4, 1, 1)] {
            let total = turns(threads, percent);
            assert_eq!((total / 100, total > 100), (of_one, true), "{threads} threads, {percent} %");
        }
    }

    #[tokio::test]
    async fn work_whose_caller_left_keeps_its_place_until_it_ends() {
        let pool = pool(1, 0, LONG);
        let (release, blocked) = mpsc::channel::<()>();
        let mut left = Box::pin(pool.run(NOBODY, move |_, _| {
            blocked.recv().expect("released");
            Ok(())
        }));
        assert!(futures::poll!(&mut left).is_pending());
        drop(left);
        assert_eq!(reason(pool.run(NOBODY, |_, _| Ok(())).await), "OVERLOADED");
        release.send(()).expect("running");
        chassis::testing::eventually(Duration::from_secs(10), || async { pool.run(NOBODY, |_, _| Ok(())).await.ok() }).await;
    }
}
