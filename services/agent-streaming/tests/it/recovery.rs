//! A replica dies in the middle; another one, or the same one started again, goes on with every turn to one end.

use std::time::Duration;

use chassis::testing::eventually;
use proto::agent_streaming::{StartTurnRequest, TurnEvent, TurnState, turn_event::Kind};

use crate::harness::{Cluster, LEASE, SOON, failure, prompt, types};

/// Where the log says that a step counts no more, and the events that it names.
fn superseded(events: &[TurnEvent]) -> Vec<(u32, Vec<&'static str>)> {
    let named = events.iter().filter_map(|event| match event.kind {
        Some(Kind::StepSuperseded(range)) => Some((event.seq, types(&events[range.from as usize - 1..range.to as usize]))),
        _ => None,
    });
    named.collect()
}

#[tokio::test]
async fn a_turn_of_a_dead_replica_goes_on_from_its_last_finished_step() {
    let cluster = Cluster::start(&[]).await;
    let (dying, someone) = (cluster.replica(), cluster.person());
    let mut person = someone.at(&dying);
    // Two steps are done when the third one hangs.
    let turn = person.start(prompt("d", "STEPS a.txt one two HANG")).await;
    let third = |event: &TurnEvent| matches!(&event.kind, Some(Kind::TextDelta(delta)) if delta.text.contains("wait"));
    person.follow_until(&turn.id, 0, third).await.1.unwrap();
    // It waits for the slot of the first one, and has done nothing yet.
    let waiting = person.start(prompt("d", "WRITE b.txt b")).await;
    let calls = cluster.model.calls();
    assert_eq!(calls, 3);
    dying.crash();

    let started = std::time::Instant::now();
    let replica = cluster.replica();
    let mut person = someone.at(&replica);
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
    assert_eq!(cluster.model.calls(), calls + 2, "one call for the lost step, one for the other turn");

    let done = person.turn(&turn.id).await;
    let project = person.load(&turn.project_id).await;
    assert_eq!(project.files.len(), 1, "what the finished steps wrote: {:?}", project.files);
    assert_eq!(project.revision.unwrap().id, done.revision);
    let answer =
        person.messages(&turn.project_id).await.into_iter().find(|message| message.turn_id == turn.id && !message.revision.is_empty());
    assert_eq!(answer.unwrap().text, "All done.", "nothing of the superseded step is left");
    let events = person.see(&waiting.id).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.completed");
    assert_eq!(person.load(&turn.project_id).await.files.len(), 2);
}

#[tokio::test]
async fn a_turn_that_loses_every_owner_ends_with_the_reason() {
    let cluster = Cluster::start(&[]).await;
    let someone = cluster.person();
    let mut replica = cluster.replica();
    let turn = someone.at(&replica).start(prompt("d", "HANG")).await;
    let mut seen = 0;
    for lost in 0..4 {
        let mut person = someone.at(&replica);
        let asked = |event: &TurnEvent| matches!(event.kind, Some(Kind::TextDelta(_)));
        let (events, end) = person.follow_until(&turn.id, seen, asked).await;
        end.unwrap();
        seen = events.last().unwrap().seq;
        assert_eq!(cluster.model.calls(), lost + 1);
        replica.crash();
        replica = cluster.replica();
    }
    let mut person = someone.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert_eq!(failure(&events), "WORKER_LOST");
    assert_eq!(superseded(&events).len(), 3);
    assert_eq!(cluster.model.calls(), 5, "one call an owner, and the other turn's");
    // The conversation keeps what the last owner heard.
    let messages = &person;
    let partial =
        eventually(SOON, || async { messages.clone().messages(&turn.project_id).await.into_iter().find(|message| message.partial) });
    assert_eq!(partial.await.text, "wait");
}

#[tokio::test]
async fn a_committing_turn_of_a_dead_replica_completes_with_the_same_change_set() {
    let cluster = Cluster::start(&[]).await;
    let dying = cluster.replica();
    let someone = cluster.person();
    let mut person = someone.at(&dying);
    person.run(prompt("d", "SAY up")).await;
    let turn = person.start(prompt("d", "WRITE a.txt what was asked for")).await;
    person.follow_until(&turn.id, 0, |event| matches!(event.kind, Some(Kind::ToolReady(_)))).await.1.unwrap();
    cluster.gate.shut();
    // Either the commit got through or it waits at the gate; both must come to the same.
    person.follow_until(&turn.id, 0, |event| event.is_terminal() || matches!(event.kind, Some(Kind::TurnCommitting(_)))).await.1.unwrap();
    let calls = cluster.model.calls();
    dying.crash();
    cluster.gate.open();

    let replica = cluster.replica();
    let mut person = someone.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert_eq!(types(&events)[events.len() - 3..], ["turn.committing", "files.committed", "turn.completed"]);
    assert_eq!(cluster.model.calls(), calls + 1, "only the other turn's call");
    let project = person.load(&turn.project_id).await;
    assert_eq!(project.revision.unwrap().id, person.turn(&turn.id).await.revision);
    assert_eq!(project.files.len(), 1);
}

#[tokio::test]
async fn a_crash_at_any_moment_costs_one_step_at_most() {
    let cluster = Cluster::start(&[("BACKLOT_LEASE", "1s")]).await;
    let someone = cluster.person();
    let mut seen = std::collections::BTreeMap::new();
    for n in 0..12_u64 {
        let dying = cluster.replica();
        let draft = format!("d{n}");
        let turn = someone.at(&dying).start(prompt(&draft, "WRITE a.txt text")).await;
        tokio::time::sleep(Duration::from_millis(n * 10)).await;
        dying.crash();

        let replica = cluster.replica();
        let mut person = someone.at(&replica);
        // The same request finds the same turn; without a key there is no asking again, so look at it.
        person.run(StartTurnRequest { ..prompt(&format!("warm{n}"), "SAY up") }).await;
        let events = person.see(&turn.id).await;
        let last = *types(&events).last().unwrap();
        let files = person.load(&turn.project_id).await.files.len();
        assert_eq!((last, files), ("turn.completed", 1));
        *seen.entry(superseded(&events).len()).or_insert(0) += 1;
    }
    assert_eq!(seen.values().sum::<i32>(), 12);
    assert!(seen.keys().all(|again| *again <= 1), "one crash, one step asked for again: {seen:?}");
}

#[tokio::test]
async fn a_drained_replica_leaves_its_turns_to_the_next_at_once() {
    // No lease runs out within the test: it has to be let go of.
    let cluster = Cluster::start(&[("BACKLOT_LEASE", "60s")]).await;
    let (going, someone) = (cluster.replica(), cluster.person());
    let mut person = someone.at(&going);
    let turn = person.start(prompt("d", "HANG1")).await;
    person.follow_until(&turn.id, 0, |event| matches!(event.kind, Some(Kind::TextDelta(_)))).await.1.unwrap();
    going.stop();
    going.ended().await;

    let replica = cluster.replica();
    let mut person = someone.at(&replica);
    let events = person.see(&turn.id).await;
    assert_eq!((*types(&events).last().unwrap(), superseded(&events).len()), ("turn.completed", 1));
    assert_eq!(person.turn(&turn.id).await.state(), TurnState::Completed);
}
