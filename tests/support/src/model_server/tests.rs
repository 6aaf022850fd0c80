//! The model server, tested with an HTTP client.

use std::time::Duration;

use chassis::testing::eventually;
use futures::StreamExt;
use serde_json::{Value, json};

use super::*;
use crate::canary::within;

fn client() -> reqwest::Client {
    chassis::install_crypto();
    reqwest::Client::builder().build().expect("client")
}

fn post(server: &ModelServer, protocol: Protocol, messages: Value) -> reqwest::RequestBuilder {
    let body = json!({
        "model": "m-1", "max_tokens": 100, "stream": true, "messages": messages, "stream_options": {"include_usage": true},
    });
    match protocol {
        Protocol::Anthropic => {
            let request = client().post(format!("{}/v1/messages", server.url())).json(&body);
            request.header("x-api-key", "k").header("anthropic-version", "2023-06-01")
        }
        Protocol::OpenAi => client().post(format!("{}/chat/completions", server.openai_url())).json(&body),
    }
}

fn hello(server: &ModelServer, protocol: Protocol) -> reqwest::RequestBuilder {
    post(server, protocol, json!([{"role": "user", "content": "hello"}]))
}

/// The JSON data of all events.
fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

/// The received chunks, and whether the body ended cleanly.
async fn chunks(response: reqwest::Response) -> (Vec<Vec<u8>>, bool) {
    let (mut chunks, mut body) = (Vec::new(), response.bytes_stream());
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => chunks.push(chunk.to_vec()),
            Err(_) => return (chunks, false),
        }
    }
    (chunks, true)
}

fn full_answer() -> Answer {
    let usage = Usage { input: 900, cache_read: 700, cache_write: 100, output: 55, reasoning: 5 };
    Answer::default().reasoning("Let me think.").text("Writing the page — now.").tool("write_file", json!({"path": "ä.html"})).usage(usage)
}

