//! Reverts of revisions and turns, and their conflicts.

use chassis::identity::Caller;
use futures::future::join_all;
use proto::{
    error::Fault,
    id::{ConflictId, TurnId},
    project_storage::{
        CommitOutcome, Conflict, ConflictKind, FileChange, GetConflictRequest, GetConflictResponse, ListConflictsRequest,
        ListRevisionsRequest, ResolveConflictRequest, ResolveConflictResponse, ResolvedFile, RevertRevisionRequest, RevertRevisionResponse,
        Revision, Take,
    },
};

use crate::harness::{Cluster, Person, Turn, answer, commit, delete, reason, rename, update, write};

pub(crate) const TEN: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n";

/// Ten lines, of which some are replaced.
pub(crate) fn ten(replaced: &[(usize, &str)]) -> String {
    let line = |(at, old): (usize, &str)| {
        let new = replaced.iter().find(|(number, _)| *number == at + 1).map_or(old, |(_, new)| *new);
        format!("{new}\n")
    };
    TEN.lines().enumerate().map(line).collect()
}

impl Person {
    pub(crate) async fn revert(&self, request: RevertRevisionRequest) -> Result<RevertRevisionResponse, Box<Fault>> {
        answer(self.client.clone().revert_revision(self.request(request)).await)
    }

    /// Saves, and returns the id of the new revision.
    pub(crate) async fn edit(&self, project: &str, changes: Vec<FileChange>) -> String {
        self.save(project, changes).await.expect("saved").revision.expect("a revision").id
    }

    pub(crate) async fn conflicts(&self, project: &str) -> Result<Vec<Conflict>, Box<Fault>> {
        let request = ListConflictsRequest { project_id: project.into(), ..Default::default() };
        answer(self.client.clone().list_conflicts(self.request(request)).await).map(|listed| listed.conflicts)
    }

    pub(crate) async fn conflict(&self, project: &str, id: &str) -> Result<GetConflictResponse, Box<Fault>> {
        let request = GetConflictRequest { project_id: project.into(), turn_id: id.into() };
        answer(self.client.clone().get_conflict(self.request(request)).await)
    }

    /// Resolves a conflict with one side for each path.
    pub(crate) async fn take(&self, project: &str, id: &str, take: Take) -> Result<ResolveConflictResponse, Box<Fault>> {
        let found = self.conflict(project, id).await?;
        let files = found.files.iter().map(|file| ResolvedFile { path: file.path.clone(), take: take.into(), content: None }).collect();
        let request = ResolveConflictRequest {
            project_id: project.into(),
            turn_id: id.into(),
            base_revision: found.head_revision,
            files,
            ..Default::default()
        };
        answer(self.client.clone().resolve_conflict(self.request(request)).await)
    }

    pub(crate) async fn log(&self, project: &str) -> Vec<Revision> {
        let request = ListRevisionsRequest { project_id: project.into(), ..Default::default() };
        answer(self.client.clone().list_revisions(self.request(request)).await).expect("a log").revisions
    }

    /// Joins every project with a role.
    pub(crate) async fn join(&self, cluster: &Cluster, role: i16) {
        sqlx::query("INSERT INTO members (project_id, user_id, role) SELECT id, $1, $2 FROM projects ON CONFLICT DO NOTHING")
            .bind(self.id.0)
            .bind(role)
            .execute(&cluster.database.pool)
            .await
            .expect("a member");
    }
}

pub(crate) fn of(project: &str, revision: &str) -> RevertRevisionRequest {
    RevertRevisionRequest { project_id: project.into(), revision: revision.into(), ..Default::default() }
}

