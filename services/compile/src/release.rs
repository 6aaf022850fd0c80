//! The executable of the compiler. Its hash is part of the keys of pages, so that another release does not answer with old pages.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use chassis::task;
use tokio::sync::Mutex;

use crate::{error::Error, hash};

/// An executable, which may be absent or replaced while the service runs.
pub(crate) struct Release {
    path: PathBuf,
    known: Mutex<Option<Known>>,
}

struct Known {
    state: (u64, SystemTime),
    hash: Arc<[u8]>,
}

impl Release {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, known: Mutex::default() }
    }

    /// The hash of the executable. It is read again if its size or its time has changed.
    ///
    /// # Errors
    /// [`Error::CompilerMissing`].
    pub(crate) async fn hash(&self) -> Result<Arc<[u8]>, Error> {
        let missing = |cause| Error::CompilerMissing { path: self.path.clone(), cause };
        let mut known = self.known.lock().await;
        let path = self.path.clone();
        let before = known.as_ref().map(|known| known.state);
        let read = task::blocking(move || read(&path, before)).await.map_err(|error| missing(io::Error::other(error)))?;
        if let Some(new) = read.map_err(missing)? {
            *known = Some(new);
        }
        known.as_ref().map(|known| Arc::clone(&known.hash)).ok_or_else(|| missing(io::ErrorKind::NotFound.into()))
    }
}

/// Reads the file unless it is in the state `before`.
fn read(path: &Path, before: Option<(u64, SystemTime)>) -> io::Result<Option<Known>> {
    let metadata = fs::metadata(path)?;
    let state = (metadata.len(), metadata.modified()?);
    if before == Some(state) {
        return Ok(None);
    }
    Ok(Some(Known { state, hash: hash::of_parts(&[&fs::read(path)?]).into() }))
}
