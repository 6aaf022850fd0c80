//! The staged files of running turns.

use prost::Message as _;
use proto::{
    agent_streaming::{
        CancelTurnRequest, GetStagedFileRequest, ListStagedFilesRequest, ListStagedFilesResponse, StagedFile, StepSuperseded, TurnEvent,
        staged_content::Data, turn_event::Kind,
    },
    error::{ErrorCode, Fault},
};
use serde_json::{Value, json};

use crate::harness::{Cluster, Person, User, prompt, save};

async fn list(person: &Person, turn: &str) -> Result<ListStagedFilesResponse, Fault> {
    let answer = person.turns.clone().list_staged_files(ListStagedFilesRequest { turn_id: turn.to_owned() }).await;
    answer.map(tonic::Response::into_inner).map_err(|status| Fault::from_status(&status))
}

async fn file(person: &Person, turn: &str, path: &str) -> Result<StagedFile, Fault> {
    let answer = person.turns.clone().get_staged_file(GetStagedFileRequest { turn_id: turn.to_owned(), path: path.to_owned() }).await;
    answer.map(|answer| answer.into_inner().file.unwrap()).map_err(|status| Fault::from_status(&status))
}

async fn text(person: &Person, turn: &str, path: &str) -> String {
    match file(person, turn, path).await.unwrap().content.and_then(|content| content.data) {
        Some(Data::Text(text)) => text,
        other => panic!("{path}: {other:?}"),
    }
}

/// Starts a turn that makes calls and then waits for the model. Returns its id.
async fn staged(person: &mut Person, draft: &str, calls: &Value) -> String {
    let turn = person.start(prompt(draft, &format!("TOOLS_HANG {calls}"))).await;
    let waits = |event: &TurnEvent| matches!(&event.kind, Some(Kind::TextDelta(delta)) if delta.text == "wait");
    person.follow_until(&turn.id, 0, waits).await.1.unwrap();
    turn.id
}

/// Makes a user a viewer of a project.
async fn invite(cluster: &Cluster, project: &str, user: &User) {
    let insert = sqlx::query("INSERT INTO members (project_id, user_id, role) VALUES ($1::uuid, $2::uuid, 1)");
    insert.bind(project).bind(user.id.0).execute(&mut cluster.files_db().await).await.unwrap();
}

fn calls() -> Value {
    let write = |path: &str, text: &str| json!(["write_file", json!({ "path": path, "content": text }).to_string()]);
    json!([
        write("a.txt", "one"),
        ["edit_file", json!({ "path": "a.txt", "old_text": "one", "new_text": "two" }).to_string()],
        ["edit_file", json!({ "path": "a.txt", "old_text": "absent", "new_text": "x" }).to_string()],
        ["read_file", json!({ "path": "kept.txt" }).to_string()],
        ["rename_file", json!({ "path": "old.txt", "new_path": "new.txt" }).to_string()],
        ["delete_file", json!({ "path": "gone.txt" }).to_string()],
        write("same.txt", "same"),
    ])
}

#[tokio::test]
async fn every_replica_has_the_staged_files_of_a_running_turn() {
    let cluster = Cluster::start(&[]).await;
    let (replica, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let base = [("gone.txt", "gone"), ("kept.txt", "kept"), ("old.txt", "moved"), ("same.txt", "same")];
    let (project, revision) = save(&person, "d", &base).await;
    let turn = staged(&mut person, "d", &calls()).await;
    // The head is another one now. The turn works on its base.
    save(&person, "d", &[("kept.txt", "newer")]).await;

    let second = cluster.replica();
    let mut elsewhere = user.at(&second);
    elsewhere.run(prompt("warm2", "SAY up")).await;
    let listed = list(&person, &turn).await.unwrap();
    assert_eq!(list(&elsewhere, &turn).await.unwrap(), listed);
    let shape: Vec<_> = listed.files.iter().map(|file| (file.path.as_str(), file.size_bytes, file.is_changed)).collect();
    assert_eq!(shape, [("a.txt", 3, true), ("kept.txt", 4, false), ("new.txt", 5, true), ("same.txt", 4, false)]);
    assert_eq!(listed.base_revision, revision);
    assert!(listed.files.iter().all(|file| file.content.is_none()) && listed.seq > 0 && listed.tree_id.len() == 40);
    for (path, content) in [("a.txt", "two"), ("kept.txt", "kept"), ("new.txt", "moved"), ("same.txt", "same")] {
        assert_eq!(text(&elsewhere, &turn, path).await, content, "{path}");
    }
    let etag = |path: &str| listed.files.iter().find(|file| file.path == path).map(|file| file.etag.clone()).unwrap();
    assert_eq!(file(&person, &turn, "a.txt").await.unwrap().etag, etag("a.txt"));
    for path in ["gone.txt", "old.txt", "../x"] {
        let fault = file(&person, &turn, path).await.unwrap_err();
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::NotFound, "FILE_NOT_FOUND"), "{path}");
    }

    // A committed tree of these files has the same id.
    let saved = save(&person, "copy", &[("a.txt", "two"), ("kept.txt", "kept"), ("new.txt", "moved"), ("same.txt", "same")]).await.0;
    let mut db = cluster.files_db().await;
    let tree: String = sqlx::query_scalar("SELECT encode(tree, 'hex') FROM ref_log WHERE project_id = $1::uuid")
        .bind(&saved)
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(listed.tree_id, tree);

    // After a crash the next worker goes on with the same files.
    replica.crash();
    let events = elsewhere.see(&turn).await;
    assert!(events.iter().any(|event| matches!(event.kind, Some(Kind::TurnConflicted(_) | Kind::TurnCompleted(_)))), "{events:?}");
    let (ended, fault) = (elsewhere.turn(&turn).await, list(&elsewhere, &turn).await.unwrap_err());
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "TURN_NOT_RUNNING"));
    assert_eq!(fault.metadata["state"], "completed");
    assert_eq!(fault.metadata["revision"], ended.revision);
    assert_eq!(elsewhere.load(&project).await.files.len(), 4);
}

