//! Real and hostile archives.

use std::io::Write as _;

use flate2::{Compression, GzBuilder, write::DeflateEncoder};

use super::*;
use crate::archive::{format::Format, write::Writer};

pub(super) const LIMITS: Limits = Limits {
    archive_bytes: 64 * 1024 * 1024,
    unpacked_bytes: 256 * 1024 * 1024,
    ratio: 100,
    entries: 1000,
    folders: 500,
    depth: 32,
    file_bytes: 10 * 1024 * 1024,
};

/// The files of an archive with their contents, and what was skipped.
type Found = (Vec<(String, Vec<u8>)>, Vec<String>);

fn read_all(bytes: &[u8]) -> Result<Found, String> {
    read_with(bytes, LIMITS)
}

fn read_with(bytes: &[u8], limits: Limits) -> Result<Found, String> {
    let (mut contents, mut present) = (Vec::new(), Vec::new());
    let mut sink = |piece: Piece<'_>| {
        match piece {
            Piece::Data(bytes) => present.extend_from_slice(bytes),
            Piece::End => contents.push(std::mem::take(&mut present)),
        }
        Ok(())
    };
    let read = read(bytes, limits, &mut sink).map_err(|error| error.to_string())?;
    let files = read.files.into_iter().map(|file| {
        assert_eq!(contents[file.index].len() as u64, file.bytes, "{}", file.path);
        (file.path, contents[file.index].clone())
    });
    let skipped = read.skipped.iter().map(|entry| format!("{} {:?} {} {}", entry.path, entry.reason, entry.files, entry.bytes));
    Ok((files.collect(), skipped.collect()))
}

fn paths(found: &Found) -> Vec<&str> {
    found.0.iter().map(|(path, _)| path.as_str()).collect()
}

/// An entry of a zip that a test makes, with what may be wrong in it.
#[derive(Clone)]
struct Entry {
    name: Vec<u8>,
    content: Vec<u8>,
    flags: u16,
    method: u16,
    extra: Vec<u8>,
    mode: u32,
    /// What the directory says instead.
    listed_name: Option<Vec<u8>>,
    listed_size: Option<u32>,
    listed_offset: Option<u32>,
    crc: Option<u32>,
    size: Option<u32>,
    has_signature: bool,
}

fn file(name: &str, content: &[u8]) -> Entry {
    Entry {
        name: name.into(),
        content: content.to_vec(),
        flags: 0x800,
        method: 8,
        extra: Vec::new(),
        mode: 0o100_644,
        listed_name: None,
        listed_size: None,
        listed_offset: None,
        crc: None,
        size: None,
        has_signature: true,
    }
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(9));
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

