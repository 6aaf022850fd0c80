//! The stored parts of prompts, and what later turns need of ended ones.

use chassis::postgres::query;
use proto::id::{ProjectId, TurnId};
use sqlx::PgPool;
use uuid::Uuid;

use super::{StoreError, inconsistent};
use crate::turn::State;

/// Stores parts of the prompt of a turn by their ids, unless they are stored.
pub(crate) async fn keep_parts(db: &PgPool, turn: TurnId, parts: &[(String, String)]) -> Result<(), StoreError> {
    let (ids, contents): (Vec<String>, Vec<String>) = parts.iter().cloned().unzip();
    let insert = sqlx::query!(
        "INSERT INTO prompt_parts (turn_id, id, content) SELECT $1, p.id, p.content FROM unnest($2::text[], $3::text[]) AS p(id, content)
        ON CONFLICT DO NOTHING",
        turn.0,
        &ids,
        &contents,
    );
    query("store prompt parts", insert.execute(db)).await?;
    Ok(())
}

/// The parts of the prompt of a turn with these ids, in their order. `None` if one is missing.
pub(crate) async fn find_parts(db: &PgPool, turn: TurnId, ids: &[String]) -> Result<Option<Vec<String>>, StoreError> {
    let rows = sqlx::query!("SELECT id, content FROM prompt_parts WHERE turn_id = $1 AND id = ANY($2)", turn.0, ids);
    let rows = query("select prompt parts", rows.fetch_all(db)).await?;
    let of = |id: &String| rows.iter().find(|row| row.id == *id).map(|row| row.content.clone());
    Ok(ids.iter().map(of).collect())
}

/// Deletes the parts of ended turns that a worker of another release has ended, or that a worker has stored late.
pub(crate) async fn delete_old_parts(db: &PgPool) -> Result<(), StoreError> {
    let delete =
        sqlx::query!("DELETE FROM prompt_parts p WHERE NOT EXISTS (SELECT 1 FROM turns t WHERE t.id = p.turn_id AND t.ended_at IS NULL)");
    query("delete old prompt parts", delete.execute(db)).await?;
    Ok(())
}

/// An ended turn.
pub(crate) struct EndedTurn {
    pub(crate) id: TurnId,
    pub(crate) state: State,
    /// The first files that it has changed. A turn without a revision of the project has changed none.
    pub(crate) files: Vec<String>,
}

/// Those of some turns of a project that have ended.
pub(crate) async fn ended(db: &PgPool, project: ProjectId, turns: &[TurnId]) -> Result<Vec<EndedTurn>, StoreError> {
    let ids: Vec<Uuid> = turns.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        "SELECT id, state, CASE WHEN state = 'completed' AND revision <> '' THEN files END AS files
        FROM turns WHERE project_id = $1 AND id = ANY($2) AND ended_at IS NOT NULL ORDER BY id",
        project.0,
        &ids,
    );
    let rows = query("select ended turns", rows.fetch_all(db)).await?;
    rows.into_iter()
        .map(|row| {
            let state = State::parse(&row.state).ok_or_else(|| inconsistent("turns.state"))?;
            Ok(EndedTurn { id: TurnId(row.id), state, files: row.files.unwrap_or_default() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::testing,
        testing::{accepted, database},
    };

    #[tokio::test]
    async fn only_a_turn_with_a_revision_has_changed_files() {
        let db = database().await.pool;
        let project = ProjectId::generate();
        for (state, revision, files) in [
            ("completed", "r1", &["a.txt"][..]),
            ("completed", "", &[]),
            ("conflicted", "r2", &[]),
            ("failed", "", &[]),
            ("cancelled", "", &[]),
        ] {
            let turn = accepted(&db, project).await.id;
            testing::end_with(&db, turn, state, revision).await;
            let [found] = ended(&db, project, &[turn]).await.unwrap().try_into().ok().unwrap();
            assert_eq!((found.id, found.state.as_str(), found.files), (turn, state, files.iter().map(|path| (*path).to_owned()).collect()));
        }
        let open = accepted(&db, project).await.id;
        assert!(ended(&db, project, &[open]).await.unwrap().is_empty());
    }
}
