//! Repeats the ends of turns, as a worker does that got no answer. The same change set must get the same answer, another change set for the
//! same turn must be refused, and a turn that has ended in one way cannot end in another one.

use std::time::Duration;

use anyhow::{Context as _, Result};
use backlot::role::Role;
use chassis::{
    client::{self, ServiceChannel},
    context::Context,
    identity::Caller,
    secret::ClusterSecret,
};
use proto::{
    error::Fault,
    project_storage::{
        CommitOutcome, CommitTurnRequest, CommitTurnResponse, EndTurnRequest, EndTurnResponse, TurnEnd,
        project_storage_service_client::ProjectStorageServiceClient,
    },
};
use test_support::canary::Stopwatch;
use tokio::time::sleep;
use tonic::{Response, Status};

use super::{check::Violation, collect::ANSWERED_WITHIN};
use crate::deployment::{self, Deployment};

/// How many turns of each state are repeated after a round.
const TURNS: i64 = 8;
/// The states of turns at project-storage.
const COMMITTED: i16 = 2;
const UNCHANGED: i16 = 3;
const CONFLICTED: i16 = 4;
/// Reasons of errors that do not depend on the call.
const TRANSIENT: [&str; 2] = ["TIMEOUT", "UNAVAILABLE"];
const PAUSE: Duration = Duration::from_millis(100);
const RULE: &str = "ends of turns are idempotent";

type Storage = ProjectStorageServiceClient<ServiceChannel>;
type Answer<T> = Result<T, String>;

/// A turn that has ended, as it is stored.
#[derive(Debug, sqlx::FromRow)]
struct EndedTurn {
    id: String,
    state: i16,
    digest: Vec<u8>,
    /// Empty if it made none.
    revision: String,
    conflict_paths: Vec<String>,
}

/// Repeats the ends of the newest turns of each state, of projects that their users can reach. Returns the violations.
///
/// # Errors
/// The database does not answer.
pub async fn check(deployment: &Deployment) -> Result<Vec<Violation>> {
    let node = deployment.of(Role::ProjectStorage).next().context("a project-storage")?;
    let (uri, secret) = (format!("http://{}", node.address).parse()?, ClusterSecret::of_bytes(deployment::SECRET.as_bytes()));
    let storage = ProjectStorageServiceClient::new(client::connect(Caller::AgentStreaming, Caller::ProjectStorage, &uri, &secret));
    let turns: Vec<EndedTurn> = sqlx::query_as(
        "SELECT id, state, digest, revision, conflict_paths FROM (
            SELECT id::text, state, coalesce(digest, '') AS digest, coalesce(encode(revision, 'hex'), '') AS revision, conflict_paths,
                row_number() OVER (PARTITION BY state ORDER BY id DESC) AS place
            FROM turns t WHERE state > 1 AND EXISTS (
                SELECT 1 FROM projects p JOIN members m ON m.project_id = p.id
                WHERE p.id = t.project_id AND p.deleted_at IS NULL AND m.user_id = t.user_id)
        ) t WHERE place <= $1",
    )
    .bind(TURNS)
    .fetch_all(&deployment.pool("project-storage").await?)
    .await?;
    let mut found = Vec::new();
    for turn in turns {
        let problems = problems(&storage, &turn).await;
        found.extend(problems.into_iter().map(|text| Violation { rule: RULE, turn: Some(turn.id.clone()), text }));
    }
    Ok(found)
}

/// What is wrong with the answers to repeated ends of a turn.
async fn problems(storage: &Storage, turn: &EndedTurn) -> Vec<String> {
    let other: Vec<u8> = if turn.digest.is_empty() { vec![0; 32] } else { turn.digest.iter().map(|byte| !byte).collect() };
    let mut found = Vec::new();
    let mut require = |holds: bool, text: String| {
        if !holds {
            found.push(text)
        }
    };
    let with_other = commit(storage, turn, other).await.map(|answer| answer.outcome);
    let ended = end(storage, turn).await;
    if let Some(outcome) = outcome(turn.state) {
        let same = commit(storage, turn, turn.digest.clone()).await;
        require(
            same.as_ref().is_ok_and(|answer| is_same(turn, outcome, answer)),
            format!("the repeated commit of {turn:?} is answered with {same:?}"),
        );
        let refused = with_other == Err("TURN_DIGEST_MISMATCH".to_owned());
        require(refused, format!("a commit with another digest is answered with {with_other:?}"));
        require(ended == Err("TURN_ENDED".to_owned()), format!("a failure after the commit of {turn:?} is answered with {ended:?}"));
    } else {
        let refused = with_other == Err("TURN_ENDED".to_owned());
        require(refused, format!("a commit after the end of {turn:?} is answered with {with_other:?}"));
        require(ended.is_ok(), format!("the repeated end of {turn:?} is answered with {ended:?}"));
    }
    found
}

