use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The largest text of these merges.
const TEXT_BYTES: u32 = 50_000;

/// Parses a tree: `path=text` separated by spaces, where `|` ends a line. Adds the contents of its files to `contents`.
fn tree(files: &str, contents: &mut HashMap<Oid, Bytes>) -> Arc<Folder> {
    let mut root = Folder::default();
    for (path, text) in files.split_whitespace().filter_map(|file| file.split_once('=')) {
        let bytes = Bytes::from(text.replace('|', "\n"));
        let oid = git::blob_id(&bytes).expect("id");
        root.put(path, FileRef { oid, size: u32::try_from(bytes.len()).expect("small") }).expect("no clash");
        contents.insert(oid, bytes);
    }
    Arc::new(root)
}

/// Merges trees. Adds the contents of all files to `contents`.
fn run(sides: [&str; 3], is_snapshot: bool, mode: MergeMode, contents: &mut HashMap<Oid, Bytes>) -> (Merge, MergeResult) {
    let [base, result, head] = sides.map(|side| tree(side, contents));
    let merge = Merge { base, result, head, text_bytes: TEXT_BYTES, is_snapshot };
    let sides = merge.sides();
    let found =
        merge.renames(&sides).map(|renames| renames.map(|side| moves(side.finish(|oid| contents.get(&oid).map(|bytes| &bytes[..])))));
    let plan = merge.plan(mode, &sides, &found.unwrap_or_default());
    let files = merge_files(plan.edits(), contents, merge.text_bytes);
    let merged = plan.finish(&merge.head, &merge.result, files);
    contents.extend(merged.contents.iter().map(|(oid, bytes)| (*oid, bytes.clone())));
    (merge, merged)
}

/// Merges trees: the result in the format of [`tree`], or the paths in conflict.
fn merged(sides: [&str; 3], is_snapshot: bool, mode: MergeMode) -> Result<String, String> {
    let mut contents = HashMap::new();
    let (_, merged) = run(sides, is_snapshot, mode, &mut contents);
    if !merged.conflicts.is_empty() {
        return Err(merged.conflicts.join(" "));
    }
    let text = |file: FileRef| String::from_utf8_lossy(&contents[&file.oid]).replace('\n', "|");
    let files: Vec<_> = merged.tree.walk_files().into_iter().map(|(path, file)| format!("{path}={}", text(file))).collect();
    Ok(files.join(" "))
}

fn check(base: &str, result: &str, head: &str, mode: MergeMode, expected: Result<&str, &str>) {
    let found = merged([base, result, head], false, mode);
    assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{base} / {result} / {head}");
}

#[test]
fn changes_of_different_paths_are_merged() {
    for mode in [MergeMode::Paths, MergeMode::Lines] {
        check("a=1 b=1", "a=2 b=1", "a=1 b=3", mode, Ok("a=2 b=3"));
        check("a=1", "a=1 n=1", "a=1 m=1", mode, Ok("a=1 m=1 n=1"));
        check("a=1 b=1", "b=1", "a=1 b=2", mode, Ok("b=2"));
        check("a=1", "b/a=1", "a=1 c=1", mode, Ok("b/a=1 c=1"));
        check("a=1", "a=2", "a=2 b=1", mode, Ok("a=2 b=1"));
        check("", "a=1", "b=1", mode, Ok("a=1 b=1"));
    }
}

#[test]
fn changes_of_the_same_path_conflict() {
    for mode in [MergeMode::Paths, MergeMode::Lines] {
        check("a=1 b=1", "a=2 b=2", "a=3 b=1", mode, Err("a"));
        check("a=1", "a=2", "", mode, Err("a"));
        check("a=1", "", "a=2", mode, Err("a"));
        check("a=1", "a=2", "A=3", mode, Err("A a"));
        check("a=1", "a=2", "a/b=3", mode, Err("a a/b"));
        check("", "a=1", "a=2", mode, Err("a"));
        check("", "a/b=1", "a=2", mode, Err("a a/b"));
        check("", "a=1", "a/b=2 a/c/d=3", mode, Err("a a/b a/c/d"));
        check("", "A=1", "a=2", mode, Err("A a"));
        check("", "SRC/x=1", "src/x=1 src/y=2 t=1", mode, Err("SRC/x src/x src/y"));
    }
}

