//! `overrides`: which rule holds for a dependency and for what is below it.

use super::{
    graph::{EdgeId, Graph, NodeId},
    rules::RuleId,
};
use crate::{
    semver::{Range, Reading},
    spec::{Spec, Wanted},
};

impl Graph {
    /// The rule for a dependency of a package for which `rule` holds: one for the package by that name, or `rule` itself.
    pub(super) fn rule_of(&self, rule: RuleId, edge: EdgeId) -> RuleId {
        let (name, spec) = (&self[edge].name, &self[edge].spec);
        let in_force = &self.rules.in_force[rule.0];
        self.count(in_force.len());
        let mut found = in_force.iter().copied().filter(|rule| *self.rules.rules[rule.0].name == **name);
        found.find(|rule| self.concerns(*rule, spec)).unwrap_or(rule)
    }

    fn concerns(&self, rule: RuleId, spec: &str) -> bool {
        let rule = &self.rules.rules[rule.0];
        if rule.range == "*" {
            return true;
        }
        match &*self.known_spec(spec) {
            Ok(Spec { wanted: Wanted::Tag(_), .. }) | Err(_) => true,
            Ok(Spec { wanted: Wanted::Range(range), .. }) => rule.parsed_range.as_ref().is_some_and(|known| {
                self.count(known.cost(range));
                known.intersects(range)
            }),
            Ok(Spec { wanted: Wanted::Version(version), .. }) => {
                let exact = Range::parse(&version.to_string(), Reading::OVERRIDE);
                matches!((&rule.parsed_range, exact), (Some(known), Some(exact)) if known.intersects(&exact))
            }
        }
    }

    /// The specifier that counts for a dependency: that of a rule, or its own.
    pub(super) fn effective_spec(&self, edge: EdgeId) -> std::sync::Arc<str> {
        let edge = &self[edge];
        let Some(rule) = edge.rule.map(|rule| &self.rules.rules[rule.0]) else { return edge.spec.clone() };
        if rule.value.is_empty() || rule.value == "*" || rule.name != *edge.name {
            return edge.spec.clone();
        }
        match rule.value.strip_prefix('$') {
            None => rule.value.as_str().into(),
            Some(reference) => self.referenced(reference).unwrap_or(&edge.spec).into(),
        }
    }

    /// The project's own specifier for a package.
    fn referenced(&self, name: &str) -> Option<&str> {
        let manifest = &self[self.project].manifest;
        let lists = manifest.dev.iter().chain(&manifest.optional).chain(&manifest.dependencies).map(|(name, spec)| (name, spec));
        let mut all = lists.chain(manifest.peers.iter().map(|peer| (&peer.name, &peer.spec)));
        all.find(|(found, _)| *found == name).map(|(_, spec)| spec.as_str())
    }

    /// The range of the package that a rule is for, if the rule of the edge is one.
    pub(super) fn rule_range(&self, edge: EdgeId) -> Option<&str> {
        self[edge].rule.map(|rule| self.rules.rules[rule.0].range.as_str()).filter(|range| !range.is_empty())
    }

    /// Whether a node is what its rule asks for.
    pub(super) fn is_overridden(&self, node: NodeId) -> bool {
        let Some(rule) = self[node].rule.map(|rule| &self.rules.rules[rule.0]) else { return false };
        if rule.value.is_empty() || *rule.name != *self[node].name {
            return false;
        }
        self.edges_in(node).into_iter().any(|edge| {
            let (own, of_from) = (self[edge].rule, self[self[edge].from].rule);
            let is_of_node = own
                .map(|rule| &self.rules.rules[rule.0])
                .is_some_and(|rule| *rule.name == *self[node].name && rule.value == self[node].manifest.version);
            is_of_node && own != of_from
        })
    }

    /// A dependency with this rule leads to the node now.
    pub(super) fn rule_added(&mut self, node: NodeId, rule: Option<RuleId>) {
        let Some(added) = rule else { return };
        let new = match self[node].rule {
            None => Some(added),
            Some(current) => self.rules.more_specific(current, added, &self.steps).filter(|new| *new != current),
        };
        if let Some(new) = new {
            self[node].rule = Some(new);
            self.pass_rules_on(node);
        }
    }

    /// A dependency with this rule does not lead to the node any more.
    pub(super) fn rule_removed(&mut self, node: NodeId, rule: Option<RuleId>) {
        if self[node].rule.is_none() || self[node].rule != rule {
            return;
        }
        let mut new = None;
        for edge in self.edges_in(node) {
            new = match (new, self[edge].rule) {
                (Some(new), Some(rule)) => self.rules.more_specific(rule, new, &self.steps),
                (_, rule) => rule,
            };
        }
        if self[node].rule != new {
            self[node].rule = new;
            if new.is_some() {
                self.pass_rules_on(node);
            }
        }
    }

    /// Gives the rule of a node to what it depends on, and so on. A list instead of a recursion, because a chain may be long.
    fn pass_rules_on(&mut self, node: NodeId) {
        self.unsettled.push(node);
        if self.is_settling {
            return;
        }
        self.is_settling = true;
        while let Some(node) = self.unsettled.pop() {
            if self.is_exhausted() {
                self.unsettled.clear();
                break;
            }
            for edge in self.edges_out(node) {
                self.reload(edge, true);
                if let Some(to) = self[edge].to {
                    let rule = self[edge].rule;
                    self.rule_added(to, rule);
                }
            }
        }
        self.is_settling = false;
    }
}
