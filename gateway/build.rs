#![allow(clippy::disallowed_methods, reason = "a build script reads cargo's variables")]

//! Lists the first page's files, so that a file put into `page/` is served without another edit.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=page");
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("page");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().into_string().map_err(|name| format!("{} is not text", name.display()))?);
        }
    }
    names.sort();
    let mut table = String::from("&[\n");
    for name in names {
        // The compiler's own path to this folder, not the one of today: checkouts that share a target directory share this list.
        writeln!(table, "    ({name:?}, include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?}))),", format!("/page/{name}"))?;
    }
    table.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("page.rs"), table)?;
    Ok(())
}
