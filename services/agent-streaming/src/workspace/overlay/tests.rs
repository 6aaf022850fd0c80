use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

/// A base revision in memory that records the paths that were read.
pub(crate) struct Memory {
    files: BTreeMap<String, Content>,
    pub(crate) reads: Mutex<Vec<String>>,
}

impl Memory {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), Content::Text((*text).into()))).collect();
        Self { files, reads: Mutex::default() }
    }

    pub(crate) fn with_binary(mut self, path: &str, bytes: &'static [u8]) -> Self {
        self.files.insert(path.to_owned(), Content::Binary(Bytes::from_static(bytes)));
        self
    }

    pub(crate) fn entries(&self) -> Vec<FileEntry> {
        self.files
            .iter()
            .map(|(path, content)| FileEntry {
                path: path.clone(),
                kind: FileKind::File as i32,
                size_bytes: u32::try_from(content.len()).unwrap(),
                etag: format!("{content:?}"),
                media_type: String::new(),
            })
            .collect()
    }

    pub(crate) fn overlay(&self) -> Overlay {
        Overlay::new(self.entries(), LIMITS)
    }
}

impl BaseFiles for Memory {
    fn read<'a>(&'a self, paths: &'a [String]) -> BoxFuture<'a, Result<Vec<File>, BaseError>> {
        self.reads.lock().unwrap().extend(paths.iter().cloned());
        let found = paths.iter().filter_map(|path| {
            let content = self.files.get(path)?;
            Some(File { path: path.clone(), content: content.wire(), size_bytes: 1, ..File::default() })
        });
        let found = found.collect();
        Box::pin(async move { Ok(found) })
    }

    fn read_large<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<File>, BaseError>> {
        Box::pin(async move { Ok(self.read(&[path.to_owned()]).await?.pop()) })
    }
}

pub(crate) const LIMITS: ProjectLimits =
    ProjectLimits { file_bytes: 1_000, files: 8, project_bytes: 3_000, folder_entries: 5, files_per_save: 6, asset_bytes: 10_000 };

/// One line per change.
fn shown(changes: &[FileChange]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match change.action.as_ref().unwrap() {
            Action::Write(FileContent { data: Some(Data::Text(text)) }) => format!("{}={text}", change.path),
            Action::Write(_) => format!("{}=binary", change.path),
            Action::Delete(_) => format!("-{}", change.path),
            Action::Rename(to) => format!("{}>{}", change.path, to.new_path),
            Action::Create(_) | Action::Update(_) | Action::Copy(_) => unreachable!(),
        })
        .collect()
}

/// Applies changes in order, as project-storage does.
fn apply(base: &Memory, changes: &[FileChange]) -> BTreeMap<String, Content> {
    let mut files = base.files.clone();
    for change in changes {
        let place = |files: &mut BTreeMap<String, Content>, path: &str, content: Content| {
            assert_eq!(clash::find(path, files.keys().map(String::as_str)), None, "{path}");
            files.insert(path.to_owned(), content);
        };
        match change.action.clone().unwrap() {
            Action::Write(content) => place(&mut files, &change.path, Content::of(File { content: Some(content), ..File::default() })),
            Action::Delete(_) => assert!(files.remove(&change.path).is_some(), "{}", change.path),
            Action::Rename(to) => {
                assert!(!files.contains_key(&to.new_path), "{}", to.new_path);
                let content = files.remove(&change.path).expect("a file to rename");
                place(&mut files, &to.new_path, content);
            }
            Action::Create(_) | Action::Update(_) | Action::Copy(_) => unreachable!(),
        }
    }
    files
}

async fn run(base: &Memory, overlay: &mut Overlay, steps: &str) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    for step in steps.split_whitespace() {
        let result = if let Some(path) = step.strip_prefix('-') {
            overlay.delete(path)
        } else if let Some((from, to)) = step.split_once('>') {
            overlay.rename(base, from, to).await.unwrap()
        } else {
            let (path, text) = step.split_once('=').unwrap();
            overlay.write(base, path, text).await.unwrap()
        };
        reasons.extend(result.err().map(|refusal| refusal.reason));
    }
    reasons
}

async fn net(base: &Memory, steps: &str) -> Vec<String> {
    let mut overlay = base.overlay();
    assert_eq!(run(base, &mut overlay, steps).await, Vec::<&str>::new(), "{steps}");
    shown(&overlay.changes())
}

