//! CancelTurn: after the response only `turn.cancelled` follows, on every replica.

use std::time::Duration;

use chassis::testing::eventually;
use proto::{
    agent_streaming::{CancelTurnRequest, StartTurnRequest, TurnEvent, TurnState, turn_event::Kind},
    error::{ErrorCode, Fault},
};

use crate::harness::{Cluster, Person, SOON, prompt, types};

async fn cancel(person: &mut Person, id: &str) -> Result<proto::agent_streaming::Turn, Fault> {
    let answer = person.turns.cancel_turn(CancelTurnRequest { turn_id: id.into() }).await;
    answer.map(|answer| answer.into_inner().turn.unwrap()).map_err(|status| Fault::from_status(&status))
}

/// No heartbeat within the test, so that the worker learns of the cancel in another way.
const NEVER: (&str, &str) = ("BACKLOT_LEASE", "600s");

#[tokio::test]
async fn a_cancel_at_the_same_replica_closes_the_connection_to_the_model() {
    let cluster = Cluster::start(&[NEVER]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let turn = person.start(prompt("d", "HANG")).await;
    person
        .follow_until(&turn.id, 0, |event| matches!(event.kind, Some(proto::agent_streaming::turn_event::Kind::TextDelta(_))))
        .await
        .1
        .unwrap();

    let cancelled = cancel(&mut person, &turn.id).await.unwrap();
    assert_eq!(cancelled.state(), TurnState::Cancelled);
    eventually(SOON, || async { (cluster.model.dropped() == 1).then_some(()) }).await;
    let events = person.see(&turn.id).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.cancelled");
    // A second cancel succeeds, and the partial answer is kept.
    assert_eq!(cancel(&mut person, &turn.id).await.unwrap().last_seq as usize, events.len());
    let kept = eventually(SOON, || {
        let (mut person, project) = (person.clone(), turn.project_id.clone());
        async move { person.messages(&project).await.into_iter().find(|message| message.partial) }
    });
    assert_eq!(kept.await.text, "wait");
    // The next turn of the project can run.
    let (next, _) = person.run(prompt("d", "SAY again")).await;
    assert_eq!(next.state(), TurnState::Completed);
}

#[tokio::test]
async fn a_cancel_at_another_replica_needs_no_doorbell() {
    cancel_at_both_replicas(Cluster::start(&[]).await).await;
}

#[tokio::test]
async fn a_cancel_at_another_replica_rings_the_doorbell() {
    let redis = chassis::testing::redis().await;
    cancel_at_both_replicas(Cluster::start(&[("REDIS_URL", redis.url.as_str()), NEVER]).await).await;
}

async fn cancel_at_both_replicas(cluster: Cluster) {
    let replicas = [cluster.replica(), cluster.replica()];
    let user = cluster.user();
    let mut person = user.at(&replicas[0]);
    person.run(prompt("warm", "SAY up")).await;
    for (n, replica) in replicas.iter().enumerate() {
        // Either replica may drive the turn, so one of the two cancels comes from the other replica.
        let turn = person.start(prompt(&format!("d{n}"), "HANG")).await;
        person.follow_until(&turn.id, 0, |event| event.seq == 6).await.1.unwrap();
        cancel(&mut user.at(replica), &turn.id).await.unwrap();
        let dropped = n + 1;
        eventually(SOON, || async { (cluster.model.dropped() == dropped).then_some(()) }).await;
        assert_eq!(*types(&person.see(&turn.id).await).last().unwrap(), "turn.cancelled");
    }
}

#[tokio::test]
async fn a_queued_turn_can_be_cancelled_and_an_ended_one_cannot() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let first = person.start(prompt("d", "SLOW 30")).await;
    let second = person.start(prompt("d", "SAY never")).await;
    person.wait_for(&second.id, TurnState::Queued).await;
    cancel(&mut person, &second.id).await.unwrap();
    assert_eq!(types(&person.see(&second.id).await), ["turn.accepted", "agent.selected", "turn.queued", "turn.cancelled"]);

    person.see(&first.id).await;
    let fault = cancel(&mut person, &first.id).await.unwrap_err();
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "TOO_LATE"));
    let absent = cancel(&mut person, &proto::id::TurnId::generate().to_string()).await.unwrap_err();
    assert_eq!(absent.reason, "TURN_NOT_FOUND");
}

#[tokio::test]
async fn a_turn_whose_worker_is_lost_can_be_cancelled_before_and_after_it_is_resumed() {
    let cluster = Cluster::start(&[]).await;
    let user = cluster.user();
    let said = |event: &TurnEvent| matches!(event.kind, Some(Kind::TextDelta(_)));
    for taken_over in [false, true] {
        let dying = cluster.replica();
        let turn = user.at(&dying).start(prompt(&format!("d{taken_over}"), "HANG")).await;
        let (seen, end) = user.at(&dying).follow_until(&turn.id, 0, said).await;
        end.unwrap();
        let replica = cluster.replica();
        let mut person = user.at(&replica);
        person.run(prompt("warm", "SAY up")).await;
        let calls = cluster.model.calls();
        dying.crash();
        if taken_over {
            person.follow_until(&turn.id, seen.last().unwrap().seq, said).await.1.unwrap();
        }
        cancel(&mut person, &turn.id).await.unwrap();
        let events = person.see(&turn.id).await;
        assert_eq!(*types(&events).last().unwrap(), "turn.cancelled");
        // The slot is free, and the model gets no further request for the cancelled turn.
        let next = StartTurnRequest { project_id: turn.project_id.clone(), draft_id: String::new(), ..prompt("", "SAY next") };
        person.run(next).await;
        assert_eq!(cluster.model.calls(), calls + 1 + usize::from(taken_over));
    }
}

#[tokio::test]
async fn a_cancel_at_any_moment_succeeds_or_is_too_late_and_the_outcome_follows() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let user = cluster.user();
    user.at(&replica).run(prompt("warm", "SAY up")).await;
    let mut stops = Vec::new();
    for n in 0..24_u64 {
        let mut person = user.at(&replica);
        stops.push(chassis::task::spawn(async move {
            let turn = person.start(prompt(&format!("d{n}"), &format!("WRITE f{n}.txt text"))).await;
            tokio::time::sleep(Duration::from_millis(n * 8)).await;
            let stopped = cancel(&mut person, &turn.id).await;
            let events = person.see(&turn.id).await;
            let last = *types(&events).last().unwrap();
            let files = person.load(&turn.project_id).await.files.len();
            match stopped {
                Ok(_) => assert_eq!((last, files), ("turn.cancelled", 0)),
                Err(fault) => {
                    assert_eq!(fault.reason, "TOO_LATE");
                    assert_eq!((last, files), ("turn.completed", 1));
                }
            }
        }));
    }
    for stop in stops {
        stop.await.unwrap();
    }
}
