//! The passwords of known breaches, in a file of the operator: SHA-1 hashes in ascending order, one a line, perhaps with a colon and a count
//! behind it, as Have I Been Pwned has them. The file stays on the disk, and nobody else is asked. Reading it blocks the thread.

use std::{cmp::Ordering, fs, io, os::unix::fs::FileExt as _, path::Path};

use data_encoding::HEXUPPER_PERMISSIVE;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::password::normalized;

type Hash = [u8; 20];

const HEX_DIGITS: usize = 40;
/// Bytes of the longest line with its end: a hash, a colon, 20 digits, and two bytes.
const MAX_LINE: u64 = 63;
/// What is read to find a line: more than the longest one before the byte that is asked for, and as much behind it.
const WINDOW: usize = 128;
/// Places of the file whose lines are looked at before it is used.
const SAMPLES: u64 = 100;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("cannot be read")]
    Unreadable(#[from] io::Error),
    #[error("is not a file")]
    NotAFile,
    #[error("is empty")]
    Empty,
    #[error("has something else than a SHA-1 hash, or a hash, a colon and a count, in the line of byte {0}")]
    Line(u64),
    #[error("is not in ascending order of the hashes at byte {0}")]
    Order(u64),
}

/// A file that is open.
#[derive(Debug)]
pub(crate) struct BreachedPasswords {
    file: fs::File,
    length: u64,
}

/// Where a line is, its end included, and its hash.
#[derive(Debug, Clone, Copy)]
struct Line {
    begin: u64,
    end: u64,
    hash: Hash,
}

impl BreachedPasswords {
    /// Opens the file and looks at some of its lines.
    ///
    /// # Errors
    /// It cannot be read, is empty, has other lines, or is not in order.
    pub(crate) fn open(path: &Path) -> Result<Self, ListError> {
        // A pipe would block.
        let found = fs::metadata(path)?;
        if !found.is_file() {
            return Err(ListError::NotAFile);
        }
        if found.len() == 0 {
            return Err(ListError::Empty);
        }
        let list = Self { file: fs::File::open(path)?, length: found.len() };
        list.check_samples()?;
        Ok(list)
    }

    /// Whether the list has the password as it was typed, or as it is hashed here.
    ///
    /// # Errors
    /// The file cannot be read, or has other lines.
    pub(crate) fn contains(&self, password: &str) -> Result<bool, ListError> {
        let normalized = normalized(password);
        Ok(self.has(&sha1(&normalized))? || (normalized != password && self.has(&sha1(password))?))
    }

    fn has(&self, hash: &Hash) -> Result<bool, ListError> {
        let (mut low, mut high) = (0, self.length);
        while low < high {
            let line = self.line_at(low + (high - low) / 2)?;
            match line.hash.cmp(hash) {
                Ordering::Equal => return Ok(true),
                Ordering::Less => low = line.end,
                Ordering::Greater => high = line.begin,
            }
        }
        Ok(false)
    }

    /// Compares lines at the same distances, each with the next one and with that of the place before.
    fn check_samples(&self) -> Result<(), ListError> {
        let mut last = self.line_at(0)?;
        for at in (0..SAMPLES).map(|number| self.length / SAMPLES * number).chain([self.length - 1]) {
            let line = self.line_at(at)?;
            let next = if line.end < self.length { self.line_at(line.end)? } else { line };
            if line.hash < last.hash || next.hash < line.hash {
                return Err(ListError::Order(line.begin));
            }
            last = line;
        }
        Ok(())
    }

