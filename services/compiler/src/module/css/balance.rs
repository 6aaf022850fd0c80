//! Brackets, strings and comments that are not closed. CSS closes them at the end of the text, which hides what its author forgot.

/// The offset and a sentence.
pub(super) fn first_fault(text: &str) -> Option<(usize, String)> {
    let bytes = text.as_bytes();
    let mut open: Vec<(u8, usize)> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'/' if bytes.get(at + 1) == Some(&b'*') => match text[at + 2..].find("*/") {
                Some(end) => at += 3 + end,
                None => return Some((at, "the comment is not closed".to_owned())),
            },
            quote @ (b'"' | b'\'') => match string_end(bytes, at + 1, quote) {
                Some(end) => at = end,
                None => return Some((at, "the string is not closed".to_owned())),
            },
            bracket @ (b'(' | b'[' | b'{') => {
                open.push((bracket, at));
                if bracket == b'(' && is_plain_url(bytes, at) {
                    at = text[at..].find(')').map_or(bytes.len(), |end| at + end - 1);
                }
            }
            bracket @ (b')' | b']' | b'}') => {
                let opens = open.pop().map(|(opens, _)| opens);
                if opens != Some(opening(bracket)) {
                    return Some((at, format!("unexpected {}", char::from(bracket))));
                }
            }
            _ => {}
        }
        at += 1;
    }
    open.first().map(|(bracket, at)| (*at, format!("the {} is not closed", char::from(*bracket))))
}

fn opening(closing: u8) -> u8 {
    match closing {
        b')' => b'(',
        b']' => b'[',
        _ => b'{',
    }
}

/// The offset of the closing quote. A line break ends a string unless it is escaped.
pub(super) fn string_end(bytes: &[u8], mut at: usize, quote: u8) -> Option<usize> {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'\n' => return None,
            byte if byte == quote => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Whether the bracket opens `url(` with an address without quotes, in which quotes and comments mean nothing.
pub(super) fn is_plain_url(bytes: &[u8], bracket: usize) -> bool {
    let name = bracket.checked_sub(3).map(|start| bytes[start..bracket].to_ascii_lowercase());
    let next = bytes[bracket + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
    name.as_deref() == Some(b"url") && !matches!(next, Some(b'"' | b'\''))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unclosed_things_are_found_at_their_start() {
        let cases = [
            ("a { color: red }", None),
            ("a { color: red", Some(2)),
            ("a { color: red } }", Some(17)),
            ("a[b='}'] { content: \"\\\"{\" } /* { */", None),
            ("a { b: url(data:image/svg+xml;utf8,<svg xmlns='x'>//{/*) }", None),
            ("a { b: url( 'x)' ) }", None),
            ("a { b: 'x }\n}", Some(7)),
            ("/* a", Some(0)),
            ("a { b: (c] }", Some(9)),
            (".sm\\:p-\\[2px\\] { a: b }", None),
            ("a { b: url(x", Some(2)),
            ("\\", None),
        ];
        for (text, expected) in cases {
            assert_eq!(first_fault(text).map(|(at, _)| at), expected, "{text}");
        }
    }
}
