//! How relevant each file of a project is for a request.

use std::collections::{BTreeSet, HashMap};

use proto::{
    agent_streaming::ContextReason,
    path::is_within,
    project_storage::{FileEntry, FileKind},
};

use super::imports;
use crate::{
    outline::{Outline, Outlines},
    selection::terms,
};

/// A word in a path counts this many times as much as one in a name that the file declares.
const PATH_WEIGHT: u32 = 2;
/// What a word adds that all files have. A rarer one adds more.
const WORD: u32 = 250;
/// What a file gets that the last turn has changed, the turn before, and the one before that.
const RECENT: [u32; 3] = [1_500, 1_000, 500];
/// The names of a file that count.
const MAX_NAMES: usize = 60;

/// What is known about the files and the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signals<'a> {
    /// Sorted by path.
    pub(crate) files: &'a [FileEntry],
    pub(crate) request: &'a str,
    /// By the ids of the contents.
    pub(crate) outlines: &'a Outlines,
    /// The files that the last turns have changed, the newest turn first.
    pub(crate) recent: &'a [Vec<String>],
    /// Files, and folders with all that is below them.
    pub(crate) pinned: &'a [String],
    /// As `pinned`.
    pub(crate) excluded: &'a [String],
}

/// A file with its score.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) path: String,
    /// The id of the content.
    pub(crate) blob: String,
    pub(crate) bytes: u32,
    /// In thousandths.
    pub(crate) score: u32,
    pub(crate) reasons: Vec<ContextReason>,
}

impl Ranked {
    pub(crate) fn is_pinned(&self) -> bool {
        self.reasons.contains(&ContextReason::Pinned)
    }
}

/// Whether a path is one of some files, or below one of some folders.
pub(crate) fn covers(paths: &[String], path: &str) -> bool {
    paths.iter().any(|covered| covered == path || is_within(path, covered))
}

/// The files that are not excluded: pinned ones first, then those with the highest score, then by path.
pub(crate) fn rank(signals: &Signals<'_>) -> Vec<Ranked> {
    let shown = signals.files.iter().filter(|file| file.kind() != FileKind::Folder && !covers(signals.excluded, &file.path));
    let files: Vec<(&str, &str, u32)> = shown.map(|file| (file.path.as_str(), blob(file), file.size_bytes)).collect();
    let own = own_scores(signals, &files);
    let linked = linked_scores(signals, &files, &own);
    let ranked = files.iter().zip(own).zip(linked).map(|((&(path, blob, bytes), (words, recent)), linked)| {
        let pinned = covers(signals.pinned, path);
        let because = [
            (pinned, ContextReason::Pinned),
            (words > 0, ContextReason::Request),
            (linked > 0, ContextReason::Import),
            (recent > 0, ContextReason::Recent),
        ];
        let reasons = because.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect();
        let score = words.saturating_add(recent).saturating_add(linked);
        Ranked { path: path.to_owned(), blob: blob.to_owned(), bytes, score, reasons }
    });
    let mut ranked: Vec<Ranked> = ranked.collect();
    ranked.sort_by(|a, b| (b.is_pinned(), b.score).cmp(&(a.is_pinned(), a.score)).then_with(|| a.path.cmp(&b.path)));
    ranked
}

/// The id of the content of a file.
pub(crate) fn blob(file: &FileEntry) -> &str {
    file.etag.trim_matches('"')
}

/// What each file gets for the words of the request, and for recent changes.
fn own_scores(signals: &Signals<'_>, files: &[(&str, &str, u32)]) -> Vec<(u32, u32)> {
    let request: HashMap<String, usize> = words(signals.request).into_iter().zip(0..).collect();
    let of_request = |words: BTreeSet<String>| -> Vec<usize> { words.iter().filter_map(|word| request.get(word).copied()).collect() };
    let name_words = |blob: &str| of_request(signals.outlines.get(blob).map(|outline| names(outline)).unwrap_or_default());
    let found: Vec<(Vec<usize>, Vec<usize>)> = files.iter().map(|(path, blob, _)| (of_request(words(path)), name_words(blob))).collect();
    let mut having = vec![0_usize; request.len()];
    for (path, names) in &found {
        for word in path.iter().chain(names).collect::<BTreeSet<_>>() {
            having[*word] += 1;
        }
    }
    let weight = |having: &usize| WORD.saturating_mul(1 + files.len().checked_div(*having).and_then(usize::checked_ilog2).unwrap_or(0));
    let weights: Vec<u32> = having.iter().map(weight).collect();
    let sum = |words: &[usize]| words.iter().map(|word| weights[*word]).sum::<u32>();
    let mut changed: HashMap<&str, u32> = HashMap::new();
    for (paths, score) in signals.recent.iter().zip(RECENT) {
        for path in paths {
            changed.entry(path).or_insert(score);
        }
    }
    let scored = found.iter().zip(files).map(|((path, names), (file, _, _))| {
        let words = PATH_WEIGHT * sum(path) + sum(names);
        (words, changed.get(file).copied().unwrap_or(0))
    });
    scored.collect()
}

