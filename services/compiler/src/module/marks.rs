//! Texts with marks: words of letters, digits, `_` and `-`, each of which stands for an address. One pass finds all of them.

use std::collections::HashMap;

/// The parts of a text, each with whether it is a mark.
pub(crate) fn split(text: &str, is_mark: impl Fn(&str) -> bool) -> Vec<(&str, bool)> {
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    let (mut parts, mut done, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let length = text.as_bytes()[at..].iter().take_while(|byte| is_of_word(byte)).count();
        if length > 0 && is_mark(&text[at..at + length]) {
            if done < at {
                parts.push((&text[done..at], false));
            }
            done = at + length;
            parts.push((&text[at..done], true));
        }
        at += length.max(1);
    }
    if done < text.len() {
        parts.push((&text[done..], false));
    }
    parts
}

/// The text with the addresses in place of the marks.
pub(crate) fn fill(text: &str, addresses: &HashMap<String, String>) -> String {
    let parts = split(text, |word| addresses.contains_key(word));
    parts.iter().map(|(part, is_mark)| if *is_mark { addresses[*part].as_str() } else { part }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_are_marks() {
        let addresses = [("a-1", "x"), ("b_", "\u{e9}")].map(|(mark, address)| (mark.to_owned(), address.to_owned())).into();
        assert_eq!(fill("a-1\u{e9}a-1(b_)a-12 ba-1\"a-1", &addresses), "x\u{e9}x(\u{e9})a-12 ba-1\"x");
        assert_eq!(split("b", |word| word == "b"), [("b", true)]);
        assert_eq!(fill("", &addresses), "");
    }
}
