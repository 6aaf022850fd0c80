use std::collections::BTreeSet;

use proptest::prelude::*;
use proto::agent_streaming::turn_event::Kind;

use super::*;
use crate::chat::parts::tests::*;

const FIVE: &[&str] = &[
    "start",
    "message-metadata",
    "start-step",
    "finish-step",
    "text-start",
    "text-delta",
    "text-end",
    "reasoning-start",
    "reasoning-delta",
    "reasoning-end",
    "tool-input-available",
    "tool-output-available",
    "tool-output-error",
    "abort",
    "error",
    "finish",
];

fn turn() -> Turn {
    let create_time = serde_json::from_value(json!("1970-01-01T00:00:00Z")).unwrap();
    Turn { id: TURN.into(), project_id: "p".into(), model: "demo/demo".into(), create_time, ..Turn::default() }
}

fn stream(level: Level, seen: u32) -> UiStream {
    UiStream::new(turn(), level, seen)
}

fn bytes(mut stream: UiStream, log: &[TurnEvent]) -> String {
    let mut out = BytesMut::new();
    for event in log {
        stream.event(&mut out, event).unwrap();
    }
    String::from_utf8(out.to_vec()).unwrap()
}

/// The chunks of a stream, and whether it ended with `[DONE]`.
fn chunks(text: &str) -> (Vec<Value>, bool) {
    let mut lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let done = lines.last() == Some(&"[DONE]");
    if done {
        lines.pop();
    }
    (lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect(), done)
}

