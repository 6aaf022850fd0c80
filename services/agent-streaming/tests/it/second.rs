//! Prompts while another turn runs, and turns without followers.

use std::time::Duration;

use chassis::testing::eventually;
use proto::{
    agent_streaming::{IfActive, ListTurnsRequest, OnDisconnect, StartTurnRequest, Turn, TurnState, turn_event::Kind},
    error::{ErrorCode, Fault},
};

use crate::harness::{Cluster, Person, SOON, prompt, types};

fn interrupting(project: &str, text: &str) -> StartTurnRequest {
    StartTurnRequest { project_id: project.into(), draft_id: String::new(), if_active: IfActive::Interrupt as i32, ..prompt("", text) }
}

async fn list(person: &mut Person, request: ListTurnsRequest) -> Vec<String> {
    person.turns.list_turns(request).await.unwrap().into_inner().turns.into_iter().map(|turn| turn.id).collect()
}

#[tokio::test]
async fn an_interrupt_cancels_the_running_turn_and_goes_before_the_queue() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let running = person.start(prompt("d", "HANG")).await;
    person.follow_until(&running.id, 0, |event| matches!(event.kind, Some(Kind::TextDelta(_)))).await.1.unwrap();
    let waiting = person.start(prompt("d", "SAY waited")).await;
    person.wait_for(&waiting.id, TurnState::Queued).await;

    let urgent = person.start(interrupting(&running.project_id, "WRITE a.txt now")).await;
    assert_eq!(*types(&person.see(&running.id).await).last().unwrap(), "turn.cancelled");
    let urgent_events = person.see(&urgent.id).await;
    assert!(!types(&urgent_events).contains(&"turn.queued"), "it has the slot at once");
    assert_eq!(*types(&person.see(&waiting.id).await).last().unwrap(), "turn.completed");
    let (urgent, waiting) = (person.turn(&urgent.id).await, person.turn(&waiting.id).await);
    assert_eq!(urgent.state(), TurnState::Completed);
    assert_eq!(waiting.base_revision, urgent.revision, "the queued turn ran after it");
    eventually(SOON, || async { (cluster.model.dropped() == 1).then_some(()) }).await;
}

/// Two concurrent turns that must not wait, one of which replaces an earlier turn: one runs, and the other one leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_is_refused_leaves_the_conversation_as_it_was() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    for round in 0..8 {
        let (first, _) = person.run(prompt(&format!("d{round}"), "SAY first")).await;
        let request = |text: &str, replaced: &str| StartTurnRequest {
            idempotency_key: format!("{text} {round}"),
            project_id: first.project_id.clone(),
            if_active: IfActive::Reject as i32,
            replaces_turn_id: replaced.to_owned(),
            ..prompt("", text)
        };
        // Both requests have checked for a running turn before either of them reaches project-storage.
        cluster.gate.shut();
        let (one, other) = (person.clone(), person.clone());
        let both = async {
            tokio::join!(retry_until_answered(one, request("HANG one", &first.id)), retry_until_answered(other, request("HANG other", "")))
        };
        let opened = async {
            eventually(SOON, || async { (cluster.unbegun().await == 2).then_some(()) }).await;
            cluster.gate.open();
        };
        let (answers, ()) = tokio::join!(both, opened);
        let (won, lost, left) = match answers {
            (Ok(won), Err(lost)) => (won, lost, 0),
            (Err(lost), Ok(won)) => (won, lost, 2),
            both => panic!("{both:?}"),
        };
        assert_eq!(lost.reason, "TURN_ACTIVE");
        assert_eq!(cluster.begun(&first.project_id).await, 3);
        let messages = person.messages(&first.project_id).await;
        let wanted: Vec<&str> = std::iter::once(won.id.as_str()).chain(std::iter::repeat_n(first.id.as_str(), left)).collect();
        assert_eq!(messages.iter().map(|message| message.turn_id.as_str()).collect::<Vec<_>>(), wanted, "round {round}");
        person.turns.cancel_turn(proto::agent_streaming::CancelTurnRequest { turn_id: won.id }).await.unwrap();
    }
}

/// Starts a turn, and repeats the request until it is answered.
async fn retry_until_answered(mut person: Person, request: StartTurnRequest) -> Result<Turn, Fault> {
    loop {
        match person.try_start(request.clone()).await {
            Err(fault) if fault.code == ErrorCode::Unavailable => {}
            answer => return answer,
        }
    }
}

