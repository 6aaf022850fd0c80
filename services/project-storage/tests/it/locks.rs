//! Locked paths: whom a lock stops, that it follows a rename, and that a commit sees the present locks.

use proto::{
    error::{ErrorCode, Fault},
    project_storage::{
        CommitOutcome, DeleteFile, DeleteLockRequest, FileChange, GetTurnTreeRequest, ImportSettings, ListLocksRequest, Lock, LockScope,
        RenameFile, RestoreRevisionRequest, SaveProjectRequest, SetLockRequest, UndoRevisionRequest, file_change::Action,
    },
};

use crate::{
    harness::{Cluster, Person, Turn, answer, commit, reason, write},
    imports::tar,
    reverts::of,
};

async fn lock(person: &Person, project: &str, path: &str, scope: LockScope) -> Result<Lock, Box<Fault>> {
    let request = SetLockRequest { project_id: project.into(), path: path.into(), scope: scope.into() };
    answer(person.client.clone().set_lock(person.request(request)).await).map(|set| set.lock.expect("a lock"))
}

async fn unlock(person: &Person, project: &str, path: &str) -> Result<(), Box<Fault>> {
    let request = person.request(DeleteLockRequest { project_id: project.into(), path: path.into() });
    answer(person.client.clone().delete_lock(request).await).map(drop)
}

async fn paths(person: &Person, project: &str) -> Vec<String> {
    let request = person.request(ListLocksRequest { project_id: project.into() });
    let list = answer(person.client.clone().list_locks(request).await).expect("a list");
    list.locks.into_iter().map(|lock| lock.path).collect()
}

async fn add_member(cluster: &Cluster, person: &Person, project: &str, role: i16) {
    sqlx::query("INSERT INTO members (project_id, user_id, role) VALUES ($1::uuid, $2, $3)")
        .bind(project.parse::<proto::id::ProjectId>().expect("an id").0)
        .bind(person.id.0)
        .bind(role)
        .execute(&cluster.database.pool)
        .await
        .expect("a member");
}

fn rename(path: &str, new_path: &str) -> FileChange {
    FileChange { path: path.into(), action: Some(Action::Rename(RenameFile { new_path: new_path.into() })), ..FileChange::default() }
}

fn delete(path: &str) -> FileChange {
    FileChange { path: path.into(), action: Some(Action::Delete(DeleteFile {})), ..FileChange::default() }
}

#[tokio::test]
async fn a_lock_stops_turns_but_not_people() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.save(&project, vec![write("src/a", "1"), write("b", "1")]).await.expect("saved");
    let set = lock(&ann, &project, "src", LockScope::Unspecified).await.expect("a lock");
    assert_eq!((set.path.as_str(), set.scope(), set.user_id.as_str()), ("src", LockScope::Agents, ann.id.to_string().as_str()));
    assert_eq!(lock(&ann, &project, "src", LockScope::Agents).await.expect("a repeat"), set);

    for changes in [
        vec![write("src/a", "2")],
        vec![write("src/new", "1")],
        vec![delete("src/a")],
        vec![rename("src/a", "c")],
        vec![rename("b", "src/b")],
    ] {
        let turn = Turn::new(&cluster);
        turn.begin(&ann, &project, "change it").await.expect("begun");
        let request = GetTurnTreeRequest { turn_id: turn.id.clone(), ..GetTurnTreeRequest::default() };
        let tree = answer(turn.agent.clone().get_turn_tree(tonic::Request::new(request)).await).expect("a tree");
        assert_eq!(tree.locked_paths, ["src"]);
        let fault = commit(&turn.agent, turn.result(&tree.revision, changes)).await.expect_err("locked");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Forbidden, "PATH_LOCKED"), "{fault}");
        assert_eq!(fault.metadata["lock"], "src");
        assert!(fault.metadata["path"].starts_with("src/"), "{fault}");
        // Everything else may be changed.
        commit(&turn.agent, turn.result(&tree.revision, vec![write("b", &turn.id)])).await.expect("committed");
    }
    ann.save(&project, vec![write("src/a", "2")]).await.expect("a person may");
    unlock(&ann, &project, "src").await.expect("deleted");
    assert_eq!(reason(unlock(&ann, &project, "src").await), "LOCK_NOT_FOUND");
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "change it").await.expect("begun");
    let (base, _) = turn.tree("").await.expect("a tree");
    commit(&turn.agent, turn.result(&base, vec![write("src/a", "3")])).await.expect("committed");
}