#[test]
fn lines_are_merged_where_they_do_not_overlap() {
    check("a=1|2|3|", "a=x|2|3|", "a=1|2|y|", MergeMode::Paths, Err("a"));
    check("a=1|2|3|", "a=x|2|3|", "a=1|2|y|", MergeMode::Lines, Ok("a=x|2|y|"));
    check("a=1|2|3|", "a=x|2|3| b=1", "a=1|2|y| c=1", MergeMode::Lines, Ok("a=x|2|y| b=1 c=1"));
    check("a=1|2|3|", "a=x|2|3|", "a=y|2|3|", MergeMode::Lines, Err("a"));
    // A file that can be merged is no conflict, even if another file is one.
    check("a=1|2|3| b=1", "a=x|2|3| b=2", "a=1|2|y| b=3", MergeMode::Lines, Err("b"));
    // A folder must not replace a file in conflict.
    check("a=1", "a/b=1", "a=2", MergeMode::Lines, Ok("a/b=2"));
    check("a=1", "a/b=9", "a=2", MergeMode::Lines, Err("a a/b"));
}

#[test]
fn a_merged_text_above_the_limit_conflicts() {
    let side = |first: usize, last: usize| format!("a={}|1|2|3|{}| b=1", "x".repeat(first), "y".repeat(last));
    let limit = TEXT_BYTES as usize;
    let (more, most) = (limit / 2, limit - limit / 2 - "|1|2|3||".len());
    for (last, is_merged) in [(most, true), (most + 1, false)] {
        let found = merged([&side(1, 1), &side(more, 1), &side(1, last)], false, MergeMode::Lines);
        assert!(found == if is_merged { Ok(side(more, last)) } else { Err("a".to_owned()) }, "{last}");
    }
}

#[test]
fn an_edit_follows_a_move() {
    for (base, moved, edited, expected) in [
        ("a=1", "b=1", "a=2", Ok("b=2")),
        ("a=1 k=1", "d/b=1 k=2", "a=2 k=1", Ok("d/b=2 k=2")),
        ("src/a=1 src/b=5", "lib/a=1 lib/b=5", "src/a=2 src/b=5 src/c=3", Ok("lib/a=2 lib/b=5 src/c=3")),
        ("readme=1", "README=1", "readme=2", Ok("README=2")),
        // The new path is taken by a file, by a folder, or by a name that differs only in case.
        ("a=1", "b=1", "a=2 b=3", Err("a b")),
        ("a=1", "b=1", "a=2 b/c=3", Err("a b b/c")),
        ("a=1", "b=1", "a=2 B=3", Err("B a b")),
        // Two equal files were moved, a file was moved and edited, an empty file was moved: none is recognised as a move.
        ("a=1 b=1", "c=1 d=1", "a=2 b=1", Err("a")),
        ("a=1", "b=3", "a=2", Err("a")),
        ("a=", "b=", "a=2", Err("a")),
    ] {
        check(base, moved, edited, MergeMode::Lines, expected);
        check(base, edited, moved, MergeMode::Lines, expected);
        assert!(merged([base, moved, edited], false, MergeMode::Paths).is_err());
    }
}

#[test]
fn a_file_that_moved_and_is_gone_on_the_other_side_conflicts() {
    for (base, ours, theirs, expected) in [
        ("a=1", "b=1", "", Err("b")),
        ("a=1", "b=1", "c=1", Err("b c")),
        ("a=1", "b=1", "b=1", Ok("b=1")),
        ("a=1 k=1", "b=1 k=2", "k=1 n=5", Err("b")),
        // The file also changed.
        ("a=1|2|3|4|", "b=1|2|3|5|", "", Err("b")),
        ("a=1|2|3|4|", "b=1|2|3|5|", "c=1|2|3|4|", Err("b c")),
        ("a=1|2|3|4|", "b=1|2|3|5|", "b=1|2|3|5|", Ok("b=1|2|3|5|")),
        ("a=1|2|3|4|", "b=1|2|3|5|", "b=1|2|3|4|", Err("b")),
        // A new file that has nothing of the one that both removed.
        ("a=1|2|3|4|", "b=5|6|7|8|", "", Ok("b=5|6|7|8|")),
        // A file without content.
        ("a= k=1", "b= k=1", "k=1", Ok("b= k=1")),
        // A copy is not a move.
        ("a=1", "a=1 b=1", "", Ok("b=1")),
        // The path of the conflict is taken on the other side.
        ("a=1", "b=1", "b=2", Err("b")),
        ("a=1", "b=1", "b/c=2", Err("b b/c")),
        ("a=1", "b=1", "B=2", Err("B b")),
    ] {
        for mode in [MergeMode::Paths, MergeMode::Lines] {
            check(base, ours, theirs, mode, expected);
            check(base, theirs, ours, mode, expected);
        }
    }
}

