//! The agents. Each agent is a Markdown file with YAML front matter, the common format of coding agents. 154 are built in. A folder
//! (`BACKLOT_AGENTS_DIR`) can add agents, or replace a built-in one by a file with the same name; a change of the folder counts after some
//! seconds, without a restart. The same folder has skills.

mod file;
mod folder;
mod live;

use std::{
    collections::BTreeMap,
    fmt, io,
    ops::Bound,
    path::Path,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};

pub(crate) use self::{
    file::tools::READING,
    live::{LiveAgents, follow},
};
use crate::{
    model::{front_matter::ToolRules, skills::Skills},
    selection::{Catalogue, Decision, Profile, Query, Selector, Words},
};

const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/agents.rs"));
/// The built-in agents, and notes on them, of which there are none.
static PARSED: LazyLock<(BTreeMap<String, Agent>, Vec<Note>)> = LazyLock::new(|| {
    let (mut agents, mut notes) = (BTreeMap::new(), Vec::new());
    let files = BUILT_IN.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    add(&mut agents, files.collect(), &mut notes);
    (agents, notes)
});
/// The agent of a turn that names none and that no other agent clearly matches.
const DEFAULT: &str = "builder";

/// The tools that rules allow, as for an agent.
pub(crate) fn known_tools(rules: &ToolRules) -> Vec<String> {
    file::tools::known(rules, &mut Vec::new())
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agent {
    /// Lower-case letters, digits and `-`.
    pub name: String,
    /// When to use the agent.
    pub description: String,
    /// The kind of work. May be empty.
    pub category: String,
    /// Words that people use for its work.
    pub tags: Vec<String>,
    /// Requests that are for this agent.
    pub examples: Vec<String>,
    pub model: Model,
    /// Names of tools, in the order of the catalogue of tools.
    pub tools: Vec<String>,
    /// A hash of its file.
    pub version: String,
    /// The system prompt.
    pub body: String,
}

/// The model that an agent asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Model {
    /// The default model of the cluster.
    Default,
    /// The model for simple work.
    Small,
    /// The model for hard work.
    Large,
    /// `provider/model`.
    Named(String),
}

/// The agents at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Agents {
    agents: BTreeMap<String, Agent>,
    catalogue: Catalogue,
    selector: Selector,
    /// The words that a list is searched for, by agent.
    words: BTreeMap<String, Words>,
    version: String,
    skills: Arc<Skills>,
}

/// Which agents a list has.
#[derive(Debug, Default)]
pub(crate) struct AgentFilter {
    /// Empty for all.
    pub category: String,
    pub query: Query,
}

/// What of a file was ignored or guessed, or why the whole file is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// The path below the folder.
    pub file: String,
    pub note: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.note)
    }
}

impl Agents {
    /// The built-in agents and skills, and those in a folder and its subfolders. Of files of the folder with the same name, the first one counts.
    ///
    /// # Errors
    /// The folder cannot be read. A file that cannot be used is a note.
    pub(crate) fn load(dir: Option<&Path>) -> io::Result<(Self, Vec<Note>)> {
        let (mut agents, mut notes) = PARSED.clone();
        let mut folders = Vec::new();
        if let Some(dir) = dir {
            let texts = folder::read(dir, &mut notes)?;
            let mut own = BTreeMap::new();
            add(&mut own, texts.agents, &mut notes);
            agents.extend(own);
            folders = texts.skills;
        }
        let (skills, more) = Skills::load(folders);
        notes.extend(more.into_iter().map(|(file, note)| Note { file, note }));
        Ok((Self::of(agents, skills), notes))
    }

    /// Whether the folder can be read.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn check(dir: &Path) -> io::Result<()> {
        folder::fingerprint(dir).map(drop)
    }

    fn of(agents: BTreeMap<String, Agent>, skills: Skills) -> Self {
        let profiles: Vec<Profile> = agents.values().map(profile).collect();
        let words = profiles.iter().map(|profile| (profile.name.clone(), Words::of(profile))).collect();
        let catalogue = Catalogue::new(profiles, DEFAULT);
        let (selector, version) = (Selector::new(&catalogue), catalogue.version());
        Self { agents, catalogue, selector, words, version, skills: Arc::new(skills) }
    }

    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&Agent> {
        self.agents.get(name)
    }

    /// A hash of all agents, and of the weights of selection.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Whether a filter selects an agent.
    pub(crate) fn matches(&self, filter: &AgentFilter, agent: &Agent) -> bool {
        let is_found = || self.words.get(&agent.name).is_some_and(|words| filter.query.finds(words));
        (filter.category.is_empty() || filter.category == agent.category) && is_found()
    }

    /// The agents that match a filter after the one with the given name, at most `size`, sorted by name. Returns also the name of the last
    /// one if there are more.
    pub(crate) fn page(&self, filter: &AgentFilter, after: Option<&str>, size: i64) -> (Vec<&Agent>, Option<&str>) {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.agents.range::<str, _>((start, Bound::Unbounded)).map(|(_, agent)| agent);
        let mut rest = after.filter(|agent| self.matches(filter, agent));
        let page: Vec<_> = rest.by_ref().take(usize::try_from(size).unwrap_or_default()).collect();
        let next = rest.next().and_then(|_| page.last().map(|agent| agent.name.as_str()));
        (page, next)
    }

    /// Selects the agent for a request that names none.
    pub(crate) fn select(&self, request: &str) -> Decision {
        self.selector.select(request)
    }

    /// What selection reads of the agents.
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The skills that turns get.
    pub(crate) fn skills(&self) -> &Arc<Skills> {
        &self.skills
    }

    /// All agents, sorted by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// The agent of a request that no agent matches.
    #[cfg(test)]
    pub(crate) fn default(&self) -> &Agent {
        &self.agents[DEFAULT]
    }
}

fn profile(agent: &Agent) -> Profile {
    Profile {
        name: agent.name.clone(),
        description: agent.description.clone(),
        tags: agent.tags.clone(),
        examples: agent.examples.clone(),
        version: agent.version.clone(),
    }
}

/// Adds the agents of files, pairs of a path and a text.
fn add(agents: &mut BTreeMap<String, Agent>, files: Vec<(String, String)>, notes: &mut Vec<Note>) {
    let mut from: BTreeMap<String, String> = BTreeMap::new();
    for (file, text) in files {
        let mut note = |note| notes.push(Note { file: file.clone(), note });
        let stem = Path::new(&file).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        match file::parse(stem, &text) {
            Err(problem) => note(format!("is not an agent: {problem}")),
            Ok(parsed) => {
                parsed.notes.into_iter().for_each(&mut note);
                let name = parsed.agent.name.clone();
                match from.get(&name) {
                    Some(other) => note(format!("is ignored: {other} has the name {name:?}, too")),
                    None => {
                        from.insert(name.clone(), file.clone());
                        agents.insert(name, parsed.agent);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
