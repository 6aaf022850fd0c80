//! The terms of a catalogue, and the score of each agent for a request. All figures are whole thousandths, so that sums do not depend on their
//! order, and replicas of different machines have the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{
    Profile, terms,
    weights::{Field, Weights, thousandths},
};

/// Which agents have a term, and how strongly.
#[derive(Debug, Clone)]
pub(super) struct Index {
    /// The agents that a term belongs to, with its weight there: rarity times the strength of the fields that have it.
    postings: HashMap<String, Vec<(usize, u32)>>,
    /// The rarity of each term.
    rarity: HashMap<String, u32>,
    /// The words of the name of each agent.
    names: Vec<HashSet<String>>,
    weights: Weights,
}

/// The score of an agent for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Score {
    /// The place of the agent in the catalogue.
    pub agent: usize,
    /// Not bounded.
    pub score: u32,
    /// The terms of the request that the agent has, and what each added. The strongest comes first.
    pub terms: Vec<(String, u32)>,
}

impl Index {
    /// `profiles` are sorted by name, so that equal catalogues have equal scores.
    pub(super) fn new(profiles: &[Profile], weights: Weights) -> Self {
        let mut texts = 0_u32;
        let mut frequency: HashMap<String, u32> = HashMap::new();
        let mut strengths: HashMap<String, BTreeMap<usize, f64>> = HashMap::new();
        for (at, profile) in profiles.iter().enumerate() {
            let mut fields: HashMap<String, BTreeMap<Field, u32>> = HashMap::new();
            for (field, text) in profile.texts() {
                let terms: HashSet<String> = terms::of(text).into_iter().collect();
                texts += 1;
                for term in terms {
                    *frequency.entry(term.clone()).or_default() += 1;
                    *fields.entry(term).or_default().entry(field).or_default() += 1;
                }
            }
            for (term, counts) in fields {
                strengths.entry(term).or_default().insert(at, weights.strength(&counts));
            }
        }
        let rarity: HashMap<String, f64> = frequency.into_iter().map(|(term, count)| (term, rarity(count, texts))).collect();
        let postings = strengths.into_iter().map(|(term, agents)| {
            let own = rarity[&term] * weights.breadth(agents.len(), profiles.len()) * weights.of_kind(&term);
            let postings = agents.into_iter().map(|(at, strength)| (at, thousandths(own * strength))).collect();
            (term, postings)
        });
        let postings = postings.collect();
        let names = profiles.iter().map(|profile| terms::of(&profile.name).into_iter().collect()).collect();
        Self { postings, rarity: rarity.into_iter().map(|(term, rarity)| (term, thousandths(rarity))).collect(), names, weights }
    }

    /// Whether the name of an agent has every word of the request.
    pub(super) fn is_name(&self, agent: usize, request: &str) -> bool {
        let terms = terms::of(request);
        let mut words = terms.iter().filter(|term| !term.contains(' ')).peekable();
        words.peek().is_some() && self.names.get(agent).is_some_and(|name| words.all(|word| name.contains(word)))
    }

    /// The scores of the agents that share a term with the request. The best comes first; of equal ones, the first in the catalogue.
    pub(super) fn scores(&self, request: &str) -> Vec<Score> {
        let terms = terms::of(request);
        let words = terms.iter().filter(|term| !term.contains(' '));
        let total: u32 = words.map(|word| self.rarity.get(word).copied().unwrap_or(thousandths(self.weights.unknown()))).sum();
        let mut found: BTreeMap<usize, Vec<(String, u32)>> = BTreeMap::new();
        for term in terms.into_iter().collect::<BTreeSet<_>>() {
            for (agent, weight) in self.postings.get(&term).into_iter().flatten() {
                found.entry(*agent).or_default().push((term.clone(), *weight));
            }
        }
        let length = self.weights.of_length(total);
        let mut scores: Vec<Score> = found
            .into_iter()
            .map(|(agent, mut terms)| {
                terms.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
                let sum: u32 = terms.iter().map(|(_, weight)| weight).sum();
                Score { agent, score: thousandths(f64::from(sum) / 1_000.0 / length), terms }
            })
            .collect();
        scores.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.agent.cmp(&b.agent)));
        scores
    }
}

/// The rarity of a term that `count` of `texts` texts have: the weight of BM25.
fn rarity(count: u32, texts: u32) -> f64 {
    let (count, texts) = (f64::from(count), f64::from(texts));
    ((texts - count + 0.5) / (count + 0.5) + 1.0).ln()
}
