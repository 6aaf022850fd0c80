//! Turns from their beginning to their end.

use proto::{
    error::ErrorCode,
    id::ProjectId,
    project_storage::{
        Actor, BeginTurnRequest, CommitOutcome, CommitTurnRequest, ListTurnMessagesRequest, MessageRole, ReadTurnFilesRequest, TurnEnd,
        TurnOutcome,
    },
};

use crate::harness::{Cluster, Turn, answer, commit, conversation, create, delete, listing, reason, with_token, without_user, write};

#[tokio::test]
async fn a_turn_begins_only_on_a_revision_of_its_project() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let (project, other) = (ann.create().await.id, ann.create().await.id);
    let mine = ann.save(&project, vec![write("a", "1")]).await.expect("saved").revision.expect("a revision").id;
    let theirs = ann.save(&other, vec![write("a", "2")]).await.expect("saved").revision.expect("a revision").id;
    ann.save(&project, vec![write("a", "3")]).await.expect("saved");
    let unknown = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    for (project_id, draft_id, base, expected) in [
        (project.as_str(), "", mine.as_str(), None),
        (&project, "", "", None),
        (&project, "", &theirs, Some("REVISION_NOT_FOUND")),
        (&project, "", unknown, Some("REVISION_NOT_FOUND")),
        (&project, "", "abc", Some("INVALID_FIELD")),
        ("", "new", &mine, Some("REVISION_NOT_FOUND")),
    ] {
        let turn = Turn::new(&cluster);
        let begin = BeginTurnRequest {
            turn_id: turn.id.clone(),
            project_id: project_id.into(),
            draft_id: draft_id.into(),
            prompt: "a clock".into(),
            base_revision: base.into(),
            ..Default::default()
        };
        let begun = answer(turn.agent.clone().begin_turn(with_token(begin, &ann.token)).await);
        assert_eq!(begun.err().map(|fault| fault.reason).as_deref(), expected, "{base}");
    }
    assert_eq!(cluster.count("SELECT count(*) FROM projects").await, 2, "no draft became a project");
    assert_eq!(cluster.count("SELECT count(*) FROM messages").await, 2, "a refused turn adds no message");
}

#[tokio::test]
async fn a_turn_from_prompt_to_revision() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let turn = Turn::new(&cluster);
    let begin = BeginTurnRequest { turn_id: turn.id.clone(), draft_id: "d1".into(), prompt: "a clock".into(), ..Default::default() };
    let project = answer(turn.agent.clone().begin_turn(with_token(begin.clone(), &ann.token)).await).expect("begun").project_id;
    // A repeat begins the same turn. Another prompt is an error.
    assert_eq!(answer(turn.agent.clone().begin_turn(with_token(begin.clone(), &ann.token)).await).expect("begun").project_id, project);
    let other = BeginTurnRequest { prompt: "a watch".into(), ..begin.clone() };
    assert_eq!(reason(answer(turn.agent.clone().begin_turn(with_token(other, &ann.token)).await)), "KEY_REUSED");
    assert_eq!(turn.tree("").await.expect("a tree"), (String::new(), vec![]));

    let result = turn.result("", vec![create("index.html", "<p>"), create("js/clock.js", "tick")]);
    let committed = commit(&turn.agent, result.clone()).await.expect("committed");
    let revision = committed.revision.clone().expect("a revision");
    assert_eq!((committed.outcome(), revision.number, revision.actor()), (CommitOutcome::Committed, 1, Actor::Agent));
    assert_eq!(
        (revision.turn_id.as_str(), revision.user_id.clone(), revision.message.as_str()),
        (turn.id.as_str(), ann.id.to_string(), "Build a clock")
    );
    let loaded = ann.load(&project).await.expect("a project");
    assert_eq!(listing(&loaded), ["index.html=<p>", "js/clock.js=tick"]);
    let project_now = loaded.project.expect("a project");
    assert_eq!((project_now.display_name.as_str(), project_now.head_revision), ("a clock", revision.id.clone()));
    let messages = conversation(&ann, &project).await;
    let found: Vec<_> = messages.iter().map(|m| (m.role(), m.text.as_str(), m.partial, m.revision.as_str())).collect();
    assert_eq!(found, [(MessageRole::User, "a clock", false, ""), (MessageRole::Assistant, "done", false, revision.id.as_str())]);

    // A repeat returns the same. Another change set and an end are errors.
    assert_eq!(commit(&turn.agent, result.clone()).await.expect("repeated"), committed);
    assert_eq!(
        reason(commit(&turn.agent, CommitTurnRequest { digest: vec![8; 32].into(), ..result.clone() }).await),
        "TURN_DIGEST_MISMATCH"
    );
    let fault = turn.end(TurnEnd::Cancelled, "half").await.expect_err("too late");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "TURN_ENDED"));
    assert_eq!(conversation(&ann, &project).await.len(), 2);
    assert_eq!(reason(commit(&turn.agent, CommitTurnRequest { digest: vec![7; 31].into(), ..result }).await), "INVALID_FIELD");
}

