//! Merges of a fork into its parent and the other way, compared with git.

use proptest::{
    prelude::Rng as _,
    test_runner::{RngAlgorithm, TestRng},
};
use proto::{
    error::Fault,
    project_storage::{
        Actor, CommitOutcome, DiffRevisionsRequest, ForkProjectRequest, GetConflictRequest, ListFileRevisionsRequest, MergeProjectRequest,
        MergeProjectResponse, ResolveConflictRequest, ResolvedFile, Take,
    },
};

use crate::{
    git::{export, git_output},
    harness::{Cluster, Person, answer, reason, write},
    model::setting,
};

const LINES: &str = "1 one\n2 two\n3 three\n4 four\n5 five\n6 six\n7 seven\n8 eight\n9 nine\n";

fn lines(changes: &[(usize, &str)]) -> String {
    let mut lines: Vec<&str> = LINES.lines().collect();
    for (number, text) in changes {
        lines[number - 1] = text;
    }
    lines.join("\n") + "\n"
}

impl Person {
    async fn merge_with(&self, request: MergeProjectRequest) -> Result<MergeProjectResponse, Box<Fault>> {
        answer(self.client.clone().merge_project(self.request(request)).await)
    }

    pub(crate) async fn merge(&self, target: &str, source: &str) -> Result<MergeProjectResponse, Box<Fault>> {
        let request = MergeProjectRequest { project_id: target.into(), source_project_id: source.into(), ..Default::default() };
        self.merge_with(request).await
    }

    /// Merges cleanly, and returns the revision.
    async fn merged(&self, target: &str, source: &str) -> proto::project_storage::Revision {
        let merged = self.merge(target, source).await.expect("merged");
        assert_eq!(merged.outcome(), CommitOutcome::Committed, "{merged:?}");
        let revision = merged.revision.expect("a revision");
        assert_eq!(revision.actor(), Actor::Merge);
        revision
    }

    async fn resolve_with_theirs(&self, project: &str, conflict: &str) -> String {
        let get = GetConflictRequest { project_id: project.into(), turn_id: conflict.into() };
        let found = answer(self.client.clone().get_conflict(self.request(get)).await).expect("a conflict");
        let take = |path: String| ResolvedFile { path, take: Take::Turn.into(), content: None };
        let request = ResolveConflictRequest {
            project_id: project.into(),
            turn_id: conflict.into(),
            base_revision: found.head_revision,
            files: found.files.into_iter().map(|file| take(file.path)).collect(),
            ..Default::default()
        };
        let resolved = answer(self.client.clone().resolve_conflict(self.request(request)).await).expect("resolved");
        resolved.revision.expect("a revision").id
    }
}

#[tokio::test]
async fn a_fork_is_merged_back_again_and_again() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.put(&project, "a", LINES).await;
    let fork = ann.fork(&project, "").await.expect("forked").id;
    let ours = ann.put(&project, "a", &lines(&[(1, "parent")])).await;
    let theirs = ann.put(&fork, "a", &lines(&[(9, "fork")])).await;

    let merged = ann.merged(&project, &fork).await;
    assert_eq!(merged.parent_ids, [ours, theirs.clone()]);
    assert_eq!((merged.number, merged.message.as_str()), (3, "Merge revision 2 of another project"));
    assert_eq!(ann.files(&project).await, [format!("a={}", lines(&[(1, "parent"), (9, "fork")]))]);
    let again = ann.merge(&project, &fork).await.expect("merged");
    assert_eq!((again.outcome(), again.revision.map(|head| head.id)), (CommitOutcome::Unchanged, Some(merged.id.clone())));
    // The merge makes nothing of the fork's history readable.
    assert_eq!(reason(ann.load_at(&project, &theirs).await), "REVISION_NOT_FOUND");
    assert_eq!(reason(ann.fork(&project, &theirs).await), "REVISION_NOT_FOUND");

    // The fork takes back its line, and that comes over: the merged revision is the common ancestor now.
    ann.put(&fork, "a", LINES).await;
    ann.merged(&project, &fork).await;
    assert_eq!(ann.files(&project).await, [format!("a={}", lines(&[(1, "parent")]))]);
    // The other way.
    ann.merged(&fork, &project).await;
    assert_eq!(ann.files(&fork).await, ann.files(&project).await);
    assert_eq!(ann.merge(&fork, &project).await.expect("merged").outcome(), CommitOutcome::Unchanged);
}

