//! The executable of the compiler. Its hash is part of the keys of all that is kept of its work, so that another release does not answer with old
//! pages, and makes no new page of old modules.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use chassis::task;
use tokio::sync::Mutex;

use crate::{error::Error, hash};

/// Bytes that are read at once.
const PART: usize = 1 << 20;

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
    Ok(Some(Known { state, hash: hash_of(&mut File::open(path)?)?.into() }))
}

/// The hash of an executable. It is read in parts, because it can be larger than all else that the service has in memory.
fn hash_of(file: &mut File) -> io::Result<Vec<u8>> {
    let (mut sum, mut part) = (hash::Sum::default(), vec![0; PART]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(sum.finish()),
            read => sum.add(&part[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_whole_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let hash = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).expect("a file");
            let known = read(&path, None).expect("a file").expect("a hash");
            assert!(read(&path, Some(known.state)).expect("a file").is_none(), "it is read once");
            known.hash
        };
        let mut bytes = vec![1; PART + 2];
        let first = hash("a", &bytes);
        assert_eq!(hash("b", &bytes), first);
        bytes[PART + 1] = 2;
        assert_ne!(hash("c", &bytes), first, "the last byte");
        assert_ne!(hash("d", &bytes[..PART]), hash("e", &bytes[..PART + 1]));
    }
}
