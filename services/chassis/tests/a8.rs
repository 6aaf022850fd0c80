//! Row A8 of the reliability reference: of 100,000 forged access tokens none is accepted.
#![cfg(feature = "testing")]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::{
    client, clock,
    identity::{Caller, LIMITED_AUDIENCE},
    testing::{self, Issuer},
    verifier::{Keys, Verifier},
};
use proto::{auth::Plan, id::UserId};
use ring::hmac;
use serde_json::{Value, json};

const FORGERIES: usize = 100_000;
/// Those that are tried with a verifier that fetches the keys, as every service but auth has it.
const REMOTE_FORGERIES: usize = 1_000;
const KINDS: usize = 9;

/// A generator of numbers that is the same in each run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("fits")
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// What a forger has: tokens and the public key of the issuer, and a key of his own. With the issuer's key alone are signed those tokens whose
/// content must be refused.
struct Forger {
    issuer: Issuer,
    own: Issuer,
    header: Value,
    claims: Value,
    token: String,
    numbers: Numbers,
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn with(object: &Value, member: &str, value: Value) -> Value {
    let mut object = object.clone();
    object[member] = value;
    object
}

impl Forger {
    async fn new() -> Self {
        let (issuer, own) = (Issuer::start().await, Issuer::start().await);
        let token = issuer.token(UserId::generate(), Plan::Pro);
        let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64"));
        let mut next = || serde_json::from_slice(&parts.next().expect("a part")).expect("JSON");
        let (header, claims) = (next(), next());
        Self { issuer, own, header, claims, token, numbers: Numbers(7) }
    }

    /// A forged token, and what it is.
    fn forge(&mut self, kind: usize) -> (&'static str, String) {
        match kind {
            0 => ("none", self.none()),
            1 => ("HMAC with the public key", self.public_key_as_secret()),
            2 => ("a key id that is a path", self.key_id()),
            3 => ("a key in the header", self.embedded_key()),
            4 => ("another type", self.other_type()),
            5 => ("an impossible expiry", self.expiry()),
            6 => ("another audience or issuer", self.audience()),
            7 => ("the audience of the other kind of tokens", self.swapped_audience()),
            _ => ("a changed byte", self.changed()),
        }
    }

    /// Claims with another user, so that every forgery is another one.
    fn stolen(&self) -> Value {
        with(&self.claims, "sub", json!(UserId::generate().to_string()))
    }

    fn none(&mut self) -> String {
        let alg = self.numbers.of(&["none", "None", "NONE", "nOnE", "", "null"]);
        let signature = self.numbers.of(&["", "AA", self.token.rsplit('.').next().unwrap_or_default()].map(str::to_owned));
        format!("{}.{}.{signature}", part(&with(&self.header, "alg", json!(alg))), part(&self.stolen()))
    }

