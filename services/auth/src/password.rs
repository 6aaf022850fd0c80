//! The strength of passwords, and their hashes (Argon2id). Hashing and verifying use the memory of a [`MeteredHasher`], which is zeroed after each
//! hash. They block their thread; [`crate::hash_pool`] runs them.

use std::{borrow::Cow, fmt, ops::RangeInclusive};

use argon2_rust::{
    Algorithm, Argon2, Decoded, Error as Argon2Error, Params, Version, decode_phc, encode_string_alloc,
    params::{Memory, TagLen},
};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};
use zxcvbn::{Score, feedback::Feedback, zxcvbn};

use crate::metered_hasher::MeteredHasher;

/// In characters of the normalised password. The least number is a setting.
pub(crate) const MAX_CHARACTERS: usize = 256;
/// A longer text is not normalised. It exceeds the limit anyway, because normalisation joins at most four characters to one.
const MAX_TYPED: usize = 4 * MAX_CHARACTERS;

const MIN_SCORE: Score = Score::Three;
const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// The most that a stored hash may cost, unless new ones cost more. So who writes to the database cannot make a sign-in use up the machine.
const MAX_STORED: Cost = Cost { memory_kib: 1 << 20, iterations: 16 };
const MAX_STORED_LANES: u32 = 4;
const STORED_BYTES: RangeInclusive<usize> = 16..=64;

/// The cost of a hash. The defaults are the minimum that OWASP recommends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) memory_kib: u32,
    pub(crate) iterations: u32,
}

