//! Tests that viewers, the worker that gets a call from the model, and a worker that reads the call from the log see the same arguments.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::{drive::recorder::Recorder, turn::event, workspace::tools::InputStream};

/// How a provider delivers arguments.
#[derive(Debug, Clone, Copy)]
enum Delivery {
    /// Not streamed: only in the complete call.
    Complete,
    /// As one fragment.
    OneFragment,
    /// In fragments of that many characters.
    Fragments(usize),
}

const DELIVERIES: [Delivery; 4] = [Delivery::Complete, Delivery::OneFragment, Delivery::Fragments(1), Delivery::Fragments(7)];

/// The arguments as a provider's client parses them: an object, or the text if it is not one.
fn parsed(text: &str) -> Value {
    serde_json::from_str::<Map<String, Value>>(text).map_or_else(|_| json!(text), Value::Object)
}

/// The events of a call.
fn events(tool: &str, text: &str, delivery: Delivery) -> Vec<Kind> {
    let mut translator = AnswerTranslator::default();
    model_events(tool, text, delivery).into_iter().flat_map(|event| translator.translate(event)).collect()
}

/// The events of a call from the provider's client.
fn model_events(tool: &str, text: &str, delivery: Delivery) -> Vec<ModelEvent> {
    let call_id = || "c".to_owned();
    let fragments: Vec<String> = match delivery {
        Delivery::Complete => Vec::new(),
        Delivery::OneFragment => vec![text.to_owned()],
        Delivery::Fragments(size) => text.chars().collect::<Vec<_>>().chunks(size).map(|chunk| chunk.iter().collect()).collect(),
    };
    let started = ModelEvent::ToolStarted { call_id: call_id(), tool: tool.into() };
    let deltas = fragments.into_iter().map(|json| ModelEvent::ToolInputDelta { call_id: call_id(), json });
    let ready = ModelEvent::ToolReady { call_id: call_id(), input: parsed(text), opaque: Value::Null };
    [started].into_iter().chain(deltas).chain([ready]).collect()
}

/// The arguments that the worker has, and those that a later worker reads from the log.
fn inputs(kinds: &[Kind]) -> (Value, Value) {
    let stored: Vec<Kind> = kinds.iter().cloned().flat_map(event::fit).collect();
    let input = |kinds: &[Kind]| step_of(kinds).calls().next().expect("a call").input.clone();
    (input(kinds), input(&stored))
}

/// The path and the content that viewers have seen.
fn seen(kinds: &[Kind]) -> (Option<String>, String) {
    let path = kinds.iter().find_map(|kind| if let Kind::FileOpened(file) = kind { Some(file.path.clone()) } else { None });
    let text = kinds.iter().filter_map(|kind| if let Kind::FileDelta(delta) = kind { Some(delta.text.as_str()) } else { None });
    (path, text.collect())
}

#[test]
fn valid_arguments_are_the_same_for_every_delivery() {
    let long = "é\n".repeat(60_000);
    let mut calls = vec![
        ("list_files", json!({})),
        ("list_files", json!({"path": ""})),
        ("read_file", json!({"path": "a", "start_line": 0, "end_line": 1})),
        ("search", json!({"query": " x", "path": ""})),
        ("edit_file", json!({"path": "a", "old_text": "x", "new_text": ""})),
        ("edit_file", json!({"path": "a", "old_text": "x", "new_text": long})),
        ("edit_file", json!({"path": "a", "old_text": "\r\n", "new_text": "\n"})),
        ("delete_file", json!({"path": "a"})),
        ("rename_file", json!({"path": "a", "new_path": "b"})),
    ];
    let contents = ["", "\n", " ", "\u{feff}", "\u{feff}a\r\n", "a\0b", "\u{fffd}", "{}", "\"", "\\", &long];
    calls.extend(contents.map(|content| ("write_file", json!({"path": ".gitkeep", "content": content}))));
    calls.push(("write_file", json!({"content": "", "path": ".gitkeep"})));
    for (tool, input) in &calls {
        for delivery in DELIVERIES {
            let kinds = events(tool, &input.to_string(), delivery);
            let (now, later) = inputs(&kinds);
            assert!(now == *input && later == *input, "{tool} {delivery:?}");
            if *tool == "write_file" {
                let content = input["content"].as_str().expect("a text").to_owned();
                assert_eq!(seen(&kinds), (Some(".gitkeep".into()), content), "{delivery:?}");
            }
        }
    }
}

