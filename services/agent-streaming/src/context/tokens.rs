//! Counts tokens.

/// The name of the tokenizer: that of OpenAI's models since GPT-4o. Other providers count a few percent differently.
pub(crate) const COUNTER: &str = "o200k_base";

/// Loads the tables of the tokenizer, which takes a while.
pub(crate) fn load() {
    let _ = bpe_openai::o200k_base();
}

/// The tokens of a text. The time grows with the length of the text, whatever is in it.
#[must_use]
pub fn count(text: &str) -> u32 {
    u32::try_from(bpe_openai::o200k_base().count(text)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_known_number_of_tokens() {
        for (text, tokens) in [("", 0), ("hello world", 2), ("fn main() {}\n", 4), ("<|endoftext|>", 7)] {
            assert_eq!(count(text), tokens, "{text}");
        }
        assert!(count(&"a".repeat(200_000)) > 10_000);
    }
}
