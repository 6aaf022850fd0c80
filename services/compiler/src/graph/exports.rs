//! Whether a file exports a name, also over `export * from`.

use std::collections::BTreeSet;

use compiler_client::message::{
    Facts,
    facts::{Import, Kind},
};

use super::{Graph, Name, Target};

impl Graph<'_> {
    /// Whether a module exports the name, or may export it.
    pub(super) fn exports(&self, name: &Name, export: &str) -> bool {
        self.exports_below(name, export, &mut BTreeSet::new())
    }

    /// Whether a module exports the name as a type, which its code does not have.
    pub(super) fn exports_type(&self, name: &Name, export: &str) -> bool {
        self.exports_type_below(name, export, &mut BTreeSet::new())
    }

    fn exports_below(&self, name: &Name, export: &str, seen: &mut BTreeSet<Name>) -> bool {
        if ![Kind::Module, Kind::Worker].contains(&name.1) {
            return export == "default";
        }
        if !seen.insert(name.clone()) {
            return false;
        }
        let Some(facts) = self.facts.get(name) else { return true };
        let is_known = !facts.is_open && facts.findings.iter().all(|finding| finding.is_warning);
        if !is_known || facts.exports.iter().any(|known| known == export) {
            return true;
        }
        // A star does not export the default.
        export != "default"
            && self.stars(name, facts).any(|target| match target {
                Target::File(other) => self.exports_below(&other, export, seen),
                _ => true,
            })
    }

    fn exports_type_below(&self, name: &Name, export: &str, seen: &mut BTreeSet<Name>) -> bool {
        let Some(facts) = self.facts.get(name).filter(|_| seen.insert(name.clone())) else { return false };
        if facts.types.iter().any(|known| known == export) {
            return true;
        }
        export != "default"
            && self.stars(name, facts).any(|target| match target {
                Target::File(other) => self.exports_type_below(&other, export, seen),
                _ => false,
            })
    }

    /// What a module exports with `export * from`.
    fn stars(&self, name: &Name, facts: &Facts) -> impl Iterator<Item = Target> {
        facts.stars.iter().map(move |specifier| self.target(name, &Import { specifier: specifier.clone(), ..Import::default() }))
    }
}
