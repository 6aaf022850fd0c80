//! What providers really send: one table that both clients pass. Each row is the same answer in the words of both protocols, read
//! whole, split at every byte and ended at every byte. A row says what viewers see, how the answer ends, and what goes back to
//! the provider with the next step.

use serde_json::{Value, json};

use super::{
    AssistantBlock, ErrorClass, FinishReason, ModelEvent, ModelMessage, ModelRequest, ProviderError, ToolResult, anthropic,
    end::{End, WORDS},
    fixture::{check, request, shown, split},
    openai,
};

const TOOLS: [&str; 3] = ["list_files", "read_file", "write_file"];

/// What an answer comes to.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    /// The lines that viewers see, blocks of text and reasoning joined.
    Whole(Vec<&'static str>),
    Broken(ErrorClass, &'static str),
}

use Outcome::{Broken, Whole};

/// One row.
struct Case {
    what: &'static str,
    openai: Option<String>,
    anthropic: Option<String>,
    outcome: Outcome,
    /// It says in the middle that it ends, so a cut there cannot be seen.
    ends_early: bool,
}

fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

/// Chat completions: a stream of deltas that ends well.
fn deltas(deltas: &[Value], word: &str) -> String {
    format!("{}{}data: [DONE]\n\n", sse(&deltas.iter().map(delta).collect::<Vec<_>>()), sse(&[finish(word)]))
}

fn delta(delta: &Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finish(word: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": word}]})
}

/// Messages: blocks, each with its beginning and its deltas, that end well.
fn blocks(blocks: &[(Value, &[Value])], word: &str) -> String {
    let mut events = vec![start("msg_1")];
    for (index, (begin, deltas)) in blocks.iter().enumerate() {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": begin}));
        events.extend(deltas.iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.extend([stop(word), json!({"type": "message_stop"})]);
    sse(&events)
}

fn start(id: &str) -> Value {
    json!({"type": "message_start", "message": {"id": id}})
}

fn stop(word: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": word}})
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
        (Whole(expected), None) => {
            let lines: Vec<String> =
                lines(&events).into_iter().filter(|line| !line.starts_with("usage") || case.what.contains("figures")).collect();
            assert_eq!(lines, *expected, "{at}");
        }
        (Broken(class, words), Some(error)) => {
            assert_eq!(error.class, *class, "{at}: {error}");
            assert!(error.message.contains(words), "{at}: {error}");
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
fn both_clients_read_what_providers_send() {
    let cases: Vec<Case> =
        [cases_of_form(), cases_of_content(), cases_of_calls(), cases_of_ends(), cases_of_errors()].into_iter().flatten().collect();
    for case in &cases {
        for (protocol, stream) in [("openai", &case.openai), ("anthropic", &case.anthropic)] {
            if let Some(stream) = stream {
                assert_outcome(case, protocol, read(protocol, stream, case.ends_early));
            }
        }
    }
    assert!(cases.len() > 40, "{}", cases.len());
}

/// A row for both protocols.
fn both(what: &'static str, openai: String, anthropic: String, outcome: Outcome) -> Case {
    Case { what, openai: Some(openai), anthropic: Some(anthropic), outcome, ends_early: false }
}

fn only_openai(what: &'static str, stream: String, outcome: Outcome) -> Case {
    Case { what, openai: Some(stream), anthropic: None, outcome, ends_early: false }
}

fn only_anthropic(what: &'static str, stream: String, outcome: Outcome) -> Case {
    Case { what, openai: None, anthropic: Some(stream), outcome, ends_early: false }
}

/// The form of the stream.
fn cases_of_form() -> Vec<Case> {
    let (openai, anthropic) = hello();
    let whole = || Whole(vec!["+ Hi", "finished stop"]);
    let changed = |what, change: &dyn Fn(&str) -> String| both(what, change(&openai), change(&anthropic), whole());
    let message = json!({"type": "message", "id": "m", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"});
    let completion = json!({"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]});
    vec![
        changed("as it should be", &str::to_owned),
        changed("an empty data line", &|s| format!("data:\n\ndata: \n\n{s}")),
        changed("an empty ping", &|s| format!("event: ping\ndata:\n\n{s}")),
        changed("a ping of words", &|s| format!("event: ping\ndata: still here\n\n{s}")),
        changed("data null", &|s| format!("data: null\n\n{s}")),
        changed("comments", &|s| format!(": PROCESSING\n\n{s}")),
        changed("CRLF", &|s| s.replace('\n', "\r\n")),
        changed("CR", &|s| s.replace('\n', "\r")),
        changed("a byte order mark", &|s| format!("\u{feff}{s}")),
        changed("no space after the colon", &|s| s.replace("data: ", "data:")),
        changed("blank lines in front", &|s| format!("\n\n{s}")),
        changed("no last line break", &|s| s.trim_end().to_owned()),
        both(
            "a clean end word and no last event",
            sse(&[delta(&json!({"content": "Hi"})), finish("stop")]),
            blocks(&[text_block("Hi")], "end_turn").replace("data: {\"type\":\"message_stop\"}\n\n", ""),
            whole(),
        ),
        both("one JSON document", completion.to_string(), message.to_string(), whole()),
        both("one JSON document, on many lines", format!("{completion:#}\n"), format!("{message:#}\n"), whole()),
        only_anthropic(
            "the type only in the event's name",
            anthropic
                .lines()
                .map(|line| match line.strip_prefix("data: ") {
                    Some(data) => {
                        let mut data: Value = serde_json::from_str(data).unwrap();
                        let kind = data.as_object_mut().unwrap().remove("type").unwrap();
                        format!("event: {}\ndata: {data}\n", kind.as_str().unwrap())
                    }
                    None => "\n".to_owned(),
                })
                .collect(),
            whole(),
        ),
    ]
}

/// Text, reasoning and figures.
#[expect(clippy::too_many_lines, reason = "a table")]
fn cases_of_content() -> Vec<Case> {
    let hi = || Whole(vec!["+ Hi", "finished stop"]);
    let thought = || Whole(vec!["~ hm", "+ Hi", "finished stop"]);
    let parts = |parts: Value| deltas(&[json!({"content": parts})], "stop");
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 30}});
    let figures = [delta(&json!({"content": "Hi"})), finish("stop"), json!({"usage": usage})];
    let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
    vec![
        both(
            "content as typed parts",
            parts(json!([{"type": "text", "text": "H"}, {"type": "text", "text": "i"}])),
            blocks(&[text_block("H"), text_block("i")], "end_turn"),
            hi(),
        ),
        only_openai(
            "message in place of delta",
            format!("{}data: [DONE]\n\n", sse(&[json!({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]})])),
            hi(),
        ),
        only_openai(
            "the message again after its deltas",
            sse(&[delta(&json!({"content": "Hi"})), json!({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]})]),
            hi(),
        ),
        only_openai("choices null", format!("{}{}", sse(&[json!({"choices": null})]), hello().0), hi()),
        only_anthropic(
            "deltas of a block that never began",
            sse(&[
                start("m"),
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}),
                stop("end_turn"),
            ]),
            hi(),
        ),
        only_anthropic("the same message twice", format!("{}{}", sse(&[start("msg_1")]), hello().1), hi()),
        only_anthropic(
            "two messages, each whole",
            sse(&[start("a"), stop("end_turn"), start("b")]) + &hello().1[sse(&[start("msg_1")]).len()..],
            hi(),
        )
        .ends_early(),
        only_anthropic(
            "a message that begins inside another",
            sse(&[
                start("a"),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}}),
                start("b"),
            ]),
            Broken(ErrorClass::ServerError, "another message"),
        ),
        both(
            "reasoning as it should be",
            deltas(&[json!({"reasoning_content": "hm"}), json!({"content": "Hi"})], "stop"),
            blocks(&[(thinking, &[]), text_block("Hi")], "end_turn"),
            thought(),
        ),
        only_openai(
            "reasoning between tags",
            deltas(&[json!({"content": "<thi"}), json!({"content": "nk>hm</think>\n\nHi"})], "stop"),
            thought(),
        ),
        only_openai(
            "reasoning in typed parts",
            parts(json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hi"}])),
            thought(),
        ),
        only_openai(
            "reasoning in details",
            deltas(
                &[json!({"reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0}]}), json!({"content": "Hi"})],
                "stop",
            ),
            thought(),
        ),
        only_openai(
            "reasoning in blocks",
            deltas(&[json!({"thinking_blocks": [{"type": "thinking", "thinking": "hm"}]}), json!({"content": "Hi"})], "stop"),
            thought(),
        ),
        only_openai(
            "figures without choices, with more reasoning than output",
            sse(&figures),
            Whole(vec!["+ Hi", "usage 7 35 0 0 30", "finished stop"]),
        ),
    ]
}

/// Tool calls.
#[expect(clippy::too_many_lines, reason = "a table")]
fn cases_of_calls() -> Vec<Case> {
    let two = || Whole(vec!["tool a list_files", "tool b list_files", "a {}", "b {}", "ready a {}", "ready b {}", "finished tool_calls"]);
    let fragment = |id: &str, arguments: &str| json!({"id": id, "function": {"name": "list_files", "arguments": arguments}});
    let read = || Whole(vec!["tool a read_file", r#"a {"path":"x"}"#, r#"ready a {"path":"x"}"#, "finished tool_calls"]);
    let name = |name: &str| json!({"index": 0, "id": "a", "function": {"name": name}});
    let arguments = json!({"index": 0, "function": {"arguments": "{\"path\":\"x\"}"}});
    let tool = |content: Value, deltas: &'static [Value]| blocks(&[(content, deltas)], "tool_use");
    let long = "i".repeat(60);
    let long_call = json!({"index": 0, "id": long, "function": {"name": "list_files", "arguments": "{}"}});
    let foreign =
        |provider: &str| -> &'static str { format!(r#"ready call_1_1 {{}} {{"id":"{}","provider":"{provider}"}}"#, "i".repeat(60)).leak() };
    vec![
        only_openai(
            "calls without index, with distinct ids",
            deltas(
                &[
                    call(fragment("a", "")),
                    call(fragment("b", "")),
                    call(json!({"id": "a", "function": {"arguments": "{}"}})),
                    call(json!({"id": "b", "function": {"arguments": "{}"}})),
                ],
                "tool_calls",
            ),
            two(),
        ),
        only_openai(
            "a name in pieces",
            deltas(&[call(name("read")), call(json!({"index": 0, "function": {"name": "_file"}})), call(arguments.clone())], "tool_calls"),
            read(),
        ),
        only_openai(
            "a name that grows",
            deltas(&[call(name("read")), call(name("read_file")), call(arguments.clone())], "tool_calls"),
            read(),
        ),
        only_openai(
            "a name on every fragment",
            deltas(&[call(name("read_file")), call(name("read_file")), call(arguments)], "tool_calls"),
            read(),
        ),
        only_openai(
            "arguments as an object",
            deltas(&[call(json!({"id": "a", "function": {"name": "read_file", "arguments": {"path": "x"}}}))], "stop"),
            read(),
        ),
        only_anthropic(
            "input already in the beginning of the block",
            tool(json!({"type": "tool_use", "id": "a", "name": "read_file", "input": {"path": "x"}}), &[]),
            Whole(vec!["tool a read_file", r#"ready a {"path":"x"}"#, "finished tool_calls"]),
        ),
        only_anthropic(
            "input that began empty",
            tool(json!({"type": "tool_use", "id": "a", "name": "list_files", "input": {}}), &[]),
            Whole(vec!["tool a list_files", "ready a {}", "finished tool_calls"]),
        ),
        only_openai(
            "an id that is too long",
            deltas(&[call(long_call)], "tool_calls"),
            Whole(vec!["tool call_1_1 list_files", "call_1_1 {}", foreign("openai"), "finished tool_calls"]),
        ),
        only_anthropic(
            "an id that is too long",
            tool(json!({"type": "tool_use", "id": long, "name": "list_files", "input": {}}), &[]),
            Whole(vec!["tool call_1_1 list_files", foreign("anthropic"), "finished tool_calls"]),
        ),
        only_openai(
            "a signature on a call",
            deltas(
                &[call(
                    json!({"index": 0, "id": "a", "function": {"name": "list_files", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "s"}}}),
                )],
                "stop",
            ),
            Whole(vec![
                "tool a list_files",
                "a {}",
                r#"ready a {} {"fields":{"extra_content":{"google":{"thought_signature":"s"}}},"provider":"openai"}"#,
                "finished tool_calls",
            ]),
        ),
        only_anthropic(
            "arguments of a call that never began",
            sse(&[json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}})]),
            Broken(ErrorClass::ServerError, "never began"),
        ),
    ]
}

/// How answers end.
#[expect(clippy::too_many_lines, reason = "a table")]
fn cases_of_ends() -> Vec<Case> {
    let write = json!({"index": 0, "id": "a", "function": {"name": "write_file", "arguments": "{\"path\":\"x\",\"content\":\"\"}"}});
    const WRITE: &str = r#"a {"path":"x","content":""}"#;
    let openai = |words: &[&str]| {
        format!("{}{}", sse(&[delta(&call(write.clone()))]), sse(&words.iter().map(|word| finish(word)).collect::<Vec<_>>()))
    };
    let anthropic = |words: &[&str]| {
        let input = json!({"type": "input_json_delta", "partial_json": "{\"path\":\"x\",\"content\":\"\"}"});
        let begun = [
            start("m"),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "a", "name": "write_file", "input": {}}}),
            json!({"type": "content_block_delta", "index": 0, "delta": input}),
            json!({"type": "content_block_stop", "index": 0}),
        ];
        format!("{}{}", sse(&begun), sse(&words.iter().map(|word| stop(word)).collect::<Vec<_>>()))
    };
    let row = |what, words: &[&str], class, said| both(what, openai(words), anthropic(words), Broken(class, said));
    let early = |last: &[Value]| sse(&[&[finish("stop"), delta(&json!({"content": "Hi"}))], last].concat());
    let early_block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}});
    let early_message = |last: &[Value]| sse(&[&[start("m"), stop("end_turn"), early_block.clone()], last].concat());
    vec![
        row("a word that nobody told us", &["of_tomorrow"], ErrorClass::Truncated, "of_tomorrow"),
        row("the provider aborts", &["abort"], ErrorClass::ServerError, "abort"),
        row("the provider has no room", &["insufficient_system_resource"], ErrorClass::Overloaded, "insufficient"),
        row("the provider's network fails", &["network_error"], ErrorClass::Connection, "network_error"),
        row("the model's call was malformed", &["MALFORMED_FUNCTION_CALL"], ErrorClass::ServerError, "MALFORMED"),
        row("no end at all", &[], ErrorClass::Connection, "before the answer was whole"),
        row("an empty end", &[""], ErrorClass::Connection, "before the answer was whole"),
        row("a failure and a clean end", &["abort", "stop"], ErrorClass::ServerError, "abort"),
        row("a clean end and a failure", &["stop", "abort"], ErrorClass::ServerError, "abort").ends_early(),
        row("a clean end and a word that nobody told us", &["stop", "of_tomorrow"], ErrorClass::Truncated, "of_tomorrow").ends_early(),
        row("a word that nobody told us and a clean end", &["of_tomorrow", "stop"], ErrorClass::Truncated, "of_tomorrow"),
        both(
            "a limit and a clean end",
            openai(&["length", "stop"]),
            anthropic(&["max_tokens", "end_turn"]),
            Whole(vec!["tool a write_file", WRITE, "finished length"]),
        ),
        both(
            "a clean end and a limit",
            openai(&["stop", "length"]),
            anthropic(&["end_turn", "max_tokens"]),
            Whole(vec!["tool a write_file", WRITE, "finished length"]),
        )
        .ends_early(),
        both(
            "a limit in the words of another",
            openai(&["MAX_TOKENS"]),
            anthropic(&["length"]),
            Whole(vec!["tool a write_file", WRITE, "finished length"]),
        ),
        both(
            "a filter in the words of another",
            openai(&["SAFETY"]),
            anthropic(&["content_filter"]),
            Whole(vec!["tool a write_file", WRITE, "finished content_filter"]),
        ),
        both("an end before more content", early(&[]), early_message(&[]), Broken(ErrorClass::Connection, "before the answer was whole"))
            .ends_early(),
        both(
            "an end before more content, and another end",
            early(&[finish("stop")]),
            early_message(&[stop("end_turn")]),
            Whole(vec!["+ Hi", "finished stop"]),
        )
        .ends_early(),
    ]
}

