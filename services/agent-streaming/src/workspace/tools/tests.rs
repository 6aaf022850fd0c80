use serde_json::json;

use super::*;
use crate::workspace::overlay::{
    Content, Overlay,
    tests::{LIMITS, Memory},
};
use proto::project_storage::ProjectLimits;

const APP: &str = "function add(a, b) {\n  return a + b;\n}\n\nfunction sub(a, b) {\n  return a - b;\n}\n";

fn project() -> Memory {
    Memory::new(&[("index.html", "<h1>Hi</h1>\n<p>Hi</p>\n"), ("src/app.js", APP), ("empty.txt", "")]).with_binary("logo.png", b"\x89PNG")
}

async fn call(base: &Memory, overlay: &mut Overlay, tool: &str, input: Value) -> ToolOutcome {
    execute(overlay, base, &specs(&catalogue::NAMES), tool, &input).await.expect("the base is there")
}

async fn once(tool: &str, input: Value) -> ToolOutcome {
    let base = project();
    call(&base, &mut base.overlay(), tool, input).await
}

async fn failure(tool: &str, input: Value) -> Failure {
    let base = project();
    let mut overlay = base.overlay();
    let outcome = call(&base, &mut overlay, tool, input).await;
    assert_eq!(overlay.changes(), [], "a refusal changes nothing");
    let failure = outcome.failure.expect("a refusal");
    assert!(outcome.content.starts_with(&format!("{}: {}.", failure.reason, failure.message)), "{}", outcome.content);
    failure
}

#[tokio::test]
async fn files_are_listed_with_their_sizes() {
    let outcome = once("list_files", json!({})).await;
    assert_eq!(outcome.content, "4 files:\nempty.txt (0 bytes)\nindex.html (22 bytes)\nlogo.png (4 bytes)\nsrc/app.js (79 bytes)\n");
    assert_eq!((outcome.summary.as_str(), outcome.file), ("4 files", None));
    assert_eq!(once("list_files", json!({"path": "src/"})).await.content, "1 file:\nsrc/app.js (79 bytes)\n");
    assert_eq!(once("list_files", json!({"path": "x"})).await.content, "No path begins with x.\n");
    let empty = Memory::new(&[]);
    assert_eq!(call(&empty, &mut empty.overlay(), "list_files", json!({})).await.content, "The project has no files yet.\n");
}

#[tokio::test]
async fn a_long_list_is_cut_and_says_how_to_continue() {
    let paths: Vec<String> = (0..1_000).map(|n| format!("{n:04}{}", "x".repeat(90))).collect();
    let base = Memory::new(&paths.iter().map(|p| (p.as_str(), "")).collect::<Vec<_>>());
    let content = call(&base, &mut base.overlay(), "list_files", json!({})).await.content;
    assert!(content.len() < 50 * 1024 && content.ends_with(" more files; list a part with path]\n"), "{}", content.len());
}

#[tokio::test]
async fn files_and_ranges_of_lines_are_read() {
    let whole = once("read_file", json!({"path": "src/app.js"})).await;
    assert_eq!((whole.content, whole.summary), (format!("src/app.js, lines 1 to 7 of 7:\n{APP}"), "7 lines of src/app.js".into()));
    let part = once("read_file", json!({"path": "src/app.js", "start_line": 2, "end_line": 3})).await;
    assert_eq!(
        (part.content.as_str(), part.summary.as_str()),
        ("src/app.js, lines 2 to 3 of 7:\n  return a + b;\n}\n", "lines 2 to 3 of src/app.js")
    );
    assert_eq!(
        once("read_file", json!({"path": "src/app.js", "start_line": 7, "end_line": 99})).await.content,
        "src/app.js, lines 7 to 7 of 7:\n}\n"
    );
    assert_eq!(once("read_file", json!({"path": "empty.txt"})).await.content, "empty.txt is empty.");
    assert_eq!(
        once("read_file", json!({"path": "logo.png"})).await.content,
        "logo.png is a binary file of 4 bytes; it cannot be shown as text."
    );
    assert_eq!(failure("read_file", json!({"path": "src/app.js", "start_line": 8})).await.reason, "INVALID_ARGUMENTS");
    assert_eq!(failure("read_file", json!({"path": "src/app.js", "start_line": 3, "end_line": 2})).await.reason, "INVALID_ARGUMENTS");
    assert_eq!(failure("read_file", json!({"path": "app.js"})).await.message, "there is no file app.js; there is src/app.js");
}

