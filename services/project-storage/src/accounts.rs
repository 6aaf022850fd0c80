//! Deletes what a person has here after their account was deleted. Their projects and templates are purged. In projects of others their texts
//! are deleted and their name is taken off the rest, which is part of those projects, also where they had a role once, and in the logs of
//! purged projects that forks still read. Each step is a transaction of its own and can be repeated.

use proto::id::{ProjectId, UserId};
use uuid::Uuid;

use crate::{
    delete::purge_locked,
    store::{self, Pool, StoreError, accounts, messages, projects, reviews, templates},
};

/// Returns `false` if something is left, because a turn of the person runs in a project of somebody else.
pub async fn delete(pool: &Pool, user: UserId) -> Result<bool, StoreError> {
    purge_projects(pool, user).await?;
    unpublish(pool, user).await?;
    delete_reviews(pool, user).await?;
    let has_left = leave_projects(pool, user).await?;
    accounts::forget(pool, user).await?;
    Ok(has_left)
}

async fn purge_projects(pool: &Pool, user: UserId) -> Result<(), StoreError> {
    let mut after = ProjectId(Uuid::nil());
    while let Some(id) = accounts::next_owned(pool, user, after).await? {
        after = id;
        let mut tx = store::begin(pool).await?;
        projects::lock_all(&mut tx, id).await?;
        // Another replica may have purged it.
        let Some(store) = projects::store_of(&mut tx, id).await? else { continue };
        accounts::forget_in_project(&mut tx, user, id).await?;
        purge_locked(&mut tx, id, store).await?;
        store::commit(tx).await?;
    }
    Ok(())
}

async fn unpublish(pool: &Pool, user: UserId) -> Result<(), StoreError> {
    for id in accounts::templates(pool, user).await? {
        let mut tx = store::begin(pool).await?;
        let Some(template) = templates::lock_all(&mut tx, id).await? else { continue };
        templates::delete(&mut tx, &template).await?;
        store::commit(tx).await?;
    }
    let mut tx = store::begin(pool).await?;
    accounts::forget_unpublished(&mut tx, user).await?;
    store::commit(tx).await
}

async fn delete_reviews(pool: &Pool, user: UserId) -> Result<(), StoreError> {
    for id in accounts::rated(pool, user).await? {
        let mut tx = store::begin(pool).await?;
        templates::lock(&mut *tx, id).await?;
        reviews::delete(&mut tx, id, user).await?;
        store::commit(tx).await?;
    }
    Ok(())
}

/// Leaves the projects of others and the logs of purged projects. Returns whether the person has left all of them.
async fn leave_projects(pool: &Pool, user: UserId) -> Result<bool, StoreError> {
    let (mut after, mut has_left) = (ProjectId(Uuid::nil()), true);
    while let Some((id, is_own)) = accounts::next_trace(pool, user, after).await? {
        after = id;
        if is_own {
            // A request that was under way has just made it. The next repetition purges it.
            continue;
        }
        let mut tx = store::begin(pool).await?;
        // In the order of every transaction that changes messages.
        messages::lock(&mut tx, id).await?;
        projects::lock_all(&mut tx, id).await?;
        if accounts::has_open_turn(&mut tx, user, id).await? {
            // agent-streaming cancels it.
            has_left = false;
            continue;
        }
        accounts::delete_texts(&mut tx, user, id).await?;
        accounts::forget_in_project(&mut tx, user, id).await?;
        accounts::leave(&mut tx, user, id).await?;
        store::commit(tx).await?;
    }
    Ok(has_left)
}