#[test]
fn viewers_see_the_file_of_repaired_arguments() {
    let file = (Some("a.js".to_owned()), "x\ny".to_owned());
    for text in [
        "{\"path\":\"a.js\",\"content\":\"x\ny\"}",
        r#"{"path":"a.js","content":"x\ny",}"#,
        r#"{"content":"x\ny","file_path":"a.js"}"#,
        r#"{"path":"./a.js","content":"x\ny"}"#,
        "```json\n{\"path\":\"a.js\",\"content\":\"x\\ny\"}\n```",
        r#"{"arguments":"{\"path\":\"a.js\",\"content\":\"x\\ny\"}"}"#,
        r#""{\"path\":\"a.js\",\"content\":\"x\\ny\"}""#,
    ] {
        for delivery in DELIVERIES {
            let kinds = events("write_file", text, delivery);
            let (now, later) = inputs(&kinds);
            assert_eq!(seen(&kinds), file, "{text} {delivery:?}");
            assert_eq!((&now["path"], &now["content"]), (&json!("a.js"), &json!("x\ny")), "{text}");
            assert_eq!(now, later, "{text}");
        }
    }
    let number = events("write_file", r#"{"path":"a.js","content":7}"#, Delivery::Fragments(1));
    assert_eq!(seen(&number), (Some("a.js".into()), "7".into()));
}

/// The tool decides which file such a path names, so viewers do not see the path before the tool runs.
#[test]
fn a_path_that_is_not_normalized_is_not_opened_before_the_tool_runs() {
    for path in ["/a.js", " a.js", "src\\\\a.js", "src//a.js"] {
        for delivery in DELIVERIES {
            let kinds = events("write_file", &format!(r#"{{"path":"{path}","content":"x"}}"#), delivery);
            assert_eq!(seen(&kinds), (None, "x".into()), "{path}");
            let call = step_of(&kinds);
            assert!(call.calls().all(|call| !call.opened && call.input["content"] == "x"), "{path}");
        }
    }
}

fn argument() -> impl Strategy<Value = String> {
    let pieces = [
        "{",
        "}",
        "\"",
        ",",
        ":",
        "\\",
        "\n",
        " ",
        "```",
        "null",
        "7",
        "[1]",
        "\"path\":",
        "\"content\":",
        "\"a.js\"",
        "\"./b.json\"",
        "\"x\"",
        "\"\"",
        "{\"path\":\"a.js\",\"content\":\"x",
        "{\"path\":7,\"path\":\"b\",",
        "\"old_text\":\"",
        "LONG",
        "\"file_path\":",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12)
        .prop_map(|pieces| pieces.concat().replace("LONG", &"é".repeat(25_000)))
}

proptest! {
    /// Both workers have the same arguments, and viewers have seen the content that the tool writes.
    #[test]
    fn workers_and_viewers_have_the_same_call(text in argument(), size in 1..9_usize, tool in prop::sample::select(vec!["write_file", "edit_file", "list_files", "bash"])) {
        let kinds = events(tool, &text, Delivery::Fragments(size));
        let (now, later) = inputs(&kinds);
        prop_assert_eq!(&now, &later);
        let (path, content) = seen(&kinds);
        if let (Some(path), Some(written)) = (now["path"].as_str(), now["content"].as_str()) && tool == "write_file" {
            prop_assert_eq!(content, written);
            let opened = seen(&kinds).0;
            prop_assert!(opened.is_none_or(|opened| opened == path));
        } else if let Some(path) = path {
            let mut stream = InputStream::new("write_file");
            prop_assert!(!stream.push(&text).is_empty(), "{} was opened", path);
        }
    }
}

/// The step that the worker has, and the one that a later worker reads from the log.
async fn states(kinds: Vec<Kind>) -> (crate::turn::transcript::Step, crate::turn::transcript::Step) {
    let journal = crate::log::journal::Journal::default();
    let log = journal.open(&crate::testing::draft(), std::time::Instant::now());
    let mut recorder = Recorder::new(&log, Transcript::default());
    let started = Kind::StepStarted(proto::agent_streaming::StepStarted { step: 1 });
    let stored: Vec<Kind> = kinds.iter().cloned().flat_map(event::fit).collect();
    for kind in [vec![started], kinds].concat() {
        recorder.push(kind).await.expect("there is room");
    }
    (recorder.transcript.take_open(), step_of(&stored))
}

/// The worker uses the events as the log stores them, after all cuts.
#[tokio::test]
async fn the_worker_has_the_same_step_as_the_log() {
    let seal = |length: usize| json!({"data": "s".repeat(length)});
    let finished = |opaque: Value| {
        let mut translator = AnswerTranslator::default();
        [ModelEvent::ReasoningStarted { block: "r".into() }, ModelEvent::ReasoningFinished { block: "r".into(), opaque }]
            .into_iter()
            .flat_map(|event| translator.translate(event))
            .collect::<Vec<_>>()
    };
    let called = |tool: &str, input: Value, opaque: Value| {
        let mut translator = AnswerTranslator::default();
        let call_id = || "c".to_owned();
        [
            ModelEvent::ToolStarted { call_id: call_id(), tool: tool.into() },
            ModelEvent::ToolInputDelta { call_id: call_id(), json: input.to_string() },
            ModelEvent::ToolReady { call_id: call_id(), input, opaque },
        ]
        .into_iter()
        .flat_map(|event| translator.translate(event))
        .collect::<Vec<_>>()
    };
    let write = json!({"path": "a.txt", "content": "x"});
    let with = |key: &str, length: usize| json!({"path": "a.txt", "content": "x", key: "u".repeat(length)});
    for (what, kinds) in [
        ("reasoning with a seal that is kept", finished(seal(40_000))),
        ("reasoning with a seal that is too long", finished(seal(60_000))),
        ("a call with a seal that is too long", called("write_file", write.clone(), seal(60_000))),
        ("a tool name that is too long", called(&"t".repeat(300), json!({"a": 1}), Value::Null)),
        ("a seal beside long arguments", called("edit_file", with("new_text", 40_000), seal(40_000))),
        ("a seal beside an unknown key", called("write_file", with("unknown", 20_000), seal(40_000))),
        ("a seal beside text that is not JSON", called("write_file", json!("\u{1}".repeat(20_000)), seal(40_000))),
        (
            "a seal beside a path that is too long",
            called("write_file", json!({"path": "\u{1}".repeat(20_000), "content": "x"}), seal(40_000)),
        ),
    ] {
        let (worker, log) = states(kinds).await;
        assert_eq!(worker, log, "{what}");
        let file = log.calls().find(|call| call.tool == "write_file" && call.input.get("path") == Some(&json!("a.txt")));
        assert!(file.is_none_or(|call| call.input["content"] == "x"), "{what}");
    }
    let (worker, _) = states(called("write_file", with("unknown", 20_000), seal(40_000))).await;
    assert_eq!(worker.calls().next().expect("a call").input["path"], "a.txt", "its file is known");
}

#[test]
fn every_byte_of_an_answer_is_counted_once_for_every_delivery() {
    let long = json!({"path": "a.txt", "content": "x".repeat(10_000)}).to_string();
    for delivery in DELIVERIES {
        let mut translator = AnswerTranslator::default();
        for event in model_events("write_file", &long, delivery) {
            translator.count(&event);
            translator.translate(event);
        }
        assert_eq!((translator.bytes, translator.calls), (long.len() + "write_file".len(), 1), "{delivery:?}");
    }
}
