//! A person's turns on a project, page by page.

use proto::id::{ProjectId, TurnId, UserId};

use crate::{
    app::App,
    error::Error,
    store::turns::{self, Wanted},
    turn::Turn,
};

/// A valid request.
pub(crate) struct List {
    pub(crate) user: UserId,
    pub(crate) project: Option<ProjectId>,
    pub(crate) draft: String,
    pub(crate) open_only: bool,
    pub(crate) client_message_id: String,
    pub(crate) before: Option<TurnId>,
}

impl List {
    /// What a page token belongs to.
    pub(crate) fn scope(&self) -> String {
        let project = self.project.map(|id| id.to_string()).unwrap_or_default();
        format!("ListTurns {} {project} {} {} {}", self.user, self.draft, self.open_only, self.client_message_id)
    }
}

/// One page, and the token of the next one if there is one.
pub(crate) async fn page(app: &App, list: List, size: i64) -> Result<(Vec<Turn>, Option<String>), Error> {
    let project = match list.project {
        Some(project) => Some(project),
        None => turns::project_of_draft(&app.db, list.user, &list.draft).await?,
    };
    let Some(project) = project else { return Ok((Vec::new(), None)) };
    let scope = list.scope();
    let List { user, open_only, client_message_id, before, .. } = list;
    let mut found = turns::list(&app.db, &Wanted { user, project, open_only, client_message_id, before }, size + 1).await?;
    let more = found.len() > usize::try_from(size).unwrap_or(usize::MAX);
    found.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    let next = found.last().filter(|_| more).map(|turn| app.pages.seal(&scope, &turn.id.0));
    Ok((found, next))
}