#[tokio::test]
async fn a_lock_for_everybody_stops_members_who_are_no_admins() {
    let cluster = Cluster::start().await;
    let (ann, bob, eve, stranger) = (cluster.person(), cluster.person(), cluster.person(), cluster.person());
    let project = ann.create().await.id;
    ann.save(&project, vec![write("a", "1")]).await.expect("saved");
    add_member(&cluster, &bob, &project, 2).await;
    add_member(&cluster, &eve, &project, 1).await;
    assert_eq!(reason(lock(&stranger, &project, "a", LockScope::Agents).await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(lock(&eve, &project, "a", LockScope::Agents).await), "ROLE_REQUIRED");
    assert_eq!(reason(lock(&bob, &project, "a", LockScope::Everybody).await), "ROLE_REQUIRED");
    lock(&bob, &project, "a", LockScope::Agents).await.expect("an editor may");
    lock(&ann, &project, "a", LockScope::Everybody).await.expect("changed");
    assert_eq!(reason(lock(&bob, &project, "a", LockScope::Agents).await), "ROLE_REQUIRED");
    assert_eq!(reason(unlock(&bob, &project, "a").await), "ROLE_REQUIRED");
    assert_eq!(paths(&eve, &project).await, ["a"]);
    assert_eq!(reason(bob.save(&project, vec![write("a", "2")]).await), "PATH_LOCKED");
    let replace = SaveProjectRequest { project_id: project.clone(), changes: vec![write("b", "1")], replace: true, ..Default::default() };
    assert_eq!(reason(bob.send(replace).await), "PATH_LOCKED");
    bob.save(&project, vec![write("b", "1")]).await.expect("saved");
    ann.save(&project, vec![write("a", "3")]).await.expect("the owner may");
}

#[tokio::test]
async fn a_lock_follows_a_rename() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.save(&project, vec![write("a", "1"), write("src/b", "2"), write("src/c/d", "3")]).await.expect("saved");
    for path in ["a", "src", "src/c/d"] {
        lock(&ann, &project, path, LockScope::Agents).await.expect("a lock");
    }
    ann.save(&project, vec![rename("a", "z")]).await.expect("saved");
    ann.save(&project, vec![rename("src/b", "lib/b"), rename("src/c/d", "lib/c/d")]).await.expect("saved");
    assert_eq!(paths(&ann, &project).await, ["lib", "lib/c/d", "z"]);
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "change it").await.expect("begun");
    assert_eq!(reason(commit(&turn.agent, turn.result("", vec![write("lib/new", "1")])).await), "PATH_LOCKED");
}

/// A lock that is set while a save is on its way is seen, or it is set after the save.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_sees_the_present_locks() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    for round in 0..20 {
        let project = ann.create().await.id;
        ann.save(&project, vec![write("a", "1")]).await.expect("saved");
        add_member(&cluster, &bob, &project, 2).await;
        let save = bob.save(&project, vec![write("a", "2")]);
        let (saved, locked) = tokio::join!(save, lock(&ann, &project, "a", LockScope::Everybody));
        locked.expect("a lock");
        let expected = if saved.is_ok() { ["a=2"] } else { ["a=1"] };
        assert_eq!(ann.files(&project).await, expected, "round {round}");
        assert!(saved.is_ok() || reason(saved) == "PATH_LOCKED");
        assert_eq!(reason(bob.save(&project, vec![write("a", "3")]).await), "PATH_LOCKED");
    }
}

#[tokio::test]
async fn locks_are_limited_and_checked() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    for path in ["", "/a", "a/../b", "a\\b", ".git"] {
        assert_eq!(reason(lock(&ann, &project, path, LockScope::Agents).await), "INVALID_PATH", "{path}");
    }
    for n in 0..200 {
        lock(&ann, &project, &format!("f{n}"), LockScope::Agents).await.expect("a lock");
    }
    let fault = lock(&ann, &project, "one more", LockScope::Agents).await.expect_err("too many");
    assert_eq!((fault.reason.as_str(), fault.metadata["limit"].as_str()), ("TOO_MANY_LOCKS", "200"));
    lock(&ann, &project, "f7", LockScope::Everybody).await.expect("no further lock");
    unlock(&ann, &project, "f7").await.expect("deleted");
    lock(&ann, &project, "one more", LockScope::Agents).await.expect("room for one");
}

/// Whatever changes a locked path is refused for who may not change it, and made by who may.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_holds_for_imports_merges_reverts_and_restores() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    add_member(&cluster, &bob, &project, 2).await;
    let first = ann.edit(&project, vec![write("a", "1\n"), write("b", "1\n")]).await;
    let second = bob.edit(&project, vec![write("a", "2\n")]).await;
    let fork = bob.fork(&project, "").await.expect("forked").id;
    bob.edit(&fork, vec![write("a", "fork\n")]).await;
    let archive = tar(&[("a", b"import\n")]);
    let import = || ImportSettings { project_id: project.clone(), ..ImportSettings::default() };
    let restore = || RestoreRevisionRequest { project_id: project.clone(), revision: first.clone(), ..Default::default() };
    lock(&ann, &project, "a", LockScope::Everybody).await.expect("locked");
    let undo = bob.request(UndoRevisionRequest { project_id: project.clone(), ..Default::default() });
    for (what, fault) in [
        ("import", bob.import(import(), &archive).await.map(drop)),
        ("merge", bob.merge(&project, &fork).await.map(drop)),
        ("revert", bob.revert(of(&project, &second)).await.map(drop)),
        ("restore", bob.restore(restore()).await.map(drop)),
        ("undo", answer(bob.client.clone().undo_revision(undo).await).map(drop)),
    ] {
        let fault = fault.expect_err(what);
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Forbidden, "PATH_LOCKED"), "{what}: {fault}");
        assert_eq!((fault.metadata["path"].as_str(), fault.metadata["lock"].as_str()), ("a", "a"), "{what}");
    }
    assert_eq!(ann.files(&project).await, ["a=2\n", "b=1\n"]);
    // What does not change the path is not refused.
    bob.import(import(), &tar(&[("b", b"import\n")])).await.expect("imported");

    // The owner may, and a lock for agents stops no person, also not by what is made of a turn.
    for scope in [LockScope::Everybody, LockScope::Agents] {
        lock(&ann, &project, "a", scope).await.expect("locked");
        let person = if scope == LockScope::Agents { &bob } else { &ann };
        person.restore(restore()).await.expect("restored");
        let edited = person.edit(&project, vec![write("a", &format!("{scope:?}\n"))]).await;
        person.revert(of(&project, &edited)).await.expect("reverted");
        person.import(import(), &archive).await.expect("imported");
        person.restore(RestoreRevisionRequest { revision: second.clone(), ..restore() }).await.expect("restored");
    }
    assert_eq!(bob.merge(&project, &fork).await.expect("merged").outcome(), CommitOutcome::Committed);
    assert!(ann.files(&project).await.contains(&"a=fork\n".to_owned()));
}
