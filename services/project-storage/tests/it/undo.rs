//! Undo and redo, and their conflicts.

use chassis::identity::Caller;
use futures::future::join_all;
use proto::{
    error::Fault,
    project_storage::{
        CommitOutcome, RedoRevisionRequest, RedoRevisionResponse, RestoreRevisionRequest, RevertRevisionRequest, Take, UndoRevisionRequest,
        UndoRevisionResponse,
    },
};

use crate::{
    harness::{Cluster, Person, Turn, answer, commit, delete, reason, update, write},
    reverts::{TEN, ten},
};

impl Person {
    async fn undo_with(&self, request: UndoRevisionRequest) -> Result<UndoRevisionResponse, Box<Fault>> {
        answer(self.client.clone().undo_revision(self.request(request)).await)
    }

    pub(crate) async fn undo(&self, project: &str) -> Result<UndoRevisionResponse, Box<Fault>> {
        self.undo_with(UndoRevisionRequest { project_id: project.into(), ..Default::default() }).await
    }

    pub(crate) async fn redo(&self, project: &str) -> Result<RedoRevisionResponse, Box<Fault>> {
        let request = RedoRevisionRequest { project_id: project.into(), ..Default::default() };
        answer(self.client.clone().redo_revision(self.request(request)).await)
    }

    /// Undoes, and returns the message and what was undone.
    async fn undone(&self, project: &str) -> (String, String) {
        let undone = self.undo(project).await.expect("undone");
        assert_eq!(undone.outcome(), CommitOutcome::Committed, "{undone:?}");
        undone.revision.map(|revision| (revision.message, revision.undoes)).expect("a revision")
    }

    /// Redoes, and returns the message.
    async fn redone(&self, project: &str) -> String {
        let redone = self.redo(project).await.expect("redone");
        assert_eq!(redone.outcome(), CommitOutcome::Committed, "{redone:?}");
        redone.revision.expect("a revision").message
    }
}

#[tokio::test]
async fn each_person_undoes_and_redoes_own_changes() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    bob.join(&cluster, 2).await;
    assert_eq!(reason(ann.undo(&project).await), "NOTHING_TO_UNDO");
    assert_eq!(reason(ann.redo(&project).await), "NOTHING_TO_REDO");
    let first = ann.edit(&project, vec![write("a", TEN)]).await;
    assert_eq!(reason(bob.undo(&project).await), "NOTHING_TO_UNDO");
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "go").await.expect("begun");
    let made = commit(&turn.agent, turn.result(&first, vec![update("a", &ten(&[(1, "turn")]))])).await.expect("committed");
    let made = made.revision.expect("a revision").id;
    bob.edit(&project, vec![update("a", &ten(&[(1, "turn"), (10, "bob")]))]).await;
    let third = ann.edit(&project, vec![write("b", "1")]).await;

    assert_eq!(ann.undone(&project).await, ("Undo revision 4".into(), third));
    assert_eq!(ann.undone(&project).await, ("Undo \"Build a clock\"".into(), made.clone()));
    assert_eq!(ann.files(&project).await, [format!("a={}", ten(&[(10, "bob")]))], "Bob's change stays");
    assert_eq!(reason(bob.redo(&project).await), "NOTHING_TO_REDO", "Ann's undos are hers");
    assert_eq!(ann.redone(&project).await, "Redo \"Build a clock\"");
    assert_eq!(ann.files(&project).await, [format!("a={}", ten(&[(1, "turn"), (10, "bob")]))]);
    assert_eq!(ann.redone(&project).await, "Redo revision 4");
    assert_eq!(ann.files(&project).await, [format!("a={}", ten(&[(1, "turn"), (10, "bob")])), "b=1".into()]);
    assert_eq!(reason(ann.redo(&project).await), "NOTHING_TO_REDO");

    // What was redone can be undone again. A new change ends what can be redone.
    assert_eq!(ann.undone(&project).await.0, "Undo revision 4");
    assert_eq!(ann.undone(&project).await.0, "Undo \"Build a clock\"");
    ann.edit(&project, vec![write("c", "1")]).await;
    assert_eq!(reason(ann.redo(&project).await), "NOTHING_TO_REDO");
    assert_eq!(ann.undone(&project).await.0, "Undo revision 11");
    assert_eq!(bob.undone(&project).await.0, "Undo revision 3");
    assert_eq!(ann.files(&project).await, [format!("a={TEN}")]);
    assert_eq!(ann.undone(&project).await, ("Undo revision 1".into(), first));
    assert!(ann.files(&project).await.is_empty());
    assert_eq!(reason(ann.undo(&project).await), "NOTHING_TO_UNDO");
    let log = ann.log(&project).await;
    assert_eq!(log.len(), 14, "nothing is rewritten");
    assert_eq!(log.iter().filter(|revision| revision.undoes.is_empty()).count(), 5);
}

