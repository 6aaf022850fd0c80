//! What the reader of a project sees of a fork that was merged into it, and that only others may read.

use proto::project_storage::{
    BlameFileRequest, CommitOutcome, DiffRevisionsRequest, FileChange, GetConflictRequest, GetFileRequest, GetProjectRequest,
    GetRevisionRequest, ListConflictsRequest, ListFileRevisionsRequest, ListFilesRequest, ListLabelsRequest, ListRevisionsRequest,
    LoadProjectRequest, MergeProjectRequest, SaveProjectRequest, SearchFilesRequest, Take,
};

use crate::{
    blame::lines,
    conflicts::{Conflict, take, with_content},
    forks::set_role,
    harness::{Cluster, Person, answer, reason, rename, update, write},
    history::TEN,
};

/// The message of each save of the fork.
const PRIVATE: &str = "PRIVATE";

/// A project with a viewer, and a fork that the viewer may not read.
struct Family {
    cluster: Cluster,
    ann: Person,
    viewer: Person,
    project: String,
    fork: String,
    /// The revisions of the fork.
    private: Vec<String>,
    /// Those that were merged. The revisions that merged them have them as parents.
    merged: Vec<String>,
}

impl Family {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let (ann, viewer) = (cluster.person(), cluster.person());
        let project = ann.create().await.id;
        ann.saved(&project, vec![write("a.txt", TEN), write("b.txt", TEN)]).await;
        set_role(&cluster, &viewer, &project, 1).await;
        let fork = ann.fork(&project, "").await.expect("forked").id;
        Self { cluster, ann, viewer, project, fork, private: Vec::new(), merged: Vec::new() }
    }

    async fn save_in_fork(&mut self, changes: Vec<FileChange>) {
        let save = SaveProjectRequest { project_id: self.fork.clone(), changes, message: PRIVATE.into(), ..Default::default() };
        self.private.push(self.ann.send(save).await.expect("saved").revision.expect("a revision").id);
    }

    /// Merges the head of the fork. Returns the id of the conflict, if there is one.
    async fn merge(&mut self) -> Option<String> {
        let request = MergeProjectRequest {
            project_id: self.project.clone(),
            source_project_id: self.fork.clone(),
            message: "public".into(),
            ..Default::default()
        };
        let merged = answer(self.ann.client.clone().merge_project(self.ann.request(request)).await).expect("merged");
        self.merged.extend(self.private.last().cloned());
        (merged.outcome() == CommitOutcome::Conflicted).then_some(merged.conflict_id)
    }

    async fn blame(&self, path: &str) -> Vec<String> {
        let request = BlameFileRequest { project_id: self.project.clone(), path: path.into(), ..Default::default() };
        lines(&self.viewer.blame(request).await.expect("a blame"))
    }

    /// The answer of every read that follows parents, finds commits by their ids, or has revisions in its answer. Those whose names begin
    /// with `all` take no revision.
    async fn reads(&self, revision: &str, paths: &[&str], conflict: &str) -> Vec<(String, String)> {
        let (mut client, id, oid) = (self.viewer.client.clone(), || self.project.clone(), || revision.to_owned());
        let mut found = Vec::new();
        macro_rules! ask {
            ($name:expr, $call:ident, $request:expr) => {
                let status = client.$call(self.viewer.request($request)).await;
                let text = answer(status).map_or_else(|fault| format!("{fault:?}"), |answer| format!("{answer:?}"));
                found.push((format!("{} at {revision}", $name), text));
            };
        }
        ask!("all: project", get_project, GetProjectRequest { project_id: id() });
        ask!("load", load_project, LoadProjectRequest { project_id: id(), revision: oid(), ..Default::default() });
        ask!("list of files", list_files, ListFilesRequest { project_id: id(), revision: oid() });
        ask!("search", search_files, SearchFilesRequest { project_id: id(), revision: oid(), query: "five".into(), ..Default::default() });
        ask!("all: list", list_revisions, ListRevisionsRequest { project_id: id(), ..Default::default() });
        ask!("all: labels", list_labels, ListLabelsRequest { project_id: id(), ..Default::default() });
        ask!("diff", diff_revisions, DiffRevisionsRequest { project_id: id(), revision: oid(), ..Default::default() });
        ask!("diff to head", diff_revisions, DiffRevisionsRequest { project_id: id(), base_revision: oid(), ..Default::default() });
        ask!("all: conflicts", list_conflicts, ListConflictsRequest { project_id: id(), ..Default::default() });
        ask!("all: conflict", get_conflict, GetConflictRequest { project_id: id(), turn_id: conflict.to_owned() });
        if !revision.is_empty() {
            ask!("revision", get_revision, GetRevisionRequest { project_id: id(), revision: oid() });
        }
        for path in paths {
            let path = || String::from(*path);
            let history = ListFileRevisionsRequest { project_id: id(), path: path(), revision: oid(), ..Default::default() };
            ask!(format!("history of {}", path()), list_file_revisions, history);
            let blame = BlameFileRequest { project_id: id(), path: path(), revision: oid(), ..Default::default() };
            ask!(format!("blame of {}", path()), blame_file, blame);
            let list = ListRevisionsRequest { project_id: id(), path: path(), ..Default::default() };
            ask!(format!("all: list of {}", path()), list_revisions, list);
            ask!("file", get_file, GetFileRequest { project_id: id(), path: path(), revision: oid() });
        }
        found
    }

    /// Checks that no read shows a revision of the fork, except one side of an open merge. A conflict names the last common revision, which
    /// may be one that was merged before.
    async fn check(&self, paths: &[&str], (conflict, open): (&str, Option<&String>)) {
        let log = self.viewer.numbered_log(&self.project).await.1;
        for revision in log.iter().chain(open).map(String::as_str).chain([""]) {
            for (read, text) in self.reads(revision, paths, conflict).await {
                assert!(!text.contains(PRIVATE), "{read}: {text}");
                let shown = without_parents(&text);
                for id in &self.private {
                    let is_base = read.starts_with("all: conflict") && self.merged.contains(id);
                    assert!(open == Some(id) || is_base || !shown.contains(id), "{read} shows {id}: {text}");
                    assert!(self.merged.contains(id) || !text.contains(id), "{read} names {id}: {text}");
                }
            }
        }
        for id in self.private.iter().filter(|id| open != Some(*id)) {
            for (read, text) in self.reads(id, paths, conflict).await {
                assert!(read.starts_with("all: ") || text.contains("REVISION_NOT_FOUND"), "{read}: {text}");
            }
        }
    }

    /// Reads the differences of the other side of an open merge in pages of one file.
    async fn check_pages(&self, revision: &str, paths: &[&str]) {
        let mut request =
            DiffRevisionsRequest { project_id: self.project.clone(), revision: revision.into(), page_size: 1, ..Default::default() };
        for path in paths {
            let page = self.viewer.diff(request.clone()).await.expect("a page");
            assert_eq!((page.files[0].path.as_str(), page.base_revision.as_str()), (*path, ""));
            request.page_token = page.next_page_token;
        }
        assert_eq!(request.page_token, "");
    }
}

