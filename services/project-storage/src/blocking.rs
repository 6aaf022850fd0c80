//! CPU work that depends on the size of files.

/// Above this many bytes, work leaves the threads that answer requests.
const MAX_INLINE_BYTES: usize = 256 * 1024;

/// Runs work on `bytes` bytes of content: in place if they are few, otherwise on a thread for blocking work.
pub(crate) async fn run<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= MAX_INLINE_BYTES { work() } else { on_thread(work).await }
}

/// Runs work on a thread for blocking work.
pub(crate) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    chassis::task::blocking_and_wait(work).await
}