#[tokio::test]
async fn restores_and_reverts_are_undone_like_saves() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = ann.edit(&project, vec![write("a", "1")]).await;
    let second = ann.edit(&project, vec![write("b", "2")]).await;
    let restore = RestoreRevisionRequest { project_id: project.clone(), revision: first, ..Default::default() };
    answer(ann.client.clone().restore_revision(ann.request(restore)).await).expect("restored");
    assert_eq!(ann.undone(&project).await.0, "Undo \"Restore revision 1\"");
    assert_eq!(ann.files(&project).await, ["a=1", "b=2"]);
    let of = |revision: &str| RevertRevisionRequest { project_id: project.clone(), revision: revision.into(), ..Default::default() };
    ann.revert(of(&second)).await.expect("reverted");
    assert_eq!(reason(ann.redo(&project).await), "NOTHING_TO_REDO", "a revert is a change");
    assert_eq!(ann.undone(&project).await.0, "Undo \"Revert revision 2\"");
    assert_eq!(ann.files(&project).await, ["a=1", "b=2"]);

    // The revert of an undo by its id is a change, too, and can be undone.
    let undo = ann.undo(&project).await.expect("undone").revision.expect("a revision");
    assert_eq!((undo.undoes.clone(), ann.files(&project).await), (second, vec!["a=1".to_owned()]));
    ann.revert(of(&undo.id)).await.expect("reverted");
    assert_eq!(ann.files(&project).await, ["a=1", "b=2"]);
    assert_eq!(reason(ann.redo(&project).await), "NOTHING_TO_REDO");
    assert_eq!(ann.undone(&project).await.0, "Undo \"Revert \"Undo revision 2\"\"");
    assert_eq!(ann.files(&project).await, ["a=1"]);
}

#[tokio::test]
async fn a_change_of_which_nothing_is_left_is_skipped() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    bob.join(&cluster, 2).await;
    ann.edit(&project, vec![write("a", "1"), write("k", "1")]).await;
    ann.edit(&project, vec![write("a", "2")]).await;
    ann.edit(&project, vec![write("b", "3")]).await;
    bob.edit(&project, vec![delete("b")]).await;
    assert_eq!(ann.undone(&project).await.0, "Undo revision 2");
    assert_eq!(ann.files(&project).await, ["a=1", "k=1"]);
    assert_eq!(ann.redone(&project).await, "Redo revision 2");
    bob.edit(&project, vec![write("a", "1")]).await;
    assert_eq!(ann.undone(&project).await.0, "Undo revision 1");

    // If no change leaves a trace, the answer says so.
    let project = ann.create().await.id;
    bob.join(&cluster, 2).await;
    ann.edit(&project, vec![write("a", "1")]).await;
    ann.edit(&project, vec![write("b", "1")]).await;
    bob.edit(&project, vec![delete("a"), delete("b")]).await;
    let unchanged = ann.undo(&project).await.expect("answered");
    assert_eq!(unchanged.outcome(), CommitOutcome::Unchanged);
    assert_eq!(unchanged.revision.expect("the head").id, unchanged.project.expect("a project").head_revision);
}

#[tokio::test]
async fn the_resolution_of_an_undo_counts_as_the_undo() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    for resolver in [&ann, &bob] {
        let project = ann.create().await.id;
        bob.join(&cluster, 2).await;
        ann.edit(&project, vec![write("a", TEN)]).await;
        let second = ann.edit(&project, vec![update("a", &ten(&[(2, "ann")]))]).await;
        bob.edit(&project, vec![update("a", &ten(&[(2, "bob")]))]).await;
        let request = UndoRevisionRequest { project_id: project.clone(), request_id: format!("u-{project}"), ..Default::default() };
        let conflicted = ann.undo_with(request.clone()).await.expect("a conflict");
        assert_eq!((conflicted.outcome(), &conflicted.conflict_paths[..]), (CommitOutcome::Conflicted, &["a".to_owned()][..]));
        let repeated = ann.undo_with(request).await.expect("the same conflict");
        assert_eq!((repeated.replayed, &repeated.conflict_id), (true, &conflicted.conflict_id));
        let resolved = resolver.take(&project, &conflicted.conflict_id, Take::Turn).await.expect("resolved").revision.expect("a revision");
        assert_eq!(ann.files(&project).await, [format!("a={TEN}")]);
        if resolver.id == ann.id {
            assert_eq!(resolved.undoes, second);
            let redone = ann.redone(&project).await;
            assert_eq!(redone, "Redo \"Resolve: Undo revision 2\"");
            assert_eq!(ann.files(&project).await, [format!("a={}", ten(&[(2, "bob")]))]);
        } else {
            assert_eq!(resolved.undoes, "", "Bob's resolution is a change of Bob");
            assert_eq!(reason(ann.redo(&project).await), "NOTHING_TO_REDO");
            assert_eq!(bob.undone(&project).await.1, resolved.id);
            assert_eq!(ann.files(&project).await, [format!("a={}", ten(&[(2, "bob")]))]);
        }
    }
}

