//! Reads a user's turns: one turn, or those of a project page by page.

use chassis::page::PageTokens;
use proto::{
    id::{ProjectId, TurnId, UserId},
    metadata::Metadata,
};

use crate::{
    error::Error,
    store::{
        Pool,
        turns::{self, TurnFilter},
    },
    turn::Turn,
};

/// A valid ListTurns request.
pub(crate) struct ListRequest {
    pub(crate) user: UserId,
    pub(crate) project: Option<ProjectId>,
    pub(crate) draft: String,
    pub(crate) open_only: bool,
    pub(crate) client_message_id: String,
    /// Entries that a turn must have.
    pub(crate) metadata: Metadata,
    pub(crate) before: Option<TurnId>,
}

impl ListRequest {
    /// The scope of the request's page tokens: a token is valid only with the same filter.
    pub(crate) fn scope(&self) -> String {
        let project = self.project.map(|id| id.to_string()).unwrap_or_default();
        let mut scope = format!("ListTurns {} {project} {} {} {}", self.user, self.draft, self.open_only, self.client_message_id);
        // Without metadata it is the scope of the release before, whose tokens stay valid.
        if !self.metadata.is_empty() {
            scope.push_str(&format!(" {:?}", self.metadata));
        }
        scope
    }
}

/// A turn of the user.
pub(crate) async fn get(db: &Pool, user: UserId, id: TurnId) -> Result<Turn, Error> {
    turns::find(db, id, user).await?.ok_or(Error::TurnNotFound)
}

/// Returns one page, and the token of the next page if there is one.
pub(crate) async fn page(db: &Pool, tokens: &PageTokens, request: ListRequest, size: i64) -> Result<(Vec<Turn>, Option<String>), Error> {
    let project = match request.project {
        Some(project) => Some(project),
        None => turns::project_of_draft(db, request.user, &request.draft).await?,
    };
    let Some(project) = project else { return Ok((Vec::new(), None)) };
    let scope = request.scope();
    let ListRequest { user, open_only, client_message_id, metadata, before, .. } = request;
    let mut found = turns::list(db, &TurnFilter { user, project, open_only, client_message_id, metadata, before }, size + 1).await?;
    let more = found.len() > usize::try_from(size).unwrap_or(usize::MAX);
    found.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    let next = found.last().filter(|_| more).map(|turn| tokens.seal(&scope, &turn.id.0));
    Ok((found, next))
}
