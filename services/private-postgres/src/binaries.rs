//! Finds the PostgreSQL that is installed on the machine: `postgres` and `initdb` of a version that can read the data.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::error::Error;

/// The oldest supported major version.
const MIN_MAJOR: u32 = 14;

/// Folders of installations; `*` stands for the version.
const FOLDERS: [&str; 8] = [
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

/// Returns the installation of the major version `needed`, or the newest one if there is no data yet.
pub(super) fn find(given: Option<&Path>, path: Option<&OsStr>, needed: Option<u32>) -> Result<Binaries, Error> {
    let folders = match given {
        Some(folder) => vec![folder.to_owned()],
        None => path
            .map(|path| std::env::split_paths(path).collect::<Vec<_>>())
            .unwrap_or_default()
            .into_iter()
            .chain(FOLDERS.iter().flat_map(|pattern| expand(pattern)))
            .collect(),
    };
    let mut found: Vec<_> = folders.iter().filter_map(|folder| installation(folder)).collect();
    found.retain(|binaries| binaries.major >= MIN_MAJOR);
    choose(found, needed)
}

fn choose(found: Vec<Binaries>, needed: Option<u32>) -> Result<Binaries, Error> {
    match needed {
        Some(major) => {
            let newest = found.iter().map(|binaries| binaries.major).max();
            found.into_iter().find(|binaries| binaries.major == major).ok_or(Error::WrongVersion { needed: major, newest })
        }
        // Of equal versions the first one, so that the PATH has precedence.
        None => found.into_iter().rev().max_by_key(|binaries| binaries.major).ok_or(Error::NoBinaries),
    }
}

/// Returns the folders that match a pattern with at most one `*`.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some(star) = pattern.find('*') else { return vec![PathBuf::from(pattern)] };
    let start = pattern[..star].rfind('/').unwrap_or(0);
    let end = pattern[star..].find('/').map_or(pattern.len(), |n| star + n);
    let (parent, part, rest) = (&pattern[..start], &pattern[start + 1..end], pattern[end..].trim_start_matches('/'));
    let (head, tail) = part.split_once('*').unwrap_or((part, ""));
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let matching =
        entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(head) && name.ends_with(tail)));
    matching.map(|entry| entry.path().join(rest)).collect()
}

fn installation(folder: &Path) -> Option<Binaries> {
    // On the PATH there may be a symbolic link to only one of the two programs.
    let server = fs::canonicalize(folder.join("postgres")).ok()?;
    let folder = server.parent()?.to_owned();
    if !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(&server).arg("--version").env("LC_ALL", "C").output().ok()?;
    Some(Binaries { folder, major: major(&String::from_utf8_lossy(&output.stdout))? })
}

/// Parses the major version from `postgres (PostgreSQL) 15.6 (Debian …)` or from the content of `PG_VERSION`.
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
    fn major_versions_are_parsed() {
        assert_eq!(major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major("17\n"), Some(17));
        assert_eq!(major("none"), None);
    }

    #[test]
    fn the_version_of_the_data_is_chosen_or_the_newest() {
        let all = || vec![installed(15, "/path"), installed(14, "/a"), installed(17, "/b"), installed(17, "/c")];
        assert_eq!(choose(all(), None).unwrap(), installed(17, "/b"));
        assert_eq!(choose(all(), Some(14)).unwrap(), installed(14, "/a"));
        assert!(matches!(choose(all(), Some(16)), Err(Error::WrongVersion { needed: 16, newest: Some(17) })));
        assert!(matches!(choose(Vec::new(), None), Err(Error::NoBinaries)));
    }

    #[test]
    fn patterns_expand_to_existing_folders() {
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
