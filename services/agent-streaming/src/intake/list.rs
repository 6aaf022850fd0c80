//! A person's turns on a project, page by page.

use proto::{
    agent_streaming::{ListTurnsRequest, ListTurnsResponse},
    error::{Fault, Violations},
    id::{ProjectId, TurnId, UserId},
};
use uuid::Uuid;

use crate::{
    app::App,
    error::{Error, SERVICE},
    intake::start,
    store::turns::{self, Wanted},
    turn::Turn,
};

/// A request that makes sense.
pub(crate) struct List {
    user: UserId,
    project: Option<ProjectId>,
    draft: String,
    open_only: bool,
    client_message_id: String,
    before: Option<TurnId>,
}

impl List {
    /// What a page token belongs to.
    fn scope(&self) -> String {
        let project = self.project.map(|id| id.to_string()).unwrap_or_default();
        format!("ListTurns {} {project} {} {} {}", self.user, self.draft, self.open_only, self.client_message_id)
    }
}

/// Checks a request; one answer names everything that is wrong with it.
pub(crate) fn decode(app: &App, user: UserId, request: ListTurnsRequest) -> Result<(List, i64), Fault> {
    let mut violations = Violations::default();
    let size = chassis::page::size(request.page_size, &mut violations);
    let project = start::project(&mut violations, &request.project_id, &request.draft_id);
    start::client_made(&mut violations, "client_message_id", &request.client_message_id);
    let list = List {
        user,
        project,
        draft: request.draft_id,
        open_only: request.open_only,
        client_message_id: request.client_message_id,
        before: None,
    };
    let before: Option<Uuid> = app.pages.open(&list.scope(), &request.page_token).unwrap_or_else(|error| {
        violations.add("page_token", error.to_string());
        None
    });
    violations.check(SERVICE)?;
    Ok((List { before: before.map(TurnId), ..list }, size))
}

pub(crate) async fn page(app: &App, list: List, size: i64) -> Result<ListTurnsResponse, Error> {
    let project = match list.project {
        Some(project) => Some(project),
        None => turns::project_of_draft(&app.db, list.user, &list.draft).await?,
    };
    let Some(project) = project else { return Ok(ListTurnsResponse::default()) };
    let scope = list.scope();
    let List { user, open_only, client_message_id, before, .. } = list;
    let mut found = turns::list(&app.db, &Wanted { user, project, open_only, client_message_id, before }, size + 1).await?;
    let more = found.len() > usize::try_from(size).unwrap_or(usize::MAX);
    found.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    let next = found.last().filter(|_| more).map(|turn| app.pages.seal(&scope, &turn.id.0));
    Ok(ListTurnsResponse { turns: found.iter().map(Turn::wire).collect(), next_page_token: next.unwrap_or_default() })
}
