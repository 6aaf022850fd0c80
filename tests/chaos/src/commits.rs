//! Repeats commits, as a worker does that got no answer. The same change set must get the same answer, and another change set for the same
//! turn must be refused.

use std::time::Duration;

use anyhow::{Context as _, Result};
use backlot::role::Role;
use chassis::{client, context::Context, identity::Caller, secret::ClusterSecret};
use proto::{
    error::Fault,
    project_storage::{CommitTurnRequest, project_storage_service_client::ProjectStorageServiceClient},
};
use test_support::canary::Stopwatch;
use tokio::time::sleep;

use super::{check::Violation, collect::ANSWERED_WITHIN};
use crate::deployment::{self, Deployment};

/// How many commits of a round are repeated.
const COMMITS: i64 = 8;
/// Reasons of errors that do not depend on the commit.
const TRANSIENT: [&str; 2] = ["TIMEOUT", "UNAVAILABLE"];
const PAUSE: Duration = Duration::from_millis(100);
const RULE: &str = "commits are idempotent";

/// Repeats the newest commits, once unchanged and once with another digest. Returns the violations.
///
/// # Errors
/// The database does not answer.
pub async fn check(deployment: &Deployment) -> Result<Vec<Violation>> {
    let node = deployment.of(Role::ProjectStorage).next().context("a project-storage")?;
    let (uri, secret) = (format!("http://{}", node.address).parse()?, ClusterSecret::of_bytes(deployment::SECRET.as_bytes()));
    let mut storage = ProjectStorageServiceClient::new(client::connect(Caller::AgentStreaming, Caller::ProjectStorage, &uri, &secret));
    let committed: Vec<(String, Vec<u8>, String)> =
        sqlx::query_as("SELECT t.id::text, t.digest, encode(t.revision, 'hex') FROM turns t WHERE t.state = 2 ORDER BY t.id DESC LIMIT $1")
            .bind(COMMITS)
            .fetch_all(&deployment.pool("project-storage").await?)
            .await?;
    let mut found = Vec::new();
    let mut wrong = |turn: &str, text: String| found.push(Violation { rule: RULE, turn: Some(turn.to_owned()), text });
    for (turn, digest, revision) in committed {
        let mut commit = async |digest: Vec<u8>| {
            let clock = Stopwatch::start();
            loop {
                let request = CommitTurnRequest { turn_id: turn.clone(), digest: digest.clone().into(), ..CommitTurnRequest::default() };
                let answer = storage.commit_turn(Context::background().request(request)).await;
                let answer = answer.map(tonic::Response::into_inner).map_err(|status| Fault::from_status(&status).reason);
                let unanswered = answer.as_ref().is_err_and(|reason| TRANSIENT.contains(&reason.as_str()));
                if !unanswered || !clock.is_starved() || clock.elapsed() > ANSWERED_WITHIN {
                    return answer;
                }
                sleep(PAUSE).await;
            }
        };
        let same = commit(digest.clone()).await.map(|answer| answer.revision.unwrap_or_default().id);
        if same.as_ref() != Ok(&revision) {
            wrong(&turn, format!("the repeated commit is answered with {same:?}, the first one was {revision}"));
        }
        let other = commit(digest.iter().map(|byte| !byte).collect()).await.map(|answer| answer.revision);
        if other.as_ref().err().map(String::as_str) != Some("TURN_DIGEST_MISMATCH") {
            wrong(&turn, format!("a commit with another digest is answered with {other:?}"));
        }
    }
    Ok(found)
}
