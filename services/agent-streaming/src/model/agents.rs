//! The agents. Each agent is a Markdown file with YAML front matter, the common format of coding agents. One agent is built in. A folder
//! (`BACKLOT_AGENTS_DIR`) can add agents, or replace the built-in one by a file with the same name.

mod file;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    ops::Bound,
    path::{Path, PathBuf},
};

const BUILT_IN: &[(&str, &str)] = &[("builder.md", include_str!("../../agents/builder.md"))];
/// The agent of a turn that names none.
const DEFAULT: &str = "builder";
const MAX_FILE_BYTES: u64 = 256 * 1024;
const MAX_DEPTH: usize = 4;

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    /// Lower-case letters, digits and `-`.
    pub name: String,
    /// When to use the agent.
    pub description: String,
    /// `provider/model`. `None` selects the default model of the cluster.
    pub model: Option<String>,
    /// Names of tools, in the order of the catalogue.
    pub tools: Vec<String>,
    /// The system prompt.
    pub body: String,
}

/// The agents of this process.
#[derive(Debug, Clone)]
pub(crate) struct Agents(BTreeMap<String, Agent>);

/// The invalid files of a folder. Its text has one line per file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct AgentFaults(pub Vec<AgentFault>);

/// An invalid file.
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
    /// Loads the built-in agents and those in a folder and its subfolders.
    ///
    /// # Errors
    /// All invalid files.
    pub(crate) fn load(dir: Option<&Path>) -> Result<Self, AgentFaults> {
        let mut faults = Vec::new();
        let mut agents = BTreeMap::new();
        for (name, text) in BUILT_IN {
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

    /// The agents after the one with the given name, at most `size`, sorted by name. Returns also the name of the last one if there are
    /// more.
    pub(crate) fn page(&self, after: Option<&str>, size: i64) -> (Vec<&Agent>, Option<&str>) {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.0.range::<str, _>((start, Bound::Unbounded)).map(|(_, agent)| agent);
        let page: Vec<_> = rest.by_ref().take(usize::try_from(size).unwrap_or_default()).collect();
        let next = rest.next().and_then(|_| page.last().map(|agent| agent.name.as_str()));
        (page, next)
    }

    /// The agent of a turn that names none.
    ///
    /// # Panics
    /// Never: it is built in, and a file can only replace it.
    #[must_use]
    pub(crate) fn default(&self) -> &Agent {
        &self.0[DEFAULT]
    }
}

/// The `.md` files in a folder and its subfolders, sorted. Skips hidden files and files that describe the folder, such as `README.md`.
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
        return Err(format!("has {size} bytes; the limit of an agent is {MAX_FILE_BYTES}"));
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

    fn names(agents: &Agents) -> Vec<&str> {
        agents.page(None, 100).0.iter().map(|agent| agent.name.as_str()).collect()
    }

    #[test]
    fn the_built_in_agent_has_every_tool() {
        let agents = Agents::load(None).expect("the built-in agents are valid");
        let builder = agents.default();
        assert_eq!((builder.name.as_str(), builder.model.as_deref()), ("builder", None));
        assert_eq!(builder.tools, NAMES);
        assert!(builder.body.contains("index.html"));
        assert_eq!(names(&agents), ["builder"]);
    }

    #[test]
    fn a_folder_adds_and_replaces_agents() {
        let dir = folder(&[
            ("web/zeta.md", "---\nname: zeta\ndescription: Last.\n---\nBe last."),
            ("builder.md", "---\nname: builder\ndescription: Mine.\nmodel: openai/gpt\ntools: [write_file, read_file]\n---\nMine."),
            ("README.md", "# About this folder"),
            (".hidden.md", "nothing"),
            ("notes.txt", "nothing"),
        ]);
        let agents = Agents::load(Some(dir.path())).expect("valid files");
        assert_eq!(names(&agents), ["builder", "zeta"]);
        let mine = agents.get("builder").unwrap();
        assert_eq!((mine.model.as_deref(), mine.tools.join(" ").as_str()), (Some("openai/gpt"), "read_file write_file"));
        assert_eq!(agents.get("none"), None);
    }

    #[test]
    fn a_page_names_its_last_agent_if_there_are_more() {
        let file = |name: &str| (format!("{name}.md"), format!("---\nname: {name}\ndescription: d\n---\nx"));
        let files = ["a", "c"].map(file);
        let dir = folder(&files.each_ref().map(|(name, text)| (name.as_str(), text.as_str())));
        let agents = Agents::load(Some(dir.path())).expect("valid files");
        let page = |after, size| {
            let (page, next) = agents.page(after, size);
            (page.iter().map(|agent| agent.name.as_str()).collect::<Vec<_>>(), next)
        };
        assert_eq!(page(None, 2), (vec!["a", "builder"], Some("builder")));
        assert_eq!(page(Some("builder"), 2), (vec!["c"], None));
        assert_eq!(page(Some("b"), 2), (vec!["builder", "c"], None));
        assert_eq!(page(Some("c"), 2), (vec![], None));
    }

    #[test]
    fn every_invalid_file_is_listed() {
        let valid = "---\nname: twin\ndescription: d\n---\nx";
        let dir = folder(&[("a.md", valid), ("b.md", valid), ("c.md", "no front matter"), ("d.md", "---\nname: D\n---\n")]);
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