fn put(out: &mut Vec<u8>, short: &[u16]) {
    short.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

fn put_long(out: &mut Vec<u8>, long: &[u32]) {
    long.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

fn zip_of(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = u32::try_from(out.len()).expect("small");
        let data = if entry.method == 8 { deflated(&entry.content) } else { entry.content.clone() };
        let crc = entry.crc.unwrap_or_else(|| crc32fast::hash(&entry.content));
        let (packed, size) = (data.len() as u32, entry.size.unwrap_or(entry.content.len() as u32));
        let follow = entry.flags & 8 != 0;
        put_long(&mut out, &[0x0403_4b50]);
        put(&mut out, &[20, entry.flags, entry.method, 0, 33]);
        put_long(&mut out, &if follow { [0, 0, 0] } else { [crc, packed, size] });
        put(&mut out, &[entry.name.len() as u16, entry.extra.len() as u16]);
        out.extend_from_slice(&entry.name);
        out.extend_from_slice(&entry.extra);
        out.extend_from_slice(&data);
        if follow {
            if entry.has_signature {
                put_long(&mut out, &[0x0807_4b50]);
            }
            put_long(&mut out, &[crc, packed]);
            if !entry.extra.is_empty() {
                // The extra field of zip64 makes them wide.
                put_long(&mut out, &[0, size, 0]);
            } else {
                put_long(&mut out, &[size]);
            }
        }
        let name = entry.listed_name.as_ref().unwrap_or(&entry.name);
        put_long(&mut directory, &[0x0201_4b50]);
        put(&mut directory, &[3 << 8 | 20, 20, entry.flags, entry.method, 0, 33]);
        put_long(&mut directory, &[crc, packed, entry.listed_size.unwrap_or(size)]);
        put(&mut directory, &[name.len() as u16, 0, 0, 0, 0]);
        put_long(&mut directory, &[entry.mode << 16, entry.listed_offset.unwrap_or(offset)]);
        directory.extend_from_slice(name);
    }
    end(out, &directory, entries.len())
}

fn end(mut out: Vec<u8>, directory: &[u8], count: usize) -> Vec<u8> {
    let start = out.len() as u32;
    out.extend_from_slice(directory);
    put_long(&mut out, &[0x0605_4b50]);
    put(&mut out, &[0, 0, count as u16, count as u16]);
    put_long(&mut out, &[directory.len() as u32, start]);
    put(&mut out, &[0]);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::new(9));
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// A tar file that a test makes.
struct Tar(::tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(::tar::Builder::new(Vec::new()))
    }

    fn add(mut self, name: &[u8], kind: u8, content: &[u8]) -> Self {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(::tar::EntryType::new(kind));
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_cksum();
        self.0.append(&header, content).expect("memory");
        self
    }

    fn pax(mut self, records: &[(&str, &str)]) -> Self {
        self.0.append_pax_extensions(records.iter().map(|(key, value)| (*key, value.as_bytes()))).expect("memory");
        self
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("memory")
    }
}

#[test]
fn an_export_is_read_back() {
    let noise: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let long = format!("{}/x", "a folder with a long name/".repeat(8).trim_end_matches('/'));
    let files: [(&str, &[u8]); 4] = [("a.txt", b"hello"), ("empty", b""), (&long, b"long"), ("noise", &noise)];
    for format in [Format::Zip, Format::TarGz] {
        let mut writer = Writer::new(format, crate::archive::write::TOP_FOLDER);
        let mut sorted = files;
        sorted.sort_unstable();
        sorted.iter().for_each(|(path, content)| writer.add(path, content));
        writer.finish();
        let (found, skipped) = read_all(&writer.take()).expect("an export");
        let expected: Vec<_> = sorted.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
        assert!(found == expected && skipped.is_empty(), "{format:?}");
    }
}

#[test]
fn a_single_top_folder_is_removed() {
    let zip = |names: &[&str]| zip_of(&names.iter().map(|name| file(name, b"x")).collect::<Vec<_>>());
    for (names, expected) in [
        (&["a/b", "a/c/d"][..], &["b", "c/d"][..]),
        (&["a/b", "c/d"], &["a/b", "c/d"]),
        (&["a/b", "c"], &["a/b", "c"]),
        (&["a/b/c"], &["b/c"]),
        (&["a"], &["a"]),
        // Junk beside the folder does not count.
        (&["a/b", ".DS_Store", "__MACOSX/a/._b"], &["b"]),
    ] {
        assert_eq!(paths(&read_all(&zip(names)).expect("legal")), expected, "{names:?}");
    }
}

#[test]
fn what_others_make_is_skipped_and_reported() {
    let entries =
        ["p/package.json", "p/src/a.js", "p/dist/a.js", "p/node_modules/x/y.js", "p/node_modules/z.js", "p/.git/HEAD", "p/.DS_Store"];
    let mut entries: Vec<_> = entries.iter().map(|name| file(name, b"12345")).collect();
    // A link in a skipped folder is skipped, too.
    entries.push(Entry { mode: 0o120_777, ..file("p/node_modules/.bin/x", b"../x") });
    let (files, skipped) = read_all(&zip_of(&entries)).expect("legal");
    assert_eq!(files.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["package.json", "src/a.js"]);
    assert_eq!(skipped, [".DS_Store Junk 1 5", ".git Repository 1 5", "dist BuildOutput 1 5", "node_modules Dependencies 3 14"]);
    let tar = Tar::new().add(b"p/a", b'0', b"1").add(b"p/node_modules/.bin/b", b'2', b"").add(b"p/", b'5', b"").finish();
    assert_eq!(read_all(&tar).expect("legal").1, ["node_modules Dependencies 1 0"]);
}

