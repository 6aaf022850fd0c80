//! Where password work runs: on blocking threads, as many at once as configured, each with Argon2's memory kept from the last
//! time, and with a bounded queue before them. A flood of sign-ins fills the queue and is told to come back; it takes neither
//! memory without end nor the threads that serve everybody else.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::Block;
use chassis::task;
use tokio::sync::Semaphore;

use crate::{
    error::Error,
    password::{self, Cost, HashError, Verdict},
};

/// Cheap to clone; all clones share the threads and the queue.
#[derive(Clone)]
pub struct HashPool {
    shared: Arc<Shared>,
}

struct Shared {
    cost: Cost,
    /// A place on a thread or in the queue.
    admitted: Arc<Semaphore>,
    /// A place on a thread.
    running: Arc<Semaphore>,
    memory: Mutex<Vec<Vec<Block>>>,
    /// Verified against when there is no account, so that an unknown address costs what a known one costs.
    nobody: String,
}

impl HashPool {
    /// `threads` hashes at once, `queue` more waiting.
    ///
    /// # Errors
    /// The parameters are out of Argon2's bounds.
    pub fn new(cost: Cost, threads: usize, queue: usize) -> Result<Self, HashError> {
        let mut memory = Vec::new();
        let nobody = password::hash("nobody has this password", cost, &mut memory)?;
        let shared = Shared {
            cost,
            admitted: Arc::new(Semaphore::new(threads + queue)),
            running: Arc::new(Semaphore::new(threads)),
            memory: Mutex::new(vec![memory]),
            nobody,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The hash of a new password that resists guessing by somebody who knows `known`.
    ///
    /// # Errors
    /// WEAK_PASSWORD, OVERLOADED.
    pub async fn hash(&self, password: String, known: Vec<String>) -> Result<String, Error> {
        self.run(move |shared, memory| {
            password::check_strength(&password, &known).map_err(Error::WeakPassword)?;
            Ok(password::hash(&password, shared.cost, memory)?)
        })
        .await
    }

    /// Whether the password belongs to the stored hash; without one the answer is "wrong" and takes as long.
    ///
    /// # Errors
    /// OVERLOADED.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<Verdict, Error> {
        self.run(move |shared, memory| {
            let verdict = password::verify(&password, stored.as_deref().unwrap_or(&shared.nobody), shared.cost, memory)?;
            Ok(if stored.is_some() { verdict } else { Verdict::Wrong })
        })
        .await
    }

    async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Shared, &mut Vec<Block>) -> Result<T, Error> + Send + 'static,
    {
        let place = Arc::clone(&self.shared.admitted).try_acquire_owned().map_err(|_| Error::Overloaded)?;
        // Never closed.
        let thread = Arc::clone(&self.shared.running).acquire_owned().await.map_err(|_| Error::Overloaded)?;
        let shared = Arc::clone(&self.shared);
        // The permits move onto the thread: a caller that gives up does not make room before its work has ended.
        task::blocking(move || {
            let mut memory = shared.memory.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let result = work(&shared, &mut memory);
            shared.memory.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
            drop((thread, place));
            result
        })
        .await
        .map_err(Error::Thread)?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, iterations: 1 };

    #[tokio::test]
    async fn a_password_goes_in_and_out() {
        let pool = HashPool::new(CHEAP, 2, 2).expect("pool");
        let stored = pool.hash("correct horse battery".into(), vec![]).await.expect("hash");
        assert_eq!(pool.verify("correct horse battery".into(), Some(stored.clone())).await.expect("verdict"), Verdict::Right);
        assert_eq!(pool.verify("another".into(), Some(stored)).await.expect("verdict"), Verdict::Wrong);
        assert_eq!(pool.verify("nobody has this password".into(), None).await.expect("verdict"), Verdict::Wrong);
        assert!(matches!(pool.hash("password1".into(), vec![]).await, Err(Error::WeakPassword(_))));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_recovers() {
        let pool = HashPool::new(CHEAP, 1, 1).expect("pool");
        let (release, blocked) = mpsc::channel::<()>();
        let mut running = Box::pin(pool.run(move |_, _| {
            blocked.recv().expect("released");
            Ok(1)
        }));
        let mut waiting = Box::pin(pool.run(|_, _| Ok(2)));
        assert!(futures::poll!(&mut running).is_pending(), "on the thread");
        assert!(futures::poll!(&mut waiting).is_pending(), "in the queue");
        assert!(matches!(pool.run(|_, _| Ok(())).await, Err(Error::Overloaded)));
        release.send(()).expect("running");
        assert_eq!((running.await.expect("one"), waiting.await.expect("two")), (1, 2));
        assert!(pool.run(|_, _| Ok(())).await.is_ok());
        assert_eq!(pool.shared.memory.lock().expect("memory").len(), 1, "one thread needs one memory");
    }

    #[tokio::test]
    async fn work_whose_caller_left_keeps_its_place_until_it_ends() {
        let pool = HashPool::new(CHEAP, 1, 0).expect("pool");
        let (release, blocked) = mpsc::channel::<()>();
        let mut left = Box::pin(pool.run(move |_, _| {
            blocked.recv().expect("released");
            Ok(())
        }));
        assert!(futures::poll!(&mut left).is_pending());
        drop(left);
        assert!(matches!(pool.run(|_, _| Ok(())).await, Err(Error::Overloaded)));
        release.send(()).expect("running");
        chassis::testing::eventually(std::time::Duration::from_secs(10), || async { pool.run(|_, _| Ok(())).await.ok() }).await;
    }
}
