//! Projects for previews: from folders, and from the templates of npm packages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

/// The names of files that npm does not publish, and those that they have in a package of templates.
const RENAMED: [(&str, &str); 3] = [("_gitignore", ".gitignore"), ("_oxlintrc.json", ".oxlintrc.json"), ("_npmrc", ".npmrc")];

/// The changes of a save that make a project of the files of a folder.
///
/// # Errors
/// If a file cannot be read.
pub fn changes(folder: &Path) -> Result<Value> {
    let (mut changes, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(folder)?.to_str().context("a path in UTF-8")?;
            let name = RENAMED.iter().find(|(published, _)| *published == name).map_or(name, |(_, own)| own);
            changes.push((name.to_owned(), json!({ "path": name, "write": content(fs::read(&path)?) })));
        }
    }
    changes.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(changes.into_iter().map(|(_, change)| change).collect())
}

/// The content of a file in a change.
fn content(bytes: Vec<u8>) -> Value {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    match String::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(error) => json!({ "binary": BASE64_STANDARD.encode(error.as_bytes()) }),
    }
}

/// Unpacks a package of templates that `make test` downloads. Returns its folder.
///
/// # Errors
/// If it is not there.
pub fn unpack_templates(name: &str, into: &Path) -> Result<PathBuf> {
    let folder = std::env::var_os("BACKLOT_TEMPLATES").context("BACKLOT_TEMPLATES is not set: `make test` downloads the templates")?;
    // The version follows the name.
    let is_of_package = |file: &str| {
        file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    for entry in fs::read_dir(Path::new(&folder))? {
        let archive = entry?.path();
        if archive.file_name().and_then(|file| file.to_str()).is_some_and(is_of_package) {
            let status = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(into).status().context("tar")?;
            ensure!(status.success(), "{} cannot be unpacked", archive.display());
            return Ok(into.join("package"));
        }
    }
    bail!("no package {name} in {}", Path::new(&folder).display());
}

/// The registry that npm is set up for.
///
/// # Errors
/// If npm does not run.
pub fn registry() -> Result<String> {
    let output = Command::new("npm").args(["config", "get", "registry"]).output().context("npm")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
