//! The plan that a turn carries out: the answer of an earlier turn in mode plan.

use chassis::context::Context;
use proto::{
    error::Violations,
    id::{ProjectId, TurnId},
    text::replace_nul,
};

use crate::{
    app::App,
    error::{Error, SERVICE},
    model::agents::Agents,
    store::{Pool, StoreError, events, turns},
    turn::{State, answer::Answer, mode::Mode},
};

/// The most bytes of a plan that a turn gets.
const MAX_BYTES: usize = 32 * 1024;

/// The project of a request: its id, or the client's own id.
type Project<'a> = (Option<ProjectId>, Option<&'a str>);

/// A plan that a turn carries out.
#[derive(Debug)]
pub(crate) struct EarlierPlan {
    /// The steps, as the turn stores them.
    pub(crate) steps: String,
    /// The agent that made it.
    agent: String,
}

impl EarlierPlan {
    /// The agent that carries the plan out, for a request that names one or, with an empty name, none: the agent that made the plan, unless it
    /// is no longer there.
    pub(crate) fn agent<'a>(&'a self, agents: &Agents, named: &'a str) -> &'a str {
        if named.is_empty() && agents.get(&self.agent).is_some() { &self.agent } else { named }
    }
}

/// The plan of a turn. `None` without a turn.
///
/// # Errors
/// INVALID_FIELD: the turn is not a completed one of this person and project in mode plan, or its events were deleted.
pub(crate) async fn find(app: &App, context: &Context, turn: Option<TurnId>, project: Project<'_>) -> Result<Option<EarlierPlan>, Error> {
    let Some(id) = turn else { return Ok(None) };
    let other = || invalid("must be a turn of yours on the same project");
    let turn = turns::find(&app.db, id, context.user()?.id).await?.ok_or_else(other)?;
    if turn.project_id.is_none() || turn.project_id != project_of(app, context, project).await? {
        return Err(other());
    }
    if turn.mode != Mode::Plan || turn.state != State::Completed {
        return Err(invalid("must be a completed turn in TURN_MODE_PLAN"));
    }
    let answer = answer(&app.db, id).await?;
    let text = answer.text();
    if text.trim().is_empty() {
        return Err(invalid("must be a turn whose events are still kept"));
    }
    Ok(Some(EarlierPlan { steps: stored(text), agent: turn.agent }))
}

/// A plan as the turn that carries it out stores it.
fn stored(answer: &str) -> String {
    let mut plan = replace_nul(answer.to_owned());
    plan.truncate(plan.floor_char_boundary(MAX_BYTES));
    plan
}

/// The id of a project, if it is known here. The draft id of a deleted project can become that of another one.
async fn project_of(app: &App, context: &Context, (project, draft): Project<'_>) -> Result<Option<ProjectId>, Error> {
    let Some(draft) = draft else { return Ok(project) };
    let Some(newest) = turns::project_of_draft(&app.db, context.user()?.id, draft).await? else { return Ok(None) };
    Ok(app.upstream.may_read(context, newest).await?.then_some(newest))
}

/// The answer of a turn.
async fn answer(db: &Pool, id: TurnId) -> Result<Answer, StoreError> {
    let mut answer = Answer::default();
    events::read_all(db, id, |_, kind| answer.apply(kind)).await?;
    Ok(answer)
}

fn invalid(text: &str) -> Error {
    let mut violations = Violations::default();
    violations.add("plan_turn_id", text);
    violations.check(SERVICE).err().map_or(Error::TurnNotFound, Error::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_can_be_stored_and_is_bounded() {
        for (answer, plan) in [
            ("1. Write.", "1. Write.".to_owned()),
            ("1.\0Write.", "1.\u{fffd}Write.".to_owned()),
            (&"\0".repeat(MAX_BYTES), "\u{fffd}".repeat(MAX_BYTES / 3)),
            (&"x".repeat(MAX_BYTES + 1), "x".repeat(MAX_BYTES)),
        ] {
            assert_eq!(stored(answer), plan);
        }
    }
}
