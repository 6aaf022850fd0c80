use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::workspace::tools::catalogue;

fn problem(tool: &str, input: Value) -> String {
    check(tool, &repair(tool, input)).expect_err("a refusal").message
}

/// Valid arguments of every tool, including empty values.
fn valid() -> Vec<(&'static str, Value)> {
    let long = "x".repeat(200_000);
    let mut valid = vec![
        ("list_files", json!({})),
        ("list_files", json!({"path": ""})),
        ("list_files", json!({"path": "src/"})),
        ("read_file", json!({"path": "a.js"})),
        ("read_file", json!({"path": "a.js", "start_line": 0})),
        ("read_file", json!({"path": "a.js", "start_line": 1, "end_line": 18_446_744_073_709_551_615_u64})),
        ("search", json!({"query": "x"})),
        ("search", json!({"query": "\u{a0}\u{feff}", "path": ""})),
        ("edit_file", json!({"path": "a.js", "old_text": "x", "new_text": ""})),
        ("edit_file", json!({"path": "a.js", "old_text": " ", "new_text": "\t"})),
        ("edit_file", json!({"path": "a.js", "old_text": "\u{feff}", "new_text": "\r\n"})),
        ("edit_file", json!({"path": "a.js", "old_text": "x", "new_text": long})),
        ("delete_file", json!({"path": ".gitkeep"})),
        ("rename_file", json!({"path": "a.js", "new_path": "b/c d/é.js"})),
    ];
    let contents =
        ["", "\n", "\r\n", " ", "\u{feff}", "\u{feff}x\n", "a\0b", "\u{fffd}", "null", "{}", "\"", "\\", "```", "😀\u{301}", &long];
    valid.extend(contents.map(|content| ("write_file", json!({"path": ".gitkeep", "content": content}))));
    valid
}

#[test]
fn valid_arguments_are_unchanged() {
    for (tool, input) in valid() {
        assert_eq!(repair(tool, input.clone()), input, "{tool}");
        assert_eq!(repair(tool, Value::String(input.to_string())), input, "{tool}, from its text");
        assert_eq!(check(tool, &input), Ok(()), "{tool} {}", clipped(&input.to_string()));
    }
}

