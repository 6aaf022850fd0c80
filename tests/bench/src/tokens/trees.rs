//! The projects and their tasks: the starters that ship with Backlot, and published templates from npm (`tests/bench/tokens/packages.txt`). The tasks
//! are in `tests/bench/tokens/tasks.tsv`: the tree, the request, and the files that it changes. Those of the templates were written by somebody who
//! did not know how files are chosen.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};

const TASKS: &str = include_str!("../../tokens/tasks.tsv");
/// Larger files are assets in a project of the smallest plan, which no prompt has.
const MAX_BYTES: usize = 51_200;

/// Where a tree is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Starter,
    Published,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Starter => "shipped starters",
            Self::Published => "published templates",
        }
    }
}

pub(super) struct Task {
    pub(super) request: String,
    pub(super) edited: Vec<String>,
}

pub(super) struct Tree {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The texts by path.
    pub(super) files: BTreeMap<String, String>,
    pub(super) tasks: Vec<Task>,
}

/// All trees with their tasks, in the order of the file.
///
/// # Errors
/// A tree or a file of a task is missing.
pub(super) fn all() -> Result<Vec<Tree>> {
    let starters = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/project-storage/templates");
    let published = std::env::var_os("BACKLOT_TOKEN_TREES").context("BACKLOT_TOKEN_TREES names the folder of templates; use bench.sh")?;
    let mut trees: Vec<Tree> = Vec::new();
    for (name, task) in tasks()? {
        if trees.last().is_none_or(|tree| tree.name != name) {
            let (kind, root) = match starters.join(name).join("files") {
                root if root.is_dir() => (Kind::Starter, root),
                _ => (Kind::Published, Path::new(&published).join(name)),
            };
            let mut files = BTreeMap::new();
            read(&root, "", &mut files)?;
            trees.push(Tree { kind, name: name.to_owned(), files, tasks: Vec::new() });
        }
        let tree = trees.last_mut().context("a tree")?;
        let missing: Vec<_> = task.edited.iter().filter(|path| !tree.files.contains_key(*path)).collect();
        ensure!(missing.is_empty(), "{name} has no {missing:?}");
        tree.tasks.push(task);
    }
    Ok(trees)
}

fn tasks() -> Result<Vec<(&'static str, Task)>> {
    let task = |line: &'static str| {
        let [tree, request, edited] = line.split('\t').collect::<Vec<_>>()[..] else { anyhow::bail!("not three fields: {line}") };
        Ok((tree, Task { request: request.to_owned(), edited: edited.split(' ').map(str::to_owned).collect() }))
    };
    TASKS.lines().skip(1).map(task).collect()
}

/// Reads the text files of a folder.
fn read(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = format!("{prefix}{}", path.file_name().context("a name")?.to_string_lossy());
        if path.is_dir() {
            read(&path, &format!("{name}/"), files)?;
        } else if let Ok(text) = fs::read_to_string(&path)
            && text.len() <= MAX_BYTES
        {
            files.insert(name, text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_enough_tasks_on_enough_trees() {
        let tasks = tasks().unwrap();
        let trees: BTreeSet<_> = tasks.iter().map(|(tree, _)| tree).collect();
        assert!(tasks.len() >= 24 && trees.len() >= 6, "{} tasks on {} trees", tasks.len(), trees.len());
        assert!(tasks.iter().all(|(_, task)| !task.request.is_empty() && task.edited.iter().all(|path| !path.is_empty())));
    }
}