/// What each file gets from the files that it imports, an eighth of the best, and from those that import it, a quarter.
fn linked_scores(signals: &Signals<'_>, files: &[(&str, &str, u32)], own: &[(u32, u32)]) -> Vec<u32> {
    let named: Vec<(&str, &str)> = files.iter().map(|(path, blob, _)| (*path, *blob)).collect();
    let score = |at: usize| own.get(at).map_or(0, |(words, recent)| words + recent);
    let mut linked = vec![0; files.len()];
    for (from, targets) in imports::edges(&named, signals.outlines).into_iter().enumerate() {
        for to in targets.into_iter().filter(|to| *to != from) {
            linked[to] = linked[to].max(score(from) / 4);
            linked[from] = linked[from].max(score(to) / 8);
        }
    }
    linked
}

/// The words of a text in their basic form. Names of code are split into their words.
pub(super) fn words(text: &str) -> BTreeSet<String> {
    let mut split = String::with_capacity(text.len() + 8);
    let mut lower = false;
    for c in text.chars() {
        if lower && c.is_uppercase() {
            split.push(' ');
        }
        lower = c.is_lowercase() || c.is_ascii_digit();
        split.push(if c == '_' { ' ' } else { c });
    }
    terms::of(&split).into_iter().filter(|term| !term.contains(' ') && term.chars().count() > 1).collect()
}

fn names(outline: &Outline) -> BTreeSet<String> {
    let names: Vec<&str> = outline.symbols.iter().take(MAX_NAMES).map(|symbol| symbol.name.as_str()).collect();
    words(&names.join(" "))
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use proto::compile::SymbolKind;

    use super::*;
    use crate::outline::Symbol;

    /// A file whose content has the id `blob of PATH`.
    pub(crate) fn file(path: &str, bytes: u32) -> FileEntry {
        let etag = format!("\"blob of {path}\"");
        FileEntry { path: path.into(), kind: FileKind::File as i32, size_bytes: bytes, etag, ..FileEntry::default() }
    }

    pub(crate) fn outline(path: &str, names: &[(&str, u32, u32)], imports: &[&str]) -> (String, Arc<Outline>) {
        let symbol = |(name, first_line, last_line): &(&str, u32, u32)| Symbol {
            kind: SymbolKind::Function,
            name: (*name).into(),
            first_line: *first_line,
            last_line: *last_line,
        };
        let imports = imports.iter().map(|import| (*import).to_owned()).collect();
        (format!("blob of {path}"), Arc::new(Outline { symbols: names.iter().map(symbol).collect(), imports }))
    }

    #[test]
    fn names_of_code_are_split_into_words() {
        let of = |text: &str| words(text).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(of("src/components/CartList.jsx"), "cart compon jsx list src");
        assert_eq!(of("MAX_WIDTH2Height"), "height max width2");
        assert_eq!(of("a b"), "");
    }

    #[test]
    fn words_imports_and_recent_changes_decide() {
        let files: Vec<FileEntry> = ["a.js", "cart.js", "deep/x.js", "money.js", "z.js"].map(|path| file(path, 10)).into();
        let outlines = [
            outline("a.js", &[], &["./cart"]),
            outline("cart.js", &[("addToCart", 1, 9)], &["./money.js"]),
            outline("deep/x.js", &[("cartTotal", 1, 2)], &[]),
        ];
        let outlines = BTreeMap::from(outlines);
        let recent = [vec!["z.js".to_owned()], vec!["money.js".to_owned()]];
        let signals =
            Signals { files: &files, request: "The cart is wrong", outlines: &outlines, recent: &recent, pinned: &[], excluded: &[] };
        let shown = |signals: &Signals<'_>| rank(signals).iter().map(|file| format!("{} {}", file.path, file.score)).collect::<Vec<_>>();
        // Two of five files have the word, so it adds 500: twice in a path, once in a name.
        assert_eq!(shown(&signals), ["cart.js 1625", "z.js 1500", "money.js 1375", "deep/x.js 500", "a.js 187"]);
        let reasons = rank(&signals).remove(2).reasons;
        assert_eq!(reasons, [ContextReason::Import, ContextReason::Recent]);
        let (pinned, excluded) = (["deep".to_owned()], ["cart.js".to_owned(), "z".to_owned()]);
        let steered = Signals { pinned: &pinned, excluded: &excluded, ..signals };
        assert_eq!(rank(&steered).iter().map(|file| file.path.as_str()).collect::<Vec<_>>()[..2], ["deep/x.js", "z.js"]);
        assert!(rank(&steered)[0].is_pinned() && rank(&steered).iter().all(|file| file.path != "cart.js"));
    }

    #[test]
    fn a_request_without_words_of_files_ranks_by_path() {
        let files = [file("b", 1), file("c", 1)];
        let signals = Signals { files: &files, request: "do it", outlines: &BTreeMap::new(), recent: &[], pinned: &[], excluded: &[] };
        assert!(rank(&signals).iter().all(|file| file.score == 0 && file.reasons.is_empty()));
        assert_eq!(rank(&Signals { files: &[], ..signals }), []);
    }
}