#[tokio::test]
async fn merges_conflict_and_are_resolved_as_turns_are() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.put(&project, "a", LINES).await;
    let fork = ann.fork(&project, "").await.expect("forked").id;
    ann.put(&project, "a", &lines(&[(5, "parent")])).await;
    let theirs = ann.put(&fork, "a", &lines(&[(5, "fork")])).await;
    let request = MergeProjectRequest {
        project_id: project.clone(),
        source_project_id: fork.clone(),
        request_id: "r".into(),
        ..MergeProjectRequest::default()
    };
    let conflicted = ann.merge_with(request.clone()).await.expect("conflicted");
    assert_eq!((conflicted.outcome(), &conflicted.conflict_paths[..]), (CommitOutcome::Conflicted, &["a".to_owned()][..]));
    assert_eq!(ann.files(&project).await, [format!("a={}", lines(&[(5, "parent")]))], "nothing is changed");
    let same = ann.merge_with(request.clone()).await.expect("the same");
    assert_eq!((same.conflict_id.as_str(), same.replayed), (conflicted.conflict_id.as_str(), true));
    let other = MergeProjectRequest { message: "x".into(), ..request };
    assert_eq!(reason(ann.merge_with(other).await), "KEY_REUSED");

    let resolved = ann.resolve_with_theirs(&project, &conflicted.conflict_id).await;
    assert_eq!(ann.files(&project).await, [format!("a={}", lines(&[(5, "fork")]))]);
    assert_eq!(reason(ann.load_at(&project, &theirs).await), "REVISION_NOT_FOUND");
    // The resolution counts as the merge.
    assert_eq!(ann.merge(&project, &fork).await.expect("merged").outcome(), CommitOutcome::Unchanged);
    ann.put(&fork, "a", &lines(&[(5, "later")])).await;
    let merged = ann.merged(&project, &fork).await;
    assert_eq!(merged.parent_ids[0], resolved);
    assert_eq!(ann.files(&project).await, [format!("a={}", lines(&[(5, "later")]))]);
}

#[tokio::test]
async fn merges_outlive_the_merged_project() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.put(&project, "a", LINES).await;
    let fork = ann.fork(&project, "").await.expect("forked").id;
    ann.put(&fork, "a", &lines(&[(5, "fork")])).await;
    let nested = ann.fork(&fork, "").await.expect("forked").id;
    ann.put(&project, "a", &lines(&[(5, "parent")])).await;
    let conflicted = ann.merge(&project, &fork).await.expect("conflicted");
    assert_eq!(conflicted.outcome(), CommitOutcome::Conflicted);
    // The fork goes before somebody resolves the conflict.
    ann.remove(&fork).await;
    ann.resolve_with_theirs(&project, &conflicted.conflict_id).await;
    assert_eq!(ann.files(&project).await, [format!("a={}", lines(&[(5, "fork")]))]);
    // The last common revision is that of the fork, so only what came after it is merged.
    ann.put(&nested, "a", &lines(&[(5, "nested")])).await;
    ann.put(&project, "a", &lines(&[(1, "first"), (5, "fork")])).await;
    ann.merged(&project, &nested).await;
    assert_eq!(ann.files(&project).await, [format!("a={}", lines(&[(1, "first"), (5, "nested")]))]);
    ann.remove(&nested).await;
    assert_eq!(ann.merge(&project, &project).await.expect_err("refused").reason, "INVALID_FIELD");
    let late = ann.fork(&project, "").await.expect("forked").id;
    assert_eq!(ann.merge(&late, &project).await.expect("merged").outcome(), CommitOutcome::Unchanged);
}

