//! The parts of answers in the whole service.

use proto::{
    agent_streaming::{CancelTurnRequest, TurnEvent, turn_event},
    project_storage::{Message, ToolCallState, message_part::Kind},
};
use serde_json::json;

use crate::harness::{Cluster, Person, SOON, prompt, types};

fn is_waiting(event: &TurnEvent) -> bool {
    matches!(&event.kind, Some(turn_event::Kind::TextDelta(delta)) if delta.text.contains("wait"))
}

/// One line per part.
fn lines(message: &Message) -> Vec<String> {
    let line = |kind: &Kind| match kind {
        Kind::Text(text) => format!("text {text}"),
        Kind::ToolCall(call) => format!("{} {} {:?} {} {}", call.tool, call.arguments, call.state(), call.result, call.error_reason),
        Kind::File(file) => format!("{} {}", file.status().as_str_name(), file.path),
        Kind::Usage(_) => "usage".to_owned(),
        Kind::Omitted(count) => format!("omitted {count}"),
    };
    message.parts.iter().filter_map(|part| part.kind.as_ref()).map(line).collect()
}

/// The answer of a turn, when it is stored.
async fn answer(person: &mut Person, project: &str, turn: &str) -> Message {
    let found = chassis::testing::eventually(SOON, || {
        let mut person = person.clone();
        async move {
            let messages = person.messages(project).await;
            messages.into_iter().find(|message| message.turn_id == turn && message.role() == proto::project_storage::MessageRole::Assistant)
        }
    });
    found.await
}

#[tokio::test]
async fn an_answer_has_its_parts_after_the_loss_of_a_replica() {
    let cluster = Cluster::start(&[]).await;
    let (dying, user) = (cluster.replica(), cluster.user());
    let calls = json!([
        ["write_file", json!({ "path": "a.txt", "content": "one\n" }).to_string()],
        ["edit_file", json!({ "path": "a.txt", "old_text": "two", "new_text": "2" }).to_string()],
        ["list_files", "{}"],
    ]);
    let turn = user.at(&dying).start(prompt("d", &format!("TOOLS_HANG {calls}"))).await;
    user.at(&dying).follow_until(&turn.id, 0, is_waiting).await.1.unwrap();
    dying.crash();

    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.completed", "{:?}", events.last());
    let message = answer(&mut person, &turn.project_id, &turn.id).await;
    let lines = lines(&message);
    let text = format!("text {}", message.text);
    assert_eq!(lines[0], r#"write_file {"path":"a.txt"} Succeeded created a.txt: 1 line, 4 bytes "#, "{lines:?}");
    assert!(lines[1].starts_with(r#"edit_file {"#) && lines[1].contains(" Failed ") && lines[1].ends_with("NO_MATCH"), "{lines:?}");
    assert!(lines[2].starts_with("list_files {} Succeeded "), "{lines:?}");
    assert_eq!(lines[3..5], [text, "FILE_STATUS_ADDED a.txt".to_owned()], "{lines:?}");
}

#[tokio::test]
async fn a_cancelled_answer_has_the_parts_until_then() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let calls = json!([["list_files", "{}"]]);
    let turn = person.start(prompt("d", &format!("TOOLS_HANG {calls}"))).await;
    person.follow_until(&turn.id, 0, is_waiting).await.1.unwrap();
    person.turns.cancel_turn(CancelTurnRequest { turn_id: turn.id.clone() }).await.unwrap();
    let message = answer(&mut person, &turn.project_id, &turn.id).await;
    let lines = lines(&message);
    assert!(message.partial && lines[0].starts_with("list_files {} Succeeded "), "{lines:?}");
    assert_eq!(lines[1], format!("text {}", message.text), "{lines:?}");
    let question = person.messages(&turn.project_id).await.pop().unwrap();
    assert_eq!(question.parts[0].kind, Some(Kind::Text(question.text)));
    let calls =
        message.parts.iter().filter(|part| matches!(&part.kind, Some(Kind::ToolCall(call)) if call.state() != ToolCallState::Unfinished));
    assert_eq!(calls.count(), 1);
}
