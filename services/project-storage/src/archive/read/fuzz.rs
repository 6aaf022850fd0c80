//! Archives that are changed at random. The seeds are in `corpus/archives`: real archives of tar, git, Info-ZIP's format by Python, and forms
//! that are refused. `BACKLOT_FUZZ_CASES` sets the number of cases; `make fuzz` runs more of them.

use std::{collections::HashSet, fs, path::Path};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{tests::LIMITS, *};

/// Numbers that are edges of the formats.
const EDGES: [u32; 8] = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0xffff, 0x0403_4b50, 0x0807_4b50];

/// A change of an archive.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(usize, u8),
    Number(usize, usize),
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
    Append(Vec<u8>),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<usize>(), 1..=255_u8).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        3 => (any::<usize>(), 0..EDGES.len()).prop_map(|(at, edge)| Mutation::Number(at, edge)),
        1 => any::<usize>().prop_map(Mutation::Cut),
        1 => (any::<usize>(), 1..600_usize).prop_map(|(at, length)| Mutation::Remove(at, length)),
        1 => (any::<usize>(), 1..600_usize).prop_map(|(at, length)| Mutation::Repeat(at, length)),
        1 => proptest::collection::vec(any::<u8>(), 1..40).prop_map(Mutation::Append),
    ]
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |at: usize| at % bytes.len().max(1);
        match self {
            _ if bytes.is_empty() => {}
            Self::Flip(at, bits) => {
                let at = place(*at);
                bytes[at] ^= bits;
            }
            Self::Number(at, edge) => {
                let at = place(*at);
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&EDGES[*edge].to_le_bytes()[..end - at]);
            }
            Self::Cut(at) => bytes.truncate(place(*at)),
            Self::Remove(at, length) => {
                let at = place(*at);
                bytes.drain(at..bytes.len().min(at + length));
            }
            Self::Repeat(at, length) => {
                let at = place(*at);
                let part = bytes[at..bytes.len().min(at + length)].to_vec();
                bytes.splice(at..at, part);
            }
            Self::Append(more) => bytes.extend_from_slice(more),
        }
    }
}

/// The seeds, and what is in those that are gzip files: a change of packed bytes only damages the packing.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/archives");
    let mut seeds = Vec::new();
    for entry in fs::read_dir(folder).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let (name, bytes) = (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(&path).expect("a seed"));
        if name.ends_with(".gz") {
            let mut unpacked = Vec::new();
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).expect("gzip");
            seeds.push((format!("{name} unpacked"), unpacked));
        }
        seeds.push((name, bytes));
    }
    seeds.sort();
    seeds
}

/// Reads an archive, and checks what must hold for every archive that is taken.
fn read_checked(bytes: &[u8]) -> Result<Contents, ArchiveError> {
    let (mut files, mut present, mut total) = (Vec::new(), 0_u64, 0_u64);
    let contents = read(bytes, LIMITS, &mut |piece: Piece<'_>| {
        match piece {
            Piece::Data(data) => {
                present += data.len() as u64;
                total += data.len() as u64;
            }
            Piece::End => files.push(std::mem::take(&mut present)),
        }
        Ok(())
    });
    assert!(total <= FREE_BYTES + LIMITS.ratio * bytes.len() as u64 && total <= LIMITS.unpacked_bytes);
    let contents = contents?;
    let mut seen = HashSet::new();
    for file in &contents.files {
        assert!(proto::path::check_new(&file.path).is_ok(), "{:?}", file.path);
        assert!(seen.insert(proto::path::fold(&file.path)), "{:?} twice", file.path);
        assert_eq!(files[file.index], file.bytes);
    }
    Ok(contents)
}

#[test]
fn the_corpus_is_read_or_refused() {
    for (name, bytes) in seeds() {
        let read = read_checked(&bytes).map_err(|error| error.to_string());
        match name.split('.').next() {
            Some("links") => assert!(read.as_ref().is_err_and(|error| error.contains("link")), "{name}: {read:?}"),
            Some("sparse") => assert!(read.as_ref().is_err_and(|error| error.contains("sparse")), "{name}: {read:?}"),
            _ => {
                let contents = read.unwrap_or_else(|error| panic!("{name}: {error}"));
                let paths: Vec<_> = contents.files.iter().map(|file| file.path.as_str()).collect();
                let long = format!("{}file.txt", "long-folder-name/".repeat(7));
                assert_eq!(paths, ["empty", "größe/ü.txt", &long, "package.json", "src/a.js", "zeros.bin"], "{name}");
                assert_eq!(contents.skipped.len(), 1, "{name}");
            }
        }
    }
}

#[test]
fn changed_archives_are_read_or_refused() {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
    let cases = std::env::var("BACKLOT_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(3000);
    let seeds = seeds();
    let changes = (0..seeds.len(), proptest::collection::vec(mutation(), 1..5));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&changes, |(seed, mutations)| {
            let mut bytes = seeds[seed].1.clone();
            mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
            drop(read_checked(&bytes));
            Ok(())
        })
        .expect("no case fails");
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        drop(read_checked(&bytes));
        drop(read_checked(&[b"PK\x03\x04", &bytes[..]].concat()));
        drop(read_checked(&[&[0x1f, 0x8b, 8, 0][..], &bytes].concat()));
    }
}
