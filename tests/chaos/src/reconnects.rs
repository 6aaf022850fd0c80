//! Brings calls and background work to the replicas that have failpoints left. A caller stays connected to a replica as long as that runs, and
//! a job goes to the replica that takes it first.

use anyhow::Result;
use backlot::role::Role;

use super::fault_injector::{Aborts, FaultInjector, READY_WITHIN};

/// The links of the callers of a role.
const CALLERS: [(Role, &[&str]); 3] = [
    (Role::ProjectStorage, &["agent-streaming -> project-storage", "gateway -> project-storage"]),
    (Role::Compile, &["agent-streaming -> compile", "gateway -> compile"]),
    (Role::Auth, &["gateway -> auth", "agent-streaming -> auth", "project-storage -> auth"]),
];

impl FaultInjector {
    /// Sends the callers of each role to the replica that has failpoints left, if only one has.
    pub(super) fn prefer_armed(&self) {
        for (role, callers) in CALLERS {
            let armed: Vec<_> = self.deployment.of(role).filter(|node| !node.armed().is_empty()).collect();
            let preferred = if let [node] = armed[..] { Some(node.address) } else { None };
            for link in callers {
                self.deployment.link(link).prefer(preferred);
            }
        }
    }

    /// The roles of which a failpoint has ended a replica since the last call.
    pub(super) fn aborted(&self, seen: &mut Aborts) -> Vec<Role> {
        let of = |role| self.deployment.of(role).flat_map(|node| node.fired()).filter(|point| point.mode == "abort").count();
        let roles = CALLERS.into_iter().map(|(role, _)| (role, of(role)));
        let grown = roles.filter(|(role, now)| seen.insert(role.name(), *now).unwrap_or_default() < *now);
        grown.map(|(role, _)| role).collect()
    }

    /// Disconnects the callers of all roles, or only those of roles that have aborted. They otherwise stay connected to the replica that did
    /// not die.
    pub(super) async fn disconnect_callers(&self, aborted: Option<&[Role]>) -> Result<()> {
        for (role, callers) in CALLERS.iter().filter(|(role, _)| aborted.is_none_or(|roles| roles.contains(role))) {
            // They would connect to the other replica again.
            for node in self.deployment.of(*role) {
                if node.process().await.is_some() {
                    node.ready(READY_WITHIN).await?;
                }
            }
            for link in *callers {
                self.deployment.link(link).cut();
            }
        }
        Ok(())
    }

    /// Ends the replicas that have no failpoints left while another one of their role has some: that one then does all jobs, such as the
    /// deletion of an account. Starts them again the next time, because some failpoints need two replicas.
    pub(super) async fn end_or_start_others(&self, are_ended: &mut bool) -> Result<()> {
        if *are_ended {
            return self.start_others(are_ended).await;
        }
        *are_ended = true;
        for (role, _) in CALLERS {
            let (armed, others): (Vec<_>, Vec<_>) = self.deployment.of(role).partition(|node| !node.armed().is_empty());
            if armed.is_empty() {
                continue;
            }
            for node in armed {
                if node.process().await.is_some() {
                    node.ready(READY_WITHIN).await?;
                }
            }
            for node in others {
                node.kill().await?;
            }
        }
        Ok(())
    }

    /// Starts the replicas that [`Self::end_or_start_others`] has ended.
    pub(super) async fn start_others(&self, are_ended: &mut bool) -> Result<()> {
        *are_ended = false;
        for (role, _) in CALLERS {
            for node in self.deployment.of(role) {
                node.start().await?;
            }
        }
        Ok(())
    }

    /// Restarts the replicas of project-storage that have failpoints left. A restart empties the cache of objects, so that they are read again.
    pub(super) async fn empty_object_caches(&self) -> Result<()> {
        for node in self.deployment.of(Role::ProjectStorage).filter(|node| !node.armed().is_empty()) {
            node.kill().await?;
            node.start().await?;
        }
        Ok(())
    }
}
