//! The strength of passwords, and their hashes (Argon2id). Hashing and verifying use memory that the caller provides. They block their
//! thread; [`crate::hash_pool`] runs them.

use std::{borrow::Cow, fmt};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};
use zxcvbn::{Score, feedback::Feedback, zxcvbn};

/// Both limits are in characters of the normalised password.
pub(crate) const MIN_CHARACTERS: usize = 8;
pub(crate) const MAX_CHARACTERS: usize = 256;
/// A longer text is not normalised. It exceeds the limit anyway, because normalisation joins at most four characters to one.
const MAX_TYPED: usize = 4 * MAX_CHARACTERS;

const MIN_SCORE: Score = Score::Three;
const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// The cost of a hash. The defaults are the minimum that OWASP recommends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) memory_kib: u32,
    pub(crate) iterations: u32,
}

/// Invalid parameters or a damaged hash in the database. A password itself never causes this error.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error("the parameters of the password hash are out of bounds")]
    Argon2(#[source] argon2::Error),
    #[error("a stored password hash cannot be read")]
    Stored(#[source] argon2::password_hash::phc::Error),
    #[error("a stored password hash has no salt or no output, or is not an Argon2 hash")]
    Incomplete,
    #[error("the system provided no random bytes for a salt")]
    Random,
}

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wrong,
    Correct,
    /// Correct, but the stored hash is weaker than a new one would be. This new hash replaces it.
    Outdated(String),
}

/// Why a password is too easy to guess. The text is from zxcvbn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakness(String);

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The password as it is hashed (RFC 8265, OpaqueString): composed, and with a plain space for every other kind of space. So keyboards
/// and systems that encode the same text differently open the same account. Case and surrounding spaces are significant.
pub(crate) fn normalized(password: &str) -> Cow<'_, str> {
    let other_space = |c: char| c != ' ' && c.is_whitespace() && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
    if is_nfc(password) && !password.contains(other_space) {
        return Cow::Borrowed(password);
    }
    Cow::Owned(password.chars().map(|c| if other_space(c) { ' ' } else { c }).nfc().collect())
}

/// Characters of the normalised password.
pub(crate) fn length(password: &str) -> usize {
    let typed = password.chars().count();
    if typed > MAX_TYPED { typed } else { normalized(password).chars().count() }
}

/// Checks that the password resists guessing by an attacker who knows the words of `personal`, such as the address and the name.
///
/// # Errors
/// Why it is weak, as a text for the user.
pub(crate) fn check_strength(password: &str, personal: &[String]) -> Result<(), Weakness> {
    let personal: Vec<&str> = personal.iter().map(String::as_str).collect();
    let estimate = zxcvbn(password, &personal);
    if estimate.score() >= MIN_SCORE {
        return Ok(());
    }
    Err(Weakness(estimate.feedback().map_or_else(|| "it is too easy to guess.".to_owned(), explanation)))
}

fn explanation(feedback: &Feedback) -> String {
    let warning = feedback.warning().map(|w| w.to_string());
    let all: Vec<String> = warning.into_iter().chain(feedback.suggestions().iter().map(ToString::to_string)).collect();
    all.join(" ")
}

/// The words that an attacker would try first: the address, the name, and each word of them.
pub(crate) fn personal_words(email: &str, display_name: &str) -> Vec<String> {
    let mut words = vec![email.to_owned(), display_name.to_owned(), "backlot".to_owned()];
    for text in [email, display_name] {
        words.extend(text.split(|c: char| !c.is_alphanumeric()).filter(|w| w.chars().count() > 2).map(str::to_owned));
    }
    words.retain(|w| !w.is_empty());
    words
}

/// Hashes a new password, normalised, with a fresh salt, as a PHC string.
///
/// # Errors
/// The parameters are out of bounds, or the system provided no random bytes.
pub(crate) fn hash(password: &str, cost: Cost, memory: &mut Vec<Block>) -> Result<String, HashError> {
    let mut salt = [0; SALT_BYTES];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut salt).map_err(|_| HashError::Random)?;
    let params = Params::new(cost.memory_kib, cost.iterations, 1, Some(HASH_BYTES)).map_err(HashError::Argon2)?;
    let mut output = [0; HASH_BYTES];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    fill(&argon2, &normalized(password), &salt, &mut output, memory)?;
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(|_| HashError::Incomplete)?,
        salt: Some(Salt::new(&salt).map_err(HashError::Stored)?),
        hash: Some(Output::new(&output).map_err(HashError::Stored)?),
    };
    Ok(phc.to_string())
}