#[tokio::test]
async fn a_moved_file_keeps_its_origin() {
    let base = Memory::new(&[("a", "1"), ("b", "2")]);
    for (steps, origins) in [
        ("", &[][..]),
        ("a>c", &[("c", "a")]),
        ("a>c c=9", &[("c", "a")]),
        ("a>c c>d d=9", &[("d", "a")]),
        ("a>c -c", &[]),
        ("a>c c>a", &[("a", "a")]),
        ("a=9 -a", &[]),
        ("a>c a=7", &[("c", "a")]),
        ("c=9", &[]),
    ] {
        let mut overlay = base.overlay();
        assert_eq!(run(&base, &mut overlay, steps).await, Vec::<&str>::new(), "{steps}");
        let expected = origins.iter().map(|(path, origin)| ((*path).to_owned(), (*origin).to_owned())).collect();
        assert_eq!(overlay.origins(), expected, "{steps}");
    }
}

#[tokio::test]
async fn the_change_set_has_only_differences_from_the_base() {
    let base = Memory::new(&[("a", "1"), ("b", "2"), ("d/e", "3")]).with_binary("img.png", b"\x89P");
    for (steps, changes) in [
        ("", &[][..]),
        ("a=1", &[]),
        ("a=9 a=1", &[]),
        ("-a a=1", &[]),
        ("a=9", &["a=9"]),
        ("z=1 -z", &[]),
        ("-b z=1 a=2", &["-b", "a=2", "z=1"]),
        ("a>c", &["a>c"]),
        ("a>c c>a", &[]),
        ("a>c c=5", &["-a", "c=5"]),
        ("a>c -c", &["-a"]),
        ("a>c a=7", &["a=7", "c=1"]),
        ("img.png>d/logo.png", &["img.png>d/logo.png"]),
        // Swapped files cannot be renamed in any order.
        ("a>t b>a t>b", &["a=2", "b=1"]),
        ("-b a>b", &["-a", "b=1"]),
        // The target of one move is the source of another.
        ("img.png>t a>img.png", &["-a", "img.png=1", "t=binary"]),
        ("a>A", &["a>A"]),
        ("a>t t>a/b", &["a>a/b"]),
        ("d/e>t t>d", &["d/e>d"]),
        ("z=1 -a z>a", &[]),
        ("-d/e a>d", &["-a", "-d/e", "d=1"]),
    ] {
        assert_eq!(net(&base, steps).await, changes, "{steps}");
    }
}

#[tokio::test]
async fn a_file_that_replaces_an_equal_one_is_not_a_change() {
    let base = Memory::new(&[("a", "same"), ("b", "same")]);
    assert_eq!(net(&base, "-b a>b").await, ["-a"]);
}

#[tokio::test]
async fn the_base_is_read_only_when_it_is_needed() {
    let base = Memory::new(&[("a", "1"), ("b", "22")]);
    let mut overlay = base.overlay();
    run(&base, &mut overlay, "a=longer c=1 -c").await;
    assert_eq!(*base.reads.lock().unwrap(), Vec::<String>::new());
    run(&base, &mut overlay, "b=33").await;
    overlay.read(&base, &["a", "b", "missing"]).await.unwrap();
    overlay.delete("b").unwrap();
    run(&base, &mut overlay, "b=22").await;
    assert_eq!(*base.reads.lock().unwrap(), ["b"]);
    let contents = overlay.read(&base, &["b", "a"]).await.unwrap();
    assert_eq!(contents, [("b".into(), Content::Text("22".into())), ("a".into(), Content::Text("longer".into()))]);
}

#[tokio::test]
async fn a_refused_change_has_no_effect() {
    let base = Memory::new(&[("a", "1"), ("d/e", "2")]);
    let long = format!("x={}", "y".repeat(1_001));
    for (steps, reason) in [
        ("-x", "FILE_NOT_FOUND"),
        ("-d", "FILE_NOT_FOUND"),
        ("x>y", "FILE_NOT_FOUND"),
        ("a>d/e", "FILE_EXISTS"),
        ("a>a", "FILE_EXISTS"),
        ("../x=1", "INVALID_PATH"),
        ("/x=1", "INVALID_PATH"),
        ("a>.git/x", "INVALID_PATH"),
        ("A=1", "INVALID_PATH"),
        ("D/x=1", "INVALID_PATH"),
        ("d=1", "INVALID_PATH"),
        ("a/b=1", "INVALID_PATH"),
        (&long, "FILE_TOO_LARGE"),
    ] {
        let mut overlay = base.overlay();
        assert_eq!(run(&base, &mut overlay, steps).await, [reason], "{steps}");
        assert_eq!(shown(&overlay.changes()), Vec::<String>::new(), "{steps}");
    }
}

