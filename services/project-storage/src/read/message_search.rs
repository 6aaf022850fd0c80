//! Searching the texts of messages, page by page.
//!
//! Messages are read in the order of the pages, and each is compared with the query. A page reads as many as fit into a second, so its cost does
//! not depend on the length of the conversations.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use proto::id::{MessageId, ProjectId, UserId};

use crate::{
    error::Error,
    model::{
        message::Message,
        page::Page,
        project::{Role, Target},
    },
    read::member,
    search::lines::Part,
    store::{
        Pool, members,
        messages::{self, Batch, HIT_END, HIT_START},
    },
};

/// How long one page searches.
const MAX_TIME: Duration = Duration::from_secs(1);
/// Projects that one statement lists.
const PROJECTS: i64 = 100;

/// What is searched, and for whom.
pub(crate) struct MessageSearch {
    pub(crate) user: UserId,
    /// `None` for all projects that the user may read.
    pub(crate) project: Option<ProjectId>,
    /// The only projects; `None` for all.
    pub(crate) only: Option<Vec<ProjectId>>,
    pub(crate) query: String,
}

impl MessageSearch {
    fn reaches(&self, project: ProjectId) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&project))
    }
}

/// A message in which the query was found.
pub(crate) struct MessageHit {
    pub(crate) project: ProjectId,
    /// Without its text.
    pub(crate) message: Message,
    /// Excerpts of its text.
    pub(crate) parts: Vec<Part>,
}

/// The place of a message in the order of the pages.
type Key = (ProjectId, MessageId);

/// A page of hits with the end of the part that it searched, if there is more.
pub(crate) async fn search(pool: &Pool, search: &MessageSearch, page: Page<Key>) -> Result<(Vec<MessageHit>, Option<Key>), Error> {
    let started = Instant::now();
    let mut projects = Projects::new(pool, search, page.after).await?;
    let mut after = page.after;
    let mut hits: Vec<MessageHit> = Vec::new();
    while let Some(project) = projects.next(pool, search).await? {
        let mut last = after.filter(|(before, _)| *before == project).map(|(_, message)| message);
        loop {
            let Batch { found, last: end, is_end } = messages::search(pool, project, search.user, &search.query, last).await?;
            hits.extend(found.into_iter().map(|(message, text)| MessageHit { project, message, parts: parts(&text) }));
            if hits.len() as i64 > page.size {
                return Ok(page.cut(hits, |hit| (hit.project, hit.message.id)));
            }
            after = end.or(last).map(|message| (project, message)).or(after);
            if is_end {
                break;
            }
            last = end;
            if started.elapsed() >= MAX_TIME {
                return Ok((hits, after));
            }
        }
        if started.elapsed() >= MAX_TIME && !projects.is_done() {
            // Nothing of this project is left: no id is smaller.
            return Ok((hits, Some((project, MessageId(uuid::Uuid::nil())))));
        }
    }
    Ok((hits, None))
}

/// The projects that are searched, the newest first.
struct Projects {
    ids: VecDeque<ProjectId>,
    /// Whether there may be more than these.
    has_more: bool,
    last: Option<ProjectId>,
}

impl Projects {
    async fn new(pool: &Pool, search: &MessageSearch, after: Option<Key>) -> Result<Self, Error> {
        if let Some(project) = search.project {
            if !search.reaches(project) {
                return Err(Error::ProjectNotFound);
            }
            member::find(pool, search.user, &Target::Id(project), Role::Viewer).await?;
            return Ok(Self { ids: [project].into(), has_more: false, last: None });
        }
        let mut ids = VecDeque::new();
        // The project in which the last page ended comes first, if the user may still read it.
        if let Some((project, _)) = after.filter(|(project, _)| search.reaches(*project)) {
            ids.push_back(project);
        }
        Ok(Self { ids, has_more: true, last: after.map(|(project, _)| project) })
    }

    async fn next(&mut self, pool: &Pool, search: &MessageSearch) -> Result<Option<ProjectId>, Error> {
        while self.ids.is_empty() && self.has_more {
            self.ids = members::projects_before(pool, search.user, self.last, PROJECTS).await?.into();
            self.has_more = self.ids.len() as i64 == PROJECTS;
            self.last = self.ids.back().copied().or(self.last);
            self.ids.retain(|project| search.reaches(*project));
        }
        Ok(self.ids.pop_front())
    }

    fn is_done(&self) -> bool {
        self.ids.is_empty() && !self.has_more
    }
}

/// The parts of an excerpt, in which the database has marked what was found.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |text: &str, is_match| {
        if !text.is_empty() {
            parts.push(Part { text: text.to_owned(), is_match });
        }
    };
    let mut rest = text;
    while let Some((plain, marked)) = rest.split_once(HIT_START) {
        let (found, after) = marked.split_once(HIT_END).unwrap_or((marked, ""));
        add(plain, false);
        add(found, true);
        rest = after;
    }
    add(rest, false);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_parts() {
        let written = |text: &str| {
            parts(text).iter().map(|part| if part.is_match { format!("[{}]", part.text) } else { part.text.clone() }).collect::<Vec<_>>()
        };
        assert_eq!(written("a \u{2}b\u{3} c \u{2}d\u{3}"), ["a ", "[b]", " c ", "[d]"]);
        assert_eq!(written("\u{2}a\u{3}\u{2}b"), ["[a]", "[b]"]);
        assert_eq!(written("a"), ["a"]);
        assert!(written("").is_empty());
    }
}
