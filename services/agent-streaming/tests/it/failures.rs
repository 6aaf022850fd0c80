//! Failures of the model and their outcomes.

use chassis::testing::eventually;
use proto::agent_streaming::{StartTurnRequest, TurnEvent, TurnState, turn_event::Kind};

use crate::{
    context::planned,
    harness::{Cluster, SOON, failure, prompt, types},
};

#[tokio::test]
async fn each_failure_of_the_model_has_its_reason_and_commits_nothing() {
    let cluster = Cluster::start(&[("BACKLOT_PROVIDER_IDLE_TIMEOUT", "2s"), ("BACKLOT_MAX_STEPS", "4")]).await;
    let replica = cluster.replica();
    for (order, reason) in [
        ("CUT", "PROVIDER_ERROR"),
        ("LENGTH", "TRUNCATED"),
        ("DECLINE", "PROVIDER_REFUSED"),
        ("BAD", "PROVIDER_REFUSED"),
        ("HANG", "PROVIDER_STALLED"),
        ("LOOP", "TOO_MANY_STEPS"),
        ("BUSY 9 never", "PROVIDER_ERROR"),
        ("END abort", "PROVIDER_ERROR"),
        ("END insufficient_system_resource", "PROVIDER_ERROR"),
        ("END MAX_TOKENS", "TRUNCATED"),
        ("END SAFETY", "PROVIDER_REFUSED"),
        ("END unheard_of", "TRUNCATED"),
        ("EMPTY 9 never", "EMPTY_ANSWER"),
        ("THINK", "EMPTY_ANSWER"),
        ("WRITE ../etc/passwd x", ""),
    ] {
        let mut person = cluster.user().at(&replica);
        let (turn, events) = person.run(prompt("d", order)).await;
        if reason.is_empty() {
            // The model gets the refusal of a tool and continues.
            assert_eq!(turn.state(), TurnState::Completed, "{order}");
            assert!(types(&events).contains(&"file.rejected") && types(&events).contains(&"tool.failed"));
        } else {
            assert_eq!((turn.state(), failure(&events), turn.failure_reason.as_str()), (TurnState::Failed, reason, reason), "{order}");
            assert!(!types(&events).contains(&"turn.committing"), "{order}");
            let sent = turn.usage.unwrap_or_default().context_tokens;
            assert!(sent > 0 && sent >= planned(&events).prompt_tokens, "{order}: {sent} tokens, also if the provider reports none");
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
            // The outbox sends the partial answer after the end of the turn.
            Some(said) => assert_eq!(eventually(SOON, partial).await.text, said, "{order}"),
            None => assert!(partial().await.is_none(), "{order}"),
        }
    }
}

#[tokio::test]
async fn a_failed_attempt_is_repeated_and_every_attempt_is_logged() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
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

#[tokio::test]
async fn a_step_that_fails_in_the_middle_is_superseded_and_repeated() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let (turn, events) = person.run(prompt("d", "BREAK 2 a.txt whole")).await;
    assert_eq!(turn.state(), TurnState::Completed);
    let attempts: Vec<_> = types(&events).into_iter().filter(|kind| kind.starts_with("attempt.") || kind.starts_with("step.")).collect();
    let broken = ["step.started", "attempt.started", "step.superseded", "attempt.failed"];
    let last = ["step.started", "attempt.started", "step.finished"];
    assert_eq!(attempts, [&broken[..], &broken, &last, &last].concat());
    for (n, event) in events.iter().enumerate() {
        if let Some(Kind::StepSuperseded(range)) = &event.kind {
            let superseded = types(&events[range.from as usize - 1..range.to as usize]);
            assert_eq!((superseded[0], range.to as usize), ("step.started", n), "from the step's first event to its last");
        }
    }
    let files = person.load(&turn.project_id).await.files;
    assert_eq!(files.len(), 1);
    let answer = person.messages(&turn.project_id).await.remove(0);
    assert_eq!(answer.text, "I write.\n\nAll done.", "superseded text is not part of the answer");
    assert_eq!(cluster.model.calls(), 4);

    let (turn, events) = person.run(prompt("e", "BREAK 3 a.txt never")).await;
    assert_eq!((turn.state(), failure(&events)), (TurnState::Failed, "PROVIDER_ERROR"));
    assert!(person.load(&turn.project_id).await.files.is_empty());
}

