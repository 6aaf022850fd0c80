//! The quotas of an account: its number of projects, and the bytes that all of them store. The quotas of the owner count, even if another
//! member saves.

use proto::auth::Plan;

use crate::{
    error::Error,
    git::Object,
    model::{per_plan::PerPlan, project::Project},
    store::{
        Connection,
        projects::{self, InsertResult},
        saves, usage,
    },
};

/// The quotas of accounts, by their plan.
#[derive(Debug, Clone, Copy)]
pub struct Quotas {
    /// Projects at most, deleted ones included.
    pub projects: PerPlan<u32>,
    /// Bytes that the projects store at most: files with their history, compressed, each content once per project.
    pub bytes: PerPlan<u64>,
}

impl Quotas {
    /// `bytes` as the database compares it.
    pub(crate) fn max_bytes(self, plan: Plan) -> i64 {
        i64::try_from(self.bytes.of(plan)).unwrap_or(i64::MAX)
    }

    /// Inserts a project. Returns `false` if the owner has a project with the same draft id.
    ///
    /// # Errors
    /// [`Error::TooManyProjects`] if the owner has as many projects as the quota allows.
    pub(crate) async fn insert(self, db: &mut Connection, project: &Project) -> Result<bool, Error> {
        let limit = self.projects.of(project.plan);
        match projects::insert(db, project, limit).await? {
            InsertResult::Inserted => Ok(true),
            InsertResult::DraftTaken => Ok(false),
            InsertResult::AccountFull => Err(Error::TooManyProjects { limit }),
        }
    }

    /// Checks that the owner of a project that does not exist yet may have it. [`Quotas::insert`] and each write check the same; this is
    /// for a request whose contents arrive before.
    ///
    /// # Errors
    /// [`Error::TooManyProjects`] and [`Error::AccountTooLarge`].
    pub(crate) async fn check_new(self, db: &mut Connection, project: &Project) -> Result<(), Error> {
        let (used, limit) = (usage::of_account(db, project.owner).await?, self.projects.of(project.plan));
        if used.projects >= limit {
            return Err(Error::TooManyProjects { limit });
        }
        let limit = self.bytes.of(project.plan);
        if used.stored_bytes >= limit { Err(Error::AccountTooLarge { limit }) } else { Ok(()) }
    }

    /// Checks that the account of the project's owner has room for objects. [`saves::advance`] checks the same; this tells why it
    /// wrote nothing, and guards branches.
    ///
    /// # Errors
    /// [`Error::AccountTooLarge`].
    pub(crate) async fn check_bytes(self, db: &mut Connection, project: &Project, objects: &[Object]) -> Result<(), Error> {
        let stored = saves::account_bytes(db, project.id).await?;
        if stored.saturating_add(saves::stored_bytes(objects)) > self.max_bytes(project.plan) {
            return Err(Error::AccountTooLarge { limit: self.bytes.of(project.plan) });
        }
        Ok(())
    }
}
