//! What to use instead of a package, or of a module of Node.js, that a browser cannot run.

use compiler_client::message::packages::package_of;
use npm::known;

/// A sentence for the first of these names that the table has. Empty if it has none.
pub(crate) fn advice(names: &[&str]) -> String {
    let instead = names.iter().find_map(|name| known::instead(name.strip_prefix("node:").unwrap_or(name)));
    instead.map(|instead| format!("Use instead: {instead}.")).unwrap_or_default()
}

/// The name of the package that a file belongs to, or empty.
pub(crate) fn package_at(file: &str) -> &str {
    file.rsplit_once("node_modules/").map_or("", |(_, inside)| package_of(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_counts_before_the_module_of_node() {
        assert_eq!(advice(&[package_at("node_modules/a/node_modules/express/lib/a.js"), "node:fs"]), advice(&["express"]));
        assert_eq!(advice(&[package_at("node_modules/@a/b/c.js"), "node:fs"]), "Use instead: import the file, or fetch it from public/.");
        assert_eq!(advice(&[package_at("main.js"), "node:nothing"]), "");
    }
}
