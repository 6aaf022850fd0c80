//! git itself reads what the service has stored, and agrees with its differences, its blame, its histories of files and its reverts.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use proptest::{
    prelude::Rng as _,
    test_runner::{RngAlgorithm, TestRng},
};
use proto::project_storage::{
    BlameFileRequest, BlameRange, CommitOutcome, DiffRevisionsRequest, DiffRevisionsResponse, FileChange, FileDiff, FileRevision,
    FileStatus, ListFileRevisionsRequest, RevertRevisionRequest,
};
use sqlx::Row as _;

use crate::{
    conflicts::{Conflict, with_content},
    harness::{Cluster, Person, answer, delete, rename, update, write},
};

const SAVES: usize = 14;
const PAIRS: usize = 25;
/// Revisions whose files are blamed.
const BLAMED: usize = 4;
const REVERTS: usize = 24;

fn git(repository: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(repository).args(arguments).stdin(Stdio::null()).output().expect("git is installed");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Whether a command of git succeeds, and what it writes.
pub(crate) fn git_output(repository: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("git").arg("-C").arg(repository).args(arguments).stdin(Stdio::null()).output().expect("git is installed");
    (output.status.success(), String::from_utf8(output.stdout).expect("UTF-8"))
}

/// Writes all stored objects into a bare repository.
pub(crate) async fn export(cluster: &Cluster, repository: &Path) {
    git(repository, &["init", "--quiet", "--bare", "."]);
    let rows = sqlx::query("SELECT oid, tag, size, data FROM objects").fetch_all(&cluster.database.pool).await.expect("objects");
    for row in rows {
        let (oid, tag, size, data): (Vec<u8>, i16, i32, Vec<u8>) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let kind = ["commit", "tree", "blob"][usize::try_from(tag & 15).expect("a kind") - 1];
        let mut content = Vec::new();
        if tag >> 4 == 0 {
            content = data;
        } else {
            std::io::copy(&mut ZlibDecoder::new(&data[..]), &mut content).expect("zlib");
        }
        let id = oid.iter().fold(String::new(), |mut id, byte| {
            write!(id, "{byte:02x}").expect("a string");
            id
        });
        let path = repository.join("objects").join(&id[..2]).join(&id[2..]);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let mut file = ZlibEncoder::new(std::fs::File::create(path).expect("a file"), Compression::fast());
        file.write_all(format!("{kind} {size}\0").as_bytes()).and_then(|()| file.write_all(&content)).expect("written");
        file.finish().expect("written");
    }
}

/// A project under random edits. No two lines are equal, so every difference has one answer.
struct Editor {
    rng: TestRng,
    files: Vec<RandomFile>,
    made: usize,
}

struct RandomFile {
    path: String,
    lines: Vec<String>,
    /// What ends its lines.
    line_end: &'static str,
    /// Whether the last line has an end.
    is_ended: bool,
}

impl RandomFile {
    fn content(&self) -> String {
        self.lines.join(self.line_end) + if self.is_ended { self.line_end } else { "" }
    }
}

impl Editor {
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.rng.next_u64() % u64::try_from(n).expect("a number")).expect("a number")
    }

    fn line(&mut self) -> String {
        self.made += 1;
        format!("line {} of the project: {:x}", self.made, self.rng.next_u32())
    }

    fn path(&mut self) -> String {
        self.made += 1;
        let folder = ["", "src/", "src/components/", "public/"][self.below(4)];
        format!("{folder}file{}.txt", self.made)
    }

    /// Changes at most a quarter of the lines.
    fn edit(&mut self, at: usize) {
        if self.below(4) == 0 {
            self.files[at].is_ended ^= true;
        }
        for _ in 0..=self.below(3) {
            let place = self.below(self.files[at].lines.len());
            let line = self.line();
            let kind = self.below(3);
            let lines = &mut self.files[at].lines;
            match kind {
                0 => lines[place] = line,
                1 => lines.insert(place, line),
                _ => drop(lines.remove(place)),
            }
        }
    }

    fn step(&mut self) -> Vec<FileChange> {
        let mut changes = Vec::new();
        let mut touched = Vec::new();
        for _ in 0..=self.below(4) {
            let kind = if self.files.len() < 4 { 0 } else { self.below(5) };
            if kind == 0 {
                let (path, length) = (self.path(), 20 + self.below(30));
                let lines = (0..length).map(|_| self.line()).collect();
                let (line_end, is_ended) = (["\n", "\n", "\r\n"][self.below(3)], self.below(3) > 0);
                let file = RandomFile { path, lines, line_end, is_ended };
                changes.push(write(&file.path, &file.content()));
                touched.push(file.path.clone());
                self.files.push(file);
                continue;
            }
            let at = self.below(self.files.len());
            if touched.contains(&self.files[at].path) {
                continue;
            }
            if kind == 1 {
                changes.push(delete(&self.files.remove(at).path));
                continue;
            }
            if kind == 2 {
                // A moved file often keeps its name.
                let made = self.path();
                let (folder, name) = made.rsplit_once('/').map_or(("", made.as_str()), |(folder, name)| (folder, name));
                let old_name = self.files[at].path.rsplit('/').next().unwrap_or_default().to_owned();
                let kept = format!("moved{}/{folder}/{old_name}", self.made).replace("//", "/");
                let to = if self.below(2) == 0 { kept } else { format!("{folder}/{name}").trim_start_matches('/').to_owned() };
                changes.push(rename(&self.files[at].path, &to));
                self.files[at].path = to;
            }
            if kind > 2 || self.below(2) == 0 {
                self.edit(at);
                changes.push(update(&self.files[at].path, &self.files[at].content()));
            }
            touched.push(self.files[at].path.clone());
        }
        changes
    }
}

