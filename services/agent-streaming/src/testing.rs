//! Helpers of this crate's unit tests: a database, and turns in it.

use std::time::Duration;

use chassis::testing::{TestDatabase, postgres};
use proto::{
    agent_streaming::{TextDelta, TurnAccepted, TurnEvent, Usage, turn_event::Kind},
    id::{ProjectId, TurnId, UserId},
    metadata::Metadata,
};

use crate::{
    log::partitions,
    store::{MIGRATOR, Pool, claims, events, turns},
    turn::event,
    turn::{State, Turn, mode::Mode},
};

/// Longer than any test takes.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

pub(crate) async fn database() -> TestDatabase {
    let database = postgres(&MIGRATOR).await;
    partitions::ensure(&database.pool, chassis::clock::now().date()).await.unwrap();
    database
}

/// A turn that is not stored yet.
pub(crate) fn draft() -> Turn {
    Turn {
        id: TurnId::generate(),
        user_id: UserId::generate(),
        project_id: None,
        draft_id: None,
        fingerprint: vec![1],
        prompt: "a page".into(),
        agent: "builder".into(),
        agent_rule: "default".into(),
        model: "demo/demo".into(),
        asked_revision: String::new(),
        reject_if_active: false,
        goes_first: false,
        client_message_id: String::new(),
        metadata: Metadata::from([("customer".to_owned(), "4711".to_owned())]),
        replaces: None,
        cancel_unfollowed: false,
        require_clean_files: false,
        pinned: Vec::new(),
        excluded: Vec::new(),
        mode: Mode::Build,
        plan: None,
        tools: None,
        skills: None,
        selection: None,
        agent_version: None,
        provider_key: None,
        recoveries: 0,
        state: State::Accepted,
        epoch: 0,
        base_revision: String::new(),
        history: None,
        revision: String::new(),
        failure_reason: String::new(),
        last_seq: 0,
        usage: Usage::default(),
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        created_at: chassis::clock::now(),
        started_at: None,
        ended_at: None,
    }
}

/// Stores a turn that is begun and accepted and has one event.
pub(crate) async fn accepted(db: &Pool, project: ProjectId) -> Turn {
    let turn = Turn { user_id: UserId::generate(), ..draft() };
    turns::insert(db, &turn, None).await.unwrap().unwrap();
    let event = TurnEvent { kind: Some(Kind::TurnAccepted(TurnAccepted::default())), ..TurnEvent::default() };
    let events = [(1, event::encode(&event))];
    let accept = turns::AcceptTurn { turn: turn.id, project, events: &events, takes_slot: false, only_if_free: false, grace: LEASE };
    assert_eq!(turns::accept(db, accept).await.unwrap(), turns::AcceptOutcome::Accepted);
    Turn { project_id: Some(project), last_seq: 1, ..turn }
}

/// Claims every free turn, as a process that drives none.
pub(crate) async fn claim(db: &Pool) -> Vec<Turn> {
    claims::claim(db, claims::ClaimOptions { limit: 100, lease: LEASE, begin_timeout: LEASE, driven: &[] }).await.unwrap()
}

/// Stores an accepted turn and claims it.
pub(crate) async fn claimed(db: &Pool) -> Turn {
    let turn = accepted(db, ProjectId::generate()).await;
    let claimed = claim(db).await;
    claimed.into_iter().find(|claimed| claimed.id == turn.id).unwrap()
}

pub(crate) fn text(text: &str) -> Kind {
    Kind::TextDelta(TextDelta { block_id: "b".into(), text: text.into() })
}

/// The log of a turn, read from the database.
pub(crate) async fn log(db: &Pool, turn: TurnId) -> Vec<TurnEvent> {
    let rows = events::read(db, turn, 0, 100_000).await.unwrap();
    rows.iter().map(|row| event::decode(turn, row.seq, &row.payload)).collect()
}
