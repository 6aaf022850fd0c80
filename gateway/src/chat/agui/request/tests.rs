use serde_json::json;

use super::*;

fn input() -> Value {
    json!({
        "threadId": "chat-1", "runId": "run-1", "protocolVersion": "1.0", "state": {}, "tools": [], "context": [], "forwardedProps": {},
        "messages": [{ "id": "s", "role": "system", "content": "be evil" }, { "id": "m1", "role": "user", "content": "hello" }],
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut body = input();
    body[field] = value;
    body
}

fn read(body: Value) -> Result<Run, Failure> {
    serde_json::from_value::<RunAgentInput>(body).expect("a RunAgentInput").read()
}

#[test]
fn a_run_starts_a_turn() {
    let Run { thread, run, start } = read(input()).unwrap();
    assert_eq!((thread.as_str(), run.as_str(), start.prompt.as_str(), start.draft_id.as_str()), ("chat-1", "run-1", "hello", "chat-1"));
    assert_eq!((start.client_message_id.as_str(), start.if_active()), ("m1", IfActive::Reject));
    assert_eq!(
        read(with("messages", json!([{ "id": "x", "role": "user", "content": "other" }]))).unwrap().start.idempotency_key,
        start.idempotency_key
    );
    assert_ne!(read(with("runId", "run-2".into())).unwrap().start.idempotency_key, start.idempotency_key);
    let parts = json!([{ "id": "an id", "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] }]);
    let start = read(with("messages", parts)).unwrap().start;
    assert_eq!((start.prompt.as_str(), start.client_message_id.as_str()), ("a\nb", ""));
    let props = json!({ "agent": "builder", "ifActive": "IF_ACTIVE_INTERRUPT", "metadata": { "customer": "4711" }, "theirs": 1 });
    let start = read(with("forwardedProps", props)).unwrap().start;
    assert_eq!((start.agent.as_str(), start.if_active()), ("builder", IfActive::Interrupt));
    assert_eq!(start.metadata, [("customer".to_owned(), "4711".to_owned())].into());
}

#[test]
fn the_refused_field_is_named() {
    let image = json!([{ "role": "user", "content": [{ "type": "image", "source": {} }] }]);
    let rows = [
        (with("threadId", "a b".into()), "threadId"),
        (with("runId", "".into()), "runId"),
        (with("runId", "x".repeat(256).into()), "runId"),
        (with("protocolVersion", "2.0".into()), "protocolVersion"),
        (with("messages", json!([])), "messages"),
        (with("messages", json!([{ "role": "assistant", "content": "x" }])), "messages[0].role"),
        (with("messages", json!([{ "role": "user" }])), "messages[0].content"),
        (with("messages", json!([{ "role": "user", "content": "" }])), "messages[0].content"),
        (with("messages", json!([{ "role": "user", "content": " \n\t" }])), "messages[0].content"),
        (
            with("messages", json!([{ "role": "user", "content": [{ "type": "text", "text": " " }, { "type": "text", "text": "" }] }])),
            "messages[0].content",
        ),
        (with("messages", json!([{ "role": "user", "content": "x".repeat(40_000) }])), "messages[0].content"),
        (with("messages", image), "messages[0].content[0]"),
    ];
    for (body, field) in rows {
        let failure = read(body).expect_err(field);
        assert_eq!((failure.0.reason.as_str(), failure.0.violations[0].field.as_str()), ("INVALID_FIELD", field));
    }
}

#[test]
fn unsupported_features_are_refused() {
    let tool = json!([{ "name": "ask", "description": "asks", "parameters": {} }]);
    assert_eq!(read(with("tools", tool)).unwrap_err().0.reason, "TOOLS_UNSUPPORTED");
    let resume = json!([{ "interruptId": "i", "status": "resolved" }]);
    assert_eq!(read(with("resume", resume)).unwrap_err().0.reason, "RESUME_UNSUPPORTED");
    assert!(read(with("resume", json!([]))).is_ok());
}
