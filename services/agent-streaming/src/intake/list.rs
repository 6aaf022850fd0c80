//! Reads a user's turns: one turn, or those of a project page by page.

use chassis::{identity::User, page::PageTokens};
use proto::{
    id::{ProjectId, TurnId, UserId},
    metadata::Metadata,
};

use crate::{
    error::Error,
    intake::restriction,
    store::{
        Pool,
        turns::{self, TurnFilter},
    },
    turn::Turn,
};

/// Turns that one page by metadata compares with the filter. At least the largest page and one more.
const COMPARED: i64 = 1000;

/// A valid ListTurns request.
pub(crate) struct ListRequest {
    pub(crate) user: UserId,
    /// The only projects that its access token reaches; `None` for all.
    pub(crate) only: Option<Vec<ProjectId>>,
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
pub(crate) async fn get(db: &Pool, user: &User, id: TurnId) -> Result<Turn, Error> {
    turns::find(db, id, user.id).await?.filter(|turn| restriction::reaches(user, turn)).ok_or(Error::TurnNotFound)
}

/// Returns one page, and the token of the next page if there is one.
pub(crate) async fn page(db: &Pool, tokens: &PageTokens, request: ListRequest, size: i64) -> Result<(Vec<Turn>, Option<String>), Error> {
    let project = match request.project {
        Some(project) => Some(project),
        None => turns::project_of_draft(db, request.user, &request.draft).await?,
    };
    let reached = project.filter(|project| request.only.as_ref().is_none_or(|only| only.contains(project)));
    let Some(project) = reached else { return Ok((Vec::new(), None)) };
    let scope = request.scope();
    let ListRequest { user, open_only, client_message_id, metadata, before, .. } = request;
    let filter = TurnFilter { user, project, open_only, client_message_id, metadata, before };
    let (mut found, compared) = match filter.metadata.first_key_value() {
        Some(entry) => compare(db, &filter, entry, size + 1).await?,
        None => (turns::list(db, &filter, size + 1).await?, None),
    };
    let more = found.len() > usize::try_from(size).unwrap_or(usize::MAX);
    found.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    let last = if more { found.last().map(|turn| turn.id) } else { compared };
    Ok((found, last.map(|id| tokens.seal(&scope, &id.0))))
}

/// The turns with an entry that match the rest of the filter, and the last one that was compared if there may be more.
async fn compare(db: &Pool, filter: &TurnFilter, entry: (&String, &String), limit: i64) -> Result<(Vec<Turn>, Option<TurnId>), Error> {
    let most = if filter.is_one_entry() { limit } else { COMPARED };
    let mut ids = turns::list_by_entry(db, filter, entry, most).await?;
    let found = turns::list_matching(db, &ids, filter, limit).await?;
    let is_cut = i64::try_from(ids.len()).is_ok_and(|count| count == most);
    Ok((found, ids.pop().filter(|_| is_cut)))
}
