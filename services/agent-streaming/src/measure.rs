//! The tokens of a turn without a running service, for measurements.

use std::collections::BTreeMap;

use proto::{
    agent_streaming::ContextForm,
    project_storage::{FileEntry, FileKind},
};

use crate::{
    context::{
        choose,
        rank::{self, Signals},
        show,
        tokens::count,
    },
    model::{
        agents::Agents,
        prompt::{SystemParts, tree},
        size,
    },
    workspace::tools,
};

/// The agent whose prompt counts.
const AGENT: &str = "builder";

/// The tokens of a turn that edits some files of a project, by the tokenizer of plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnTokens {
    /// Input tokens that no earlier request of the turn had, with a planned context. The files that it does not contain are read by tool first.
    pub planned: u32,
    /// The same with every file in the prompt. Nothing has to be read.
    pub full: u32,
}

/// Computes the tokens of a turn with the default agent. `files` are texts by path, `edited` the paths that a scripted expert edits, `budget` is
/// `BACKLOT_CONTEXT_TOKENS`. There are no outlines and no conversation.
///
/// # Panics
/// Never: the built-in agents can be read, and nothing is pinned.
#[must_use]
pub fn turn_tokens(files: &BTreeMap<String, String>, request: &str, edited: &[&str], budget: u32) -> TurnTokens {
    let entry = |(path, text): (&String, &String)| FileEntry {
        path: path.clone(),
        kind: FileKind::File.into(),
        size_bytes: u32::try_from(text.len()).unwrap_or(u32::MAX),
        etag: path.clone(),
        ..FileEntry::default()
    };
    let entries: Vec<FileEntry> = files.iter().map(entry).collect();
    let outlines = BTreeMap::new();
    let ranked = rank::rank(&Signals { files: &entries, request, outlines: &outlines, recent: &[], pinned: &[], excluded: &[] });
    let (list, _) = tree::text(&entries, &[], budget / 3);
    let left = budget.saturating_sub(count(&list));
    let chosen = choose::choose(&ranked, &outlines, files, (request, left)).expect("nothing is pinned");

    let agents = Agents::load(None).expect("the built-in agents").0;
    let agent = agents.get(AGENT).expect("a built-in agent");
    let system = SystemParts { agent: &agent.body, ..SystemParts::default() }.text();
    let same = [count(&system), size::of_tools(&tools::specs(&agent.tools)), count(request), edits(files, edited)];
    let same: u32 = same.into_iter().sum();
    let has = |path: &&&str| chosen.files.iter().any(|file| file.path == ***path && file.form() == ContextForm::Full);
    let read = edited.iter().filter(|path| !has(path)).filter_map(|path| Some((path, files.get(*path)?)));
    let read: u32 = read.map(|(path, text)| count(&format!("{{\"path\":{path:?}}}")) + count(&show::full(path, text))).sum();
    let all: u32 = files.iter().map(|(path, text)| count(&show::full(path, text))).sum();
    TurnTokens { planned: same + count(&list) + count(&chosen.text) + read, full: same + all }
}

/// The calls that replace the longest line of each file, which the next request has.
fn edits(files: &BTreeMap<String, String>, edited: &[&str]) -> u32 {
    let call = |path: &&str| {
        let line = files.get(*path)?.lines().max_by_key(|line| line.len())?;
        Some(count(&format!("edit_file{{\"path\":{path:?},\"old_text\":{line:?},\"new_text\":{line:?}}}")))
    };
    edited.iter().filter_map(call).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_saves_the_files_that_nobody_needs() {
        let mut files: BTreeMap<String, String> =
            (0..20).map(|n| (format!("src/part{n}.js"), format!("export const value{n} = {n};\n").repeat(60))).collect();
        files.insert("src/cart.js".into(), "export function cart() {}\n".into());
        let of = |request: &str, edited: &[&str]| turn_tokens(&files, request, edited, 12_000);
        let found = of("fix the cart", &["src/cart.js"]);
        assert!(found.planned < found.full / 2, "{found:?}");
        let read = of("make it better", &["src/part1.js"]);
        assert!(read.planned > of("make it better", &[]).planned + 500, "the file is read");
        let small = BTreeMap::from([("a.js".to_owned(), "let a;\n".to_owned())]);
        let small = turn_tokens(&small, "do it", &["a.js"], 12_000);
        assert!(small.planned > small.full, "a plan of a tiny project saves nothing: {small:?}");
    }
}