#[tokio::test]
async fn a_turn_reads_the_tree_it_works_on() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let base = ann.save(&project, vec![write("b", "1"), write("a/c", "2")]).await.expect("saved").revision.expect("a revision").id;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "more").await.expect("begun");
    ann.save(&project, vec![write("later", "3")]).await.expect("saved");
    assert_eq!(turn.tree(&base).await.expect("a tree"), (base.clone(), vec!["a/c".into(), "b".into()]));
    assert_eq!(turn.tree("").await.expect("a tree").1, ["a/c", "b", "later"]);
    let read = |revision: &str, paths: &[&str]| {
        let paths = paths.iter().map(|p| (*p).to_owned()).collect();
        let message = ReadTurnFilesRequest { turn_id: turn.id.clone(), revision: revision.into(), paths, any_size: false };
        let mut agent = turn.agent.clone();
        async move {
            answer(agent.read_turn_files(without_user(message)).await).map(|r| r.files.into_iter().map(|f| f.path).collect::<Vec<_>>())
        }
    };
    assert_eq!(read(&base, &["b", "later", "nothing", "a/c"]).await.expect("files"), ["b", "a/c"]);
    assert_eq!(read(&base, &[]).await.expect("files"), ["a/c", "b"]);
    assert!(read("", &[]).await.expect("files").is_empty(), "no revision is no files");
    assert_eq!(reason(turn.tree("4b825dc642cb6eb9a060e54bf8d69288fbee4904").await), "REVISION_NOT_FOUND");
    assert_eq!(reason(Turn::new(&cluster).tree("").await), "TURN_NOT_FOUND");
}

#[tokio::test]
async fn a_turn_reads_the_messages_before_it() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = Turn::new(&cluster);
    first.begin(&ann, &project, "one").await.expect("begun");
    commit(&first.agent, first.result("", vec![])).await.expect("unchanged");
    let second = Turn::new(&cluster);
    second.begin(&ann, &project, "two").await.expect("begun");
    second.end(TurnEnd::Failed, "half\0way").await.expect("ended");
    let third = Turn::new(&cluster);
    third.begin(&ann, &project, "three").await.expect("begun");
    let before = |limit: i32| {
        let message = ListTurnMessagesRequest { turn_id: third.id.clone(), limit, ..Default::default() };
        let mut agent = third.agent.clone();
        async move {
            answer(agent.list_turn_messages(without_user(message)).await)
                .map(|r| r.messages.into_iter().map(|m| m.text).collect::<Vec<_>>())
        }
    };
    assert_eq!(before(1_000).await.expect("messages"), ["one", "done", "two", "half\u{fffd}way"]);
    assert_eq!(before(2).await.expect("messages"), ["two", "half\u{fffd}way"]);
    assert_eq!(reason(before(1_001).await), "INVALID_FIELD");
    let messages = conversation(&ann, &project).await;
    assert_eq!(messages.iter().map(|m| m.partial).collect::<Vec<_>>(), [false, false, false, true, false]);
}