    /// The line that has this byte.
    fn line_at(&self, at: u64) -> Result<Line, ListError> {
        let from = at.saturating_sub(MAX_LINE + 1);
        let mut window = [0; WINDOW];
        let read = self.read(&mut window, from)?;
        // A file that was cut off since it was opened may end before.
        let parts = usize::try_from(at - from).ok().and_then(|index| window[..read].split_at_checked(index));
        let (before, rest) = parts.filter(|(_, rest)| !rest.is_empty()).ok_or(ListError::Line(at))?;
        let is_end = |byte: &u8| *byte == b'\n';
        let head = before.iter().rposition(is_end).map_or(before, |end| &before[end + 1..]);
        let tail = rest.iter().position(is_end).map_or(rest, |end| &rest[..=end]);
        let hash = hash_of(&[head, tail].concat()).ok_or(ListError::Line(at))?;
        Ok(Line { begin: at - bytes(head), end: at + bytes(tail), hash })
    }

    /// Fills the window, unless the file ends before. Returns how many bytes were read.
    fn read(&self, window: &mut [u8; WINDOW], from: u64) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            let at = from + bytes(&window[..filled]);
            match self.file.read_at(&mut window[filled..], at) {
                Ok(0) => return Ok(filled),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn sha1(password: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes()).as_ref());
    hash
}

fn bytes(part: &[u8]) -> u64 {
    u64::try_from(part.len()).unwrap_or(u64::MAX)
}

