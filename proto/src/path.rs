//! The rules for file paths, which project-storage and the agent's tools share.
//!
//! [`check`] applies to every path. [`check_new`] applies to the paths of new files and also requires names that every common file
//! system supports. A path is new if the base revision of the change has no file there. Files that were stored before a rule became
//! stricter keep their paths.

use unicode_normalization::{UnicodeNormalization as _, is_nfc};

use crate::text::{is_control, is_direction, is_misleading};

/// The most characters of a path.
pub const MAX_CHARACTERS: usize = 255;
/// The most bytes of a part of a new path: ext4, XFS, APFS and NTFS all support this length.
pub const MAX_PART_BYTES: usize = 255;
/// The most characters of a path that an error shows.
const SHOWN_CHARACTERS: usize = 64;

/// Names that Windows reserves for devices in every folder, with any extension. COM and LPT are followed by a digit.
const DEVICES: [&str; 7] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"];
const PORTS: [&str; 2] = ["COM", "LPT"];

/// Why a text is not a legal path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    #[error("it is empty; a path has 1 to {} characters", MAX_CHARACTERS)]
    Empty,
    #[error("it is longer than {} characters", MAX_CHARACTERS)]
    TooLong,
    #[error("it has a backslash; parts are separated by /")]
    Backslash,
    #[error("it has the control character {}", code(*.0))]
    Control(char),
    #[error("it begins with /; paths are relative to the project, such as src/app.js")]
    Absolute,
    #[error("it is not in Unicode form NFC")]
    NotNfc,
    #[error("it has an empty part: it ends with / or has //")]
    EmptyPart,
    #[error("it has a part . or ..")]
    DotPart,
    #[error("git treats its part `{part}` as .git")]
    Git { part: String },
    #[error("it has the character {}, which changes the direction of the text", code(*.0))]
    Direction(char),
    #[error("it has {}, which Unicode will never assign to a character", code(*.0))]
    Unassigned(char),
    #[error("its part `{part}` has the character {character}, which Windows does not allow")]
    Character { part: String, character: char },
    #[error("its part `{part}` has {bytes} bytes; a part may have {}", MAX_PART_BYTES)]
    PartTooLong { part: String, bytes: usize },
    #[error("its part `{part}` is the name of a device on Windows")]
    Device { part: String },
    #[error("its part `{part}` ends with a dot or a space, which Windows removes")]
    Ending { part: String },
}

/// Whether a path is a folder or file, or below it.
#[must_use]
pub fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a part of a path begins with a dot. Such a file is never published.
#[must_use]
pub fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.'))
}

/// Checks that a text can be the path of a file: relative, `/`-separated, NFC, 1 to 255 characters, and no part that has a special
/// meaning for git or for a directory walk. Paths are not normalised: a path is read as it was written.
///
/// # Errors
/// What is wrong with it.
pub fn check(path: &str) -> Result<(), BadPath> {
    if path.is_empty() {
        return Err(BadPath::Empty);
    }
    // The cheap check of the bytes first, because the text may have megabytes.
    if path.len() > MAX_CHARACTERS * 4 || path.chars().count() > MAX_CHARACTERS {
        return Err(BadPath::TooLong);
    }
    if path.contains('\\') {
        return Err(BadPath::Backslash);
    }
    if let Some(control) = path.chars().find(|c| c.is_control()) {
        return Err(BadPath::Control(control));
    }
    if path.starts_with('/') {
        return Err(BadPath::Absolute);
    }
    if !is_nfc(path) {
        return Err(BadPath::NotNfc);
    }
    path.split('/').try_for_each(|part| match part {
        "" => Err(BadPath::EmptyPart),
        "." | ".." => Err(BadPath::DotPart),
        _ if is_git_folder(part) => Err(BadPath::Git { part: shown(part) }),
        _ => Ok(()),
    })
}

/// Checks that a new file may be created at a path: [`check`], and every common file system supports each part.
///
/// # Errors
/// What is wrong with it.
pub fn check_new(path: &str) -> Result<(), BadPath> {
    check(path)?;
    if let Some(c) = path.chars().find(|c| is_control(*c)) {
        return Err(BadPath::Control(c));
    }
    if let Some(c) = path.chars().find(|c| is_direction(*c)) {
        return Err(BadPath::Direction(c));
    }
    if let Some(c) = path.chars().find(|c| is_unassigned(*c)) {
        return Err(BadPath::Unassigned(c));
    }
    path.split('/').try_for_each(new_part)
}

fn new_part(part: &str) -> Result<(), BadPath> {
    if let Some(character) = part.chars().find(|c| matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*')) {
        return Err(BadPath::Character { part: shown(part), character });
    }
    if part.len() > MAX_PART_BYTES {
        return Err(BadPath::PartTooLong { part: shown(part), bytes: part.len() });
    }
    if is_device(part) {
        return Err(BadPath::Device { part: shown(part) });
    }
    if part.ends_with(['.', ' ']) {
        return Err(BadPath::Ending { part: shown(part) });
    }
    Ok(())
}

/// Whether Windows opens a device instead of the file. Windows compares the name before the first dot, without trailing spaces.
fn is_device(part: &str) -> bool {
    let name = part.split('.').next().unwrap_or_default().trim_end_matches(' ');
    if DEVICES.iter().any(|device| name.eq_ignore_ascii_case(device)) {
        return true;
    }
    let Some((at, number)) = name.char_indices().next_back() else { return false };
    let is_port = PORTS.iter().any(|port| name[..at].eq_ignore_ascii_case(port));
    is_port && matches!(number, '0'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}')
}

/// Whether a checkout would write into the repository itself, which git clients refuse. A case-insensitive file system treats `.GIT`
/// as `.git`. NTFS also treats `git~1` so, and names that are followed by dots, spaces or a stream. HFS+ ignores invisible characters.
#[must_use]
pub fn is_git_folder(part: &str) -> bool {
    let visible: String = part.chars().filter(|c| !is_ignored_by_hfs(*c)).collect();
    let name = visible.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    name.eq_ignore_ascii_case(".git") || name.eq_ignore_ascii_case("git~1")
}

/// The characters that git lists in `utf8.c`.
fn is_ignored_by_hfs(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// Whether it is a Unicode noncharacter. APFS refuses names with unassigned code points, and noncharacters are never assigned.
fn is_unassigned(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

/// A text in Unicode form NFC, which paths must have. macOS writes other forms into archives.
#[must_use]
pub fn normalized(text: &str) -> String {
    text.nfc().collect()
}

/// A name as a case-insensitive file system compares it. The conversion to upper case makes `ß` equal to `SS`. The one before it makes `ẞ`
/// equal to `ß`: `ẞ` has no other upper case.
#[must_use]
pub fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    name.to_lowercase().to_uppercase().to_lowercase()
}

/// A text as an error shows it: at most 64 characters, with invisible and direction-changing characters escaped.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_CHARACTERS) {
        if is_misleading(c) || is_unassigned(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

/// A code point in Unicode notation.
fn code(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}

#[cfg(test)]
mod tests;