#[tokio::test]
async fn the_conversation_has_the_outcome_of_each_turn() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let turn = async |prompt: &str| {
        let turn = Turn::new(&cluster);
        turn.begin(&ann, &project, prompt).await.expect("begun");
        turn
    };
    let committed = turn("commit").await;
    commit(&committed.agent, committed.result("", vec![write("a", "1\n")])).await.expect("committed");
    let base = ann.load(&project).await.expect("a project").revision.expect("a revision").id;
    let unchanged = turn("nothing").await;
    commit(&unchanged.agent, unchanged.result(&base, vec![])).await.expect("unchanged");
    let conflicted = turn("conflict").await;
    ann.save(&project, vec![write("a", "2\n")]).await.expect("saved");
    commit(&conflicted.agent, conflicted.result(&base, vec![write("a", "3\n")])).await.expect("conflicted");
    turn("fail").await.end_with_reason(TurnEnd::Failed, "half", "PROVIDER_ERROR").await.expect("failed");
    turn("fail without an answer").await.end(TurnEnd::Failed, "").await.expect("failed");
    turn("stop").await.end(TurnEnd::Cancelled, "half").await.expect("cancelled");
    turn("wait").await;
    let outcomes: Vec<_> = conversation(&ann, &project)
        .await
        .into_iter()
        .filter(|message| message.role() == MessageRole::User)
        .map(|message| (message.text.clone(), message.turn_outcome(), message.conflict_paths.join(","), message.failure_reason))
        .collect();
    let expected = [
        ("commit", TurnOutcome::Committed, "", ""),
        ("nothing", TurnOutcome::Unchanged, "", ""),
        ("conflict", TurnOutcome::Conflicted, "a", ""),
        ("fail", TurnOutcome::Failed, "", "PROVIDER_ERROR"),
        ("fail without an answer", TurnOutcome::Failed, "", ""),
        ("stop", TurnOutcome::Cancelled, "", ""),
        ("wait", TurnOutcome::Open, "", ""),
    ];
    assert_eq!(outcomes, expected.map(|(text, outcome, paths, reason)| (text.to_owned(), outcome, paths.to_owned(), reason.to_owned())));
}

#[tokio::test]
async fn an_invalid_failure_reason_is_refused() {
    let cluster = Cluster::start().await;
    for (end, reason) in [
        (TurnEnd::Failed, "A".repeat(65)),
        (TurnEnd::Failed, "two words".to_owned()),
        (TurnEnd::Cancelled, "PROVIDER_ERROR".to_owned()),
        (TurnEnd::Withdrawn, "PROVIDER_ERROR".to_owned()),
    ] {
        let refused = Turn::new(&cluster).end_with_reason(end, "", &reason).await.expect_err("an error");
        assert_eq!(refused.violations[0].field, "failure_reason", "{reason}");
    }
}

#[tokio::test]
async fn a_turn_without_a_difference_is_unchanged() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let base = ann.save(&project, vec![write("a", "1")]).await.expect("saved").revision.expect("a revision").id;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "talk to me").await.expect("begun");
    let result = turn.result(&base, vec![write("a", "1")]);
    let answered = commit(&turn.agent, result.clone()).await.expect("unchanged");
    assert_eq!((answered.outcome(), &answered.revision), (CommitOutcome::Unchanged, &None));
    assert_eq!(commit(&turn.agent, result).await.expect("repeated"), answered);
    assert_eq!(ann.load(&project).await.expect("a project").project.expect("a project").head_revision, base);
    assert_eq!(conversation(&ann, &project).await[1].text, "done");
}

#[tokio::test]
async fn a_turn_is_merged_or_kept_on_a_branch() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let base = ann.save(&project, vec![write("a", "1"), write("b", "1")]).await.expect("saved").revision.expect("a revision").id;
    let (merging, conflicting) = (Turn::new(&cluster), Turn::new(&cluster));
    merging.begin(&ann, &project, "one").await.expect("begun");
    conflicting.begin(&ann, &project, "two").await.expect("begun");
    ann.save(&project, vec![write("a", "by ann")]).await.expect("saved");
    let merged = commit(&merging.agent, merging.result(&base, vec![write("b", "by turn")])).await.expect("committed");
    assert_eq!(merged.outcome(), CommitOutcome::Committed);
    assert_eq!(ann.files(&project).await, ["a=by ann", "b=by turn"]);

    let result = conflicting.result(&base, vec![write("a", "by turn"), delete("b"), write("c", "new")]);
    let conflicted = commit(&conflicting.agent, result.clone()).await.expect("conflicted");
    let own = conflicted.revision.clone().expect("its own commit");
    assert_eq!((conflicted.outcome(), conflicted.conflict_paths.clone()), (CommitOutcome::Conflicted, vec!["a".into(), "b".into()]));
    assert_eq!((own.number, own.parent_ids.clone()), (0, vec![base.clone()]));
    assert_eq!(commit(&conflicting.agent, result).await.expect("repeated"), conflicted);
    assert_eq!(ann.files(&project).await, ["a=by ann", "b=by turn"], "the head is unchanged");
    assert_eq!(listing(&ann.load_at(&project, &own.id).await.expect("the turn's tree")), ["a=by turn", "c=new"]);
    let answer = conversation(&ann, &project).await.pop().expect("an answer");
    assert_eq!((answer.text.as_str(), answer.revision.as_str()), ("done", own.id.as_str()));
    assert_eq!(
        cluster.count("SELECT count(*) FROM refs WHERE name LIKE 'refs/conflicts/%' AND expires_at BETWEEN now() + interval '29 days' AND now() + interval '31 days'").await,
        1
    );
    sqlx::query("UPDATE refs SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL")
        .execute(&cluster.database.pool)
        .await
        .expect("ended");
    assert_eq!(reason(ann.load_at(&project, &own.id).await), "REVISION_NOT_FOUND");
}

