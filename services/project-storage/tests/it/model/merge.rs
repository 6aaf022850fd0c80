//! The three-way merge of the reference. It is written from the documentation, with nothing of the service's own merge or of a library.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// The files of a revision by path.
pub(super) type Tree = BTreeMap<String, Vec<u8>>;

/// The result of a merge.
pub(super) struct Merged {
    /// The head with the part of the change that does not conflict.
    pub(super) tree: Tree,
    /// The paths in conflict, sorted.
    pub(super) conflicts: Vec<String>,
}

/// What happens to a file that both sides changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Paths,
    Lines,
}

/// Merges what `ours` changes in `base` into `head`.
pub(super) fn merge_trees(base: &Tree, ours: &Tree, head: &Tree, mode: Mode) -> Merged {
    let (our_moves, head_moves) = (moves(base, ours), moves(base, head));
    let (mut tree, mut conflicts, mut moved) = (head.clone(), Vec::new(), Vec::new());
    for path in base.keys().chain(ours.keys().filter(|path| !base.contains_key(*path))) {
        let (old, our, their) = (base.get(path), ours.get(path), head.get(path));
        if our == old || our == their {
            continue;
        }
        if their == old {
            put(&mut tree, path, our.cloned());
            continue;
        }
        let merged = match (old, our, their) {
            _ if mode == Mode::Paths => None,
            (Some(old), Some(our), Some(their)) => merge_lines(old, our, their),
            _ => None,
        };
        // The edit of one side follows the move of the other one.
        let followed = match (our, their) {
            _ if mode == Mode::Paths => None,
            (None, Some(edited)) => our_moves.get(path).filter(|to| !head.contains_key(*to)).map(|to| (to.clone(), edited.clone())),
            (Some(edited), None) => head_moves.get(path).filter(|to| !ours.contains_key(*to)).map(|to| (to.clone(), edited.clone())),
            _ => None,
        };
        match (merged, followed) {
            (Some(merged), _) => put(&mut tree, path, Some(merged)),
            (None, Some(followed)) => moved.push((path.clone(), followed)),
            (None, None) => conflicts.push(path.clone()),
        }
    }
    for (from, (to, edited)) in moved {
        tree.remove(&from);
        tree.insert(to, edited);
    }
    // A file that both sides removed, and that one of them moved to where the other one did not.
    let [our_renames, head_renames] = [renames(base, ours), renames(base, head)];
    let is_gone = |(path, file): &(&String, &Vec<u8>)| !file.is_empty() && !ours.contains_key(*path) && !head.contains_key(*path);
    for (path, _) in base.iter().filter(is_gone) {
        let targets = [our_renames.get(path), head_renames.get(path)];
        if targets[0] != targets[1] {
            for target in targets.into_iter().flatten() {
                put(&mut tree, target, head.get(target).cloned());
                conflicts.push(target.clone());
            }
        }
    }
    let mut conflicts: BTreeSet<String> = conflicts.into_iter().collect();
    // A resolution that refuses the new path of a file must be able to keep the old one.
    while let Some(old) = [&our_moves, &head_moves, &our_renames, &head_renames].into_iter().flatten().find_map(|(old, new)| {
        let is_there = ours.contains_key(old) || head.contains_key(old);
        (is_there && conflicts.contains(new) && !conflicts.contains(old)).then_some(old)
    }) {
        conflicts.insert(old.clone());
    }
    Merged { tree, conflicts: conflicts.into_iter().collect() }
}

fn put(tree: &mut Tree, path: &str, file: Option<Vec<u8>>) {
    match file {
        Some(file) => drop(tree.insert(path.to_owned(), file)),
        None => drop(tree.remove(path)),
    }
}

/// The files that a side moved without a change: old path, new path. A content with several deleted or added files is not considered.
fn moves(base: &Tree, side: &Tree) -> BTreeMap<String, String> {
    let mut contents: BTreeMap<&[u8], (Vec<&String>, Vec<&String>)> = BTreeMap::new();
    for (path, content) in base.iter().filter(|(path, content)| !content.is_empty() && !side.contains_key(*path)) {
        contents.entry(content).or_default().0.push(path);
    }
    for (path, content) in side.iter().filter(|(path, content)| !content.is_empty() && !base.contains_key(*path)) {
        contents.entry(content).or_default().1.push(path);
    }
    let single = |(from, to): (Vec<&String>, Vec<&String>)| match (from.as_slice(), to.as_slice()) {
        ([from], [to]) => Some(((*from).clone(), (*to).clone())),
        _ => None,
    };
    contents.into_values().filter_map(single).collect()
}

/// The files that a side moved, also if it changed up to half of them: old path, new path. An empty file moves as it is. Files with the same name are no special case,
/// because no two paths of the operations have one.
fn renames(base: &Tree, side: &Tree) -> BTreeMap<String, String> {
    let gone: Vec<_> = base.iter().filter(|(path, _)| !side.contains_key(*path)).collect();
    let new: Vec<_> = side.iter().filter(|(path, _)| !base.contains_key(*path)).collect();
    let pairs = gone.iter().flat_map(|from| new.iter().map(move |to| (similarity(from.1, to.1), from.0, to.0)));
    let mut pairs: Vec<_> = pairs.filter(|(similarity, ..)| *similarity >= 50).collect();
    pairs.sort_by_key(|(similarity, from, to)| (usize::MAX - similarity, *from, *to));
    let mut renames = BTreeMap::new();
    for (_, from, to) in pairs {
        if !renames.contains_key(from) && !renames.values().any(|taken| taken == to) {
            renames.insert(from.clone(), to.clone());
        }
    }
    renames
}