#[tokio::test]
async fn long_files_are_read_in_parts() {
    let text: String = (0..5_000).map(|n| format!("line {n} é\n")).collect();
    let base = Memory::new(&[("long.txt", &text), ("wide.txt", &"é".repeat(40_000))]);
    let mut overlay = Overlay::new(base.entries(), ProjectLimits { file_bytes: 100_000, ..LIMITS });
    let (mut joined, mut start) = (String::new(), 1);
    loop {
        let content = call(&base, &mut overlay, "read_file", json!({"path": "long.txt", "start_line": start})).await.content;
        assert!(content.len() <= 49 * 1024);
        let (_, body) = content.split_once('\n').unwrap();
        let Some((body, note)) = body.split_once("\n[the file continues; read on with start_line ") else {
            joined.push_str(body);
            break;
        };
        joined.push_str(body);
        start = note.trim_end_matches(']').parse().unwrap();
        assert_eq!(read::whole_text(&content), None);
    }
    assert_eq!(joined, text);
    let wide = call(&base, &mut overlay, "read_file", json!({"path": "wide.txt"})).await.content;
    assert!(wide.len() < 49 * 1024 && wide.ends_with("[line 1 is too long to show and was cut]"));
    assert_eq!(read::whole_text(&wide), None);
}

#[tokio::test]
async fn the_text_of_a_complete_file_is_found_in_a_result() {
    let content = once("read_file", json!({"path": "src/app.js"})).await.content;
    assert_eq!(read::whole_text(&content), Some(APP));
    assert_eq!(read::whole_text("empty.txt is empty."), Some(""));
    for other in ["src/app.js, lines 1 to 3 of 7:\nx", "FILE_NOT_FOUND: x", "x\ny"] {
        assert_eq!(read::whole_text(other), None, "{other}");
    }
}

#[tokio::test]
async fn search_ignores_case() {
    let outcome = once("search", json!({"query": "RETURN a"})).await;
    assert_eq!(outcome.content, "src/app.js:2: return a + b;\nsrc/app.js:6: return a - b;");
    assert_eq!(outcome.summary, "2 matches of \"RETURN a\"");
    assert_eq!(once("search", json!({"query": "hi", "path": "src/"})).await.content, "No line of 1 file contains \"hi\".");
    for query in ["", " ", "a\nb"] {
        assert_eq!(failure("search", json!({"query": query})).await.reason, "INVALID_ARGUMENTS");
    }
    let base = Memory::new(&[("a", &"x\n".repeat(101))]);
    let many = call(&base, &mut base.overlay(), "search", json!({"query": "x"})).await;
    assert_eq!((many.content.lines().count(), many.summary.as_str()), (101, "the first 100 matches of \"x\""));
}

#[tokio::test]
async fn tools_see_earlier_changes() {
    let base = project();
    let mut overlay = base.overlay();
    let created = call(&base, &mut overlay, "write_file", json!({"path": "new.js", "content": "let x = 1;\n"})).await;
    assert_eq!(created.content, "created new.js: 1 line, 11 bytes.");
    let effect = FileEffect { path: "new.js".into(), from: None, operation: FileOperation::Write, size: 11 };
    assert_eq!(created.file, Some(effect));
    let edited =
        call(&base, &mut overlay, "edit_file", json!({"path": "new.js", "old_text": "x = 1", "new_text": "y = 22;\nlet z = 3"})).await;
    assert_eq!(edited.summary, "edited new.js at line 1: 1 line became 2 lines");
    assert_eq!(edited.file.map(|f| (f.operation, f.size)), Some((FileOperation::Edit, 23)));
    let renamed = call(&base, &mut overlay, "rename_file", json!({"path": "new.js", "new_path": "lib/new.js"})).await;
    let effect = FileEffect { path: "lib/new.js".into(), from: Some("new.js".into()), operation: FileOperation::Rename, size: 23 };
    assert_eq!(renamed.file, Some(effect));
    assert_eq!(call(&base, &mut overlay, "search", json!({"query": "let z"})).await.content, "lib/new.js:2: let z = 3;");
    assert_eq!(
        call(&base, &mut overlay, "write_file", json!({"path": "lib/new.js", "content": ""})).await.content,
        "replaced lib/new.js: 0 lines, 0 bytes."
    );
    let deleted = call(&base, &mut overlay, "delete_file", json!({"path": "lib/new.js"})).await;
    assert_eq!((deleted.content.as_str(), deleted.file.map(|f| f.size)), ("deleted lib/new.js.", Some(0)));
    assert_eq!(overlay.changes(), []);
}

