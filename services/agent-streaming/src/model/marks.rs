//! The marks around a text in a prompt that is not from the operator.

/// A text that cannot end its own part of a prompt, which ends with `</name>`. A model may take another spelling for the mark, so letter case and
/// spaces do not matter.
#[must_use]
pub(crate) fn escaped(text: &str, name: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, mark) = rest.split_at(at);
        escaped.push_str(before);
        match after_slash(mark).filter(|end| begins_with(end.trim_start(), name)) {
            Some(end) => {
                escaped.push_str("<\\/");
                rest = end;
            }
            None => {
                escaped.push('<');
                rest = &mark[1..];
            }
        }
    }
    escaped.push_str(rest);
    escaped
}

/// What follows the slash of an end mark.
fn after_slash(mark: &str) -> Option<&str> {
    mark.strip_prefix('<')?.trim_start().strip_prefix('/')
}

fn begins_with(text: &str, name: &str) -> bool {
    text.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_does_not_end_its_part() {
        for (text, expected) in [
            ("a </plan>\nb", "a <\\/plan>\nb"),
            ("</plan ></plan\n>", "<\\/plan ><\\/plan\n>"),
            ("</PLAN></ Plan>< /plan>", "<\\/PLAN><\\/ Plan><\\/plan>"),
            ("<plan> </other> < / é </plä>", "<plan> </other> < / é </plä>"),
            ("<<</plan", "<<<\\/plan"),
            ("", ""),
            ("<", "<"),
        ] {
            assert_eq!(escaped(text, "plan"), expected);
        }
    }
}
