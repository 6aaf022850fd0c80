//! Secrets that must be in no table, log or the like, and the ways in which they could be there.

use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL_NOPAD, HEXLOWER};

/// The least bytes of a decoded secret that are looked for. Fewer could be there by chance.
const MIN_DECODED: usize = 8;

/// A secret of which only the test, and the service that needs it, know the text.
pub(crate) struct Canary {
    pub(crate) name: &'static str,
    text: String,
}

impl Canary {
    pub(crate) fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, text: text.into() }
    }

    /// The ways in which a text of bytes could have it: as it is, in hexadecimal as PostgreSQL shows bytes, with the escapes of a URL, in
    /// base64 (without the end, which depends on what follows), without dashes, and the bytes that it stands for in hexadecimal.
    pub(crate) fn spellings(&self) -> Vec<String> {
        let bytes = self.text.as_bytes();
        let whole = &bytes[..bytes.len() / 3 * 3];
        let escaped = url::form_urlencoded::byte_serialize(bytes).collect();
        let mut all = vec![self.text.clone(), HEXLOWER.encode(bytes), escaped, BASE64.encode(whole), BASE64URL_NOPAD.encode(whole)];
        if self.text.contains('-') {
            let undashed = self.text.replace('-', "");
            all.extend([undashed.to_lowercase(), undashed.to_uppercase()]);
        }
        all.extend(self.decoded().iter().map(|bytes| HEXLOWER.encode(bytes)));
        all
    }

    /// The bytes that the text may stand for: the seed of an app is in base32, and random secrets are in base64url.
    pub(crate) fn decoded(&self) -> Vec<Vec<u8>> {
        let decodings = [BASE32_NOPAD, BASE64URL_NOPAD].map(|encoding| encoding.decode(self.text.as_bytes()).ok());
        decodings.into_iter().flatten().filter(|bytes| bytes.len() >= MIN_DECODED).collect()
    }

    /// The places that have it.
    pub(crate) fn places<'a>(&self, all: &'a [(String, String)]) -> Vec<&'a str> {
        let spellings = self.spellings();
        let has = |text: &str| spellings.iter().any(|spelling| text.contains(spelling));
        all.iter().filter(|(_, text)| has(text)).map(|(place, _)| place.as_str()).collect()
    }
}

#[test]
fn a13_a_secret_is_found_in_each_spelling() {
    for (text, planted) in [
        (
            "a secret text",
            &["a secret text", "61207365637265742074657874", "a+secret+text", "YSBzZWNyZXQgdGV4dA==", "YSBzZWNyZXQgdGV4dCBhbmQgbW9yZQ=="][..],
        ),
        ("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", &["JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "\\x48656c6c6f21deadbeef48656c6c6f21deadbeef"]),
        ("AAECAwQFBgcICQoLDA0ODw", &["AAECAwQFBgcICQoLDA0ODw", "\\x000102030405060708090a0b0c0d0e0f"]),
        ("ab1cd-ef2gh", &["ab1cd-ef2gh", "ab1cdef2gh", "AB1CDEF2GH"]),
    ] {
        let canary = Canary::new("a secret", text);
        for spelling in planted {
            let places = [("here".to_owned(), format!("x={spelling};y")), ("elsewhere".to_owned(), "nothing".to_owned())];
            assert_eq!(canary.places(&places), ["here"], "{text} as {spelling}");
        }
    }
}
