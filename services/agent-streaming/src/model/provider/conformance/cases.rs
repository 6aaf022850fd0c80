//! The cases of the conformance tests.

use super::*;

/// A case for both protocols.
fn both(what: &'static str, openai: String, anthropic: String, outcome: Outcome) -> Case {
    Case { what, openai: Some(openai), anthropic: Some(anthropic), outcome, ends_early: false }
}

fn only_openai(what: &'static str, stream: String, outcome: Outcome) -> Case {
    Case { what, openai: Some(stream), anthropic: None, outcome, ends_early: false }
}

fn only_anthropic(what: &'static str, stream: String, outcome: Outcome) -> Case {
    Case { what, openai: None, anthropic: Some(stream), outcome, ends_early: false }
}

/// The framing of the stream.
pub(super) fn framing() -> Vec<Case> {
    let (openai, anthropic) = hello();
    let whole = || Complete(vec!["+ Hi", "finished stop"]);
    let changed = |what, change: &dyn Fn(&str) -> String| both(what, change(&openai), change(&anthropic), whole());
    let message = json!({"type": "message", "id": "m", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"});
    let completion = json!({"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]});
    vec![
        changed("a regular stream", &str::to_owned),
        changed("an empty data line", &|s| format!("data:\n\ndata: \n\n{s}")),
        changed("an empty ping", &|s| format!("event: ping\ndata:\n\n{s}")),
        changed("a ping with text", &|s| format!("event: ping\ndata: still here\n\n{s}")),
        changed("data null", &|s| format!("data: null\n\n{s}")),
        changed("comments", &|s| format!(": PROCESSING\n\n{s}")),
        changed("CRLF", &|s| s.replace('\n', "\r\n")),
        changed("CR", &|s| s.replace('\n', "\r")),
        changed("a byte order mark", &|s| format!("\u{feff}{s}")),
        changed("no space after the colon", &|s| s.replace("data: ", "data:")),
        changed("leading blank lines", &|s| format!("\n\n{s}")),
        changed("no last line break", &|s| s.trim_end().to_owned()),
        both(
            "a clean finish reason without the last event",
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

/// Text, reasoning and usage.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn content() -> Vec<Case> {
    let hi = || Complete(vec!["+ Hi", "finished stop"]);
    let thought = || Complete(vec!["~ hm", "+ Hi", "finished stop"]);
    let parts = |parts: Value| deltas(&[json!({"content": parts})], "stop");
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 30}});
    let usage_chunks = [delta(&json!({"content": "Hi"})), finish("stop"), json!({"usage": usage})];
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
            "deltas of a block without a start",
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
            "a message that starts inside another",
            sse(&[
                start("a"),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}}),
                start("b"),
            ]),
            Failed(ErrorClass::ServerError, "another message"),
        ),
        both(
            "regular reasoning",
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
            "usage without choices, with more reasoning than output",
            sse(&usage_chunks),
            Complete(vec!["+ Hi", "usage 7 35 0 0 30", "finished stop"]),
        ),
    ]
}

/// Tool calls.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn calls() -> Vec<Case> {
    let two =
        || Complete(vec!["tool a list_files", "tool b list_files", "a {}", "b {}", "ready a {}", "ready b {}", "finished tool_calls"]);
    let fragment = |id: &str, arguments: &str| json!({"id": id, "function": {"name": "list_files", "arguments": arguments}});
    let read = || Complete(vec!["tool a read_file", r#"a {"path":"x"}"#, r#"ready a {"path":"x"}"#, "finished tool_calls"]);
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
            "input in the start of the block",
            tool(json!({"type": "tool_use", "id": "a", "name": "read_file", "input": {"path": "x"}}), &[]),
            Complete(vec!["tool a read_file", r#"ready a {"path":"x"}"#, "finished tool_calls"]),
        ),
        only_anthropic(
            "empty input in the start of the block",
            tool(json!({"type": "tool_use", "id": "a", "name": "list_files", "input": {}}), &[]),
            Complete(vec!["tool a list_files", "ready a {}", "finished tool_calls"]),
        ),
        only_openai(
            "an id that is too long",
            deltas(&[call(long_call)], "tool_calls"),
            Complete(vec!["tool call_1_1 list_files", "call_1_1 {}", foreign("openai"), "finished tool_calls"]),
        ),
        only_anthropic(
            "an id that is too long",
            tool(json!({"type": "tool_use", "id": long, "name": "list_files", "input": {}}), &[]),
            Complete(vec!["tool call_1_1 list_files", foreign("anthropic"), "finished tool_calls"]),
        ),
        only_openai(
            "a signature on a call",
            deltas(
                &[call(
                    json!({"index": 0, "id": "a", "function": {"name": "list_files", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "s"}}}),
                )],
                "stop",
            ),
            Complete(vec![
                "tool a list_files",
                "a {}",
                r#"ready a {} {"fields":{"extra_content":{"google":{"thought_signature":"s"}}},"provider":"openai"}"#,
                "finished tool_calls",
            ]),
        ),
        only_anthropic(
            "arguments of a call without a start",
            sse(&[json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}})]),
            Failed(ErrorClass::ServerError, "was not started"),
        ),
    ]
}