#[tokio::test]
async fn an_interrupt_without_a_running_turn_runs() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let (first, _) = person.run(prompt("d", "SAY one")).await;
    let (second, _) = person.run(interrupting(&first.project_id, "SAY two")).await;
    assert_eq!(second.state(), TurnState::Completed);
}

#[tokio::test]
async fn turns_are_listed_by_project_draft_and_client_message_id() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let first = person.start(StartTurnRequest { client_message_id: "m-1".into(), ..prompt("d", "HANG") }).await;
    let second = person.start(StartTurnRequest { client_message_id: "m-2".into(), ..prompt("d", "SAY two") }).await;
    let of_draft = ListTurnsRequest { draft_id: "d".into(), ..ListTurnsRequest::default() };
    assert_eq!(list(&mut person, of_draft.clone()).await, [second.id.clone(), first.id.clone()]);
    let of_project = ListTurnsRequest { project_id: first.project_id.clone(), open_only: true, ..ListTurnsRequest::default() };
    assert_eq!(list(&mut person, of_project.clone()).await.len(), 2);
    let by_message = ListTurnsRequest { client_message_id: "m-1".into(), ..of_draft.clone() };
    assert_eq!(list(&mut person, by_message).await, [first.id.as_str()]);

    person.turns.cancel_turn(proto::agent_streaming::CancelTurnRequest { turn_id: second.id.clone() }).await.unwrap();
    assert_eq!(list(&mut person, of_project).await, [first.id.as_str()], "a queued turn is cancelled like a running one");
    let page = ListTurnsRequest { page_size: 1, ..of_draft.clone() };
    let answer = person.turns.list_turns(page.clone()).await.unwrap().into_inner();
    assert_eq!(answer.turns[0].id, second.id);
    let rest = ListTurnsRequest { page_token: answer.next_page_token, ..page };
    assert_eq!(list(&mut person, rest).await, [first.id]);

    let mut stranger = cluster.user().at(&replica);
    assert!(list(&mut stranger, of_draft).await.is_empty());
    let bad = stranger.turns.list_turns(ListTurnsRequest { page_token: "x".into(), ..ListTurnsRequest::default() }).await.unwrap_err();
    let bad = Fault::from_status(&bad);
    let fields: Vec<_> = bad.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!((bad.code, fields), (ErrorCode::InvalidArgument, vec!["project_id", "page_token"]));
}

#[tokio::test]
async fn a_turn_without_followers_is_cancelled_after_the_grace_if_it_asked_for_that() {
    let cluster = Cluster::start(&[("BACKLOT_DISCONNECT_GRACE", "2s")]).await;
    let (one, other) = (cluster.replica(), cluster.replica());
    let user = cluster.user();
    let mut person = user.at(&one);
    let bound = |draft: &str| StartTurnRequest { on_disconnect: OnDisconnect::Cancel as i32, ..prompt(draft, "HANG") };
    let free = person.start(prompt("free", "HANG")).await;
    let left = person.start(bound("left")).await;
    let kept = person.start(bound("kept")).await;
    // Both lose their followers at the first replica. One of them has another follower at the other replica.
    let said = |event: &proto::agent_streaming::TurnEvent| matches!(event.kind, Some(Kind::TextDelta(_)));
    person.follow_until(&left.id, 0, said).await.1.unwrap();
    person.follow_until(&kept.id, 0, said).await.1.unwrap();
    let mut elsewhere = user.at(&other);
    let (kept_id, (watching, stop)) = (kept.id.clone(), tokio::sync::oneshot::channel::<()>());
    let watcher = chassis::task::spawn(async move {
        tokio::select! {
            followed = elsewhere.follow(&kept_id, 0) => followed.0.len(),
            _ = stop => 0,
        }
    });
    let (events, end) = {
        // Polling the state does not count as following.
        person.wait_for(&left.id, TurnState::Cancelled).await;
        person.follow(&left.id, 0).await
    };
    end.unwrap();
    assert_eq!(*types(&events).last().unwrap(), "turn.cancelled");
    // After three more grace periods the others still run.
    let later = tokio::time::Instant::now() + Duration::from_secs(6);
    tokio::time::sleep_until(later).await;
    assert_eq!(person.turn(&kept.id).await.state(), TurnState::Running);
    assert_eq!(person.turn(&free.id).await.state(), TurnState::Running);
    drop(watching);
    assert_eq!(watcher.await.unwrap(), 0);
    person.wait_for(&kept.id, TurnState::Cancelled).await;
    assert_eq!(person.turn(&free.id).await.state(), TurnState::Running);
}
