//! Finds the failpoints in the source of the services, so that a new statement needs no change here. Statements that turns do not reach are
//! listed here with the reason.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use backlot::role::Role;

use crate::deployment::node::Failpoint;

/// Statements that turns do not reach, with the reason.
const EXCLUDED: &[(Role, &[&str], &str)] = &[
    (Role::AgentStreaming, &["check partition", "remove partition"], "runs a week after the first turn"),
    (
        Role::AgentStreaming,
        &["select agent", "select skills"],
        "runs only if the agents or skills have changed since the turn was accepted; a test of the service does that",
    ),
    (Role::AgentStreaming, &["delete old prompt parts"], "runs once an hour"),
    (Role::AgentStreaming, &["select catalogue"], "runs only if an operator replays a selection; a test of the service does that"),
    (
        Role::ProjectStorage,
        &["select account bytes", "select draft", "select member", "select pending write"],
        "runs only if a write was refused: a full account, a race, or an expired lease",
    ),
    (Role::ProjectStorage, &["select ended session"], "runs only if a preview could not be created: its session has ended meanwhile"),
    (Role::ProjectStorage, &["release sweep"], "runs only after another statement of the sweep failed"),
    (
        Role::ProjectStorage,
        &["request sweep"],
        "runs only if a lease begins between two statements of a sweep; a test of the service does that",
    ),
    (
        Role::ProjectStorage,
        &["select deployment", "select hashed file"],
        "run only for the archive of a deployment, and for an address that a site does not have; tests of the service do that",
    ),
    (Role::ProjectStorage, &["insert template objects"], "publishes the templates that ship with Backlot, once for a database"),
    (Role::Compile, &["update pages"], "runs ten minutes after the first answer with a page"),
    (
        Role::Compile,
        &["select resolutions", "insert resolutions", "select tarballs", "insert tarballs", "select bundles", "insert bundles"],
        "runs only for packages, and a run has no registry",
    ),
    (
        Role::Compile,
        &[
            "select vendored versions",
            "list vendored packages",
            "find vendored package",
            "select vendored tarball",
            "insert vendored package",
            "list bundles",
            "select output sizes",
        ],
        "runs only for packages that an operator keeps; tests of the service do that",
    ),
    (Role::ProjectStorage, &["forget ended sessions"], "runs only if auth gets another database"),
];

/// RPCs of a turn, by the role that calls them.
const CALLS: &[(Role, &[&str])] = &[
    (Role::Gateway, &["StartTurn", "StreamTurnEvents", "CancelTurn", "BuildPage", "BuildSite", "GetModule"]),
    (
        Role::AgentStreaming,
        &[
            "BeginTurn",
            "GetTurnTree",
            "ListTurnMessages",
            "CommitTurn",
            "EndTurn",
            "Check",
            "ListDeletions",
            "AcknowledgeDeletions",
            "CheckTree",
            "OutlineTree",
        ],
    ),
];

/// The failpoints of a role, grouped by whether they end the process.
pub struct Points {
    pub aborts: BTreeSet<Failpoint>,
    pub errors: BTreeSet<Failpoint>,
}

/// Finds the failpoints of a role.
///
/// # Errors
/// The source files cannot be read, or an excluded statement does not exist.
pub fn of(role: Role) -> Result<Points> {
    let calls = CALLS.iter().filter(|(of, _)| *of == role).flat_map(|(_, calls)| calls.iter().map(|call| format!("rpc/{call}")));
    let places: Vec<String> = statements(role)?.into_iter().map(|summary| summary.replace(' ', "-")).chain(calls).collect();
    let point = |place: &str, side: &str, mode: &str| Failpoint { place: format!("{place}/{side}"), mode: mode.to_owned() };
    let aborts = places.iter().flat_map(|place| ["before", "after"].map(|side| point(place, side, "abort"))).collect();
    let errors = places.iter().flat_map(|place| [point(place, "before", "error"), point(place, "after", "timeout")]).collect();
    Ok(Points { aborts, errors })
}

/// The summaries that the source of a role passes to `chassis::postgres::query`.
fn statements(role: Role) -> Result<BTreeSet<String>> {
    if role == Role::Gateway {
        return Ok(BTreeSet::new());
    }
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services");
    let mut found = BTreeSet::new();
    // The store of agent-streaming does not use the shared statements for transactions.
    if role != Role::AgentStreaming {
        found.extend(summaries(&fs::read_to_string(services.join("chassis/src/postgres/store.rs"))?));
    }
    for path in files(&services.join(role.name()).join("src/store"))? {
        // The statements of seeded bugs have the same summaries as those that they replace.
        if path.file_name().is_some_and(|name| name != "testing.rs" && name != "seeded_bugs.rs") {
            found.extend(summaries(&fs::read_to_string(path)?));
        }
    }
    for (_, excluded, reason) in EXCLUDED.iter().filter(|(of, ..)| *of == role) {
        for summary in *excluded {
            ensure!(found.remove(*summary), "the excluded statement {summary:?} does not exist ({reason})");
        }
    }
    Ok(found)
}

/// The files of a folder and of all folders below it.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

fn summaries(source: &str) -> BTreeSet<String> {
    let calls = source.split("query(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    calls.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_has_four_failpoints() {
        assert_eq!(summaries("query(\n  \"a b\", x) sqlx::query!(\"SELECT\") query(summary)"), BTreeSet::from(["a b".to_owned()]));
        let points = of(Role::AgentStreaming).unwrap();
        assert!(points.aborts.iter().any(|p| p.place == "claim-turns/after") && points.errors.len() == points.aborts.len());
        assert!(of(Role::ProjectStorage).unwrap().errors.iter().any(|p| p.place == "commit/after" && p.mode == "timeout"));
        assert_eq!(of(Role::Gateway).unwrap().aborts.len(), 12);
    }
}
