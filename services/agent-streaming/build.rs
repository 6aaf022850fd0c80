#![allow(clippy::disallowed_methods, reason = "a build script reads cargo's variables")]

//! Lists the agents and the skills that ship with Backlot, so that a file put into `agents/` or a folder put into `skills/` is there without another
//! edit.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=agents");
    println!("cargo:rerun-if-changed=skills");
    let agents = names("agents")?.into_iter().filter(|name| name.ends_with(".md")).map(|name| (name.clone(), format!("/agents/{name}")));
    write("agents.rs", agents.collect())?;
    let skills = names("skills")?.into_iter().map(|name| (name.clone(), format!("/skills/{name}/SKILL.md")));
    write("skills.rs", skills.collect())
}

/// The names in a folder of this crate, sorted.
fn names(folder: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join(folder))? {
        names.push(entry?.file_name().into_string().map_err(|name| format!("{} is not text", name.display()))?);
    }
    names.sort();
    Ok(names)
}

/// Writes a table of names and texts. A text is given by its path in this crate.
fn write(table_name: &str, files: Vec<(String, String)>) -> Result<(), Box<dyn Error>> {
    let mut table = String::from("&[\n");
    for (name, path) in files {
        // The compiler knows the path of this folder: checkouts that share a target directory share this list.
        let place = format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?})");
        writeln!(table, "    ({name:?}, include_str!({place})),")?;
    }
    table.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join(table_name), table)?;
    Ok(())
}
