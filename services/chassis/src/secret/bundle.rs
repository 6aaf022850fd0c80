//! The keys of one role that runs by itself: those for calls from it and to it, and those that only it uses. With them the role cannot
//! act as another role.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;

/// The prefix of a bundle, with the version of its format and of the derivation of its keys.
const PREFIX: &str = "backlot-keys-1.";

/// Why a text is not a bundle for a role. The texts show no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadBundle {
    #[error("must be the line that `backlot keys ROLE` prints, which begins with {PREFIX}")]
    Form,
    #[error("has the keys of {found}, but this role is {role}")]
    Role { found: String, role: &'static str },
    #[error("lacks the key for {purpose}; print it again with this release")]
    Lacks { purpose: String },
}

/// By purpose.
type Keys = BTreeMap<String, Key>;

/// A bundle as it is printed. The release before ignores `previous`.
#[derive(Serialize, Deserialize)]
struct Printed {
    role: String,
    keys: Keys,
    /// The keys of the second secret, while the secret is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Keys>,
}

/// The keys of one role, derived from one secret.
pub(super) struct Bundle {
    role: Caller,
    keys: Keys,
}

/// 32 bytes. They are serialised as base64url.
#[derive(Clone, Copy)]
struct Key([u8; 32]);

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(String::deserialize(from)?).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("32 bytes in base64url"))
    }
}

/// The purpose of the key for calls of `from` to `to`.
pub(super) fn pair(from: Caller, to: Caller) -> String {
    format!("{}>{}", from.name(), to.name())
}

/// The purposes of the keys that a role cannot do without.
fn required(role: Caller) -> Vec<String> {
    let calls = Caller::NAMED.into_iter().flat_map(|other| [pair(role, other), pair(other, role)]);
    let own: &[&str] = match role {
        Caller::Gateway => &["session cookie name"],
        Caller::Auth => &[super::AUTH_KEYS],
        Caller::AgentStreaming => &["page tokens"],
        Caller::ProjectStorage => &["page tokens", "preview labels"],
        Caller::RateLimit | Caller::Compile | Caller::Operator | Caller::Direct => &[],
    };
    calls.chain(own.iter().map(|purpose| (*purpose).to_owned())).collect()
}

/// The purposes of the keys that a role has with this release, but can do without.
fn optional(role: Caller) -> &'static [&'static str] {
    if role == Caller::AgentStreaming { &[super::AGENT_SEALED] } else { &[] }
}

impl Bundle {
    pub(super) fn of(role: Caller, derive: impl Fn(&str) -> Option<[u8; 32]>) -> Self {
        let purposes = required(role).into_iter().chain(optional(role).iter().map(|purpose| (*purpose).to_owned()));
        Self { role, keys: purposes.filter_map(|purpose| Some((purpose.clone(), Key(derive(&purpose)?)))).collect() }
    }

