//! What one account may have: so many projects, and so many bytes in all of them. The account is the owner's, whoever saves.

use proto::id::ProjectId;

use crate::{
    error::Error,
    git::Object,
    model::project::Project,
    store::{
        Connection,
        projects::{self, InsertResult},
        saves,
    },
};

/// The limits of every account.
#[derive(Debug, Clone, Copy)]
pub struct Quotas {
    pub projects: u32,
    /// Bytes of what the projects store: files with their history, each content once a project, as compressed.
    pub bytes: u64,
}

impl Quotas {
    /// The limit as the database compares it.
    pub(crate) fn max_bytes(self) -> i64 {
        i64::try_from(self.bytes).unwrap_or(i64::MAX)
    }

    /// Inserts a project if its owner may have one more; `false` if the draft id is taken.
    pub(crate) async fn insert(self, db: &mut Connection, project: &Project) -> Result<bool, Error> {
        match projects::insert(db, project, self.projects).await? {
            InsertResult::Inserted => Ok(true),
            InsertResult::DraftTaken => Ok(false),
            InsertResult::AccountFull => Err(Error::TooManyProjects { limit: self.projects }),
        }
    }

    /// Refuses what the owner of the project has no room for. The statement that moves a head asks by itself; this is for one
    /// that did nothing, and for branches.
    pub(crate) async fn room(self, db: &mut Connection, project: ProjectId, objects: &[Object]) -> Result<(), Error> {
        let stored = saves::account_bytes(db, project).await?;
        if stored.saturating_add(saves::stored_bytes(objects)) > self.max_bytes() {
            return Err(Error::AccountTooLarge { limit: self.bytes });
        }
        Ok(())
    }
}
