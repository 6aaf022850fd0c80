//! Merges: two changes of the same file are merged if their lines do not overlap.

use proto::{
    error::ErrorCode,
    project_storage::{CommitOutcome, OnConflict, SaveProjectRequest},
};

use crate::harness::{Cluster, Turn, commit, delete, listing, reason, rename, update, write};

const BASE: &str = "one\ntwo\nthree\n";

#[tokio::test]
async fn a_turn_and_a_save_of_one_file_are_merged() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let base = ann.save(&project, vec![write("a", BASE), write("m", "moved\n")]).await.expect("saved").revision.expect("a revision").id;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "one").await.expect("begun");
    let changes = vec![write("a", "one\ntwo\n3\n"), rename("m", "lib/m")];
    let head = ann.save(&project, changes).await.expect("saved").revision.expect("a revision").id;

    let result = turn.result(&base, vec![write("a", "1\ntwo\nthree\n"), update("m", "edited\n"), write("new", "x")]);
    let merged = commit(&turn.agent, result.clone()).await.expect("committed");
    let revision = merged.revision.clone().expect("a revision");
    assert_eq!((merged.outcome(), revision.number, revision.parent_ids), (CommitOutcome::Committed, 3, vec![head]));
    let stat = revision.diff_stat.expect("a stat");
    assert_eq!((stat.modified, stat.added, stat.deleted), (2, 1, 0), "the differences to the head");
    assert_eq!(ann.files(&project).await, ["a=1\ntwo\n3\n", "lib/m=edited\n", "new=x"]);
    assert_eq!(commit(&turn.agent, result).await.expect("repeated"), merged);
    // Another replica, with an empty cache, reads the same.
    let (uri, _stop) = cluster.replica().await;
    let elsewhere = crate::harness::Person { client: cluster.client_at(chassis::identity::Caller::Gateway, &uri), ..ann };
    assert_eq!(elsewhere.files(&project).await, ["a=1\ntwo\n3\n", "lib/m=edited\n", "new=x"]);
}

#[tokio::test]
async fn two_turns_of_one_base_are_merged_and_a_third_conflicts() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let base = ann.save(&project, vec![write("a", BASE)]).await.expect("saved").revision.expect("a revision").id;
    let turns = [Turn::new(&cluster), Turn::new(&cluster), Turn::new(&cluster), Turn::new(&cluster)];
    for turn in &turns {
        turn.begin(&ann, &project, "go").await.expect("begun");
    }
    let [first, second, third, fourth] = &turns;
    let outcome = async |turn: &Turn, text: &str| {
        commit(&turn.agent, turn.result(&base, vec![write("a", text)])).await.map(|answer| (answer.outcome(), answer.conflict_paths))
    };
    assert_eq!(outcome(first, "1\ntwo\nthree\n").await.expect("committed").0, CommitOutcome::Committed);
    assert_eq!(outcome(second, "one\ntwo\n3\n").await.expect("committed").0, CommitOutcome::Committed);
    assert_eq!(outcome(third, "first\ntwo\nthree\n").await.expect("conflicted"), (CommitOutcome::Conflicted, vec!["a".to_owned()]));
    // Later turns are not affected. This one changes nothing.
    assert_eq!(outcome(fourth, "1\ntwo\nthree\n").await.expect("unchanged").0, CommitOutcome::Unchanged);
    assert_eq!(ann.files(&project).await, ["a=1\ntwo\n3\n"]);
}

