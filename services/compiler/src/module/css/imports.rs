//! `@import` at the start of a printed sheet. After other rules it has no effect.

/// Where the imports at the start of a printed sheet end.
pub(crate) fn imports_end(text: &str) -> usize {
    let mut end = 0;
    loop {
        let rest = &text[end..];
        let start = rest.len() - rest.trim_start().len();
        if !rest[start..].starts_with("@import") {
            return end;
        }
        let Some(length) = statement(&rest[start..]) else { return end };
        end += start + length;
    }
}

/// The length of a statement with its semicolon. One in a string or in brackets is no end.
fn statement(text: &str) -> Option<usize> {
    let (mut quote, mut depth, mut is_escaped) = (None, 0_usize, false);
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            _ if is_escaped => is_escaped = false,
            (_, b'\\') => is_escaped = true,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') => depth = depth.saturating_sub(1),
            (None, b';') if depth == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_end_with_their_semicolons() {
        for (start, rest) in [
            ("@import \"https://a/;b\";", "a{}"),
            ("@import url(https://c/;d) print;\n@import 'e\\';f';", "\n.g{}"),
            ("", "@import \"a"),
            ("", "a{}@import 'b';"),
        ] {
            assert_eq!(imports_end(&format!("{start}{rest}")), start.len(), "{start}{rest}");
        }
    }
}
