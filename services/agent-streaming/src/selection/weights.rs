//! The weights of the score.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A part of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Field {
    Name,
    Tag,
    Description,
    Example,
}

/// The weights. Those of [`Weights::FITTED`] come from a random search on the part `train` of the labelled requests, with the limits that take
/// none of its requests that fit no agent. `bench.sh only selection` prints what they give on the part `test`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Weights {
    name: f32,
    tag: f32,
    description: f32,
    example: f32,
    /// The strength at which a further field adds half.
    saturation: f32,
    /// The weight of a pair of words beside that of a word.
    pair: f32,
    /// How much less a term of many agents counts.
    breadth: f32,
    /// How much a request's own length lowers its scores.
    length: f32,
    /// The rarity of a word that no agent has.
    unknown: f32,
    /// The lowest score of a clear winner.
    pub min_score: f32,
    /// The lowest part of its score by which a clear winner is better than the second.
    pub min_margin: f32,
    /// The same of an agent whose name has every word of the request. It needs no lowest score: a request of one word has a low one.
    #[serde(default = "never")]
    pub named_margin: f32,
}

/// For the catalogues that were stored before names had a rule: no margin is that large.
fn never() -> f32 {
    2.0
}

impl Weights {
    pub(super) const FITTED: Self = Self {
        name: 11.8,
        tag: 3.0,
        description: 1.7,
        example: 1.0,
        saturation: 1.45,
        pair: 0.29,
        breadth: 0.41,
        length: 0.014,
        unknown: 7.0,
        min_score: 6.25,
        min_margin: 0.05,
        named_margin: 0.2,
    };

    /// The strength of a term of an agent, from 0 to 1. `counts` has how many texts of each field have the term.
    pub(super) fn strength(&self, counts: &BTreeMap<Field, u32>) -> f64 {
        let sum: f64 = counts.iter().map(|(field, count)| f64::from(self.of(*field)) * (1.0 + f64::from(*count).ln())).sum();
        sum / (sum + f64::from(self.saturation))
    }

    fn of(&self, field: Field) -> f32 {
        match field {
            Field::Name => self.name,
            Field::Tag => self.tag,
            Field::Description => self.description,
            Field::Example => self.example,
        }
    }

    /// A factor for a term that `agents` of `all` agents have.
    pub(super) fn breadth(&self, agents: usize, all: usize) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "catalogues are small")]
        let (agents, all) = (agents as f64, all.max(2) as f64);
        (1.0 - agents.ln() / all.ln()).max(0.0).powf(f64::from(self.breadth))
    }

    /// A factor for a word or a pair of words.
    pub(super) fn of_kind(&self, term: &str) -> f64 {
        if term.contains(' ') { f64::from(self.pair) } else { 1.0 }
    }

    /// What divides the scores of a request whose words have this rarity in all, in thousandths.
    pub(super) fn of_length(&self, rarity: u32) -> f64 {
        1.0 + f64::from(self.length) * f64::from(rarity) / 1_000.0
    }

    /// The rarity of a word that no agent has.
    pub(super) fn unknown(&self) -> f64 {
        f64::from(self.unknown)
    }
}

/// A number from 0 as whole thousandths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the conversion saturates")]
pub(super) fn thousandths(value: f64) -> u32 {
    (value * 1_000.0).round() as u32
}
