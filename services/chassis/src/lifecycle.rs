//! Signals. The first SIGTERM, SIGINT or SIGHUP starts a graceful shutdown; the second one exits at once.

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
