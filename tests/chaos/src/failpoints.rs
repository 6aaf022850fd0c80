//! Finds the failpoints in the source of the services, so that a new statement needs no change here. Statements that the load does not reach
//! are listed here with the reason, and calls that it does not make in [`calls`].

mod calls;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use backlot::role::Role;

use crate::deployment::node::Failpoint;

/// Statements that the load does not reach, with the reason.
const EXCLUDED: &[(Role, &[&str], &str)] = &[
    (Role::AgentStreaming, &["check partition", "remove partition"], "runs a week after the first turn"),
    (
        Role::AgentStreaming,
        &["select agent", "select skills"],
        "runs only if the agents or skills have changed since the turn was accepted; a test of the service does that",
    ),
    (Role::AgentStreaming, &["seal provider key again"], "runs only after a change of the cluster secret; a test of the service does that"),
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
    (Role::ProjectStorage, &["insert template objects"], "publishes the templates that ship with Backlot, once for a database"),
    (
        Role::Compile,
        &[
            "select vendored versions",
            "list vendored packages",
            "find vendored package",
            "insert vendored package",
            "list bundles",
            "select output sizes",
        ],
        "runs only for packages that an operator keeps; tests of the service do that",
    ),
    (Role::ProjectStorage, &["forget ended sessions"], "runs only if auth gets another database"),
    (
        Role::Auth,
        &["delete signing_keys"],
        "runs half an hour after a key was replaced, or if one is replaced at once, which ends access tokens that the editors use; tests of the \
         service do that",
    ),
    (
        Role::Auth,
        &["update signing_keys", "seal totp_secrets again"],
        "runs only after a change of the cluster secret; tests of the service do that",
    ),
    (Role::Auth, &["postpone mail"], "runs only after a mail could not be written; a test of the service with a mail server does that"),
];

/// RPCs of a turn, of previews and sites, of stored keys, and of accounts and their credentials, by the role that calls them.
const CALLS: &[(Role, &[&str])] = &[
    (
        Role::Gateway,
        &[
            "StartTurn",
            "StreamTurnEvents",
            "CancelTurn",
            "ListStagedFiles",
            "GetStagedFile",
            "GetStagedTree",
            "GetFindings",
            "CreatePreview",
            "PublishSite",
            "WatchProject",
            "BuildPage",
            "BuildSite",
            "GetModule",
            "CreateProviderKey",
            "ListProviderKeys",
            "UpdateProviderKey",
            "DeleteProviderKey",
            "DeleteAccount",
            "SignUp",
            "SignIn",
            "SignOut",
            "StepUp",
            "ChangePassword",
            "CreateAccessToken",
            "CreateRefreshToken",
            "RecordAccessTokenUse",
            "CreateApiKey",
            "ListApiKeys",
            "DeleteApiKey",
            "ListSessions",
            "RevokeSessions",
            "WatchRevocations",
        ],
    ),
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
            "ListAccountDeletions",
            "AcknowledgeAccountDeletions",
        ],
    ),
    (Role::ProjectStorage, &["ListAccountDeletions", "AcknowledgeAccountDeletions"]),
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
    let calls = called().filter(|(of, _)| *of == role).map(|(_, call)| format!("rpc/{call}"));
    let places: Vec<String> = statements(role)?.into_iter().map(|summary| summary.replace(' ', "-")).chain(calls).collect();
    let point = |place: &str, side: &str, mode: &str| Failpoint { place: format!("{place}/{side}"), mode: mode.to_owned() };
    let aborts = places.iter().flat_map(|place| ["before", "after"].map(|side| point(place, side, "abort"))).collect();
    let errors = places.iter().flat_map(|place| [point(place, "before", "error"), point(place, "after", "timeout")]).collect();
    Ok(Points { aborts, errors })
}

/// The calls with failpoints, each with the role that makes it.
fn called() -> impl Iterator<Item = (Role, &'static str)> {
    CALLS.iter().chain(calls::OF_ACCOUNTS).flat_map(|(role, calls)| calls.iter().map(move |call| (*role, *call)))
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
    let wrong: Vec<_> = found.iter().filter(|summary| !is_name(summary)).collect();
    ensure!(wrong.is_empty(), "statements of {} with summaries that are no names: {wrong:?}", role.name());
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

/// The first arguments of the calls of `query`. `sqlx::query` takes SQL, and only tests call it.
fn summaries(source: &str) -> BTreeSet<String> {
    let own = source.replace("sqlx::query(", "sqlx(");
    let calls = own.split("query(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    calls.map(str::to_owned).collect()
}

/// Whether the crate `fail` takes the summary as a part of a name.
fn is_name(summary: &str) -> bool {
    summary.chars().all(|c| c.is_ascii_lowercase() || matches!(c, ' ' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_has_four_failpoints() {
        assert_eq!(
            summaries("query(\n  \"a b\", x) sqlx::query!(\"SELECT\") query(summary) sqlx::query(\"SELECT\")"),
            BTreeSet::from(["a b".to_owned()])
        );
        assert!(is_name("delete expired sign_ins") && !is_name("update x set y=1") && !is_name("SELECT"));
        let points = of(Role::AgentStreaming).unwrap();
        assert!(points.aborts.iter().any(|p| p.place == "claim-turns/after") && points.errors.len() == points.aborts.len());
        assert!(of(Role::ProjectStorage).unwrap().errors.iter().any(|p| p.place == "commit/after" && p.mode == "timeout"));
        assert!(of(Role::Auth).unwrap().aborts.iter().any(|p| p.place == "commit-refresh_tokens/before"));
        let compile = of(Role::Compile).unwrap().aborts;
        for table in ["resolutions", "tarballs", "bundles"] {
            assert!(compile.iter().any(|p| p.place == format!("insert-{table}/before")), "a run stores {table}");
        }
        assert!(compile.iter().any(|p| p.place == "update-pages/after"), "a run records the use of a page");
        assert!(points.aborts.iter().any(|p| p.place == "delete-old-prompt-parts/before"), "a run deletes old prompts");
        let calls = called().filter(|(role, _)| *role == Role::Gateway).count();
        assert_eq!(of(Role::Gateway).unwrap().aborts.len(), 2 * calls, "no call is listed twice");
    }
}
