//! Paths of files in a package.

use unicode_normalization::UnicodeNormalization as _;

use crate::limits::Limits;

/// The path without the top folder, in Unicode's composed form. `None` for a file beside the top folder, which npm leaves out.
pub(super) fn normalised(raw: &[u8], limits: &Limits) -> Result<Option<String>, &'static str> {
    let text = std::str::from_utf8(raw).map_err(|_| "has a path that is no UTF-8")?;
    if text.starts_with('/') || text.contains('\\') || text.chars().any(char::is_control) {
        return Err("has a path that is absolute, or has backslashes or control characters");
    }
    let mut parts = Vec::new();
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err("has a path that climbs");
        }
        parts.push(part);
    }
    if parts.len() < 2 {
        return Ok(None);
    }
    let path: String = parts[1..].join("/").nfc().collect();
    if path.len() > limits.path_bytes || parts.len() - 2 > limits.path_depth {
        return Err("has a path that is too long or too deep");
    }
    Ok(Some(path))
}
