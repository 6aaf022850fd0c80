//! The list of `warm`: sets of packages, pinned by ranges, in `data/warm.json`.

use serde::Deserialize;
use serde_json::Value;

const LIST: &str = include_str!("../../data/warm.json");

/// The packages of a starter, or those that projects often use together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Set {
    /// For messages.
    pub(super) name: String,
    /// A `package.json`.
    pub(super) manifest: Value,
    /// What is bundled: the imports of a page.
    #[serde(default)]
    pub(super) specifiers: Vec<String>,
    /// The compilers that are bundled.
    #[serde(default)]
    pub(super) tools: Vec<String>,
}

/// The sets.
///
/// # Errors
/// The file is not in its format, which a test rules out.
pub(super) fn list() -> Result<Vec<Set>, serde_json::Error> {
    serde_json::from_str(LIST)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn dependencies(manifest: &Value) -> impl Iterator<Item = (&String, &Value)> {
        ["dependencies", "devDependencies"].iter().filter_map(|list| manifest[list].as_object()).flatten()
    }

    #[test]
    fn the_list_has_fifty_packages_besides_tools_and_types_with_ranges() {
        let (list, mut names, mut tools) = (list().expect("the list"), BTreeSet::new(), BTreeSet::new());
        for set in &list {
            for (name, range) in dependencies(&set.manifest) {
                let range = range.as_str().expect("a range");
                assert!(range.starts_with(['^', '~']), "{}: {name} has the range {range}", set.name);
            }
            let of = |list: &str| set.manifest[list].as_object().into_iter().flatten().map(|(name, _)| name.clone());
            names.extend(of("dependencies"));
            // What builds and checks a project.
            tools.extend(of("devDependencies"));
            for specifier in &set.specifiers {
                assert!(dependencies(&set.manifest).any(|(name, _)| specifier.starts_with(name.as_str())), "{}: {specifier}", set.name);
            }
        }
        names.retain(|name| !tools.contains(name) && !name.starts_with("@types/"));
        assert!(names.len() >= 50, "{names:?}");
    }

    #[test]
    fn the_packages_of_every_starter_are_in_the_list() {
        let (list, mut compared) = (list().expect("the list"), 0);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../project-storage/templates");
        for entry in fs::read_dir(folder).expect("the starters") {
            let path = entry.expect("a starter").path().join("files/package.json");
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let own: Value = serde_json::from_str(&text).expect("a package.json");
            let has_all = |set: &Set| ["dependencies", "devDependencies"].iter().all(|list| set.manifest[list] == own[list]);
            assert!(list.iter().any(has_all), "{}", path.display());
            compared += 1;
        }
        assert!(compared >= 2, "{compared}");
    }
}
