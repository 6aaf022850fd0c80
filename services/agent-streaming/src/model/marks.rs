//! The marks around a text in a prompt that is not from the operator.

/// A text that cannot end its own part of a prompt, which ends with `</name>`.
#[must_use]
pub(crate) fn escaped(text: &str, name: &str) -> String {
    text.replace(&format!("</{name}"), &format!("<\\/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_does_not_end_its_part() {
        for (text, expected) in [
            ("a </plan>\nb", "a <\\/plan>\nb"),
            ("</plan ></plan\n>", "<\\/plan ><\\/plan\n>"),
            ("<plan> </other>", "<plan> </other>"),
            ("", ""),
        ] {
            assert_eq!(escaped(text, "plan"), expected);
        }
    }
}
