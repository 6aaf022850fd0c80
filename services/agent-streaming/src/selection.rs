//! Selects the agent of a turn, and says why. The rule is pure: the same catalogue and the same request always have the same decision.

mod index;
mod search;
pub(crate) mod terms;
mod weights;

use serde::{Deserialize, Serialize};

pub(crate) use self::search::{Query, Words};
use self::{
    index::{Index, Score},
    weights::{Field, Weights, thousandths},
};
use crate::digest::short_sha256;

/// How many candidates a decision keeps.
const MAX_CANDIDATES: usize = 5;
/// How many matched terms a candidate keeps.
const MAX_TERMS: usize = 8;
/// Bytes of the version of a catalogue.
const VERSION_BYTES: usize = 8;

/// What selection reads of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Profile {
    pub name: String,
    pub description: String,
    pub tags: Vec<String>,
    pub examples: Vec<String>,
    /// The version of the agent. It changes no score.
    pub version: String,
}

impl Profile {
    fn texts(&self) -> impl Iterator<Item = (Field, &str)> {
        let lists = [(Field::Tag, &self.tags), (Field::Example, &self.examples)];
        let lists = lists.into_iter().flat_map(|(field, texts)| texts.iter().map(move |text| (field, text.as_str())));
        [(Field::Name, self.name.as_str()), (Field::Description, self.description.as_str())].into_iter().chain(lists)
    }
}

/// Why an agent was selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The request named it.
    Named,
    /// It is clearly the best.
    Matched,
    /// A model chose it among candidates that are too close to each other.
    Chosen,
    /// The default: the best candidates are too close to each other.
    Close,
    /// The default: no agent matches well enough.
    Weak,
}

impl Rule {
    /// The text of the rule in events.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Matched => "matched",
            Self::Chosen => "chosen",
            Self::Close => "close",
            Self::Weak => "weak",
        }
    }
}

/// An agent that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub name: String,
    /// In thousandths, not bounded.
    pub score: u32,
    /// The terms of the request that the agent has, and what each added in thousandths. The strongest comes first.
    pub terms: Vec<(String, u32)>,
}

/// The selected agent and the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub agent: String,
    pub rule: Rule,
    /// The best candidates, the best first. Empty for a named agent.
    pub candidates: Vec<Candidate>,
    /// The part of its score by which the best candidate is better than the second, in thousandths.
    pub margin: u32,
}

impl Decision {
    /// The decision for a request that names its agent.
    pub(crate) fn named(agent: &str) -> Self {
        Self { agent: agent.to_owned(), rule: Rule::Named, candidates: Vec::new(), margin: 0 }
    }
}

/// Everything that a decision depends on besides the request. It is stored, so that decisions can be made again by a later release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Catalogue {
    weights: Weights,
    /// Sorted by name.
    profiles: Vec<Profile>,
    /// The agent that answers where no agent is clearly the best.
    default: String,
}

impl Catalogue {
    /// The order of the profiles does not matter.
    pub(crate) fn new(mut profiles: Vec<Profile>, default: &str) -> Self {
        profiles.sort_by(|a, b| a.name.cmp(&b.name));
        Self { weights: Weights::FITTED, profiles, default: default.to_owned() }
    }

    /// The version of an agent.
    pub(crate) fn agent_version(&self, name: &str) -> Option<&str> {
        self.profiles.iter().find(|profile| profile.name == name).map(|profile| profile.version.as_str())
    }

    /// A hash of the catalogue in hexadecimal digits.
    ///
    /// # Panics
    /// Never: it consists of texts and numbers.
    pub(crate) fn version(&self) -> String {
        let text = serde_json::to_vec(self).expect("a catalogue is JSON");
        short_sha256(text, VERSION_BYTES)
    }
}

/// Selects among the agents of a catalogue.
#[derive(Debug, Clone)]
pub(crate) struct Selector {
    names: Vec<String>,
    default: String,
    index: Index,
    weights: Weights,
}

impl Selector {
    pub(crate) fn new(catalogue: &Catalogue) -> Self {
        let Catalogue { weights, profiles, default } = catalogue;
        let names = profiles.iter().map(|profile| profile.name.clone()).collect();
        Self { names, default: default.clone(), index: Index::new(profiles, *weights), weights: *weights }
    }