/// The bytes of the lines that both have, in percent of the larger one.
fn similarity(old: &[u8], new: &[u8]) -> usize {
    let mut left = lines(new);
    let mut same = 0;
    for line in lines(old) {
        if let Some(at) = left.iter().position(|other| *other == line) {
            left.swap_remove(at);
            same += line.len();
        }
    }
    match old.len().max(new.len()) {
        0 => 100,
        larger => same * 100 / larger,
    }
}

/// Lines that differ: a range of the base, and the range that a side has in its place.
struct Hunk {
    base: Range<usize>,
    side: Range<usize>,
}

/// Merges texts line by line. `None` if both sides change the same or neighbouring lines in different ways, or if one of the three is no
/// text.
pub(super) fn merge_lines(base: &[u8], ours: &[u8], theirs: &[u8]) -> Option<Vec<u8>> {
    let is_text = |bytes: &&[u8]| !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
    if ![base, ours, theirs].iter().all(is_text) {
        return None;
    }
    let [base, ours, theirs] = [base, ours, theirs].map(lines);
    let mut hunks = [hunks(&base, &ours).into_iter().peekable(), hunks(&base, &theirs).into_iter().peekable()];
    let sides = [&ours, &theirs];
    // The ends of what is merged so far: in the base, and in each side.
    let (mut merged, mut at, mut ends) = (Vec::new(), 0, [0, 0]);
    while let Some(start) = hunks.iter_mut().filter_map(|side| side.peek().map(|hunk| hunk.base.start)).min() {
        let starts = ends.map(|end| end + start - at);
        merged.extend_from_slice(&base[at..start]);
        (at, ends) = (start, starts);
        let mut is_changed = [false, false];
        // All hunks that touch what the region has so far.
        while let Some(side) = (0..2).find(|side| hunks[*side].peek().is_some_and(|hunk| hunk.base.start <= at)) {
            let hunk = hunks[side].next()?;
            is_changed[side] = true;
            let end = at.max(hunk.base.end);
            ends[side] = hunk.side.end + end - hunk.base.end;
            ends[1 - side] += end - at;
            at = end;
        }
        let [ours, theirs] = [0, 1].map(|side| &sides[side][starts[side]..ends[side]]);
        match is_changed {
            [true, true] if ours != theirs => return None,
            [true, _] => merged.extend_from_slice(ours),
            _ => merged.extend_from_slice(theirs),
        }
    }
    merged.extend_from_slice(&base[at..]);
    Some(merged.concat())
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// What a side changed, by a longest common subsequence of lines.
fn hunks(base: &[&[u8]], side: &[&[u8]]) -> Vec<Hunk> {
    let mut lengths = vec![vec![0; side.len() + 1]; base.len() + 1];
    for i in (0..base.len()).rev() {
        for j in (0..side.len()).rev() {
            lengths[i][j] = if base[i] == side[j] { lengths[i + 1][j + 1] + 1 } else { lengths[i + 1][j].max(lengths[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut hunks) = (0, 0, Vec::new());
    while i < base.len() || j < side.len() {
        if i < base.len() && j < side.len() && base[i] == side[j] {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        let (from, to) = (i, j);
        while (i < base.len() || j < side.len()) && !(i < base.len() && j < side.len() && base[i] == side[j]) {
            if j == side.len() || (i < base.len() && lengths[i + 1][j] >= lengths[i][j + 1]) {
                i += 1;
            } else {
                j += 1;
            }
        }
        hunks.push(Hunk { base: from..i, side: to..j });
    }
    hunks
}

#[test]
fn the_reference_merges_lines() {
    for (base, ours, theirs, expected) in [
        ("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", Some("A\nb\nC\n")),
        ("a\nb\nc\n", "a\nc\n", "a\nb\nc\nd\n", Some("a\nc\nd\n")),
        ("a\nb\n", "x\na\nb\n", "a\nb\ny\n", Some("x\na\nb\ny\n")),
        ("a\nb\nc\n", "a\nX\nc\n", "a\nX\nc\n", Some("a\nX\nc\n")),
        ("a\nb\n", "A\nb\n", "a\nB\n", None),
        ("a\nb\n", "a\nx\nb\n", "a\ny\nb\n", None),
        ("a\nb\n", "", "a\nB\n", None),
        ("a\nb\nc\nd\n", "a\nd\n", "a\nb\nC\nd\n", None),
        ("a\n", "a\nb\0\n", "x\na\n", None),
    ] {
        let merged = merge_lines(base.as_bytes(), ours.as_bytes(), theirs.as_bytes());
        assert_eq!(merged.as_deref(), expected.map(str::as_bytes), "{base:?} {ours:?} {theirs:?}");
    }
}