#[tokio::test]
async fn a_save_merges_on_request() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let base = ann.save(&project, vec![write("a", BASE), write("b", "\u{0}bin")]).await.expect("saved").revision.expect("a revision").id;
    let changes = vec![write("a", "one\ntwo\n3\n"), write("b", "\u{0}BIN")];
    let head = ann.save(&project, changes).await.expect("saved").revision.expect("a revision").id;
    let on_base = |on_conflict: i32, changes| SaveProjectRequest {
        project_id: project.clone(),
        base_revision: base.clone(),
        changes,
        on_conflict,
        ..Default::default()
    };
    let mergeable = || vec![write("a", "1\ntwo\nthree\n"), write("c", "new")];
    for fails in [OnConflict::Unspecified, OnConflict::Fail] {
        assert_eq!(reason(ann.send(on_base(fails.into(), mergeable())).await), "STALE_REVISION");
    }
    let fault = ann.send(on_base(7, mergeable())).await.expect_err("an error");
    assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "on_conflict"));
    let merge = |changes| on_base(OnConflict::Merge.into(), changes);

    // Overlapping lines, a binary file on both sides, the deletion of an edited file: no part of the save is applied.
    for (changes, paths) in [
        (vec![write("a", "one\ntwo\nIII\n"), write("c", "new")], "a"),
        (vec![write("b", "\u{0}bIn")], "b"),
        (vec![delete("a"), write("b", "\u{0}bIn")], "a\nb"),
    ] {
        let fault = ann.send(merge(changes)).await.expect_err("stale");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "STALE_REVISION"));
        assert_eq!((fault.metadata["paths"].as_str(), fault.metadata["head"].clone()), (paths, format!("\"{head}\"")));
    }
    let snapshot = SaveProjectRequest { replace: true, ..merge(mergeable()) };
    assert_eq!(reason(ann.send(snapshot).await), "STALE_REVISION");
    assert_eq!(ann.load(&project).await.expect("a project").project.expect("a project").head_revision, head);

    let saved = ann.send(merge(mergeable())).await.expect("merged");
    assert_eq!(saved.revision.expect("a revision").parent_ids, [head]);
    assert_eq!(listing(&ann.load(&project).await.expect("a project"))[0], "a=1\ntwo\n3\n");
    let sizes: Vec<_> = saved.files.iter().map(|file| (file.path.as_str(), file.size_bytes)).collect();
    assert_eq!(sizes, [("a", 8), ("c", 3)], "the answer has the size of the merged file");
}

#[tokio::test]
async fn a_repeat_may_name_the_default() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let request = |on_conflict: OnConflict| SaveProjectRequest {
        project_id: project.clone(),
        changes: vec![write("a", "1")],
        request_id: "r".into(),
        on_conflict: on_conflict.into(),
        ..Default::default()
    };
    let first = ann.send(request(OnConflict::Unspecified)).await.expect("saved");
    let repeated = ann.send(request(OnConflict::Fail)).await.expect("repeated");
    assert_eq!(repeated, proto::project_storage::SaveProjectResponse { replayed: true, ..first });
    assert_eq!(reason(ann.send(request(OnConflict::Merge)).await), "KEY_REUSED");
}

#[tokio::test]
async fn a_text_that_a_merge_makes_too_large_is_a_conflict() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let base = ann.save(&project, vec![write("a", BASE), write("m", "1\n")]).await.expect("saved").revision.expect("a revision").id;
    let half = "x".repeat(30_000);
    ann.save(&project, vec![write("a", &format!("{half}\n{BASE}"))]).await.expect("saved");
    let merge = SaveProjectRequest {
        project_id: project.clone(),
        base_revision: base.clone(),
        changes: vec![write("b", "1"), write("a", &format!("{BASE}{half}\n"))],
        on_conflict: OnConflict::Merge.into(),
        ..Default::default()
    };
    let fault = ann.send(merge).await.expect_err("too large");
    assert_eq!((fault.code, fault.reason.as_str(), fault.metadata["paths"].as_str()), (ErrorCode::Conflict, "STALE_REVISION", "a"));
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "go").await.expect("begun");
    let result = turn.result(&base, vec![write("a", &format!("{BASE}{half}\n"))]);
    assert_eq!(commit(&turn.agent, result).await.expect("kept").outcome(), CommitOutcome::Conflicted);
    assert_eq!(ann.files(&project).await.len(), 2, "neither of the two was written");
}