/// The outcome of a commit; `None` for a turn that ended without one.
fn outcome(state: i16) -> Option<CommitOutcome> {
    match state {
        COMMITTED => Some(CommitOutcome::Committed),
        UNCHANGED => Some(CommitOutcome::Unchanged),
        CONFLICTED => Some(CommitOutcome::Conflicted),
        _ => None,
    }
}

fn is_same(turn: &EndedTurn, outcome: CommitOutcome, answer: &CommitTurnResponse) -> bool {
    let revision = answer.revision.as_ref().map_or("", |revision| revision.id.as_str());
    answer.outcome == outcome as i32 && revision == turn.revision && answer.conflict_paths == turn.conflict_paths
}

async fn commit(storage: &Storage, turn: &EndedTurn, digest: Vec<u8>) -> Answer<CommitTurnResponse> {
    let request = CommitTurnRequest { turn_id: turn.id.clone(), digest: digest.into(), ..CommitTurnRequest::default() };
    answered(async || storage.clone().commit_turn(Context::background().request(request.clone())).await).await
}

/// Fails the turn, or repeats its end.
async fn end(storage: &Storage, turn: &EndedTurn) -> Answer<EndTurnResponse> {
    let request = EndTurnRequest { turn_id: turn.id.clone(), end: TurnEnd::Cancelled.into(), ..EndTurnRequest::default() };
    answered(async || storage.clone().end_turn(Context::background().request(request.clone())).await).await
}

/// Repeats a call that gets no answer on a starved machine. An error is the reason.
async fn answered<T>(call: impl AsyncFn() -> Result<Response<T>, Status>) -> Answer<T> {
    let clock = Stopwatch::start();
    loop {
        let answer = call().await.map(Response::into_inner).map_err(|status| Fault::from_status(&status).reason);
        let unanswered = answer.as_ref().is_err_and(|reason| TRANSIENT.contains(&reason.as_str()));
        if !unanswered || !clock.is_starved() || clock.elapsed() > ANSWERED_WITHIN {
            return answer;
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use proto::project_storage::Revision;

    use super::*;

    #[test]
    fn an_answer_is_the_same_only_with_outcome_revision_and_paths() {
        let turn = |state, revision: &str, paths: &[&str]| EndedTurn {
            id: "t".into(),
            state,
            digest: vec![1],
            revision: revision.into(),
            conflict_paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        let answer = |outcome: CommitOutcome, revision: &str, paths: &[&str]| CommitTurnResponse {
            outcome: outcome.into(),
            revision: (!revision.is_empty()).then(|| Revision { id: revision.to_owned(), ..Revision::default() }),
            conflict_paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        let same = |turn: &EndedTurn, answer: &CommitTurnResponse| is_same(turn, outcome(turn.state).unwrap(), answer);
        let conflicted = turn(CONFLICTED, "r", &["a"]);
        assert!(same(&conflicted, &answer(CommitOutcome::Conflicted, "r", &["a"])));
        assert!(same(&turn(UNCHANGED, "", &[]), &answer(CommitOutcome::Unchanged, "", &[])));
        for other in [
            answer(CommitOutcome::Committed, "r", &["a"]),
            answer(CommitOutcome::Conflicted, "s", &["a"]),
            answer(CommitOutcome::Conflicted, "", &["a"]),
            answer(CommitOutcome::Conflicted, "r", &[]),
        ] {
            assert!(!same(&conflicted, &other), "{other:?}");
        }
        assert_eq!([5, 6].map(outcome), [None, None]);
    }
}
