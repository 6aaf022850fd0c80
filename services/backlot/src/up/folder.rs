//! The data folder before anything else is done, and the disk under it when a start fails: what is wrong is said of the folder, in words,
//! and not of whichever file came first.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::Path,
};

use chassis::secret;

/// Enough that a full disk does not have it, little enough to be written at every start.
const PROBE_BYTES: usize = 65_536;

/// What is wrong with the folder, which is made if absent.
pub(super) fn check(data: &Path) -> Result<(), String> {
    secret::make_data_dir(data).and_then(|()| write(data)).map_err(|error| {
        let folder = data.display();
        match cause(&error) {
            Some(cause) => format!("the folder {folder} cannot be used: {cause}"),
            None => format!("the folder {folder} cannot be used: {error}"),
        }
    })
}

/// The error of a start whose private PostgreSQL is in the folder. Its programs say in their own words that the disk is full.
pub(super) fn explain(error: anyhow::Error, data: &Path) -> anyhow::Error {
    if format!("{error:#}").contains("No space left on device") {
        return error.context(format!("the folder {} cannot be used: the disk is full", data.display()));
    }
    error
}

fn write(data: &Path) -> io::Result<()> {
    let path = data.join(format!(".probe-{}", std::process::id()));
    let written = OpenOptions::new().write(true).create(true).truncate(true).open(&path).and_then(|mut file| {
        file.write_all(&vec![0; PROBE_BYTES])?;
        file.sync_all()
    });
    let removed = match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    written.and(removed)
}

fn cause(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        ErrorKind::ReadOnlyFilesystem => "it is read-only",
        ErrorKind::StorageFull => "the disk is full",
        ErrorKind::QuotaExceeded => "the quota of the disk is used up",
        ErrorKind::PermissionDenied => "this user may not write there",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "it is not a folder, or something above it is not",
        _ => return None,
    })
}
