//! Page tokens. Only a token that this cluster sealed for a listing opens for that listing, and nothing else does. The corpus has forged
//! tokens.

use chassis::{
    page::{BadPageToken, PageTokens},
    secret::ClusterSecret,
};
use fuzz::{Seed, Target, corpus};
use proptest::prelude::*;

const FORGED: &str = include_str!("../../corpus/forged-page-tokens.txt");
const LISTING: &str = "ListRevisions/0192f0c0-0000-7000-8000-000000000001/path=a.txt";
const OTHER_LISTING: &str = "ListRevisions/0192f0c0-0000-7000-8000-000000000002/path=a.txt";
/// Characters of base64 and parts of the signed text.
const WORDS: &[&str] = &["A", "-", "_", "+", "/", "=", "==", "AAAA", "eyJ0Ijo", "\0", "\n", "é", "\u{ffff}"];

/// Tokens of one cluster.
struct Tokens {
    tokens: PageTokens,
    number: String,
    key: String,
    /// Sealed for another listing.
    other: String,
    /// Sealed by another cluster.
    foreign: String,
}

impl Tokens {
    fn new() -> Self {
        let [tokens, strange] = [1, 2].map(|byte| PageTokens::new(&ClusterSecret::of_bytes(&[byte; 32])));
        Self {
            number: tokens.seal(LISTING, &7_u32),
            key: tokens.seal(LISTING, &(-1_i64, "größe/ü.txt")),
            other: tokens.seal(OTHER_LISTING, &7_u32),
            foreign: strange.seal(LISTING, &7_u32),
            tokens,
        }
    }

    fn check(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let number = self.tokens.open::<u32>(LISTING, &text);
        let key = self.tokens.open::<(i64, String)>(LISTING, &text);
        let of_other = self.tokens.open::<u32>(OTHER_LISTING, &text);
        let names = self.tokens.open::<(String, String, String)>(LISTING, &text);
        let refused = Err(BadPageToken);
        if text.is_empty() {
            assert_eq!((number, key, of_other, names), (Ok(None), Ok(None), Ok(None), Ok(None)));
            return;
        }
        assert_eq!(number, if text == self.number { Ok(Some(7)) } else { refused }, "{text:?}");
        assert_eq!(key, if text == self.key { Ok(Some((-1, "größe/ü.txt".to_owned()))) } else { Err(BadPageToken) }, "{text:?}");
        assert_eq!(of_other, if text == self.other { Ok(Some(7)) } else { refused }, "{text:?}");
        assert_eq!(names, Err(BadPageToken), "{text:?}");
    }

    fn seeds(&self) -> Vec<Seed> {
        let own = [("a number", &self.number), ("a key", &self.key), ("another listing", &self.other), ("another cluster", &self.foreign)];
        let own = own.map(|(name, token)| Seed { name: name.to_owned(), bytes: token.clone().into_bytes() });
        own.into_iter().chain(corpus::lines(FORGED)).collect()
    }
}

#[test]
fn forged_tokens_do_not_open() {
    let tokens = Tokens::new();
    tokens.seeds().iter().for_each(|seed| tokens.check(&seed.bytes));
}

#[test]
fn changed_tokens_do_not_open() {
    let tokens = Tokens::new();
    let words = WORDS.iter().map(|word| word.as_bytes().to_vec()).collect();
    Target { seeds: tokens.seeds(), words }.run(20_000, |bytes| tokens.check(bytes));
}

#[test]
fn every_changed_character_makes_a_token_invalid() {
    let tokens = Tokens::new();
    for at in 0..tokens.key.len() {
        for character in ["A", "B", "Q", "g", "w", "z", "8", "_", "", "="] {
            let mut changed = tokens.key.clone();
            changed.replace_range(at..=at, character);
            tokens.check(changed.as_bytes());
        }
    }
}

proptest! {
    /// The text that is signed has the listing and the key side by side.
    #[test]
    fn a_token_opens_for_no_other_listing(listing in "[a-c/\0{\":]{0,6}", more in "(\0|/)?[a-c/\0{\":]{0,6}", key in "[a-c/\0{\":]{0,6}") {
        let tokens = Tokens::new().tokens;
        let longer = format!("{listing}{more}");
        for (sealed, opened) in [(&listing, &longer), (&longer, &listing)] {
            let read = tokens.open::<String>(opened, &tokens.seal(sealed, &key));
            prop_assert_eq!(read, if sealed == opened { Ok(Some(key.clone())) } else { Err(BadPageToken) });
        }
    }
}
