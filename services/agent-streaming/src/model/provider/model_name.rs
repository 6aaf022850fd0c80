//! What the name of a model may be. It goes into requests, logs and spans, and some servers put it into a path.

/// Of `provider/model`.
pub(crate) const MAX_BYTES: usize = 128;
/// The grammar, for people.
pub(crate) const GRAMMAR: &str =
    "must be provider/model: parts of ASCII letters, digits and . _ : @ + ~ -, separated by /, none of them . or ..";

/// Whether a text is `provider/model` in this grammar. The model may itself have parts: `openai/org/model:7b`.
pub(crate) fn is_valid(name: &str) -> bool {
    let legal = |c: u8| c.is_ascii_alphanumeric() || b"._:@+~-".contains(&c);
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(legal);
    name.len() <= MAX_BYTES && name.contains('/') && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for good in [
            "openai/gpt-5.4",
            "anthropic/claude-sonnet-5",
            "openai/org/model:7b",
            "openai/@cf/meta/llama-3.1-8b",
            "demo/demo",
            "openai/ft:gpt+x~1",
        ] {
            assert!(is_valid(good), "{good}");
        }
        let long = format!("openai/{}", "x".repeat(MAX_BYTES));
        for bad in [
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
            assert!(!is_valid(bad), "{bad:?}");
        }
    }
}