/// Its parent is a revision that only the fork has.
#[tokio::test]
async fn the_other_side_of_an_open_merge_has_a_past() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = ann.put(&project, "a", LINES).await;
    let fork = ann.fork(&project, "").await.expect("forked").id;
    ann.put(&fork, "b", "only in the fork").await;
    let theirs = ann.put(&fork, "a", &lines(&[(5, "fork")])).await;
    ann.put(&project, "a", &lines(&[(5, "parent")])).await;
    assert_eq!(ann.merge(&project, &fork).await.expect("conflicted").outcome(), CommitOutcome::Conflicted);

    let request = DiffRevisionsRequest { project_id: project.clone(), revision: theirs.clone(), ..Default::default() };
    let diff = answer(ann.client.clone().diff_revisions(ann.request(request)).await).expect("a diff");
    assert_eq!((diff.base_revision.as_str(), diff.files.len()), (first.as_str(), 2), "everything since the last common revision");
    let request =
        ListFileRevisionsRequest { project_id: project.clone(), path: "a".into(), revision: theirs.clone(), ..Default::default() };
    let history = answer(ann.client.clone().list_file_revisions(ann.request(request)).await).expect("a history");
    let ids: Vec<_> = history.file_revisions.into_iter().filter_map(|entry| entry.revision).map(|revision| revision.id).collect();
    assert_eq!(ids, [theirs, first]);
}

#[tokio::test]
async fn equal_changes_are_merged_once() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.put(&project, "a", LINES).await;
    let fork = ann.fork(&project, "").await.expect("forked").id;
    for id in [&project, &fork] {
        ann.put(id, "a", &lines(&[(5, "same")])).await;
    }
    let merged = ann.merged(&project, &fork).await;
    assert_eq!(merged.parent_ids.len(), 2);
    // The parent takes its change back. A merge must not bring it again.
    ann.put(&project, "a", LINES).await;
    assert_eq!(ann.merge(&project, &fork).await.expect("merged").outcome(), CommitOutcome::Unchanged);
    ann.put(&fork, "b", "b").await;
    ann.merged(&project, &fork).await;
    assert_eq!(ann.files(&project).await, [format!("a={LINES}"), "b=b".to_owned()]);
}

/// The first revision of the project has a parent that only the fork has.
#[tokio::test]
async fn a_merge_into_a_project_without_files_is_undone() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let fork = ann.fork(&project, "").await.expect("forked").id;
    let theirs = ann.put(&fork, "a", LINES).await;
    let merged = ann.merged(&project, &fork).await;
    assert_eq!((merged.number, merged.parent_ids), (1, vec![theirs]));
    let request = DiffRevisionsRequest { project_id: project.clone(), ..Default::default() };
    let diff = answer(ann.client.clone().diff_revisions(ann.request(request)).await).expect("a diff");
    assert_eq!((diff.base_revision.as_str(), diff.files.len()), ("", 1));
    assert_eq!(ann.undo(&project).await.expect("undone").outcome(), CommitOutcome::Committed);
    assert!(ann.files(&project).await.is_empty());
    assert_eq!(ann.redo(&project).await.expect("redone").outcome(), CommitOutcome::Committed);
    assert_eq!(ann.files(&project).await, [format!("a={LINES}")]);
}

#[tokio::test]
async fn only_projects_of_one_family_are_merged() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    let first = ann.put(&project, "a", LINES).await;
    let fork = ann.fork(&project, "").await.expect("forked").id;
    let unrelated = ann.create().await.id;
    ann.put(&unrelated, "a", LINES).await;
    for source in [&unrelated, &project] {
        let fault = ann.merge(&project, source).await.expect_err("refused");
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "source_project_id"));
    }
    let bobs = bob.create().await.id;
    assert_eq!(reason(bob.merge(&project, &bobs).await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(bob.merge(&bobs, &project).await), "PROJECT_NOT_FOUND");
    bob.join(&cluster, 1).await;
    assert_eq!(reason(bob.merge(&project, &fork).await), "ROLE_REQUIRED");
    let own = bob.fork(&project, "").await.expect("forked").id;
    ann.put(&fork, "b", "fork").await;
    // Two forks of one project, of two owners.
    bob.merged(&own, &fork).await;
    assert_eq!(bob.files(&own).await, [format!("a={LINES}"), "b=fork".to_owned()]);
    let stale = MergeProjectRequest {
        project_id: project.clone(),
        source_project_id: fork.clone(),
        base_revision: "a".repeat(40),
        ..MergeProjectRequest::default()
    };
    assert_eq!(reason(ann.merge_with(stale).await), "STALE_REVISION");
    let foreign = MergeProjectRequest {
        project_id: project.clone(),
        source_project_id: own.clone(),
        source_revision: first,
        ..MergeProjectRequest::default()
    };
    assert_eq!(reason(ann.merge_with(foreign.clone()).await), "PROJECT_NOT_FOUND");
    let known = MergeProjectRequest { source_project_id: fork, ..foreign };
    assert_eq!(ann.merge_with(known).await.expect("merged").outcome(), CommitOutcome::Unchanged);
}

