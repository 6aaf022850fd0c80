//! The log of deletions, for the services that keep data of projects.

use chassis::{clock::timestamp, context::Context, page};
use proto::{error::Violations, project_storage as pb};
use tonic::Request;

use super::decode;
use crate::{
    app::App,
    error::Error,
    model::deletion::{Deleted, Deletion},
    store::deletions,
};

/// Ids of one acknowledgement.
const MAX_IDS: usize = 200;

pub(super) async fn list(app: &App, request: Request<pb::ListDeletionsRequest>) -> Result<pb::ListDeletionsResponse, Error> {
    let follower = Context::of(&request).caller;
    let pb::ListDeletionsRequest { after, page_size } = request.into_inner();
    let mut violations = Violations::default();
    let size = page::size(page_size, &mut violations);
    decode::checked(violations, Some(()))?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let found = deletions::waiting(app.pool(), follower, after, size).await?;
    Ok(pb::ListDeletionsResponse { deletions: found.into_iter().map(encode).collect() })
}

fn encode(deletion: Deletion) -> pb::Deletion {
    let (kind, project, turn, message) = match deletion.deleted {
        Deleted::Project(project) => (pb::DeletionKind::Project, project, None, None),
        Deleted::Message { project, turn, message } => (pb::DeletionKind::Message, project, Some(turn), Some(message)),
    };
    pb::Deletion {
        id: u64::try_from(deletion.id).unwrap_or(0),
        kind: kind.into(),
        project_id: project.to_string(),
        turn_id: turn.map(|id| id.to_string()).unwrap_or_default(),
        message_id: message.map(|id| id.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(deletion.created_at)),
    }
}

pub(super) async fn acknowledge(
    app: &App,
    request: Request<pb::AcknowledgeDeletionsRequest>,
) -> Result<pb::AcknowledgeDeletionsResponse, Error> {
    let follower = Context::of(&request).caller;
    let pb::AcknowledgeDeletionsRequest { ids } = request.into_inner();
    let mut violations = Violations::default();
    if !(1..=MAX_IDS).contains(&ids.len()) {
        violations.add("ids", format!("must have 1 to {MAX_IDS} entries"));
    }
    decode::checked(violations, Some(()))?;
    let ids: Vec<i64> = ids.into_iter().filter_map(|id| i64::try_from(id).ok()).collect();
    deletions::acknowledge(app.pool(), follower, &ids).await?;
    Ok(pb::AcknowledgeDeletionsResponse {})
}
