//! The file of `export` and `import`: a tar archive that every tool for archives reads.
//!
//! The first entry names the format. Then each version has `packages/NAME/VERSION.json`, and its tarball as `tarballs/SHA512.tgz` right after it
//! if it has one. The last entry has the number of versions, so that a file that was cut is noticed. Equal packages make equal files.

use std::io::{self, Read, Write};

use anyhow::{Context as _, Result, bail, ensure};
use proto::compile::{PackageVersion, import_packages_request::Part};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tar::{Archive, Builder, EntryType, Header};

const FORMAT: u32 = 1;
const FIRST: &str = "backlot-packages.json";
const LAST: &str = "end.json";
/// The most bytes of an entry that is no tarball.
const MAX_TEXT: u64 = 1 << 20;
/// Bytes of a part of a tarball.
const PART: usize = 1 << 20;

/// Why nothing of a file can be imported.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it is no archive of `backlot vendor export`; name a file that this command has written")]
    NoArchive,
    #[error("it has format {0}, and this release reads format {known}; write it with the release of this machine", known = FORMAT)]
    Format(u32),
}

#[derive(Serialize, Deserialize)]
struct First {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct Last {
    packages: u64,
}

/// A version, as it is in the file.
#[derive(Serialize, Deserialize)]
struct Version {
    name: String,
    version: String,
    tags: Vec<String>,
    /// Empty without a tarball.
    #[serde(default)]
    sha512: String,
    #[serde(default)]
    bytes: u64,
    document: Value,
}

/// Writes an archive.
pub(super) struct Writer<W: Write> {
    tar: Builder<W>,
    packages: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(file: W) -> Result<Self> {
        let mut writer = Self { tar: Builder::new(file), packages: 0 };
        writer.text(FIRST, &First { format: FORMAT })?;
        Ok(writer)
    }

    /// Adds a version. Its tarball must have the bytes that it says.
    pub(super) fn package(&mut self, package: PackageVersion, tarball: &[u8]) -> Result<()> {
        let PackageVersion { name, version, tags, document, sha512, bytes } = package;
        ensure!(bytes == tarball.len() as u64, "{name}@{version} has {} bytes, and should have {bytes}", tarball.len());
        let path = format!("packages/{name}/{version}.json");
        let file = (!sha512.is_empty()).then(|| format!("tarballs/{sha512}.tgz"));
        let document = serde_json::from_slice(&document).with_context(|| format!("the document of {name}@{version}"))?;
        self.text(&path, &Version { name, version, tags, sha512, bytes, document })?;
        if let Some(file) = file {
            self.entry(&file, tarball)?;
        }
        self.packages += 1;
        Ok(())
    }

    /// Writes the end. Returns the file, and the number of versions.
    pub(super) fn finish(mut self) -> Result<(W, u64)> {
        self.text(LAST, &Last { packages: self.packages })?;
        Ok((self.tar.into_inner()?, self.packages))
    }

    fn text(&mut self, path: &str, content: &impl Serialize) -> Result<()> {
        self.entry(path, &serde_json::to_vec(content)?)
    }

