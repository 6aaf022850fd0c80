use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use ring::digest::{SHA512, digest};

use super::*;
use crate::finding::Code;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// A tarball with these entries: type, raw path, bytes.
fn tarball(entries: &[(tar::EntryType, &[u8], &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, *bytes).expect("memory");
    }
    gzip(&builder.into_inner().expect("memory"))
}

fn file<'a>(path: &'a str, text: &'a str) -> (tar::EntryType, &'a [u8], &'a [u8]) {
    (tar::EntryType::Regular, path.as_bytes(), text.as_bytes())
}

fn integrity(bytes: &[u8]) -> Option<Integrity> {
    Integrity::parse(&format!("sha512-{}", data_encoding::BASE64.encode(digest(&SHA512, bytes).as_ref())))
}

fn read(bytes: &[u8], limits: &Limits) -> Result<Files, Error> {
    unpack("a@1.0.0", bytes, integrity(bytes).as_ref(), limits)
}

#[test]
fn files_are_read_without_the_top_folder() {
    let link = (tar::EntryType::Symlink, &b"package/link"[..], &b""[..]);
    let tar = tarball(&[
        file("package/package.json", "{}"),
        file("package/./src//u\u{308}.js", "1"),
        (tar::EntryType::Directory, b"package/empty/", b""),
        link,
        file("other/a.js", "2"),
        file("top.js", "3"),
        file("package/a.js", "4"),
    ]);
    let files = read(&tar, &Limits::default()).expect("files");
    let files: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])).collect();
    assert_eq!(files, [("a.js", &b"4"[..]), ("package.json", b"{}"), ("src/ü.js", b"1")]);
}

#[test]
fn a_wrong_hash_is_refused() {
    let tar = tarball(&[file("package/a.js", "1")]);
    assert!(matches!(unpack("a@1", &tar, integrity(b"other").as_ref(), &Limits::default()), Err(Error::Integrity { .. })));
    assert!(matches!(unpack("a@1", &tar, None, &Limits::default()), Err(Error::Integrity { .. })));
}

#[test]
fn paths_that_leave_the_package_are_refused() {
    for path in ["package/../../etc/passwd", "/etc/passwd", "package/..", "package/a\\b", "package/a\nb"] {
        let error = read(&tarball(&[file(path, "1")]), &Limits::default()).expect_err(path);
        assert!(matches!(&error, Error::Archive { entry: Some(_), .. }), "{path}: {error}");
    }
    let error = read(&tarball(&[(tar::EntryType::Regular, b"package/\xff.js", b"1")]), &Limits::default()).expect_err("not UTF-8");
    assert!(error.to_string().contains("UTF-8"), "{error}");
    let deep = format!("package/{}a.js", "d/".repeat(40));
    assert!(read(&tarball(&[file(&deep, "1")]), &Limits::default()).is_err());
}

#[test]
fn limits_hold_while_a_tarball_is_read() {
    let text = "a".repeat(10_000);
    let tar = tarball(&[file("package/a", &text), file("package/b", "1")]);
    for limits in [
        Limits { packed_bytes: 10, ..Limits::default() },
        Limits { unpacked_bytes: 9_000, ..Limits::default() },
        Limits { entries: 1, ..Limits::default() },
    ] {
        assert!(matches!(read(&tar, &limits), Err(Error::TooLarge { .. })), "{limits:?}");
    }
    // Ten MiB of zeros in ten KiB, and such a name.
    let bomb = gzip(&vec![0; 64 << 20]);
    let limits = Limits { ratio: 2, ..Limits::default() };
    assert!(!matches!(read(&bomb, &limits), Ok(files) if !files.is_empty()));
    let name = tarball(&[(tar::EntryType::GNULongName, b"x", &vec![b'a'; 8 << 20]), file("package/a", "1")]);
    assert!(matches!(read(&name, &limits), Err(Error::TooLarge { .. })), "{:?}", read(&name, &limits));
}

#[test]
fn damaged_tarballs_are_refused() {
    let tar = tarball(&[file("package/a", &"text".repeat(500))]);
    assert!(matches!(read(b"no gzip", &Limits::default()), Err(Error::Archive { .. })));
    assert!(matches!(read(&tar[..tar.len() / 2], &Limits::default()), Err(Error::Archive { .. })));
    assert!(matches!(read(&gzip(&[7; 2_000]), &Limits::default()), Err(Error::Archive { .. })));
}