/// Invalid parameters or a damaged hash in the database. A password itself never causes this error.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error("the parameters of the password hash are out of bounds, or there is no memory for it")]
    Argon2(#[source] Argon2Error),
    #[error("a stored password hash cannot be read")]
    Stored(#[source] Argon2Error),
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

/// Why a password is too easy to guess, as a text for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakness(String);

impl Weakness {
    /// That it is on the list of passwords of known breaches.
    pub(crate) fn breached() -> Self {
        Self("It is on a list of passwords from data breaches. Choose another one.".to_owned())
    }
}

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

/// A hasher without memory yet. Its first hash allocates the memory.
///
/// # Errors
/// The parameters are out of bounds.
pub(crate) fn hasher(cost: Cost) -> Result<MeteredHasher, HashError> {
    Ok(MeteredHasher::new(&argon2(cost)?))
}

fn argon2(cost: Cost) -> Result<Argon2, HashError> {
    let params = Params::builder()
        .memory(Memory::kib(cost.memory_kib.into()))
        .passes(cost.iterations)
        .lanes(1)
        .tag_len(TagLen::bytes(HASH_BYTES as u64))
        .build()
        .map_err(HashError::Argon2)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Hashes a new password, normalised, with a fresh salt, as a PHC string.
///
/// # Errors
/// The parameters are out of bounds, there is no memory, or the system provided no random bytes.
pub(crate) fn hash(password: &str, cost: Cost, hasher: &mut MeteredHasher) -> Result<String, HashError> {
    let mut salt = [0; SALT_BYTES];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut salt).map_err(|_| HashError::Random)?;
    let argon2 = argon2(cost)?;
    hasher.set_argon2(argon2);
    let mut output = [0; HASH_BYTES];
    hasher.hash_into(normalized(password).as_bytes(), &salt, &mut output).map_err(HashError::Argon2)?;
    encode_string_alloc(argon2.algorithm(), argon2.version(), argon2.params(), &salt, &output).map_err(HashError::Argon2)
}

/// Compares in constant time, with the parameters of the stored hash. Makes a new hash if those parameters are weaker than `cost`, or if
/// the stored hash is that of a password that was not normalised.
///
/// A password that is typed in another form than the normalised one is always hashed twice, and a hash of less work than a new one is
/// followed by a hash of the rest. So the duration of a wrong password depends only on the text that was typed and tells nothing about the
/// account, unless its hash takes more work than a new one.
///
/// # Errors
/// The stored hash is damaged.
pub(crate) fn verify(password: &str, stored: &str, cost: Cost, hasher: &mut MeteredHasher) -> Result<Verdict, HashError> {
    match compare(password, stored, cost, hasher)? {
        None => Ok(Verdict::Wrong),
        Some(true) => Ok(Verdict::Correct),
        Some(false) => hash(password, cost, hasher).map(Verdict::Outdated),
    }
}

/// Compares as [`verify`] does, and makes no new hash: the work is that for a wrong password.
///
/// # Errors
/// The stored hash is damaged.
pub(crate) fn matches(password: &str, stored: &str, cost: Cost, hasher: &mut MeteredHasher) -> Result<bool, HashError> {
    Ok(compare(password, stored, cost, hasher)?.is_some())
}

/// # Errors
/// The stored hash cannot be read, or it costs too much, or its length is out of bounds.
fn decode(stored: &str, cost: Cost) -> Result<Decoded, HashError> {
    let decoded = decode_phc(stored).map_err(HashError::Stored)?;
    let (params, bytes) = (decoded.params, decoded.hash.len());
    let faults = [
        (params.memory_kib() > MAX_STORED.memory_kib.max(cost.memory_kib), Argon2Error::MemoryTooMuch),
        (params.passes() > MAX_STORED.iterations.max(cost.iterations), Argon2Error::TimeTooLarge),
        (params.lanes() > MAX_STORED_LANES, Argon2Error::LanesTooMany),
        (bytes < *STORED_BYTES.start(), Argon2Error::OutputTooShort),
        (bytes > *STORED_BYTES.end(), Argon2Error::OutputTooLong),
    ];
    match faults.into_iter().find(|(is_present, _)| *is_present) {
        Some((_, fault)) => Err(HashError::Stored(fault)),
        None => Ok(decoded),
    }
}

/// `None` for a wrong password, else whether the stored hash can stay.
fn compare(password: &str, stored: &str, cost: Cost, hasher: &mut MeteredHasher) -> Result<Option<bool>, HashError> {
    let Decoded { algorithm, version, params, salt, hash: expected, .. } = decode(stored, cost)?;
    let weaker = algorithm != Algorithm::Argon2id
        || version != Version::V0x13
        || params.memory_kib() < cost.memory_kib
        || params.passes() < cost.iterations;

    hasher.set_argon2(Argon2::new(algorithm, version, params));
    let found = spellings(password, &salt, &expected, hasher);
    if params.memory_kib() > cost.memory_kib {
        // New hashes need less.
        hasher.clear();
    }
    let (as_typed, as_normalized) = found?;
    if let Some(rest) = rest(&params, cost) {
        hasher.set_argon2(rest);
        spellings(password, &salt, &expected, hasher)?;
    }
    Ok((as_typed || as_normalized).then_some(!weaker && as_normalized))
}

/// A hash whose work a stored hash lacks to a new one, to within a block for each pass. `None` if nothing is missing, or too little for a hash.
fn rest(stored: &Params, cost: Cost) -> Option<Argon2> {
    // Each pass fills each block of one KiB.
    let work = |memory_kib: u32, passes: u32| u64::from(memory_kib) * u64::from(passes);
    let lacking = work(cost.memory_kib, cost.iterations).checked_sub(work(stored.memory_kib(), stored.passes()))?;
    let memory_kib = u32::try_from(lacking / u64::from(cost.iterations)).ok()?;
    argon2(Cost { memory_kib, ..cost }).ok()
}

/// Whether the hash is that of the password as it was typed, and whether it is that of the normalised one.
fn spellings(password: &str, salt: &[u8], expected: &[u8], hasher: &mut MeteredHasher) -> Result<(bool, bool), HashError> {
    let mut matches = |text: &str| match hasher.verify(text.as_bytes(), salt, expected) {
        Ok(()) => Ok(true),
        Err(Argon2Error::VerifyMismatch) => Ok(false),
        Err(error) => Err(HashError::Argon2(error)),
    };
    let (as_typed, normalized) = (matches(password)?, normalized(password));
    let as_normalized = if normalized == password { as_typed } else { matches(&normalized)? };
    Ok((as_typed, as_normalized))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, iterations: 1 };

    fn cheap() -> MeteredHasher {
        hasher(CHEAP).expect("parameters")
    }

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
        let mut hasher = cheap();
        let stored = hash("correct horse", CHEAP, &mut hasher).expect("hash");
        assert!(stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{stored}");
        assert_eq!(verify("correct horse", &stored, CHEAP, &mut hasher).expect("verdict"), Verdict::Correct);
        assert_eq!(verify("Correct horse", &stored, CHEAP, &mut hasher).expect("verdict"), Verdict::Wrong);
        assert_ne!(hash("correct horse", CHEAP, &mut hasher).expect("hash"), stored, "salted");
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
        let mut hasher = cheap();
        for [one, other] in SPELLINGS {
            for (original, typed) in [(one, other), (other, one), (one, one), (other, other)] {
                let stored = hash(original, CHEAP, &mut hasher).expect("hash");
                assert_eq!(verify(typed, &stored, CHEAP, &mut hasher).expect("verdict"), Verdict::Correct, "{original:?} {typed:?}");
            }
            assert_eq!(length(one), length(other));
        }
    }

    #[test]
    fn different_texts_are_different_passwords() {
        let mut hasher = cheap();
        for (original, typed) in [
            ("grüner elefant", "Grüner elefant"),
            ("grüner elefant", "gruner elefant"),
            ("grüner elefant", "grüner elefant "),
            ("gr\u{fb01}ner elefant", "grfiner elefant"),
            ("２elefanten", "2elefanten"),
            ("tab\telefant", "tab elefant"),
        ] {
            let stored = hash(original, CHEAP, &mut hasher).expect("hash");
            assert_eq!(verify(typed, &stored, CHEAP, &mut hasher).expect("verdict"), Verdict::Wrong, "{original:?} {typed:?}");
        }
    }

    /// The hash of an earlier release, which did not normalise and used another library.
    fn hash_as_typed(password: &str) -> String {
        let params = argon2::Params::new(8, 1, 1, Some(HASH_BYTES)).expect("parameters");
        let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let mut output = [0; HASH_BYTES];
        argon2.hash_password_into(password.as_bytes(), &[7; SALT_BYTES], &mut output).expect("hash");
        let base64 = |bytes: &[u8]| base64::Engine::encode(&base64::prelude::BASE64_STANDARD_NO_PAD, bytes);
        format!("$argon2id$v=19$m=8,t=1,p=1${}${}", base64(&[7; SALT_BYTES]), base64(&output))
    }

    #[test]
    fn an_old_hash_opens_as_it_was_typed_and_is_replaced_by_the_normal_one() {
        let mut hasher = cheap();
        let typed = "gru\u{308}ner elefant";
        let old = hash_as_typed(typed);
        assert_eq!(verify("gru\u{308}ner Elefant", &old, CHEAP, &mut hasher).expect("verdict"), Verdict::Wrong);
        let Verdict::Outdated(new) = verify(typed, &old, CHEAP, &mut hasher).expect("verdict") else { panic!("not replaced") };
        assert_eq!(verify("grüner elefant", &new, CHEAP, &mut hasher).expect("verdict"), Verdict::Correct);
        assert_eq!(verify(typed, &new, CHEAP, &mut hasher).expect("verdict"), Verdict::Correct);
        let composed = hash_as_typed("grüner elefant");
        assert_eq!(verify(typed, &composed, CHEAP, &mut hasher).expect("verdict"), Verdict::Correct, "it was typed in its normalised form");
    }

    #[test]
    fn the_length_is_that_of_the_normalised_form_except_far_beyond_the_limit() {
        assert_eq!(length(&"u\u{308}".repeat(256)), 256);
        assert_eq!(length(&"u\u{308}".repeat(257)), 257);
        assert_eq!(length(&"u\u{308}".repeat(MAX_TYPED)), 2 * MAX_TYPED);
    }

    #[test]
    fn memory_of_another_hash_is_reused_unless_new_ones_need_less() {
        let (mut used, larger) = (cheap(), Cost { memory_kib: 64, iterations: 2 });
        let big = hash("something else", larger, &mut used).expect("hash");
        let stored = hash("correct horse", CHEAP, &mut used).expect("hash");
        assert_eq!(verify("correct horse", &stored, CHEAP, &mut cheap()).expect("verdict"), Verdict::Correct);
        assert_eq!(verify("something else", &big, larger, &mut used).expect("verdict"), Verdict::Correct);
        assert_eq!(used.reserved_blocks(), 64, "as many KiB as the larger one needs");
        for (password, verdict) in [("something else", Verdict::Correct), ("a wrong one", Verdict::Wrong)] {
            assert_eq!(verify(password, &big, CHEAP, &mut used).expect("verdict"), verdict);
            assert_eq!(used.reserved_blocks(), 0, "new hashes need less");
        }
    }

    #[test]
    fn a_weaker_hash_is_replaced_when_its_password_is_verified() {
        let mut hasher = cheap();
        let old = hash("correct horse", CHEAP, &mut hasher).expect("hash");
        let now = Cost { memory_kib: 16, iterations: 2 };
        assert_eq!(verify("wrong", &old, now, &mut hasher).expect("verdict"), Verdict::Wrong);
        let Verdict::Outdated(new) = verify("correct horse", &old, now, &mut hasher).expect("verdict") else { panic!("not replaced") };
        assert!(new.starts_with("$argon2id$v=19$m=16,t=2,p=1$"), "{new}");
        assert_eq!(verify("correct horse", &new, now, &mut hasher).expect("verdict"), Verdict::Correct);
        assert_eq!(verify("correct horse", &new, CHEAP, &mut hasher).expect("verdict"), Verdict::Correct, "a stronger hash stays");
    }

    #[test]
    fn a_weaker_hash_takes_the_work_of_a_new_one() {
        let new = Cost { memory_kib: 100, iterations: 3 };
        for (memory_kib, iterations, expected) in [(8, 1, Some(97)), (100, 1, Some(66)), (50, 3, Some(50)), (200, 1, Some(33))] {
            let stored = argon2(Cost { memory_kib, iterations }).expect("parameters");
            assert_eq!(rest(stored.params(), new).map(|rest| rest.params().memory_kib()), expected, "{memory_kib} {iterations}");
        }
        for cost in [new, Cost { memory_kib: 99, ..new }, Cost { memory_kib: 300, iterations: 1 }, Cost { iterations: 16, ..new }] {
            assert!(rest(argon2(cost).expect("parameters").params(), new).is_none(), "{cost:?}");
        }
        let old = hash("correct horse", CHEAP, &mut cheap()).expect("hash");
        for password in ["correct horse", "a wrong one"] {
            let mut hasher = cheap();
            assert_eq!(matches(password, &old, new, &mut hasher).expect("compared"), password == "correct horse");
            assert_eq!(hasher.take_work(), 8 + 97 * 3, "a new one has 300");
            assert_eq!(hasher.reserved_blocks(), 96, "97 KiB, in four slices");
        }
    }

    #[test]
    fn a_damaged_hash_is_an_error_and_not_a_wrong_password() {
        for stored in ["", "$argon2id$v=19$m=8,t=1,p=1", "$bcrypt$abc", "plain"] {
            assert!(verify("x", stored, CHEAP, &mut cheap()).is_err(), "{stored}");
        }
    }

    #[test]
    fn a_stored_hash_that_costs_too_much_is_damaged() {
        let stored = |(memory_kib, passes, lanes, tag): (u32, u32, u32, usize)| {
            let base64 = |bytes: usize| "A".repeat((bytes * 8).div_ceil(6));
            format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${}${}", base64(SALT_BYTES), base64(tag))
        };
        for costs in [(1_048_577, 1, 1, 32), (8, 17, 1, 32), (40, 1, 5, 32), (8, 1, 1, 15), (8, 1, 1, 65)] {
            let refused = verify("x", &stored(costs), CHEAP, &mut cheap());
            assert!(matches!(refused, Err(HashError::Stored(_))), "{costs:?}: {refused:?}");
        }
        for costs in [(1_048_576, 16, 4, 16), (8, 1, 1, 64)] {
            assert!(decode(&stored(costs), CHEAP).is_ok(), "{costs:?}");
        }
        let more = Cost { memory_kib: 2_097_152, iterations: 20 };
        assert!(decode(&stored((2_097_152, 20, 1, 32)), more).is_ok(), "new ones cost as much");
    }

    proptest::proptest! {
        #[test]
        fn every_text_is_a_password(password in "\\PC{8,40}") {
            let mut hasher = cheap();
            let stored = hash(&password, CHEAP, &mut hasher).expect("hash");
            proptest::prop_assert_eq!(verify(&password, &stored, CHEAP, &mut hasher).expect("verdict"), Verdict::Correct);
        }

        /// An independent implementation of Argon2 has the same results, also with costs of other releases.
        #[test]
        fn another_library_has_the_same_hash(
            (password, salt) in (".{0,80}", proptest::collection::vec(proptest::num::u8::ANY, 8..48)),
            (blocks, passes, lanes, bytes) in (8_u32..80, 1_u32..4, 1_u32..4, 4_usize..80),
            (algorithm, version) in (0_u32..3, proptest::bool::ANY),
        ) {
            let names = ["argon2d", "argon2i", "argon2id"];
            let other = (argon2::Algorithm::try_from(names[algorithm as usize]).expect("an algorithm"),
                if version { argon2::Version::V0x13 } else { argon2::Version::V0x10 });
            let params = argon2::Params::new(blocks * lanes, passes, lanes, Some(bytes)).expect("parameters");
            let mut expected = vec![0; bytes];
            argon2::Argon2::new(other.0, other.1, params).hash_password_into(password.as_bytes(), &salt, &mut expected).expect("hash");

            let ours = (Algorithm::from_u32(algorithm).expect("an algorithm"), if version { Version::V0x13 } else { Version::V0x10 });
            let params = Params::builder().memory(Memory::kib((blocks * lanes).into())).passes(passes).lanes(lanes);
            let params = params.tag_len(TagLen::bytes(bytes as u64)).build().expect("parameters");
            let mut hasher = Argon2::new(ours.0, ours.1, params).hasher();
            for _ in 0..2 {
                let mut output = vec![0; bytes];
                hasher.hash_into(password.as_bytes(), &salt, &mut output).expect("hash");
                proptest::prop_assert_eq!(&output, &expected);
            }
        }
    }
}