    fn public_key_as_secret(&mut self) -> String {
        let key = self.issuer.public();
        let point = [vec![4], URL_SAFE_NO_PAD.decode(&key.x).expect("x"), URL_SAFE_NO_PAD.decode(&key.y).expect("y")].concat();
        let jwk = json!({ "kty": key.kty, "crv": key.crv, "x": key.x, "y": key.y }).to_string().into_bytes();
        let secret = self.numbers.of(&[point.clone(), point[1..].to_vec(), point[1..33].to_vec(), key.x.into_bytes(), jwk, Vec::new()]);
        let (algorithm, name) = self.numbers.of(&[
            (hmac::HMAC_SHA256, "HS256"),
            (hmac::HMAC_SHA384, "HS384"),
            (hmac::HMAC_SHA512, "HS512"),
            (hmac::HMAC_SHA256, "ES256"),
        ]);
        let signed = format!("{}.{}", part(&with(&self.header, "alg", json!(name))), part(&self.stolen()));
        let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn key_id(&mut self) -> String {
        let path = self.numbers.of(&[
            "../../dev/null",
            "/dev/null",
            "file:///etc/passwd",
            "https://evil.example/key",
            "' OR 1=1 --",
            "test\0",
            "test/",
            " test",
            "TEST",
        ]);
        let number = self.numbers.below(1_000);
        let kid = if number == 0 { path.to_owned() } else { format!("{path}{number}") };
        self.own.sign(&with(&self.header, "kid", json!(kid)).to_string(), &self.stolen().to_string())
    }

    /// Signed with a key that the token brings along, or says where to find.
    fn embedded_key(&mut self) -> String {
        let key = self.own.public();
        let jwk = json!({ "kty": key.kty, "crv": key.crv, "alg": "ES256", "kid": key.kid, "x": key.x, "y": key.y });
        let member = self.numbers.of(&["jku", "x5u", "jwk", "x5c"]);
        let value = match member {
            "jwk" => jwk,
            "x5c" => json!([part(&jwk)]),
            _ => json!(format!("https://evil.example/{}", self.numbers.next())),
        };
        self.own.sign(&with(&self.header, member, value).to_string(), &self.stolen().to_string())
    }

    fn other_type(&mut self) -> String {
        let typ = self.numbers.of(&[
            json!("JWT"),
            json!("at+JWT2"),
            json!("rt+jwt"),
            json!("logout+jwt"),
            json!(""),
            json!(["at+jwt"]),
            Value::Null,
        ]);
        self.issuer.sign(&with(&self.header, "typ", typ).to_string(), &self.stolen().to_string())
    }

    fn expiry(&mut self) -> String {
        let now = clock::now().unix_timestamp();
        let distance = i64::try_from(self.numbers.below(1 << 40)).expect("fits");
        let day = 86_400;
        let exp = self.numbers.of(&[
            json!((now + 300).to_string()),
            json!("never"),
            json!(-1 - distance),
            json!(now - 31 - distance),
            json!(now + 2 * day + distance),
            json!(u64::MAX),
            json!(1e300),
            json!(f64::from(u32::MAX) + 0.5),
            json!([now + 300]),
            json!({ "exp": now + 300 }),
            json!(true),
            Value::Null,
        ]);
        self.issuer.sign(&self.header.to_string(), &with(&self.stolen(), "exp", exp).to_string())
    }

    fn audience(&mut self) -> String {
        let member = self.numbers.of(&["aud", "iss"]);
        let right = self.claims[member].as_str().unwrap_or_default().to_owned();
        let number = self.numbers.next();
        let value = self.numbers.of(&[
            json!(format!("{right}{number}")),
            json!(format!("{number}")),
            json!([right]),
            json!(right.to_uppercase()),
            json!(format!("{right} ")),
            Value::Null,
        ]);
        self.issuer.sign(&self.header.to_string(), &with(&self.stolen(), member, value).to_string())
    }

    /// A session's token with the claims of a key, or the audience of keys without their claims.
    fn swapped_audience(&mut self) -> String {
        let (of_session, of_key) = (self.stolen(), with(&self.stolen(), "aud", json!(LIMITED_AUDIENCE)));
        let choices = [
            with(&of_session, "scope", json!("read write")),
            with(&of_session, "projects", json!([])),
            with(&of_key, "scope", json!("write")),
            with(&of_key, "scope", json!("read write admin")),
            with(&of_key, "scope", json!(["read"])),
            with(&with(&of_key, "scope", json!("read")), "projects", json!([])),
            with(&with(&of_key, "scope", json!("read")), "projects", json!("all")),
            of_key,
        ];
        let claims = self.numbers.of(&choices);
        self.issuer.sign(&self.header.to_string(), &claims.to_string())
    }

    /// A valid token with one to three other bytes.
    fn changed(&mut self) -> String {
        let mut bytes = self.token.clone().into_bytes();
        for _ in 0..=self.numbers.below(3) {
            let at = self.numbers.below(bytes.len());
            bytes[at] = self.numbers.of(b"ABCXYZabcxyz0189-_.=+/ ");
        }
        let text = String::from_utf8(bytes).expect("ASCII");
        if text == self.token { format!("{text}A") } else { text }
    }
}

#[tokio::test]
async fn a8_no_forged_token_is_accepted() {
    let mut forger = Forger::new().await;
    let (_keys, published) = tokio::sync::watch::channel(vec![forger.issuer.public()]);
    let verifier = Verifier::new(Caller::ProjectStorage, &testing::secret(), Keys::Local(published));
    assert_refuses(&verifier, &mut forger, FORGERIES).await;
}

#[tokio::test]
async fn a8_no_forged_token_is_accepted_with_keys_that_are_fetched() {
    let mut forger = Forger::new().await;
    let secret = testing::secret();
    let auth = client::connect(Caller::ProjectStorage, Caller::Auth, &forger.issuer.uri, &secret);
    let verifier = Verifier::new(Caller::ProjectStorage, &secret, Keys::Remote(auth));
    assert_refuses(&verifier, &mut forger, REMOTE_FORGERIES).await;
}

async fn assert_refuses(verifier: &Verifier, forger: &mut Forger, forgeries: usize) {
    verifier.user(&forger.token).await.expect("the token of the issuer is valid");
    verifier.user(&forger.issuer.sign(&forger.header.to_string(), &forger.stolen().to_string())).await.expect("what is changed is allowed");
    let limited = with(&with(&forger.stolen(), "aud", json!(LIMITED_AUDIENCE)), "scope", json!("read"));
    verifier.user(&forger.issuer.sign(&forger.header.to_string(), &limited.to_string())).await.expect("the token of a key is valid");
    for number in 0..forgeries {
        let (what, token) = forger.forge(number % KINDS);
        match verifier.user(&token).await {
            Ok(_) => panic!("{what}: accepted {token}"),
            Err(fault) => assert_eq!(fault.reason, "TOKEN_INVALID", "{what}: {token}"),
        }
    }
}
