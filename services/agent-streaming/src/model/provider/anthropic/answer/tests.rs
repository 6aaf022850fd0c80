use super::*;
use crate::model::provider::{
    ErrorClass,
    answer::Answer as _,
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

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","model":"m","usage":{"input_tokens":25,"cache_creation_input_tokens":100,"cache_read_input_tokens":1000,"output_tokens":1}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

/// A recorded stream with event names and pings.
const RECORDED: &str = concat!(
    "event: message_start\r\n",
    r#"data: {"type":"message_start","message":{"id":"msg_1","model":"claude","usage":{"input_tokens":25,"cache_creation_input_tokens":100,"cache_read_input_tokens":1000,"output_tokens":1}}}"#,
    "\r\n\r\nevent: content_block_start\r\n",
    r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
    "\r\n\r\nevent: ping\r\ndata: {\"type\": \"ping\"}\r\n\r\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"A page – 漢"}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_stop","index":0}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"Zm9v"}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_stop","index":1}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Here "}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{}}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"you go 🎬"}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_stop","index":2}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"write_file","input":{}}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"path\":\"src/"}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"a.js\",\"content\":\"1\"}"}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_stop","index":3}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_2","name":"list_files","input":{}}}"#,
    "\r\n\r\n",
    r#"data: {"type":"content_block_stop","index":4}"#,
    "\r\n\r\n",
    r#"data: {"type":"something_new","index":9}"#,
    "\r\n\r\n",
    r#"data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89,"output_tokens_details":{"thinking_tokens":12}}}"#,
    "\r\n\r\nevent: message_stop\r\ndata: {\"type\":\"message_stop\"}\r\n\r\n",
);

#[test]
fn a_recorded_answer_is_decoded() {
    let (events, error) = check(answer, RECORDED);
    assert_eq!(error, None);
    let expected = [
        "reasoning b1.1",
        "~ A page – 漢",
        "usage 1125 1 1000 100 0",
        r#"end b1.1 {"provider":"anthropic","signature":"EqQB"}"#,
        "reasoning b1.2",
        r#"end b1.2 {"provider":"anthropic","data":"Zm9v"}"#,
        "text b1.3",
        "+ Here ",
        "+ you go 🎬",
        "end b1.3",
        "tool toolu_1 write_file",
        r#"toolu_1 {"path":"src/"#,
        r#"toolu_1 a.js","content":"1"}"#,
        r#"ready toolu_1 {"path":"src/a.js","content":"1"}"#,
        "tool toolu_2 list_files",
        "ready toolu_2 {}",
        "usage 1125 89 1000 100 12",
        "finished tool_calls",
    ];
    assert_eq!(shown(&events), expected);
}

