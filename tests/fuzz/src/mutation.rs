//! Random changes of an input.

use proptest::{collection::vec, prelude::*};

/// The most bytes that one change removes or repeats.
const LONGEST_PART: usize = 600;

/// A change of an input. Positions are taken modulo its length.
#[derive(Debug, Clone)]
pub(crate) enum Mutation {
    Flip(usize, u8),
    /// Writes a word over the bytes at a position.
    Overwrite(usize, usize),
    /// Inserts a word at a position.
    Insert(usize, usize),
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
    Append(Vec<u8>),
}

/// Any change with one of this many words.
pub(crate) fn any(words: usize) -> impl Strategy<Value = Mutation> {
    let place = || proptest::num::usize::ANY;
    prop_oneof![
        4 => (place(), 1..=255_u8).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        3 => (place(), 0..words).prop_map(|(at, word)| Mutation::Overwrite(at, word)),
        2 => (place(), 0..words).prop_map(|(at, word)| Mutation::Insert(at, word)),
        1 => place().prop_map(Mutation::Cut),
        1 => (place(), 1..LONGEST_PART).prop_map(|(at, length)| Mutation::Remove(at, length)),
        1 => (place(), 1..LONGEST_PART).prop_map(|(at, length)| Mutation::Repeat(at, length)),
        1 => vec(proptest::num::u8::ANY, 1..40).prop_map(Mutation::Append),
    ]
}

impl Mutation {
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>, words: &[Vec<u8>]) {
        let place = |at: usize| at % bytes.len().max(1);
        match self {
            Self::Insert(at, word) => {
                let at = at % (bytes.len() + 1);
                bytes.splice(at..at, words[*word].iter().copied());
            }
            Self::Append(more) => bytes.extend_from_slice(more),
            _ if bytes.is_empty() => {}
            Self::Flip(at, bits) => {
                let at = place(*at);
                bytes[at] ^= bits;
            }
            Self::Overwrite(at, word) => {
                let (at, word) = (place(*at), &words[*word]);
                let end = bytes.len().min(at + word.len());
                bytes[at..end].copy_from_slice(&word[..end - at]);
            }
            Self::Cut(at) => bytes.truncate(place(*at)),
            Self::Remove(at, length) => {
                let at = place(*at);
                bytes.drain(at..bytes.len().min(at + length));
            }
            Self::Repeat(at, length) => {
                let at = place(*at);
                let part = bytes[at..bytes.len().min(at + length)].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
}