/// Compares in constant time, with the parameters of the stored hash. Makes a new hash if those parameters are weaker than `cost`, or if
/// the stored hash is that of a password that was not normalised.
///
/// A password that is typed in another form than the normalised one is always hashed twice. So the duration depends only on the text that
/// was typed and tells nothing about the account.
///
/// # Errors
/// The stored hash is damaged.
pub(crate) fn verify(password: &str, stored: &str, cost: Cost, memory: &mut Vec<Block>) -> Result<Verdict, HashError> {
    let phc = PasswordHash::new(stored).map_err(HashError::Stored)?;
    let (Some(salt), Some(expected)) = (phc.salt, phc.hash) else { return Err(HashError::Incomplete) };
    let algorithm = Algorithm::try_from(phc.algorithm.as_str()).map_err(|_| HashError::Incomplete)?;
    let version = phc.version.map_or(Ok(Version::V0x13), Version::try_from).map_err(HashError::Argon2)?;
    let params = Params::try_from(&phc).map_err(|_| HashError::Incomplete)?;
    let weaker = algorithm != Algorithm::Argon2id
        || version != Version::V0x13
        || params.m_cost() < cost.memory_kib
        || params.t_cost() < cost.iterations;

    let argon2 = Argon2::new(algorithm, version, params);
    let mut matches = |text: &str| -> Result<bool, HashError> {
        let mut output = vec![0; expected.len()];
        fill(&argon2, text, &salt, &mut output, memory)?;
        // `Output` compares in constant time.
        Ok(Output::new(&output).map_err(HashError::Stored)? == expected)
    };
    let (as_typed, normalized) = (matches(password)?, normalized(password));
    let as_normalized = if normalized == password { as_typed } else { matches(&normalized)? };
    if !as_typed && !as_normalized {
        return Ok(Verdict::Wrong);
    }
    if weaker || !as_normalized { hash(password, cost, memory).map(Verdict::Outdated) } else { Ok(Verdict::Correct) }
}

