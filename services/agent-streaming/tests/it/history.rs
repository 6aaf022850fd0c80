//! Which messages the model gets is fixed at the start of a turn, even if the conversation changes before the turn is resumed.

use chassis::testing::eventually;
use proto::{
    agent_streaming::{CancelTurnRequest, StartTurnRequest, Turn, TurnEvent, TurnState, turn_event::Kind},
    id::MessageId,
};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::{
    context::{converse, planned},
    harness::{Cluster, Person, SOON, failure, prompt, save, types},
};

/// A change of the conversation while a turn runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// An answer is stored that was not yet stored when the turn read the conversation.
    LateAnswer,
    /// As `LateAnswer`, in a conversation that was empty.
    FirstAnswer,
    /// Another turn replaces an earlier one.
    Replacement,
    /// A turn that has hidden an answer is withdrawn.
    Withdrawal,
    /// No change, but the previous release has started the turn.
    ReleaseBefore,
}

impl Meanwhile {
    const ALL: [Self; 6] = [Self::Nothing, Self::LateAnswer, Self::FirstAnswer, Self::Replacement, Self::Withdrawal, Self::ReleaseBefore];

    /// Prepares the conversation before the turn.
    async fn before(self, cluster: &Cluster, person: &mut Person) -> Option<Turn> {
        if self == Self::FirstAnswer {
            return None;
        }
        let (first, _) = person.run(prompt(&format!("{self:?}"), "SAY one")).await;
        if self == Self::Withdrawal {
            let hide = "UPDATE messages SET hidden_by = turn_id WHERE turn_id::text = $1 AND role = 2";
            sqlx::query(hide).bind(&first.id).execute(&mut cluster.files_db().await).await.unwrap();
        }
        Some(first)
    }

    async fn happen(self, cluster: &Cluster, person: &mut Person, first: Option<&Turn>, turn: &Turn) {
        match self {
            Self::Nothing => {}
            Self::LateAnswer | Self::FirstAnswer => answer_late(person, &mut cluster.files_db().await, turn).await,
            Self::Replacement => {
                let replaces_turn_id = first.unwrap().id.clone();
                person.start(StartTurnRequest { project_id: turn.project_id.clone(), replaces_turn_id, ..prompt("", "SAY again") }).await;
            }
            Self::Withdrawal => {
                let show = "UPDATE messages SET hidden_by = NULL WHERE project_id::text = $1";
                sqlx::query(show).bind(&turn.project_id).execute(&mut cluster.files_db().await).await.unwrap();
            }
            Self::ReleaseBefore => {
                let forget = "UPDATE turns SET history = NULL WHERE id::text = $1";
                sqlx::query(forget).bind(&turn.id).execute(&mut cluster.turns_db().await).await.unwrap();
            }
        }
    }
}

/// Stores an answer whose id is older than the prompt of the turn.
async fn answer_late(person: &mut Person, files: &mut PgConnection, turn: &Turn) {
    let question: MessageId = person.messages(&turn.project_id).await[0].id.parse().unwrap();
    let insert = "INSERT INTO messages (project_id, id, turn_id, role, text, user_id)
        SELECT project_id, $2, $3, 2, 'late', user_id FROM messages WHERE id = $1";
    let insert = sqlx::query(insert).bind(question.0).bind(Uuid::from_u128(question.0.as_u128() - 1)).bind(Uuid::now_v7());
    assert_eq!(insert.execute(files).await.unwrap().rows_affected(), 1);
}

fn has_spoken(event: &TurnEvent) -> bool {
    matches!(event.kind, Some(Kind::TextDelta(_)))
}

#[tokio::test]
async fn every_worker_sends_the_same_messages_to_the_model() {
    let cluster = Cluster::start(&[]).await;
    let (dying, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&dying);
    let mut turns = Vec::new();
    for meanwhile in Meanwhile::ALL {
        let first = meanwhile.before(&cluster, &mut person).await;
        let turn = person.start(prompt(&format!("{meanwhile:?}"), &format!("HANG1 {meanwhile:?}"))).await;
        person.follow_until(&turn.id, 0, has_spoken).await.1.unwrap();
        turns.push((meanwhile, first, turn));
    }
    for (meanwhile, first, turn) in &turns {
        let before = person.messages(&turn.project_id).await;
        meanwhile.happen(&cluster, &mut person, first.as_ref(), turn).await;
        let changes = !matches!(meanwhile, Meanwhile::Nothing | Meanwhile::ReleaseBefore);
        assert_eq!(person.messages(&turn.project_id).await != before, changes, "{meanwhile:?}");
    }
    dying.crash();

    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    for (meanwhile, _, turn) in &turns {
        let events = person.see(&turn.id).await;
        assert_eq!(*types(&events).last().unwrap(), "turn.completed", "{meanwhile:?}");
        let hashes = events.iter().filter_map(|event| match &event.kind {
            Some(Kind::AttemptStarted(attempt)) => Some(attempt.prefix_hash.as_str()),
            _ => None,
        });
        let hashes: Vec<&str> = hashes.collect();
        assert!(hashes.len() == 2 && hashes[0] == hashes[1] && hashes[0].len() == 64, "{meanwhile:?}: {hashes:?}");
        let requests = cluster.model.requests(&format!("HANG1 {meanwhile:?}"));
        assert_eq!(requests.len(), 2, "{meanwhile:?}: one request per worker");
        assert_eq!(requests[0], requests[1], "{meanwhile:?}");
    }
}

