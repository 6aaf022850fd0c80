//! Unpacks an npm archive of PostgreSQL atomically into a folder whose programs every user may run.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Component, Path, PathBuf},
};

use flate2::read::GzDecoder;
use serde::Deserialize;

/// npm archives cannot hold symbolic links, so this file lists them.
const LINKS: &str = "native/pg-symlinks.json";

#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// Unpacks into a temporary folder and renames it at the end, so that a folder with the final name is complete.
pub(super) fn archive(bytes: &[u8], folder: &Path) -> io::Result<()> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let draft = parent.join(format!(".{name}.{}", std::process::id()));
    let unpacked = fill(bytes, &draft).and_then(|()| match fs::rename(&draft, folder) {
        // Another process has unpacked the same archive.
        Err(_) if folder.join(LINKS).exists() => Ok(()),
        renamed => renamed,
    });
    let _ = fs::remove_dir_all(&draft);
    unpacked
}

fn fill(bytes: &[u8], draft: &Path) -> io::Result<()> {
    fs::create_dir(draft)?;
    for entry in tar::Archive::new(GzDecoder::new(bytes)).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        // All files of an npm archive are below `package`.
        let Ok(path) = path.strip_prefix("package") else { continue };
        if !path.starts_with("native") && path != Path::new("LICENSE.md") {
            continue;
        }
        let target = draft.join(inside(path)?);
        if entry.header().entry_type().is_file() {
            fs::create_dir_all(target.parent().unwrap_or(draft))?;
            entry.unpack(&target)?;
        }
    }
    for link in serde_json::from_slice::<Vec<Link>>(&fs::read(draft.join(LINKS))?).map_err(io::Error::other)? {
        let (source, target) = (inside(&link.source)?, draft.join(inside(&link.target)?));
        let is_sibling = source.parent() == link.target.parent();
        let name = source.file_name().filter(|_| is_sibling).ok_or_else(|| io::Error::other("a symbolic link leads to another folder"))?;
        symlink(name, target)?;
    }
    make_readable(draft)
}

/// Returns the path if it stays within the folder.
fn inside(path: &Path) -> io::Result<&Path> {
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        Ok(path)
    } else {
        Err(io::Error::other(format!("the path {} leaves the folder", path.display())))
    }
}

/// Lets every user read the files and run the programs, whatever the umask is. If this process is root, the server runs as another user.
fn make_readable(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            make_readable(&entry.path())?;
        } else if kind.is_file() {
            let mode = if entry.metadata()?.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
            fs::set_permissions(entry.path(), Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn pack(files: &[(&str, &str, u32)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, text, mode) in files {
            let mut header = tar::Header::new_gnu();
            // `set_path` refuses the paths of a malicious archive.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(text.len() as u64);
            header.set_mode(*mode);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_cksum();
            archive.append(&header, text.as_bytes()).expect("entry");
        }
        archive.into_inner().expect("archive").finish().expect("archive")
    }

    const LINK: &str = r#"[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"}]"#;

    #[test]
    fn programs_are_executable_and_symbolic_links_are_restored() {
        let data = tempfile::tempdir().expect("folder");
        let folder = data.path().join("postgresql");
        let bytes = pack(&[
            ("package/native/bin/postgres", "server", 0o755),
            ("package/native/lib/libpq.so.5.18", "library", 0o644),
            ("package/native/pg-symlinks.json", LINK, 0o644),
            ("package/scripts/hydrate-symlinks.js", "script", 0o644),
        ]);
        archive(&bytes, &folder).expect("unpacked");
        archive(&bytes, &folder).expect("unpacked a second time, as by another process");
        assert_eq!(fs::read_to_string(folder.join("native/lib/libpq.so.5")).expect("link"), "library");
        let mode = |path: &str| fs::metadata(folder.join(path)).expect(path).permissions().mode() & 0o777;
        assert_eq!([mode("native/bin"), mode("native/bin/postgres"), mode("native/lib/libpq.so.5.18")], [0o755, 0o755, 0o644]);
        assert!(!folder.join("scripts").exists());
        assert_eq!(data.path().read_dir().expect("folder").count(), 1, "no temporary folder is left");
    }

    #[test]
    fn an_archive_cannot_write_outside_its_folder() {
        for (path, links) in [
            ("package/native/../../../evil", "[]"),
            ("package/native/x", r#"[{"source":"native/x","target":"../evil"}]"#),
            ("package/native/x", r#"[{"source":"/etc/passwd","target":"native/y"}]"#),
            ("package/native/x", r#"[{"source":"native/x","target":"native/deeper/y"}]"#),
        ] {
            let data = tempfile::tempdir().expect("folder");
            let folder = data.path().join("inner/postgresql");
            let bytes = pack(&[(path, "x", 0o644), ("package/native/pg-symlinks.json", links, 0o644)]);
            assert!(archive(&bytes, &folder).is_err(), "{path} {links}");
            assert!(!folder.exists() && !data.path().join("evil").exists() && !data.path().join("inner/evil").exists());
        }
    }

    #[test]
    fn a_truncated_archive_leaves_nothing() {
        let data = tempfile::tempdir().expect("folder");
        let bytes = pack(&[("package/native/bin/postgres", "server", 0o755), ("package/native/pg-symlinks.json", "[]", 0o644)]);
        assert!(archive(&bytes[..bytes.len() / 2], &data.path().join("postgresql")).is_err());
        assert_eq!(data.path().read_dir().expect("folder").count(), 0);
    }
}
