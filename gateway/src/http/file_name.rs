//! The names of downloaded files (RFC 6266).

use std::fmt::Write as _;

use axum::http::HeaderValue;

/// `Content-Disposition` of a file that is saved under a name. Old clients read the first form, in which other characters than those of ASCII
/// are replaced; all others read the second one (RFC 8187).
pub(crate) fn attachment(name: &str) -> HeaderValue {
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // A String accepts writes.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    let text = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Whether a character means itself in a quoted string. Some clients decode `%`.
fn is_plain(c: char) -> bool {
    (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_two_forms() {
        for (name, expected) in [
            ("shop.zip", "attachment; filename=\"shop.zip\"; filename*=UTF-8''shop.zip"),
            ("My shop.zip", "attachment; filename=\"My shop.zip\"; filename*=UTF-8''My%20shop.zip"),
            ("Größe.tar.gz", "attachment; filename=\"Gr__e.tar.gz\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.tar.gz"),
            ("a\"\\%41'.zip", "attachment; filename=\"a___41'.zip\"; filename*=UTF-8''a%22%5C%2541%27.zip"),
            ("a\r\nset-cookie: x", "attachment; filename=\"a__set-cookie: x\"; filename*=UTF-8''a%0D%0Aset-cookie%3A%20x"),
        ] {
            assert_eq!(attachment(name), expected, "{name:?}");
        }
    }
}