#[tokio::test]
async fn a_revert_takes_out_one_change() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = ann.edit(&project, vec![write("a", TEN), write("gone", "g"), write("old", "moved")]).await;
    let second =
        ann.edit(&project, vec![update("a", &ten(&[(2, "two")])), delete("gone"), write("new", "n"), rename("old", "moved")]).await;
    let third = ann.edit(&project, vec![update("a", &ten(&[(2, "two"), (9, "nine")])), write("later", "l")]).await;
    let ask = RevertRevisionRequest { request_id: "r1".into(), base_revision: third.clone(), ..of(&project, &second) };
    let reverted = ann.revert(ask.clone()).await.expect("reverted");
    let revision = reverted.revision.clone().expect("a revision");
    assert_eq!((reverted.outcome(), reverted.conflict_id.as_str(), reverted.replayed), (CommitOutcome::Committed, "", false));
    assert_eq!((revision.number, revision.message.as_str(), revision.undoes.as_str()), (4, "Revert revision 2", ""));
    assert_eq!(revision.parent_ids, std::slice::from_ref(&third));
    assert_eq!(reverted.project.as_ref().expect("a project").head_revision, revision.id);
    let expected = [format!("a={}", ten(&[(9, "nine")])), "gone=g".into(), "later=l".into(), "old=moved".into()];
    assert_eq!(ann.files(&project).await, expected);
    assert_eq!(
        ann.log(&project).await.iter().skip(1).map(|revision| revision.id.clone()).collect::<Vec<_>>(),
        [third, second.clone(), first.clone()]
    );

    // A repeat gets the same answer; the key of another request is refused.
    assert_eq!(ann.revert(ask.clone()).await.expect("repeated"), RevertRevisionResponse { replayed: true, ..reverted.clone() });
    assert_eq!(reason(ann.revert(RevertRevisionRequest { revision: first.clone(), ..ask.clone() }).await), "KEY_REUSED");
    let stale = RevertRevisionRequest { request_id: String::new(), ..ask };
    assert_eq!(reason(ann.revert(stale).await), "STALE_REVISION");

    // Nothing is left to revert, and a repeat says the same after other saves.
    let again = RevertRevisionRequest { request_id: "r2".into(), ..of(&project, &second) };
    let unchanged = ann.revert(again.clone()).await.expect("answered");
    assert_eq!((unchanged.outcome(), unchanged.revision.clone().expect("the head").id), (CommitOutcome::Unchanged, revision.id.clone()));
    ann.edit(&project, vec![write("later", "changed")]).await;
    assert_eq!(ann.revert(again).await.expect("repeated"), RevertRevisionResponse { replayed: true, ..unchanged });

    // The revert of a revert brings the change back.
    let message = RevertRevisionRequest { message: "Again".into(), ..of(&project, &revision.id) };
    assert_eq!(ann.revert(message).await.expect("reverted").revision.expect("a revision").message, "Again");
    let expected = [format!("a={}", ten(&[(2, "two"), (9, "nine")])), "later=changed".into(), "moved=moved".into(), "new=n".into()];
    assert_eq!(ann.files(&project).await, expected);
}

#[tokio::test]
async fn the_first_revision_is_reverted_to_no_files() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = ann.edit(&project, vec![write("a", "1"), write("b/c", "2")]).await;
    let reverted = ann.revert(of(&project, &first)).await.expect("reverted");
    assert_eq!(reverted.revision.expect("a revision").diff_stat.expect("a stat").deleted, 2);
    assert!(ann.files(&project).await.is_empty());
    let head = reverted.project.expect("a project").head_revision;
    ann.revert(of(&project, &head)).await.expect("reverted");
    ann.edit(&project, vec![write("d", "3")]).await;
    ann.revert(of(&project, &first)).await.expect("reverted");
    assert_eq!(ann.files(&project).await, ["d=3"]);
}