#[tokio::test]
async fn an_edit_needs_exactly_one_match() {
    let edit = |old: &str| json!({"path": "src/app.js", "old_text": old, "new_text": "new"});
    let none = failure("edit_file", edit("function sub(a, b) {\n    return a - b;\n}")).await;
    assert_eq!((none.reason, none.nearest_line), ("NO_MATCH", 5));
    assert_eq!(none.nearest_region, "function sub(a, b) {\n  return a - b;\n}");
    let many = failure("edit_file", edit("(a, b) {\n  return")).await;
    assert_eq!((many.reason, many.nearest_line), ("MANY_MATCHES", 1));
    assert_eq!(many.message, "old_text occurs 2 times in src/app.js, at lines 1, 5; add lines around it until it is unique");
    let far = failure("edit_file", edit("zzzzqqqq")).await;
    assert_eq!((far.reason, far.nearest_line, far.nearest_region.as_str()), ("NO_MATCH", 0, ""));
    assert_eq!(failure("edit_file", edit("")).await.reason, "INVALID_ARGUMENTS");
    assert_eq!(failure("edit_file", json!({"path": "index.html", "old_text": "Hi", "new_text": "Hi"})).await.reason, "INVALID_ARGUMENTS");
    assert_eq!(failure("edit_file", json!({"path": "logo.png", "old_text": "P", "new_text": "Q"})).await.reason, "NO_MATCH");
    assert_eq!(failure("edit_file", json!({"path": "x", "old_text": "P", "new_text": "Q"})).await.reason, "FILE_NOT_FOUND");
}