/// The hash of a line; `None` if it is none.
fn hash_of(line: &[u8]) -> Option<Hash> {
    if bytes(line) > MAX_LINE {
        return None;
    }
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (hex, rest) = line.strip_suffix(b"\r").unwrap_or(line).split_at_checked(HEX_DIGITS)?;
    let is_whole = match rest {
        [] => true,
        [b':', count @ ..] => !count.is_empty() && count.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let hash = HEXUPPER_PERMISSIVE.decode(hex).ok().filter(|_| is_whole)?;
    hash.try_into().ok()
}

#[cfg(test)]
mod tests {
    use tempfile::NamedTempFile;

    use super::*;

    fn file(text: &str) -> NamedTempFile {
        let file = NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        file
    }

    fn open(text: &str) -> Result<BreachedPasswords, String> {
        BreachedPasswords::open(file(text).path()).map_err(|error| chassis::error::chain(&error))
    }

    /// The lines of a list with these passwords, without their ends.
    fn lines(passwords: &[String], count: impl Fn(usize) -> String) -> Vec<String> {
        let mut hashes: Vec<_> = passwords.iter().map(|password| data_encoding::HEXUPPER.encode(&sha1(password))).collect();
        hashes.sort();
        hashes.iter().enumerate().map(|(number, hash)| format!("{hash}{}", count(number))).collect()
    }

    #[test]
    fn the_hash_is_that_of_the_public_list() {
        assert_eq!(data_encoding::HEXUPPER.encode(&sha1("password")), "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8");
    }

    #[test]
    fn every_password_of_a_list_is_found_and_no_other() {
        for size in [1, 2, 3, 7, 100, 1_000] {
            let passwords: Vec<String> = (0..size).map(|number| format!("password {number}")).collect();
            let short = lines(&passwords, |_| String::new());
            let counted = lines(&passwords, |number| format!(":{}", 10_u64.pow(u32::try_from(number % 20).expect("small"))));
            let texts = [
                ("with LF", short.join("\n") + "\n"),
                ("without an end", short.join("\n")),
                ("with CRLF", short.join("\r\n") + "\r\n"),
                ("in small letters", short.join("\n").to_lowercase()),
                ("with counts", counted.join("\n") + "\n"),
                ("with counts and CRLF, without an end", counted.join("\r\n")),
            ];
            for (form, text) in texts {
                let list = open(&text).expect(form);
                for password in &passwords {
                    assert!(list.contains(password).expect("read"), "{size} lines {form}: {password}");
                }
                for number in 0..100 {
                    assert!(!list.contains(&format!("another {number}")).expect("read"), "{size} lines {form}: {number}");
                }
            }
        }
    }

    #[test]
    fn the_first_and_the_last_line_are_found() {
        // Below and above all hashes of the other passwords.
        let (first, last) = ("0".repeat(HEX_DIGITS), "F".repeat(HEX_DIGITS));
        let mut lines = lines(&["one".to_owned(), "two".to_owned()], |_| ":3".to_owned());
        lines.insert(0, format!("{first}:1"));
        lines.push(format!("{last}:2"));
        for text in [lines.join("\n"), lines.join("\n") + "\n", lines.join("\r\n"), lines.join("\r\n") + "\r\n"] {
            let list = open(&text).expect("a list");
            assert!(list.has(&[0; 20]).expect("read") && list.has(&[0xff; 20]).expect("read"), "{text:?}");
            let (mut above, mut below) = ([0; 20], [0xff; 20]);
            (above[19], below[19]) = (1, 0xfe);
            assert!(!list.has(&above).expect("read") && !list.has(&below).expect("read"), "{text:?}");
        }
    }

    #[test]
    fn both_spellings_of_a_password_are_looked_up() {
        let (composed, typed) = ("grüner elefant", "gru\u{308}ner elefant");
        for listed in [composed, typed] {
            let list = open(&lines(&[listed.to_owned()], |_| String::new()).join("\n")).expect("a list");
            assert!(list.contains(typed).expect("read"), "{listed:?}");
        }
        let list = open(&lines(&[composed.to_owned()], |_| String::new()).join("\n")).expect("a list");
        assert!(!list.contains("gruner elefant").expect("read"));
    }

    #[test]
    fn another_file_is_refused_with_the_place() {
        let hash = |digit: char| String::from(digit).repeat(HEX_DIGITS);
        let sorted = [hash('1'), hash('2'), hash('3')].join("\n");
        assert!(open(&sorted).is_ok());
        for (text, problem) in [
            (String::new(), "is empty"),
            ("\n".to_owned(), "in the line of byte 0"),
            (format!("{sorted}\n\n"), "in the line of byte 123"),
            ("password\nletmein\n".to_owned(), "in the line of byte 0"),
            (hash('g'), "in the line of byte 0"),
            ("1".repeat(32), "in the line of byte 0"),
            ("1".repeat(1_000), "in the line of byte 0"),
            (format!("{}:", hash('1')), "in the line of byte 0"),
            (format!("{}:x", hash('1')), "in the line of byte 0"),
            (format!("{}:{}", hash('1'), "9".repeat(21) + "99"), "in the line of byte 0"),
            (format!("{};1", hash('1')), "in the line of byte 0"),
            ([hash('3'), hash('2'), hash('1')].join("\n"), "is not in ascending order of the hashes at byte 0"),
            ([hash('1'), hash('3'), hash('2')].join("\n"), "is not in ascending order of the hashes at byte 41"),
        ] {
            let fault = open(&text).map(drop).expect_err(&text);
            assert!(fault.contains(problem), "{text:?}: {fault}");
        }
        let mut passwords: Vec<_> = lines(&(0..5_000).map(|number| format!("password {number}")).collect::<Vec<_>>(), |_| ":1".to_owned());
        passwords.rotate_left(1_234);
        assert!(open(&passwords.join("\n")).expect_err("of another order").contains("is not in ascending order"));
    }

    #[test]
    fn a_missing_file_and_a_folder_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, problem) in [(folder.path().join("missing"), "cannot be read: "), (folder.path().to_owned(), "is not a file")] {
            let error = BreachedPasswords::open(&path).map(drop).expect_err("no file");
            assert!(chassis::error::chain(&error).starts_with(problem), "{error}");
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_a_fault_and_no_endless_search() {
        let passwords: Vec<String> = (0..1_000).map(|number| format!("password {number}")).collect();
        let file = file(&lines(&passwords, |_| String::new()).join("\n"));
        let list = BreachedPasswords::open(file.path()).expect("a list");
        for length in [20_500, 1_000, 41, 0] {
            file.as_file().set_len(length).expect("cut off");
            let outcomes: Vec<_> = passwords.iter().map(|password| list.contains(password)).collect();
            assert!(outcomes.iter().any(|outcome| matches!(outcome, Err(ListError::Line(_)))), "{length} bytes");
        }
    }
}
