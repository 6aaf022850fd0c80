//! Signed tokens in the compact form (RFC 7515), with two algorithms: HS256 for caller tokens, ES256 for access tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proto::auth::JsonWebKey;
use ring::{
    hmac,
    signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey},
};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned, de::IgnoredAny};

/// The longest accepted token. Tokens of Backlot have less than 1 KiB.
pub(crate) const MAX_BYTES: usize = 4096;
const COORDINATE_BYTES: usize = 32;
/// The first byte of a point in uncompressed form.
const UNCOMPRESSED: u8 = 4;

/// Why a token is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLong,
    #[error("it does not have three parts")]
    NotThreeParts,
    #[error("its header cannot be read")]
    Header,
    #[error("its header has an extension that must be understood (crit)")]
    Critical,
    #[error("its algorithm must be {0}")]
    Algorithm(&'static str),
    #[error("its key is not a point of P-256")]
    Key,
    #[error("its signature is wrong")]
    Signature,
    #[error("its claims cannot be read")]
    Claims,
}

/// The header. Members that change the meaning of the token are listed; others are ignored.
#[derive(Deserialize)]
pub(crate) struct Header {
    alg: String,
    pub(crate) typ: Option<String>,
    pub(crate) kid: Option<String>,
    /// A second HS256 signature, over the claims alone (see [`sign_hs256`]).
    pair: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

/// A token whose signature has not been verified.
pub(crate) struct Unverified<'a> {
    pub(crate) header: Header,
    /// The encoded header and claims, which the signature covers.
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, Problem> {
        if token.len() > MAX_BYTES {
            return Err(Problem::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Problem::NotThreeParts)?;
        let (header, claims) = signed.split_once('.').ok_or(Problem::NotThreeParts)?;
        if claims.contains('.') {
            return Err(Problem::NotThreeParts);
        }
        let header: Header = object(header).ok_or(Problem::Header)?;
        if header.crit {
            return Err(Problem::Critical);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Problem::Signature)?;
        Ok(Self { header, signed, claims, signature })
    }

    /// The claims, if the token has a valid HS256 signature of this key.
    pub(crate) fn hs256<T: DeserializeOwned>(&self, key: &hmac::Key) -> Result<T, Problem> {
        self.is("HS256")?;
        hmac::verify(key, self.signed.as_bytes(), &self.signature).map_err(|_| Problem::Signature)?;
        self.read()
    }

    /// The claims, if the second signature is a valid HS256 signature of this key.
    pub(crate) fn second_hs256<T: DeserializeOwned>(&self, key: &hmac::Key) -> Result<T, Problem> {
        self.is("HS256")?;
        let tag = self.header.pair.as_ref().and_then(|tag| URL_SAFE_NO_PAD.decode(tag).ok()).ok_or(Problem::Signature)?;
        hmac::verify(key, self.claims.as_bytes(), &tag).map_err(|_| Problem::Signature)?;
        self.read()
    }

    /// The claims without a check of the signature. Use them only to find the key.
    pub(crate) fn unverified_claims<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.read()
    }

    /// The claims, if the token has a valid ES256 signature of this key.
    pub(crate) fn es256<T: DeserializeOwned>(&self, key: &JsonWebKey) -> Result<T, Problem> {
        self.is("ES256")?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(key).ok_or(Problem::Key)?);
        key.verify(self.signed.as_bytes(), &self.signature).map_err(|_| Problem::Signature)?;
        self.read()
    }

    fn is(&self, algorithm: &'static str) -> Result<(), Problem> {
        if self.header.alg == algorithm { Ok(()) } else { Err(Problem::Algorithm(algorithm)) }
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        object(self.claims).ok_or(Problem::Claims)
    }
}

/// Decodes a JSON object in base64url. serde refuses duplicates of known members.
fn object<T: DeserializeOwned>(part: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(part).ok()?;
    // serde would also accept an array with the members in order.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(&json).ok()
}

fn point(key: &JsonWebKey) -> Option<Vec<u8>> {
    if key.kty != "EC" || key.crv != "P-256" || key.alg != "ES256" {
        return None;
    }
    let mut point = Vec::with_capacity(1 + 2 * COORDINATE_BYTES);
    point.push(UNCOMPRESSED);
    for coordinate in [&key.x, &key.y] {
        let bytes = URL_SAFE_NO_PAD.decode(coordinate).ok().filter(|bytes| bytes.len() == COORDINATE_BYTES)?;
        point.extend(bytes);
    }
    Some(point)
}

/// A token with an HS256 signature. With a key `pair` its header has a second signature, over the claims. One signature cannot be used
/// as the other, because the text of the first contains a dot and the encoded claims do not.
pub(crate) fn sign_hs256(key: &hmac::Key, pair: Option<&hmac::Key>, claims: &impl Serialize) -> Result<String, serde_json::Error> {
    let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
    let tag = |key, text: &str| URL_SAFE_NO_PAD.encode(hmac::sign(key, text.as_bytes()));
    let header = match pair {
        Some(pair) => format!(r#"{{"typ":"JWT","alg":"HS256","pair":"{}"}}"#, tag(pair, &claims)),
        None => r#"{"typ":"JWT","alg":"HS256"}"#.to_owned(),
    };
    let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header));
    Ok(format!("{signed}.{}", tag(key, &signed)))
}