#[tokio::test]
async fn the_log_of_a_turn_is_not_folded_again_for_each_file() {
    let cluster = Cluster::start(&[]).await;
    let (replica, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    save(&person, "d", &[("gone.txt", "gone"), ("kept.txt", "kept"), ("old.txt", "moved"), ("same.txt", "same")]).await;
    let turn = staged(&mut person, "d", &calls()).await;
    let listed = list(&person, &turn).await.unwrap();
    // Events that cannot be read any more: whoever reads them finds no change.
    let lost = sqlx::query("UPDATE turn_events SET payload = '' WHERE turn_id = $1::uuid");
    let mut db = cluster.turns_db().await;
    assert!(lost.bind(&turn).execute(&mut db).await.unwrap().rows_affected() > 10);
    assert_eq!(list(&person, &turn).await.unwrap(), listed);
    assert_eq!(text(&person, &turn, "a.txt").await, "two");
    // A later event is added to what is known.
    let copy = "INSERT INTO turn_events (turn_id, seq, payload) SELECT turn_id, seq + 1, payload FROM turn_events
                WHERE turn_id = $1::uuid AND seq = $2";
    sqlx::query(copy).bind(&turn).bind(i32::try_from(listed.seq).unwrap()).execute(&mut db).await.unwrap();
    let later = list(&person, &turn).await.unwrap();
    assert_eq!((later.seq, &later.tree_id, &later.files), (listed.seq + 1, &listed.tree_id, &listed.files));
    // When a step is tried again, the changes of the finished ones are made again on the base.
    let seq = later.seq + 1;
    let superseded = Kind::StepSuperseded(StepSuperseded { from: later.seq, to: later.seq });
    let payload = TurnEvent { kind: Some(superseded), ..TurnEvent::default() }.encode_to_vec();
    let insert = sqlx::query("INSERT INTO turn_events (turn_id, seq, payload) VALUES ($1::uuid, $2, $3)");
    insert.bind(&turn).bind(i32::try_from(seq).unwrap()).bind(payload).execute(&mut db).await.unwrap();
    let again = list(&person, &turn).await.unwrap();
    assert_eq!((again.seq, &again.tree_id, &again.files), (seq, &listed.tree_id, &listed.files));
}

#[tokio::test]
async fn staged_files_are_for_those_who_may_read_the_project() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let (owner, viewer, stranger) = (cluster.user(), cluster.user(), cluster.user());
    let (mut person, other, nobody) = (owner.at(&replica), viewer.at(&replica), stranger.at(&replica));
    person.run(prompt("warm", "SAY up")).await;
    let turn = staged(&mut person, "d", &json!([["write_file", json!({ "path": "a.txt", "content": "one" }).to_string()]])).await;
    let project = person.turn(&turn).await.project_id;
    let waiting = person.start(prompt("d", "SAY later")).await;

    let absent = proto::id::TurnId::generate().to_string();
    for (who, id) in [(&nobody, &turn), (&nobody, &absent), (&person, &absent), (&other, &turn), (&nobody, &waiting.id)] {
        for fault in [list(who, id).await.unwrap_err(), file(who, id, "a.txt").await.unwrap_err()] {
            assert_eq!(
                (fault.code, fault.reason.as_str(), fault.message.as_str()),
                (ErrorCode::NotFound, "TURN_NOT_FOUND", "the turn does not exist")
            );
        }
    }
    invite(&cluster, &project, &viewer).await;
    let listed = list(&other, &turn).await.unwrap();
    assert_eq!((listed.files.len(), listed.base_revision.as_str()), (1, ""), "a project that had no files");
    assert_eq!(text(&other, &turn, "a.txt").await, "one");

    let fault = list(&other, &waiting.id).await.unwrap_err();
    assert_eq!((fault.code, fault.reason.as_str(), &*fault.metadata["state"]), (ErrorCode::Conflict, "TURN_NOT_RUNNING", "queued"));
    person.turns.cancel_turn(CancelTurnRequest { turn_id: turn.clone() }).await.unwrap();
    let fault = file(&other, &turn, "a.txt").await.unwrap_err();
    assert_eq!((fault.reason.as_str(), &*fault.metadata["state"]), ("TURN_NOT_RUNNING", "cancelled"));

    for (id, path, field) in [("x", "a.txt", "turn_id"), (&*turn, "", "path"), (&*turn, &*"é".repeat(256), "path")] {
        let fault = file(&person, id, path).await.unwrap_err();
        let fields: Vec<_> = fault.violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!((fault.reason.as_str(), fields), ("INVALID_FIELD", vec![field]));
    }
}
