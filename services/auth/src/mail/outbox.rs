//! A folder with mails as files, for an installation without a mail server. The mails have links that open accounts, so only the owner of
//! the process may read them, and the log has none of them.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Files of the folder. The oldest ones are deleted.
const MAX_FILES: usize = 1_000;
const EXTENSION: &str = "eml";
/// The extension of a mail that is being written.
const PART: &str = "part";
/// No mail takes so long to write. An older part is that of a process that was killed.
const MAX_WRITE: Duration = Duration::hours(1);

/// Writes one mail to a file of its own. The name begins with the time, so that the names are in the order of the mails. That old files cannot
/// be deleted is only logged.
///
/// # Errors
/// The folder or the file cannot be written.
pub(crate) fn write(folder: &Path, id: Uuid, mail: &[u8], now: OffsetDateTime) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Somebody else may have created it.
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    let path = folder.join(format!("{}-{}.{EXTENSION}", prefix(now), id.simple()));
    // A reader never finds a part of a mail.
    let temporary = path.with_extension(PART);
    let written = write_new(&temporary, mail).and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    // The mail is written. As an error this would have it written again.
    if let Err(error) = delete_oldest(folder, MAX_FILES, now - MAX_WRITE) {
        tracing::warn!(cause = chassis::error::chain(&error), "old mails of the outbox cannot be deleted");
    }
    Ok(())
}

/// How the name of a file begins: the milliseconds since 1970, with 15 digits.
fn prefix(at: OffsetDateTime) -> String {
    format!("{:015}", at.unix_timestamp_nanos() / 1_000_000)
}

fn write_new(path: &Path, mail: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(mail)
}

/// Deletes the oldest mails until `max` are left, and the parts from before `killed_before`. A file that cannot be deleted keeps none of the
/// others.
fn delete_oldest(folder: &Path, max: usize, killed_before: OffsetDateTime) -> io::Result<()> {
    let mut mails = files(folder, EXTENSION)?;
    mails.sort_unstable();
    mails.truncate(mails.len().saturating_sub(max));
    let limit = prefix(killed_before);
    let mut parts = files(folder, PART)?;
    parts.retain(|path| path.file_name().is_some_and(|name| name < limit.as_str()));
    let mut deleted = Ok(());
    for path in mails.iter().chain(&parts) {
        match fs::remove_file(path) {
            // Another replica has deleted it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => deleted = Err(e),
            Ok(()) => {}
        }
    }
    deleted
}

/// The files of the folder with this extension.
fn files(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("metadata").permissions().mode() & 0o777
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(second).expect("time")
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("outbox-{}", Uuid::new_v4().simple())))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_the_owner_may_read_a_mail() {
        let data = Folder::new();
        let folder = data.0.join("outbox");
        write(&folder, Uuid::nil(), b"one", at(7)).expect("written");
        assert_eq!(names(&folder), ["000000000007000-00000000000000000000000000000000.eml"]);
        let file = folder.join(&names(&folder)[0]);
        assert_eq!((mode(&folder), mode(&file), fs::read(&file).expect("mail")), (0o700, 0o600, b"one".to_vec()));
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("chmod");
        write(&folder, Uuid::max(), b"two", at(8)).expect("written");
        assert_eq!((mode(&folder), names(&folder).len()), (0o700, 2), "an open folder is closed");
    }

    #[test]
    fn the_oldest_mails_are_deleted() {
        let data = Folder::new();
        for second in [3, 1, 2, 4] {
            write(&data.0, Uuid::nil(), b"x", at(second)).expect("written");
        }
        fs::write(data.0.join("notes.txt"), "kept").expect("written");
        delete_oldest(&data.0, 2, at(0)).expect("deleted");
        let left = names(&data.0);
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left[0].starts_with("000000000003000-") && left[1].starts_with("000000000004000-") && left[2] == "notes.txt");
    }

    #[test]
    fn the_part_that_a_kill_leaves_behind_is_deleted() {
        let data = Folder::new();
        write(&data.0, Uuid::nil(), b"x", at(1_000)).expect("written");
        let [old, recent] = [5_000, 5_001].map(|second| format!("{}-{}.{PART}", prefix(at(second)), Uuid::nil().simple()));
        for name in [&old, &recent] {
            fs::write(data.0.join(name), "a link").expect("written");
        }
        write(&data.0, Uuid::nil(), b"x", at(5_001) + MAX_WRITE).expect("written");
        let left = names(&data.0);
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(!left.contains(&old) && left.contains(&recent), "{left:?}");
    }

    #[test]
    fn a_mail_is_written_although_an_old_file_cannot_be_deleted() {
        let data = Folder::new();
        write(&data.0, Uuid::nil(), b"x", at(1_000)).expect("written");
        let [folder, part] = [1, 2].map(|second| format!("{}-{}.{PART}", prefix(at(second)), Uuid::nil().simple()));
        fs::create_dir(data.0.join(&folder)).expect("a folder, which is not deleted as a file");
        fs::write(data.0.join(&part), "a link").expect("written");
        write(&data.0, Uuid::nil(), b"y", at(5_000) + MAX_WRITE).expect("written");
        let left = names(&data.0);
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left.contains(&folder) && !left.contains(&part), "{left:?}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let data = Folder::new();
        fs::write(&data.0, "a file").expect("written");
        assert!(write(&data.0.join("outbox"), Uuid::nil(), b"x", at(1)).is_err());
        fs::remove_file(&data.0).expect("removed");
    }
}
