//! Errors of a start.

use std::{io, path::PathBuf, process::ExitStatus};

/// Why the private server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no PostgreSQL 14 or newer was found on this machine. Install it (apt install postgresql, brew install postgresql@17), or set \
         DATABASE_URL to a server, or use docker compose up"
    )]
    NoBinaries,
    #[error(
        "the data folder was made by PostgreSQL {needed}, which was not found on this machine{}. Install it, or set DATABASE_URL",
        newest.map(|found| format!(" (it has {found})")).unwrap_or_default()
    )]
    WrongVersion { needed: u32, newest: Option<u32> },
    #[error("PostgreSQL cannot run as root, and /etc/passwd has neither the user postgres nor nobody")]
    NoUser,
    #[error("another process uses the private PostgreSQL in {0}")]
    InUse(PathBuf),
    #[error("the folder {folder} cannot be used")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("{program} cannot be run")]
    Spawn { program: PathBuf, source: io::Error },
    #[error("initdb failed ({status}): {output}")]
    Initdb { status: ExitStatus, output: String },
    #[error("the PostgreSQL of an earlier run (process {0}) still uses the data folder and does not stop")]
    StillRunning(u32),
    #[error("PostgreSQL did not start: {0}")]
    Start(String),
}
