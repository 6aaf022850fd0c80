//! StartTurn: one turn per key, refusals without leftovers, one running turn per project.

use std::time::Duration;

use proto::{
    agent_streaming::{IfActive, StartTurnRequest, TurnState, turn_event::Kind},
    error::ErrorCode,
    id::ProjectId,
};

use crate::harness::{Cluster, SOON, failure, prompt, types};

fn keyed(key: &str, text: &str) -> StartTurnRequest {
    StartTurnRequest { idempotency_key: key.into(), ..prompt("draft", text) }
}

#[tokio::test]
async fn a_prompt_becomes_files_and_an_answer() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let (turn, events) = person.run(prompt("d", "WRITE index.html <h1>Hi</h1>")).await;

    assert_eq!(turn.state(), TurnState::Completed);
    assert_eq!(turn.last_seq as usize, events.len());
    assert_eq!(turn.usage.as_ref().map(|usage| (usage.input_tokens, usage.output_tokens)), Some((20, 10)));
    let types = types(&events);
    for kind in ["turn.accepted", "agent.selected", "turn.started", "attempt.started", "file.opened", "file.delta", "tool.ready"] {
        assert!(types.contains(&kind), "{kind} in {types:?}");
    }
    assert_eq!(types[types.len() - 3..], ["turn.committing", "files.committed", "turn.completed"]);
    let written: String =
        events.iter().filter_map(|e| if let Some(Kind::FileDelta(d)) = &e.kind { Some(d.text.as_str()) } else { None }).collect();
    assert_eq!(written, "<h1>Hi</h1>");
    let trace = &events[0].trace_id;
    assert!(trace.len() == 32 && events.iter().all(|event| event.trace_id == *trace));

    let project = person.load(&turn.project_id).await;
    assert_eq!(project.revision.unwrap().id, turn.revision);
    assert_eq!(project.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["index.html"]);
    let texts: Vec<_> = person.messages(&turn.project_id).await.into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["All done.", "WRITE index.html <h1>Hi</h1>"]);

    // The second prompt works on the revision of the first one.
    let second = StartTurnRequest { project_id: turn.project_id.clone(), draft_id: String::new(), ..prompt("", "WRITE a.txt more") };
    let (second, _) = person.run(second).await;
    assert_eq!(second.base_revision, turn.revision);
    assert_eq!(person.load(&turn.project_id).await.files.len(), 2);
}

#[tokio::test]
async fn one_key_starts_one_turn_and_is_counted_once() {
    let cluster = Cluster::start(&[("TEST_SHIPPED_POLICIES", "1")]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let turn = person.start(keyed("k", "SAY one")).await;
    for _ in 0..5 {
        assert_eq!(person.start(keyed("k", "SAY one")).await.id, turn.id);
    }
    let reused = person.try_start(keyed("k", "SAY two")).await.unwrap_err();
    assert_eq!((reused.code, reused.reason.as_str()), (ErrorCode::Conflict, "KEY_REUSED"));
    // Keys are per user.
    let mut other = cluster.user().at(&replica);
    assert_ne!(other.start(keyed("k", "SAY two")).await.id, turn.id);

    // The policy allows three turns, and a replay is not counted.
    person.start(keyed("k2", "SAY two")).await;
    person.start(keyed("k3", "SAY three")).await;
    let limited = person.try_start(keyed("k4", "SAY four")).await.unwrap_err();
    assert_eq!((limited.code, limited.reason.as_str()), (ErrorCode::RateLimited, "RATE_LIMITED"));
    assert_eq!(limited.quota[0].policy, "agent");
    // The limit goes before the plan, whose log would have to be read.
    let unknown = StartTurnRequest { plan_turn_id: turn.id.clone(), ..keyed("k5", "SAY five") };
    assert_eq!(person.try_start(unknown).await.unwrap_err().reason, "RATE_LIMITED");
    assert!(limited.retry_after.is_some_and(|wait| wait > Duration::ZERO && wait <= Duration::from_secs(60)));
    assert_eq!(person.start(keyed("k", "SAY one")).await.id, turn.id);
}

#[tokio::test]
async fn concurrent_requests_with_one_key_start_one_turn() {
    let cluster = Cluster::start(&[]).await;
    let replicas = [cluster.replica(), cluster.replica()];
    let user = cluster.user();
    user.at(&replicas[0]).run(prompt("warm", "SAY up")).await;
    let starts: Vec<_> = (0..20)
        .map(|n| {
            let mut person = user.at(&replicas[n % 2]);
            chassis::task::spawn(async move { person.try_start(keyed("k", "SAY hello")).await })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for start in starts {
        match start.await.unwrap() {
            Ok(turn) => drop(ids.insert(turn.id)),
            Err(fault) => assert_eq!(fault.code, ErrorCode::Unavailable, "{fault}"),
        }
    }
    assert_eq!(ids.len(), 1);
    let mut person = user.at(&replicas[0]);
    let turn = person.start(keyed("k", "SAY hello")).await;
    assert!(ids.contains(&turn.id));
    person.see(&turn.id).await;
    let prompts = person.messages(&turn.project_id).await.iter().filter(|message| message.text == "SAY hello").count();
    assert_eq!(prompts, 1);
}

#[tokio::test]
async fn a_refused_turn_is_not_stored() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let absent = StartTurnRequest { project_id: ProjectId::generate().to_string(), idempotency_key: "k".into(), ..prompt("", "SAY x") };
    let fault = person.try_start(absent).await.unwrap_err();
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::NotFound, "PROJECT_NOT_FOUND"));
    assert_eq!(fault.domain, "project-storage.backlot.dev");
    // The key can be used again.
    person.start(keyed("k", "SAY x")).await;

    for (request, code, reason) in [
        (StartTurnRequest { agent: "nobody".into(), ..prompt("d", "x") }, ErrorCode::NotFound, "AGENT_NOT_FOUND"),
        (StartTurnRequest { model: "openai/../../v1/files".into(), ..prompt("d", "x") }, ErrorCode::InvalidArgument, "INVALID_FIELD"),
        (StartTurnRequest { model: "openai/a\nb".into(), ..prompt("d", "x") }, ErrorCode::InvalidArgument, "INVALID_FIELD"),
        (StartTurnRequest { model: "anthropic/none".into(), ..prompt("d", "x") }, ErrorCode::NotFound, "MODEL_NOT_FOUND"),
        (prompt("d", ""), ErrorCode::InvalidArgument, "INVALID_FIELD"),
        (prompt("", "x"), ErrorCode::InvalidArgument, "INVALID_FIELD"),
    ] {
        let fault = person.try_start(request).await.unwrap_err();
        assert_eq!((fault.code, fault.reason.as_str()), (code, reason));
        assert_eq!(fault.domain, "agent-streaming.backlot.dev");
    }
}

