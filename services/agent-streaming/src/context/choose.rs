//! What the model gets of each file under a budget: the whole file, some of its lines, or what it declares. All files are listed by path
//! in any case.

use std::collections::{BTreeMap, BTreeSet};

use proto::{
    agent_streaming::{ContextFile, ContextForm, LineRange},
    project_storage::FileEntry,
};

use super::{
    rank::{Ranked, words},
    show,
    tokens::count,
};
use crate::outline::{Outline, Outlines, Symbol};

/// The files of which the model gets more than the path.
const MAX_FILES: usize = 100;
/// The files that are not pinned whose contents are sent, and the largest of them. One that is not needed costs its tokens in vain; one that is
/// missing costs the same when the model reads it.
const MAX_CONTENTS: usize = 6;
const MAX_CONTENT_BYTES: u32 = 128 * 1024;
/// A file is likely to be needed if its score is at least this part of the best one.
const LIKELY: u32 = 2;
/// No file that is not pinned gets more than this part of the budget.
const SHARE: u32 = 4;
/// Lines before and after a declaration that are shown with it.
const AROUND: u32 = 2;
/// The lines that are shown of a long file without a matching declaration.
const HEAD_LINES: u32 = 40;
/// With fewer tokens left no further file is considered.
const LEAST_TOKENS: u32 = 24;
/// After so many files in a row that do not fit, no further one is considered: each of them is counted.
const MAX_MISSES: usize = 50;
/// No token has more bytes.
const TOKEN_BYTES: u64 = 256;
/// Names and endings of files that people do not read.
const MACHINE_NAMES: [&str; 6] = ["package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "composer.lock"];
const MACHINE_ENDINGS: [&str; 22] = [
    ".lock", ".lockb", ".map", ".min.js", ".min.css", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".ico", ".woff", ".woff2", ".ttf",
    ".otf", ".mp3", ".mp4", ".pdf", ".zip", ".wasm", ".webm",
];

/// Whether a person would read the file: it is no lock file, and not binary by its name.
#[must_use]
pub(crate) fn is_readable(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    !MACHINE_NAMES.contains(&name.as_str()) && !MACHINE_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether a file is too large to be read as a text of its project. A limit of 0 means no limit.
#[must_use]
pub(crate) fn is_asset(bytes: u32, text_limit: u32) -> bool {
    text_limit > 0 && bytes > text_limit
}

/// Checks pinned files before any of them is read. `budget` is in tokens.
///
/// # Errors
/// They are too many, one is no text, or they are so large that they cannot fit.
pub(crate) fn check_pins(pinned: &[&FileEntry], text_limit: u32, budget: u32) -> Result<(), PinError> {
    if pinned.len() > MAX_FILES {
        return Err(PinError::TooMany);
    }
    if let Some(file) = pinned.iter().find(|file| is_asset(file.size_bytes, text_limit)) {
        return Err(PinError::Unreadable { path: file.path.clone() });
    }
    let bytes: u64 = pinned.iter().map(|file| u64::from(file.size_bytes)).sum();
    if bytes > u64::from(budget) * TOKEN_BYTES {
        return Err(PinError::TooLarge { bytes, budget });
    }
    Ok(())
}

/// The files whose contents [`choose`] needs.
pub(crate) fn wanted(ranked: &[Ranked], text_limit: u32) -> Vec<String> {
    let is_small = |file: &Ranked| file.bytes <= MAX_CONTENT_BYTES && !is_asset(file.bytes, text_limit);
    let (pinned, others): (Vec<&Ranked>, Vec<&Ranked>) = ranked.iter().partition(|file| file.is_pinned());
    let best = others.first().map_or(0, |file| file.score);
    let is_likely = |file: &Ranked| file.score > 0 && file.score >= best / LIKELY;
    let others = others.into_iter().filter(|file| is_likely(file) && is_small(file) && is_readable(&file.path)).take(MAX_CONTENTS);
    pinned.into_iter().take(MAX_FILES).chain(others).map(|file| file.path.clone()).collect()
}

/// The files of which the model gets more than the path.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Chosen {
    pub(crate) files: Vec<ContextFile>,
    /// What comes before the request. May be empty.
    pub(crate) text: String,
}

/// A pinned file cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PinError {
    #[error("the pinned file {path} is no text, or too large to be read")]
    Unreadable { path: String },
    #[error("the pinned files do not fit into {budget} tokens (BACKLOT_CONTEXT_TOKENS): {path} needs {tokens}, and {left} are left")]
    TooLong { path: String, tokens: u32, left: u32, budget: u32 },
    #[error("the pinned files have {bytes} bytes, which do not fit into {budget} tokens (BACKLOT_CONTEXT_TOKENS)")]
    TooLarge { bytes: u64, budget: u32 },
    #[error("the request pins more than {MAX_FILES} files")]
    TooMany,
}

