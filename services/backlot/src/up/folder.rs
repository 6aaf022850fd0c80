//! Checks the data folder at the start, and explains a start that failed because of a full disk. Errors name the folder and the cause, not
//! the file that failed first.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::Path,
};

use chassis::secret;

/// Large enough to detect a full disk, and small enough to be written at every start.
const PROBE_BYTES: usize = 65_536;

/// Creates the folder if it is absent, and writes to it. The error is a text with the folder and the cause.
pub(super) fn check(data: &Path) -> Result<(), String> {
    secret::make_data_dir(data).and_then(|()| write(data)).map_err(|error| {
        let folder = data.display();
        match cause(&error) {
            Some(cause) => format!("the folder {folder} cannot be used: {cause}"),
            None => format!("the folder {folder} cannot be used: {error}"),
        }
    })
}

/// Adds the folder to the error of a private PostgreSQL that failed because the disk is full. PostgreSQL reports that only as a text.
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
        ErrorKind::PermissionDenied => "this user has no permission to write there",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "it is not a folder, or a parent of it is not a folder",
        _ => return None,
    })
}
