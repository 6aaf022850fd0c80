//! Writing tar.gz files.

use flate2::{Compression, GzBuilder, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use super::LEVEL;

const MODE: u32 = 0o644;
/// The operating system in the header of gzip: unknown.
const UNKNOWN_SYSTEM: u8 = 255;

/// A tar.gz file while it is written.
pub(crate) struct TarWriter {
    builder: Builder<GzEncoder<Vec<u8>>>,
}

impl TarWriter {
    pub(super) fn new() -> Self {
        let gzip = GzBuilder::new().mtime(0).operating_system(UNKNOWN_SYSTEM).write(Vec::new(), Compression::new(LEVEL));
        Self { builder: Builder::new(gzip) }
    }

    pub(super) fn add(&mut self, path: &str, content: &[u8]) {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(MODE);
        header.set_size(content.len() as u64);
        // A path that is too long for the header is in a record before it, and the name in the header has no meaning.
        if header.set_path(path).is_err() {
            let extension = [("path", path.as_bytes())];
            self.builder.append_pax_extensions(extension).expect("memory accepts writes");
            header.set_path("long").expect("a short path");
        }
        header.set_cksum();
        self.builder.append(&header, content).expect("memory accepts writes");
    }

    pub(super) fn finish(&mut self) {
        self.builder.finish().expect("memory accepts writes");
        self.builder.get_mut().try_finish().expect("memory accepts writes");
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.builder.get_mut().get_mut())
    }
}