/// The lines of `git diff --name-status -M`.
fn name_status(diff: &DiffRevisionsResponse) -> Vec<String> {
    let line = |file: &FileDiff| match file.status() {
        FileStatus::Renamed => format!("R{:03}\t{}\t{}", file.similarity, file.old_path, file.path),
        FileStatus::Added => format!("A\t{}", file.path),
        FileStatus::Deleted => format!("D\t{}", file.path),
        FileStatus::Modified | FileStatus::Unspecified => format!("M\t{}", file.path),
    };
    diff.files.iter().map(line).collect()
}

/// The hunks as `git diff` writes them, without the text behind the numbers.
fn patch(diff: &DiffRevisionsResponse) -> String {
    let range = |start: u32, lines: u32| if lines == 1 { start.to_string() } else { format!("{start},{lines}") };
    let mut patch = String::new();
    for hunk in diff.files.iter().flat_map(|file| &file.hunks) {
        let (old, new) = (range(hunk.old_start, hunk.old_lines), range(hunk.new_start, hunk.new_lines));
        write!(patch, "@@ -{old} +{new} @@\n{}", hunk.text).expect("a string");
    }
    patch
}

/// The hunks of a patch of git.
fn hunks(patch: &str) -> String {
    let mut hunks = String::new();
    let mut in_hunk = false;
    for line in patch.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("@@ ") {
            in_hunk = true;
            let (numbers, _) = rest.split_once(" @@").expect("a header");
            writeln!(hunks, "@@ {numbers} @@").expect("a string");
        } else if line.starts_with("diff --git") {
            in_hunk = false;
        } else if in_hunk {
            writeln!(hunks, "{line}").expect("a string");
        }
    }
    hunks
}

async fn diff(ann: &Person, project: &str, (base, revision): (&str, &str)) -> DiffRevisionsResponse {
    let request = DiffRevisionsRequest {
        project_id: project.into(),
        base_revision: base.into(),
        revision: revision.into(),
        page_size: 200,
        ..Default::default()
    };
    answer(ann.client.clone().diff_revisions(ann.request(request)).await).expect("a diff")
}

/// The origin of each line: commit, path and line.
type Origins = Vec<(String, String, u32)>;

async fn blame(ann: &Person, project: &str, (revision, path): (&str, &str)) -> Origins {
    let request = BlameFileRequest { project_id: project.into(), revision: revision.into(), path: path.into(), ..Default::default() };
    let blame = ann.blame(request).await.expect("a blame");
    assert!(blame.next_page_token.is_empty() && blame.ranges.iter().all(|range| !range.boundary), "{blame:?}");
    let lines = |range: &BlameRange| {
        let BlameRange { revision, path, original_start_line: first, line_count, .. } = range.clone();
        (first..first + line_count).map(move |line| (revision.clone(), path.clone(), line))
    };
    blame.ranges.iter().flat_map(lines).collect()
}

fn blame_of_git(repository: &Path, (revision, path): (&str, &str)) -> Origins {
    let (mut origins, mut header) = (Vec::new(), None);
    for line in git(repository, &["blame", "--line-porcelain", revision, "--", path]).lines() {
        if line.starts_with('\t') {
            header = None;
        } else if let (Some((commit, number)), Some(name)) = (&header, line.strip_prefix("filename ")) {
            origins.push((String::clone(commit), name.to_owned(), *number));
        } else if header.is_none() {
            let mut words = line.split(' ');
            let commit = words.next().expect("a commit").to_owned();
            header = Some((commit, words.next().and_then(|word| word.parse::<u32>().ok()).expect("a line")));
        }
    }
    origins
}