/// Chooses from ranked files. `contents` are the texts of files by path, as far as they are known.
///
/// # Errors
/// A pinned file cannot be shown as a whole.
pub(crate) fn choose(
    ranked: &[Ranked],
    outlines: &Outlines,
    contents: &BTreeMap<String, String>,
    (request, budget): (&str, u32),
) -> Result<Chosen, PinError> {
    let request = words(request);
    let (mut left, mut misses, mut blocks, mut files) = (budget, 0, Vec::new(), Vec::new());
    for file in ranked {
        let text = contents.get(&file.path).map(String::as_str);
        let shown = if file.is_pinned() {
            Some(pinned(file, text, (left, budget))?)
        } else if files.len() >= MAX_FILES || left < LEAST_TOKENS || misses >= MAX_MISSES {
            break;
        } else {
            let text = text.filter(|_| file.score > 0);
            let outline = outlines.get(&file.blob).map(|outline| &**outline).filter(|outline| !outline.symbols.is_empty());
            if text.is_none() && outline.is_none() {
                continue;
            }
            fitting(file, (text, outline), &request, left.min(budget / SHARE))
        };
        let Some(Shown { form, block, tokens, ranges }) = shown else {
            misses += 1;
            continue;
        };
        misses = 0;
        left -= tokens;
        blocks.push(block);
        files.push(ContextFile {
            path: file.path.clone(),
            blob_id: file.blob.clone(),
            form: form.into(),
            tokens,
            reasons: file.reasons.iter().map(|reason| (*reason).into()).collect(),
            score_thousandths: file.score,
            ranges,
        });
    }
    Ok(Chosen { files, text: show::frame(&blocks) })
}

/// A file as the model gets it.
struct Shown {
    form: ContextForm,
    block: String,
    tokens: u32,
    ranges: Vec<LineRange>,
}

impl Shown {
    fn new(form: ContextForm, block: String, ranges: Vec<LineRange>) -> Self {
        Self { form, tokens: count(&block), block, ranges }
    }
}

fn pinned(file: &Ranked, text: Option<&str>, (left, budget): (u32, u32)) -> Result<Shown, PinError> {
    let path = || file.path.clone();
    let text = text.ok_or_else(|| PinError::Unreadable { path: path() })?;
    let shown = Shown::new(ContextForm::Full, show::full(&file.path, text), Vec::new());
    if shown.tokens > left {
        return Err(PinError::TooLong { path: path(), tokens: shown.tokens, left, budget });
    }
    Ok(shown)
}

/// As much of a file as fits into `most` tokens: its text, some of its lines, or what it declares.
fn fitting(file: &Ranked, (text, outline): (Option<&str>, Option<&Outline>), request: &BTreeSet<String>, most: u32) -> Option<Shown> {
    let full = || text.map(|text| Shown::new(ContextForm::Full, show::full(&file.path, text), Vec::new()));
    let ranged = || ranges(&file.path, text?, outline, request, most);
    let outlined = || outline.map(|outline| Shown::new(ContextForm::Outlined, show::outlined(&file.path, outline), Vec::new()));
    let fits = |shown: &Shown| shown.tokens <= most;
    full().filter(fits).or_else(ranged).or_else(|| outlined().filter(fits))
}

/// The lines of a long file that fit: the declarations that have a word of the request, or the first lines.
fn ranges(path: &str, text: &str, outline: Option<&Outline>, request: &BTreeSet<String>, most: u32) -> Option<Shown> {
    let total = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
    let matches = |symbol: &&Symbol| !words(&symbol.name).is_disjoint(request);
    let symbols = outline.map(|outline| outline.symbols.as_slice()).unwrap_or_default();
    let of = |symbol: &Symbol| (symbol.first_line.saturating_sub(AROUND).max(1), symbol.last_line.saturating_add(AROUND).min(total));
    let mut wanted: Vec<(u32, u32)> = symbols.iter().filter(matches).map(of).filter(|(first, last)| first <= last).collect();
    if wanted.is_empty() {
        wanted.push((1, HEAD_LINES.min(total)));
    }
    let mut best = None;
    for number in 1..=wanted.len() {
        let ranges = merged(&wanted[..number]);
        let shown = Shown::new(ContextForm::Ranged, show::ranged(path, text, &ranges), ranges);
        if shown.tokens > most {
            break;
        }
        best = Some(shown);
    }
    best
}

/// Ranges in their order, without overlaps.
fn merged(ranges: &[(u32, u32)]) -> Vec<LineRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<LineRange> = Vec::new();
    for (first, last) in sorted {
        match merged.last_mut() {
            Some(range) if first <= range.last.saturating_add(1) => range.last = range.last.max(last),
            _ => merged.push(LineRange { first, last }),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
