//! Stand-ins for modules of Node.js that configurations and their plugins import. They have no files but those of the input of a tool, and
//! nothing of the machine.

/// The start of their specifiers in a bundle.
pub(crate) const PREFIX: &str = "backlot:builtin:";

/// The imports of an entry whose tool runs modules of the project.
pub(super) const IMPORTS: &str = "import builtinFs from \"node:fs\";
import builtinModule from \"node:module\";
import builtinOs from \"node:os\";
import builtinPath from \"node:path\";
import builtinUrl from \"node:url\";
";

/// The code of a stand-in, in CommonJS.
pub(crate) fn code(name: &str) -> Option<&'static str> {
    match name.strip_prefix("node:").unwrap_or(name) {
        "fs" => Some(include_str!("builtins/fs.js")),
        "fs/promises" => Some("module.exports = require(\"node:fs\").promises;\n"),
        "module" => Some(include_str!("builtins/module.js")),
        "os" => Some(include_str!("builtins/os.js")),
        "path" | "path/posix" => Some(include_str!("builtins/path.js")),
        "url" => Some(include_str!("builtins/url.js")),
        _ => None,
    }
}
