//! The routes of the AI SDK and of AG-UI, with the scripted agent-streaming.

use proto::{
    agent_streaming::{IfActive, Turn, TurnState},
    error::{ErrorCode, Fault},
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    harness::WAIT_LIMIT,
    script::{LAST, Step, TURN},
    stream::{OPENING, Setup, body, read_until, setup},
};

impl Setup {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        Client::new().request(method, self.gateway.url(path)).bearer_auth(&self.token)
    }

    fn chat(&self, body: &Value) -> RequestBuilder {
        self.request(Method::POST, "/api/chat").json(body)
    }

    fn resume(&self, query: &str) -> RequestBuilder {
        self.request(Method::GET, &format!("/api/chat/chat-1/stream{query}"))
    }
}

fn submitted(id: &str, text: &str) -> Value {
    json!({ "id": "chat-1", "messages": [{ "id": id, "role": "user", "parts": [{ "type": "text", "text": text }] }], "trigger": "submit-message" })
}

fn turn(state: TurnState) -> Turn {
    let last_seq = if state == TurnState::Running { 3 } else { LAST };
    Turn { id: TURN.into(), project_id: "p".into(), state: state.into(), last_seq, client_message_id: "m1".into(), ..Turn::default() }
}

/// The chunks of a stream by their types.
fn types(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines
        .map(|line| serde_json::from_str::<Value>(line).map_or(line.to_owned(), |chunk| chunk["type"].as_str().unwrap().to_owned()))
        .collect()
}

fn text_of(text: &str) -> String {
    let chunks = text.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    chunks.filter_map(|chunk| Some(chunk["delta"].as_str()?.to_owned())).collect()
}

fn all_words() -> String {
    (1..LAST).map(|seq| format!("word {seq} ")).collect()
}

async fn problem(response: Response) -> (u16, Value) {
    (response.status().as_u16(), response.json().await.expect("a problem document"))
}

