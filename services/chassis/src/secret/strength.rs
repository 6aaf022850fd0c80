//! Rejects secrets that are long but easy to guess, such as repetitions and series. Random texts pass.

/// The least characters of a secret.
const MIN_CHARACTERS: usize = 32;
/// The least distinct characters. 32 random decimal digits have fewer with a probability of one in ten million.
const MIN_DISTINCT: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Weakness {
    #[error("must have at least {MIN_CHARACTERS} characters")]
    Short,
    #[error("repeats a part with fewer than {MIN_CHARACTERS} characters; take the output of `openssl rand -hex 32`")]
    Repeated,
    #[error("must have at least {MIN_DISTINCT} different characters; take the output of `openssl rand -hex 32`")]
    FewCharacters,
    #[error("is a series, such as the alphabet; take the output of `openssl rand -hex 32`")]
    Series,
}

pub(super) fn check(secret: &str) -> Result<(), Weakness> {
    let characters: Vec<u32> = secret.chars().map(u32::from).collect();
    if characters.len() < MIN_CHARACTERS {
        return Err(Weakness::Short);
    }
    // A period of at most half the length, so that the repeated part occurs at least twice.
    let periods = 1..MIN_CHARACTERS.min(characters.len() / 2 + 1);
    if periods.into_iter().any(|period| characters.iter().zip(&characters[period..]).all(|(a, b)| a == b)) {
        return Err(Weakness::Repeated);
    }
    if distinct(characters.iter().copied()) < MIN_DISTINCT {
        return Err(Weakness::FewCharacters);
    }
    if distinct(characters.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]))) < MIN_DISTINCT {
        return Err(Weakness::Series);
    }
    Ok(())
}

fn distinct(values: impl Iterator<Item = u32>) -> usize {
    values.collect::<std::collections::HashSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_that_is_easy_to_guess_is_weak() {
        for (secret, weakness) in [
            (String::new(), Weakness::Short),
            ("0d1c7e1f92ab4c5e8f60b3a2d4c5e6f".into(), Weakness::Short),
            // 16 characters of two bytes each.
            ("ä".repeat(16), Weakness::Short),
            ("x".repeat(32), Weakness::Repeated),
            (" ".repeat(64), Weakness::Repeated),
            ("ab".repeat(40), Weakness::Repeated),
            ("password".repeat(4), Weakness::Repeated),
            ("changeme-".repeat(4), Weakness::Repeated),
            ("0123456789abcdef".repeat(2), Weakness::Repeated),
            ("0d1c7e1f92ab4c5e".repeat(4), Weakness::Repeated),
            // The last repetition is incomplete.
            ("correct horse ".repeat(3)[..40].into(), Weakness::Repeated),
            (format!("{}b", "a".repeat(40)), Weakness::FewCharacters),
            ("01".chars().cycle().take(33).chain("001101".chars()).collect(), Weakness::FewCharacters),
            (('a'..='z').chain('A'..='Z').collect(), Weakness::Series),
            (('0'..='z').rev().collect(), Weakness::Series),
            ("0123456789abcdefghijklmnopqrstuvwxyz".into(), Weakness::Series),
        ] {
            assert_eq!(check(&secret), Err(weakness), "{secret:?}");
        }
    }

    #[test]
    fn a_sentence_and_random_texts_are_strong() {
        for secret in ["a secret of at least thirty-two letters", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7", "31415926535897932384626433832795"] {
            assert_eq!(check(secret), Ok(()), "{secret}");
        }
    }

    #[test]
    fn random_texts_are_strong() {
        use ring::rand::{SecureRandom as _, SystemRandom};
        for _ in 0..2_000 {
            let mut bytes = [0; 32];
            SystemRandom::new().fill(&mut bytes).expect("random bytes");
            let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let digits = bytes.iter().map(|byte| format!("{:03}", byte)).collect::<String>();
            for secret in [&hex, &hex[..32], &digits] {
                assert_eq!(check(secret), Ok(()), "{secret}");
            }
        }
    }
}