#[test]
fn sizes_after_the_content_are_read() {
    for (has_signature, extra) in [(true, vec![]), (false, vec![]), (true, vec![1, 0, 0, 0])] {
        let entry = |name: &str, content: &[u8]| Entry { flags: 0x808, has_signature, extra: extra.clone(), ..file(name, content) };
        let folder = Entry { method: 0, mode: 0o040_755, ..entry("d/", b"") };
        let zip = zip_of(&[folder, entry("d/a", b"hello hello hello hello"), entry("d/b", b"")]);
        let found = read_all(&zip).expect("legal");
        assert_eq!(found.0[0], ("a".to_owned(), b"hello hello hello hello".to_vec()));
    }
}

/// Every refusal names the entry and what is wrong.
#[test]
fn hostile_zips_are_refused() {
    let entry = |name: &str| file(name, b"content");
    let with = |changed: Entry| zip_of(&[entry("a"), changed]);
    let good = zip_of(&[entry("a"), entry("b")]);
    let two_lists = |name: &str| Entry { listed_name: Some(name.into()), ..entry("b") };
    let mut unlisted = zip_of(&[entry("a")]);
    let directory = unlisted.split_off(unlisted.len() - 22 - 47);
    unlisted.extend_from_slice(&zip_of(&[entry("hidden")])[..30 + 6 + deflated(b"content").len()]);
    let unlisted = end(unlisted, &directory[..47], 1);
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "neither"),
        ("text", b"hello".repeat(300), "neither"),
        ("cut", good[..good.len() - 1].to_vec(), "too early"),
        ("more", [&good[..], b"x"].concat(), "after its end"),
        ("two archives", [&good[..], &good[..]].concat(), "after its end"),
        ("climbing", with(entry("../b")), "`../b` has a path that leaves"),
        ("absolute", with(entry("/b")), "absolute"),
        ("backslash", with(entry("a\\b")), "backslash"),
        ("NUL", with(entry("b\0c")), "control"),
        ("device name", with(entry("aux.js")), "`aux.js` has a path that is not legal here"),
        ("long path", with(entry(&"x".repeat(300))), "longer than 255"),
        ("twice", with(entry("a")), "`a` is in the archive twice"),
        ("case", with(entry("A")), "differs from `a` only in case"),
        ("case of a folder", zip_of(&[entry("src/a"), entry("SRC/b")]), "differs from `src` only in case"),
        ("unicode forms", zip_of(&[entry("é"), entry("e\u{301}")]), "twice"),
        ("file and folder", with(entry("a/b")), "clashes"),
        ("symbolic link", with(Entry { mode: 0o120_777, ..entry("b") }), "`b` is a symbolic link"),
        ("device", with(Entry { mode: 0o020_666, ..entry("b") }), "`b` is a device"),
        ("encrypted", with(Entry { flags: 0x801, ..entry("b") }), "encrypted"),
        ("method", with(Entry { method: 14, ..entry("b") }), "method 14"),
        ("wrong sum", with(Entry { crc: Some(1), ..entry("b") }), "does not match its header at its entry `b`"),
        ("wrong size", with(Entry { size: Some(3), ..entry("b") }), "does not match"),
        ("larger size", with(Entry { size: Some(30), ..entry("b") }), "does not match"),
        ("zip64", with(Entry { size: Some(u32::MAX), ..entry("b") }), "zip64"),
        ("stored without size", with(Entry { flags: 0x808, method: 0, ..entry("b") }), "without its size"),
        ("other name in the directory", with(two_lists("c")), "differs from its entries"),
        ("other size in the directory", with(Entry { listed_size: Some(1), ..entry("b") }), "differs"),
        ("other place in the directory", with(Entry { listed_offset: Some(5), ..entry("b") }), "differs"),
        // Two entries of the directory for one content: the quoted overlap of zip bombs.
        ("overlap", with(Entry { listed_offset: Some(0), ..entry("b") }), "differs"),
        ("not in the directory", unlisted, "differs"),
        ("folder with content", with(entry("d/")), "folder with content"),
    ];
    for (what, bytes, expected) in rows {
        let error = read_all(&bytes).expect_err(what);
        assert!(error.contains(expected), "{what}: {error}");
    }
}

