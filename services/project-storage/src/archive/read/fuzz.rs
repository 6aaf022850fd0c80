//! Archives that are changed at random. The seeds are in `corpus/archives`: real archives of tar, git, Info-ZIP's format by Python, and forms
//! that are refused.

use std::{collections::HashSet, path::Path};

use ::fuzz::{Seed, Target, corpus};
use proptest::prelude::*;

use super::{tests::LIMITS, *};

/// Numbers that are edges of the formats.
const EDGES: [u32; 8] = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0xffff, 0x0403_4b50, 0x0807_4b50];

/// The seeds, and what is in those that are gzip files: a change of packed bytes only damages the packing.
fn seeds() -> Vec<Seed> {
    let mut seeds = corpus::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/archives"));
    for packed in seeds.clone().into_iter().filter(|seed| seed.name.ends_with(".gz")) {
        let mut bytes = Vec::new();
        flate2::read::MultiGzDecoder::new(&packed.bytes[..]).read_to_end(&mut bytes).expect("gzip");
        seeds.push(Seed { name: format!("{} unpacked", packed.name), bytes });
    }
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
    for Seed { name, bytes } in seeds() {
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
    let words = EDGES.iter().map(|edge| edge.to_le_bytes().to_vec()).collect();
    Target { seeds: seeds(), words }.run(3000, |bytes| drop(read_checked(bytes)));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        drop(read_checked(&bytes));
        drop(read_checked(&[b"PK\x03\x04", &bytes[..]].concat()));
        drop(read_checked(&[&[0x1f, 0x8b, 8, 0][..], &bytes].concat()));
    }
}