/// The history of a file as `git log --follow --name-status` writes it.
async fn file_history(ann: &Person, project: &str, (revision, path): (&str, &str)) -> Vec<String> {
    let request =
        ListFileRevisionsRequest { project_id: project.into(), revision: revision.into(), path: path.into(), ..Default::default() };
    let line = |entry: &FileRevision| {
        let status = match entry.status() {
            FileStatus::Renamed => format!("R{:03}\t{}", entry.similarity, entry.old_path),
            FileStatus::Added => "A".to_owned(),
            FileStatus::Deleted => "D".to_owned(),
            FileStatus::Modified | FileStatus::Unspecified => "M".to_owned(),
        };
        format!("{}\t{status}\t{}", entry.revision.as_ref().expect("a revision").id, entry.path)
    };
    ann.whole_file_history(request, 3).await.iter().map(line).collect()
}

fn file_history_of_git(repository: &Path, (revision, path): (&str, &str)) -> Vec<String> {
    let log = git(repository, &["log", "--follow", "--name-status", "--format=commit %H", revision, "--", path]);
    let (mut commit, mut lines) = ("", Vec::new());
    for line in log.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("commit ") {
            Some(id) => commit = id,
            None => lines.push(format!("{commit}\t{line}")),
        }
    }
    lines
}

/// Resolved conflicts are commits of two parents. Only the turn's own commit is in no log.
#[tokio::test]
async fn git_blames_the_same_commits_of_a_resolved_conflict() {
    let cluster = Cluster::start().await;
    let text = |lines: &[&str]| lines.iter().fold(String::new(), |text, line| text + line + "\n");
    let before = vec![write("a", &text(&["one", "two", "three"])), write("old", &text(&["1", "2", "3", "4", "5", "6"]))];
    let ours = vec![write("a", &text(&["one", "ann", "three"])), write("old", &text(&["first", "1", "2", "3", "4", "5", "6"]))];
    let moved = text(&["1", "2", "3", "4", "5", "6", "last"]);
    let theirs = vec![write("a", &text(&["one", "turn", "three", "four"])), write("new", "by turn\n"), write("old", &moved)];
    let conflict = Conflict::of(&cluster, before, ours, theirs).await;
    let (ann, project) = (&conflict.ann, conflict.project.as_str());
    let both = with_content("a", &text(&["one", "turn", "both", "ann", "three", "four"]));
    let resolved = conflict.resolve(conflict.request(vec![both])).await.expect("resolved").revision.expect("a revision").id;
    let head = ann.saved(project, vec![rename("old", "src/moved"), write("a", &text(&["zero", "turn", "both", "ann", "four"]))]).await;
    let folder = tempfile::tempdir().expect("a folder");
    export(&cluster, folder.path()).await;
    for file in [(&resolved, "a"), (&resolved, "old"), (&resolved, "new"), (&head, "a"), (&head, "src/moved"), (&head, "new")] {
        let file = (file.0.as_str(), file.1);
        let theirs = blame_of_git(folder.path(), file);
        assert!(theirs.iter().any(|(commit, ..)| *commit == conflict.turn_revision), "{file:?}: {theirs:?}");
        assert_eq!(blame(ann, project, file).await, theirs, "{file:?}");
    }
}

/// A project with random saves.
struct RandomHistory {
    /// Of the random numbers.
    seed: [u8; 16],
    editor: Editor,
    cluster: Cluster,
    ann: Person,
    project: String,
    revisions: Vec<String>,
}

impl RandomHistory {
    async fn start() -> Self {
        let seed = uuid::Uuid::now_v7().into_bytes();
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed, seed].concat());
        let mut editor = Editor { rng, files: Vec::new(), made: 0 };
        let cluster = Cluster::start().await;
        let ann = cluster.person();
        let project = ann.create().await.id;
        let mut revisions = Vec::new();
        while revisions.len() < SAVES {
            let changes = editor.step();
            if !changes.is_empty() {
                revisions.push(ann.edit(&project, changes).await);
            }
        }
        Self { seed, editor, cluster, ann, project, revisions }
    }
}