fn text_field(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// A client that asserts what the real clients require, and builds the message as they do.
#[derive(Default)]
struct Client {
    parts: Vec<Value>,
    metadata: serde_json::Map<String, Value>,
    open: BTreeSet<(&'static str, String)>,
    ready: BTreeSet<String>,
    in_step: bool,
    ended: bool,
}

impl Client {
    fn read(level: Level, chunks: &[Value]) -> Self {
        let mut client = Self::default();
        assert_eq!(chunks.first().map(|c| text_field(c, "type")).as_deref(), Some("start"));
        for chunk in chunks {
            assert!(!client.ended, "after the end: {chunk}");
            client.chunk(level, chunk);
        }
        assert!(client.ended && client.open.is_empty() && !client.in_step, "{:?}", client.open);
        client
    }

    fn chunk(&mut self, level: Level, chunk: &Value) {
        let kind = text_field(chunk, "type");
        let newer = match kind.as_str() {
            "tool-input-start" | "tool-input-delta" => Some(Level::Six),
            "reset-step" => Some(Level::Seven),
            _ => None,
        };
        let known = FIVE.contains(&kind.as_str()) || kind.starts_with("data-") || newer.is_some_and(|newer| level >= newer);
        assert!(known, "{chunk}");
        match kind.as_str() {
            "start" => assert!(self.parts.is_empty() && text_field(chunk, "messageId") == TURN),
            "start-step" => {
                assert!(!self.in_step, "{chunk}");
                self.in_step = true;
                self.parts.push(json!({ "type": "step-start" }));
            }
            "finish-step" => {
                assert!(self.in_step && self.open.is_empty(), "{:?}", self.open);
                self.in_step = false;
            }
            "reset-step" => {
                assert!(self.in_step);
                let head = self.parts.iter().rposition(|part| part["type"] == "step-start").expect("a step");
                self.parts.truncate(head + 1);
                self.open.clear();
            }
            "abort" => assert!(level >= Level::Six || chunk.get("reason").is_none()),
            "finish" | "error" => {
                assert!(level >= Level::Six || chunk.get("finishReason").is_none());
                self.ended = true;
            }
            kind if kind.starts_with("data-") => self.data(chunk),
            kind if kind.starts_with("tool-") => self.tool(level, kind, chunk),
            kind => self.block(kind, chunk),
        }
        if let Some(more) = chunk["messageMetadata"].as_object() {
            self.metadata.extend(more.clone());
        }
    }

    fn block(&mut self, kind: &str, chunk: &Value) {
        let family = if kind.starts_with("text") { "text" } else { "reasoning" };
        let id = (family, text_field(chunk, "id"));
        match kind {
            "text-start" | "reasoning-start" => {
                assert!(self.open.insert(id), "{chunk}");
                self.parts.push(json!({ "type": family, "id": chunk["id"], "text": "" }));
            }
            "text-delta" | "reasoning-delta" => {
                assert!(self.open.contains(&id), "{chunk}");
                let part = self.parts.iter_mut().rfind(|part| part["type"] == family && part["id"] == chunk["id"]).unwrap();
                part["text"] = (text_field(part, "text") + &text_field(chunk, "delta")).into();
            }
            "text-end" | "reasoning-end" => assert!(self.open.remove(&id), "{chunk}"),
            "message-metadata" => {}
            other => panic!("{other}"),
        }
    }

    fn tool(&mut self, level: Level, kind: &str, chunk: &Value) {
        let call = text_field(chunk, "toolCallId");
        let id = ("call", call.clone());
        assert!(kind == "tool-input-delta" || chunk["providerExecuted"] == true, "{chunk}");
        let begins = kind == "tool-input-start" || level == Level::Five && kind == "tool-input-available" && !self.open.contains(&id);
        if begins {
            assert!(self.open.insert(id.clone()), "{chunk}");
            self.parts.push(json!({ "type": format!("tool-{}", text_field(chunk, "toolName")), "toolCallId": call }));
        }
        if kind == "tool-input-start" {
            return;
        }
        assert!(self.open.contains(&id), "{chunk}");
        let part = self.parts.iter_mut().rfind(|part| part["toolCallId"] == call.as_str()).expect("the call is in the message");
        match kind {
            "tool-input-delta" => assert!(!self.ready.contains(&call)),
            "tool-input-available" => {
                part["input"] = chunk["input"].clone();
                self.ready.insert(call);
            }
            _ => {
                part["output"] = chunk["output"].clone();
                part["errorText"] = chunk["errorText"].clone();
                self.open.remove(&id);
            }
        }
    }

    fn data(&mut self, chunk: &Value) {
        if chunk["transient"] == true {
            return;
        }
        let same = |part: &&mut Value| chunk.get("id").is_some() && part["type"] == chunk["type"] && part["id"] == chunk["id"];
        match self.parts.iter_mut().find(same) {
            Some(part) => part["data"] = chunk["data"].clone(),
            None => self.parts.push(chunk.clone()),
        }
    }
}

proptest! {
    /// Clients of every level can read every log, in full and in the short form.
    #[test]
    fn every_log_becomes_a_stream_that_clients_accept(log in any_log()) {
        for level in [Level::Five, Level::Six, Level::Seven] {
            for log in [&log, &short(&log)] {
                let (chunks, done) = chunks(&bytes(stream(level, 0), log));
                prop_assert!(done);
                Client::read(level, &chunks);
            }
        }
    }

    /// The part before a cursor and the part after it are together the whole stream, for every cursor.
    #[test]
    fn a_cursor_neither_omits_nor_repeats_a_byte(log in any_log(), at in any::<prop::sample::Index>()) {
        let seen = u32::try_from(at.index(log.len())).unwrap();
        for level in [Level::Five, Level::Seven] {
            let first = bytes(stream(level, 0), &log[..seen as usize]);
            let rest = bytes(stream(level, seen), &log);
            prop_assert_eq!(first + &rest, bytes(stream(level, 0), &log));
        }
    }

    /// At level 7 a client that saw a step being repeated has in the end the same message as one that connected later.
    #[test]
    fn a_repeated_step_leaves_no_parts_of_its_first_run(log in any_log()) {
        let message = |log: &[TurnEvent]| {
            let client = Client::read(Level::Seven, &chunks(&bytes(stream(Level::Seven, 0), log)).0);
            (client.parts, client.metadata)
        };
        prop_assert_eq!(message(&log), message(&short(&log)));
    }

    /// The ids of frames increase.
    #[test]
    fn cursors_increase(log in any_log()) {
        let text = bytes(stream(Level::Five, 0), &log);
        let ids: Vec<u32> = text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
        prop_assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
        prop_assert_eq!(ids.last(), log.last().map(|event| &event.seq));
    }
}

#[test]
fn the_exact_bytes_of_a_turn() {
    let kinds = [vec![accepted(), step(1)], text("t1", "Adding the login page.").to_vec(), write("c1", "src/login.tsx", "code").to_vec()];
    let end = vec![usage(), step_done(1), committed(), completed()];
    let kinds = kinds.concat().into_iter().chain(end);
    let mut out = BytesMut::new();
    let mut ui = stream(Level::Five, 0);
    ui.opening(&mut out);
    for event in log(kinds) {
        ui.event(&mut out, &event).unwrap();
    }
    let text = String::from_utf8(out.to_vec()).unwrap();
    // The time differs between streams.
    let (opening, rest) = text.split_once("\nretry: ").unwrap();
    let text = format!("{opening}\nretry: 2000\n{}", rest.split_once('\n').unwrap().1);
    assert_eq!(text, include_str!("a-turn.txt"));
}

/// Real clients read the same bytes in `tests/journeys/clients`.
#[test]
fn the_exact_bytes_of_a_repeated_step() {
    let first = [vec![accepted(), step(1)], write("c1", "a.js", "old").to_vec(), vec![step_done(1), step(2)]];
    let lost = [text("t1", "half a").to_vec(), write("c2", "a.js", "newer").to_vec(), write("c3", "b.js", "new")[..3].to_vec()];
    let repeated = [vec![superseded(10, 22), step(2)], text("t2", "anew").to_vec(), vec![step_done(2), committed(), completed()]];
    let log = log([first.concat(), lost.concat(), repeated.concat()].concat());
    assert_eq!(bytes(stream(Level::Five, 0), &log), include_str!("restarted-5.txt"));
    assert_eq!(bytes(stream(Level::Seven, 0), &log), include_str!("restarted-7.txt"));
}

#[test]
fn the_protocol_header_is_set_and_the_level_is_checked() {
    assert_eq!(stream(Level::Five, 0).headers()["x-vercel-ai-ui-message-stream"], "v1");
    let level = |value: &'static str| {
        let headers = HeaderMap::from_iter([(UI_STREAM_LEVEL, HeaderValue::from_static(value))]);
        Level::requested(&headers).map_err(|failure| failure.0.violations[0].field.clone())
    };
    assert_eq!([level("5"), level("6"), level("7")], [Ok(Level::Five), Ok(Level::Six), Ok(Level::Seven)]);
    assert_eq!([level("8"), level("x"), level("")], [(); 3].map(|()| Err(UI_STREAM_LEVEL.to_string())));
    assert_eq!(Level::requested(&HeaderMap::new()).unwrap(), Level::Five);
}

/// The chunks of the last event of a log.
fn last(level: Level, kinds: impl IntoIterator<Item = Kind>) -> Vec<Value> {
    let mut stream = stream(level, 0);
    let mut out = BytesMut::new();
    for event in log(kinds) {
        out.clear();
        stream.event(&mut out, &event).unwrap();
    }
    chunks(std::str::from_utf8(&out).unwrap()).0
}

#[test]
fn every_outcome_has_its_last_event() {
    let ends = |level, end: Vec<Kind>| last(level, [vec![accepted(), step(1), step_done(1)], end].concat());
    let metadata = |outcome, revision, reason| json!({ "outcome": outcome, "revision": revision, "finishReason": reason, "usage": null });
    assert_eq!(ends(Level::Five, vec![completed()]), [json!({ "type": "finish", "messageMetadata": metadata("completed", "r1", "stop") })]);
    assert_eq!(
        ends(Level::Six, vec![completed()]),
        [json!({ "type": "finish", "finishReason": "stop", "messageMetadata": metadata("completed", "r1", "stop") })]
    );
    let stopped = metadata("cancelled", "", "other");
    assert_eq!(ends(Level::Five, vec![cancelled()]), [json!({ "type": "abort" }), json!({ "type": "finish", "messageMetadata": stopped })]);
    assert_eq!(ends(Level::Six, vec![cancelled()])[0], json!({ "type": "abort", "reason": "the turn was stopped" }));
    let conflict = ends(Level::Five, conflicted().to_vec());
    assert_eq!((&conflict[0]["data"]["code"], &conflict[0]["data"]["paths"]), (&"TURN_CONFLICTED".into(), &json!(["a.js"])));
    assert_eq!(conflict[1], json!({ "type": "finish", "messageMetadata": metadata("conflicted", "c1", "other") }));
    let failure = ends(Level::Five, vec![failed()]);
    let problem: Value = serde_json::from_str(failure[0]["errorText"].as_str().unwrap()).unwrap();
    assert_eq!((failure.len(), &failure[0]["type"]), (1, &"error".into()));
    assert_eq!((&problem["reason"], &problem["detail"]), (&"PROVIDER_ERROR".into(), &"the provider does not answer".into()));
    assert_eq!((&problem["type"], &problem["metadata"]["turnId"]), (&"https://backlot.dev/problems/provider-error".into(), &TURN.into()));
}

#[test]
fn a_repeated_step_is_reset_at_level_seven() {
    let [started, delta, _] = text("t", "half a");
    let kinds = || vec![accepted(), step(1), started.clone(), delta.clone(), superseded(2, 4)];
    let types = |level| last(level, kinds()).iter().map(|chunk| text_field(chunk, "type")).collect::<Vec<_>>();
    assert_eq!(types(Level::Five), ["text-end", "finish-step", "data-notice"]);
    assert_eq!(types(Level::Six), types(Level::Five));
    assert_eq!(types(Level::Seven), ["reset-step"]);
    assert_eq!(last(Level::Seven, [kinds(), vec![step(1)]].concat()), [] as [Value; 0]);
}

#[test]
fn the_input_of_a_call_is_streamed_from_level_six_on() {
    let types = |level| {
        let kinds = [vec![accepted(), step(1)], write("c", "a.js", "code").to_vec(), vec![step_done(1), completed()]].concat();
        let chunks = chunks(&bytes(stream(level, 0), &log(kinds))).0;
        chunks.iter().map(|chunk| text_field(chunk, "type")).filter(|kind| kind.starts_with("tool-")).collect::<Vec<_>>()
    };
    assert_eq!(types(Level::Five), ["tool-input-available", "tool-input-available", "tool-output-available"]);
    assert_eq!(types(Level::Six), ["tool-input-start", "tool-input-available", "tool-output-available"]);
    let lost = || write("c", "a.js", "code").into_iter().take(1);
    let kinds = |level| last(level, [accepted(), step(1)].into_iter().chain(lost()).chain([cancelled()]));
    assert_eq!(
        (text_field(&kinds(Level::Five)[0], "type"), text_field(&kinds(Level::Five)[1], "type")),
        ("tool-input-available".into(), "tool-output-error".into())
    );
    assert_eq!(text_field(&kinds(Level::Six)[0], "type"), "tool-output-error");
}