#[tokio::test]
async fn an_existing_path_may_violate_the_rules_for_new_paths() {
    let base = Memory::new(&[("aux.js", "1"), ("a:b/c", "2"), ("end.", "3"), ("d", "4")]);
    for (steps, changes) in [
        ("aux.js=9", &["aux.js=9"][..]),
        ("a:b/c=9 a:b/c=2", &[]),
        ("aux.js>lib/x.js", &["aux.js>lib/x.js"]),
        ("aux.js>x x>aux.js", &[]),
        ("-aux.js -a:b/c -end.", &["-a:b/c", "-aux.js", "-end."]),
        ("-end. end.=9", &["end.=9"]),
        ("-end. d>end.", &["-d", "end.=4"]),
        ("end.>t aux.js>end.", &["-aux.js", "end.=1", "t=3"]),
    ] {
        assert_eq!(net(&base, steps).await, changes, "{steps}");
    }
    let mut overlay = base.overlay();
    let contents = overlay.read(&base, &["aux.js", "a:b/c"]).await.unwrap();
    assert_eq!(contents, [("aux.js".into(), Content::Text("1".into())), ("a:b/c".into(), Content::Text("2".into()))]);
}

#[tokio::test]
async fn the_refusal_of_a_new_path_contains_the_violated_rule() {
    let base = Memory::new(&[("aux.js", "1"), ("a:b/c", "2"), ("d", "3")]);
    let long = format!("a/{}", "é".repeat(128));
    let rows = [
        "con",
        "src/NUL.tar.gz",
        "what?",
        "a:b/new",
        "end.",
        "x/end /y",
        "a\u{202e}b",
        "a\u{ffff}",
        "AUX.js",
        &long,
        "../x",
        "/x",
        "a\\b",
        ".GIT/x",
    ];
    for path in rows {
        let problem = proto::path::check_new(path).expect_err("an invalid path");
        let message = format!("`{}` is not a valid path: {problem}", proto::path::shown(path));
        let refusal = Err(Refusal::new("INVALID_PATH", message));
        let mut overlay = base.overlay();
        assert_eq!(overlay.write(&base, path, "x").await.unwrap(), refusal);
        assert_eq!(overlay.rename(&base, "d", path).await.unwrap(), refusal);
        assert_eq!(overlay.rename(&base, "aux.js", path).await.unwrap(), refusal);
        assert_eq!(shown(&overlay.changes()), Vec::<String>::new(), "{path}");
    }
}

#[tokio::test]
async fn a_change_above_a_limit_is_refused() {
    let base = Memory::new(&[("a", "1")]);
    let limits = |limits: ProjectLimits| Overlay::new(base.entries(), limits);
    let file = ProjectLimits { file_bytes: 3, ..ProjectLimits::default() };
    assert_eq!(run(&base, &mut limits(file), "a=123 a=1234 b=éé").await, ["FILE_TOO_LARGE", "FILE_TOO_LARGE"]);
    let files = ProjectLimits { files: 2, ..ProjectLimits::default() };
    assert_eq!(run(&base, &mut limits(files), "b=1 c=1 a=2 b>c -c b=1").await, ["TOO_MANY_FILES"]);
    let bytes = ProjectLimits { project_bytes: 4, ..ProjectLimits::default() };
    assert_eq!(run(&base, &mut limits(bytes), "b=123 b=1234 c=1 b=1 c=12").await, ["PROJECT_TOO_LARGE", "PROJECT_TOO_LARGE"]);
    let entries = ProjectLimits { folder_entries: 2, ..ProjectLimits::default() };
    assert_eq!(
        run(&base, &mut limits(entries), "d/1=x d/2=x d/3=x b=x d/2/x=y d/2>d/3").await,
        ["TOO_MANY_FILES", "TOO_MANY_FILES", "INVALID_PATH"]
    );
    let save = ProjectLimits { files_per_save: 2, ..ProjectLimits::default() };
    assert_eq!(run(&base, &mut limits(save), "b=1 b=2 a=2 -a c=1 -b c=1").await, ["TOO_MANY_FILES"]);
}

