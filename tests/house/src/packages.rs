//! The crates of the workspace, as cargo reports them.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use serde_json::Value;

use crate::root;

/// A crate of the workspace. Development dependencies are included only for crates below `tests`.
pub struct Package {
    pub name: String,
    /// The path from the root of the repository, with a `/` at the end.
    pub folder: String,
    /// Dependencies on crates of the workspace.
    pub own: BTreeSet<String>,
    /// Dependencies on other crates.
    pub foreign: BTreeSet<String>,
    /// `name/feature` for each feature that it enables in a crate of the workspace, in dependencies of any kind, and its default features.
    pub features: BTreeSet<String>,
}

/// Returns the crates of the workspace, sorted by name.
///
/// # Panics
/// If `cargo metadata` fails.
#[must_use]
pub fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let list = metadata["packages"].as_array().expect("packages");
    list.iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let manifest = PathBuf::from(text(&value["manifest_path"]));
    let folder =
        manifest.parent().and_then(|folder| folder.strip_prefix(root()).ok()).expect("a crate of the repository").to_string_lossy();
    let (mut own, mut foreign, mut features) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for dependency in value["dependencies"].as_array().expect("dependencies") {
        let name = text(&dependency["name"]);
        let is_ours = !dependency["path"].is_null();
        if is_ours {
            features.extend(dependency["features"].as_array().into_iter().flatten().map(|feature| format!("{name}/{}", text(feature))));
        }
        if dependency["kind"] == "dev" && !folder.starts_with("tests/") {
            continue;
        }
        let set = if is_ours { &mut own } else { &mut foreign };
        set.insert(name);
    }
    features.extend(value["features"]["default"].as_array().into_iter().flatten().map(text));
    Package { name: text(&value["name"]), folder: format!("{folder}/"), own, foreign, features }
}