#[tokio::test]
async fn anthropic_streams_every_kind_of_block() {
    let server = ModelServer::start(Script::queue([full_answer()])).await;
    let response = hello(&server, Protocol::Anthropic).send().await.expect("sent");
    assert_eq!(response.headers()["request-id"], "req_0000");
    assert!(response.headers()["content-type"].to_str().expect("text").starts_with("text/event-stream"));
    let events = events(&response.text().await.expect("whole"));
    let joined = |kind: &str, field: &str| -> String {
        events.iter().filter(|e| e["delta"]["type"] == kind).filter_map(|e| e["delta"][field].as_str()).collect()
    };
    assert_eq!(joined("text_delta", "text"), "Writing the page — now.");
    assert_eq!(joined("thinking_delta", "thinking"), "Let me think.");
    assert_eq!(joined("input_json_delta", "partial_json"), r#"{"path":"ä.html"}"#);
    assert!(!joined("signature_delta", "signature").is_empty());
    let kinds: Vec<_> = events.iter().filter_map(|e| e["content_block"]["type"].as_str()).collect();
    assert_eq!(kinds, ["thinking", "text", "tool_use"]);
    let end = &events[events.len() - 2];
    assert_eq!((&end["delta"]["stop_reason"], &end["usage"]["output_tokens"]), (&json!("tool_use"), &json!(55)));
    assert_eq!((&end["usage"]["input_tokens"], &end["usage"]["cache_read_input_tokens"]), (&json!(100), &json!(700)));
    assert_eq!(events.last().expect("some")["type"], "message_stop");
    assert_eq!(server.closed(0).await.how, How::Finished);
}

#[tokio::test]
async fn openai_streams_every_kind_of_delta() {
    let server = ModelServer::start(Script::queue([full_answer()])).await;
    let text = hello(&server, Protocol::OpenAi).send().await.expect("sent").text().await.expect("whole");
    assert!(text.ends_with("data: [DONE]\n\n"));
    let events = events(&text);
    let deltas: Vec<_> = events.iter().map(|e| &e["choices"][0]["delta"]).collect();
    let joined = |field: &str| -> String { deltas.iter().filter_map(|d| d[field].as_str()).collect() };
    assert_eq!(joined("content"), "Writing the page — now.");
    assert_eq!(joined("reasoning_content"), "Let me think.");
    let input: String = deltas.iter().filter_map(|d| d["tool_calls"][0]["function"]["arguments"].as_str()).collect();
    assert_eq!(input, r#"{"path":"ä.html"}"#);
    assert!(events.iter().any(|e| e["choices"][0]["finish_reason"] == "tool_calls"));
    let usage = &events.last().expect("some")["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["prompt_tokens_details"]["cached_tokens"]), (&json!(900), &json!(700)));
}

#[tokio::test]
async fn a_split_body_has_the_same_bytes_in_chunks_of_that_size() {
    for protocol in [Protocol::Anthropic, Protocol::OpenAi] {
        let server = ModelServer::start(Script::always(full_answer())).await;
        let whole = hello(&server, protocol).send().await.expect("sent").bytes().await.expect("whole");
        for size in [1, 2, 3, 7, 64] {
            let server = ModelServer::start(Script::always(full_answer().split(size))).await;
            let (chunks, is_clean) = chunks(hello(&server, protocol).send().await.expect("sent")).await;
            assert!(is_clean && chunks.iter().all(|chunk| chunk.len() <= size), "{size}");
            assert_eq!(chunks.concat(), whole, "{size}");
        }
    }
}

#[tokio::test]
async fn a_cut_is_at_its_byte_or_event() {
    let whole = ModelServer::start(Script::always(Answer::default().text("some text to cut"))).await;
    let body = hello(&whole, Protocol::Anthropic).send().await.expect("sent").text().await.expect("whole");
    for bytes in [0, 1, 57, 200, body.len() - 1] {
        let server = ModelServer::start(Script::always(Answer::default().text("some text to cut").cut_at(At::Byte(bytes)))).await;
        let (chunks, is_clean) = chunks(hello(&server, Protocol::Anthropic).send().await.expect("headers")).await;
        assert!(!is_clean, "{bytes}: the body must not end cleanly");
        assert_eq!(chunks.concat(), body.as_bytes()[..bytes], "{bytes}");
        let ending = server.closed(0).await;
        assert_eq!((ending.how, ending.bytes), (How::Cut, bytes));
    }
    for events in [1, 4] {
        let server = ModelServer::start(Script::always(Answer::default().text("some text to cut").cut_at(At::Event(events)))).await;
        let (chunks, is_clean) = chunks(hello(&server, Protocol::Anthropic).send().await.expect("headers")).await;
        let text = String::from_utf8(chunks.concat()).expect("UTF-8");
        assert!(!is_clean && text.ends_with("\n\n"));
        assert_eq!(text.matches("\n\n").count(), events);
    }
}

#[tokio::test]
async fn a_stall_lasts_until_the_client_disconnects() {
    let server = ModelServer::start(Script::always(Answer::default().text("never all of it").stall_at(At::Event(3)))).await;
    let response = hello(&server, Protocol::Anthropic).send().await.expect("headers");
    let mut body = response.bytes_stream();
    let mut seen = String::new();
    while seen.matches("\n\n").count() < 3 {
        seen.push_str(std::str::from_utf8(&body.next().await.expect("more").expect("bytes")).expect("UTF-8"));
    }
    assert!(tokio::time::timeout(Duration::from_millis(50), body.next()).await.is_err(), "nothing more is sent");
    assert_eq!((server.open_calls(), server.open_connections()), (1, 1));
    let left = Instant::now();
    drop(body);
    let ending = within(Duration::from_secs(30), server.closed(0)).await.expect("seen");
    assert_eq!((ending.how, ending.bytes), (How::ClientClosed, seen.len()));
    assert!(ending.at >= left);
    assert_eq!(server.open_calls(), 0);
}

#[tokio::test]
async fn a_gate_holds_an_answer_until_it_opens() {
    let gate = Gate::default();
    let server = ModelServer::start(Script::always(Answer::default().text("after the gate").hold_at(At::Event(2), &gate))).await;
    let mut body = hello(&server, Protocol::OpenAi).send().await.expect("headers").bytes_stream();
    let mut seen = Vec::new();
    while seen.windows(2).filter(|w| *w == b"\n\n").count() < 2 {
        seen.extend(body.next().await.expect("more").expect("bytes"));
    }
    assert!(server.ending(0).is_none());
    gate.open();
    while let Some(chunk) = body.next().await {
        seen.extend(chunk.expect("bytes"));
    }
    assert!(seen.ends_with(b"data: [DONE]\n\n"));
}

#[tokio::test]
async fn silence_and_disconnects_send_no_headers() {
    let server = ModelServer::start(Script::queue([Answer::disconnect(), Answer::silence()])).await;
    assert!(hello(&server, Protocol::Anthropic).send().await.is_err());
    assert_eq!(server.closed(0).await.how, How::Cut);
    let waiting = chassis::task::spawn(hello(&server, Protocol::Anthropic).send());
    eventually(Duration::from_secs(30), async || (server.open_calls() == 1).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished(), "no headers are sent");
    waiting.abort();
    assert_eq!(server.closed(1).await.how, How::ClientClosed);
}

#[tokio::test]
async fn refusals_have_the_format_of_the_provider() {
    let refusals = || [Refusal::rate_limited(7), Refusal::overloaded(), Refusal::server_error(), Refusal::bad_request("no")];
    let expected = [(Protocol::Anthropic, [429, 529, 500, 400]), (Protocol::OpenAi, [429, 503, 500, 400])];
    for (protocol, statuses) in expected {
        let server = ModelServer::start(Script::queue(refusals().map(Answer::refuse))).await;
        for status in statuses {
            let response = hello(&server, protocol).send().await.expect("sent");
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().get("retry-after").is_some(), status == 429);
            let error = response.json::<Value>().await.expect("JSON");
            assert!(error["error"]["type"].is_string() && error["error"]["message"].is_string(), "{error}");
        }
    }
}

#[tokio::test]
async fn an_error_event_can_follow_status_200() {
    let answer = || Answer::default().text("half an answer").error_at(4, Refusal::overloaded());
    let server = ModelServer::start(Script::queue([answer(), answer()])).await;
    let anthropic = events(&hello(&server, Protocol::Anthropic).send().await.expect("sent").text().await.expect("whole"));
    assert_eq!((anthropic.len(), &anthropic[4]["error"]["type"]), (5, &json!("overloaded_error")));
    let openai = events(&hello(&server, Protocol::OpenAi).send().await.expect("sent").text().await.expect("whole"));
    assert!(openai[4]["error"]["message"].is_string());
}

#[tokio::test]
async fn truncation_ends_in_the_middle_of_a_tool_input() {
    let answer = || Answer::default().tool("write_file", json!({"path": "a.html", "content": "<h1>"})).truncated(20);
    let server = ModelServer::start(Script::queue([answer(), answer()])).await;
    let events_a = events(&hello(&server, Protocol::Anthropic).send().await.expect("sent").text().await.expect("whole"));
    let input: String = events_a.iter().filter_map(|e| e["delta"]["partial_json"].as_str()).collect();
    assert_eq!((input.chars().count(), serde_json::from_str::<Value>(&input).is_err()), (20, true));
    assert!(events_a.iter().any(|e| e["delta"]["stop_reason"] == "max_tokens"));
    let events_o = events(&hello(&server, Protocol::OpenAi).send().await.expect("sent").text().await.expect("whole"));
    assert!(events_o.iter().any(|e| e["choices"][0]["finish_reason"] == "length"));
}

#[tokio::test]
async fn requests_are_recorded_and_passed_to_the_script() {
    let script = Script::with(|index, request| Some(Answer::default().text(format!("{index}: {}", request.prompt()))));
    let server = ModelServer::start(script).await;
    let text = hello(&server, Protocol::Anthropic).send().await.expect("sent").text().await.expect("whole");
    assert!(text.contains("0: hello"));
    let history = json!([
        {"role": "user", "content": [{"type": "text", "text": "write it"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "write_file", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "written"}]},
    ]);
    post(&server, Protocol::Anthropic, history).send().await.expect("sent").text().await.expect("whole");
    let request = server.request(1).await;
    assert_eq!((request.prompt().as_str(), request.tool_results()), ("write it", vec![("t1".to_owned(), "written".to_owned())]));
    assert_eq!((request.header("x-api-key"), request.model()), ("k", "m-1"));
    assert_eq!(server.requests().len(), 2);
    assert!(server.complaints().is_empty());
}

#[tokio::test]
async fn requests_that_the_providers_would_refuse_are_refused() {
    let server = ModelServer::start(Script::always(Answer::default().text("fine"))).await;
    let tool_use = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]});
    let call = json!({"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let user = json!({"role": "user", "content": "hi"});
    let rows = [
        (Protocol::Anthropic, json!([]), "first must be of role user"),
        (Protocol::Anthropic, json!([{"role": "user", "content": ""}]), "non-empty"),
        (Protocol::Anthropic, json!([user, tool_use, user]), "without a tool_result"),
        (Protocol::Anthropic, json!([user, tool_use]), "without tool_result"),
        (Protocol::Anthropic, json!([{"role": "system", "content": "x"}]), "role user"),
        (Protocol::OpenAi, json!([]), "must not be empty"),
        (Protocol::OpenAi, json!([user, call, user]), "must be answered first"),
        (Protocol::OpenAi, json!([user, {"role": "tool", "tool_call_id": "c9", "content": "x"}]), "answers no preceding"),
        (Protocol::OpenAi, json!([{"role": "assistant"}]), "must be a text or parts"),
    ];
    for (protocol, messages, complaint) in rows {
        let response = post(&server, protocol, messages.clone()).send().await.expect("sent");
        assert_eq!(response.status().as_u16(), 400, "{messages}");
        let text = response.text().await.expect("whole");
        assert!(text.contains(complaint), "{messages}: {text}");
    }
    let without_key = client().post(format!("{}/v1/messages", server.url())).json(&json!({})).send().await.expect("sent");
    assert_eq!(without_key.status().as_u16(), 401);
    assert_eq!(server.complaints().len(), 10);
}
