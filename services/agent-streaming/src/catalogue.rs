//! The agents outside of a running service: for the command line and for measurements.

use std::{io, path::Path};

use proto::agent_streaming::AgentSelected;

use crate::{intake::select, model::agents, selection::Query};

/// The built-in agents and skills, and those of a folder.
#[derive(Debug, Clone)]
pub struct Catalogue(agents::Agents);

impl Catalogue {
    /// Loads the agents and skills. Returns also a line for each thing in a file of the folder that was ignored or guessed.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn load(dir: Option<&Path>) -> io::Result<(Self, Vec<String>)> {
        let (agents, notes) = agents::Agents::load(dir)?;
        Ok((Self(agents), notes.iter().map(ToString::to_string).collect()))
    }

    /// The name, the category and the description of each agent, sorted by name.
    pub fn agents(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.all().map(|agent| (agent.name.as_str(), agent.category.as_str(), agent.description.as_str()))
    }

    /// The name and the description of each skill, sorted by name.
    pub fn skills(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.skills().all().map(|skill| (skill.name.as_str(), skill.description.as_str()))
    }

    /// The agents that have all words of a query and a category, as [`Catalogue::agents`] gives them. Empty texts select all.
    pub fn find(&self, query: &str, category: &str) -> impl Iterator<Item = (&str, &str, &str)> {
        let filter = agents::AgentFilter { category: category.to_owned(), query: Query::new(query) };
        let found = self.0.all().filter(move |agent| self.0.matches(&filter, agent));
        found.map(|agent| (agent.name.as_str(), agent.category.as_str(), agent.description.as_str()))
    }

    /// The agent that a turn with this prompt would get, and why.
    ///
    /// # Panics
    /// Never: an agent that is selected is in the catalogue.
    #[must_use]
    pub fn select(&self, prompt: &str) -> AgentSelected {
        select::select_agent(&self.0, ("", prompt)).expect("the selected agent exists")
    }
}
