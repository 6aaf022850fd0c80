//! Follows project-storage's log of deletions: deletes the turns of purged projects, and the texts of turns whose messages were deleted.
//! Every replica does so. A deletion is acknowledged when nothing of it is left here.

use std::{sync::Arc, time::Duration};

use proto::{
    error::Fault,
    project_storage::{Deletion, DeletionKind},
};
use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    app::App,
    store::{Pool, StoreError, deletions},
    upstream::Upstream,
};

/// The time between two reads of the log.
const POLL: Duration = Duration::from_secs(5);
/// A turn that is stored as created this long after a deletion may have been created before it: the clocks of two databases differ.
const CLOCK_DIFFERENCE: time::Duration = time::Duration::minutes(1);

/// Why the log could not be followed.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("project-storage failed: {0}")]
    Storage(Fault),
    #[error("the database failed")]
    Store(#[from] StoreError),
}

/// Follows the log until the service stops.
pub(crate) async fn follow(app: Arc<App>) {
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while app.stop.run_until_cancelled(poll.tick()).await.is_some() {
        if let Err(error) = carry_out(&app.db, &app.upstream).await {
            tracing::warn!(cause = chassis::error::chain(&error), "deletions could not be carried out and are tried again later");
        }
    }
}

/// Carries out all deletions of the log, page by page. One that fails does not stop the others.
async fn carry_out(db: &Pool, upstream: &Upstream) -> Result<(), FollowError> {
    let (mut after, mut failure) = (0, None);
    loop {
        let page = upstream.deletions(after).await.map_err(FollowError::Storage)?;
        let Some(last) = page.last() else { return failure.map_or(Ok(()), |error| Err(FollowError::Store(error))) };
        after = last.id;
        let mut done = Vec::new();
        for deletion in &page {
            match delete(db, deletion).await {
                Ok(true) => done.push(deletion.id),
                Ok(false) => {}
                Err(error) => failure = Some(error),
            }
        }
        if !done.is_empty() {
            upstream.acknowledge_deletions(done).await.map_err(FollowError::Storage)?;
        }
    }
}

/// Carries out one deletion. Returns `false` if an open turn still needs what has to be deleted.
async fn delete(db: &Pool, deletion: &Deletion) -> Result<bool, StoreError> {
    match deletion.kind() {
        DeletionKind::Project => {
            let Ok(project) = deletion.project_id.parse() else { return Ok(false) };
            let created_at = deletion.create_time.and_then(|time| OffsetDateTime::from_unix_timestamp(time.seconds).ok());
            // A turn that has begun without this service knowing it could still be of the project.
            let until = created_at.unwrap_or_else(chassis::clock::now).saturating_add(CLOCK_DIFFERENCE);
            if deletions::has_open_turns(db, project, until).await? {
                return Ok(false);
            }
            deletions::delete_turns(db, project).await?;
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
}
