//! Lock files. Versions and hashes are taken from them, and never an address.
//!
//! - `npm`: `package-lock.json`, which has a place for each package. `pnpm`, `yarn`, `berry`: files that say which version each dependency
//!   has. npm then finds the places. [`picks`]: these versions. `yaml`: reads YAML within bounds.

mod berry;
mod npm;
mod picks;
mod pnpm;
mod yaml;
mod yarn;

pub(crate) use self::{
    npm::{Entry, NpmLock},
    picks::Picks,
};
use crate::{error::Error, finding::Finding, limits::Limits};

/// A lock file.
#[derive(Debug, Clone)]
pub struct Lock {
    /// The name of its file.
    pub file: String,
    /// What in it is not used.
    pub findings: Vec<Finding>,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Places(NpmLock),
    Versions(Picks),
}

impl Lock {
    /// The names of lock files, in the order in which one of several in a project counts.
    pub const FILES: [&str; 4] = ["package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock"];

    /// Reads a lock file. Its name says which tool has written it.
    ///
    /// # Errors
    /// It is too large, has too many entries, or is not in its format.
    pub fn parse(file: &str, bytes: &[u8], limits: &Limits) -> Result<Self, Error> {
        if bytes.len() > limits.lock_bytes {
            return Err(Error::too_large(file, limits.lock_bytes as u64, "bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| Error::syntax(file, error))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut findings = Vec::new();
        let content = match file {
            "package-lock.json" | "npm-shrinkwrap.json" => Content::Places(npm::read(file, text, limits, &mut findings)?),
            "pnpm-lock.yaml" => Content::Versions(pnpm::read(file, &yaml::read(file, text)?, limits, &mut findings)?),
            "yarn.lock" if text.contains("__metadata:") => {
                Content::Versions(berry::read(file, &yaml::read(file, text)?, limits, &mut findings)?)
            }
            "yarn.lock" => Content::Versions(yarn::read(file, text, limits)?),
            _ => return Err(Error::syntax(file, "is not the name of a lock file")),
        };
        Ok(Self { file: file.to_owned(), findings, content })
    }
}

fn check_entries(file: &str, count: usize, limits: &Limits) -> Result<(), Error> {
    if count > limits.lock_entries { Err(Error::too_large(file, limits.lock_entries as u64, "entries")) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