#[test]
fn the_old_path_of_a_move_conflicts_with_its_new_one() {
    for (base, moved, other, expected) in [
        ("a=1", "B=1", "a=1 b=2", "B a b"),
        ("a=1", "b=1", "a=1 b=2", "a b"),
        ("a=1", "b=1", "a=1 b/c=2", "a b b/c"),
        ("a=1", "b/c=1", "a=1 b=2", "a b b/c"),
        ("src/x=1", "SRC/x=1", "src/x=1 src/z=2", "SRC/x src/x src/z"),
        // Equal files, and files without content.
        ("src/x=1 src/y=1", "SRC/x=1 SRC/y=1", "src/x=1 src/y=1 src/z=2", "SRC/x SRC/y src/x src/y src/z"),
        ("src/x= src/y=", "SRC/x= SRC/y=", "src/x= src/y= src/z=2", "SRC/x SRC/y src/x src/y src/z"),
        ("a=", "b=", "a= b=2", "a b"),
        // The file also changed, a little or completely.
        ("a=1|2|3|4|", "B=1|2|3|5|", "a=1|2|3|4| b=2", "B a b"),
        ("src/x=1", "SRC/x=2", "src/x=1 src/z=2", "SRC/x src/x src/z"),
        // The old path is taken as well.
        ("a=1", "B=1 a/x=3", "a=1 b=2", "B a a/x b"),
        ("a=1 c=2|3|", "B=1 A=2|3|", "a=1 c=2|3| b=2", "A B a b c"),
    ] {
        for mode in [MergeMode::Paths, MergeMode::Lines] {
            check(base, moved, other, mode, Err(expected));
            check(base, other, moved, mode, Err(expected));
        }
    }
}

#[test]
fn a_snapshot_conflicts_with_every_other_change() {
    for mode in [MergeMode::Paths, MergeMode::Lines] {
        assert_eq!(merged(["a=1", "a=2", "a=1 b=1"], true, mode), Err("b".into()));
        assert_eq!(merged(["a=1", "a=2 b=1", "a=1 b=1"], true, mode), Ok("a=2 b=1".into()));
        assert_eq!(merged(["a=1|2|3|", "a=x|2|3|", "a=1|2|y|"], true, mode), Err("a".into()));
    }
}

#[test]
fn two_spellings_of_a_large_folder_conflict_file_by_file() {
    let files = |folder: &str| (0..4900).map(|n| format!("{folder}/{n}=1 ")).collect::<String>();
    for mode in [MergeMode::Paths, MergeMode::Lines] {
        let conflicts = merged(["", &files("SRC"), &files("src")], false, mode).expect_err("conflicts");
        assert_eq!(conflicts.split(' ').count(), 2 * 4900);
    }
}

/// Trees with few names, so that folders, names that differ only in case, and moves occur.
fn trees() -> impl Strategy<Value = String> {
    let files = proptest::collection::btree_map("[abA](/[ab])?", "[1-3]\\|[1-3]\\|[1-3]\\|", 0..5);
    files.prop_filter_map("names that clash", |files: BTreeMap<String, String>| {
        let mut root = Folder::default();
        let file = FileRef { oid: Oid::EMPTY_TREE, size: 1 };
        let fits = files.keys().all(|path| root.put(path, file).is_ok());
        fits.then(|| files.iter().map(|(path, text)| format!("{path}={text}")).collect::<Vec<_>>().join(" "))
    })
}

/// A file of the base by its place, and its new path; without one it is removed.
type Rename = (prop::sample::Index, Option<String>);

fn renames() -> impl Strategy<Value = Vec<Rename>> {
    proptest::collection::vec((any::<prop::sample::Index>(), proptest::option::weighted(0.9, "[abcAB](/[abA])?")), 0..4)
}

/// Renames files of a tree. A rename to a path that clashes is left out.
fn renamed(base: &str, renames: &[Rename]) -> String {
    let file = FileRef { oid: Oid::EMPTY_TREE, size: 1 };
    let mut files: BTreeMap<String, String> =
        base.split_whitespace().filter_map(|file| file.split_once('=')).map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    for (place, new) in renames.iter().filter(|_| !base.is_empty()) {
        let mut changed = files.clone();
        let Some(old) = files.keys().nth(place.index(files.len().max(1))) else { continue };
        let text = changed.remove(old).expect("a file");
        let mut root = Folder::default();
        let is_free = changed.keys().all(|path| root.put(path, file).is_ok());
        match new {
            Some(new) if !changed.contains_key(new) && root.put(new, file).is_ok() => drop(changed.insert(new.clone(), text)),
            Some(_) => continue,
            None => {}
        }
        assert!(is_free);
        files = changed;
    }
    files.iter().map(|(path, text)| format!("{path}={text}")).collect::<Vec<_>>().join(" ")
}