    /// One line with this bundle and that of the second secret.
    pub(super) fn print(self, previous: Option<Self>) -> String {
        let printed = Printed { role: self.role.name().to_owned(), keys: self.keys, previous: previous.map(|bundle| bundle.keys) };
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(serde_json::to_vec(&printed).unwrap_or_default()))
    }

    /// Parses the bundle of a role, and that of the second secret. Each must have every key that the role cannot do without.
    pub(super) fn parse(text: &str, role: Caller) -> Result<(Self, Option<Self>), BadBundle> {
        let body = text.trim().strip_prefix(PREFIX).and_then(|body| URL_SAFE_NO_PAD.decode(body).ok()).ok_or(BadBundle::Form)?;
        let printed: Printed = serde_json::from_slice(&body).map_err(|_| BadBundle::Form)?;
        // The fault shows only names of known roles.
        let found = Caller::named(&printed.role).ok_or(BadBundle::Form)?;
        if found != role {
            return Err(BadBundle::Role { found: found.name().to_owned(), role: role.name() });
        }
        let complete = |keys: Keys| match required(role).into_iter().find(|purpose| !keys.contains_key(purpose)) {
            Some(purpose) => Err(BadBundle::Lacks { purpose }),
            None => Ok(Self { role, keys }),
        };
        Ok((complete(printed.keys)?, printed.previous.map(complete).transpose()?))
    }

    pub(super) fn key(&self, purpose: &str) -> Option<[u8; 32]> {
        self.keys.get(purpose).map(|key| key.0)
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = [u8; 32]> + '_ {
        self.keys.values().map(|key| key.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Env, secret::ClusterSecret};

    fn root() -> ClusterSecret {
        ClusterSecret::of_bytes(b"0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7")
    }

    fn faults(pairs: &[(&str, &str)], role: Caller) -> String {
        let mut env = Env::of(pairs.iter().copied());
        ClusterSecret::read(&mut env, role);
        env.check().err().map(|faults| faults.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_bundle_has_exactly_the_keys_of_its_role() {
        for role in Caller::NAMED {
            let (bundle, previous) =
                Bundle::parse(&root().bundle(role).expect("printed"), role).unwrap_or_else(|e| panic!("{role:?}: {e}"));
            assert!(previous.is_none(), "{role:?}");
            assert!(bundle.keys.iter().all(|(purpose, key)| root().derive(purpose) == key.0), "{role:?}");
            let foreign = bundle.keys.keys().filter(|purpose| purpose.contains('>'));
            assert!(
                foreign.clone().count() == 2 * Caller::NAMED.len() - 1
                    && foreign.clone().all(|p| p.split('>').any(|name| name == role.name())),
                "{role:?}"
            );
            let shared = root().shared();
            assert!(bundle.all().all(|key| !shared.contains(&key)), "{role:?} has the shared key");
        }
        let gateway = Bundle::of(Caller::Gateway, |purpose| Some(root().derive(purpose)));
        assert_eq!((gateway.key("auth signing keys"), gateway.key("caller tokens"), gateway.key("auth>rate-limit")), (None, None, None));
    }

    #[test]
    fn an_invalid_bundle_is_a_fault_that_shows_no_key() {
        let good = root().bundle(Caller::Auth).expect("printed");
        assert_eq!(good.lines().count(), 1);
        assert_eq!(faults(&[("BACKLOT_ROLE_KEYS", &good)], Caller::Auth), "");
        let empty = || Bundle { role: Caller::Auth, keys: BTreeMap::new() };
        let complete = || Bundle::of(Caller::Auth, |purpose| Some(root().derive(purpose)));
        let (empty, second) = (empty().print(None), complete().print(Some(empty())));
        let cut = &good[..good.len() - 9];
        let old = good.replacen('1', "0", 1);
        for (text, problem) in [
            (empty.as_str(), "lacks the key for auth>gateway"),
            (second.as_str(), "lacks the key for auth>gateway"),
            (cut, "must be the line"),
            (old.as_str(), "must be the line"),
            ("backlot-keys-1.", "must be the line"),
            ("backlot-keys-1.e30", "must be the line"),
            ("0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7", "must be the line"),
        ] {
            let fault = faults(&[("BACKLOT_ROLE_KEYS", text)], Caller::Auth);
            assert!(fault.starts_with("BACKLOT_ROLE_KEYS: ") && fault.contains(problem), "{fault}");
            assert!(text.len() < 16 || !fault.contains(&text[text.len() - 16..]), "{fault}");
        }
        let of_other_role = faults(&[("BACKLOT_ROLE_KEYS", &good)], Caller::Gateway);
        assert!(of_other_role.contains("has the keys of auth, but this role is gateway"), "{of_other_role}");
        let both = faults(&[("BACKLOT_ROLE_KEYS", &good), ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7")], Caller::Auth);
        assert!(both.contains("set only one of them"), "{both}");
    }

    #[test]
    fn a_bundle_cannot_make_the_bundle_of_another_role() {
        let mut env = Env::of([("BACKLOT_ROLE_KEYS", root().bundle(Caller::Auth).expect("printed"))]);
        assert_eq!(ClusterSecret::read(&mut env, Caller::Auth).bundle(Caller::Gateway), None);
    }

    #[test]
    fn one_line_has_the_keys_of_both_secrets() {
        let next = ClusterSecret::of_bytes(b"b7f4a90c5d3e1182ac64de07f93b5510");
        let line = next.clone().and_previous(&root()).bundle(Caller::Gateway).expect("printed");
        let mut env = Env::of([("BACKLOT_ROLE_KEYS", line)]);
        let secret = ClusterSecret::read(&mut env, Caller::Gateway);
        env.check().expect("good");
        let cookie = "session cookie name";
        assert_eq!(secret.accepted(cookie), [next.derive(cookie), root().derive(cookie)]);
        assert_eq!(secret.pair(Caller::Gateway, Caller::Auth).len(), 2);
        assert!(secret.pair(Caller::Auth, Caller::RateLimit).is_empty() && secret.accepted(crate::secret::AUTH_KEYS).is_empty());
    }

    #[test]
    fn a_bundle_of_the_release_before_has_no_key_for_sealed_values() {
        let role = Caller::AgentStreaming;
        let mut old = Bundle::of(role, |purpose| Some(root().derive(purpose)));
        assert!(old.keys.remove(crate::secret::AGENT_SEALED).is_some());
        let mut env = Env::of([("BACKLOT_ROLE_KEYS", old.print(None))]);
        let secret = ClusterSecret::read(&mut env, role);
        env.check().expect("good");
        assert!(secret.accepted(crate::secret::AGENT_SEALED).is_empty());
    }
}