#[tokio::test]
async fn a_worker_that_is_lost_before_the_plan_takes_nothing_from_the_conversation() {
    let cluster = Cluster::start(&[]).await;
    let (dying, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&dying);
    let (project, _) = save(&person, "d", &[("index.html", "<h1>Hi</h1>")]).await;
    converse(&cluster, &project, 60).await;
    // The parts of the prompt are not stored before the lock is released.
    let mut db = cluster.turns_db().await;
    for statement in [
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END'",
        "CREATE TRIGGER wait BEFORE INSERT ON prompt_parts FOR EACH ROW EXECUTE FUNCTION wait()",
        "SELECT pg_advisory_lock(1)",
    ] {
        sqlx::query(statement).execute(&mut db).await.unwrap();
    }
    let turn = person.start(prompt("d", "SAY whole")).await;
    person.follow_until(&turn.id, 0, |event| matches!(event.kind, Some(Kind::TurnStarted(_)))).await.1.unwrap();
    dying.crash();
    db.close().await.unwrap();

    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    let started = types(&events).iter().filter(|kind| **kind == "turn.started").count();
    assert_eq!((started, *types(&events).last().unwrap()), (1, "turn.completed"));
    let conversation = planned(&events).conversation.unwrap();
    let turns = conversation.turns + conversation.folded_turns;
    assert_eq!((turns, conversation.omitted_turns), (60, 0), "{conversation:?}");
    let requests = cluster.model.requests("SAY whole");
    assert!(requests.len() == 1 && requests[0].to_string().contains("Please change part 1 of the shop"));
}

#[tokio::test]
async fn a_turn_without_a_stored_prompt_fails_without_another_request() {
    let cluster = Cluster::start(&[]).await;
    let (dying, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&dying);
    person.run(prompt("d", "SAY one")).await;
    let turn = person.start(prompt("d", "HANG1 then")).await;
    person.follow_until(&turn.id, 0, has_spoken).await.1.unwrap();
    let gone = sqlx::query("DELETE FROM prompt_parts WHERE turn_id::text = $1").bind(&turn.id);
    assert_eq!(gone.execute(&mut cluster.turns_db().await).await.unwrap().rows_affected(), 4);
    dying.crash();

    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    assert_eq!(failure(&person.see(&turn.id).await), "INTERNAL");
    assert_eq!(cluster.model.requests("HANG1 then").len(), 1);
}

#[tokio::test]
async fn the_history_is_stored_before_the_model_gets_it() {
    // The lease is long enough for a request to the model.
    let cluster = Cluster::start(&[("BACKLOT_LEASE", "4s")]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let running = person.start(prompt("d", "HANG")).await;
    person.follow_until(&running.id, 0, has_spoken).await.1.unwrap();
    let turn = person.start(prompt("d", "SAY later")).await;
    person.wait_for(&turn.id, TurnState::Queued).await;
    // The turn gets the slot, but cannot read from project-storage.
    cluster.gate.shut();
    person.turns.cancel_turn(CancelTurnRequest { turn_id: running.id }).await.unwrap();
    person.wait_for(&turn.id, TurnState::Running).await;
    // Now it can read, but its row is locked, so its events cannot be written.
    let mut db = cluster.turns_db().await;
    let mut tx = db.begin().await.unwrap();
    sqlx::query("SELECT id FROM turns WHERE id::text = $1 FOR UPDATE").bind(&turn.id).execute(&mut *tx).await.unwrap();
    cluster.gate.open();
    eventually(SOON, || async {
        let over: (bool,) = sqlx::query_as("SELECT lease_expires_at <= clock_timestamp() FROM turns WHERE id::text = $1")
            .bind(&turn.id)
            .fetch_one(&mut cluster.turns_db().await)
            .await
            .unwrap();
        over.0.then_some(())
    })
    .await;
    assert_eq!(cluster.model.requests("SAY later").len(), 0);
    tx.rollback().await.unwrap();
    assert_eq!(*types(&person.see(&turn.id).await).last().unwrap(), "turn.completed");
    assert_eq!(cluster.model.requests("SAY later").len(), 1);
}
