//! Conformance tests of both providers with the streams that real servers send. Each case is the same answer in both protocols, read
//! complete, split at every byte, and ended at every byte. A case has the events that viewers see and the end of the answer.

use serde_json::{Value, json};

use super::{
    AssistantBlock, ErrorClass, FinishReason, ModelEvent, ModelMessage, ModelRequest, ProviderError, ToolResult, anthropic,
    finish::{FinishClass, REASONS},
    fixture::{check, request, shown, split},
    openai,
};

mod cases;

const TOOLS: [&str; 3] = ["list_files", "read_file", "write_file"];

/// The expected result of a stream.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    /// The events as lines, with the deltas of each block joined.
    Complete(Vec<&'static str>),
    /// The class of the error, and a part of its message.
    Failed(ErrorClass, &'static str),
}

use Outcome::{Complete, Failed};

struct Case {
    what: &'static str,
    openai: Option<String>,
    anthropic: Option<String>,
    outcome: Outcome,
    /// The stream has a finish reason before the end of its content, so an early end after that cannot be detected.
    ends_early: bool,
}

fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

/// Chat completions: a complete stream with these deltas.
fn deltas(deltas: &[Value], reason: &str) -> String {
    format!("{}{}data: [DONE]\n\n", sse(&deltas.iter().map(delta).collect::<Vec<_>>()), sse(&[finish(reason)]))
}

fn delta(delta: &Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finish(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

/// Messages: a complete stream with these blocks, each with its start and its deltas.
fn blocks(blocks: &[(Value, &[Value])], reason: &str) -> String {
    let mut events = vec![start("msg_1")];
    for (index, (begin, deltas)) in blocks.iter().enumerate() {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": begin}));
        events.extend(deltas.iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.extend([stop(reason), json!({"type": "message_stop"})]);
    sse(&events)
}

fn start(id: &str) -> Value {
    json!({"type": "message_start", "message": {"id": id}})
}

fn stop(reason: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason}})
}

fn text_block(text: &'static str) -> (Value, &'static [Value]) {
    (json!({"type": "text", "text": text}), &[])
}

fn call(fields: Value) -> Value {
    json!({"tool_calls": [fields]})
}

fn hello() -> (String, String) {
    (deltas(&[json!({"content": "Hi"})], "stop"), blocks(&[text_block("Hi")], "end_turn"))
}

/// The lines of an answer with the deltas of one block joined.
fn lines(events: &[ModelEvent]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in shown(events) {
        let joins = |sign: &str| line.starts_with(sign) && lines.last().is_some_and(|last| last.starts_with(sign));
        match () {
            () if joins("+ ") || joins("~ ") => lines.last_mut().unwrap().push_str(&line[2..]),
            () if line.starts_with("text ") || line.starts_with("reasoning ") || line.starts_with("end ") => {}
            () => lines.push(line),
        }
    }
    lines
}

fn assert_outcome(case: &Case, protocol: &str, (events, error): (Vec<ModelEvent>, Option<ProviderError>)) {
    let at = format!("{} ({protocol})", case.what);
    match (&case.outcome, error) {
        (Complete(expected), None) => {
            let lines: Vec<String> =
                lines(&events).into_iter().filter(|line| !line.starts_with("usage") || case.what.contains("usage")).collect();
            assert_eq!(lines, *expected, "{at}");
        }
        (Failed(class, text), Some(error)) => {
            assert_eq!(error.class, *class, "{at}: {error}");
            assert!(error.message.contains(text), "{at}: {error}");
            assert!(!events.iter().any(|event| matches!(event, ModelEvent::Finished(_))), "{at}");
        }
        (expected, found) => panic!("{at}: expected {expected:?}, found {found:?} after {:?}", shown(&events)),
    }
}

fn read(protocol: &str, stream: &str, ends_early: bool) -> (Vec<ModelEvent>, Option<ProviderError>) {
    let openai = || openai::Answer::new(&request(&TOOLS));
    let anthropic = || anthropic::Answer::new(&request(&TOOLS));
    match (protocol, ends_early) {
        ("openai", false) => check(openai, stream),
        ("openai", true) => split(openai, stream),
        (_, false) => check(anthropic, stream),
        (_, true) => split(anthropic, stream),
    }
}

#[test]
fn both_providers_decode_the_streams_of_real_servers() {
    let cases: Vec<Case> =
        [cases::framing(), cases::content(), cases::calls(), cases::finish_reasons(), cases::errors()].into_iter().flatten().collect();
    for case in &cases {
        for (protocol, stream) in [("openai", &case.openai), ("anthropic", &case.anthropic)] {
            if let Some(stream) = stream {
                assert_outcome(case, protocol, read(protocol, stream, case.ends_early));
            }
        }
    }
    assert!(cases.len() > 40, "{}", cases.len());
}

#[test]
fn every_finish_reason_has_its_outcome_with_both_providers() {
    for (reason, who, class) in REASONS {
        let openai = deltas(&[json!({"content": "Hi"})], reason);
        let anthropic = blocks(&[text_block("Hi")], reason);
        for (protocol, stream) in [("openai", openai), ("anthropic", anthropic)] {
            let (events, error) = read(protocol, &stream, false);
            let finished = events.iter().find_map(|event| if let ModelEvent::Finished(reason) = event { Some(*reason) } else { None });
            let expected = match class {
                FinishClass::Clean => (Some(FinishReason::Stop), None),
                FinishClass::Length => (Some(FinishReason::Length), None),
                FinishClass::Declined => (Some(FinishReason::ContentFilter), None),
                FinishClass::Failed(class) => (None, Some(*class)),
                FinishClass::Paused if protocol == "anthropic" => (None, None),
                FinishClass::Paused | FinishClass::Unknown => (None, Some(ErrorClass::Truncated)),
            };
            assert_eq!((finished, error.map(|error| error.class)), expected, "{reason} of {who} ({protocol})");
        }
    }
}

/// The messages of the next request after an answer.
fn sent_back(protocol: &str, stream: &str) -> Value {
    let (events, error) = read(protocol, stream, false);
    assert_eq!(error, None);
    let (mut blocks, mut results) = (Vec::new(), Vec::new());
    let mut texts: std::collections::HashMap<String, String> = std::collections::HashMap::new();
    let mut tools: std::collections::HashMap<String, String> = std::collections::HashMap::new();
    for event in events {
        match event {
            ModelEvent::TextDelta { block, text } | ModelEvent::ReasoningDelta { block, text } => {
                texts.entry(block).or_default().push_str(&text)
            }
            ModelEvent::TextFinished { block } => blocks.push(AssistantBlock::Text(texts.remove(&block).unwrap_or_default())),
            ModelEvent::ReasoningFinished { block, opaque } => {
                blocks.push(AssistantBlock::Reasoning { text: texts.remove(&block).unwrap_or_default(), opaque });
            }
            ModelEvent::ToolStarted { call_id, tool } => drop(tools.insert(call_id, tool)),
            ModelEvent::ToolReady { call_id, input, opaque } => {
                results.push(ToolResult { call_id: call_id.clone(), content: "none".into(), is_error: false });
                let tool = tools.remove(&call_id).unwrap_or_default();
                blocks.push(AssistantBlock::ToolCall { id: call_id, tool, input, opaque });
            }
            _ => {}
        }
    }
    let first = request(&TOOLS);
    let messages = [first.messages, vec![ModelMessage::Assistant { blocks }, ModelMessage::ToolResults(results)]].concat();
    let next = ModelRequest { messages, ..request(&TOOLS) };
    let body = if protocol == "openai" { openai::next_body(&next) } else { anthropic::next_body(&next) };
    body["messages"].clone()
}

#[test]
fn opaque_fields_of_an_answer_are_sent_back() {
    let list = json!({"index": 0, "id": "a", "function": {"name": "list_files", "arguments": "{}"}});
    let with = |more: Value| {
        let mut call = list.clone();
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call
    };
    let signature = json!({"extra_content": {"google": {"thought_signature": "s"}}});
    let details = |text: &str, signature: Value| json!({"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": text, "signature": signature}]});
    let blocks_of =
        |text: &str, signature: &str| json!({"thinking_blocks": [{"type": "thinking", "thinking": text, "signature": signature}]});
    for (what, sent, pointer, expected) in [
        ("a signature on a call", vec![call(with(signature.clone()))], "/1/tool_calls/0/extra_content", signature["extra_content"].clone()),
        ("a signature on the message", vec![signature.clone(), call(list.clone())], "/1/extra_content", signature["extra_content"].clone()),
        (
            "reasoning",
            vec![json!({"reasoning_content": "h"}), json!({"reasoning_content": "m"}), call(list.clone())],
            "/1/reasoning_content",
            json!("hm"),
        ),
        ("empty reasoning", vec![json!({"reasoning_content": ""}), call(list.clone())], "/1/reasoning_content", json!("")),
        (
            "details in fragments",
            vec![details("h", Value::Null), details("m", json!("s")), call(list.clone())],
            "/1/reasoning_details",
            details("hm", json!("s"))["reasoning_details"].clone(),
        ),
        (
            "blocks in fragments",
            vec![blocks_of("h", ""), blocks_of("m", "s"), call(list.clone())],
            "/1/thinking_blocks",
            blocks_of("hm", "s")["thinking_blocks"].clone(),
        ),
        ("a tag", vec![json!({"content": "<think>hm</think>Hi"}), call(list.clone())], "/1/content", json!("<think>hm</think>Hi")),
        (
            "a long id",
            vec![call(json!({"index": 0, "id": "i".repeat(60), "function": {"name": "list_files", "arguments": "{}"}}))],
            "/1/tool_calls/0/id",
            json!("i".repeat(60)),
        ),
        (
            "a long id in the result",
            vec![call(json!({"index": 0, "id": "i".repeat(60), "function": {"name": "list_files", "arguments": "{}"}}))],
            "/2/tool_call_id",
            json!("i".repeat(60)),
        ),
    ] {
        let messages = sent_back("openai", &deltas(&sent, "tool_calls"));
        assert_eq!(messages.pointer(pointer), Some(&expected), "{what}: {messages}");
    }
    let tool = json!({"type": "tool_use", "id": "i".repeat(60), "name": "list_files", "input": {}, "signature": "s"});
    let unknown = json!({"type": "unheard_of", "data": "x"});
    let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "c2ln"});
    let messages = sent_back("anthropic", &blocks(&[(thinking.clone(), &[]), (unknown.clone(), &[]), (tool.clone(), &[])], "tool_use"));
    assert_eq!(messages[1]["content"], json!([thinking, unknown, tool]));
    assert_eq!(messages[2]["content"][0]["tool_use_id"], "i".repeat(60));
}