/// A merge of two heads.
struct RandomMerge {
    outcome: CommitOutcome,
    ours: String,
    theirs: String,
    /// Of a clean merge.
    revision: Option<String>,
}

/// A file of these lines. Every third file has the line ends of Windows, and every third one no line end at its end.
fn with_ends(file: u64, lines: &[String]) -> String {
    match file % 3 {
        0 => lines.join("\n") + "\n",
        1 => lines.join("\r\n") + "\r\n",
        _ => lines.join("\n"),
    }
}

/// Random saves and merges of three projects. Conflicts are resolved. Returns the merges.
async fn save_and_merge(ann: &Person, family: &[String], below: &mut impl FnMut(u64) -> u64) -> Vec<RandomMerge> {
    let mut merges = Vec::new();
    for step in 0..40 {
        let at = usize::try_from(below(3)).expect("small");
        if below(5) < 3 {
            let (file, line) = (below(6), usize::try_from(below(9)).expect("small"));
            let text = ann.load(&family[at]).await.expect("loaded");
            let path = format!("f{file}");
            let listing = crate::harness::listing(&text);
            let old = listing.iter().find_map(|entry| entry.strip_prefix(&format!("{path}="))).expect("a file");
            let mut lines: Vec<String> = old.lines().map(str::to_owned).collect();
            lines[line] = format!("{step} changed line {line} of {file}");
            ann.put(&family[at], &path, &with_ends(file, &lines)).await;
            continue;
        }
        let source = (at + 1 + usize::try_from(below(2)).expect("small")) % 3;
        let heads = [&family[at], &family[source]].map(String::as_str);
        let (ours, theirs) = (ann.numbered_log(heads[0]).await.1[0].clone(), ann.numbered_log(heads[1]).await.1[0].clone());
        let merged = ann.merge(heads[0], heads[1]).await.expect("merged");
        let outcome = merged.outcome();
        if outcome == CommitOutcome::Conflicted {
            ann.resolve_with_theirs(heads[0], &merged.conflict_id).await;
        }
        let revision = merged.revision.filter(|_| outcome == CommitOutcome::Committed).map(|revision| revision.id);
        merges.push(RandomMerge { outcome, ours, theirs, revision });
    }
    merges
}

/// Histories after which every kind of merge must have occurred.
const MAX_HISTORIES: usize = 12;

/// How often each kind of merge has occurred.
#[derive(Debug, Default)]
struct Tally {
    clean: usize,
    conflicted: usize,
    /// Merges with several common ancestors.
    criss_cross: usize,
}

