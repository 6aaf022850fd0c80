//! The threads of the bundler. All of them exist before a worker gives up starting threads.

use std::{io, time::Duration};

use tokio::runtime::{Builder, Runtime};

/// One thread for tasks, one for parallel loops, and one that stands in for the first.
#[derive(Debug)]
pub struct Threads {
    pub(super) runtime: Runtime,
}

impl Threads {
    /// `stack` is the size of each stack, in bytes.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub fn start(stack: usize) -> io::Result<Self> {
        // The pool is one for the process: a second start keeps the first one's.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(1).stack_size(stack).build_global();
        rayon::broadcast(|_| ());
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .thread_stack_size(stack)
            .thread_keep_alive(Duration::from_secs(3600))
            .build()?;
        let (task, stand_in) = (runtime.spawn(async {}), runtime.spawn_blocking(|| ()));
        runtime.block_on(async {
            let _ = (task.await, stand_in.await);
        });
        Ok(Self { runtime })
    }
}