impl Case {
    fn ends_early(self) -> Self {
        Self { ends_early: true, ..self }
    }
}

/// Errors inside a response that began well.
fn cases_of_errors() -> Vec<Case> {
    let row = |what, stream: &str, class, words| both(what, stream.to_owned(), stream.to_owned(), Broken(class, words));
    vec![
        row("a JSON error in place of a stream", r#"{"error":{"code":503,"message":"too busy"}}"#, ErrorClass::Overloaded, "too busy"),
        row(
            "an array of errors",
            r#"[{"error":{"code":400,"message":"no such field","status":"INVALID_ARGUMENT"}}]"#,
            ErrorClass::InvalidRequest,
            "no such field",
        ),
        row(
            "an array of errors in an event",
            "data: [{\"error\":{\"code\":429,\"message\":\"slow\"}}]\n\n",
            ErrorClass::RateLimited,
            "slow",
        ),
        row(
            "an error event of plain text",
            "event: error\ndata: the engine fell over\n\n",
            ErrorClass::ServerError,
            "the engine fell over",
        ),
        row(
            "an error event of quoted text",
            "event: error\ndata: \"the engine fell over\"\n\n",
            ErrorClass::ServerError,
            ": the engine fell over",
        ),
        row(
            "an error event of JSON",
            "event: error\ndata: {\"message\":\"fell over\",\"code\":500}\n\n",
            ErrorClass::ServerError,
            "fell over",
        ),
        row(
            "a bare JSON line after a stream",
            "data: null\n\n{\"error\":{\"type\":\"overloaded_error\",\"message\":\"later\"}}\n",
            ErrorClass::Overloaded,
            "later",
        ),
        row(
            "the words of the provider behind a router",
            r#"{"error":{"code":502,"message":"Provider returned error","metadata":{"raw":"upstream is on fire"}}}"#,
            ErrorClass::ServerError,
            "upstream is on fire",
        ),
        row("an event that is not JSON", "data: oops\n\n", ErrorClass::ServerError, "oops"),
        row("a page", "<html>no</html>", ErrorClass::InvalidRequest, "<html>no</html>"),
        row("words", "no healthy upstream", ErrorClass::InvalidRequest, "no healthy upstream"),
        row("nothing", "", ErrorClass::Connection, "before the answer was whole"),
        row("half an event", "data: {\"type\"", ErrorClass::Connection, "before the answer was whole"),
        only_openai(
            "an error in a choice",
            sse(&[json!({"choices": [{"error": {"code": 502, "message": "upstream"}, "finish_reason": "error"}]})]),
            Broken(ErrorClass::ServerError, "upstream"),
        ),
    ]
}

#[test]
fn every_end_comes_to_what_the_table_says_with_both_clients() {
    for (word, who, end) in WORDS {
        let openai = deltas(&[json!({"content": "Hi"})], word);
        let anthropic = blocks(&[text_block("Hi")], word);
        for (protocol, stream) in [("openai", openai), ("anthropic", anthropic)] {
            let (events, error) = read(protocol, &stream, false);
            let finished = events.iter().find_map(|event| if let ModelEvent::Finished(reason) = event { Some(*reason) } else { None });
            let expected = match end {
                End::Clean => (Some(FinishReason::Stop), None),
                End::Length => (Some(FinishReason::Length), None),
                End::Declined => (Some(FinishReason::ContentFilter), None),
                End::Failed(class) => (None, Some(*class)),
                End::Paused if protocol == "anthropic" => (None, None),
                End::Paused | End::Unknown => (None, Some(ErrorClass::Truncated)),
            };
            assert_eq!((finished, error.map(|error| error.class)), expected, "{word} of {who} ({protocol})");
        }
    }
}

/// The next step's request after an answer: what came with it goes back.
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
fn what_came_with_an_answer_goes_back_with_it() {
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
    let unknown = json!({"type": "of_tomorrow", "data": "x"});
    let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "c2ln"});
    let messages = sent_back("anthropic", &blocks(&[(thinking.clone(), &[]), (unknown.clone(), &[]), (tool.clone(), &[])], "tool_use"));
    assert_eq!(messages[1]["content"], json!([thinking, unknown, tool]));
    assert_eq!(messages[2]["content"][0]["tool_use_id"], "i".repeat(60));
}