#[tokio::test]
async fn refusals_describe_the_problem() {
    for (tool, input, reason, words) in [
        ("bash", json!({}), "UNKNOWN_TOOL", "there are list_files, read_file"),
        ("write_file", json!({"path": "a"}), "INVALID_ARGUMENTS", "missing field `content`"),
        ("write_file", json!("{\"path\":"), "INVALID_ARGUMENTS", "not one complete JSON object"),
        ("write_file", json!({"path": 7, "content": ""}), "INVALID_ARGUMENTS", "invalid type"),
        ("write_file", json!({"path": "/etc/passwd", "content": ""}), "INVALID_PATH", "relative to the project"),
        ("write_file", json!({"path": "SRC/app.js", "content": ""}), "INVALID_PATH", "differs from src only in case"),
        ("write_file", json!({"path": "src", "content": ""}), "INVALID_PATH", "it is a folder"),
        ("write_file", json!({"path": "big", "content": "x".repeat(1_001)}), "FILE_TOO_LARGE", "the limit of a file is 1000"),
        ("delete_file", json!({"path": "gone"}), "FILE_NOT_FOUND", "no file gone"),
        ("rename_file", json!({"path": "empty.txt", "new_path": "index.html"}), "FILE_EXISTS", "index.html exists"),
        ("rename_file", json!({"path": "empty.txt", "new_path": "a/../b"}), "INVALID_PATH", "a part . or .."),
    ] {
        let failure = failure(tool, input.clone()).await;
        assert_eq!(failure.reason, reason, "{tool} {input}");
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_refused_change_names_its_file() {
    let outcome = once("write_file", json!({"path": "../x", "content": "1"})).await;
    let effect = FileEffect { path: "../x".into(), from: None, operation: FileOperation::Write, size: 0 };
    assert_eq!(outcome.file, Some(effect));
    assert_eq!(once("write_file", json!({"content": "1"})).await.file, None);
    let broken = once("write_file", json!(r#"{"path":"a.js","content":"x"#)).await;
    assert_eq!(broken.file.map(|file| file.path).as_deref(), Some("a.js"), "viewers have seen it opened");
}

#[tokio::test]
async fn a_rename_keeps_binary_content() {
    let base = project();
    let mut overlay = base.overlay();
    call(&base, &mut overlay, "rename_file", json!({"path": "logo.png", "new_path": "img/logo.png"})).await;
    let contents = overlay.read(&base, &["img/logo.png"]).await.unwrap();
    assert_eq!(contents, [("img/logo.png".into(), Content::Binary((&b"\x89PNG"[..]).into()))]);
}

/// Valid arguments of every tool, with the files that they need.
#[tokio::test]
async fn valid_arguments_are_accepted() {
    let text = "one\ntwo\n";
    let files = [("a", text), ("empty", ""), ("one-line", "x")];
    let content = |content: &str| json!({"path": "a", "content": content});
    for (tool, input, path, result) in [
        ("write_file", json!({"path": ".gitkeep", "content": ""}), ".gitkeep", Some("")),
        ("write_file", content(""), "a", Some("")),
        ("write_file", content("\n"), "a", Some("\n")),
        ("write_file", content(" "), "a", Some(" ")),
        ("write_file", content("\u{feff}a\r\n"), "a", Some("\u{feff}a\r\n")),
        ("write_file", content("a\0b"), "a", Some("a\0b")),
        ("write_file", content("\u{fffd}"), "a", Some("\u{fffd}")),
        ("write_file", content("null"), "a", Some("null")),
        ("edit_file", json!({"path": "a", "old_text": text, "new_text": ""}), "a", Some("")),
        ("edit_file", json!({"path": "one-line", "old_text": "x", "new_text": "\n"}), "one-line", Some("\n")),
        ("edit_file", json!({"path": "a", "old_text": "\nt", "new_text": "t"}), "a", Some("onetwo\n")),
        ("delete_file", json!({"path": "empty"}), "empty", None),
        ("rename_file", json!({"path": "empty", "new_path": "b/.gitkeep"}), "b/.gitkeep", Some("")),
        ("read_file", json!({"path": "empty"}), "empty", Some("")),
        ("read_file", json!({"path": "a", "start_line": 0}), "a", Some(text)),
        ("read_file", json!({"path": "a", "start_line": 1, "end_line": 1}), "a", Some(text)),
        ("search", json!({"query": "x", "path": ""}), "a", Some(text)),
        ("list_files", json!({"path": ""}), "a", Some(text)),
    ] {
        let base = Memory::new(&files);
        let mut overlay = base.overlay();
        let outcome = call(&base, &mut overlay, tool, input.clone()).await;
        assert_eq!(outcome.failure, None, "{tool} {input}");
        let found = overlay.read(&base, &[path]).await.unwrap().pop();
        assert_eq!(found, result.map(|text| (path.to_owned(), Content::Text(text.into()))), "{tool} {input}");
    }
}

#[tokio::test]
async fn a_path_resolves_to_the_existing_file() {
    let files = [("src/app.js", "x\n"), ("caf\u{e9}.txt", "x\n"), (" odd", "odd\n"), (".hidden", "")];
    for (path, meant) in [
        ("src/app.js", "src/app.js"),
        ("./src/app.js", "src/app.js"),
        ("/src/app.js", "src/app.js"),
        (".//src/./app.js/", "src/app.js"),
        ("src\\app.js", "src/app.js"),
        (".\\src\\app.js", "src/app.js"),
        (" src/app.js\n", "src/app.js"),
        ("cafe\u{301}.txt", "caf\u{e9}.txt"),
        ("/cafe\u{301}.txt", "caf\u{e9}.txt"),
        (" odd", " odd"),
    ] {
        for (tool, more) in [
            ("read_file", json!({})),
            ("write_file", json!({"content": "y"})),
            ("edit_file", json!({"old_text": "\n", "new_text": "y"})),
            ("delete_file", json!({})),
        ] {
            let base = Memory::new(&files);
            let mut overlay = base.overlay();
            let mut input = more.clone();
            input["path"] = json!(path);
            let outcome = call(&base, &mut overlay, tool, repair(tool, input)).await;
            assert_eq!(outcome.failure, None, "{tool} {path:?}");
            assert!(outcome.summary.contains(meant), "{tool} {path:?}: {}", outcome.summary);
            let changed: Vec<_> = overlay.changes().into_iter().map(|change| change.path).collect();
            if tool != "read_file" {
                assert_eq!(changed, [meant], "{tool} {path:?}");
                assert_eq!(outcome.file.map(|file| file.path).as_deref(), Some(meant), "{tool} {path:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_new_path_is_normalized_or_refused() {
    let write = |path: &str| repair("write_file", json!({"path": path, "content": "x"}));
    for (path, meant) in [("./new/a.js", "new/a.js"), ("././b", "b"), ("n\u{303}.txt", "\u{f1}.txt")] {
        let outcome = once("write_file", write(path)).await;
        assert_eq!((outcome.failure, outcome.file.map(|file| file.path).as_deref()), (None, Some(meant)));
    }
    for (path, words) in [
        ("/new.js", "begins with /; paths are relative"),
        ("new\\a.js", "has a backslash"),
        ("new//a.js", "has an empty part"),
        ("new/../a.js", "has a part . or .."),
        ("", "is empty"),
    ] {
        let refusal = failure("write_file", write(path)).await;
        assert_eq!(refusal.reason, "INVALID_PATH", "{path:?}");
        assert!(refusal.message.contains(words), "{path:?}: {}", refusal.message);
    }
    let missing = failure("read_file", json!({"path": "/gone.js"})).await;
    assert_eq!(missing.reason, "FILE_NOT_FOUND");
    assert!(missing.message.ends_with("; it begins with /; paths are relative to the project, such as src/app.js"), "{}", missing.message);
    let outcome = once("rename_file", repair("rename_file", json!({"path": "/empty.txt", "new_path": "./docs/e.txt"}))).await;
    assert_eq!(outcome.summary, "renamed empty.txt to docs/e.txt");
    assert_eq!(failure("rename_file", json!({"path": "empty.txt", "new_path": "/index.html"})).await.reason, "FILE_EXISTS");
}

#[tokio::test]
async fn a_prefix_resolves_to_existing_files() {
    let base = Memory::new(&[("src/app.js", "x"), ("src2.js", "x"), (".hidden", "x")]);
    for (path, files) in [
        ("", 3),
        (".", 3),
        ("./", 3),
        ("/", 3),
        ("src", 2),
        ("src/", 1),
        ("./src/", 1),
        ("/src/", 1),
        ("src\\", 1),
        (" src/ ", 1),
        (".h", 1),
        ("/gone", 0),
    ] {
        let mut overlay = base.overlay();
        let listed = call(&base, &mut overlay, "list_files", repair("list_files", json!({"path": path}))).await;
        assert_eq!(listed.summary, count(files, "file"), "{path:?}");
        let found = call(&base, &mut overlay, "search", repair("search", json!({"query": "x", "path": path}))).await;
        assert!(found.summary.starts_with(&format!("{files} match")), "{path:?}: {}", found.summary);
    }
}

#[tokio::test]
async fn the_summary_of_an_edit_names_ignored_differences() {
    let base = Memory::new(&[("a.txt", "one\r\ntwo\r\n")]);
    let mut overlay = base.overlay();
    let edit = |old: &str, new: &str| json!({"path": "a.txt", "old_text": old, "new_text": new});
    let edited = call(&base, &mut overlay, "edit_file", edit("one\ntwo", "one\n2")).await;
    assert_eq!(edited.content, "edited a.txt at line 1: 2 lines became 2 lines; matched although the line endings differ.");
    let same = call(&base, &mut overlay, "edit_file", edit("one\n2", "one\r\n2")).await.failure.expect("a refusal");
    assert_eq!(same.reason, "INVALID_ARGUMENTS");
    assert!(same.message.starts_with("nothing would change: "), "{}", same.message);
    let contents = overlay.read(&base, &["a.txt"]).await.unwrap();
    assert_eq!(contents[0].1, Content::Text("one\r\n2\r\n".into()));
}

#[tokio::test]
async fn a_tool_that_the_agent_does_not_have_is_unknown() {
    let base = project();
    let mut overlay = base.overlay();
    let reading = specs(&["read_file", "search"]);
    for (tool, input) in [
        ("write_file", json!({"path": "a", "content": "x"})),
        ("edit_file", json!({"path": "index.html", "old_text": "<p>Hi</p>", "new_text": ""})),
        ("delete_file", json!({"path": "index.html"})),
        ("rename_file", json!({"path": "index.html", "new_path": "a"})),
        ("list_files", json!({})),
        ("bash", json!({})),
    ] {
        let outcome = execute(&mut overlay, &base, &reading, tool, &input).await.expect("the base is there");
        let failure = outcome.failure.expect(tool);
        assert_eq!((failure.reason, failure.message), ("UNKNOWN_TOOL", format!("there is no tool {tool:?}; there are read_file, search")));
    }
    assert_eq!(overlay.changes(), []);
    let none = execute(&mut overlay, &base, &[], "read_file", &json!({"path": "index.html"})).await.expect("the base is there");
    assert_eq!(none.failure.map(|failure| failure.message).as_deref(), Some("there is no tool \"read_file\"; there are none"));
}
