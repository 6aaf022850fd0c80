//! Which version each dependency has.

use std::collections::HashMap;

use crate::{integrity::Integrity, name, semver::Version};

/// A version that a lock file has chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Locked {
    /// The name of the package, which is not the dependency's name for an alias.
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) integrity: Option<Integrity>,
}

impl Locked {
    /// `None` if the name or the version is none.
    pub(crate) fn new(package: &str, version: &str, integrity: Option<Integrity>) -> Option<Self> {
        let is_valid = name::is_valid(package) && Version::published(version).is_some();
        is_valid.then(|| Self { package: package.to_owned(), version: version.to_owned(), integrity })
    }
}

/// Versions by who asks for them, or by what is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Picks {
    /// By the package that asks, `name@version` or empty for the project, and the dependency.
    by_dependent: HashMap<(String, String), Locked>,
    /// By the dependency and its specifier.
    by_spec: HashMap<(String, String), Locked>,
}

impl Picks {
    pub(crate) fn add_for_dependent(&mut self, by: Option<(&str, &str)>, dependency: &str, locked: Locked) {
        self.by_dependent.entry((dependent(by), dependency.to_owned())).or_insert(locked);
    }

    pub(crate) fn add_for_spec(&mut self, dependency: &str, spec: &str, locked: Locked) {
        self.by_spec.insert((dependency.to_owned(), spec.to_owned()), locked);
    }

    /// The version for a dependency of a package, or of the project.
    pub(crate) fn get(&self, by: Option<(&str, &str)>, dependency: &str, spec: &str) -> Option<&Locked> {
        let of_dependent = self.by_dependent.get(&(dependent(by), dependency.to_owned()));
        of_dependent.or_else(|| self.by_spec.get(&(dependency.to_owned(), spec.to_owned())))
    }

    /// All versions, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Locked> {
        self.by_dependent.values().chain(self.by_spec.values())
    }
}

fn dependent(by: Option<(&str, &str)>) -> String {
    by.map(|(name, version)| format!("{name}@{version}")).unwrap_or_default()
}
