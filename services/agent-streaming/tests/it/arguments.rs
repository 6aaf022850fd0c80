//! Arguments of tools in the whole service, before and after the loss of a replica.

use proto::{
    agent_streaming::{TurnEvent, turn_event::Kind},
    project_storage::{File, LoadProjectResponse, file_content::Data},
};
use serde_json::json;

use crate::harness::{Cluster, prompt, types};

/// The path and the text of every file.
fn texts(project: &LoadProjectResponse) -> Vec<(&str, &str)> {
    project.files.iter().map(|file| (file.path.as_str(), text(file))).collect()
}

fn text(file: &File) -> &str {
    match file.content.as_ref().and_then(|content| content.data.as_ref()) {
        Some(Data::Text(text)) => text,
        other => panic!("{}: {other:?}", file.path),
    }
}

/// An order for these calls, one per step. The arguments are the text that the provider sends.
fn order(word: &str, calls: &[(&str, String)]) -> String {
    format!("{word} {}", json!(calls))
}

fn is_waiting(event: &TurnEvent) -> bool {
    matches!(&event.kind, Some(Kind::TextDelta(delta)) if delta.text.contains("wait"))
}

#[tokio::test]
async fn empty_files_survive_the_loss_of_a_replica() {
    let cluster = Cluster::start(&[]).await;
    let (dying, user) = (cluster.replica(), cluster.user());
    let write = |path: &str, content: &str| ("write_file", json!({"path": path, "content": content}).to_string());
    let calls = [
        write(".gitkeep", ""),
        write("a.txt", "text"),
        write("a.txt", ""),
        write("line.txt", "\n"),
        ("write_file", r#"{"content":"","path":"b.txt",}"#.to_owned()),
        ("write_file", "```json\n{\"path\":\"./c.txt\",\"content\":\"fenced\"}\n```".to_owned()),
        ("edit_file", r#"{"filePath":"c.txt","oldText":"fenced","newText":""}"#.to_owned()),
        ("write_file", r#"{"path":"d.txt","content":"cut"#.to_owned()),
    ];
    let turn = user.at(&dying).start(prompt("d", &order("TOOLS_HANG", &calls))).await;
    let (before, end) = user.at(&dying).follow_until(&turn.id, 0, is_waiting).await;
    end.unwrap();
    assert_eq!(cluster.model.calls(), calls.len() + 1);
    dying.crash();

    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.completed", "{:?}", events.last());
    assert_eq!(events[..before.len()], before, "earlier events are unchanged");
    let rejected: Vec<_> =
        events.iter().filter_map(|e| if let Some(Kind::FileRejected(file)) = &e.kind { Some(&*file.path) } else { None }).collect();
    assert_eq!(rejected, ["d.txt"], "only the incomplete call");
    let project = person.load(&turn.project_id).await;
    assert_eq!(texts(&project), [(".gitkeep", ""), ("a.txt", ""), ("b.txt", ""), ("c.txt", ""), ("line.txt", "\n")]);
}

#[tokio::test]
async fn an_edited_file_keeps_its_line_endings() {
    let cluster = Cluster::start(&[]).await;
    let (dying, user) = (cluster.replica(), cluster.user());
    let file = "one\r\ntwo\r\nthree\r\n";
    let calls = [
        ("write_file", json!({"path": "win.txt", "content": file}).to_string()),
        ("edit_file", json!({"path": "/win.txt", "old_text": "one\ntwo\n", "new_text": "one\n2\nand more\n"}).to_string()),
    ];
    let turn = user.at(&dying).start(prompt("d", &order("TOOLS_HANG", &calls))).await;
    user.at(&dying).follow_until(&turn.id, 0, is_waiting).await.1.unwrap();
    dying.crash();

    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.completed", "{:?}", events.last());
    let summaries: Vec<_> =
        events.iter().filter_map(|e| if let Some(Kind::ToolOutput(out)) = &e.kind { Some(&*out.summary) } else { None }).collect();
    let edited = "edited win.txt at line 1: 2 lines became 3 lines; matched although the line endings differ";
    assert_eq!(summaries, ["created win.txt: 3 lines, 17 bytes", edited]);
    assert_eq!(texts(&person.load(&turn.project_id).await), [("win.txt", "one\r\n2\r\nand more\r\nthree\r\n")]);

    // A later turn edits the committed file in the same way.
    let calls = [("edit_file", json!({"path": "win.txt", "old_text": "more\nthree", "new_text": "3"}).to_string())];
    let request = proto::agent_streaming::StartTurnRequest { project_id: turn.project_id.clone(), ..prompt("", &order("TOOLS", &calls)) };
    let (_, events) = person.run(request).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.completed", "{:?}", events.last());
    assert_eq!(texts(&person.load(&turn.project_id).await), [("win.txt", "one\r\n2\r\nand 3\r\n")]);
}