    fn entry(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        Ok(self.tar.append_data(&mut header, path, bytes)?)
    }
}

/// Reads an archive, and passes on its versions and the parts of their tarballs. Returns the number of versions.
///
/// # Errors
/// The file is no such archive ([`Unusable`]), or has no end, or `each` fails.
pub(super) fn read(file: impl Read, mut each: impl FnMut(Part) -> Result<()>) -> Result<u64> {
    let mut archive = Archive::new(file);
    let mut entries = archive.entries().context(Unusable::NoArchive)?;
    let mut packages = 0;
    let first: First = text(entries.next(), FIRST).context(Unusable::NoArchive)?;
    if first.format != FORMAT {
        return Err(Unusable::Format(first.format).into());
    }
    loop {
        let entry = entries.next().context("the archive ends too early")?.context("the archive is damaged")?;
        if entry.path_bytes().as_ref() == LAST.as_bytes() {
            let last: Last = text(Some(Ok(entry)), LAST)?;
            ensure!(last.packages == packages, "the archive has {packages} packages, and should have {}", last.packages);
            return Ok(packages);
        }
        let version: Version = text(Some(Ok(entry)), "packages/")?;
        let (sha512, label) = (version.sha512.clone(), format!("{}@{}", version.name, version.version));
        let Version { name, version, tags, sha512: hash, bytes, document } = version;
        let document = serde_json::to_vec(&document)?.into();
        each(Part::Package(PackageVersion { name, version, tags, document, sha512: hash, bytes }))?;
        if !sha512.is_empty() {
            let mut tarball = entries.next().with_context(|| format!("the archive ends before the tarball of {label}"))??;
            ensure!(
                tarball.path_bytes().as_ref() == format!("tarballs/{sha512}.tgz").as_bytes() && tarball.size() == bytes,
                "the archive has something else in the place of the tarball of {label}"
            );
            parts(&mut tarball, &mut each).with_context(|| format!("the tarball of {label}"))?;
        }
        packages += 1;
    }
}

/// An entry whose path begins with `path`, as JSON.
fn text<R: Read, T: for<'de> Deserialize<'de>>(entry: Option<io::Result<tar::Entry<'_, R>>>, path: &str) -> Result<T> {
    let entry = entry.context("the archive ends too early")?.context("the archive is damaged")?;
    let found = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    if !found.starts_with(path) {
        bail!("the archive has {found:.80} in the place of {path}");
    }
    ensure!(entry.size() <= MAX_TEXT, "{found:.80} has more than {MAX_TEXT} bytes");
    serde_json::from_reader(entry).with_context(|| format!("{found:.80} cannot be read"))
}

fn parts(tarball: &mut impl Read, each: &mut impl FnMut(Part) -> Result<()>) -> Result<()> {
    loop {
        let mut part = Vec::with_capacity(PART);
        tarball.take(PART as u64).read_to_end(&mut part)?;
        if part.is_empty() {
            return Ok(());
        }
        each(Part::Data(part.into()))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, tarball: &[u8]) -> PackageVersion {
        PackageVersion {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            tags: vec!["latest".to_owned()],
            document: br#"{"dependencies":{"z":"1","a":"2"}}"#.as_slice().into(),
            sha512: if tarball.is_empty() { String::new() } else { "ab".repeat(64) },
            bytes: tarball.len() as u64,
        }
    }

    fn archive() -> (Vec<u8>, Vec<Part>) {
        let tarball = vec![7; PART + 1];
        let mut writer = Writer::new(Vec::new()).expect("an archive");
        writer.package(package("@a/b", &tarball), &tarball).expect("a package");
        writer.package(package("c", &[]), &[]).expect("a package");
        let (bytes, packages) = writer.finish().expect("an end");
        assert_eq!(packages, 2);
        let parts = vec![
            Part::Package(package("@a/b", &tarball)),
            Part::Data(tarball[..PART].to_vec().into()),
            Part::Data(tarball[PART..].to_vec().into()),
            Part::Package(package("c", &[])),
        ];
        (bytes, parts)
    }

    fn parts_of(bytes: &[u8]) -> Result<Vec<Part>> {
        let mut found = Vec::new();
        read(bytes, |part| {
            found.push(part);
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn an_archive_has_what_was_written() {
        let (bytes, parts) = archive();
        assert_eq!(parts_of(&bytes).expect("an archive"), parts);
        assert_eq!(archive().0, bytes, "equal packages make equal files");
    }

    #[test]
    fn what_is_cut_or_no_archive_is_refused() {
        let (bytes, _) = archive();
        for length in [0, 100, 1_000, 2_000, PART, PART + 2_000, bytes.len() - 2_048] {
            assert!(parts_of(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
        // A tar archive of something else.
        let mut other = Writer { tar: Builder::new(Vec::new()), packages: 0 };
        other.text("readme.json", &First { format: 1 }).expect("an entry");
        let (bytes, _) = other.finish().expect("an end");
        assert!(format!("{:#}", parts_of(&bytes).expect_err("another entry")).contains("readme.json"));
        for text in [&b""[..], &[b'a'; 2_000], &bytes] {
            assert!(parts_of(text).expect_err("no archive").is::<Unusable>(), "{} bytes", text.len());
        }
        assert!(!parts_of(&archive().0[..2_000]).expect_err("cut").is::<Unusable>());
        let mut newer = Writer { tar: Builder::new(Vec::new()), packages: 0 };
        newer.text(FIRST, &First { format: 2 }).expect("an entry");
        assert!(format!("{:#}", parts_of(&newer.finish().expect("an end").0).expect_err("newer")).contains("format 2"));
    }

    #[test]
    fn a_tarball_of_another_length_is_not_written() {
        let mut writer = Writer::new(Vec::new()).expect("an archive");
        assert!(writer.package(package("a", b"abc"), b"ab").is_err());
    }
}