#[tokio::test]
async fn an_ended_turn_stays_ended() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "hello").await.expect("begun");
    turn.end(TurnEnd::Cancelled, "").await.expect("ended");
    turn.end(TurnEnd::Cancelled, "again").await.expect("repeated");
    turn.end(TurnEnd::Failed, "again").await.expect("repeated");
    assert_eq!(conversation(&ann, &project).await.len(), 1);
    let fault = commit(&turn.agent, turn.result("", vec![write("a", "1")])).await.expect_err("ended");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "TURN_ENDED"));
    assert_eq!(reason(turn.begin(&ann, &project, "hello").await), "TURN_ENDED");
    assert!(ann.files(&project).await.is_empty());

    // A turn that ended before it began.
    let late = Turn::new(&cluster);
    late.end(TurnEnd::Failed, "lost").await.expect("recorded as ended");
    assert_eq!(reason(late.begin(&ann, &project, "hello").await), "TURN_ENDED");
    assert_eq!(reason(commit(&late.agent, late.result("", vec![])).await), "TURN_ENDED");
    assert_eq!(reason(commit(&late.agent, Turn::new(&cluster).result("", vec![])).await), "TURN_NOT_FOUND");
}

#[tokio::test]
async fn the_role_of_the_user_is_checked_on_each_call() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    let turn = Turn::new(&cluster);
    assert_eq!(reason(turn.begin(&bob, &project, "hello").await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(turn.begin(&ann, &ProjectId::generate().to_string(), "hello").await), "PROJECT_NOT_FOUND");
    assert_eq!(cluster.count("SELECT count(*) FROM turns").await, 0);
    let role = |role: i16| {
        sqlx::query("INSERT INTO members (project_id, user_id, role) SELECT id, $1, $2 FROM projects ON CONFLICT (project_id, user_id) DO UPDATE SET role = $2")
            .bind(bob.id.0)
            .bind(role)
            .execute(&cluster.database.pool)
    };
    role(1).await.expect("a viewer");
    assert_eq!(reason(turn.begin(&bob, &project, "hello").await), "ROLE_REQUIRED");
    role(2).await.expect("an editor");
    turn.begin(&bob, &project, "hello").await.expect("begun");
    role(1).await.expect("a viewer again");
    assert!(turn.tree("").await.is_ok());
    assert_eq!(reason(commit(&turn.agent, turn.result("", vec![write("a", "1")])).await), "ROLE_REQUIRED");
    sqlx::query("DELETE FROM members WHERE user_id = $1").bind(bob.id.0).execute(&cluster.database.pool).await.expect("removed");
    assert_eq!(reason(turn.tree("").await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(commit(&turn.agent, turn.result("", vec![write("a", "1")])).await), "PROJECT_NOT_FOUND");
    turn.end(TurnEnd::Failed, "half").await.expect("a turn can always be ended");
    assert_eq!(conversation(&ann, &project).await.len(), 1, "no message is added for a user who is no member");
}

#[tokio::test]
async fn texts_have_limits() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    for (prompt, fits) in
        [("x".repeat(32 * 1024), true), ("x".repeat(32 * 1024 + 1), false), (String::new(), false), ("a\0b".into(), false)]
    {
        let result = Turn::new(&cluster).begin(&ann, &project, &prompt).await;
        assert_eq!(result.is_ok(), fits, "{} bytes", prompt.len());
        if let Err(fault) = result {
            assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "prompt"));
        }
    }
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "hello").await.expect("begun");
    let long = |bytes: usize| CommitTurnRequest { answer: "x".repeat(bytes), ..turn.result("", vec![]) };
    assert_eq!(reason(commit(&turn.agent, long(256 * 1024 + 1)).await), "INVALID_FIELD");
    assert_eq!(
        reason(commit(&turn.agent, turn.result("", (0..201).map(|n| write(&n.to_string(), "")).collect())).await),
        "TOO_MANY_CHANGES"
    );
    commit(&turn.agent, long(256 * 1024)).await.expect("at the limit");
}
