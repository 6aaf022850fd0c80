//! Which files of a template have values filled in, and how large they may be. The rule is the same for a publication, for a use and for
//! what ships with Backlot.

use proto::plan::INLINE_BYTES;

use crate::{
    error::Error,
    git::is_text,
    model::{placeholder::has_placeholder, template::Variable},
};

/// Bytes of the largest file that may have a placeholder.
pub(crate) const MAX_FILLED_FILE: u32 = INLINE_BYTES;
/// Bytes that all files with a placeholder may have together, as they are published and as they are filled in.
const MAX_FILLED_BYTES: u64 = 8 * 1024 * 1024;

/// Whether a file has a placeholder of one of the variables. Only a text of at most [`MAX_FILLED_FILE`] bytes can have one.
pub(crate) fn is_fillable(content: &[u8], variables: &[Variable]) -> bool {
    let is_small = content.len() <= MAX_FILLED_FILE as usize;
    is_small && is_text(content) && std::str::from_utf8(content).is_ok_and(|text| text.contains("%%") && has_placeholder(text, variables))
}

/// The bytes of files that have a placeholder.
#[derive(Debug, Default)]
pub(crate) struct FilledBytes(u64);

impl FilledBytes {
    /// Counts a file.
    ///
    /// # Errors
    /// [`Error::Field`] with the name of `field` if all files are too large together.
    pub(crate) fn add(&mut self, bytes: u64, field: &str) -> Result<(), Error> {
        self.0 = self.0.saturating_add(bytes);
        if self.0 <= MAX_FILLED_BYTES {
            return Ok(());
        }
        let problem = format!("would make files with a placeholder of more than {MAX_FILLED_BYTES} bytes together");
        Err(Error::Field { field: field.to_owned(), problem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_text_with_a_placeholder_is_fillable() {
        let variable = |name: &str| Variable {
            name: name.to_owned(),
            label: String::new(),
            description: String::new(),
            default: String::new(),
            pattern: String::new(),
            required: false,
        };
        let large = |bytes: usize| format!("%%a%%{}", " ".repeat(bytes - 5)).into_bytes();
        for (content, expected) in [
            (b"%%a%%".to_vec(), true),
            (b"%%b%%".to_vec(), false),
            (b"a".to_vec(), false),
            (b"%%a%%\0".to_vec(), false),
            (b"%%a%%\xff".to_vec(), false),
            (large(MAX_FILLED_FILE as usize), true),
            (large(MAX_FILLED_FILE as usize + 1), false),
        ] {
            assert_eq!(is_fillable(&content, &[variable("a")]), expected, "{} bytes", content.len());
        }
    }

    #[test]
    fn the_files_have_a_limit_together() {
        let mut bytes = FilledBytes::default();
        bytes.add(MAX_FILLED_BYTES, "values").expect("at the limit");
        assert!(matches!(bytes.add(1, "values"), Err(Error::Field { field, .. }) if field == "values"));
    }
}