#[tokio::test]
async fn git_agrees_with_a_random_history() {
    let RandomHistory { seed: id, mut editor, cluster, ann, project, revisions } = RandomHistory::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    export(&cluster, folder.path()).await;
    git(folder.path(), &["fsck", "--full", "--strict", "--no-dangling"]);
    for _ in 0..PAIRS {
        let pair = [editor.below(revisions.len()), editor.below(revisions.len())].map(|at| revisions[at].as_str());
        let ours = diff(&ann, &project, (pair[0], pair[1])).await;
        let mut theirs: Vec<_> =
            git(folder.path(), &["diff", "--name-status", "-M", pair[0], pair[1]]).lines().map(str::to_owned).collect();
        let mut own = name_status(&ours);
        theirs.sort();
        own.sort();
        assert_eq!(own, theirs, "{pair:?}, seed {id:?}");
        assert_eq!(patch(&ours), hunks(&git(folder.path(), &["diff", "-M", "--no-color", pair[0], pair[1]])), "{pair:?}, seed {id:?}");
    }
    for n in 0..BLAMED {
        let at = if n == 0 { revisions.len() - 1 } else { editor.below(revisions.len()) };
        let revision = revisions[at].as_str();
        for path in git(folder.path(), &["ls-tree", "-r", "--name-only", revision]).lines() {
            let file = (revision, path);
            assert_eq!(blame(&ann, &project, file).await, blame_of_git(folder.path(), file), "{file:?}, seed {id:?}");
            let ours = file_history(&ann, &project, file).await;
            assert_eq!(ours, file_history_of_git(folder.path(), file), "{file:?}, seed {id:?}");
        }
    }
}

/// Lets git revert a revision. As in `git revert`, the other side of the merge is a commit on the revision with the files from before it.
/// `None` if git finds a conflict.
fn revert_of_git(repository: &Path, head: &str, revision: &str) -> Option<String> {
    let before = git(repository, &["rev-parse", &format!("{revision}^^{{tree}}")]);
    let who = ["-c", "user.name=t", "-c", "user.email=t@example"];
    let commit = git(repository, &[&who[..], &["commit-tree", before.trim(), "-p", revision, "-m", "before"]].concat());
    let options = ["-c", "merge.directoryRenames=false", "merge-tree", "--write-tree"];
    let (is_clean, output) = git_output(repository, &[&options[..], &[head, commit.trim()]].concat());
    let tree = output.split('\n').next().expect("a tree");
    is_clean.then(|| tree.to_owned())
}

/// Whether one side of a revert moved and changed a file that the other side changed, too. Only git follows such a move.
fn has_changed_move(repository: &Path, head: &str, revision: &str) -> bool {
    let before = format!("{revision}^");
    let sides = [head, &before].map(|side| git(repository, &["diff", "--name-status", "-M", revision, side]));
    let is_touched = |side: &str, path: &str| side.lines().any(|line| line.split('\t').nth(1) == Some(path));
    let has_move = |side: &str, other: &str| {
        let changed = side.lines().filter(|line| line.starts_with('R') && !line.starts_with("R100"));
        changed.filter_map(|line| line.split('\t').nth(1)).any(|old_path| is_touched(other, old_path))
    };
    has_move(&sides[0], &sides[1]) || has_move(&sides[1], &sides[0])
}

/// Each revert is made by both on the same head. The trees are equal, or both find a conflict, but for [`has_changed_move`].
#[tokio::test]
async fn git_agrees_with_the_reverts_of_a_random_history() {
    let RandomHistory { seed: id, mut editor, cluster, ann, project, mut revisions } = RandomHistory::start().await;
    let (mut head, mut reverts) = (revisions.last().cloned().expect("a head"), Vec::new());
    for n in 0..REVERTS {
        // The first revision has no parent. Every third revert is that of the head, which never conflicts.
        let revision = if n % 3 == 0 { head.clone() } else { revisions[1 + editor.below(revisions.len() - 1)].clone() };
        let request = RevertRevisionRequest { project_id: project.clone(), revision: revision.clone(), ..Default::default() };
        let reverted = ann.revert(request).await.expect("answered");
        let now = reverted.revision.as_ref().map(|now| now.id.clone());
        reverts.push((head.clone(), revision, now.clone()));
        if reverted.outcome() == CommitOutcome::Committed {
            head = now.expect("a revision");
            revisions.push(head.clone());
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    export(&cluster, folder.path()).await;
    git(folder.path(), &["fsck", "--full", "--strict", "--no-dangling"]);
    let mut clean = 0;
    for (head, revision, now) in &reverts {
        let ours = now.as_ref().map(|now| git(folder.path(), &["rev-parse", &format!("{now}^{{tree}}")]).trim().to_owned());
        clean += usize::from(ours.is_some());
        let theirs = revert_of_git(folder.path(), head, revision);
        if ours.is_some() || !has_changed_move(folder.path(), head, revision) {
            assert_eq!(ours, theirs, "the revert of {revision} on {head}, seed {id:?}");
        }
    }
    assert!(clean >= REVERTS / 3, "{clean} of {REVERTS} reverts were clean; seed {id:?}");
}
