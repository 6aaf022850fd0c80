//! Finds the machine's own PostgreSQL: its `postgres` and `initdb`, of a version that can read the data.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::error::Error;

/// The oldest version whose SQL we keep to.
const OLDEST: u32 = 14;

/// Folders with one version each; `*` stands for the version.
const PLACES: [&str; 8] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// One installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    pub(super) major: u32,
}

/// The installation for data of this major version, or the newest one for new data.
pub(super) fn find(given: Option<&Path>, path: Option<&OsStr>, needed: Option<u32>) -> Result<Binaries, Error> {
    let folders = match given {
        Some(folder) => vec![folder.to_owned()],
        None => path
            .map(|path| std::env::split_paths(path).collect::<Vec<_>>())
            .unwrap_or_default()
            .into_iter()
            .chain(PLACES.iter().flat_map(|place| expand(place)))
            .collect(),
    };
    let mut found: Vec<_> = folders.iter().filter_map(|folder| installation(folder)).collect();
    found.retain(|binaries| binaries.major >= OLDEST);
    choose(found, needed)
}

fn choose(found: Vec<Binaries>, needed: Option<u32>) -> Result<Binaries, Error> {
    match needed {
        Some(major) => {
            let newest = found.iter().map(|binaries| binaries.major).max();
            found.into_iter().find(|binaries| binaries.major == major).ok_or(Error::WrongVersion { needed: major, newest })
        }
        // The first of equals, which is the one on the PATH.
        None => found.into_iter().rev().max_by_key(|binaries| binaries.major).ok_or(Error::NoBinaries),
    }
}

/// The folders that a pattern with at most one `*` names.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some(star) = pattern.find('*') else { return vec![PathBuf::from(pattern)] };
    let start = pattern[..star].rfind('/').unwrap_or(0);
    let end = pattern[star..].find('/').map_or(pattern.len(), |n| star + n);
    let (parent, part, rest) = (&pattern[..start], &pattern[start + 1..end], pattern[end..].trim_start_matches('/'));
    let (head, tail) = part.split_once('*').unwrap_or((part, ""));
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let named =
        entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(head) && name.ends_with(tail)));
    named.map(|entry| entry.path().join(rest)).collect()
}

fn installation(folder: &Path) -> Option<Binaries> {
    // A link on the PATH leads to the folder that has both.
    let server = fs::canonicalize(folder.join("postgres")).ok()?;
    let folder = server.parent()?.to_owned();
    if !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(&server).arg("--version").env("LC_ALL", "C").output().ok()?;
    Some(Binaries { folder, major: major(&String::from_utf8_lossy(&output.stdout))? })
}

/// The major version of `postgres (PostgreSQL) 15.6 (Debian …)` or of `PG_VERSION`.
pub(super) fn major(text: &str) -> Option<u32> {
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(major: u32, folder: &str) -> Binaries {
        Binaries { folder: folder.into(), major }
    }

    #[test]
    fn versions() {
        assert_eq!(major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major("17\n"), Some(17));
        assert_eq!(major("none"), None);
    }

    #[test]
    fn the_data_decides_else_the_newest() {
        let all = || vec![installed(15, "/path"), installed(14, "/a"), installed(17, "/b"), installed(17, "/c")];
        assert_eq!(choose(all(), None).unwrap(), installed(17, "/b"));
        assert_eq!(choose(all(), Some(14)).unwrap(), installed(14, "/a"));
        assert!(matches!(choose(all(), Some(16)), Err(Error::WrongVersion { needed: 16, newest: Some(17) })));
        assert!(matches!(choose(Vec::new(), None), Err(Error::NoBinaries)));
    }

    #[test]
    fn patterns() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["postgresql@16", "postgresql@17", "other"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let mut found = expand(&format!("{}/postgresql@*/bin", folder.path().display()));
        found.sort();
        assert_eq!(found, ["postgresql@16/bin", "postgresql@17/bin"].map(|name| folder.path().join(name)));
        assert_eq!(expand("/x/bin"), [PathBuf::from("/x/bin")]);
        assert!(expand("/absent/*/bin").is_empty());
    }
}
