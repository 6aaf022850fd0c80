//! Envelope encryption of the secrets of others that a service stores: provider keys, signing keys, seeds of second factors. Each value
//! has a data key of its own. A key-encryption key, which is derived from the cluster secret, wraps the data key. So a new cluster secret
//! needs only the data keys to be wrapped again. A value is bound to its row and its owner, so that rows cannot be swapped.
//!
//! A sealed value is, in this order: the version (1 byte), the id of the key-encryption key (8), the nonce (12) and the wrapped data key
//! with its tag (48), then the nonce (12) and the ciphertext with its tag (16 more than the plaintext). Both are AES-256-GCM.

use std::{fmt, sync::Arc};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

use super::ClusterSecret;

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const KEY_ID_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// The version and the key id.
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES;
const WRAPPED_BYTES: usize = NONCE_LEN + KEY_BYTES + TAG_BYTES;
/// Bytes of a sealed value besides its plaintext.
const OVERHEAD: usize = HEAD_BYTES + WRAPPED_BYTES + NONCE_LEN + TAG_BYTES;

/// What a value belongs to. It must be the same when the value is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound<'a> {
    pub table: &'a str,
    pub column: &'a str,
    /// The id of the row.
    pub row: &'a str,
    /// The id of the person or project whose secret it is; empty for a secret of the cluster.
    pub owner: &'a str,
}

/// Why a value could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("this role has no key for {0}; print its BACKLOT_ROLE_KEYS again with this release")]
    NoKey(&'static str),
    #[error("the system provided no random bytes")]
    Random,
}

/// Why a sealed value could not be opened. The texts show nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the value is not a sealed value of this version")]
    Form,
    #[error("the value was sealed with a cluster secret that this process does not have")]
    UnknownKey,
    #[error("the value was changed, or belongs to another row or owner")]
    Refused,
    #[error("the system provided no random bytes")]
    Random,
}

/// An opened secret. It is overwritten when it is dropped, and no log, error or `Debug` output shows it.
#[derive(Clone)]
pub struct Opened(Zeroizing<Vec<u8>>);

impl Opened {
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Seals and opens the values of one purpose. Cheap to clone.
#[derive(Clone)]
pub struct Sealer(Arc<Shared>);

struct Shared {
    purpose: &'static str,
    /// One for each secret that is accepted, the one that seals first.
    keys: Vec<Kek>,
}

/// A key-encryption key.
struct Kek {
    id: [u8; KEY_ID_BYTES],
    key: LessSafeKey,
}

impl Sealer {
    /// A sealer with the keys for `purpose`, such as [`super::AUTH_KEYS`].
    ///
    /// # Errors
    /// [`SealError::NoKey`]: the bundle of the role has no key for the purpose.
    pub fn new(secret: &ClusterSecret, purpose: &'static str) -> Result<Self, SealError> {
        let keys: Vec<Kek> = secret.accepted(purpose).iter().filter_map(Kek::derive).collect();
        if keys.is_empty() { Err(SealError::NoKey(purpose)) } else { Ok(Self(Arc::new(Shared { purpose, keys }))) }
    }

    /// Seals a secret for its place.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn seal(&self, bound: &Bound<'_>, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let kek = self.0.keys.first().ok_or(SealError::NoKey(self.0.purpose))?;
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        random(data_key.as_mut()).ok_or(SealError::Random)?;
        let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
        sealed.extend(self.wrap(kek, bound, data_key.as_slice()).ok_or(SealError::Random)?);
        let key = aes(data_key.as_slice()).ok_or(SealError::Random)?;
        encrypt(&key, &self.binding(bound, &[]), plaintext, &mut sealed).ok_or(SealError::Random)?;
        Ok(sealed)
    }

