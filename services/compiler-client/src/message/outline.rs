//! A request to outline files, and its answer: what each file declares and imports.

use super::File;

/// A larger file has no outline, in bytes.
pub const MAX_BYTES: u64 = 512 << 10;
/// The most symbols of a file, and the most imports.
pub const MAX_ITEMS: usize = 200;
/// The most characters of a name or a specifier.
pub const MAX_NAME: usize = 120;

/// Files with a language, each with its content.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OutlineRequest {
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<File>,
}

/// The outlines, in the order of the request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OutlineAnswer {
    #[prost(message, repeated, tag = "1")]
    pub outlines: Vec<FileOutline>,
}

/// A function of the content, the extension of the file and the release of the compiler.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FileOutline {
    /// As [`File::id`].
    #[prost(string, tag = "1")]
    pub id: String,
    /// See [`language`]. Empty if the file has no outline.
    #[prost(string, tag = "2")]
    pub language: String,
    /// In the order of the file.
    #[prost(message, repeated, tag = "3")]
    pub symbols: Vec<Symbol>,
    /// In the order of the file, each specifier once.
    #[prost(message, repeated, tag = "4")]
    pub imports: Vec<OutlineImport>,
}

/// Something that a file declares.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Symbol {
    #[prost(enumeration = "SymbolKind", tag = "1")]
    pub kind: i32,
    #[prost(string, tag = "2")]
    pub name: String,
    /// From 1.
    #[prost(uint32, tag = "3")]
    pub first_line: u32,
    #[prost(uint32, tag = "4")]
    pub last_line: u32,
    /// Whether other files can import it.
    #[prost(bool, tag = "5")]
    pub is_exported: bool,
}

/// The kind of a symbol, with the numbers of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SymbolKind {
    Unknown = 0,
    Function = 1,
    Class = 2,
    Component = 3,
    Method = 4,
    Type = 5,
    Variable = 6,
    CssClass = 7,
    Heading = 8,
    JsonKey = 9,
    ElementId = 10,
}

/// One import.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OutlineImport {
    /// As the file writes it.
    #[prost(string, tag = "1")]
    pub specifier: String,
    /// From 1.
    #[prost(uint32, tag = "2")]
    pub line: u32,
}

/// Folders with files that nobody of the project writes.
const FOREIGN: [&str; 3] = ["node_modules", "dist", ".git"];
const LOCKS: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];

/// The extension of a file in lower case, without the dot.
#[must_use]
pub fn extension(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').map_or_else(String::new, |(_, extension)| extension.to_ascii_lowercase())
}

/// The language of a file whose outline can be made, by its name alone. `None` also for minified files and lock files.
#[must_use]
pub fn language(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_foreign = path.split('/').any(|part| FOREIGN.contains(&part));
    let is_minified = [".min.js", ".min.mjs", ".min.css"].iter().any(|end| name.ends_with(end));
    if is_foreign || is_minified || LOCKS.contains(&name) {
        return None;
    }
    Some(match extension(path).as_str() {
        "js" | "mjs" | "cjs" | "jsx" => "javascript",
        "ts" | "mts" | "cts" | "tsx" => "typescript",
        "vue" => "vue",
        "svelte" => "svelte",
        "html" | "htm" => "html",
        "css" => "css",
        "scss" => "scss",
        "md" | "mdx" | "markdown" => "markdown",
        "json" => "json",
        "py" => "python",
        "rs" => "rust",
        "go" => "go",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_over_the_language() {
        for (path, expected) in [
            ("src/App.TSX", Some("typescript")),
            ("a.d.ts", Some("typescript")),
            ("README.md", Some("markdown")),
            ("dist/a.js", None),
            ("a/node_modules/b/c.ts", None),
            ("jquery.min.js", None),
            ("package-lock.json", None),
            ("package.json", Some("json")),
            ("LICENSE", None),
            (".py", Some("python")),
            ("a.png", None),
        ] {
            assert_eq!(language(path), expected, "{path}");
        }
    }
}