#[tokio::test]
async fn an_undo_has_the_conditions_of_a_save() {
    let cluster = Cluster::start().await;
    let (ann, viewer, stranger) = (cluster.person(), cluster.person(), cluster.person());
    let project = ann.create().await.id;
    viewer.join(&cluster, 1).await;
    let first = ann.edit(&project, vec![write("a", "1")]).await;
    let second = ann.edit(&project, vec![write("a", "2")]).await;
    assert_eq!(reason(viewer.undo(&project).await), "ROLE_REQUIRED");
    assert_eq!(reason(viewer.redo(&project).await), "ROLE_REQUIRED");
    assert_eq!(reason(stranger.undo(&project).await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(stranger.redo(&project).await), "PROJECT_NOT_FOUND");
    let ask = || UndoRevisionRequest { project_id: project.clone(), ..Default::default() };
    assert_eq!(reason(ann.undo_with(UndoRevisionRequest { base_revision: first, ..ask() }).await), "STALE_REVISION");
    assert_eq!(reason(ann.undo_with(UndoRevisionRequest { if_match: "\"0\"".into(), ..ask() }).await), "ETAG_MISMATCH");
    for (request, field) in [
        (UndoRevisionRequest { project_id: "x".into(), ..ask() }, "project_id"),
        (UndoRevisionRequest { base_revision: "x".into(), ..ask() }, "base_revision"),
        (UndoRevisionRequest { request_id: "x".repeat(256), ..ask() }, "request_id"),
        (UndoRevisionRequest { if_match: "x".repeat(1025), ..ask() }, "if_match"),
    ] {
        let fault = ann.undo_with(request).await.expect_err("refused");
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", field));
    }
    let keyed = UndoRevisionRequest { base_revision: second, request_id: "u".into(), ..ask() };
    let undone = ann.undo_with(keyed.clone()).await.expect("undone");
    assert_eq!(ann.undo_with(keyed.clone()).await.expect("repeated"), UndoRevisionResponse { replayed: true, ..undone });
    assert_eq!(reason(ann.undo_with(UndoRevisionRequest { base_revision: String::new(), ..keyed }).await), "KEY_REUSED");
    let redo = RedoRevisionRequest { project_id: project.clone(), request_id: "u".into(), ..Default::default() };
    assert_eq!(reason(answer(ann.client.clone().redo_revision(ann.request(redo)).await)), "KEY_REUSED");
    assert_eq!(ann.files(&project).await, ["a=1"]);
}

/// Eight undos at two replicas: each of them undoes another one of eight saves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_undos_undo_different_changes() {
    let cluster = Cluster::start().await;
    let (uri, _stop) = cluster.replica().await;
    let ann = cluster.person();
    let elsewhere = Person { client: cluster.client_at(Caller::Gateway, &uri), ..ann.clone() };
    let project = ann.create().await.id;
    let mut saved = Vec::new();
    for n in 0..8 {
        saved.push(ann.edit(&project, vec![write(&format!("f{n}"), "1")]).await);
    }
    let one = |n: usize| {
        let (person, project) = (if n.is_multiple_of(2) { ann.clone() } else { elsewhere.clone() }, project.clone());
        async move { person.undo(&project).await.expect("undone").revision.expect("a revision").undoes }
    };
    let mut undone = join_all((0..8).map(one)).await;
    undone.sort();
    saved.sort();
    assert_eq!(undone, saved);
    assert!(ann.files(&project).await.is_empty());
    assert_eq!(reason(ann.undo(&project).await), "NOTHING_TO_UNDO");
}
