//! Compilers that exist only as npm packages: those of Svelte, Vue and Tailwind. They are bundled as other packages are, and a worker runs them in
//! an engine of its own.

use super::packages::package_of;

/// The start of their specifiers.
pub const PREFIX: &str = "backlot:tool/";
pub const SVELTE: &str = "backlot:tool/svelte";
pub const VUE: &str = "backlot:tool/vue";
/// It can be followed by the style sheets and plugins of packages that it needs: `?SHEET&PLUGIN#module`.
pub const TAILWIND: &str = "backlot:tool/tailwindcss";

/// A bundled compiler.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Tool {
    /// Such as [`SVELTE`].
    #[prost(string, tag = "1")]
    pub specifier: String,
    /// The hash of the code. It is part of the keys of the modules that the tool compiles.
    #[prost(string, tag = "2")]
    pub id: String,
    /// One ECMAScript module.
    #[prost(string, tag = "3")]
    pub code: String,
}

/// The names of the packages of a specifier. A tool can have several.
#[must_use]
pub fn packages_of(specifier: &str) -> Vec<&str> {
    match specifier.strip_prefix(PREFIX) {
        Some(tool) => tool.split(['?', '&']).map(|part| package_of(part.split('#').next().unwrap_or_default())).collect(),
        None => vec![package_of(specifier)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_has_the_packages_that_it_names() {
        assert_eq!(packages_of(SVELTE), ["svelte"]);
        assert_eq!(packages_of("backlot:tool/a?@b/c/d&e/f&g#module"), ["a", "@b/c", "e", "g"]);
        assert_eq!(packages_of("@b/c/d"), ["@b/c"]);
    }
}
