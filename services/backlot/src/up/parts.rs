//! The roles as tasks of one process. Each has its own stop signal, so that a role stops before the roles that it calls.

use std::{fmt, future::Future, time::Duration};

use chassis::{error::chain, task};
use tokio::{sync::mpsc, task::AbortHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::role::Role;

/// The order in which the roles stop, and how long each group may take. Together with the stop of the database and the last flush of the
/// telemetry it is less than thirty seconds. Open calls of agent-streaming may take ten seconds by default; its turns are handed over earlier.
const DRAIN: [(&[Role], Duration); 3] = [
    (&[Role::Gateway], Duration::from_secs(5)),
    (&[Role::AgentStreaming], Duration::from_secs(11)),
    (&[Role::ProjectStorage, Role::Auth, Role::RateLimit, Role::Compile], Duration::from_secs(2)),
];

/// A role that ended without being stopped, and its error.
#[derive(Debug, thiserror::Error)]
#[error("{} stopped by itself{}", .0.name(), .1.as_ref().map(|error| format!(": {error}")).unwrap_or_default())]
pub struct StoppedRole(pub Role, pub Option<String>);

struct Part {
    role: Role,
    stop: CancellationToken,
    ended: CancellationToken,
    abort: AbortHandle,
}

/// The running roles.
pub(super) struct Parts {
    parts: Vec<Part>,
    sender: mpsc::UnboundedSender<StoppedRole>,
    receiver: mpsc::UnboundedReceiver<StoppedRole>,
}

impl Parts {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { parts: Vec::new(), sender, receiver }
    }

    /// Starts a role. `serve` gets the token that stops it.
    pub(super) fn start<E, F>(&mut self, role: Role, serve: impl FnOnce(CancellationToken) -> F)
    where
        E: std::error::Error,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let (stop, ended, sender) = (CancellationToken::new(), CancellationToken::new(), self.sender.clone());
        let (serving, stopping) = (serve(stop.clone()), stop.clone());
        // Dropping the guard cancels `ended`, also after a panic.
        let end = ended.clone().drop_guard();
        // There is no span here: it would last as long as the role and join all requests into one trace.
        let work = async move {
            let result = serving.await.map_err(|error| chain(&error));
            match result {
                Ok(()) if stopping.is_cancelled() => {}
                Ok(()) => drop(sender.send(StoppedRole(role, None))),
                Err(error) => drop(sender.send(StoppedRole(role, Some(error)))),
            }
            drop(end);
        };
        let abort = task::spawn(work).abort_handle();
        self.parts.push(Part { role, stop, ended, abort });
    }

    /// Waits until a role ends without being stopped. In a healthy cluster none does.
    pub(super) async fn stopped(&mut self) -> StoppedRole {
        let ends = self.parts.iter().map(|part| {
            Box::pin(async {
                part.ended.cancelled().await;
                part.role
            })
        });
        let (role, ..) = futures::future::select_all(ends).await;
        // There is an error unless the role panicked.
        self.receiver.try_recv().unwrap_or(StoppedRole(role, None))
    }

    /// Stops all roles in order. A role that does not end in time is aborted.
    pub(super) async fn drain(&self) {
        for (roles, limit) in DRAIN {
            let group: Vec<_> = self.parts.iter().filter(|part| roles.contains(&part.role)).collect();
            for part in &group {
                part.stop.cancel();
            }
            let all = async {
                for part in &group {
                    part.ended.cancelled().await;
                }
            };
            if timeout(limit, all).await.is_err() {
                for part in group.iter().filter(|part| !part.ended.is_cancelled()) {
                    tracing::warn!(role = part.role.name(), "a role did not drain in time and was aborted");
                    part.abort.abort();
                    part.ended.cancelled().await;
                }
            }
        }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|part| part.role)).finish()
    }
}

/// Aborts the roles of a cluster that is dropped without [`Parts::drain`].
impl Drop for Parts {
    fn drop(&mut self) {
        for part in &self.parts {
            part.stop.cancel();
            part.abort.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[tokio::test]
    async fn a_role_stops_before_the_roles_that_it_calls() {
        let (mut parts, log) = (Parts::new(), Arc::new(Mutex::new(Vec::new())));
        for role in Role::ALL {
            let log = log.clone();
            parts.start(role, |stop| async move {
                stop.cancelled().await;
                log.lock().expect("log").push(role);
                Ok::<_, io::Error>(())
            });
        }
        parts.drain().await;
        let order = log.lock().expect("log").clone();
        assert_eq!(order[..2], [Role::Gateway, Role::AgentStreaming]);
        assert_eq!(order.len(), Role::ALL.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_ignores_its_stop_signal_is_aborted() {
        let (mut parts, started) = (Parts::new(), tokio::time::Instant::now());
        for role in Role::ALL {
            parts.start(role, |_| std::future::pending::<Result<(), io::Error>>());
        }
        parts.drain().await;
        assert!(started.elapsed() < Duration::from_secs(19), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn a_failed_role_is_reported_with_its_error_and_a_panicked_one_without() {
        let mut parts = Parts::new();
        parts.start(Role::Auth, |_| async { Err(io::Error::other("no keys")) });
        parts.start(Role::RateLimit, |stop| async move {
            stop.cancelled().await;
            Ok::<_, io::Error>(())
        });
        assert_eq!(parts.stopped().await.to_string(), "auth stopped by itself: no keys");
        let mut parts = Parts::new();
        parts.start::<io::Error, _>(Role::Gateway, |_| async { panic!("a test") });
        assert_eq!(parts.stopped().await.to_string(), "gateway stopped by itself");
    }
}