    /// The decision for a request that names no agent.
    pub(crate) fn select(&self, request: &str) -> Decision {
        let mut scores = self.index.scores(request);
        let best = scores.first().map_or(0, |best| best.score);
        let second = scores.get(1).map_or(0, |second| second.score);
        let margin = thousandths(f64::from(best - second) / f64::from(best.max(1)));
        let reaches = |least: f32| margin >= thousandths(f64::from(least));
        let is_name = |best: &Score| self.index.is_name(best.agent, request);
        let rule = if reaches(self.weights.named_margin) && scores.first().is_some_and(is_name) {
            Rule::Matched
        } else if best < thousandths(f64::from(self.weights.min_score)) {
            Rule::Weak
        } else if reaches(self.weights.min_margin) {
            Rule::Matched
        } else {
            Rule::Close
        };
        scores.truncate(MAX_CANDIDATES);
        let candidates: Vec<Candidate> = scores.into_iter().map(|score| self.candidate(score)).collect();
        let agent = match (rule, candidates.first()) {
            (Rule::Matched, Some(best)) => best.name.clone(),
            _ => self.default.clone(),
        };
        Decision { agent, rule, candidates, margin }
    }

    fn candidate(&self, Score { agent, score, mut terms }: Score) -> Candidate {
        terms.truncate(MAX_TERMS);
        Candidate { name: self.names[agent].clone(), score, terms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str, description: &str, tags: &[&str], examples: &[&str]) -> Profile {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Profile {
            name: name.to_owned(),
            description: description.to_owned(),
            tags: own(tags),
            examples: own(examples),
            ..Profile::default()
        }
    }

    fn catalogue() -> Vec<Profile> {
        vec![
            profile("charts", "Draws line, bar and pie charts of data.", &["chart", "graph"], &["Show the sales as a bar chart"]),
            profile("chess-game", "Builds a game of chess with legal moves.", &["chess", "board game"], &["Make a chess board"]),
            profile("forms", "Builds forms with validation of fields.", &["form", "validation"], &["Check the e-mail field of my form"]),
            profile("tables", "Shows data in tables that are sorted and filtered.", &["table", "sort"], &["Sort the rows of my table"]),
        ]
    }

    /// With limits for a catalogue of four agents.
    fn selector(profiles: Vec<Profile>) -> Selector {
        let mut weights = Weights::FITTED;
        (weights.min_score, weights.min_margin) = (1.0, 0.3);
        Selector::new(&Catalogue { weights, ..Catalogue::new(profiles, "builder") })
    }

    #[test]
    fn a_clear_winner_is_selected_and_explained() {
        let decision = selector(catalogue()).select("please draw my numbers as a pie chart");
        assert_eq!((decision.agent.as_str(), decision.rule), ("charts", Rule::Matched));
        assert_eq!(decision.candidates[0].name, "charts");
        assert!(decision.candidates[0].terms.iter().any(|(term, _)| term == "pie chart"), "{decision:?}");
        assert!(decision.margin > 500 && decision.candidates[0].score > 0);
    }

    #[test]
    fn a_request_of_words_of_a_name_is_for_that_agent() {
        let catalogue = Catalogue::new(catalogue(), "builder");
        for (request, agent) in [
            ("make me a chart", "charts"),
            ("a chess game", "chess-game"),
            ("my chess club", "builder"),
            ("a graph", "builder"),
            ("", "builder"),
        ] {
            let decision = Selector::new(&catalogue).select(request);
            assert_eq!(decision.agent, agent, "{request}: {decision:?}");
        }
        let mut weights = Weights::FITTED;
        weights.named_margin = 2.0;
        assert_eq!(
            Selector::new(&Catalogue { weights, ..catalogue }).select("make me a chart").agent,
            "builder",
            "stored before there was the rule"
        );
    }

    #[test]
    fn what_matches_weakly_or_several_agents_takes_the_default() {
        let selector = selector(catalogue());
        for (request, rule) in [
            ("", Rule::Weak),
            ("hello there", Rule::Weak),
            ("thanks, make it better", Rule::Weak),
            ("a chess game, and a sorted table with a form for validation and a bar chart graph", Rule::Close),
        ] {
            let decision = selector.select(request);
            assert_eq!((decision.agent.as_str(), decision.rule), ("builder", rule), "{request}: {decision:?}");
        }
    }

    #[test]
    fn the_order_of_the_catalogue_changes_nothing() {
        let mut reversed = catalogue();
        reversed.reverse();
        let (one, other) = (selector(catalogue()), selector(reversed));
        for request in ["bar chart", "a chess board with a table", "validate forms"] {
            assert_eq!(one.select(request), other.select(request), "{request}");
        }
    }
}
