//! The rules of `overrides`.

use crate::{
    manifest::OverrideRule,
    semver::{Range, Reading},
    spec::{Spec, Wanted},
    steps::Steps,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RuleId(pub(super) usize);

/// The rules of a project. Without rules there is no root, either.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) rules: Vec<Rule>,
    /// For each rule all that hold below it, the nearest first, each key once.
    pub(super) in_force: Vec<Vec<RuleId>>,
}

#[derive(Debug)]
pub(super) struct Rule {
    /// The name and the range of the package, and its new specifier. Empty at the root.
    pub(super) name: String,
    pub(super) range: String,
    pub(super) parsed_range: Option<Range>,
    pub(super) value: String,
    parsed_value: Option<Range>,
    parent: Option<RuleId>,
    children: Vec<RuleId>,
}

impl Rules {
    pub(super) fn new(rules: &[OverrideRule]) -> Self {
        let mut all = Self::default();
        if !rules.is_empty() {
            let root =
                OverrideRule { key: String::new(), name: String::new(), range: String::new(), value: String::new(), rules: rules.to_vec() };
            all.add(&root, None);
            all.in_force = (0..all.rules.len()).map(|rule| all.find_in_force(RuleId(rule))).collect();
        }
        all
    }

    pub(super) fn root(&self) -> Option<RuleId> {
        (!self.rules.is_empty()).then_some(RuleId(0))
    }

    fn add(&mut self, rule: &OverrideRule, parent: Option<RuleId>) -> RuleId {
        let id = RuleId(self.rules.len());
        self.rules.push(Rule {
            name: rule.name.clone(),
            range: rule.range.clone(),
            parsed_range: Range::parse(&rule.range, Reading::OVERRIDE),
            value: rule.value.clone(),
            parsed_value: parsed_value(&rule.value),
            parent,
            children: Vec::new(),
        });
        let children: Vec<_> = rule.rules.iter().map(|child| self.add(child, Some(id))).collect();
        self.rules[id.0].children = children;
        id
    }

    fn ancestry(&self, rule: RuleId) -> impl Iterator<Item = RuleId> + '_ {
        std::iter::successors(Some(rule), |rule| self.rules[rule.0].parent)
    }

    fn find_in_force(&self, rule: RuleId) -> Vec<RuleId> {
        let mut found: Vec<RuleId> = Vec::new();
        for ancestor in self.ancestry(rule) {
            let own = (ancestor != RuleId(0)).then_some(ancestor);
            for candidate in self.rules[ancestor.0].children.iter().copied().chain(own) {
                let key = |rule: RuleId| (&self.rules[rule.0].name, &self.rules[rule.0].range);
                if !found.iter().any(|rule| key(*rule) == key(candidate)) {
                    found.push(candidate);
                }
            }
        }
        found
    }

    /// The more specific one of two rules, or what both are below. `None` if they contradict each other.
    pub(super) fn more_specific(&self, first: RuleId, second: RuleId, steps: &Steps) -> Option<RuleId> {
        if self.ancestry(second).any(|rule| rule == first) {
            return Some(second);
        }
        if self.ancestry(first).any(|rule| rule == second) {
            return Some(first);
        }
        if self.contradict(first, second, steps) {
            return None;
        }
        let of_first: Vec<_> = self.ancestry(first).collect();
        self.ancestry(second).find(|rule| of_first.contains(rule))
    }

    /// Whether two rules give one package specifiers that have no version in common.
    pub(super) fn contradict(&self, first: RuleId, second: RuleId, steps: &Steps) -> bool {
        let key = |rule: RuleId| (&self.rules[rule.0].name, &self.rules[rule.0].range);
        let others = &self.in_force[second.0];
        self.in_force[first.0].iter().any(|a| {
            steps.count(1 + others.len() / 4);
            let same = others.iter().find(|b| key(**b) == key(*a)).filter(|b| *b != a);
            let values = same.map(|b| (&self.rules[a.0].parsed_value, &self.rules[b.0].parsed_value));
            let Some((Some(first), Some(second))) = values else { return false };
            steps.count(first.cost(second));
            !first.intersects(second)
        })
    }
}

/// The versions that a rule gives, if it names them itself.
fn parsed_value(text: &str) -> Option<Range> {
    match Spec::parse(text) {
        Ok(Spec { wanted: Wanted::Version(_) | Wanted::Range(_), alias: None }) => Range::parse(text, Reading::OVERRIDE),
        _ => None,
    }
}
