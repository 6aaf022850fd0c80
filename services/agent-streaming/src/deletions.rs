//! Follows the logs of deletions: of project-storage, for the turns of purged projects and the texts of turns whose messages were deleted; of
//! auth, for all turns of deleted accounts, and for the keys of accounts whose address somebody else has proved. Every replica does so. A
//! deletion is acknowledged when nothing of it is left here.

use std::sync::Arc;

use chassis::{
    clock::{Timestamp, from_timestamp, now},
    deletion_log::DeletionLog,
    seeded_bug,
};
use proto::{
    auth::AccountDeletion,
    error::Fault,
    id::UserId,
    project_storage::{Deletion, DeletionKind},
};
use time::OffsetDateTime;

use crate::{
    app::App,
    error::Error,
    intake::cancel,
    store::{Pool, StoreError, deletions, provider_keys},
};

/// What is stored as created this long after a deletion may have been created before it: the clocks of two databases differ.
const CLOCK_DIFFERENCE: time::Duration = time::Duration::minutes(1);

/// Follows both logs until the service stops.
pub(crate) async fn follow(app: Arc<App>) {
    let stop = app.stop.clone();
    let (projects, accounts) = (Projects(Arc::clone(&app)), Accounts(app));
    tokio::join!(chassis::deletion_log::follow(projects, stop.clone()), chassis::deletion_log::follow(accounts, stop));
}

/// The log of project-storage.
struct Projects(Arc<App>);

impl DeletionLog for Projects {
    type Entry = Deletion;
    type Error = StoreError;

    fn id(entry: &Deletion) -> u64 {
        entry.id
    }

    async fn page(&self, after: u64) -> Result<Vec<Deletion>, Fault> {
        self.0.upstream.deletions(after).await
    }

    async fn carry_out(&self, entry: &Deletion) -> Result<bool, StoreError> {
        delete(&self.0.db, entry).await
    }

    async fn acknowledge(&self, id: u64) -> Result<(), Fault> {
        self.0.upstream.acknowledge_deletion(id).await
    }
}

/// The log of auth.
struct Accounts(Arc<App>);

impl DeletionLog for Accounts {
    type Entry = AccountDeletion;
    type Error = Error;

    fn id(entry: &AccountDeletion) -> u64 {
        entry.id
    }

    async fn page(&self, after: u64) -> Result<Vec<AccountDeletion>, Fault> {
        self.0.upstream.account_deletions(after).await
    }

    async fn carry_out(&self, entry: &AccountDeletion) -> Result<bool, Error> {
        let Ok(user) = entry.user_id.parse() else { return Ok(false) };
        seeded_bug!(return crate::seeded_bugs::acknowledge_before_deletion(entry));
        if entry.only_keys {
            provider_keys::delete_of_user(&self.0.db, user, Some(until(entry.create_time.as_ref()))).await?;
            return Ok(entry.is_final);
        }
        // A token of the account may still start a turn.
        Ok(delete_account(&self.0, user).await? && entry.is_final)
    }

    async fn acknowledge(&self, id: u64) -> Result<(), Fault> {
        self.0.upstream.acknowledge_account_deletion(id).await
    }
}

/// Cancels the open turns of an account, and deletes the ended ones and the keys of providers. Returns `false` if some are left: project-storage has to learn of their
/// end before.
async fn delete_account(app: &App, user: UserId) -> Result<bool, Error> {
    for turn in deletions::open_turns_of(&app.db, user).await? {
        match cancel::cancel(app, user, turn, now()).await {
            // A turn that is committing ends by itself.
            Ok(_) | Err(Error::TooLate | Error::TurnNotFound) => {}
            Err(error) => return Err(error),
        }
    }
    provider_keys::delete_of_user(&app.db, user, None).await?;
    Ok(deletions::delete_turns_of(&app.db, user).await?)
}

/// What is stored as created before this may be from before a deletion.
fn until(created_at: Option<&Timestamp>) -> OffsetDateTime {
    created_at.and_then(from_timestamp).unwrap_or_else(now).saturating_add(CLOCK_DIFFERENCE)
}