#[test]
fn reports_of_usage_replace_each_field() {
    let delta = |usage: &str| format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn"}},"usage":{usage}}}"#);
    let usage = |usage: &str| read(&[START, &delta(usage), STOP]).remove(0);
    assert_eq!(usage(r#"{"output_tokens":7}"#), "usage 1125 7 1000 100 0");
    assert_eq!(usage(r#"{"input_tokens":10682,"cache_read_input_tokens":null,"output_tokens":7}"#), "usage 11782 7 1000 100 0");
    assert_eq!(
        usage(
            r#"{"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4},"cache_read_input_tokens":0,"output_tokens":7}"#
        ),
        "usage 32 7 0 7 0"
    );
}

fn ends(reason: &str) -> String {
    format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}","stop_details":{{"category":"x"}}}},"usage":{{}}}}"#)
}

#[test]
fn stop_reasons_are_normalized() {
    for (reason, finished) in [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop"),
        ("tool_use", "stop"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"),
    ] {
        assert_eq!(read(&[&ends(reason), STOP]), [format!("finished {finished}")], "{reason}");
    }
    for (events, class) in [(vec![STOP.to_owned()], ErrorClass::Connection), (vec![ends("unheard_of"), STOP.into()], ErrorClass::Truncated)]
    {
        let (out, error) = check(answer, &stream(&events.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!((out.as_slice(), error.map(|error| error.class)), (&[][..], Some(class)), "{events:?}");
    }
}

fn tool(index: u32, json: &str) -> [String; 3] {
    [
        format!(
            r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"tool_use","id":"t{index}","name":"write_file"}}}}"#
        ),
        serde_json::json!({"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta", "partial_json": json}})
            .to_string(),
        format!(r#"{{"type":"content_block_stop","index":{index}}}"#),
    ]
}

fn with_tools(inputs: &[&str], stop_reason: &str) -> Vec<String> {
    let mut events: Vec<String> = inputs.iter().zip(0..).flat_map(|(json, index)| tool(index, json)).collect();
    events.push(format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{stop_reason}"}},"usage":{{"output_tokens":1}}}}"#));
    events.push(STOP.to_owned());
    read(&events.iter().map(String::as_str).collect::<Vec<_>>())
        .into_iter()
        .filter(|line| line.starts_with("ready") || line.starts_with("fin"))
        .collect()
}

#[test]
fn the_last_call_of_a_cut_answer_is_left_out() {
    assert_eq!(with_tools(&[r#"{"a":1}"#, r#"{"a":"#], "max_tokens"), [r#"ready t0 {"a":1}"#, "finished length"]);
    assert_eq!(with_tools(&[r#"{"a":1}"#, r#"{"a":2}"#], "max_tokens"), [r#"ready t0 {"a":1}"#, "finished length"]);
    assert_eq!(
        with_tools(&[r#"{"a":1}"#, r#"{"a":2}"#], "end_turn"),
        [r#"ready t0 {"a":1}"#, r#"ready t1 {"a":2}"#, "finished tool_calls"]
    );
}

#[test]
fn arguments_that_are_not_an_object_become_text() {
    assert_eq!(with_tools(&[r#"{"a":"#], "tool_use"), [r#"ready t0 "{\"a\":""#, "finished tool_calls"]);
}

#[test]
fn an_error_inside_a_stream_has_its_class() {
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
    let text = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#;
    for (events, silent) in [(&[START, text, error][..], true), (&[START, text, delta, error], false)] {
        let (out, found) = check(answer, &stream(events));
        let found = found.expect("an error");
        assert_eq!((found.class, found.retryable), (ErrorClass::Overloaded, true));
        assert_eq!((found.message.as_str(), out.is_empty()), ("anthropic: overloaded_error: Overloaded", silent));
    }
    let (_, found) = check(answer, &stream(&["not json"]));
    assert_eq!(found.map(|e| e.class), Some(ErrorClass::ServerError));
}

#[test]
fn empty_blocks_have_no_events_but_a_signature_is_kept() {
    let block = |kind: &str| format!(r#"{{"type":"content_block_start","index":0,"content_block":{kind}}}"#);
    let stop = r#"{"type":"content_block_stop","index":0}"#;
    assert_eq!(read(&[&block(r#"{"type":"text","text":""}"#), stop, &ends("end_turn"), STOP]), ["finished stop"]);
    assert_eq!(read(&[&block(r#"{"type":"thinking","thinking":""}"#), stop, &ends("end_turn"), STOP]), ["finished stop"]);
    let signed = r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#;
    let lines = read(&[&block(r#"{"type":"thinking","thinking":""}"#), signed, stop, &ends("end_turn"), STOP]);
    assert_eq!(lines, ["reasoning b1.1", r#"end b1.1 {"provider":"anthropic","signature":"c2ln"}"#, "finished stop"]);
}

#[test]
fn a_pause_finishes_the_open_blocks() {
    let mut answer = answer();
    let mut out = Vec::new();
    let mut progress = None;
    for data in [
        START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Wait"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"pause_turn"},"usage":{"output_tokens":5}}"#,
        STOP,
    ] {
        progress = Some(answer.event(&Event { name: String::new(), data: data.to_owned() }, &mut out).expect("fine"));
    }
    assert_eq!(progress, Some(Progress::Paused));
    assert!(shown(&out).contains(&"end b1.1".to_owned()), "{:?}", shown(&out));
    assert_eq!(answer.take_content(), [serde_json::json!({"type": "text", "text": "Wait"})]);
}

#[test]
fn usage_saturates() {
    let most = u64::MAX;
    let usage = format!(
        r#"{{"input_tokens":{most},"cache_read_input_tokens":{most},"cache_creation":{{"ephemeral_5m_input_tokens":{most},"ephemeral_1h_input_tokens":{most}}},"output_tokens":{most}}}"#
    );
    let counted = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn"}},"usage":{usage}}}"#);
    let lines = read(&[START, r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"x"}}"#, &counted, STOP]);
    let most = u32::MAX;
    assert!(lines.contains(&format!("usage {most} {most} {most} {most} 0")), "{lines:?}");
}

#[test]
fn a_pause_keeps_the_content_and_sums_the_usage() {
    let mut answer = answer();
    let mut out = Vec::new();
    let mut feed = |events: &[&str], out: &mut Vec<ModelEvent>| {
        events.iter().fold(None, |_, e| {
            let event = Event { name: String::new(), data: (*e).to_owned() };
            Some(answer.event(&event, out).expect("fine"))
        })
    };
    let paused = feed(
        &[
            START,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"srv_1","name":"web_search","input":{}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"query\":\"x\"}"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Wait"}}"#,
            r#"{"type":"content_block_stop","index":1}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"pause_turn"},"usage":{"output_tokens":5}}"#,
            STOP,
        ],
        &mut out,
    );
    assert_eq!(paused, Some(Progress::Paused));
    let done = feed(&[START, r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#, STOP], &mut out);
    assert_eq!(done, Some(Progress::Complete));
    assert_eq!(shown(&out).last_chunk::<2>().unwrap(), &["usage 2250 7 2000 200 0", "finished stop"]);
    let content = serde_json::to_string(&answer.take_content()).unwrap();
    assert_eq!(
        content,
        r#"[{"type":"server_tool_use","id":"srv_1","name":"web_search","input":{"query":"x"}},{"type":"text","text":"Wait"}]"#
    );
}