#[tokio::test]
async fn an_empty_answer_is_repeated_once() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let (turn, events) = person.run(prompt("d", "EMPTY 1 here I am")).await;
    assert_eq!(turn.state(), TurnState::Completed);
    let failed = events.iter().find_map(|event| if let Some(Kind::AttemptFailed(e)) = &event.kind { Some(e) } else { None });
    assert_eq!(failed.map(|failed| failed.error_class.as_str()), Some("empty_answer"));
    assert_eq!(person.messages(&turn.project_id).await.remove(0).text, "here I am");
}

#[tokio::test]
async fn an_answer_above_a_limit_fails_the_turn() {
    // The first two orders have the default time limit, so that only their size fails them.
    let sizes = [("BACKLOT_MAX_STEP_BYTES", "5000"), ("BACKLOT_MAX_STEP_CALLS", "3")];
    let flood = [("FLOOD 20000", "BACKLOT_MAX_STEP_BYTES"), ("CALLS 4", "BACKLOT_MAX_STEP_CALLS")];
    let time = [("BACKLOT_STEP_TIMEOUT", "1s")];
    let slow = [("HANG", "BACKLOT_STEP_TIMEOUT"), ("SLOW 500", "BACKLOT_STEP_TIMEOUT")];
    // The flood is larger than the buffers of a connection, so its connection is dropped early. The calls are smaller.
    for (limits, orders, dropped) in [(&sizes[..], flood, 1), (&time, slow, 2)] {
        let cluster = Cluster::start(limits).await;
        let replica = cluster.replica();
        for (order, setting) in orders {
            let (turn, events) = cluster.user().at(&replica).run(prompt("d", order)).await;
            assert_eq!((turn.state(), failure(&events)), (TurnState::Failed, "LIMIT_EXCEEDED"), "{order}");
            let Some(Kind::TurnFailed(failed)) = &events.last().unwrap().kind else { panic!("{order}") };
            assert!(failed.message.contains(setting), "{order}: {}", failed.message);
        }
        // Each request was aborted at once without a retry.
        assert_eq!(cluster.model.calls(), 2);
        eventually(SOON, || async { (cluster.model.dropped() >= dropped).then_some(()) }).await;
    }
}

#[tokio::test]
async fn an_agent_has_only_its_own_tools_even_after_a_recovery() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("reader.md"), "---\nname: reader\ndescription: Reads.\ntools: read_file, search\n---\nRead.\n")
        .unwrap();
    let cluster = Cluster::start(&[("BACKLOT_AGENTS_DIR", folder.path().to_str().unwrap())]).await;
    let dying = cluster.replica();
    let user = cluster.user();
    let calls = r#"TOOLS_HANG [["write_file","{\"path\":\"a.txt\",\"content\":\"x\"}"],["list_files","{}"]]"#;
    let request = StartTurnRequest { agent: "reader".into(), ..prompt("d", calls) };
    let turn = user.at(&dying).start(request).await;
    let asked = |event: &TurnEvent| matches!(&event.kind, Some(Kind::TextDelta(delta)) if delta.text.contains("wait"));
    user.at(&dying).follow_until(&turn.id, 0, asked).await.1.unwrap();
    dying.crash();

    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.completed");
    let refused: Vec<_> = events
        .iter()
        .filter_map(|event| if let Some(Kind::ToolFailed(failed)) = &event.kind { Some(failed.reason.as_str()) } else { None })
        .collect();
    assert_eq!(refused, ["UNKNOWN_TOOL", "UNKNOWN_TOOL"]);
    assert!(person.load(&turn.project_id).await.files.is_empty());
}