    /// Opens the secret that was sealed for this place.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, bound: &Bound<'_>, sealed: &[u8]) -> Result<Opened, OpenError> {
        let parts = Parts::of(sealed).ok_or(OpenError::Form)?;
        let data_key = self.unwrap(bound, &parts)?;
        decrypt(&data_key, &self.binding(bound, &[]), parts.body).map(Opened).ok_or(OpenError::Refused)
    }

    /// Whether a value is sealed with the secret that signs. It says nothing of whether the value can be opened.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        let current = self.0.keys.first().map(|kek| kek.id);
        Parts::of(sealed).is_some_and(|parts| current.is_some_and(|id| parts.key_id == id))
    }

    /// The first bytes of every value that is sealed now, by which a query finds the others.
    #[must_use]
    pub fn current_head(&self) -> Vec<u8> {
        let id = self.0.keys.first().map(|kek| kek.id).unwrap_or_default();
        [&[VERSION][..], &id].concat()
    }

    /// The value with its data key wrapped by the secret that signs; `None` if it is already. The whole value is verified before.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn rewrap(&self, bound: &Bound<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
        if self.is_current(sealed) {
            return Ok(None);
        }
        let parts = Parts::of(sealed).ok_or(OpenError::Form)?;
        self.open(bound, sealed)?;
        let kek = self.0.keys.first().ok_or(OpenError::UnknownKey)?;
        let bytes = self.data_key(bound, &parts)?;
        let mut wrapped = self.wrap(kek, bound, &bytes).ok_or(OpenError::Random)?;
        wrapped.extend(parts.body);
        Ok(Some(wrapped))
    }

    /// The head of a sealed value and its wrapped data key.
    fn wrap(&self, kek: &Kek, bound: &Bound<'_>, data_key: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = [&[VERSION][..], &kek.id].concat();
        let binding = self.binding(bound, &sealed);
        encrypt(&kek.key, &binding, data_key, &mut sealed)?;
        Some(sealed)
    }

    fn data_key(&self, bound: &Bound<'_>, parts: &Parts<'_>) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let kek = self.0.keys.iter().find(|kek| parts.key_id == kek.id).ok_or(OpenError::UnknownKey)?;
        decrypt(&kek.key, &self.binding(bound, parts.head), parts.wrapped).ok_or(OpenError::Refused)
    }

    fn unwrap(&self, bound: &Bound<'_>, parts: &Parts<'_>) -> Result<LessSafeKey, OpenError> {
        aes(&self.data_key(bound, parts)?).ok_or(OpenError::Refused)
    }

    /// The associated data. Each part has its length before it, so that different places never give the same bytes.
    fn binding(&self, bound: &Bound<'_>, head: &[u8]) -> Vec<u8> {
        let parts = [self.0.purpose, bound.table, bound.column, bound.row, bound.owner].map(str::as_bytes);
        let mut data = Vec::with_capacity(128);
        for part in parts.into_iter().chain([head]) {
            data.extend((part.len() as u64).to_be_bytes());
            data.extend(part);
        }
        data
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("purpose", &self.0.purpose).finish_non_exhaustive()
    }
}

impl Kek {
    /// The key and its id. Both are derived from the key of the purpose, which may have other uses. The id says nothing of the key.
    fn derive(purpose_key: &[u8; KEY_BYTES]) -> Option<Self> {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"backlot sealed value v1").extract(purpose_key);
        let expand = |info: &[u8]| {
            let mut bytes = Zeroizing::new([0; KEY_BYTES]);
            root.expand(&[info], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(bytes.as_mut())).ok().map(|()| bytes)
        };
        let (key, name) = (expand(b"key")?, expand(b"key id")?);
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&name[..KEY_ID_BYTES]);
        Some(Self { id, key: aes(key.as_slice())? })
    }
}

/// The parts of a sealed value.
struct Parts<'a> {
    /// The version and the key id.
    head: &'a [u8],
    key_id: &'a [u8],
    wrapped: &'a [u8],
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(sealed: &'a [u8]) -> Option<Self> {
        let (head, rest) = sealed.split_at_checked(HEAD_BYTES)?;
        let (wrapped, body) = rest.split_at_checked(WRAPPED_BYTES)?;
        let (version, key_id) = head.split_first()?;
        (*version == VERSION && body.len() >= NONCE_LEN + TAG_BYTES).then_some(Self { head, key_id, wrapped, body })
    }
}

fn random(bytes: &mut [u8]) -> Option<()> {
    SystemRandom::new().fill(bytes).ok()
}

fn aes(key: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

/// Appends a nonce, the ciphertext and its tag.
fn encrypt(key: &LessSafeKey, binding: &[u8], plaintext: &[u8], to: &mut Vec<u8>) -> Option<()> {
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce)?;
    let start = to.len() + NONCE_LEN;
    to.extend(nonce);
    to.extend(plaintext);
    let tag = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(binding), &mut to[start..]).ok()?;
    to.extend(tag.as_ref());
    Some(())
}