/// An answer without the ids of parents, which the documentation says to be ids of revisions that cannot be read.
fn without_parents(text: &str) -> String {
    let mut parts = text.split("parent_ids: [");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(']').map_or("", |(_, rest)| rest))
}

#[tokio::test]
async fn lines_of_a_private_fork_belong_to_the_merge() {
    let mut family = Family::start().await;
    family.ann.saved(&family.project, vec![update("b.txt", &TEN.replace("two 2", "parent"))]).await;
    family.save_in_fork(vec![write("d.txt", "l1\nhidden\nl2\n")]).await;
    family.save_in_fork(vec![write("d.txt", "l1\nl2\n"), update("b.txt", &TEN.replace("nine 9", "fork"))]).await;
    family.save_in_fork(vec![write("other.txt", "o\n")]).await;
    assert_eq!(family.merge().await, None);
    assert_eq!(family.blame("d.txt").await, ["1-2: 3 d.txt 1"]);
    assert_eq!(family.blame("other.txt").await, ["1-1: 3 other.txt 1"]);
    let both = ["1-1: 1 b.txt 1", "2-2: 2 b.txt 2", "3-8: 1 b.txt 3", "9-9: 3 b.txt 9", "10-10: 1 b.txt 10"];
    assert_eq!(family.blame("b.txt").await, both);
    let paths = ["a.txt", "b.txt", "d.txt", "other.txt"];
    family.check(&paths, ("", None)).await;
    family.ann.remove(&family.fork).await;
    assert_eq!(family.blame("d.txt").await, ["1-2: 3 d.txt 1"]);
    family.check(&paths, ("", None)).await;
}