/// Random saves and merges of a project and two forks. git computes the same common ancestors and the same trees. `BACKLOT_FORK_SEED` sets the
/// random numbers.
#[tokio::test]
async fn git_merges_the_same() {
    let seed = setting("BACKLOT_FORK_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.to_le_bytes().repeat(4));
    let mut below = |n: u64| rng.next_u64() % n;
    let cluster = Cluster::start().await;
    let mut tally = Tally::default();
    for _ in 0..MAX_HISTORIES {
        compare_with_git(&cluster, &mut below, &mut tally).await.unwrap_or_else(|problem| panic!("BACKLOT_FORK_SEED={seed}: {problem}"));
        if tally.clean > 3 && tally.conflicted > 0 && tally.criss_cross > 0 {
            return;
        }
    }
    panic!("BACKLOT_FORK_SEED={seed}: {tally:?}");
}

/// Compares the merges of one random history with those of git.
async fn compare_with_git(cluster: &Cluster, below: &mut impl FnMut(u64) -> u64, tally: &mut Tally) -> Result<(), String> {
    let ann = cluster.person();
    let project = ann.create().await.id;
    let lines = |n: u64| LINES.replace(' ', &format!(" {n} ")).lines().map(str::to_owned).collect::<Vec<_>>();
    let files: Vec<_> = (0..6).map(|n| write(&format!("f{n}"), &with_ends(n, &lines(n)))).collect();
    ann.save(&project, files).await.expect("saved");
    let request = |id: &str| ForkProjectRequest { project_id: id.into(), ..Default::default() };
    let mut family = vec![project.clone()];
    for _ in 0..2 {
        let forked = answer(ann.client.clone().fork_project(ann.request(request(&project))).await).expect("forked");
        family.push(forked.project.expect("a project").id);
    }
    let merges = save_and_merge(&ann, &family, below).await;
    let folder = tempfile::tempdir().expect("a folder");
    export(cluster, folder.path()).await;
    for RandomMerge { outcome, ours, theirs, revision } in merges {
        let bases = git_output(folder.path(), &["merge-base", "--all", &ours, &theirs]).1;
        let (agrees, tree) = git_output(folder.path(), &["merge-tree", "--write-tree", &ours, &theirs]);
        let is_criss_cross = bases.lines().count() > 1;
        tally.criss_cross += usize::from(is_criss_cross);
        let is_same = match outcome {
            // Everything was merged.
            CommitOutcome::Unchanged => bases.trim() == theirs,
            CommitOutcome::Committed => {
                tally.clean += 1;
                let own = git_output(folder.path(), &["rev-parse", &format!("{}^{{tree}}", revision.expect("a revision"))]).1;
                bases.trim() != theirs && agrees && tree.trim() == own.trim()
            }
            // With several common ancestors this is stricter than git.
            _ => {
                tally.conflicted += 1;
                !agrees || is_criss_cross
            }
        };
        if !is_same {
            return Err(format!("{outcome:?} of {ours} {theirs} with the bases {bases}; git: {agrees} {tree}"));
        }
    }
    Ok(())
}

/// Both sides contain this many foreign revisions, none of which contains another one.
#[tokio::test]
async fn too_many_common_ancestors_are_refused() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    for (foreign, refused) in [(63, false), (64, true)] {
        let project = ann.create().await.id;
        ann.put(&project, "a", LINES).await;
        let fork = ann.fork(&project, "").await.expect("forked").id;
        ann.put(&project, "a", &lines(&[(1, "parent")])).await;
        ann.put(&fork, "a", &lines(&[(9, "fork")])).await;
        let merged = "WITH f AS (SELECT gen_random_uuid() AS id FROM generate_series(1, $3))
                      INSERT INTO merged (project_id, number, log_id, up_to, oid, tree, store_id)
                      SELECT p.id, 2, f.id, 1, l.oid, l.tree, p.store_id
                      FROM f, projects p, ref_log l WHERE p.id = ANY(ARRAY[$1, $2]) AND l.project_id = $1 AND l.seq = 1";
        let id = |project: &str| project.parse::<uuid::Uuid>().expect("an id");
        let insert = sqlx::query(merged).bind(id(&project)).bind(id(&fork)).bind(foreign);
        insert.execute(&cluster.database.pool).await.expect("merges");
        match ann.merge(&project, &fork).await {
            Ok(merged) => assert!(!refused && merged.outcome() == CommitOutcome::Committed, "{foreign}: {merged:?}"),
            Err(fault) => {
                let expected = (true, "MERGE_TOO_COMPLEX", "64");
                assert_eq!((refused, fault.reason.as_str(), fault.metadata["limit"].as_str()), expected, "{foreign}");
            }
        }
    }
}