#[tokio::test]
async fn turns_of_a_project_run_one_after_the_other() {
    let cluster = Cluster::start(&[]).await;
    let replicas = [cluster.replica(), cluster.replica()];
    let user = cluster.user();
    let mut person = user.at(&replicas[0]);
    let first = person.start(prompt("d", "SLOW 40")).await;
    person.wait_for(&first.id, TurnState::Running).await;

    let reject = StartTurnRequest { if_active: IfActive::Reject as i32, ..prompt("d", "SAY now") };
    let fault = person.try_start(reject.clone()).await.unwrap_err();
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "TURN_ACTIVE"));
    assert_eq!(fault.metadata["turn_id"], first.id);

    let mut waiting = Vec::new();
    for n in 0..3 {
        waiting.push(user.at(&replicas[n % 2]).start(prompt("d", &format!("WRITE {n}.txt {n}"))).await);
    }
    let queued = person.wait_for(&waiting[2].id, TurnState::Queued).await;
    assert!(queued.start_time.is_none());
    let mut base = String::new();
    for turn in &waiting {
        let events = person.see(&turn.id).await;
        assert!(types(&events).contains(&"turn.queued"));
        let turn = person.turn(&turn.id).await;
        assert_eq!((turn.state(), &turn.base_revision), (TurnState::Completed, &base));
        base = turn.revision;
    }
    assert_eq!(person.load(&first.project_id).await.files.len(), 3);
    let (turn, events) = person.run(reject).await;
    assert_eq!(turn.state(), TurnState::Completed);
    assert!(!types(&events).contains(&"turn.queued"));
}

#[tokio::test]
async fn one_of_several_concurrent_turns_that_must_not_wait_runs() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let user = cluster.user();
    user.at(&replica).run(prompt("d", "SAY warm")).await;
    let starts: Vec<_> = (0..8)
        .map(|n| {
            let mut person = user.at(&replica);
            let request = StartTurnRequest { if_active: IfActive::Reject as i32, ..prompt("d", &format!("SLOW {}", 20 + n)) };
            chassis::task::spawn(async move { person.try_start(request).await })
        })
        .collect();
    let mut started = Vec::new();
    for start in starts {
        match start.await.unwrap() {
            Ok(turn) => started.push(turn),
            Err(fault) => assert_eq!(fault.reason, "TURN_ACTIVE"),
        }
    }
    assert_eq!(started.len(), 1);
    let events = user.at(&replica).see(&started[0].id).await;
    assert!(!types(&events).contains(&"turn.queued"));
}

#[tokio::test]
async fn a_turn_that_is_not_begun_continues_with_a_retry_or_fails() {
    let cluster = Cluster::start(&[("BACKLOT_BEGIN_TIMEOUT", "10s")]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    person.run(prompt("warm", "SAY up")).await;

    cluster.gate.shut();
    let fault = person.try_start(keyed("retried", "SAY hello")).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::Unavailable);
    let fault = person.try_start(StartTurnRequest { draft_id: "other".into(), ..keyed("lost", "SAY hello") }).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::Unavailable);
    cluster.gate.open();
    let retried = chassis::testing::eventually(SOON, || {
        let mut person = person.clone();
        async move { person.try_start(keyed("retried", "SAY hello")).await.ok() }
    });
    let retried = retried.await;
    assert!(types(&person.see(&retried.id).await).contains(&"turn.completed"));

    // The other turn is not retried, so it fails, and a later request with its key returns the failed turn.
    let found = sqlx::query_scalar::<_, uuid::Uuid>("SELECT id FROM turns WHERE idempotency_key = 'lost'");
    let database = sqlx::PgPool::connect(&cluster.database).await.unwrap();
    let id = found.fetch_one(&database).await.unwrap().to_string();
    let turn = person.wait_for(&id, TurnState::Failed).await;
    assert_eq!(turn.failure_reason, "NOT_BEGUN");
    assert_eq!(failure(&person.see(&id).await), "NOT_BEGUN");
    let answer = person.start(StartTurnRequest { draft_id: "other".into(), ..keyed("lost", "SAY hello") }).await;
    assert_eq!((answer.id.as_str(), answer.state()), (id.as_str(), TurnState::Failed));
}