#[tokio::test]
async fn a_locked_path_is_not_changed() {
    let base = Memory::new(&[("a", "1"), ("d/e", "2"), ("de", "3")]);
    let mut overlay = base.overlay().with_locked(vec!["a".to_owned(), "d".to_owned()]);
    let steps = "a=2 -a a>b d/e=2 d/new=1 d/f/g=1 -d/e d/e>x de>d/x";
    assert_eq!(run(&base, &mut overlay, steps).await, ["PATH_LOCKED"; 9]);
    assert_eq!(shown(&overlay.changes()), Vec::<String>::new());
    assert_eq!(run(&base, &mut overlay, "de=1 de>x e/d=1").await, Vec::<&str>::new());
}

#[test]
fn folders_of_the_base_are_ignored() {
    let folder = FileEntry { path: "d".into(), kind: FileKind::Folder as i32, ..FileEntry::default() };
    assert_eq!(Overlay::new(vec![folder], LIMITS).files().count(), 0);
}

fn step() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec!["a", "A", "b", "c", "d/e", "d/f", "d", "D/e", "b/x"]);
    (path.clone(), path, 0..4_u8, 0..4_u8).prop_map(|(path, other, kind, text)| match kind {
        0 => format!("-{path}"),
        1 => format!("{path}>{other}"),
        _ => format!("{path}={text}"),
    })
}

proptest! {
    /// The change set can be applied in order, results in the staged tree, and writes no unchanged file.
    #[test]
    fn the_change_set_results_in_the_staged_tree(steps in prop::collection::vec(step(), 0..14)) {
        let base = Memory::new(&[("a", "1"), ("b", "2"), ("d/e", "3")]).with_binary("c", b"\0");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut overlay = base.overlay();
            run(&base, &mut overlay, &steps.join(" ")).await;
            let paths: Vec<String> = overlay.files().map(|(path, _)| path.to_owned()).collect();
            let staged = overlay.read(&base, &paths.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
            let changes = overlay.changes();
            let staged: BTreeMap<_, _> = staged.into_iter().collect();
            assert_eq!(apply(&base, &changes), staged);
            for (path, size) in overlay.files() {
                assert_eq!(staged[path].len(), size as usize);
            }
            for change in &changes {
                if let Some(Action::Write(content)) = &change.action {
                    let content = Content::of(File { content: Some(content.clone()), ..File::default() });
                    assert_ne!(base.files.get(&change.path), Some(&content), "{} is unchanged", change.path);
                }
            }
        });
    }
}

#[tokio::test]
async fn an_asset_is_moved_and_deleted_but_never_read() {
    let base = Memory::new(&[("big", "1234567890"), ("small", "1")]);
    let overlay = || Overlay::new(base.entries(), ProjectLimits { file_bytes: 5, ..ProjectLimits::default() });
    let mut read = overlay();
    let contents = read.read(&base, &["big", "small"]).await.unwrap();
    assert_eq!(contents, [("big".to_owned(), Content::Asset), ("small".to_owned(), Content::Text("1".into()))]);
    assert_eq!(*base.reads.lock().unwrap(), ["small"]);
    for (steps, refused, changes) in [
        ("big>moved", &[][..], &["big>moved"][..]),
        ("big>moved moved>again", &[], &["big>again"]),
        ("big>moved moved>big", &[], &[]),
        ("-big", &[], &["-big"]),
        ("big=text", &[], &["big=text"]),
        // The change set would need the content.
        ("big>moved big=text", &["FILE_IS_ASSET"], &["big>moved"]),
        ("big>moved small>big", &["FILE_IS_ASSET"], &["big>moved"]),
        ("-small big>small", &["FILE_IS_ASSET"], &["-small"]),
        ("big>moved -moved big=text", &[], &["big=text"]),
    ] {
        let mut overlay = overlay();
        assert_eq!(run(&base, &mut overlay, steps).await, refused, "{steps}");
        assert_eq!(shown(&overlay.changes()), changes, "{steps}");
    }
    assert_eq!(*base.reads.lock().unwrap(), ["small"; 1]);
}
