//! Writing archives. The bytes depend on the format, the paths and the contents only: all times and modes are the same, and the
//! compression is fixed.

mod tar;
mod zip;

use prost::bytes::Bytes;

use self::{tar::TarWriter, zip::ZipWriter};
use super::format::Format;

/// The folder that contains all files of an export. An import removes a single folder at the top, so it removes this one and no folder of
/// the project.
pub(crate) const TOP_FOLDER: &str = "project/";
/// The compression level of both formats.
const LEVEL: u32 = 6;

/// An archive while it is written to memory.
pub(crate) struct Writer {
    /// What every path begins with.
    folder: &'static str,
    archive: Archive,
}

enum Archive {
    Zip(ZipWriter),
    TarGz(TarWriter),
}

impl Writer {
    /// `folder` contains all files: empty, or a name with a slash at its end.
    pub(crate) fn new(format: Format, folder: &'static str) -> Self {
        let archive = match format {
            Format::Zip => Archive::Zip(ZipWriter::new()),
            Format::TarGz => Archive::TarGz(TarWriter::new()),
        };
        Self { folder, archive }
    }

    /// Adds a file. The files must be sorted by path, so that equal trees have equal archives.
    pub(crate) fn add(&mut self, path: &str, content: &[u8]) {
        let path = format!("{}{path}", self.folder);
        match &mut self.archive {
            Archive::Zip(zip) => zip.add(path, content),
            Archive::TarGz(tar) => tar.add(&path, content),
        }
    }

    /// Writes the end of the archive. No file can be added after it.
    pub(crate) fn finish(&mut self) {
        match &mut self.archive {
            Archive::Zip(zip) => zip.finish(),
            Archive::TarGz(tar) => tar.finish(),
        }
    }

    /// The bytes that were written since the last call.
    pub(crate) fn take(&mut self) -> Bytes {
        match &mut self.archive {
            Archive::Zip(zip) => zip.take(),
            Archive::TarGz(tar) => tar.take(),
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// The archive of some files, taken after each file.
    fn archive(format: Format, files: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut writer, mut out) = (Writer::new(format, TOP_FOLDER), Vec::new());
        for (path, content) in files {
            writer.add(path, content);
            out.extend_from_slice(&writer.take());
        }
        writer.finish();
        out.extend_from_slice(&writer.take());
        out
    }

    fn files() -> Vec<(String, Vec<u8>)> {
        let long = format!("{}/é.txt", ["long folder name"; 14].join("/"));
        vec![
            ("a.txt".to_owned(), b"hello\n".to_vec()),
            ("empty".to_owned(), Vec::new()),
            (long, b"deep".to_vec()),
            ("noise.bin".to_owned(), (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()),
            ("zeros.bin".to_owned(), vec![0; 300_000]),
        ]
    }

    #[test]
    fn the_bytes_do_not_depend_on_when_they_are_taken() {
        let files = files();
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
        for format in [Format::Zip, Format::TarGz] {
            let mut writer = Writer::new(format, TOP_FOLDER);
            files.iter().for_each(|(path, content)| writer.add(path, content));
            writer.finish();
            assert!(writer.take() == archive(format, &files), "{format:?}");
        }
    }

    /// An independent reader of tar finds what was written.
    #[test]
    fn a_tar_has_all_files_with_fixed_metadata() {
        let files = files();
        let refs: Vec<(&str, &[u8])> = files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
        let bytes = archive(Format::TarGz, &refs);
        let mut reader = ::tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
        let mut found = Vec::new();
        for entry in reader.entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            assert_eq!((entry.header().mtime().expect("time"), entry.header().mode().expect("mode")), (0, 0o644));
            let path = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            found.push((path, content));
        }
        let expected: Vec<_> = files.into_iter().map(|(path, content)| (format!("project/{path}"), content)).collect();
        assert!(found == expected);
    }

    #[test]
    fn an_empty_archive_is_legal() {
        assert_eq!(archive(Format::Zip, &[]).len(), 22, "only the last record");
        let tar = archive(Format::TarGz, &[]);
        let mut zeros = Vec::new();
        flate2::read::GzDecoder::new(&tar[..]).read_to_end(&mut zeros).expect("gzip");
        assert_eq!(zeros, vec![0; 1024]);
    }
}
