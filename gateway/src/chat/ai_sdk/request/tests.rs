use serde_json::json;

use super::*;
use crate::chat::messages::PROMPT_BYTES;

fn read(body: &Value) -> Result<Prompt, Failure> {
    serde_json::from_value::<ChatRequest>(body.clone()).expect("a ChatRequest").read()
}

fn user(id: &str, text: &str) -> Value {
    json!({ "id": id, "role": "user", "parts": [{ "type": "text", "text": text }], "metadata": { "any": 1 } })
}

fn submitted(id: &str, text: &str) -> Value {
    json!({ "id": "chat-1", "messages": [json!({ "anything": [] }), user(id, text)], "trigger": "submit-message" })
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

#[test]
fn only_the_last_message_is_read() {
    let prompt = read(&submitted("m1", "hello")).unwrap();
    assert_eq!((prompt.text.as_str(), prompt.message.as_str(), &prompt.intent), ("hello", "m1", &Intent::Send));
    let only = read(&json!({ "id": "chat-1", "message": user("m1", "hello"), "ours": 1 })).unwrap();
    assert_eq!(only, prompt);
    let parts = json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]);
    let joined = json!({ "id": "chat-1", "message": { "role": "user", "parts": parts } });
    assert_eq!((read(&joined).unwrap().text, read(&joined).unwrap().message), ("a\nb".into(), String::new()));
}

#[test]
fn the_intent_of_a_request() {
    let intent = |body| read(&body).unwrap().intent;
    let named = |id: &str| with(submitted("m1", "hello"), "messageId", id.into());
    assert_eq!(intent(named("m1")), Intent::SendOrEdit);
    assert_eq!(intent(named("m2")), Intent::Send);
    let regenerate = |body| with(body, "trigger", "regenerate-message".into());
    assert_eq!(intent(regenerate(submitted("m1", "hello"))), Intent::Regenerate { answer: String::new() });
    assert_eq!(intent(regenerate(named("turn-1"))), Intent::Regenerate { answer: "turn-1".into() });
}

#[test]
fn the_refused_field_is_named() {
    let message = |message: Value| json!({ "id": "chat-1", "messages": [{}, message] });
    let part = |part: Value| message(json!({ "role": "user", "parts": [{ "type": "text", "text": "x" }, part] }));
    let rows = [
        (with(submitted("m", "x"), "id", "a b".into()), "id"),
        (json!({ "id": "chat-1" }), "messages"),
        (json!({ "id": "chat-1", "messages": [] }), "messages"),
        (message(json!({ "role": "system", "parts": [] })), "messages[1].role"),
        (message(json!({ "parts": [] })), "messages[1].role"),
        (message(user("a b", "x")), "messages[1].id"),
        (message(json!({ "role": "user", "id": 7, "parts": [] })), "messages[1].id"),
        (message(json!({ "role": "user", "content": "x" })), "messages[1].parts"),
        (message(json!({ "role": "user", "parts": [] })), "messages[1].parts"),
        (message(user("m", &"x".repeat(PROMPT_BYTES + 1))), "messages[1].parts"),
        (message(user("m", "a\0b")), "messages[1].parts"),
        (part(json!({ "type": "file", "url": "data:,", "mediaType": "image/png" })), "messages[1].parts[1]"),
        (part(json!({ "type": "text" })), "messages[1].parts[1].text"),
        (part(json!(5)), "messages[1].parts[1].type"),
        (json!({ "id": "chat-1", "message": { "role": "tool" } }), "message.role"),
        (json!({ "id": "chat-1", "message": user("m", " \n\t\u{a0}") }), "message.parts"),
        (json!({ "id": "chat-1", "message": user("m", "\u{200b}\u{feff}") }), "message.parts"),
    ];
    for (body, field) in rows {
        let failure = read(&body).expect_err(field);
        assert_eq!((failure.0.reason.as_str(), failure.0.violations[0].field.as_str()), ("INVALID_FIELD", field), "{body}");
    }
    assert!(read(&message(user("m", &"x".repeat(PROMPT_BYTES)))).is_ok());
}

#[test]
fn a_continued_answer_is_refused() {
    let body = json!({ "id": "chat-1", "messages": [user("m", "x"), { "id": "a", "role": "assistant", "parts": [] }], "messageId": "a" });
    let fault = read(&body).unwrap_err().0;
    assert_eq!((fault.reason.as_str(), fault.metadata["field"].as_str()), ("CONTINUATION_UNSUPPORTED", "messages[1].role"));
}

#[test]
fn the_same_message_has_the_same_key() {
    let key = |body: &Value, replaces: &str| read(body).unwrap().into_request(replaces, String::new()).idempotency_key;
    let first = key(&submitted("m1", "hello"), "");
    assert_eq!(first.len(), "chat:".len() + 64);
    assert_eq!(key(&with(submitted("m1", "hello"), "messages", json!([user("m1", "hello")])), ""), first, "earlier messages do not matter");
    for (body, replaces) in [
        (submitted("m2", "hello"), ""),
        (submitted("m1", "hello!"), ""),
        (submitted("m1", "hello"), "turn"),
        (with(submitted("m1", "hello"), "id", "chat-2".into()), ""),
    ] {
        assert_ne!(key(&body, replaces), first, "{body}");
    }
    assert_eq!(key(&submitted("", "hello"), ""), "");
    assert_eq!(key(&with(submitted("m1", "hello"), "trigger", "regenerate-message".into()), "turn"), "", "another answer each time");
    assert_eq!(read(&submitted("m1", "hello")).unwrap().into_request("", "mine".into()).idempotency_key, "mine");
}

#[test]
fn options_are_passed_on_and_a_second_turn_is_refused_by_default() {
    let start = |body| read(&body).unwrap().into_request("t0", String::new());
    let plain = start(submitted("m1", "hello"));
    assert_eq!((plain.if_active(), plain.draft_id.as_str(), plain.project_id.as_str()), (IfActive::Reject, "chat-1", ""));
    assert_eq!((plain.client_message_id.as_str(), plain.replaces_turn_id.as_str(), plain.prompt.as_str()), ("m1", "t0", "hello"));
    let mut body = submitted("m1", "hello");
    for (name, value) in [("agent", "builder"), ("model", "a/b"), ("ifActive", "IF_ACTIVE_QUEUE"), ("onDisconnect", "ON_DISCONNECT_CANCEL")]
    {
        body[name] = value.into();
    }
    body["baseRevision"] = "r".into();
    body["metadata"] = json!({ "customer": "4711" });
    let custom = start(body);
    assert_eq!((custom.agent.as_str(), custom.model.as_str(), custom.base_revision.as_str()), ("builder", "a/b", "r"));
    assert_eq!((custom.if_active(), custom.on_disconnect()), (IfActive::Queue, OnDisconnect::Cancel));
    assert_eq!(custom.metadata, [("customer".to_owned(), "4711".to_owned())].into());
}
