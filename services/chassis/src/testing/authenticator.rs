//! An authenticator in memory: one P-256 key, as a security key or a phone has it (WebAuthn).

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use crate::identity::sha256;

const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const WITH_KEY: u8 = 0x40;
/// The passkey may be copied, and is copied.
const BACKED_UP: u8 = 0x18;

/// An authenticator with one passkey. Public fields are what a test changes to make a wrong answer.
pub struct Authenticator {
    pub origin: String,
    pub counter: u32,
    pub verifies: bool,
    /// Whether it stores the passkey with its account. Otherwise it finds the key by the id alone, and names no account.
    pub discoverable: bool,
    pub backed_up: bool,
    /// The account that it names.
    pub user: Vec<u8>,
    pub id: Vec<u8>,
    key: EcdsaKeyPair,
}

impl Authenticator {
    /// Used at this origin.
    ///
    /// # Panics
    /// The system provides no random bytes.
    #[must_use]
    pub fn at(origin: &str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).expect("a key");
        let mut id = vec![0; 32];
        random.fill(&mut id).expect("random");
        let origin = origin.to_owned();
        Self { origin, counter: 0, verifies: true, discoverable: true, backed_up: false, user: Vec::new(), id, key }
    }

    /// The answer to the options of a registration.
    ///
    /// # Panics
    /// They are none.
    pub fn create(&mut self, options: &str) -> String {
        let options: Value = serde_json::from_str(options).expect("options");
        self.user = if self.discoverable { decoded(&options["user"]["id"]) } else { Vec::new() };
        let mut data = self.data(options["rp"]["id"].as_str().expect("id"), WITH_KEY);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).expect("short").to_be_bytes());
        data.extend(&self.id);
        data.extend(self.cose_key());
        // CBOR: {"fmt": "none", "attStmt": {}, "authData": …}
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
        object.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
        object.extend(data);
        let response = json!({
            "clientDataJSON": encoded(&self.client_data("webauthn.create", &options)),
            "attestationObject": encoded(&object),
            "transports": ["internal"],
        });
        self.credential(&response, &json!({ "credProps": { "rk": self.discoverable } }))
    }

    /// The answer to the options of a sign-in, a second step or a step-up.
    ///
    /// # Panics
    /// They are none.
    pub fn get(&mut self, options: &str) -> String {
        let options: Value = serde_json::from_str(options).expect("options");
        self.counter += 1;
        let data = self.data(options["rpId"].as_str().expect("id"), 0);
        let client = self.client_data("webauthn.get", &options);
        let signed = [data.as_slice(), &sha256(&client)].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).expect("signed");
        let mut response = json!({
            "clientDataJSON": encoded(&client),
            "authenticatorData": encoded(&data),
            "signature": encoded(signature.as_ref()),
        });
        if !self.user.is_empty() {
            response["userHandle"] = encoded(&self.user).into();
        }
        self.credential(&response, &json!({}))
    }

    fn credential(&self, response: &Value, extensions: &Value) -> String {
        let id = encoded(&self.id);
        json!({ "id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": extensions }).to_string()
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        json!({ "type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false }).to_string().into_bytes()
    }

    fn data(&self, party: &str, flags: u8) -> Vec<u8> {
        let verified = if self.verifies { VERIFIED } else { 0 };
        let mut data = sha256(party.as_bytes()).to_vec();
        let backed_up = if self.backed_up { BACKED_UP } else { 0 };
        data.push(PRESENT | verified | backed_up | flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    /// CBOR: {1: 2, 3: -7, -1: 1, -2: x, -3: y}
    fn cose_key(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        [b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20".as_slice(), x, b"\x22\x58\x20", y].concat()
    }
}

fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn decoded(text: &Value) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text.as_str().expect("text")).expect("base64url")
}
