use std::collections::BTreeSet;

use proptest::prelude::*;
use proto::agent_streaming::turn_event::Kind;

use super::*;
use crate::chat::parts::tests::*;

fn events(log: &[TurnEvent]) -> Vec<Value> {
    let turn = Turn { id: TURN.into(), project_id: "p".into(), model: "anthropic/some-model".into(), ..Turn::default() };
    let mut stream = AguiStream::new(turn, "thread".into(), "run".into());
    let mut out = BytesMut::new();
    for event in log {
        stream.event(&mut out, event).unwrap();
    }
    let text = String::from_utf8(out.to_vec()).unwrap();
    // The client reads every line as JSON.
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The rules of the client's own verifier.
fn verify(events: &[Value]) {
    let mut open: BTreeSet<(&str, String)> = BTreeSet::new();
    let mut results = BTreeSet::new();
    let mut calls = BTreeSet::new();
    assert_eq!(events[0]["type"], "RUN_STARTED");
    for (at, event) in events.iter().enumerate() {
        let kind = event["type"].as_str().unwrap();
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let last = at + 1 == events.len();
        assert_eq!(matches!(kind, "RUN_FINISHED" | "RUN_ERROR"), last, "{event}");
        let (family, id) = match kind {
            "STEP_STARTED" | "STEP_FINISHED" => ("step", text("stepName")),
            kind if kind.starts_with("TEXT_MESSAGE_") => ("text", text("messageId")),
            kind if kind.starts_with("REASONING_MESSAGE_") => ("reasoning message", text("messageId")),
            kind if kind.starts_with("REASONING_") => ("reasoning", text("messageId")),
            "TOOL_CALL_RESULT" => {
                assert!(results.insert(text("toolCallId")) && !text("content").is_empty(), "{event}");
                continue;
            }
            kind if kind.starts_with("TOOL_CALL_") => ("call", text("toolCallId")),
            "CUSTOM" => {
                assert!(!event["value"].is_null(), "{event}");
                continue;
            }
            _ => continue,
        };
        assert!(!id.is_empty(), "{event}");
        if family == "call" {
            calls.insert(id.clone());
        }
        match kind {
            kind if kind.ends_with("_START") || kind.ends_with("_STARTED") => assert!(open.insert((family, id)), "{event}"),
            kind if kind.ends_with("_END") || kind.ends_with("_FINISHED") => assert!(open.remove(&(family, id)), "{event}"),
            _ => assert!(open.contains(&(family, id)) && !text("delta").is_empty(), "{event}"),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(calls, results, "every call has a result");
}

proptest! {
    #[test]
    fn every_log_becomes_a_run_that_the_client_accepts(log in any_log()) {
        verify(&events(&log));
        verify(&events(&short(&log)));
    }
}

fn end(kinds: Vec<Kind>) -> Value {
    events(&log([vec![accepted(), usage()], kinds].concat())).pop().unwrap()
}

#[test]
fn every_outcome_has_its_last_event() {
    let tokens = json!([{ "inputTokens": 812, "outputTokens": 94, "cachedInputTokens": 0, "cacheWriteInputTokens": 0, "reasoningTokens": 0,
        "provider": "anthropic", "model": "some-model" }]);
    let finished = |outcome, result, revision| {
        json!({ "type": "RUN_FINISHED", "threadId": "thread", "runId": "run", "outcome": { "type": outcome },
            "result": { "outcome": result, "revision": revision }, "usage": tokens })
    };
    assert_eq!(end(vec![completed()]), finished("success", "completed", "r1"));
    assert_eq!(end(vec![cancelled()]), finished("cancelled", "cancelled", ""));
    assert_eq!(end(conflicted().to_vec()), finished("success", "conflicted", "c1"));
    let failure = json!({ "type": "RUN_ERROR", "message": "the provider does not answer", "code": "PROVIDER_ERROR", "usage": tokens });
    assert_eq!(end(vec![failed()]), failure);
}

#[test]
fn a_turn_becomes_events_of_the_protocol() {
    let kinds = [vec![accepted(), step(1)], text("t1", "Adding it.").to_vec(), write("c1", "a.js", "code").to_vec(), vec![step_done(1)]];
    let events = events(&log(kinds.concat().into_iter().chain([committed(), completed()])));
    let types: Vec<_> = events.iter().map(|e| e["name"].as_str().or(e["type"].as_str()).unwrap()).collect();
    let before = ["RUN_STARTED", "turn", "STEP_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"];
    let call = ["TOOL_CALL_START", "file", "file-delta", "TOOL_CALL_ARGS", "TOOL_CALL_END", "file", "TOOL_CALL_RESULT"];
    assert_eq!(types, [&before[..], &call, &["STEP_FINISHED", "revision", "RUN_FINISHED"]].concat());
    assert_eq!(events[4], json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": format!("{TURN}:t1"), "delta": "Adding it." }));
    assert_eq!(events[9]["delta"], r#"{"path":"a.js"}"#);
}
