//! The style sheets of a package and of what it depends on, which Sass reads. No engine runs them: their code is JSON.

use std::collections::BTreeMap;

use compiler_client::message::tools::{PREFIX, SHEETS};
use serde::{Deserialize, Serialize};

/// The sheets of one package.
#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct Sheets {
    /// Texts by path, which begins with `node_modules/`.
    pub(crate) files: BTreeMap<String, String>,
    /// Paths by specifier, as each `package.json` says: `bootstrap`, `bootstrap/theme`.
    pub(crate) names: BTreeMap<String, String>,
}

impl Sheets {
    /// The path of the sheet that a specifier names. Sass adds an ending to it.
    pub(crate) fn find(&self, specifier: &str) -> Option<&str> {
        let file = self.files.get_key_value(&format!("node_modules/{specifier}")).map(|(path, _)| path);
        let named = || self.names.get(specifier).or_else(|| self.names.get(specifier.strip_suffix(".scss")?));
        file.or_else(named).map(String::as_str)
    }
}

/// The specifier of the sheets of a package.
pub(crate) fn specifier(package: &str) -> String {
    format!("{PREFIX}{package}{SHEETS}")
}

/// The package whose sheets a specifier names.
pub(crate) fn package(specifier: &str) -> Option<&str> {
    specifier.strip_prefix(PREFIX)?.strip_suffix(SHEETS).filter(|package| !package.contains(['?', '&', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specifier_names_its_package() {
        for name in ["bootstrap", "@a/b"] {
            assert_eq!(package(&specifier(name)), Some(name));
        }
        for other in ["bootstrap", "backlot:tool/svelte", "backlot:tool/tailwindcss?a.css&b#words", "backlot:tool/a?b#sheets"] {
            assert_eq!(package(other), None, "{other}");
        }
    }
}