/// The project and the fork rename one file differently, and the conflict is resolved with the name in the fork.
#[tokio::test]
async fn lines_that_the_project_had_keep_their_origin_across_a_resolved_merge() {
    let mut family = Family::start().await;
    family.ann.saved(&family.project, vec![rename("a.txt", "parent.txt")]).await;
    family.save_in_fork(vec![rename("a.txt", "hidden.txt")]).await;
    family.save_in_fork(vec![rename("hidden.txt", "fork.txt"), update("b.txt", &TEN.replace("nine 9", "hidden"))]).await;
    family.save_in_fork(vec![update("fork.txt", &TEN.replace("five 5", "fork")), update("b.txt", &TEN.replace("nine 9", "fork"))]).await;
    let conflict = family.merge().await.expect("a conflict");
    let paths = ["a.txt", "b.txt", "parent.txt", "fork.txt", "hidden.txt"];
    let open = family.merged.last().cloned();
    family.check(&paths, (&conflict, open.as_ref())).await;
    family.ann.take(&family.project, &conflict, Take::Turn).await.expect("resolved");
    let files: Vec<_> = family.ann.files(&family.project).await;
    assert!(files.len() == 2 && files[1].starts_with("fork.txt="), "{files:?}");
    let across = ["1-4: 1 a.txt 1", "5-5: 3 fork.txt 5", "6-10: 1 a.txt 6"];
    assert_eq!(family.blame("fork.txt").await, across);
    family.check(&paths, (&conflict, None)).await;
    // A second merge, whose last common revision is one of the fork.
    family.ann.saved(&family.project, vec![update("b.txt", &TEN.replace("one 1", "parent"))]).await;
    family.save_in_fork(vec![update("b.txt", &TEN.replace("one 1", "hidden")), write("g.txt", "g\n")]).await;
    family.save_in_fork(vec![update("b.txt", &TEN.replace("one 1", "later"))]).await;
    let conflict = family.merge().await.expect("a conflict");
    let open = family.merged.last().cloned();
    family.check(&paths, (&conflict, open.as_ref())).await;
    family.check_pages(open.as_deref().unwrap_or_default(), &["b.txt", "g.txt"]).await;
    family.ann.remove(&family.fork).await;
    family.ann.take(&family.project, &conflict, Take::Turn).await.expect("resolved");
    assert_eq!(family.blame("b.txt").await[0], "1-1: 5 b.txt 1");
    assert_eq!(family.blame("fork.txt").await, across);
    family.check(&paths, (&conflict, None)).await;
}

/// A fork has the revisions of the past that it shares, and not what was beside them.
#[tokio::test]
async fn a_fork_does_not_show_the_conflicts_of_its_parent() {
    let cluster = Cluster::start().await;
    let conflict = Conflict::start(&cluster).await;
    conflict.resolve(conflict.request(vec![with_content("a", "ann\nturn\nboth\n"), take("b", Take::Head)])).await.expect("resolved");
    let fork = conflict.ann.fork(&conflict.project, "").await.expect("forked").id;
    let of = |project: &str| BlameFileRequest { project_id: project.into(), path: "a".into(), ..Default::default() };
    let parent = conflict.ann.blame(of(&conflict.project)).await.expect("a blame");
    assert_eq!(lines(&parent), ["1-1: 2 a 1", "2-2: 0 a 1", "3-3: 3 a 3"]);
    let forked = conflict.ann.blame(of(&fork)).await.expect("a blame");
    assert_eq!(lines(&forked), ["1-1: 2 a 1", "2-3: 3 a 2"]);
    let of_turn = BlameFileRequest { revision: conflict.turn_revision.clone(), ..of(&fork) };
    assert_eq!(reason(conflict.ann.blame(of_turn).await), "REVISION_NOT_FOUND");
}

/// The readers of a fork see nothing of what its parent did after the fork.
#[tokio::test]
async fn lines_of_the_parent_belong_to_the_merge_into_the_fork() {
    let family = Family::start().await;
    let reader = family.cluster.person();
    set_role(&family.cluster, &reader, &family.fork, 1).await;
    family.ann.saved(&family.project, vec![write("d.txt", "hidden\n")]).await;
    family.ann.saved(&family.project, vec![write("e.txt", "e\n"), update("a.txt", &TEN.replace("five 5", "parent"))]).await;
    family.ann.saved(&family.fork, vec![update("b.txt", TEN), write("f.txt", "f\n")]).await;
    assert_eq!(family.ann.merge(&family.fork, &family.project).await.expect("merged").outcome(), CommitOutcome::Committed);
    for (path, expected) in [
        ("d.txt", vec!["1-1: 3 d.txt 1"]),
        ("a.txt", vec!["1-4: 1 a.txt 1", "5-5: 3 a.txt 5", "6-10: 1 a.txt 6"]),
        ("f.txt", vec!["1-1: 2 f.txt 1"]),
    ] {
        let request = BlameFileRequest { project_id: family.fork.clone(), path: path.into(), ..Default::default() };
        assert_eq!(lines(&reader.blame(request).await.expect("a blame")), expected, "{path}");
    }
}