/// Carries out one deletion. Returns `false` if an open turn still needs what has to be deleted.
async fn delete(db: &Pool, deletion: &Deletion) -> Result<bool, StoreError> {
    match deletion.kind() {
        DeletionKind::Project => {
            let Ok(project) = deletion.project_id.parse() else { return Ok(false) };
            // A turn that has begun without this service knowing it could still be of the project.
            if deletions::has_open_turns(db, project, until(deletion.create_time.as_ref())).await? {
                return Ok(false);
            }
            deletions::delete_turns(db, project).await?;
            provider_keys::delete_of_project(db, project).await?;
            Ok(true)
        }
        DeletionKind::Message => {
            let (Ok(project), Ok(turn)) = (deletion.project_id.parse(), deletion.turn_id.parse()) else { return Ok(false) };
            deletions::delete_texts(db, project, turn).await
        }
        // A kind of a later release.
        DeletionKind::Unspecified => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use proto::id::{ProjectId, UserId};

    use super::*;
    use crate::{
        store::{testing, turns},
        testing::{accepted, database, draft},
        turn::Turn,
    };

    fn purged(project: ProjectId) -> Deletion {
        Deletion {
            id: 1,
            kind: DeletionKind::Project.into(),
            project_id: project.to_string(),
            create_time: Some(chassis::clock::timestamp(chassis::clock::now())),
            ..Deletion::default()
        }
    }

    /// The deletion of a message of a turn.
    fn of_message(turn: &Turn) -> Deletion {
        let project_id = turn.project_id.unwrap().to_string();
        Deletion { kind: DeletionKind::Message.into(), project_id, turn_id: turn.id.to_string(), ..Deletion::default() }
    }

    #[tokio::test]
    async fn the_deletion_of_a_message_waits_for_turns_that_may_have_its_text() {
        let db = database().await.pool;
        let project = ProjectId::generate();
        // A turn that waits has stored nothing of the conversation yet. It may be older than the turn of the message.
        let waiting = [accepted(&db, project).await, accepted(&db, project).await, accepted(&db, project).await];
        let deletion = of_message(&waiting[1]);
        testing::end(&db, waiting[1].id, 0.0).await;
        for turn in [&waiting[0], &waiting[2]] {
            assert!(!delete(&db, &deletion).await.expect("an open turn of the project"));
            testing::end(&db, turn.id, 0.0).await;
        }
        accepted(&db, ProjectId::generate()).await;
        assert!(delete(&db, &deletion).await.expect("an open turn of another project"));

        // A turn that project-storage has not begun has its plan already.
        let plan = Some("1. Change it.".to_owned());
        let begins = |user_id| Turn { user_id, plan: plan.clone(), ..draft() };
        let (own, foreign) = (begins(waiting[1].user_id), begins(UserId::generate()));
        turns::insert(&db, &foreign, None).await.unwrap().unwrap();
        assert!(delete(&db, &deletion).await.expect("a plan of another person"));
        turns::insert(&db, &own, None).await.unwrap().unwrap();
        assert!(!delete(&db, &deletion).await.expect("a turn that may carry out the answer"));
        testing::end(&db, own.id, 0.0).await;
        assert!(delete(&db, &deletion).await.expect("it has ended"));
    }

    #[tokio::test]
    async fn the_turns_of_a_purged_project_are_deleted_when_they_have_ended() {
        let db = database().await.pool;
        let (project, other) = (ProjectId::generate(), ProjectId::generate());
        let (turn, _) = (accepted(&db, project).await, accepted(&db, other).await);
        assert!(!delete(&db, &purged(project)).await.expect("an open turn"));
        assert_eq!(testing::count(&db, "turns").await, 2);
        testing::end(&db, turn.id, 0.0).await;
        assert!(delete(&db, &purged(project)).await.expect("an ended turn"));
        assert!(delete(&db, &purged(project)).await.expect("a repeat"));
        assert_eq!(testing::count(&db, "turns").await, 1);
        let of_turn = format!("turn_events WHERE turn_id = '{}'", turn.id);
        assert_eq!(testing::count(&db, &of_turn).await, 0);
        assert!(testing::count(&db, "turn_events").await > 0, "the events of the other project");
        assert_eq!(testing::count(&db, "turn_metadata").await, 1, "the entry of the other project");
    }

    #[tokio::test]
    async fn the_texts_of_a_deleted_message_are_deleted() {
        let db = database().await.pool;
        let turn = accepted(&db, ProjectId::generate()).await;
        let deletion = of_message(&turn);
        assert!(!delete(&db, &deletion).await.expect("an open turn"));
        testing::end(&db, turn.id, 0.0).await;
        assert!(delete(&db, &deletion).await.expect("an ended turn"));
        assert_eq!(testing::count(&db, "turn_events").await, 0);
        assert_eq!(testing::count(&db, "turns WHERE prompt = ''").await, 1);
        let unknown = Deletion { turn_id: proto::id::TurnId::generate().to_string(), ..deletion };
        assert!(delete(&db, &unknown).await.expect("nothing to delete"));
    }

    /// Searches every column, so that one of a later migration is found, too.
    #[tokio::test]
    async fn no_table_has_the_id_of_a_deleted_account() {
        let database = database().await;
        let db = &database.pool;
        let (turn, other) = (accepted(db, ProjectId::generate()).await, accepted(db, ProjectId::generate()).await);
        let (user, turn_id) = (turn.user_id.to_string(), turn.id.to_string());
        for project in [None, turn.project_id] {
            testing::insert_key(db, turn.user_id, project).await;
        }
        assert_eq!(database.tables_with(&user).await, ["provider_keys", "turn_metadata", "turns"]);
        testing::end(db, turn.id, 0.0).await;
        for _ in 0..2 {
            provider_keys::delete_of_user(db, turn.user_id, None).await.unwrap();
            assert!(deletions::delete_turns_of(db, turn.user_id).await.unwrap());
            assert_eq!(database.tables_with(&user).await, [""; 0]);
            assert_eq!(database.tables_with(&turn_id).await, [""; 0]);
        }
        assert_eq!(database.tables_with(&other.user_id.to_string()).await, ["turn_metadata", "turns"]);
    }
}
