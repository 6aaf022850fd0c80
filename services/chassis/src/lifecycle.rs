//! Signals. The first SIGTERM, SIGINT or SIGHUP starts a graceful shutdown, or ends a start that still waits; the second one exits at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::task;

/// The exit status after a second signal.
pub const EXIT_HARD: i32 = 130;

/// A token that the first SIGTERM, SIGINT or SIGHUP cancels.
///
/// # Errors
/// The handlers cannot be installed.
pub fn shutdown_on_signal() -> std::io::Result<CancellationToken> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let token = CancellationToken::new();
    let shutdown = token.clone();
    task::spawn(async move {
        loop {
            let name = tokio::select! { _ = term.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT", _ = hangup.recv() => "SIGHUP" };
            if shutdown.is_cancelled() {
                tracing::warn!(signal = name, "second signal: exiting without draining");
                std::process::exit(EXIT_HARD);
            }
            tracing::info!(signal = name, "stopping; a second signal exits at once");
            shutdown.cancel();
        }
    });
    Ok(token)
}

/// Runs the start of a service, which may wait for a database or Redis. Returns `None` if the stop signal comes first: the service has
/// served nothing, so it ends without a drain.
pub async fn unless_stopped<T>(shutdown: &CancellationToken, start: impl Future<Output = T>) -> Option<T> {
    let started = shutdown.run_until_cancelled(start).await;
    if started.is_none() {
        tracing::info!("stopped before the start was complete");
    }
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_ends_a_start_that_waits() {
        let shutdown = CancellationToken::new();
        assert_eq!(unless_stopped(&shutdown, async { 1 }).await, Some(1));
        let mut waiting = Box::pin(unless_stopped(&shutdown, std::future::pending::<()>()));
        assert!(futures::poll!(&mut waiting).is_pending());
        shutdown.cancel();
        assert_eq!(waiting.await, None);
        assert_eq!(unless_stopped(&shutdown, async { 1 }).await, None, "nothing starts after a stop");
    }
}