#[test]
fn hostile_tars_are_refused() {
    let with = |name: &[u8], kind: u8, content: &[u8]| Tar::new().add(b"a", b'0', b"1").add(name, kind, content).finish();
    let good = with(b"b", b'0', b"2");
    let long = |kind: u8| Tar::new().add(b"././@LongLink", kind, b"long\0");
    let mut damaged = good.clone();
    damaged[512] ^= 1;
    damaged[1025] ^= 1;
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("cut", good[..700].to_vec(), "too early"),
        ("without an end", good[..2048].to_vec(), "too early"),
        ("bytes after the end", [&good[..], b"x"].concat(), "after its end"),
        ("two archives", [&good[..], &good[..]].concat(), "after its end"),
        ("damaged", damaged, "damaged header"),
        ("climbing", with(b"../b", b'0', b""), "leaves"),
        ("absolute", with(b"/b", b'0', b""), "absolute"),
        ("symbolic link", with(b"b", b'2', b""), "`b` is a symbolic link"),
        ("hard link", with(b"b", b'1', b""), "`b` is a hard link"),
        ("device", with(b"b", b'3', b""), "`b` is a device"),
        ("pipe", with(b"b", b'6', b""), "pipe"),
        ("sparse", with(b"b", b'S', b""), "sparse"),
        ("unknown type", with(b"b", b'Z', b""), "unknown type"),
        ("sparse by attributes", Tar::new().pax(&[("GNU.sparse.major", "1")]).add(b"b", b'0', b"").finish(), "sparse"),
        ("climbing by attributes", Tar::new().pax(&[("path", "../b")]).add(b"b", b'0', b"").finish(), "leaves"),
        ("climbing by a long name", long(b'L').add(b"././@LongLink", b'L', b"../b\0").add(b"b", b'0', b"").finish(), "two long names"),
        ("two names", Tar::new().pax(&[("path", "c")]).pax(&[("path", "d")]).add(b"b", b'0', b"").finish(), "two long names"),
        ("two sizes", Tar::new().pax(&[("size", "7")]).add(b"b", b'0', b"12").finish(), "two sizes"),
        ("a name for all", Tar::new().add(b"g", b'g', b"10 path=x\n").add(b"b", b'0', b"").finish(), "for all entries"),
        ("a name without an entry", long(b'L').finish(), "too early"),
        ("a huge record", Tar::new().add(b"x", b'x', &vec![b' '; 70_000]).finish(), "record of attributes"),
        ("twice", with(b"a", b'0', b"2"), "twice"),
    ];
    for (what, bytes, expected) in rows {
        for (packing, bytes) in [("plain", bytes.clone()), ("gzip", gzip(&bytes))] {
            let error = read_all(&bytes).expect_err(what);
            assert!(error.contains(expected), "{what}, {packing}: {error}");
        }
    }
    let packed = gzip(&good);
    for cut in [packed.len() - 1, packed.len() - 9, packed.len() / 2] {
        assert!(read_all(&packed[..cut]).is_err(), "{cut}");
    }
    assert!(read_all(&[&packed[..], b"x"].concat()).is_err(), "bytes after the gzip file");
    assert!(read_all(&gzip(b"only text")).expect_err("refused").contains("without a tar file"));
}

