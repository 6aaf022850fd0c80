#![allow(clippy::disallowed_methods, reason = "a build script reads cargo's variables")]

//! Lists the templates that ship with Backlot, so that a folder put into `templates/` is published without another edit.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=templates");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("templates");
    let mut table = String::from("&[\n");
    for slug in names(&root)? {
        let folder = root.join(&slug);
        if !folder.join("template.json").is_file() {
            continue;
        }
        let mut paths = Vec::new();
        walk(&folder.join("files"), "", &mut paths)?;
        writeln!(table, "    Starter {{\n        slug: {slug:?},\n        description: include_str!({}),", place(&slug, "template.json"))?;
        writeln!(table, "        files: &[")?;
        for path in paths {
            writeln!(table, "            ({path:?}, include_bytes!({})),", place(&slug, &format!("files/{path}")))?;
        }
        writeln!(table, "        ],\n    }},")?;
    }
    table.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("starters.rs"), table)?;
    Ok(())
}

/// An expression of the path of a file. The compiler knows the path of this folder, not the one of today: checkouts that share a target
/// directory share this list.
fn place(slug: &str, path: &str) -> String {
    format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?})", format!("/templates/{slug}/{path}"))
}

/// The paths of the files below a folder, sorted.
fn walk(folder: &Path, prefix: &str, paths: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    for name in names(folder)? {
        let path = format!("{prefix}{name}");
        if folder.join(&name).is_dir() {
            walk(&folder.join(&name), &format!("{path}/"), paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().into_string().map_err(|name| format!("{} is not text", name.display()))?);
    }
    names.sort();
    Ok(names)
}
