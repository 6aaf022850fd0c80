//! The plan that a turn carries out: the answer of an earlier turn in mode plan.

use proto::{
    error::Violations,
    id::{ProjectId, TurnId, UserId},
};

use crate::{
    error::{Error, SERVICE},
    store::{Pool, events, turns},
    turn::{State, Turn, mode::Mode, transcript::RecordedTurn},
};

/// The most bytes of a plan that a turn gets.
const MAX_BYTES: usize = 32 * 1024;

/// The project of a request: its id, or the client's own id.
type Project<'a> = (Option<ProjectId>, Option<&'a str>);

/// The plan of a turn. `None` without a turn.
///
/// # Errors
/// INVALID_FIELD: the turn is not a completed one of this person and project in mode plan, or its events were deleted.
pub(crate) async fn find(db: &Pool, user: UserId, turn: Option<TurnId>, project: Project<'_>) -> Result<Option<String>, Error> {
    let Some(id) = turn else { return Ok(None) };
    let turn = turns::find(db, id, user).await?.ok_or_else(|| invalid("must be a turn of yours on the same project"))?;
    if !is_same_project(db, user, project, &turn).await? {
        return Err(invalid("must be a turn of yours on the same project"));
    }
    if turn.mode != Mode::Plan || turn.state != State::Completed {
        return Err(invalid("must be a completed turn in TURN_MODE_PLAN"));
    }
    let answer = answer(db, id).await?;
    if answer.trim().is_empty() {
        return Err(invalid("must be a turn whose events are still kept"));
    }
    Ok(Some(answer[..answer.floor_char_boundary(MAX_BYTES)].to_owned()))
}

async fn is_same_project(db: &Pool, user: UserId, (project, draft): Project<'_>, turn: &Turn) -> Result<bool, Error> {
    let project = match draft {
        Some(draft) if turn.draft_id.as_deref() == Some(draft) => return Ok(true),
        Some(draft) => turns::project_of_draft(db, user, draft).await?,
        None => project,
    };
    Ok(project.is_some() && project == turn.project_id)
}

/// The text of the answer of a turn.
async fn answer(db: &Pool, id: TurnId) -> Result<String, Error> {
    let mut recorded = RecordedTurn::default();
    events::read_all(db, id, |seq, kind| recorded.apply(seq, kind)).await?;
    Ok(recorded.transcript.answer.text().to_owned())
}

fn invalid(text: &str) -> Error {
    let mut violations = Violations::default();
    violations.add("plan_turn_id", text);
    violations.check(SERVICE).err().map_or(Error::TurnNotFound, Error::Refused)
}
