use super::*;
use crate::model::provider::{
    ErrorClass,
    fixture::{check, request, shown, stream},
};

fn answer() -> Answer {
    Answer::new(&request(&[]))
}

fn read(events: &[&str]) -> Vec<String> {
    let (events, error) = check(answer, &stream(events));
    assert_eq!(error, None);
    shown(&events)
}

fn delta(delta: &str) -> String {
    format!(
        r#"{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}],"usage":null}}"#
    )
}

fn finish(reason: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
}

/// The lines about calls.
fn calls(fragments: &[&str], reason: &str) -> Vec<String> {
    let mut events: Vec<String> = fragments.iter().map(|f| delta(&format!(r#"{{"tool_calls":[{f}]}}"#))).collect();
    events.extend([finish(reason), "[DONE]".into()]);
    read(&events.iter().map(String::as_str).collect::<Vec<_>>())
        .into_iter()
        .filter(|line| line.starts_with("ready") || line.starts_with("tool") || line.starts_with("finished"))
        .collect()
}

#[test]
fn a_recorded_answer_is_decoded() {
    let stream = concat!(
        ": OPENROUTER PROCESSING\n\n",
        r#"data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0}]}"#,
        "\n\n",
        r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null,"obfuscation":"Xy"}"#,
        "\n\n",
        r#"data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"Sure – 漢"},"finish_reason":null}],"usage":null}"#,
        "\n\n: keep-alive\n\n",
        r#"data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"write_file","arguments":""}}]},"finish_reason":null}]}"#,
        "\n\n",
        r#"data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"path\":"}}]},"finish_reason":null}]}"#,
        "\n\n",
        r#"data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"list_files","arguments":"{}"}}]},"finish_reason":null}]}"#,
        "\n\n",
        r#"data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"🎬.js\"}"}}]},"finish_reason":null}]}"#,
        "\n\n",
        r#"data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":null}"#,
        "\n\n",
        r#"data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":812,"completion_tokens":94,"total_tokens":906,"prompt_tokens_details":{"cached_tokens":512,"cache_write_tokens":9},"completion_tokens_details":{"reasoning_tokens":30}}}"#,
        "\n\ndata: [DONE]\n\n",
    );
    let (events, error) = check(answer, stream);
    assert_eq!(error, None);
    let expected = [
        "text b1.1",
        "+ Sure – 漢",
        "end b1.1",
        "tool call_a write_file",
        r#"call_a {"path":"#,
        "tool call_b list_files",
        "call_b {}",
        r#"call_a "🎬.js"}"#,
        r#"ready call_a {"path":"🎬.js"}"#,
        "ready call_b {}",
        "usage 812 94 512 9 30",
        "finished tool_calls",
    ];
    assert_eq!(shown(&events), expected);
}

#[test]
fn calls_are_distinguished_with_all_kinds_of_ids() {
    let two = ["tool a list_files", "tool b read_file", "ready a {}", r#"ready b {"path":"x"}"#, "finished tool_calls"];
    let list = r#"{"name":"list_files","arguments":"{}"}"#;
    let file = r#"{"name":"read_file","arguments":"{\"path\":\"x\"}"}"#;
    let fragment = |head: &str, function: &str| format!(r#"{{{head}"type":"function","function":{function}}}"#);
    // Older and newer versions of Ollama: without and with an index, complete calls in one chunk, `stop` at the end.
    assert_eq!(calls(&[&fragment(r#""id":"a","#, list), &fragment(r#""id":"b","#, file)], "stop"), two);
    assert_eq!(calls(&[&fragment(r#""id":"a","index":0,"#, list), &fragment(r#""id":"b","index":0,"#, file)], "stop"), two);
    // Both calls in one chunk.
    assert_eq!(
        calls(&[&format!("{},{}", fragment(r#""id":"a","index":0,"#, list), fragment(r#""id":"b","index":0,"#, file))], "tool_calls"),
        two
    );
    // Gemini: no id, or an empty one.
    for id in ["", r#""id":"","#] {
        let lines = calls(&[&fragment(&format!(r#"{id}"index":0,"#), file), &fragment(&format!(r#"{id}"index":0,"#), file)], "stop");
        assert_eq!(lines[2..], [r#"ready call_1_1 {"path":"x"}"#, r#"ready call_1_2 {"path":"x"}"#, "finished tool_calls"]);
    }
    // The same id for both calls.
    let lines = calls(&[&fragment(r#""id":"a","index":0,"#, list), &fragment(r#""id":"a","index":1,"#, file)], "stop");
    assert_eq!(
        lines,
        ["tool a list_files", "tool call_1_1 read_file", "ready a {}", r#"ready call_1_1 {"path":"x"}"#, "finished tool_calls"]
    );
}

#[test]
fn fragments_of_one_call_stay_together() {
    let one = ["tool a read_file", r#"ready a {"path":"x"}"#, "finished tool_calls"];
    let head = r#"{"index":0,"id":"a","function":{"name":"read_file","arguments":"{\"path\":"}}"#;
    for rest in [
        r#"{"index":0,"function":{"arguments":"\"x\"}"}}"#,
        r#"{"index":0,"id":"a","function":{"arguments":"\"x\"}"}}"#,
        r#"{"index":0,"id":"a","function":{"name":"read_file","arguments":"\"x\"}"}}"#,
        r#"{"index":0,"id":"other","function":{"arguments":"\"x\"}"}}"#,
        r#"{"index":0,"id":"other","function":{"name":"read_file","arguments":"\"x\"}"}}"#,
        r#"{"index":0,"id":"","function":{"name":"","arguments":"\"x\"}"}}"#,
        r#"{"function":{"arguments":"\"x\"}"}}"#,
    ] {
        assert_eq!(calls(&[head, rest], "tool_calls"), one, "{rest}");
        let last = r#"{"index":0,"id":"a","function":{"name":"read_file","arguments":""}}"#;
        assert_eq!(calls(&[head, rest, last], "tool_calls"), one, "{rest}");
    }
    let object = r#"{"index":0,"id":"a","function":{"name":"read_file","arguments":{"path":"x"}}}"#;
    assert_eq!(calls(&[object], "stop"), one);
    let late_name = [
        r#"{"index":0,"id":"a","function":{"arguments":"{\"path\":"}}"#,
        r#"{"index":0,"function":{"name":"read_file","arguments":"\"x\"}"}}"#,
    ];
    assert_eq!(calls(&late_name, "stop"), one);
    let legacy = [delta(r#"{"function_call":{"name":"read_file","arguments":"{}"}}"#), finish("function_call"), "[DONE]".into()];
    let lines = read(&legacy.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(lines, ["tool call_1_1 read_file", "call_1_1 {}", "ready call_1_1 {}", "finished tool_calls"]);
}

/// Each fragment may start a new call. The check must not parse all arguments so far, which would take quadratic time.
#[test]
fn a_long_call_with_a_new_id_in_every_fragment_is_decoded_in_linear_time() {
    let content = "[x]{} \\\" }\n".repeat(2_000);
    let arguments = serde_json::json!({"path": "a", "content": content}).to_string();
    let pieces: Vec<String> = arguments.as_bytes().chunks(1).map(|byte| String::from_utf8(byte.to_vec()).unwrap()).collect();
    let mut fragments = vec![serde_json::json!({"id": "first", "function": {"name": "write_file", "arguments": ""}}).to_string()];
    fragments.extend(
        (0..).zip(&pieces).map(|(n, piece)| serde_json::json!({"id": format!("id_{n}"), "function": {"arguments": piece}}).to_string()),
    );
    fragments.push(r#"{"id":"second","function":{"name":"list_files","arguments":"{}"}}"#.to_owned());
    let mut answer = answer();
    let mut out = Vec::new();
    let events = fragments.iter().map(|fragment| delta(&format!(r#"{{"tool_calls":[{fragment}]}}"#))).chain([finish("tool_calls")]);
    for data in events {
        crate::model::provider::answer::Answer::event(
            &mut answer,
            &crate::model::provider::sse::Event { name: String::new(), data },
            &mut out,
        )
        .unwrap();
    }
    crate::model::provider::answer::Answer::end_of_response(&mut answer, &mut out).unwrap();
    let ready: Vec<_> = out.iter().filter(|event| matches!(event, ModelEvent::ToolReady { .. })).collect();
    let [ModelEvent::ToolReady { input, .. }, ModelEvent::ToolReady { call_id, .. }] = ready[..] else { panic!("{} calls", ready.len()) };
    assert_eq!((input["content"].as_str(), call_id.as_str()), (Some(content.as_str()), "second"));
}

#[test]
fn the_last_call_of_a_cut_answer_is_left_out() {
    let whole = r#"{"index":0,"id":"a","function":{"name":"list_files","arguments":"{}"}}"#;
    let cut = r#"{"index":1,"id":"b","function":{"name":"write_file","arguments":"{\"path\":\"x\"}"}}"#;
    let lines = calls(&[whole, cut], "length");
    assert_eq!(lines, ["tool a list_files", "tool b write_file", "ready a {}", "finished length"]);
    let broken = r#"{"index":0,"id":"a","function":{"name":"list_files","arguments":"{\"p"}}"#;
    assert_eq!(calls(&[broken], "tool_calls"), ["tool a list_files", r#"ready a "{\"p""#, "finished tool_calls"]);
}

#[test]
fn finish_reasons_are_normalized() {
    for (reason, finished) in [
        ("stop", "stop"),
        ("tool_calls", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("MAX_TOKENS", "length"),
    ] {
        assert_eq!(read(&[&finish(reason), "[DONE]"]), [format!("finished {finished}")], "{reason}");
    }
    assert_eq!(read(&[&delta(r#"{"refusal":"I cannot."}"#), &finish("stop"), "[DONE]"]).last().unwrap(), "finished content_filter");
}

#[test]
fn the_finish_reason_is_required_and_done_and_usage_are_not() {
    let text = delta(r#"{"content":"Hi"}"#);
    let whole = ["text b1.1", "+ Hi", "end b1.1", "finished stop"];
    assert_eq!(read(&[&text, &finish("stop")]), whole);
    // Some servers put the reason on the last chunk with content.
    assert_eq!(read(&[r#"{"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}"#, "[DONE]"]), whole);
    for events in [&[text.as_str()][..], &[&text, "[DONE]"], &[]] {
        let (_, error) = check(answer, &stream(events));
        let error = error.expect("a cut stream");
        assert_eq!((error.class, error.retryable), (ErrorClass::Connection, true));
    }
}

#[test]
fn the_last_usage_counts() {
    let with = |n: u32| {
        format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"x"}}}}],"usage":{{"prompt_tokens":5,"completion_tokens":{n}}}}}"#)
    };
    let lines = read(&[&with(1), &with(2), &finish("stop"), "[DONE]"]);
    assert_eq!(lines.iter().filter(|l| l.starts_with("usage")).collect::<Vec<_>>(), ["usage 5 2 0 0 0"]);
}

#[test]
fn reasoning_is_kept_with_the_field_of_the_server() {
    let lines = read(&[
        &delta(r#"{"reasoning_content":"Hm","content":null}"#),
        &delta(r#"{"reasoning_content":"m."}"#),
        &delta(r#"{"content":"Yes"}"#),
        &delta(r#"{"reasoning":"So","reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]}"#),
        &finish("stop"),
        "[DONE]",
    ]);
    let expected = [
        "reasoning b1.1",
        "~ Hm",
        "~ m.",
        r#"end b1.1 {"provider":"openai","field":"reasoning_content"}"#,
        "text b1.2",
        "+ Yes",
        "end b1.2",
        "reasoning b1.3",
        "~ So",
        r#"end b1.3 {"provider":"openai","field":"reasoning"}"#,
        "finished stop",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn errors_inside_a_200() {
    let text = delta(r#"{"content":"Hi"}"#);
    for (event, class) in [
        (r#"{"error":{"message":"slow down","type":"rate_limit_error","code":null}}"#, ErrorClass::RateLimited),
        (
            r#"{"id":"x","error":{"code":502,"message":"upstream"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#,
            ErrorClass::ServerError,
        ),
        (r#"{"object":"error","message":"bad","type":"BadRequestError","code":400}"#, ErrorClass::InvalidRequest),
        (r#"{"error":"model crashed"}"#, ErrorClass::ServerError),
        ("{\"choices\":", ErrorClass::ServerError),
    ] {
        for events in [vec![event], vec![&text, event]] {
            let (_, error) = check(answer, &stream(&events));
            let error = error.expect("an error");
            assert_eq!(error.class, class, "{event}");
        }
    }
}