/// Finish reasons.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn finish_reasons() -> Vec<Case> {
    let write = json!({"index": 0, "id": "a", "function": {"name": "write_file", "arguments": "{\"path\":\"x\",\"content\":\"\"}"}});
    const WRITE: &str = r#"a {"path":"x","content":""}"#;
    let openai = |reasons: &[&str]| {
        format!("{}{}", sse(&[delta(&call(write.clone()))]), sse(&reasons.iter().map(|reason| finish(reason)).collect::<Vec<_>>()))
    };
    let anthropic = |reasons: &[&str]| {
        let input = json!({"type": "input_json_delta", "partial_json": "{\"path\":\"x\",\"content\":\"\"}"});
        let begun = [
            start("m"),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "a", "name": "write_file", "input": {}}}),
            json!({"type": "content_block_delta", "index": 0, "delta": input}),
            json!({"type": "content_block_stop", "index": 0}),
        ];
        format!("{}{}", sse(&begun), sse(&reasons.iter().map(|reason| stop(reason)).collect::<Vec<_>>()))
    };
    let row = |what, reasons: &[&str], class, text| both(what, openai(reasons), anthropic(reasons), Failed(class, text));
    let early = |last: &[Value]| sse(&[&[finish("stop"), delta(&json!({"content": "Hi"}))], last].concat());
    let early_block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}});
    let early_message = |last: &[Value]| sse(&[&[start("m"), stop("end_turn"), early_block.clone()], last].concat());
    vec![
        row("an unknown reason", &["unheard_of"], ErrorClass::Truncated, "unheard_of"),
        row("the provider aborts", &["abort"], ErrorClass::ServerError, "abort"),
        row("the provider is overloaded", &["insufficient_system_resource"], ErrorClass::Overloaded, "insufficient"),
        row("the provider's network fails", &["network_error"], ErrorClass::Connection, "network_error"),
        row("the model's call was malformed", &["MALFORMED_FUNCTION_CALL"], ErrorClass::ServerError, "MALFORMED"),
        row("no reason", &[], ErrorClass::Connection, "before the answer was complete"),
        row("an empty reason", &[""], ErrorClass::Connection, "before the answer was complete"),
        row("a failure and a clean reason", &["abort", "stop"], ErrorClass::ServerError, "abort"),
        row("a clean reason and a failure", &["stop", "abort"], ErrorClass::ServerError, "abort").ends_early(),
        row("a clean reason and an unknown one", &["stop", "unheard_of"], ErrorClass::Truncated, "unheard_of").ends_early(),
        row("an unknown reason and a clean one", &["unheard_of", "stop"], ErrorClass::Truncated, "unheard_of"),
        both(
            "a limit and a clean reason",
            openai(&["length", "stop"]),
            anthropic(&["max_tokens", "end_turn"]),
            Complete(vec!["tool a write_file", WRITE, "finished length"]),
        ),
        both(
            "a clean reason and a limit",
            openai(&["stop", "length"]),
            anthropic(&["end_turn", "max_tokens"]),
            Complete(vec!["tool a write_file", WRITE, "finished length"]),
        )
        .ends_early(),
        both(
            "another provider's reason for a limit",
            openai(&["MAX_TOKENS"]),
            anthropic(&["length"]),
            Complete(vec!["tool a write_file", WRITE, "finished length"]),
        ),
        both(
            "another provider's reason for a filter",
            openai(&["SAFETY"]),
            anthropic(&["content_filter"]),
            Complete(vec!["tool a write_file", WRITE, "finished content_filter"]),
        ),
        both(
            "a reason before more content",
            early(&[]),
            early_message(&[]),
            Failed(ErrorClass::Connection, "before the answer was complete"),
        )
        .ends_early(),
        both(
            "a reason before more content and another one after it",
            early(&[finish("stop")]),
            early_message(&[stop("end_turn")]),
            Complete(vec!["+ Hi", "finished stop"]),
        )
        .ends_early(),
    ]
}

impl Case {
    fn ends_early(self) -> Self {
        Self { ends_early: true, ..self }
    }
}

/// Errors in a response with a success status.
pub(super) fn errors() -> Vec<Case> {
    let row = |what, stream: &str, class, words| both(what, stream.to_owned(), stream.to_owned(), Failed(class, words));
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
            "the error of the provider behind a router",
            r#"{"error":{"code":502,"message":"Provider returned error","metadata":{"raw":"upstream is on fire"}}}"#,
            ErrorClass::ServerError,
            "upstream is on fire",
        ),
        row("an event that is not JSON", "data: oops\n\n", ErrorClass::ServerError, "oops"),
        row("an HTML page", "<html>no</html>", ErrorClass::InvalidRequest, "<html>no</html>"),
        row("plain text", "no healthy upstream", ErrorClass::InvalidRequest, "no healthy upstream"),
        row("an empty body", "", ErrorClass::Connection, "before the answer was complete"),
        row("half an event", "data: {\"type\"", ErrorClass::Connection, "before the answer was complete"),
        only_openai(
            "an error in a choice",
            sse(&[json!({"choices": [{"error": {"code": 502, "message": "upstream"}, "finish_reason": "error"}]})]),
            Failed(ErrorClass::ServerError, "upstream"),
        ),
    ]
}
