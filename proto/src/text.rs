//! Characters that names must not contain (paths, e-mail addresses, display names), texts that are blank, and texts that PostgreSQL stores.

/// Whether a character has the Unicode property `Bidi_Control`. Such a character can make a name look like another name.
#[must_use]
pub fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character is invisible and controls or annotates the text around it: C0 and C1 controls, line and paragraph separators,
/// deprecated format characters and interlinear annotations. Joiners are allowed, because emoji and Persian need them.
#[must_use]
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{206a}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
}

/// Whether a name must not contain this character.
#[must_use]
pub fn is_misleading(c: char) -> bool {
    is_control(c) || is_direction(c)
}

/// Whether a text has only white space, zero-width characters and letters without a mark: fillers of Hangul and the empty pattern of Braille.
#[must_use]
pub fn is_blank(text: &str) -> bool {
    let is_zero_width = |c| matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    let is_filler = |c| matches!(c, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}');
    text.chars().all(|c| c.is_whitespace() || is_zero_width(c) || is_filler(c))
}

/// Replaces U+0000, which PostgreSQL cannot store in a text, by U+FFFD.
#[must_use]
pub fn replace_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nul_is_replaced() {
        for (text, stored) in [("", ""), ("a\u{1}\u{fffd}\n", "a\u{1}\u{fffd}\n"), ("\0a\0", "\u{fffd}a\u{fffd}")] {
            assert_eq!(replace_nul(text.to_owned()), stored, "{text:?}");
        }
    }

    #[test]
    fn a_text_without_visible_characters_is_blank() {
        for text in ["", " ", "\n\r\t", "\u{a0}\u{3000}\u{2028}", "\u{200b}", "\u{feff} \u{2060}", "\u{200f}\u{ad}", "\u{3164}\u{2800}"] {
            assert!(is_blank(text), "{text:?}");
        }
        for text in ["a", " a ", ".", "\u{200b}x", "🦀", "\u{301}"] {
            assert!(!is_blank(text), "{text:?}");
        }
    }

    #[test]
    fn control_characters_are_misleading_and_letters_of_every_script_are_not() {
        let misleading = "\0\u{1}\t\n\r\u{1b}\u{1f}\u{7f}\u{80}\u{85}\u{9b}\u{9f}\u{2028}\u{2029}\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\
                          \u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{206a}\u{206f}\u{fff9}\u{fffa}\u{fffb}";
        assert_eq!(misleading.chars().find(|c| !is_misleading(*c)), None);
        let plain =
            "a Z9-é ß 日本 שלום می\u{200c}خواهم 👩\u{200d}💻 🏴\u{e0067}\u{e0062}\u{e007f} ❤\u{fe0f} \u{a0}\u{3000}\u{ad}\u{fffc}\u{fffd}";
        assert_eq!(plain.chars().find(|c| is_misleading(*c)), None);
    }
}