#[tokio::test]
async fn a_turn_is_reverted_by_its_id() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let base = ann.edit(&project, vec![write("a", TEN)]).await;
    let [committed, conflicted, unchanged] = [(); 3].map(|()| Turn::new(&cluster));
    for turn in [&committed, &conflicted, &unchanged] {
        turn.begin(&ann, &project, "go").await.expect("begun");
    }
    let by_turn = |turn: &Turn| RevertRevisionRequest { project_id: project.clone(), turn_id: turn.id.clone(), ..Default::default() };
    assert_eq!(reason(ann.revert(by_turn(&committed)).await), "REVISION_NOT_FOUND", "the turn is open");
    commit(&committed.agent, committed.result(&base, vec![update("a", &ten(&[(1, "turn")]))])).await.expect("committed");
    commit(&unchanged.agent, unchanged.result(&base, Vec::new())).await.expect("unchanged");
    let result = conflicted.result(&base, vec![update("a", &ten(&[(1, "other turn")])), write("b", "by turn")]);
    let conflict = commit(&conflicted.agent, result).await.expect("conflicted");
    assert_eq!(conflict.outcome(), CommitOutcome::Conflicted);
    assert_eq!(reason(ann.revert(by_turn(&unchanged)).await), "REVISION_NOT_FOUND");
    assert_eq!(reason(ann.revert(by_turn(&conflicted)).await), "REVISION_NOT_FOUND", "its commit was never applied");
    let never_applied = conflict.revision.expect("a commit").id;
    assert_eq!(reason(ann.revert(of(&project, &never_applied)).await), "REVISION_NOT_FOUND");

    // The revert of a turn whose conflict was resolved is that of the resolution.
    ann.take(&project, &conflicted.id, Take::Turn).await.expect("resolved");
    ann.revert(by_turn(&conflicted)).await.expect("reverted");
    assert_eq!(ann.files(&project).await, [format!("a={}", ten(&[(1, "turn")]))]);
    let reverted = ann.revert(by_turn(&committed)).await.expect("reverted");
    assert_eq!(reverted.revision.expect("a revision").message, "Revert \"Build a clock\"");
    assert_eq!(ann.files(&project).await, [format!("a={TEN}")]);
}

#[tokio::test]
async fn a_revert_names_one_revision_of_the_project() {
    let cluster = Cluster::start().await;
    let (ann, bob, viewer) = (cluster.person(), cluster.person(), cluster.person());
    let (mine, theirs) = (ann.create().await.id, bob.create().await.id);
    let own = ann.edit(&mine, vec![write("a", "1")]).await;
    let foreign = bob.edit(&theirs, vec![write("secret", "2")]).await;
    let foreign_turn = Turn::new(&cluster);
    foreign_turn.begin(&bob, &theirs, "go").await.expect("begun");
    commit(&foreign_turn.agent, foreign_turn.result(&foreign, vec![write("b", "1")])).await.expect("committed");
    sqlx::query("INSERT INTO members (project_id, user_id, role) SELECT $1::uuid, $2, 1")
        .bind(mine.parse::<proto::id::ProjectId>().expect("an id").0)
        .bind(viewer.id.0)
        .execute(&cluster.database.pool)
        .await
        .expect("a viewer");
    let turn = |id: &str| RevertRevisionRequest { turn_id: id.into(), ..of(&mine, "") };
    for (person, request, expected) in [
        (&ann, of(&mine, &foreign), "REVISION_NOT_FOUND"),
        (&ann, of(&theirs, &foreign), "PROJECT_NOT_FOUND"),
        (&ann, turn(&foreign_turn.id), "REVISION_NOT_FOUND"),
        (&ann, turn(&TurnId::generate().to_string()), "REVISION_NOT_FOUND"),
        (&viewer, of(&mine, &own), "ROLE_REQUIRED"),
        (&bob, of(&mine, &own), "PROJECT_NOT_FOUND"),
        (&ann, RevertRevisionRequest { if_match: "\"0\"".into(), ..of(&mine, &own) }, "ETAG_MISMATCH"),
    ] {
        assert_eq!(reason(person.revert(request.clone()).await), expected, "{request:?}");
    }
    let long = "x".repeat(1001);
    for (request, field) in [
        (of(&mine, ""), "revision"),
        (of(&mine, "x"), "revision"),
        (turn("x"), "turn_id"),
        (RevertRevisionRequest { turn_id: foreign_turn.id.clone(), ..of(&mine, &own) }, "turn_id"),
        (RevertRevisionRequest { message: long.clone(), ..of(&mine, &own) }, "message"),
        (RevertRevisionRequest { request_id: long.clone(), ..of(&mine, &own) }, "request_id"),
        (RevertRevisionRequest { base_revision: "x".into(), ..of(&mine, &own) }, "base_revision"),
        (RevertRevisionRequest { if_match: long.repeat(2), ..of(&mine, &own) }, "if_match"),
    ] {
        let fault = ann.revert(request.clone()).await.expect_err("refused");
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", field), "{request:?}");
    }
    assert_eq!(ann.files(&mine).await, ["a=1"]);
}