/// The bytes of an entry whose header says what is not so.
fn header(kind: tar::EntryType, path: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    header
}

#[test]
fn hostile_tarballs_end() {
    use tar::EntryType as Type;
    let raw = |kind: Type, path: &str, size: u64| gzip(&[header(kind, path, size).as_bytes().as_slice(), &[0; 1_024]].concat());
    let record = |text: &str| tarball(&[(Type::XHeader, b"x", text.as_bytes()), file("package/a", "1")]);
    let links = [Type::Symlink, Type::Link, Type::Char, Type::Block, Type::Fifo, Type::Directory];
    let link = |kind: Type| (kind, &b"package/../../x"[..], &b""[..]);
    let archive = |tar: &[u8]| matches!(read(tar, &Limits::default()), Err(Error::Archive { .. }));
    let too_large = |tar: &[u8]| matches!(read(tar, &Limits::default()), Err(Error::TooLarge { .. }));
    let is_empty = |tar: &[u8]| matches!(read(tar, &Limits::default()), Ok(files) if files.is_empty());
    for (name, tar, is_expected) in [
        ("links, devices and folders that climb", tarball(&links.map(link)), &is_empty as &dyn Fn(&[u8]) -> bool),
        ("a size without bytes", raw(Type::Regular, "package/a", 1 << 30), &archive),
        ("the largest size", raw(Type::Regular, "package/a", u64::MAX), &archive),
        ("the largest size of a link", raw(Type::Symlink, "package/a", u64::MAX), &archive),
        ("the largest size of a long name", raw(Type::GNULongName, "package/a", u64::MAX), &archive),
        ("holes without a description", raw(Type::GNUSparse, "package/a", 1 << 40), &archive),
        ("a record with another path", record("21 path=package/../x\n"), &archive),
        ("a record with a size", record("29 size=18446744073709551615\n"), &archive),
        ("zeros", gzip(&vec![0; 300 << 20]), &too_large_or_empty),
        ("a bomb", tarball(&[file("package/a", &"0".repeat(300 << 20))]), &too_large),
        ("members of gzip without bytes", gzip(b"").repeat(100_000), &is_empty),
        ("a hundred thousand entries", tarball(&vec![file("package/a", ""); 100_001]), &too_large),
    ] {
        assert!(is_expected(&tar), "{name}: {:?}", read(&tar, &Limits::default()).map(|files| files.len()));
    }
}

/// A tarball ends at its first block of zeros.
fn too_large_or_empty(tar: &[u8]) -> bool {
    match read(tar, &Limits::default()) {
        Ok(files) => files.is_empty(),
        Err(error) => matches!(error, Error::TooLarge { .. }),
    }
}

#[test]
fn packages_with_compiled_code_are_found() {
    let files = |name: &str, text: &str| Files::from([(name.to_owned(), Bytes::from(text.to_owned()))]);
    for files in [
        files("binding.gyp", ""),
        files("build/Release/a.node", ""),
        files("package.json", r#"{"gypfile": true}"#),
        files("package.json", r#"{"scripts": {"install": "prebuild-install || node-gyp rebuild"}}"#),
    ] {
        assert_eq!(inspect("a", &files).map(|finding| finding.code), Some(Code::NativeCode), "{files:?}");
    }
    let bcrypt = inspect("bcrypt", &files("binding.gyp", "")).expect("bcrypt");
    assert_eq!(bcrypt.instead.as_deref(), Some("bcryptjs"));
    for files in [
        files("package.json", r#"{"scripts": {"install": "echo", "test": "node-gyp"}, "gypfile": false}"#),
        files("package.json", r#"{"gypfile": true, "browser": {"./index.js": "./js.js"}}"#),
        files("package.json", r#"{"gypfile": true, "exports": {".": {"browser": "./js.js", "default": "./index.js"}}}"#),
        files("package.json", "["),
    ] {
        assert_eq!(inspect("a", &files), None, "{files:?}");
    }
}
