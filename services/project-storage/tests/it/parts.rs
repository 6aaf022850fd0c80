//! The parts of messages.

use proto::{
    parts::{ARGUMENT_BYTES, MAX_PARTS, TEXT_BYTES},
    project_storage::{
        ChangedFile, CommitOutcome, CommitTurnRequest, DeleteMessageRequest, FileStatus, ListTurnMessagesRequest, Message, MessagePart,
        TokenUsage, ToolCall, ToolCallState, TurnEnd, UpdateMessageRequest, message_part::Kind,
    },
};

use crate::harness::{Cluster, Person, Turn, answer, commit, conversation, delete, rename, without_user, write};

fn text(text: &str) -> MessagePart {
    Kind::Text(text.to_owned()).into()
}

fn call(arguments: &str) -> ToolCall {
    ToolCall {
        id: "c1".into(),
        tool: "edit_file".into(),
        arguments: arguments.into(),
        state: ToolCallState::Failed.into(),
        result: "not found".into(),
        error_reason: "NO_MATCH".into(),
    }
}

fn usage() -> MessagePart {
    Kind::Usage(TokenUsage { input_tokens: 30, output_tokens: 20, cached_input_tokens: 10, ..TokenUsage::default() }).into()
}

fn file(path: &str, status: FileStatus, old_path: &str, revision: &str) -> MessagePart {
    let (path, old_path, revision) = (path.into(), old_path.into(), revision.into());
    Kind::File(ChangedFile { path, status: status.into(), old_path, revision }).into()
}

async fn delete_message(person: &Person, message: &Message, project: &str) {
    let request = DeleteMessageRequest { project_id: project.into(), message_id: message.id.clone() };
    answer(person.client.clone().delete_message(person.request(request)).await).expect("deleted");
}

#[tokio::test]
async fn an_answer_has_its_texts_calls_files_and_usage_in_order() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let base = ann.save(&project, vec![write("a", "1"), write("b", "two"), write("c", "3")]).await.expect("saved");
    let base = base.revision.expect("a revision").id;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "a clok").await.expect("begun");
    let changes = vec![write("a", "4"), rename("b", "d"), delete("c"), write("e", "5")];
    let parts = vec![text("I look."), Kind::ToolCall(call("{\"a\":\0}")).into(), text("Done"), usage()];
    let request = CommitTurnRequest { parts, ..turn.result(&base, changes) };
    let committed = commit(&turn.agent, request.clone()).await.expect("committed");
    commit(&turn.agent, request).await.expect("a repeat");
    let revision = committed.revision.expect("a revision").id;
    let [question, reply] = &conversation(&ann, &project).await[..] else { panic!("two messages") };
    assert_eq!(question.parts, [text("a clok")]);
    let expected = [
        text("I look."),
        Kind::ToolCall(call("{\"a\":\u{fffd}}")).into(),
        text("Done"),
        file("a", FileStatus::Modified, "", &revision),
        file("c", FileStatus::Deleted, "", &revision),
        file("d", FileStatus::Renamed, "b", &revision),
        file("e", FileStatus::Added, "", &revision),
        usage(),
    ];
    assert_eq!((reply.parts.as_slice(), reply.text.as_str()), (&expected[..], "done"));

    let later = Turn::new(&cluster);
    later.begin(&ann, &project, "next").await.expect("begun");
    let request = ListTurnMessagesRequest { turn_id: later.id.clone(), limit: 50, ..ListTurnMessagesRequest::default() };
    let read = answer(later.agent.clone().list_turn_messages(without_user(request)).await).expect("messages").messages;
    assert!(read.len() == 2 && read.iter().all(|message| message.parts.is_empty()), "a turn reads texts only");
    later.end(TurnEnd::Cancelled, "").await.expect("ended");

    let edit = UpdateMessageRequest { project_id: project.clone(), message_id: question.id.clone(), text: "a clock".into() };
    let edited = answer(ann.client.clone().update_message(ann.request(edit)).await).expect("edited").message.expect("a message");
    assert_eq!(edited.parts, [text("a clock")]);
    delete_message(&ann, reply, &project).await;
    assert_eq!(conversation(&ann, &project).await[1].parts, []);
    assert_eq!(cluster.count("SELECT count(*) FROM messages WHERE parts IS NOT NULL").await, 0);
}

#[tokio::test]
async fn conflicts_partial_answers_and_old_answers_have_parts() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "write").await.expect("begun");
    ann.save(&project, vec![write("a", "theirs")]).await.expect("saved");
    let request = CommitTurnRequest { parts: vec![text("Done")], ..turn.result("", vec![write("a", "mine")]) };
    let conflicted = commit(&turn.agent, request).await.expect("an outcome");
    assert_eq!(conflicted.outcome(), CommitOutcome::Conflicted);
    let own = conflicted.revision.expect("a revision").id;
    assert_eq!(conversation(&ann, &project).await[1].parts, [text("Done"), file("a", FileStatus::Added, "", &own)]);

    let cancelled = Turn::new(&cluster);
    cancelled.begin(&ann, &project, "stop").await.expect("begun");
    let open = ToolCall { state: ToolCallState::Unfinished.into(), result: String::new(), error_reason: String::new(), ..call("{") };
    let parts = vec![text("I lo"), Kind::ToolCall(open).into()];
    cancelled.end_with_parts(TurnEnd::Cancelled, ("I lo", parts.clone()), "").await.expect("ended");
    assert_eq!(conversation(&ann, &project).await[3].parts, parts);

    let old = Turn::new(&cluster);
    old.begin(&ann, &project, "say").await.expect("begun");
    commit(&old.agent, old.result("", vec![])).await.expect("committed");
    assert_eq!(conversation(&ann, &project).await[5].parts, [text("done")]);
    // A commit that an agent of a release without parts has sealed.
    let sealed = Turn::new(&cluster);
    sealed.begin(&ann, &project, "write").await.expect("begun");
    let committed = commit(&sealed.agent, sealed.result("", vec![write("z", "1")])).await.expect("committed");
    let revision = committed.revision.expect("a revision").id;
    assert_eq!(conversation(&ann, &project).await[7].parts, [text("done"), file("z", FileStatus::Added, "", &revision)]);
}

#[tokio::test]
async fn long_parts_are_cut_and_not_refused() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "say").await.expect("begun");
    let long = Kind::ToolCall(call(&"x".repeat(ARGUMENT_BYTES + 1))).into();
    let many = std::iter::once(long).chain((0..MAX_PARTS + 1).map(|_| text(&"y".repeat(2000)))).collect();
    commit(&turn.agent, CommitTurnRequest { parts: many, ..turn.result("", vec![]) }).await.expect("committed");
    let parts = conversation(&ann, &project).await[1].parts.clone();
    let cut = ToolCall { arguments: "x".repeat(ARGUMENT_BYTES), ..call("") };
    assert_eq!(parts[0], MessagePart { kind: Some(Kind::ToolCall(cut)), truncated: true });
    let bytes = |part: &MessagePart| if let Some(Kind::Text(text)) = &part.kind { text.len() } else { 0 };
    let written = parts.iter().map(bytes).sum::<usize>();
    assert!(written == TEXT_BYTES && parts[parts.len() - 2].truncated);
    assert!(matches!(parts.last(), Some(MessagePart { kind: Some(Kind::Omitted(count)), .. }) if *count > 0));
}