/// The plaintext of a nonce, a ciphertext and its tag.
fn decrypt(key: &LessSafeKey, binding: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = Zeroizing::new(body.to_vec());
    let length = key.open_in_place(nonce, Aad::from(binding), &mut body).ok()?.len();
    body.truncate(length);
    Some(body)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::secret::AUTH_KEYS;

    const CANARY: &[u8] = b"sk-canary-6f1d2c90a7b34e58";
    const HOME: Bound<'static> = Bound { table: "provider_keys", column: "sealed", row: "row-1", owner: "user-1" };

    fn secret(byte: u8) -> ClusterSecret {
        ClusterSecret::of_bytes(&[byte; 32])
    }

    fn sealer(secret: &ClusterSecret) -> Sealer {
        Sealer::new(secret, AUTH_KEYS).expect("a key")
    }

    fn contains(text: &[u8], part: &[u8]) -> bool {
        text.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn a13_every_flipped_bit_and_every_cut_is_refused() {
        let sealer = sealer(&secret(1));
        let sealed = sealer.seal(&HOME, CANARY).expect("sealed");
        assert_eq!(sealed.len(), CANARY.len() + OVERHEAD);
        assert_eq!(sealer.open(&HOME, &sealed).expect("opened").expose(), CANARY);
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.open(&HOME, &changed).is_err(), "bit {bit}");
        }
        for end in 0..sealed.len() {
            assert!(sealer.open(&HOME, &sealed[..end]).is_err(), "cut to {end} bytes");
        }
        assert!(sealer.open(&HOME, &[&sealed[..], &[0]].concat()).is_err(), "one more byte");
    }

    #[test]
    fn a13_a_value_opens_only_in_its_place() {
        let sealer = sealer(&secret(1));
        let sealed = sealer.seal(&HOME, CANARY).expect("sealed");
        for other in [
            Bound { table: "signing_keys", ..HOME },
            Bound { column: "other", ..HOME },
            Bound { row: "row-2", ..HOME },
            Bound { owner: "user-2", ..HOME },
            Bound { owner: "", ..HOME },
            // The same letters in other parts.
            Bound { table: "provider_keyss", column: "ealed", ..HOME },
            Bound { row: "row-1user-1", owner: "", ..HOME },
        ] {
            assert_eq!(sealer.open(&other, &sealed).expect_err("another place"), OpenError::Refused, "{other:?}");
        }
        let of_agent = Sealer::new(&secret(1), crate::secret::AGENT_SEALED).expect("a key");
        assert_eq!(of_agent.open(&HOME, &sealed).expect_err("another purpose"), OpenError::UnknownKey);
        // The parts of two values cannot be combined either.
        let second = sealer.seal(&HOME, b"another secret").expect("sealed");
        let mixed = [&sealed[..HEAD_BYTES + WRAPPED_BYTES], &second[HEAD_BYTES + WRAPPED_BYTES..]].concat();
        assert_eq!(sealer.open(&HOME, &mixed).expect_err("mixed"), OpenError::Refused);
    }

    #[test]
    fn a13_nothing_shows_the_secret() {
        let sealer = sealer(&secret(1));
        let sealed: Vec<Vec<u8>> = (0..1_000).map(|_| sealer.seal(&HOME, CANARY).expect("sealed")).collect();
        assert!(sealed.iter().all(|value| !contains(value, &CANARY[..8])));
        let nonces: HashSet<&[u8]> = sealed.iter().map(|value| &value[HEAD_BYTES..HEAD_BYTES + NONCE_LEN]).collect();
        assert_eq!(nonces.len(), sealed.len());
        let opened = sealer.open(&HOME, &sealed[0]).expect("opened");
        let key = format!("{:?}", secret(1).derive(AUTH_KEYS));
        let shown = format!("{opened:?} {sealer:?} {:?}", sealer.open(&HOME, CANARY));
        assert!(!shown.contains("canary") && !shown.contains(&key), "{shown}");
    }

    #[test]
    fn a_new_secret_wraps_the_data_key_again() {
        let (old, new) = (secret(1), secret(2));
        let (first, both, last) = (sealer(&old), sealer(&new.clone().and_previous(&old)), sealer(&new));
        let sealed = first.seal(&HOME, CANARY).expect("sealed");
        assert!(first.is_current(&sealed) && first.rewrap(&HOME, &sealed) == Ok(None));
        assert_eq!(last.open(&HOME, &sealed).expect_err("removed"), OpenError::UnknownKey);
        assert!(!both.is_current(&sealed));
        let wrapped = both.rewrap(&HOME, &sealed).expect("wrapped").expect("a new value");
        assert!(wrapped.starts_with(&both.current_head()) && !sealed.starts_with(&both.current_head()));
        assert!(both.is_current(&wrapped) && both.rewrap(&HOME, &wrapped) == Ok(None));
        for sealer in [&both, &last, &self::sealer(&old.clone().and_previous(&new))] {
            assert_eq!(sealer.open(&HOME, &wrapped).expect("opened").expose(), CANARY);
        }
        assert_eq!(first.open(&HOME, &wrapped).expect_err("unknown"), OpenError::UnknownKey);
        // A value that was changed, or moved to another row, gets no valid wrapping.
        let mut changed = sealed.clone();
        *changed.last_mut().expect("a byte") ^= 1;
        assert_eq!(both.rewrap(&HOME, &changed), Err(OpenError::Refused));
        assert_eq!(both.rewrap(&Bound { row: "row-2", ..HOME }, &sealed), Err(OpenError::Refused));
    }

    #[test]
    fn a_role_without_the_key_cannot_make_a_sealer() {
        let line = secret(1).bundle(crate::caller::Caller::Gateway).expect("printed");
        let mut env = crate::config::Env::of([("BACKLOT_ROLE_KEYS", line)]);
        let gateway = ClusterSecret::read(&mut env, crate::caller::Caller::Gateway);
        assert_eq!(Sealer::new(&gateway, AUTH_KEYS).expect_err("no key"), SealError::NoKey(AUTH_KEYS));
    }

    proptest! {
        #[test]
        fn every_text_is_opened_as_it_was_sealed(text: Vec<u8>, row in "[a-z0-9-]{0,40}", owner in "[a-z0-9-]{0,40}") {
            let sealer = sealer(&secret(1));
            let place = Bound { row: &row, owner: &owner, ..HOME };
            let sealed = sealer.seal(&place, &text).expect("sealed");
            let opened = sealer.open(&place, &sealed).expect("opened");
            prop_assert_eq!(opened.expose(), &text[..]);
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
            prop_assert!(sealer(&secret(1)).open(&HOME, &bytes).is_err());
        }
    }
}
