//! What a model can do wrong, and what becomes of the turn.

use chassis::testing::eventually;
use proto::agent_streaming::{TurnState, turn_event::Kind};

use crate::harness::{Cluster, SOON, failure, prompt, types};

#[tokio::test]
async fn each_fault_of_the_model_has_its_outcome_and_commits_nothing() {
    let cluster = Cluster::start(&[("BACKLOT_PROVIDER_IDLE_TIMEOUT", "500ms"), ("BACKLOT_MAX_STEPS", "4")]).await;
    let replica = cluster.replica();
    for (order, reason) in [
        ("CUT", "PROVIDER_ERROR"),
        ("LENGTH", "TRUNCATED"),
        ("DECLINE", "PROVIDER_REFUSED"),
        ("BAD", "PROVIDER_REFUSED"),
        ("HANG", "PROVIDER_STALLED"),
        ("LOOP", "TOO_MANY_STEPS"),
        ("BUSY 9 never", "PROVIDER_ERROR"),
        ("WRITE ../etc/passwd x", ""),
    ] {
        let mut person = cluster.person().at(&replica);
        let (turn, events) = person.run(prompt("d", order)).await;
        if reason.is_empty() {
            // A refused tool is told to the model, which goes on.
            assert_eq!(turn.state(), TurnState::Completed, "{order}");
            assert!(types(&events).contains(&"file.rejected") && types(&events).contains(&"tool.failed"));
        } else {
            assert_eq!((turn.state(), failure(&events), turn.failure_reason.as_str()), (TurnState::Failed, reason, reason), "{order}");
            assert!(!types(&events).contains(&"turn.committing"), "{order}");
        }
        assert!(person.load(&turn.project_id).await.files.is_empty(), "{order}");
        let partial = || {
            let (mut person, project) = (person.clone(), turn.project_id.clone());
            async move { person.messages(&project).await.into_iter().find(|message| message.partial) }
        };
        let said = match order {
            "CUT" => Some("half an ans"),
            "HANG" => Some("wait"),
            _ => None,
        };
        match said {
            // Told by the outbox, after the turn's end.
            Some(said) => assert_eq!(eventually(SOON, partial).await.text, said, "{order}"),
            None => assert!(partial().await.is_none(), "{order}"),
        }
    }
}

#[tokio::test]
async fn a_call_that_said_nothing_is_tried_again_and_every_attempt_is_on_record() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.person().at(&replica);
    let (turn, events) = person.run(prompt("d", "BUSY 2 here I am")).await;
    assert_eq!(turn.state(), TurnState::Completed);
    let attempts: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.kind {
            Some(Kind::AttemptStarted(e)) => Some((e.attempt, None)),
            Some(Kind::AttemptFailed(e)) => Some((e.attempt, Some((e.error_class.as_str(), e.retry_in_ms > 0)))),
            _ => None,
        })
        .collect();
    let failed = Some(("overloaded", true));
    assert_eq!(attempts, [(1, None), (1, failed), (2, None), (2, failed), (3, None)]);
    assert_eq!(cluster.model.calls(), 3);
}
