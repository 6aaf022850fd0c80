//! What to use instead of a package, or of a module of Node.js, that a browser cannot run, or of a name that a package does not export.

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

/// What to do about a name that a package does not export. CommonJS can set it when it runs, and has a default export.
pub(crate) fn read_default(exports: &[String]) -> Option<String> {
    let help = "If the package is CommonJS and sets the name when it runs, import the default, and read the name of that.";
    exports.iter().any(|name| name == "default").then(|| help.to_owned())
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

    #[test]
    fn only_a_package_with_a_default_export_can_be_commonjs() {
        assert!(read_default(&["a".to_owned(), "default".to_owned()]).is_some());
        assert_eq!(read_default(&["a".to_owned()]), None);
    }
}