/// Takes all paths in conflict from one side, and then from the other one. The result has exactly that side's files at these paths. A
/// file of that side is absent only if the other side removed it, and if that side moved it, the new path is there.
fn check_either_side(sides: [&str; 3], mode: MergeMode) -> Result<(), TestCaseError> {
    let (merge, merged) = run(sides, false, mode, &mut HashMap::new());
    for (side, other) in [(&merge.head, &merge.result), (&merge.result, &merge.head)] {
        let mut tree = merged.tree.clone();
        for path in &merged.conflicts {
            tree.remove(path);
        }
        for (path, file) in merged.conflicts.iter().filter_map(|path| Some((path, side.file(path)?))) {
            prop_assert_eq!(tree.put(path, file), Ok(()));
        }
        for path in &merged.conflicts {
            prop_assert_eq!(tree.file(path), side.file(path), "{}", path);
        }
        let differences = diff(&merge.base, other);
        let moves = unchanged_moves(&differences);
        for (path, _) in side.walk_files().into_iter().filter(|(path, _)| tree.file(path).is_none()) {
            prop_assert!(merge.base.file(&path).is_some() && other.file(&path).is_none(), "{} is lost", path);
            let new = moves.get(path.as_str()).copied();
            prop_assert!(new.is_none_or(|new| tree.file(new).is_some()), "{} is lost, which moved to {:?}", path, new);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_merge_is_symmetric(base in trees(), ours in trees(), theirs in trees()) {
        let forwards = merged([&base, &ours, &theirs], false, MergeMode::Lines);
        let backwards = merged([&base, &theirs, &ours], false, MergeMode::Lines);
        prop_assert_eq!(&forwards, &backwards);
        // A side without a change does not matter, and two equal changes are no conflict.
        prop_assert_eq!(merged([&base, &base, &theirs], false, MergeMode::Lines), Ok(theirs));
        prop_assert_eq!(merged([&base, &ours, &base], false, MergeMode::Lines), Ok(ours.clone()));
        prop_assert_eq!(merged([&base, &ours, &ours], false, MergeMode::Lines), Ok(ours));
    }

    /// A resolution may take all paths in conflict from one side.
    #[test]
    fn either_side_can_be_taken(base in trees(), ours in trees(), theirs in trees()) {
        for mode in [MergeMode::Paths, MergeMode::Lines] {
            check_either_side([&base, &ours, &theirs], mode)?;
        }
    }

    /// The same after renames.
    #[test]
    fn either_side_of_renames_can_be_taken(base in trees(), ours in renames(), theirs in renames()) {
        let (ours, theirs) = (renamed(&base, &ours), renamed(&base, &theirs));
        for mode in [MergeMode::Paths, MergeMode::Lines] {
            check_either_side([&base, &ours, &theirs], mode)?;
        }
    }

    /// Merging by lines resolves conflicts and causes none.
    #[test]
    fn a_merge_by_paths_equals_the_merge_by_lines(base in trees(), ours in trees(), theirs in trees()) {
        if let Ok(tree) = merged([&base, &ours, &theirs], false, MergeMode::Paths) {
            prop_assert_eq!(merged([&base, &ours, &theirs], false, MergeMode::Lines), Ok(tree));
        }
    }

    /// The oracle merges maps in which each path is changed by one side.
    #[test]
    fn a_merge_of_different_paths_equals_a_merge_of_maps(
        base in proptest::collection::btree_map("[a-f]", "[1-4]", 0..6),
        edits in proptest::collection::btree_map("[a-f]", (any::<bool>(), proptest::option::of("[1-4]")), 0..6),
    ) {
        let (mut ours, mut theirs, mut both) = (base.clone(), base.clone(), base.clone());
        for (path, (is_ours, text)) in &edits {
            for side in [&mut both, if *is_ours { &mut ours } else { &mut theirs }] {
                match text {
                    Some(text) => drop(side.insert(path.clone(), text.clone())),
                    None => drop(side.remove(path)),
                }
            }
        }
        let text = |side: &BTreeMap<String, String>| side.iter().map(|(path, text)| format!("{path}={text}")).collect::<Vec<_>>().join(" ");
        let found = merged([&text(&base), &text(&ours), &text(&theirs)], false, MergeMode::Lines);
        prop_assert_eq!(found, Ok(text(&both)));
    }
}

#[test]
fn a_merge_compares_a_bounded_number_of_lines() {
    // Each file counts as 60,003 lines, and is cheap to merge.
    let side = |first: &str, last: &str| -> String {
        let middle = "x|".repeat(19_998);
        (0..20).map(|n| format!("{n:02}={first}{n}|{middle}{last}{n} ")).collect()
    };
    let conflicts = merged([&side("a", "z"), &side("b", "z"), &side("a", "y")], false, MergeMode::Lines).expect_err("conflicts");
    assert_eq!(conflicts, "16 17 18 19", "the files beyond the bound");
    let few = |first: &str, last: &str| format!("f={first}|x|x|{last}");
    assert_eq!(merged([&few("a", "z"), &few("b", "z"), &few("a", "y")], false, MergeMode::Lines), Ok("f=b|x|x|y".to_owned()));
}
