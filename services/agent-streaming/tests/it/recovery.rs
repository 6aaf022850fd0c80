//! A replica dies in the middle; another one, or the same one started again, brings every turn to one end.

use std::time::Duration;

use proto::agent_streaming::{StartTurnRequest, TurnState, turn_event::Kind};

use crate::harness::{Cluster, LEASE, failure, prompt, types};

#[tokio::test]
async fn a_running_turn_of_a_dead_replica_fails_with_what_it_had_answered() {
    let cluster = Cluster::start(&[]).await;
    let dying = cluster.replica();
    let someone = cluster.person();
    let turn = someone.at(&dying).start(prompt("d", "HANG")).await;
    let mut person = someone.at(&dying);
    person.follow_until(&turn.id, 0, |event| matches!(event.kind, Some(Kind::TextDelta(_)))).await.1.unwrap();
    // It waits for the slot of the first one, and has done nothing yet.
    let waiting = person.start(prompt("d", "WRITE a.txt a")).await;
    dying.crash();

    let started = std::time::Instant::now();
    let replica = cluster.replica();
    let mut person = someone.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert!(started.elapsed() < LEASE + Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(failure(&events), "WORKER_LOST");
    let partial = person.messages(&turn.project_id).await.into_iter().find(|message| message.partial);
    assert_eq!(partial.unwrap().text, "wait");
    let events = person.see(&waiting.id).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.completed");
    assert_eq!(person.load(&turn.project_id).await.files.len(), 1);
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
async fn a_crash_at_any_moment_ends_in_one_of_the_two_trees() {
    let cluster = Cluster::start(&[("BACKLOT_LEASE", "500ms")]).await;
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
        match last {
            "turn.completed" => assert_eq!(files, 1),
            "turn.failed" => assert_eq!((failure(&events), files), ("WORKER_LOST", 0)),
            other => panic!("{other}"),
        }
        *seen.entry(last).or_insert(0) += 1;
    }
    assert_eq!(seen.values().sum::<i32>(), 12);
}

#[tokio::test]
async fn a_drained_replica_leaves_its_turns_to_the_next_at_once() {
    // No lease runs out within the test: it has to be let go of.
    let cluster = Cluster::start(&[("BACKLOT_LEASE", "60s")]).await;
    let (going, someone) = (cluster.replica(), cluster.person());
    let mut person = someone.at(&going);
    let turn = person.start(prompt("d", "HANG")).await;
    person.follow_until(&turn.id, 0, |event| matches!(event.kind, Some(Kind::TextDelta(_)))).await.1.unwrap();
    going.stop();
    going.ended().await;

    let replica = cluster.replica();
    let mut person = someone.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    assert_eq!(failure(&person.see(&turn.id).await), "WORKER_LOST");
    assert_eq!(person.turn(&turn.id).await.state(), TurnState::Failed);
}
