//! The grammar of model names. A name goes into requests, logs and spans, and some servers put it into a path.

/// The largest length of `provider/model`.
pub(crate) const MAX_BYTES: usize = 128;
/// The grammar, as an error message.
pub(crate) const GRAMMAR: &str =
    "must be provider/model: parts of ASCII letters, digits and . _ : @ + ~ -, separated by /, none of them . or ..";

/// Whether a text is a valid `provider/model`. The model may have several parts: `openai/org/model:7b`.
pub(crate) fn is_valid(name: &str) -> bool {
    let legal = |c: u8| c.is_ascii_alphanumeric() || b"._:@+~-".contains(&c);
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(legal);
    name.len() <= MAX_BYTES && name.contains('/') && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for valid in [
            "openai/gpt-5.4",
            "anthropic/claude-sonnet-5",
            "openai/org/model:7b",
            "openai/@cf/meta/llama-3.1-8b",
            "demo/demo",
            "openai/ft:gpt+x~1",
        ] {
            assert!(is_valid(valid), "{valid}");
        }
        let long = format!("openai/{}", "x".repeat(MAX_BYTES));
        for invalid in [
            "",
            "gpt",
            "openai/",
            "/gpt",
            "openai//x",
            "openai/../../v1/files",
            "openai/.",
            "openai/a\nb",
            "openai/a b",
            "openai/a?b",
            "openai/a#b",
            "openai/a%2e",
            "openai/\u{e9}",
            &long,
        ] {
            assert!(!is_valid(invalid), "{invalid:?}");
        }
    }
}