#[test]
fn long_names_of_both_kinds_are_read() {
    let name = "a/very/".repeat(25) + "long.txt";
    let gnu = Tar::new().add(b"././@LongLink", b'L', format!("{name}\0").as_bytes()).add(b"cut", b'0', b"x").finish();
    let pax = Tar::new().pax(&[("mtime", "1.5"), ("path", &name)]).add(b"cut", b'0', b"x").finish();
    let global = Tar::new().add(b"pax_global_header", b'g', b"18 comment=abcdef\n").add(&name.as_bytes()[..99], b'0', b"x").finish();
    let expected = name.strip_prefix("a/").expect("a folder");
    let bounded = Limits { depth: 64, ..LIMITS };
    assert_eq!(paths(&read_with(&gnu, bounded).expect("legal")), [expected]);
    assert_eq!(paths(&read_with(&pax, bounded).expect("legal")), [expected]);
    assert_eq!(paths(&read_with(&global, bounded).expect("legal")).len(), 1);
}

#[test]
fn every_limit_names_itself() {
    let zeros = vec![0; 12 * 1024 * 1024];
    let zip = zip_of(&[file("a/b/c", b"123"), file("d", b"456")]);
    let skipped_bomb = zip_of(&[file("node_modules/x", &zeros), file("a", b"x")]);
    let tar_bomb = gzip(&Tar::new().add(b"node_modules/x", b'0', &zeros).finish());
    let records = (0..400).fold(Tar::new(), |tar, _| tar.add(b"k", b'K', &zeros[..65_536])).add(b"a", b'0', b"x").finish();
    let record_bomb = gzip(&records);
    let name = |n: usize| format!("{n:06}/{}", "n".repeat(1200));
    let names = (0..14_000).fold(Tar::new(), |tar, n| tar.pax(&[("path", &name(n))]).add(b"a", b'0', b"")).finish();
    let roomy = Limits { entries: 100_000, folders: 100_000, ..LIMITS };
    let long = Tar::new().pax(&[("path", &"n".repeat(1300))]).add(b"a", b'0', b"").finish();
    let rows: [(&str, &[u8], Limits, &str); 11] = [
        ("ratio of records", &record_bomb, LIMITS, "more than 100 unpacked bytes for each byte of the archive"),
        ("paths", &names, roomy, "more than 16777216 bytes of paths"),
        ("a path", &long, LIMITS, "has more than 1276 bytes"),
        ("archive", &zip, Limits { archive_bytes: 50, ..LIMITS }, "more than 50 bytes"),
        ("unpacked", &zip, Limits { unpacked_bytes: 5, ..LIMITS }, "more than 5 unpacked bytes at its entry `d`"),
        ("entries", &zip, Limits { entries: 1, ..LIMITS }, "more than 1 entries"),
        ("folders", &zip, Limits { folders: 1, ..LIMITS }, "more than 1 folders at its entry `a/b/c`"),
        ("depth", &zip, Limits { depth: 2, ..LIMITS }, "more than 2 folders inside each other at its entry `a/b/c`"),
        ("file", &zip, Limits { file_bytes: 2, ..LIMITS }, "more than 2 bytes in one file at its entry `a/b/c`"),
        (
            "ratio of a zip",
            &skipped_bomb,
            LIMITS,
            "more than 100 unpacked bytes for each byte of the archive at its entry `node_modules/x`",
        ),
        ("ratio of a tar", &tar_bomb, LIMITS, "more than 100 unpacked bytes for each byte of the archive"),
    ];
    for (what, bytes, limits, expected) in rows {
        let error = read_with(bytes, limits).expect_err(what);
        assert!(error.contains(expected), "{what}: {error}");
    }
}

#[test]
fn a_stopped_reader_or_sink_says_so() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other(Stopped))
        }
    }
    assert!(matches!(read(Broken, LIMITS, &mut |_| Ok(())), Err(ArchiveError::Stopped)));
    let packed = gzip(&Tar::new().add(b"a", b'0', &[7; 600]).finish());
    let cut = std::io::Read::chain(&packed[..packed.len() / 2], Broken);
    assert!(matches!(read(cut, LIMITS, &mut |_| Ok(())), Err(ArchiveError::Stopped)));
    assert!(matches!(read(&zip_of(&[file("a", b"x")])[..], LIMITS, &mut |_| Err(Stopped)), Err(ArchiveError::Stopped)));
}