fn fill(argon2: &Argon2<'_>, password: &str, salt: &[u8], output: &mut [u8], memory: &mut Vec<Block>) -> Result<(), HashError> {
    let blocks = argon2.params().block_count();
    if memory.len() < blocks {
        memory.resize(blocks, Block::new());
    }
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, memory.as_mut_slice()).map_err(HashError::Argon2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, iterations: 1 };

    #[test]
    fn a_weak_password_is_refused_with_the_cause() {
        for (password, known) in [
            ("password1", vec![]),
            ("aaaaaaaaaaaa", vec![]),
            ("12345678", vec![]),
            ("qwertyuiop", vec![]),
            ("lovelace-ada", personal_words("ada@lovelace.example", "Ada Lovelace")),
            ("backlot1", personal_words("a@b", "a")),
        ] {
            let why = check_strength(password, &known).expect_err(password);
            assert!(why.to_string().ends_with('.'), "{why}");
        }
        assert!(check_strength("password1", &[]).expect_err("weak").to_string().contains("common password"));
    }

    #[test]
    fn strong_passwords_of_every_script_are_accepted() {
        let long = "correct horse ".repeat(18);
        for password in
            ["correct horse battery staple", "tr0ub4dor&3 unlikely", "пароль слона в саду", "🦀🦀 зелёный чайник", long.as_str()]
        {
            assert_eq!(check_strength(password, &personal_words("ada@lovelace.example", "Ada")), Ok(()), "{password}");
        }
    }

    #[test]
    fn a_hash_verifies_its_password_and_no_other() {
        let mut memory = Vec::new();
        let stored = hash("correct horse", CHEAP, &mut memory).expect("hash");
        assert!(stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{stored}");
        assert_eq!(verify("correct horse", &stored, CHEAP, &mut memory).expect("verdict"), Verdict::Correct);
        assert_eq!(verify("Correct horse", &stored, CHEAP, &mut memory).expect("verdict"), Verdict::Wrong);
        assert_ne!(hash("correct horse", CHEAP, &mut memory).expect("hash"), stored, "salted");
    }

    /// Each row is one password.
    const SPELLINGS: [[&str; 2]; 6] = [
        ["grüner elefant", "gru\u{308}ner elefant"],
        ["grüner\u{a0}elefant", "grüner elefant"],
        ["gr\u{fc}ner\u{3000}elefant", "gru\u{308}ner\u{2003}elefant"],
        ["한글 코끼리 정원", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af} 코끼리 정원"],
        ["việt nam đêm", "vie\u{323}\u{302}t nam đe\u{302}m"],
        ["\u{212b}ngstrom elefant", "A\u{30a}ngstrom elefant"],
    ];

    #[test]
    fn every_spelling_of_a_password_verifies() {
        let mut memory = Vec::new();
        for [one, other] in SPELLINGS {
            for (original, typed) in [(one, other), (other, one), (one, one), (other, other)] {
                let stored = hash(original, CHEAP, &mut memory).expect("hash");
                assert_eq!(verify(typed, &stored, CHEAP, &mut memory).expect("verdict"), Verdict::Correct, "{original:?} {typed:?}");
            }
            assert_eq!(length(one), length(other));
        }
    }

    #[test]
    fn different_texts_are_different_passwords() {
        let mut memory = Vec::new();
        for (original, typed) in [
            ("grüner elefant", "Grüner elefant"),
            ("grüner elefant", "gruner elefant"),
            ("grüner elefant", "grüner elefant "),
            ("gr\u{fb01}ner elefant", "grfiner elefant"),
            ("２elefanten", "2elefanten"),
            ("tab\telefant", "tab elefant"),
        ] {
            let stored = hash(original, CHEAP, &mut memory).expect("hash");
            assert_eq!(verify(typed, &stored, CHEAP, &mut memory).expect("verdict"), Verdict::Wrong, "{original:?} {typed:?}");
        }
    }

    /// The hash of the previous release, which did not normalise.
    fn hash_as_typed(password: &str, memory: &mut Vec<Block>) -> String {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, Some(HASH_BYTES)).expect("parameters"));
        let mut output = [0; HASH_BYTES];
        fill(&argon2, password, &[7; SALT_BYTES], &mut output, memory).expect("hash");
        let base64 = |bytes: &[u8]| base64::Engine::encode(&base64::prelude::BASE64_STANDARD_NO_PAD, bytes);
        format!("$argon2id$v=19$m=8,t=1,p=1${}${}", base64(&[7; SALT_BYTES]), base64(&output))
    }

    #[test]
    fn an_old_hash_opens_as_it_was_typed_and_is_replaced_by_the_normal_one() {
        let mut memory = Vec::new();
        let typed = "gru\u{308}ner elefant";
        let old = hash_as_typed(typed, &mut memory);
        assert_eq!(verify("gru\u{308}ner Elefant", &old, CHEAP, &mut memory).expect("verdict"), Verdict::Wrong);
        let Verdict::Outdated(new) = verify(typed, &old, CHEAP, &mut memory).expect("verdict") else { panic!("not replaced") };
        assert_eq!(verify("grüner elefant", &new, CHEAP, &mut memory).expect("verdict"), Verdict::Correct);
        assert_eq!(verify(typed, &new, CHEAP, &mut memory).expect("verdict"), Verdict::Correct);
        let composed = hash_as_typed("grüner elefant", &mut memory);
        assert_eq!(verify(typed, &composed, CHEAP, &mut memory).expect("verdict"), Verdict::Correct, "it was typed in its normalised form");
    }

    #[test]
    fn the_length_is_that_of_the_normalised_form_except_far_beyond_the_limit() {
        assert_eq!(length(&"u\u{308}".repeat(256)), 256);
        assert_eq!(length(&"u\u{308}".repeat(257)), 257);
        assert_eq!(length(&"u\u{308}".repeat(MAX_TYPED)), 2 * MAX_TYPED);
    }

    #[test]
    fn memory_of_another_hash_can_be_reused() {
        let mut used = Vec::new();
        let big = hash("something else", Cost { memory_kib: 64, iterations: 2 }, &mut used).expect("hash");
        let stored = hash("correct horse", CHEAP, &mut used).expect("hash");
        assert_eq!(verify("correct horse", &stored, CHEAP, &mut Vec::new()).expect("verdict"), Verdict::Correct);
        assert_eq!(verify("something else", &big, CHEAP, &mut used).expect("verdict"), Verdict::Correct);
    }

    #[test]
    fn a_weaker_hash_is_replaced_when_its_password_is_verified() {
        let mut memory = Vec::new();
        let old = hash("correct horse", CHEAP, &mut memory).expect("hash");
        let now = Cost { memory_kib: 16, iterations: 2 };
        assert_eq!(verify("wrong", &old, now, &mut memory).expect("verdict"), Verdict::Wrong);
        let Verdict::Outdated(new) = verify("correct horse", &old, now, &mut memory).expect("verdict") else { panic!("not replaced") };
        assert!(new.starts_with("$argon2id$v=19$m=16,t=2,p=1$"), "{new}");
        assert_eq!(verify("correct horse", &new, now, &mut memory).expect("verdict"), Verdict::Correct);
        assert_eq!(verify("correct horse", &new, CHEAP, &mut memory).expect("verdict"), Verdict::Correct, "a stronger hash stays");
    }

    #[test]
    fn a_damaged_hash_is_an_error_and_not_a_wrong_password() {
        for stored in ["", "$argon2id$v=19$m=8,t=1,p=1", "$bcrypt$abc", "plain"] {
            assert!(verify("x", stored, CHEAP, &mut Vec::new()).is_err(), "{stored}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_text_is_a_password(password in "\\PC{8,40}") {
            let mut memory = Vec::new();
            let stored = hash(&password, CHEAP, &mut memory).expect("hash");
            proptest::prop_assert_eq!(verify(&password, &stored, CHEAP, &mut memory).expect("verdict"), Verdict::Correct);
        }
    }
}
