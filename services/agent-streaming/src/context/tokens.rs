//! Counts tokens. A conversation and the files of a project are counted for each turn, and most of them were counted before.

use std::sync::LazyLock;

use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

/// The name of the tokenizer: that of OpenAI's models since GPT-4o. Other providers count a few percent differently.
pub(crate) const COUNTER: &str = "o200k_base";

/// Loads the tables of the tokenizer, which takes a while.
pub(crate) fn load() {
    let _ = bpe_openai::o200k_base();
}

/// Texts of at least this many bytes are counted once. Counting a shorter one takes no longer than hashing it.
const REMEMBERED_BYTES: usize = 512;
/// The counts that a process remembers, in about 6 MB.
const MAX_REMEMBERED: usize = 65_536;

static COUNTS: LazyLock<Cache<[u8; 32], u32>> = LazyLock::new(|| Cache::new(MAX_REMEMBERED));

/// The tokens of a text. The time grows with the length of the text, whatever is in it.
#[must_use]
pub fn count(text: &str) -> u32 {
    if text.len() < REMEMBERED_BYTES {
        return count_anew(text);
    }
    let key: [u8; 32] = Sha256::digest(text).into();
    if let Some(tokens) = COUNTS.get(&key) {
        return tokens;
    }
    let tokens = count_anew(text);
    COUNTS.insert(key, tokens);
    tokens
}

fn count_anew(text: &str) -> u32 {
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
        let long = "a".repeat(200_000);
        assert!(count(&long) > 10_000);
        assert_eq!(count(&long), count_anew(&long), "remembered");
    }
}
