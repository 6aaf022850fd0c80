//! What is installed where.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::integrity::Integrity;

/// A tree of packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// The packages by their path, such as `node_modules/a/node_modules/@b/c`.
    pub packages: BTreeMap<String, Package>,
    /// The path of each dependency of the project that is installed.
    pub dependencies: BTreeMap<String, String>,
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Package {
    /// The name on the registry. The folder has the dependency's name, which differs for an alias.
    pub name: String,
    pub version: String,
    /// The hash of its tarball. A package without one cannot be unpacked.
    #[serde(serialize_with = "as_text")]
    pub integrity: Option<Integrity>,
    /// The path of each dependency that is installed.
    pub dependencies: BTreeMap<String, String>,
    /// The packages that its tarball contains. They are in its own `node_modules` and not in the tree.
    pub bundled: Vec<String>,
    /// Whether only development dependencies of the project need it.
    pub is_dev: bool,
    /// Whether the project works without it.
    pub is_optional: bool,
    /// An optional package that the platform cannot run, or that only such packages need. It has a place and is not installed.
    pub is_skipped: bool,
    /// The path of the package that stands in for this one. npm ends endless nesting in this way.
    pub link: Option<String>,
}

fn as_text<S: serde::Serializer>(integrity: &Option<Integrity>, serializer: S) -> Result<S::Ok, S::Error> {
    integrity.as_ref().map(ToString::to_string).serialize(serializer)
}