/// A project whose second revision cannot be reverted, because the third one changed the same line.
async fn overlapping(ann: &Person) -> (String, String, String) {
    let project = ann.create().await.id;
    ann.edit(&project, vec![write("a", TEN), write("b", "1")]).await;
    let second = ann.edit(&project, vec![update("a", &ten(&[(2, "two")])), update("b", "2")]).await;
    let third = ann.edit(&project, vec![update("a", &ten(&[(2, "zwei")]))]).await;
    (project, second, third)
}

#[tokio::test]
async fn a_revert_that_overlaps_later_changes_is_a_conflict() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let (project, second, third) = overlapping(&ann).await;
    let ask = RevertRevisionRequest { request_id: "r1".into(), ..of(&project, &second) };
    let conflicted = ann.revert(ask.clone()).await.expect("a conflict");
    assert_eq!((conflicted.outcome(), conflicted.revision.clone()), (CommitOutcome::Conflicted, None));
    assert_eq!(conflicted.conflict_paths, ["a"]);
    assert_eq!(conflicted.project.as_ref().expect("a project").head_revision, third, "the project stays as it is");
    let id = conflicted.conflict_id.clone();
    assert!(id.parse::<ConflictId>().is_ok(), "{id}");

    let listed = ann.conflicts(&project).await.expect("a list");
    let [found] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((found.id.as_str(), found.kind(), found.path_count), (id.as_str(), ConflictKind::Revert, 1));
    assert_eq!((&found.base_revision, &found.head_revision, &found.user_id), (&second, &third, &ann.id.to_string()));
    assert_eq!(found.paths, ["a"]);
    let days = (found.expire_time.expect("an end").seconds - found.create_time.expect("a time").seconds) / 86_400;
    assert!((29..=30).contains(&days), "{days}");
    let view = ann.conflict(&project, &id).await.expect("a conflict");
    assert_eq!(
        (view.kind(), &view.base_revision, &view.head_revision, &view.user_id),
        (ConflictKind::Revert, &second, &third, &found.user_id)
    );
    assert_eq!((&view.turn_revision, view.files.len()), (&found.turn_revision, 1));

    // A repeat finds the same conflict, also if the request is no longer recorded.
    let repeated = async || {
        let repeated = ann.revert(ask.clone()).await.expect("repeated");
        assert_eq!((repeated.replayed, repeated.outcome(), &repeated.conflict_id), (true, CommitOutcome::Conflicted, &id));
        assert_eq!(repeated.conflict_paths, ["a"]);
    };
    repeated().await;
    let other = RevertRevisionRequest { message: "other".into(), ..ask.clone() };
    assert_eq!(reason(ann.revert(other.clone()).await), "KEY_REUSED");
    sqlx::query("DELETE FROM save_requests").execute(&cluster.database.pool).await.expect("deleted");
    repeated().await;
    assert_eq!(reason(ann.revert(other).await), "KEY_REUSED");
    assert_eq!(ann.conflicts(&project).await.expect("a list").len(), 1);

    let resolved = ann.take(&project, &id, Take::Turn).await.expect("resolved").revision.expect("a revision");
    assert_eq!(resolved.parent_ids, [third, found.turn_revision.clone()]);
    assert_eq!((resolved.message.as_str(), resolved.undoes.as_str()), ("Resolve: Revert revision 2", ""));
    assert_eq!(ann.files(&project).await, [format!("a={TEN}"), "b=1".into()]);
    assert_eq!(reason(ann.conflict(&project, &id).await), "CONFLICT_RESOLVED");
    assert!(ann.conflicts(&project).await.expect("a list").is_empty());
    repeated().await;
    assert_eq!(cluster.count("SELECT count(*) FROM refs WHERE name LIKE 'refs/conflicts/%'").await, 0);
}

