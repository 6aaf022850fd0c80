//! Whether a package needs compiled code.

use serde_json::Value;

use super::Files;
use crate::{finding::Finding, known};

/// Programs that build or download compiled code.
const BUILDERS: [&str; 8] = ["node-gyp", "prebuild", "node-pre-gyp", "cmake-js", "node-waf", "napi", "neon build", "electron-rebuild"];
/// Bytes of the largest `package.json` that is read. As JSON values, a text can take a hundred times its size.
const MAX_MANIFEST: usize = 1 << 20;
const SCRIPTS: [&str; 3] = ["preinstall", "install", "postinstall"];

/// The finding for a package that needs compiled code, by its files: `binding.gyp`, `gypfile`, a compiled module, or a script that builds or
/// downloads one. A package that has other files for browsers needs none of it there, unless the table knows better.
#[must_use]
pub fn inspect(package: &str, files: &Files) -> Option<Finding> {
    let manifest = files.get("package.json").filter(|bytes| bytes.len() <= MAX_MANIFEST);
    let manifest: Value = manifest.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
    let is_built = SCRIPTS.iter().filter_map(|script| manifest["scripts"][script].as_str()).any(builds);
    let has_module = files.keys().any(|path| path.ends_with(".node"));
    let is_native = is_built || has_module || files.contains_key("binding.gyp") || manifest["gypfile"] == true;
    let known = known::finding(package);
    let has_browser_files =
        manifest["browser"].is_string() || manifest["browser"].is_object() || manifest["exports"].to_string().contains("\"browser\":");
    (is_native && (known.is_some() || !has_browser_files)).then(|| known.unwrap_or_else(|| known::native(package)))
}

fn builds(script: &str) -> bool {
    BUILDERS.iter().any(|builder| script.contains(builder))
}
