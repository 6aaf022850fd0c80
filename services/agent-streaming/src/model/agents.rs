//! The catalogue: each agent is a Markdown file with YAML front matter, the form that coding agents share. One ships with
//! Backlot; a folder adds to it, and a file with the name of a shipped agent takes its place.

mod file;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// What ships.
const SHIPPED: &[(&str, &str)] = &[("builder.md", include_str!("../../agents/builder.md"))];
/// The agent of a turn that names none.
const DEFAULT: &str = "builder";
const MAX_FILE_BYTES: u64 = 256 * 1024;
const MAX_DEPTH: usize = 4;

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    /// Lower-case letters, digits and `-`.
    pub name: String,
    /// When to use it.
    pub description: String,
    /// `provider/model`; `None` is the cluster's.
    pub model: Option<String>,
    /// Names of our tools, in their order.
    pub tools: Vec<String>,
    /// The system prompt.
    pub body: String,
}

/// The agents of this process.
#[derive(Debug, Clone)]
pub(crate) struct Agents(BTreeMap<String, Agent>);

/// What is wrong with the files of a folder, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct AgentFaults(pub Vec<AgentFault>);

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFault {
    pub file: PathBuf,
    pub problem: String,
}

impl fmt::Display for AgentFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, AgentFault { file, problem }) in self.0.iter().enumerate() {
            write!(f, "{}{}: {problem}", if at == 0 { "" } else { "\n" }, file.display())?;
        }
        Ok(())
    }
}

impl Agents {
    /// The shipped agents and those of a folder (`BACKLOT_AGENTS_DIR`) and the folders below it.
    ///
    /// # Errors
    /// Everything that is wrong, by file.
    pub(crate) fn load(dir: Option<&Path>) -> Result<Self, AgentFaults> {
        let mut faults = Vec::new();
        let mut agents = BTreeMap::new();
        for (name, text) in SHIPPED {
            match file::parse(Path::new(name), text) {
                Ok(agent) => drop(agents.insert(agent.name.clone(), agent)),
                Err(problem) => faults.push(AgentFault { file: PathBuf::from(name), problem }),
            }
        }
        let mut from: BTreeMap<String, PathBuf> = BTreeMap::new();
        for file in dir.map(|dir| markdown_files(dir, &mut faults)).unwrap_or_default() {
            let agent = match read(&file).and_then(|text| file::parse(&file, &text)) {
                Ok(agent) => agent,
                Err(problem) => {
                    faults.push(AgentFault { file, problem });
                    continue;
                }
            };
            if let Some(other) = from.insert(agent.name.clone(), file.clone()) {
                faults.push(AgentFault { file, problem: format!("has the name {:?} of {}", agent.name, other.display()) });
            }
            agents.insert(agent.name.clone(), agent);
        }
        if faults.is_empty() { Ok(Self(agents)) } else { Err(AgentFaults(faults)) }
    }

    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&Agent> {
        self.0.get(name)
    }

    /// Every agent, by name.
    pub(crate) fn list(&self) -> impl ExactSizeIterator<Item = &Agent> {
        self.0.values()
    }

    /// The agent of a turn that names none.
    ///
    /// # Panics
    /// Never: it ships, and a file can only take its place.
    #[must_use]
    pub(crate) fn default(&self) -> &Agent {
        &self.0[DEFAULT]
    }
}

/// The `.md` files below a folder, sorted; those that describe the folder itself and hidden ones are passed over.
fn markdown_files(dir: &Path, faults: &mut Vec<AgentFault>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = fs::read_dir(&folder).and_then(|entries| entries.collect::<Result<Vec<_>, io::Error>>());
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                faults.push(AgentFault { file: folder, problem: format!("cannot be read: {error}") });
                continue;
            }
        };
        for path in entries.into_iter().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                if depth < MAX_DEPTH {
                    folders.push((path, depth + 1));
                }
            } else if name.ends_with(".md") && !["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE.md"].contains(&name) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> Result<String, String> {
    let size = fs::metadata(file).map_err(|e| format!("cannot be read: {e}"))?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("has {size} bytes; an agent may have {MAX_FILE_BYTES}"));
    }
    let bytes = fs::read(file).map_err(|e| format!("cannot be read: {e}"))?;
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tools::catalogue::NAMES;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn the_builder_ships_with_every_tool() {
        let agents = Agents::load(None).expect("what ships is right");
        let builder = agents.default();
        assert_eq!((builder.name.as_str(), builder.model.as_deref()), ("builder", None));
        assert_eq!(builder.tools, NAMES);
        assert!(builder.body.contains("index.html"));
        assert_eq!(agents.list().len(), 1);
    }

    #[test]
    fn a_folder_adds_and_replaces() {
        let dir = folder(&[
            ("web/zeta.md", "---\nname: zeta\ndescription: Last.\n---\nBe last."),
            ("builder.md", "---\nname: builder\ndescription: Mine.\nmodel: openai/gpt\ntools: [write_file, read_file]\n---\nMine."),
            ("README.md", "# About this folder"),
            (".hidden.md", "nothing"),
            ("notes.txt", "nothing"),
        ]);
        let agents = Agents::load(Some(dir.path())).expect("good files");
        assert_eq!(agents.list().map(|agent| agent.name.as_str()).collect::<Vec<_>>(), ["builder", "zeta"]);
        let mine = agents.get("builder").unwrap();
        assert_eq!((mine.model.as_deref(), mine.tools.join(" ").as_str()), (Some("openai/gpt"), "read_file write_file"));
        assert_eq!(agents.get("none"), None);
    }

    #[test]
    fn every_fault_is_listed_with_its_file() {
        let good = "---\nname: twin\ndescription: d\n---\nx";
        let dir = folder(&[("a.md", good), ("b.md", good), ("c.md", "no front matter"), ("d.md", "---\nname: D\n---\n")]);
        fs::write(dir.path().join("e.md"), b"\xff").unwrap();
        let faults = Agents::load(Some(dir.path())).unwrap_err();
        let names: Vec<_> = faults.0.iter().map(|fault| fault.file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["b.md", "c.md", "d.md", "e.md"]);
        let text = faults.to_string();
        assert_eq!(text.lines().count(), 4);
        assert!(text.contains("b.md: has the name \"twin\" of ") && text.contains("e.md: is not UTF-8"), "{text}");
        let missing = Agents::load(Some(Path::new("/nowhere/agents"))).unwrap_err().to_string();
        assert!(missing.starts_with("/nowhere/agents: cannot be read"), "{missing}");
    }
}
