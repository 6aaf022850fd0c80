//! Compilers that exist only as npm packages: those of Svelte, Vue and Tailwind. They are bundled as other packages are, and a worker runs them in
//! an engine of its own.

use bytes::Bytes;

use super::packages::package_of;

/// The start of their specifiers.
pub const PREFIX: &str = "backlot:tool/";
pub const SVELTE: &str = "backlot:tool/svelte";
pub const VUE: &str = "backlot:tool/vue";
/// Version 4. It can be followed by what it needs of packages: `?SHEET.css&MODULE#import&MODULE#require&PATTERN#words`.
pub const TAILWIND: &str = "backlot:tool/tailwindcss";
/// Version 3, with the same parts.
pub const TAILWIND_3: &str = "backlot:tool/tailwindcss/3";
/// What exchanges components of React in an open page.
pub const REACT_REFRESH: &str = "backlot:tool/react-refresh";
/// The same for Preact. Its bundle imports `preact`, so that it shares the instance of the page.
pub const PREFRESH: &str = "backlot:tool/@prefresh/core?@prefresh/utils";
/// The tools that run in the page, and not in a worker.
pub const REFRESHES: [&str; 2] = [REACT_REFRESH, PREFRESH];

/// The end of the specifier of the style sheets of a package, which SCSS imports: `backlot:tool/PACKAGE#sheets`. They are no program.
pub const SHEETS: &str = "#sheets";

/// The end of the address of bytecode.
pub const PROGRAM_END: &str = ".qjs";

/// The address of bytecode with this SHA-256.
#[must_use]
pub fn program_url(hash: impl AsRef<[u8]>) -> String {
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("@m/{hash}{PROGRAM_END}")
}

/// A bundled compiler, or style sheets.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Tool {
    /// Such as [`SVELTE`].
    #[prost(string, tag = "1")]
    pub specifier: String,
    /// The address of the code, with its hash. It is part of the keys of the modules that the tool compiles.
    #[prost(string, tag = "2")]
    pub id: String,
    /// Bytecode of QuickJS that the same build of the compiler has made of an ECMAScript module. JSON if the specifier ends with [`SHEETS`].
    #[prost(bytes = "bytes", tag = "3")]
    pub code: Bytes,
}

/// What a tool has answered. It is a function of the tool and of the inputs that it has had in one process, as the key is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ToolOutput {
    #[prost(string, tag = "1")]
    pub key: String,
    /// JSON.
    #[prost(string, tag = "2")]
    pub text: String,
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
        assert_eq!(packages_of(REACT_REFRESH), ["react-refresh"]);
        assert_eq!(packages_of(PREFRESH), ["@prefresh/core", "@prefresh/utils"]);
        assert_eq!(packages_of(TAILWIND_3), ["tailwindcss"]);
        assert_eq!(packages_of("backlot:tool/a?@b/c/d&e/f&g#import"), ["a", "@b/c", "e", "g"]);
        assert_eq!(packages_of("backlot:tool/@b/c#sheets"), ["@b/c"]);
        assert_eq!(packages_of("@b/c/d"), ["@b/c"]);
    }
}