#[tokio::test]
async fn conflicts_are_listed_in_pages_until_they_expire() {
    let cluster = Cluster::start().await;
    let (ann, stranger, viewer) = (cluster.person(), cluster.person(), cluster.person());
    let (project, second, _) = overlapping(&ann).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(ann.revert(of(&project, &second)).await.expect("a conflict").conflict_id);
    }
    ids.reverse();
    let mut request = ListConflictsRequest { project_id: project.clone(), page_size: 2, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = answer(ann.client.clone().list_conflicts(ann.request(request.clone())).await).expect("a page");
        seen.extend(page.conflicts.into_iter().map(|conflict| conflict.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, ids);
    assert_eq!(reason(answer(stranger.client.clone().list_conflicts(stranger.request(request.clone())).await)), "PAGE_TOKEN_INVALID");
    assert_eq!(reason(stranger.conflicts(&project).await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(stranger.conflict(&project, &ids[0]).await), "PROJECT_NOT_FOUND");
    let elsewhere = ann.create().await.id;
    assert_eq!(reason(ann.conflict(&elsewhere, &ids[0]).await), "CONFLICT_NOT_FOUND");
    viewer.join(&cluster, 1).await;
    assert_eq!(viewer.conflicts(&project).await.expect("a list").len(), 5);
    assert_eq!(reason(viewer.take(&project, &ids[0], Take::Head).await), "ROLE_REQUIRED");

    for sql in ["UPDATE refs SET expires_at = now() WHERE expires_at IS NOT NULL", "UPDATE conflicts SET expires_at = now()"] {
        sqlx::query(sql).execute(&cluster.database.pool).await.expect("expired");
    }
    assert!(ann.conflicts(&project).await.expect("a list").is_empty());
    assert_eq!(reason(ann.conflict(&project, &ids[0]).await), "CONFLICT_NOT_FOUND");
    assert_eq!(reason(ann.take(&project, &ids[0], Take::Head).await), "CONFLICT_NOT_FOUND");
}

/// The same request eight times at two replicas makes one revision or one conflict.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_concurrent_repeat_finds_the_same_outcome() {
    let cluster = Cluster::start().await;
    let (uri, _stop) = cluster.replica().await;
    let ann = cluster.person();
    let elsewhere = Person { client: cluster.client_at(Caller::Gateway, &uri), ..ann.clone() };
    let (project, second, third) = overlapping(&ann).await;
    for (revision, outcome) in [(second, CommitOutcome::Conflicted), (third, CommitOutcome::Committed)] {
        let ask = RevertRevisionRequest { request_id: format!("r-{revision}"), ..of(&project, &revision) };
        let one = |n: usize| {
            let (person, ask) = (if n.is_multiple_of(2) { ann.clone() } else { elsewhere.clone() }, ask.clone());
            async move { person.revert(ask).await.expect("answered") }
        };
        let answers = join_all((0..8).map(one)).await;
        assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
        let same = RevertRevisionResponse { replayed: true, ..answers[0].clone() };
        for answer in answers {
            assert_eq!((answer.outcome(), &answer.conflict_id), (outcome, &same.conflict_id));
            assert_eq!(answer.revision.map(|revision| revision.id), same.revision.as_ref().map(|revision| revision.id.clone()));
        }
        assert_eq!(ann.conflicts(&project).await.expect("a list").len(), 1);
    }
    assert_eq!(ann.log(&project).await.len(), 4);
}

/// The release before writes the branches of conflicted turns and the columns of their rows, and does not know the table of conflicts.
#[tokio::test]
async fn a_conflict_of_the_release_before_is_known() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let base = ann.edit(&project, vec![write("a", TEN)]).await;
    let turns = [(); 2].map(|()| Turn::new(&cluster));
    for turn in &turns {
        turn.begin(&ann, &project, "go").await.expect("begun");
    }
    ann.edit(&project, vec![update("a", &ten(&[(1, "ann")]))]).await;
    for turn in &turns {
        let conflicted = commit(&turn.agent, turn.result(&base, vec![update("a", &ten(&[(1, "turn")]))])).await.expect("conflicted");
        assert_eq!(conflicted.outcome(), CommitOutcome::Conflicted);
    }
    let before = ann.conflicts(&project).await.expect("a list");
    for sql in [
        "UPDATE turns SET state = 1",
        "DELETE FROM conflicts",
        "INSERT INTO refs SELECT project_id, replace(name, 'conflicts', 'turns'), oid, seq, expires_at FROM refs WHERE name LIKE 'refs/conflicts/%'",
        "UPDATE ref_log SET name = replace(name, 'conflicts', 'turns') WHERE name LIKE 'refs/conflicts/%'",
        "DELETE FROM refs WHERE name LIKE 'refs/conflicts/%'",
        // The last statement of a commit of that release.
        "UPDATE turns SET state = 4",
    ] {
        sqlx::query(sql).execute(&cluster.database.pool).await.expect("changed");
    }
    let after = ann.conflicts(&project).await.expect("a list");
    let expected: Vec<_> = before.into_iter().map(|conflict| Conflict { head_revision: String::new(), ..conflict }).collect();
    assert_eq!(after, expected);
    let view = ann.conflict(&project, &turns[0].id).await.expect("a conflict");
    assert_eq!((&view.base_revision, view.kind(), view.files.len()), (&base, ConflictKind::Turn, 1));
    ann.take(&project, &turns[0].id, Take::Turn).await.expect("resolved");
    assert_eq!(cluster.count("SELECT count(*) FROM refs WHERE name LIKE 'refs/turns/%'").await, 1);
    assert_eq!(cluster.count("SELECT count(*) FROM turns WHERE resolution IS NOT NULL").await, 1);

    // That release resolves the other one.
    for sql in [
        "DELETE FROM refs WHERE name LIKE 'refs/turns/%'",
        "UPDATE turns t SET resolution = r.oid, resolution_key = 'k' FROM refs r WHERE r.name = 'refs/heads/main' AND t.resolution IS NULL",
    ] {
        sqlx::query(sql).execute(&cluster.database.pool).await.expect("changed");
    }
    assert_eq!(reason(ann.conflict(&project, &turns[1].id).await), "CONFLICT_RESOLVED");
    assert!(ann.conflicts(&project).await.expect("a list").is_empty());
}