#[tokio::test]
async fn a_message_is_answered_in_the_protocol() {
    let setup = setup(vec![vec![Step::Events(1..=4), Step::Events(5..=LAST)]], &[]).await;
    let response = setup.chat(&submitted("m1", "hello")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-vercel-ai-ui-message-stream", "v1"),
        ("x-backlot-turn-id", TURN),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    let (text, clean) = body(response).await;
    assert!(clean && text.starts_with(OPENING) && text.ends_with("data: [DONE]\n\n"), "{text}");
    let types = types(&text);
    assert_eq!((types[0].as_str(), types[types.len() - 2].as_str(), text_of(&text)), ("start", "finish", all_words()));
    let start = setup.script.starts().remove(0);
    assert_eq!((start.prompt.as_str(), start.draft_id.as_str(), start.client_message_id.as_str()), ("hello", "chat-1", "m1"));
    assert_eq!((start.if_active(), start.idempotency_key.starts_with("chat:")), (IfActive::Reject, true));
    assert_eq!(setup.script.lists(), [], "a plain message needs no query");
}

#[tokio::test]
async fn a_header_requests_the_level() {
    for (level, reason) in [(None, false), (Some("6"), true), (Some("7"), true)] {
        let setup = setup(vec![vec![Step::Events(1..=LAST)]], &[]).await;
        let request = level.into_iter().fold(setup.chat(&submitted("m1", "x")), |r, level| r.header("x-backlot-ui-stream-level", level));
        assert_eq!(body(request.send().await.unwrap()).await.0.contains(r#""type":"finish","finishReason":"#), reason, "{level:?}");
    }
    let setup = setup(vec![], &[]).await;
    let refused = setup.chat(&submitted("m1", "x")).header("x-backlot-ui-stream-level", "9").send().await.unwrap();
    let (status, document) = problem(refused).await;
    assert_eq!((status, &document["errors"][0]["field"], setup.script.starts().len()), (400, &"x-backlot-ui-stream-level".into(), 0));
}

#[tokio::test]
async fn a_refused_request_starts_no_turn() {
    let setup = setup(vec![], &[]).await;
    let last = |message: Value| json!({ "id": "chat-1", "messages": [message] });
    let file = json!({ "role": "user", "parts": [{ "type": "file", "url": "data:,", "mediaType": "text/plain" }] });
    let rows = [
        (last(json!({ "id": "a", "role": "assistant", "parts": [] })), 422, "CONTINUATION_UNSUPPORTED", None),
        (last(file), 400, "INVALID_FIELD", Some("messages[0].parts[0]")),
        (json!({ "messages": [] }), 400, "INVALID_FIELD", Some("id")),
        (json!({ "id": 5 }), 400, "INVALID_FIELD", Some("id")),
        (json!({ "id": "c", "messages": {} }), 400, "INVALID_FIELD", Some("messages")),
        (json!({ "id": "c", "trigger": "x" }), 400, "INVALID_FIELD", Some("trigger")),
        (json!({ "id": "c", "ifActive": "MAYBE" }), 400, "INVALID_FIELD", Some("ifActive")),
        (json!([]), 400, "INVALID_FIELD", None),
    ];
    for (body, status, reason, field) in rows {
        let (got, document) = problem(setup.chat(&body).send().await.unwrap()).await;
        assert_eq!((got, document["reason"].as_str()), (status, Some(reason)), "{body} {document}");
        if let Some(field) = field {
            assert_eq!(document["errors"][0]["field"], field, "{document}");
        }
    }
    assert_eq!(setup.script.starts().len(), 0);
}

#[tokio::test]
async fn earlier_messages_are_not_read() {
    let setup = setup(vec![vec![Step::Events(1..=LAST)]], &[]).await;
    let part = json!({ "type": "tool-read_file", "toolCallId": "c", "state": "output-available", "input": { "path": "x".repeat(40) } });
    let mut long = submitted("m1", "hello");
    let old = json!({ "id": "a", "role": "assistant", "parts": vec![part; 20_000] });
    long["messages"].as_array_mut().unwrap().insert(0, old);
    assert_eq!(setup.chat(&long).send().await.unwrap().status(), 200);
    assert_eq!(setup.script.starts()[0].prompt, "hello");
    let too_long = json!({ "id": "chat-1", "junk": "x".repeat(9_000_000) });
    assert_eq!(setup.chat(&too_long).send().await.unwrap().status(), 413);
}

#[tokio::test]
async fn a_refusal_names_the_running_turn() {
    let setup = setup(vec![], &[]).await;
    setup.script.refuse(Fault::new("agent-streaming", ErrorCode::Conflict, "TURN_ACTIVE", "another turn runs").with("turn_id", TURN));
    let (status, document) = problem(setup.chat(&submitted("m1", "x")).send().await.unwrap()).await;
    assert_eq!((status, &document["reason"], &document["metadata"]["turn_id"]), (409, &"TURN_ACTIVE".into(), &TURN.into()));
}

#[tokio::test]
async fn streams_are_counted_before_a_turn_starts() {
    let setup = setup(vec![vec![Step::Events(1..=1), Step::Hang]], &[("BACKLOT_MAX_STREAMS_PER_USER", "1")]).await;
    let mut first = setup.chat(&submitted("m1", "x")).send().await.unwrap();
    read_until(&mut first, "text-delta").await;
    let (status, document) = problem(setup.chat(&submitted("m2", "x")).send().await.unwrap()).await;
    assert_eq!((status, &document["violated-policies"], setup.script.starts().len()), (429, &json!(["streams"]), 1));
}

#[tokio::test]
async fn a_transient_failure_is_hidden_and_a_permanent_one_breaks_the_stream() {
    let streams = vec![vec![Step::Events(1..=3), Step::Fail(Code::Unavailable)], vec![Step::Events(4..=LAST)]];
    let transient = setup(streams, &[]).await;
    let (text, clean) = body(transient.chat(&submitted("m1", "x")).send().await.unwrap()).await;
    assert!(clean && text_of(&text) == all_words(), "{text}");
    let permanent = setup(vec![vec![Step::Events(1..=3), Step::Fail(Code::NotFound)]], &[]).await;
    let (text, clean) = body(permanent.chat(&submitted("m1", "x")).send().await.unwrap()).await;
    assert!(!clean && !text.contains("finish") && !text.contains("[DONE]"), "{text}");
}

#[tokio::test]
async fn a_drain_breaks_the_stream() {
    let mut setup = setup(vec![vec![Step::Events(1..=3), Step::Hang]], &[]).await;
    let mut response = setup.chat(&submitted("m1", "x")).send().await.unwrap();
    read_until(&mut response, "word 3").await;
    setup.gateway.stop.cancel();
    let (rest, clean) = body(response).await;
    assert!(!clean && !rest.contains("retry: ") && !rest.contains("finish"), "{rest}");
    tokio::time::timeout(WAIT_LIMIT, &mut setup.gateway.done).await.expect("the gateway ends").unwrap();
}

#[tokio::test]
async fn a_client_without_a_cursor_gets_the_turn_from_its_start() {
    let setup = setup(vec![vec![Step::Events(1..=LAST)]], &[]).await;
    assert_eq!(setup.resume("").send().await.unwrap().status(), 204, "the chat has no turn");
    setup.script.set_turns([turn(TurnState::Completed)]);
    assert_eq!(setup.resume("").send().await.unwrap().status(), 204, "no turn runs");
    setup.script.set_turns([turn(TurnState::Running)]);
    let response = setup.resume("").send().await.unwrap();
    assert_eq!(response.headers()["x-vercel-ai-ui-message-stream"], "v1");
    let (text, clean) = body(response).await;
    assert!(clean && types(&text)[0] == "start" && text_of(&text) == all_words(), "{text}");
    assert_eq!(setup.script.cursors(), [0]);
}

#[tokio::test]
async fn a_cursor_continues_after_its_event() {
    let all = || vec![Step::Events(1..=LAST)];
    let setup = setup(vec![all(), all(), all()], &[]).await;
    setup.script.set_turns([turn(TurnState::Running)]);
    let whole = body(setup.resume("").send().await.unwrap()).await.0;
    let position = whole.find("id: 4\n").unwrap();
    for (query, header) in [("?after=3", None), ("?after=1", Some("3"))] {
        let request = header.into_iter().fold(setup.resume(query), |request, id| request.header("last-event-id", id));
        assert_eq!(body(request.send().await.unwrap()).await.0, format!("{OPENING}{}", &whole[position..]), "{query}");
    }
    setup.script.set_turns([turn(TurnState::Completed)]);
    assert_eq!(setup.resume(&format!("?after={LAST}")).send().await.unwrap().status(), 204);
    for (query, field) in [("?after=x", "after"), ("?since=1", "since")] {
        let (status, document) = problem(setup.resume(query).send().await.unwrap()).await;
        assert_eq!((status, &document["errors"][0]["field"]), (400, &field.into()));
    }
    let wrong = setup.request(Method::GET, "/api/chat/a%20b/stream").send().await.unwrap();
    assert_eq!(problem(wrong).await.1["errors"][0]["field"], "id");
}

#[tokio::test]
async fn a_regenerated_answer_replaces_its_turn() {
    let setup = setup(vec![vec![Step::Events(1..=LAST)], vec![Step::Events(1..=LAST)]], &[]).await;
    let mut regenerate = submitted("m1", "hello");
    regenerate["trigger"] = "regenerate-message".into();
    assert!(body(setup.chat(&regenerate).send().await.unwrap()).await.1, "a message that never started a turn is answered");
    setup.script.set_turns([turn(TurnState::Completed)]);
    assert!(body(setup.chat(&regenerate).header("idempotency-key", "k1").send().await.unwrap()).await.1);
    let starts = setup.script.starts();
    assert_eq!((starts[0].replaces_turn_id.as_str(), starts[0].idempotency_key.as_str()), ("", ""));
    assert_eq!((starts[1].replaces_turn_id.as_str(), starts[1].idempotency_key.as_str()), (TURN, "k1"));
}

#[tokio::test]
async fn a_stop_cancels_the_running_turn() {
    let setup = setup(vec![], &[]).await;
    let stop = |body: Value| setup.request(Method::POST, "/api/chat/chat-1/stop").json(&body).send();
    let done = |response: Response| async { (response.status().as_u16(), response.json::<Value>().await.unwrap()) };
    let success = (200, json!({ "success": true }));
    assert_eq!(done(stop(json!({})).await.unwrap()).await, success);
    setup.script.set_turns([turn(TurnState::Running)]);
    assert_eq!(done(stop(json!({ "activeStreamId": "another" })).await.unwrap()).await, success);
    assert_eq!(setup.script.cancels(), [] as [String; 0]);
    let body = json!({ "activeStreamId": TURN, "assistantMessage": { "parts": [] } });
    assert_eq!(done(stop(body).await.unwrap()).await, success);
    let bare = setup.request(Method::POST, "/api/chat/chat-1/stop").send().await.unwrap();
    assert_eq!((done(bare).await, setup.script.cancels()), (success, vec![TURN.to_owned(), TURN.to_owned()]));
    setup.script.refuse(Fault::new("agent-streaming", ErrorCode::Conflict, "TOO_LATE", "it is committing"));
    let (status, document) = problem(stop(json!({})).await.unwrap()).await;
    assert_eq!((status, &document["reason"]), (409, &"TOO_LATE".into()));
}

#[tokio::test]
async fn the_chat_routes_need_a_person() {
    let setup = setup(vec![], &[]).await;
    for (method, path) in [
        (Method::POST, "/api/chat"),
        (Method::GET, "/api/chat/chat-1/stream"),
        (Method::POST, "/api/chat/chat-1/stop"),
        (Method::POST, "/api/agui"),
    ] {
        let answer = Client::new().request(method, setup.gateway.url(path)).json(&json!({})).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
    }
}

fn run_input() -> Value {
    json!({ "threadId": "chat-1", "runId": "run-1", "messages": [{ "id": "m1", "role": "user", "content": "hello" }], "tools": [], "context": [] })
}

#[tokio::test]
async fn a_run_is_answered_in_ag_ui() {
    let setup = setup(vec![vec![Step::Events(1..=LAST)]], &[]).await;
    let response = setup.request(Method::POST, "/api/agui").json(&run_input()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().get("x-vercel-ai-ui-message-stream")), (200, None));
    let (text, clean) = body(response).await;
    let types = types(&text);
    assert!(clean && !text.contains("[DONE]"), "{text}");
    assert_eq!((types[0].as_str(), types.last().unwrap().as_str()), ("RUN_STARTED", "RUN_FINISHED"));
    assert_eq!(text_of(&text), all_words());
    assert!(setup.script.starts()[0].idempotency_key.starts_with("agui:"));
}

#[tokio::test]
async fn unsupported_parts_of_ag_ui_are_refused() {
    let setup = setup(vec![], &[]).await;
    let rows =
        [("tools", json!([{ "name": "t", "description": "d" }]), "TOOLS_UNSUPPORTED"), ("resume", json!([{}]), "RESUME_UNSUPPORTED")];
    for (field, value, reason) in rows {
        let mut body = run_input();
        body[field] = value;
        let (status, document) = problem(setup.request(Method::POST, "/api/agui").json(&body).send().await.unwrap()).await;
        assert_eq!((status, &document["reason"]), (422, &reason.into()));
    }
    let (status, document) = problem(setup.request(Method::POST, "/api/agui").json(&json!({ "runId": "r" })).send().await.unwrap()).await;
    assert_eq!((status, &document["errors"][0]["field"], setup.script.starts().len()), (400, &"threadId".into(), 0));
}
