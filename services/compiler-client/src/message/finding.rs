//! What is wrong with a file.

/// The most findings of an answer.
pub const MAX_FINDINGS: usize = 200;

/// The codes of findings. They are never renamed.
pub mod code {
    /// The text is no JavaScript, TypeScript or JSX.
    pub const SYNTAX_ERROR: &str = "SYNTAX_ERROR";
    /// An import names a file that does not exist.
    pub const UNRESOLVED_IMPORT: &str = "UNRESOLVED_IMPORT";
    /// An import names an export that the file or the package does not have.
    pub const MISSING_EXPORT: &str = "MISSING_EXPORT";
    /// An import names a package that `package.json` does not list.
    pub const MISSING_PACKAGE: &str = "MISSING_PACKAGE";
    /// A name is used and defined nowhere.
    pub const UNDEFINED_NAME: &str = "UNDEFINED_NAME";
    /// HTML or CSS refers to a file that does not exist.
    pub const MISSING_FILE: &str = "MISSING_FILE";
    /// A class is read from a CSS module that does not define it.
    pub const MISSING_CLASS: &str = "MISSING_CLASS";
    /// The compiler of Svelte refuses the file.
    pub const SVELTE_SYNTAX: &str = "SVELTE_SYNTAX";
    /// The compiler of Svelte warns of something in the file.
    pub const SVELTE_WARNING: &str = "SVELTE_WARNING";
    /// The compiler of Vue refuses the file.
    pub const VUE_SYNTAX: &str = "VUE_SYNTAX";
    /// The text is no SCSS or Sass, or it imports what is not there.
    pub const SCSS_SYNTAX: &str = "SCSS_SYNTAX";
    /// Tailwind refuses the style sheet.
    pub const TAILWIND: &str = "TAILWIND";
    /// A compiler that is a package exceeded its time, memory or stack, or failed.
    pub const TOOL_FAILED: &str = "TOOL_FAILED";
    /// The text is no JSON.
    pub const INVALID_JSON: &str = "INVALID_JSON";
    /// The text is no CSS.
    pub const INVALID_CSS: &str = "INVALID_CSS";
    /// The file is not UTF-8.
    pub const INVALID_TEXT: &str = "INVALID_TEXT";
    /// The file is too large to be compiled.
    pub const FILE_TOO_LARGE: &str = "FILE_TOO_LARGE";
    /// The file is nested too deeply to be compiled.
    pub const NESTED_TOO_DEEPLY: &str = "NESTED_TOO_DEEPLY";
    /// Syntax, a query or a kind of file that is not compiled.
    pub const UNSUPPORTED: &str = "UNSUPPORTED";
    /// The address in an `import()` or a `new URL` has variables, and does not say which files it can name.
    pub const UNKNOWN_ADDRESS: &str = "UNKNOWN_ADDRESS";
    /// The registry has no such package, or no such version of it.
    pub const UNKNOWN_PACKAGE: &str = "UNKNOWN_PACKAGE";
    /// A dependency has a name, a value or a source that is not installed.
    pub const INVALID_DEPENDENCY: &str = "INVALID_DEPENDENCY";
    /// The packages need versions that exclude each other.
    pub const PACKAGE_CONFLICT: &str = "PACKAGE_CONFLICT";
    /// A package is damaged, or not the one that was published.
    pub const DAMAGED_PACKAGE: &str = "DAMAGED_PACKAGE";
    /// The packages are too many or too large.
    pub const PACKAGES_TOO_LARGE: &str = "PACKAGES_TOO_LARGE";
    /// The registry of packages does not answer.
    pub const REGISTRY_UNAVAILABLE: &str = "REGISTRY_UNAVAILABLE";
    /// A package needs compiled code or Node.js.
    pub const NO_BROWSER_PACKAGE: &str = "NO_BROWSER_PACKAGE";
    /// A package cannot be bundled.
    pub const NOT_BUNDLED: &str = "NOT_BUNDLED";
    /// The tree has no `index.html`.
    pub const MISSING_PAGE: &str = "MISSING_PAGE";
}

/// The findings that an answer has room for: errors before warnings, and both sorted by file and place. What the findings decide is decided
/// before.
pub fn listed(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| order(a).cmp(&order(b)));
    findings.truncate(MAX_FINDINGS);
    findings
}

fn order(finding: &Finding) -> (bool, &str, u32, u32, &str, &str) {
    let Finding { code, file, line, column, message, is_warning, .. } = finding;
    (*is_warning, file, *line, *column, code, message)
}

/// A place in a file.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Place {
    /// From 1.
    #[prost(uint32, tag = "1")]
    pub line: u32,
    /// From 1, in characters.
    #[prost(uint32, tag = "2")]
    pub column: u32,
    /// The text of the line, clipped.
    #[prost(string, tag = "3")]
    pub text: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Finding {
    /// One of [`code`].
    #[prost(string, tag = "1")]
    pub code: String,
    #[prost(string, tag = "2")]
    pub file: String,
    /// From 1.
    #[prost(uint32, tag = "3")]
    pub line: u32,
    /// From 1, in characters.
    #[prost(uint32, tag = "4")]
    pub column: u32,
    /// A sentence for a person.
    #[prost(string, tag = "5")]
    pub message: String,
    /// The line with its neighbours, numbered, and a mark below the place. Can be empty.
    #[prost(string, tag = "6")]
    pub frame: String,
    /// What to do. Can be empty.
    #[prost(string, tag = "7")]
    pub help: String,
    /// The page works in spite of it.
    #[prost(bool, tag = "8")]
    pub is_warning: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_before_the_cut() {
        let finding = |file: &str, line, is_warning| Finding { file: file.to_owned(), line, is_warning, ..Finding::default() };
        let mut findings: Vec<_> = (1..=210).rev().map(|line| finding("a.ts", line, true)).collect();
        findings.extend([finding("z.ts", 2, false), finding("z.ts", 1, false), finding("b.ts", 9, false)]);
        let listed = listed(findings);
        let places: Vec<_> = listed.iter().map(|finding| (finding.file.as_str(), finding.line)).collect();
        assert_eq!(places[..4], [("b.ts", 9), ("z.ts", 1), ("z.ts", 2), ("a.ts", 1)]);
        assert_eq!((places.len(), places[199]), (MAX_FINDINGS, ("a.ts", 197)));
    }
}