/// The other side of a conflict has the same id as a revision of the log, if one person reverts a revision twice within a second.
#[tokio::test]
async fn a_revision_is_found_beside_a_conflict_with_the_same_id() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let same = "SELECT count(*) FROM conflicts c
                JOIN ref_log l ON l.project_id = c.project_id AND l.oid = c.theirs AND l.name = 'refs/heads/main'";
    for _ in 0..20 {
        let project = ann.create().await.id;
        ann.edit(&project, vec![write("a", "1")]).await;
        let changed = ann.edit(&project, vec![write("a", "2")]).await;
        let request = || RevertRevisionRequest { project_id: project.clone(), revision: changed.clone(), ..Default::default() };
        let reverted = ann.revert(request()).await.expect("reverted").revision.expect("a revision").id;
        ann.edit(&project, vec![write("a", "3")]).await;
        assert_eq!(ann.revert(request()).await.expect("conflicted").outcome(), CommitOutcome::Conflicted);
        // The place of a row in the table must not decide.
        let moved = "WITH d AS (DELETE FROM ref_log WHERE name = 'refs/heads/main' RETURNING *) INSERT INTO ref_log SELECT * FROM d";
        sqlx::query(moved).execute(&cluster.database.pool).await.expect("moved");
        let fork = ann.fork(&project, &reverted).await.expect("a revision of the log");
        assert_eq!(ann.files(&fork.id).await, ["a=1"]);
        if cluster.count(same).await > 0 {
            return;
        }
    }
    panic!("no two reverts were within one second");
}
