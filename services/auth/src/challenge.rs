//! Proof of work at a sign-in (hashcash with SHA-256). A challenge is a text that needs no storage: its end, a random part, and a code by
//! which auth knows it again, for one network. A solution is the challenge, a dot and a number, so that the SHA-256 of the whole text
//! begins with [`BITS`] zero bits.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::identity::sha256;
use ring::hmac;

use crate::session::NoRandomness;

/// Zero bits at the beginning of the hash. A browser needs about a second for a million hashes.
pub(crate) const BITS: u32 = 20;
/// Seconds in which a challenge can be solved.
const VALID_SECONDS: i64 = 300;
/// Bytes of the random part.
const NONCE_BYTES: usize = 16;
/// Characters of the longest solution that is read.
pub(crate) const MAX_SOLUTION: usize = 256;

pub(crate) struct Challenges {
    /// One for each cluster secret that is accepted, the one that signs first.
    keys: Vec<hmac::Key>,
}

impl Challenges {
    pub(crate) fn new(keys: &[[u8; 32]]) -> Self {
        Self { keys: keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect() }
    }

    /// A challenge for clients of this network. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// The system provided no random bytes.
    pub(crate) fn issue(&self, network: &str, now: i64) -> Result<String, NoRandomness> {
        let mut nonce = [0; NONCE_BYTES];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut nonce).map_err(|_| NoRandomness)?;
        let body = format!("{}.{}", now + VALID_SECONDS, URL_SAFE_NO_PAD.encode(nonce));
        let key = self.keys.first().ok_or(NoRandomness)?;
        let code = hmac::sign(key, &signed(&body, network));
        Ok(format!("{body}.{}", URL_SAFE_NO_PAD.encode(code)))
    }

    /// The random part of the challenge, by which its second use is noticed. `None` if the text solves no challenge of this network.
    pub(crate) fn solved<'a>(&self, solution: &'a str, network: &str, now: i64) -> Option<&'a str> {
        let (challenge, number) = solution.rsplit_once('.')?;
        let (body, code) = challenge.rsplit_once('.')?;
        let (end, nonce) = body.split_once('.')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let code = URL_SAFE_NO_PAD.decode(code).ok()?;
        self.keys.iter().find(|key| hmac::verify(key, &signed(body, network), &code).is_ok())?;
        let is_open = end.parse::<i64>().is_ok_and(|end| now < end);
        (is_number && is_open && zero_bits(&sha256(solution.as_bytes())) >= BITS).then_some(nonce)
    }
}

/// What the code of a challenge covers. A space is in neither part.
fn signed(body: &str, network: &str) -> Vec<u8> {
    format!("{body} {network}").into_bytes()
}

fn zero_bits(hash: &[u8]) -> u32 {
    let mut bits = 0;
    for byte in hash {
        bits += byte.leading_zeros();
        if *byte != 0 {
            break;
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    /// The first solution of a challenge, as a client finds it.
    fn solve(challenge: &str) -> String {
        let mut solutions = (0_u64..).map(|number| format!("{challenge}.{number}"));
        solutions.find(|solution| zero_bits(&sha256(solution.as_bytes())) >= BITS).expect("a solution")
    }

    fn challenges() -> Challenges {
        Challenges::new(&[[7; 32]])
    }

    #[test]
    fn a_solution_counts_for_its_network_and_its_time() {
        let challenge = challenges().issue("192.0.2.1", NOW).expect("issued");
        let solution = solve(&challenge);
        let nonce = challenge.split('.').nth(1).expect("a nonce");
        assert!(solution.len() <= MAX_SOLUTION);
        for (network, now, accepted) in [
            ("192.0.2.1", NOW, true),
            ("192.0.2.1", NOW + VALID_SECONDS - 1, true),
            ("192.0.2.1", NOW + VALID_SECONDS, false),
            ("192.0.2.2", NOW, false),
            ("", NOW, false),
        ] {
            let found = challenges().solved(&solution, network, now);
            assert_eq!(found, accepted.then_some(nonce), "{network} at {now}");
        }
        assert_eq!(Challenges::new(&[[8; 32]]).solved(&solution, "192.0.2.1", NOW), None, "another key");
        let both = Challenges::new(&[[8; 32], [7; 32]]);
        assert_eq!(both.solved(&solution, "192.0.2.1", NOW), Some(nonce), "the second secret");
    }

    #[test]
    fn what_is_not_a_solution_is_refused() {
        let challenge = challenges().issue("192.0.2.1", NOW).expect("issued");
        let solution = solve(&challenge);
        let (end, rest) = solution.split_once('.').expect("parts");
        let mut guesses = (0_u64..).map(|number| format!("{challenge}.{number}"));
        let unsolved = guesses.find(|text| zero_bits(&sha256(text.as_bytes())) < BITS);
        let later = format!("{}.{rest}", end.parse::<i64>().expect("a time") + 1);
        for text in
            ["", ".", "...", "a.b.c.1", &challenge, &unsolved.expect("one"), &later, &format!("{solution}0"), &format!("{solution} ")]
        {
            assert_eq!(challenges().solved(text, "192.0.2.1", NOW), None, "{text}");
        }
    }

    #[test]
    fn every_challenge_is_another_one() {
        let issued: std::collections::BTreeSet<_> = (0..100).map(|_| challenges().issue("::/64", NOW).expect("issued")).collect();
        assert_eq!(issued.len(), 100);
    }

    #[test]
    fn zero_bits_are_counted_from_the_beginning() {
        for (hash, bits) in [(&[0xff_u8, 0][..], 0), (&[0x7f, 0], 1), (&[0, 0x80], 8), (&[0, 0, 0x0f], 20), (&[0, 0], 16)] {
            assert_eq!(zero_bits(hash), bits, "{hash:?}");
        }
    }
}