#[test]
fn unambiguous_arguments_are_repaired() {
    let write = json!({"path": "a.js", "content": "x"});
    let edit = json!({"path": "a.js", "old_text": "x", "new_text": "y"});
    let read = json!({"path": "a.js", "start_line": 3});
    for (tool, input, repaired) in [
        ("write_file", json!(r#"{"path":"a.js","content":"x",}"#), &write),
        ("write_file", json!("```json\n{\"path\":\"a.js\",\"content\":\"x\"}\n```"), &write),
        ("write_file", json!(json!(write.to_string()).to_string()), &write),
        ("write_file", json!({"input": {"path": "a.js", "content": "x"}}), &write),
        ("write_file", json!({"arguments": write.to_string()}), &write),
        ("write_file", json!({"parameters": {"filePath": "a.js", "contents": "x"}}), &write),
        ("write_file", json!({"file_path": "a.js", "content": "x"}), &json!({"content": "x", "path": "a.js"})),
        ("write_file", json!({"path": "./a.js", "content": "x"}), &write),
        ("write_file", json!({"path": "e\u{301}.js", "content": "x"}), &json!({"path": "é.js", "content": "x"})),
        ("write_file", json!({"path": "a", "content": 42}), &json!({"path": "a", "content": "42"})),
        ("write_file", json!({"path": "a", "content": false}), &json!({"path": "a", "content": "false"})),
        (
            "write_file",
            json!({"path": "a.JSON", "content": {"b": [1, null], "a": {}}}),
            &json!({"path": "a.JSON", "content": "{\n  \"b\": [\n    1,\n    null\n  ],\n  \"a\": {}\n}\n"}),
        ),
        ("edit_file", json!({"filePath": "a.js", "oldText": "x", "new-text": "y"}), &edit),
        ("edit_file", json!({"path": "a.js", "old_string": "x", "new_string": "y"}), &edit),
        ("edit_file", json!({"path": "a.js", "old_text": 1, "new_text": 2}), &json!({"path": "a.js", "old_text": "1", "new_text": "2"})),
        ("read_file", json!({"path": "a.js", "start_line": "3"}), &read),
        ("read_file", json!({"path": "a.js", "start_line": " 3.0 "}), &read),
        ("read_file", json!({"path": "a.js", "start_line": 3.0, "end_line": null}), &read),
        ("read_file", json!({"path": "a.js", "startLine": 3, "end_line": ""}), &read),
        ("search", json!({"query": 404, "path": null}), &json!({"query": "404"})),
        ("list_files", json!("null"), &json!({})),
        ("list_files", json!({"path": null}), &json!({})),
        ("list_files", json!({"input": {}}), &json!({})),
        ("list_files", json!({"path": "./src/"}), &json!({"path": "src/"})),
        ("rename_file", json!({"old_path": "a", "newPath": "b"}), &json!({"path": "a", "new_path": "b"})),
    ] {
        let found = repair(tool, input.clone());
        assert!(found == *repaired, "{tool} {input}: {found}");
        assert_eq!(check(tool, &found), Ok(()), "{tool} {input}");
        assert_eq!(repair(tool, found.clone()), found, "a second repair changes nothing");
    }
}

#[test]
fn other_arguments_are_refused_with_the_problem_and_the_parameters() {
    let float = json!({"path": "a.json", "content": {"a": 0.1}});
    for (tool, input, words) in [
        ("write_file", json!(r#"{"path":"a.js","content":"x"#), "not one complete JSON object (EOF while parsing a string"),
        ("write_file", json!(r#"{"path":"a.js","content":"\d"}"#), "(invalid escape"),
        ("write_file", json!(r#"{"path":"a.js","content":"\ud83d"}"#), "hex escape"),
        ("write_file", json!("[]"), "not one complete JSON object"),
        ("write_file", json!({"path": "a.js"}), "missing field `content`"),
        ("write_file", json!({}), "missing field `path`"),
        ("write_file", json!({"path": "a.js", "content": null}), "invalid type: content is null, and must be a string"),
        ("write_file", json!({"path": "a.js", "content": ["x", "y"]}), "content is an array, and must be a string"),
        ("write_file", json!({"path": "a.js", "content": {"x": 1}}), "content is an object"),
        ("write_file", float, "content is an object"),
        ("write_file", json!({"path": "a.js", "content": 1.5}), "content is 1.5"),
        ("write_file", json!({"path": 7, "content": "x"}), "invalid type: path is 7"),
        ("write_file", json!({"input": {"path": "a.js"}, "content": "x"}), "missing field `path`"),
        ("write_file", json!({"file": "a", "filename": "b", "content": "x"}), "missing field `path`"),
        ("edit_file", json!({"path": "a", "old_text": "x", "new_text": null}), "new_text is null"),
        ("read_file", json!({"path": "a", "start_line": -1}), "start_line is -1, and must be a whole number from 1"),
        ("read_file", json!({"path": "a", "start_line": 1.5}), "start_line is 1.5"),
        ("read_file", json!({"path": "a", "start_line": "first"}), "start_line is \"first\""),
        ("read_file", json!({"path": "a", "start_line": 1e300}), "start_line is 1e+300"),
        ("read_file", json!({"path": "a", "end_line": [3]}), "end_line is an array"),
        ("search", json!({"pattern": "x"}), "missing field `query`"),
    ] {
        let message = problem(tool, input.clone());
        assert!(message.contains(words), "{tool} {input}: {message}");
        assert!(message.contains(&format!("; {tool} takes ")) && message.contains("but the arguments are: "), "{message}");
    }
    let message = problem("read_file", json!({"start_line": 1, "note": "é".repeat(500)}));
    let shown = "read_file takes path (string), start_line (integer, optional), end_line (integer, optional), but the arguments are: {\"start_line\":1,";
    assert!(message.contains(shown) && message.ends_with(" more bytes]") && message.len() < 800, "{message}");
}

#[test]
fn a_parameter_takes_precedence_over_its_alias() {
    let both = repair("write_file", json!({"path": "a.js", "file_path": "b.js", "content": "x", "contents": "y"}));
    assert_eq!((&both["path"], &both["content"]), (&json!("a.js"), &json!("x")));
}

#[test]
fn refused_arguments_are_still_refused_after_they_are_cut_for_the_log() {
    let long = "x".repeat(100_000);
    for input in [
        json!(format!(r#"{{"path":"a.js","content":"{long}"#)),
        json!(format!(r#"{{"path":"a.js","content":"{}"}} {{}}"#, "x".repeat(KEPT_BYTES - 29) + "\"}" + &long)),
        json!({"path": "a.js", "content": [long]}),
        json!({"path": "a.js", "content": {"x": long}}),
        json!({"path": [long], "content": "x"}),
        json!({"content": "x", "other": long}),
    ] {
        let repaired = repair("write_file", input);
        assert!(repaired.to_string().len() < event::TEXT_BYTES);
        check("write_file", &repaired).expect_err("a refusal");
        assert_eq!(repair("write_file", repaired.clone()), repaired);
    }
    let long_path = repair("write_file", json!({"path": long, "content": "x"}));
    assert!(proto::path::check(long_path["path"].as_str().expect("a path")).is_err());
    let other = repair("write_file", json!({"path": "a.js", "content": "x", "other": long}));
    assert_eq!(other, json!({"path": "a.js", "content": "x"}));
}

/// Pieces of arguments as models write them.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "\\",
        "\\n",
        "\n",
        " ",
        "```",
        "path",
        "content",
        "a.json",
        "input",
        "\"path\":\"a.js\"",
        "\"content\":\"x\"",
        "null",
        "7",
        "file_path",
        "\\ud83d",
        "😀",
        "{\"path\":\"a.js\",\"content\":\"",
    ];
    prop::sample::select(pieces.to_vec()).prop_map(str::to_owned)
}

proptest! {
    /// Cut arguments are refused, unless only characters after the last brace are missing.
    #[test]
    fn cut_arguments_are_never_repaired_to_another_call(
        content in "(\\PC|[\n\"\\\\{},]){0,20}", style in 0..5_u8, cut in any::<prop::sample::Index>(),
    ) {
        let input = json!({"path": "a.js", "content": content});
        let text = match style {
            0 => input.to_string(),
            1 => json!(input.to_string()).to_string(),
            2 => format!("```json\n{input:#}\n```"),
            3 => json!({"input": input}).to_string(),
            _ => json!({"arguments": input.to_string()}).to_string(),
        };
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        prop_assert_eq!(&repair("write_file", json!(text)), &input);
        let repaired = repair("write_file", json!(text[..ends[cut.index(ends.len())]]));
        prop_assert!(repaired == input || check("write_file", &repaired).is_err(), "{}", repaired);
    }

    #[test]
    fn repair_is_idempotent(pieces in prop::collection::vec(piece(), 0..12), tool in prop::sample::select(catalogue::NAMES.to_vec())) {
        let repaired = repair(tool, json!(pieces.concat()));
        prop_assert_eq!(repair(tool, repaired.clone()), repaired);
    }
}
