//! Recovery: a replica crashes, and another one drives its turns to their ends.

use std::time::Duration;

use chassis::testing::eventually;
use proto::agent_streaming::{StartTurnRequest, TurnEvent, TurnState, turn_event::Kind};

use crate::harness::{Cluster, LEASE, SOON, failure, prompt, types};

/// The seq of each `step.superseded`, and the types of the superseded events.
fn superseded(events: &[TurnEvent]) -> Vec<(u32, Vec<&'static str>)> {
    let named = events.iter().filter_map(|event| match event.kind {
        Some(Kind::StepSuperseded(range)) => Some((event.seq, types(&events[range.from as usize - 1..range.to as usize]))),
        _ => None,
    });
    named.collect()
}

#[tokio::test]
async fn a_turn_of_a_crashed_replica_continues_after_its_last_finished_step() {
    let cluster = Cluster::start(&[]).await;
    let (dying, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&dying);
    // Two steps are finished when the third one hangs.
    let turn = person.start(prompt("d", "STEPS a.txt one two HANG")).await;
    let third = |event: &TurnEvent| matches!(&event.kind, Some(Kind::TextDelta(delta)) if delta.text.contains("wait"));
    person.follow_until(&turn.id, 0, third).await.1.unwrap();
    // The second turn waits for the slot.
    let waiting = person.start(prompt("d", "WRITE b.txt b")).await;
    let requests = || cluster.model.requests("STEPS a.txt one two HANG").len();
    assert_eq!(requests(), 3);
    dying.crash();

    let started = std::time::Instant::now();
    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert!(started.elapsed() < LEASE + SOON, "{:?}", started.elapsed());
    assert_eq!(*types(&events).last().unwrap(), "turn.completed");
    let superseded = superseded(&events);
    assert_eq!(superseded.len(), 1);
    assert_eq!(superseded[0].1[..2], ["step.started", "attempt.started"], "from the first event of the step");
    assert!(superseded[0].1.iter().all(|kind| *kind != "step.finished"), "to its last");
    let steps: Vec<_> = events.iter().filter_map(|e| if let Some(Kind::StepStarted(s)) = &e.kind { Some(s.step) } else { None }).collect();
    assert_eq!(steps, [1, 2, 3, 3]);
    assert_eq!(requests(), 4, "one request for the lost step");

    let done = person.turn(&turn.id).await;
    // The turn that waited may have committed by now.
    let project = person.load_revision(&turn.project_id, &done.revision).await;
    assert_eq!(project.files.len(), 1, "the file of the finished steps: {:?}", project.files);
    assert_eq!(project.revision.unwrap().id, done.revision);
    let answer =
        person.messages(&turn.project_id).await.into_iter().find(|message| message.turn_id == turn.id && !message.revision.is_empty());
    assert_eq!(answer.unwrap().text, "All done.", "the text of the superseded step is removed");
    let events = person.see(&waiting.id).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.completed");
    assert_eq!(person.load(&turn.project_id).await.files.len(), 2);
}

#[tokio::test]
async fn a_turn_that_loses_four_workers_fails() {
    let cluster = Cluster::start(&[]).await;
    let user = cluster.user();
    let mut replica = cluster.replica();
    let turn = user.at(&replica).start(prompt("d", "HANG")).await;
    let mut seen = 0;
    for lost in 0..4 {
        let mut person = user.at(&replica);
        let asked = |event: &TurnEvent| matches!(event.kind, Some(Kind::TextDelta(_)));
        let (events, end) = person.follow_until(&turn.id, seen, asked).await;
        end.unwrap();
        seen = events.last().unwrap().seq;
        assert_eq!(cluster.model.calls(), lost + 1);
        replica.crash();
        replica = cluster.replica();
    }
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert_eq!(failure(&events), "WORKER_LOST");
    assert_eq!(superseded(&events).len(), 3);
    assert_eq!(cluster.model.calls(), 5, "one request per worker, and one of the other turn");
    // The conversation keeps the partial answer of the last worker.
    let messages = &person;
    let partial =
        eventually(SOON, || async { messages.clone().messages(&turn.project_id).await.into_iter().find(|message| message.partial) });
    assert_eq!(partial.await.text, "wait");
}

#[tokio::test]
async fn a_committing_turn_of_a_crashed_replica_completes_with_the_same_change_set() {
    let cluster = Cluster::start(&[]).await;
    let dying = cluster.replica();
    let user = cluster.user();
    let mut person = user.at(&dying);
    person.run(prompt("d", "SAY up")).await;
    let turn = person.start(prompt("d", "WRITE a.txt what was asked for")).await;
    person.follow_until(&turn.id, 0, |event| matches!(event.kind, Some(Kind::ToolReady(_)))).await.1.unwrap();
    cluster.gate.shut();
    // The commit has happened or is blocked at the gate. Both must have the same outcome.
    person.follow_until(&turn.id, 0, |event| event.is_terminal() || matches!(event.kind, Some(Kind::TurnCommitting(_)))).await.1.unwrap();
    let calls = cluster.model.calls();
    dying.crash();
    cluster.gate.open();

    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert_eq!(types(&events)[events.len() - 3..], ["turn.committing", "files.committed", "turn.completed"]);
    assert_eq!(cluster.model.calls(), calls + 1, "only the request of the other turn");
    let project = person.load(&turn.project_id).await;
    assert_eq!(project.revision.unwrap().id, person.turn(&turn.id).await.revision);
    assert_eq!(project.files.len(), 1);
}

#[tokio::test]
async fn a_crash_at_any_moment_repeats_at_most_one_step() {
    let cluster = Cluster::start(&[("BACKLOT_LEASE", "1s")]).await;
    let user = cluster.user();
    let mut seen = std::collections::BTreeMap::new();
    for n in 0..12_u64 {
        let dying = cluster.replica();
        let draft = format!("d{n}");
        let turn = user.at(&dying).start(prompt(&draft, "WRITE a.txt text")).await;
        tokio::time::sleep(Duration::from_millis(n * 10)).await;
        dying.crash();

        let replica = cluster.replica();
        let mut person = user.at(&replica);
        // The request had no key, so it is not repeated.
        person.run(StartTurnRequest { ..prompt(&format!("warm{n}"), "SAY up") }).await;
        let events = person.see(&turn.id).await;
        let last = *types(&events).last().unwrap();
        let files = person.load(&turn.project_id).await.files.len();
        assert_eq!((last, files), ("turn.completed", 1));
        *seen.entry(superseded(&events).len()).or_insert(0) += 1;
    }
    assert_eq!(seen.values().sum::<i32>(), 12);
    assert!(seen.keys().all(|again| *again <= 1), "one crash repeats at most one step: {seen:?}");
}

#[tokio::test]
async fn a_drained_replica_releases_its_turns() {
    // No lease expires within the test, so the turn must be released.
    let cluster = Cluster::start(&[("BACKLOT_LEASE", "60s")]).await;
    let (going, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&going);
    let turn = person.start(prompt("d", "HANG1")).await;
    person.follow_until(&turn.id, 0, |event| matches!(event.kind, Some(Kind::TextDelta(_)))).await.1.unwrap();
    going.stop();
    going.ended().await;

    let replica = cluster.replica();
    let mut person = user.at(&replica);
    let events = person.see(&turn.id).await;
    assert_eq!((*types(&events).last().unwrap(), superseded(&events).len()), ("turn.completed", 1));
    assert_eq!(person.turn(&turn.id).await.state(), TurnState::Completed);
}
