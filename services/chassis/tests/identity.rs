//! Verification of access tokens by a service other than auth: keys over gRPC, valid tokens, and all kinds of invalid ones.
#![cfg(feature = "testing")]

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::{
    client, clock,
    identity::Caller,
    testing::{self, Issuer},
    verifier::{Keys, Verifier},
};
use proto::{
    auth::{JsonWebKey, Plan},
    error::ErrorCode,
    id::UserId,
};
use ring::{hmac, rand::SystemRandom, signature};
use serde_json::{Value, json};

fn verifier(issuer: &Issuer) -> Verifier {
    let secret = testing::secret();
    let auth = client::connect(Caller::ProjectStorage, Caller::Auth, &issuer.uri, &secret);
    Verifier::new(Caller::ProjectStorage, &secret, Keys::Remote(auth))
}

fn now() -> u64 {
    clock::now().unix_timestamp().unsigned_abs()
}

async fn refused(verifier: &Verifier, what: &str, token: &str) {
    match verifier.user(token).await {
        Ok(_) => panic!("{what}: accepted"),
        Err(fault) => assert_eq!(fault.reason, "TOKEN_INVALID", "{what}"),
    }
}

#[tokio::test]
async fn a_token_is_valid_until_it_expires_and_only_with_its_own_key() {
    let (issuer, other) = (Issuer::start().await, Issuer::start().await);
    let (verifier, user) = (verifier(&issuer), UserId::generate());
    let token = issuer.token(user, Plan::Pro);
    for _ in 0..2 {
        let found = verifier.user(&token).await.expect("a valid token, the second time from the cache");
        assert_eq!((found.id, Plan::from_claims(&found.private_claims)), (user, Plan::Pro));
    }
    let expired = issuer.token_until(user, Plan::Pro, now() - 60);
    let foreign = other.token(user, Plan::Pro);
    let early = issuer.token_until(user, Plan::Pro, now() + 3_600);
    for (what, token) in [("expired", &expired), ("of another key", &foreign), ("not yet valid", &early)] {
        refused(&verifier, what, token).await;
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_token_of_a_key_that_auth_has_retired_is_refused_after_the_age_of_the_keys() {
    let (issuer, next) = (Issuer::start().await, Issuer::start().await);
    let verifier = verifier(&issuer);
    let (known, unknown) = (issuer.token(UserId::generate(), Plan::Pro), issuer.token(UserId::generate(), Plan::Pro));
    verifier.user(&known).await.expect("a valid token");

    issuer.publish(Some(vec![JsonWebKey { kid: "next".into(), ..next.public() }]));
    verifier.age_keys(4 * MINUTE);
    verifier.user(&known).await.expect("the keys are not old");
    verifier.age_keys(MINUTE);
    refused(&verifier, "a token that was verified before", &known).await;
    refused(&verifier, "another token of the retired key", &unknown).await;

    issuer.publish(Some(vec![issuer.public()]));
    verifier.age_keys(5 * MINUTE);
    verifier.user(&known).await.expect("the key is published again");
}

#[tokio::test]
async fn the_first_token_of_a_new_key_is_valid_although_an_unknown_key_was_looked_up_just_before() {
    let (issuer, stale) = (Issuer::start().await, Issuer::start().await);
    let verifier = verifier(&issuer);
    // auth answers as a replica does that has not loaded the new key yet.
    issuer.publish(Some(vec![JsonWebKey { kid: "earlier".into(), ..stale.public() }]));
    let token = issuer.token(UserId::generate(), Plan::Pro);
    refused(&verifier, "a token of a key that is not published", &token).await;
    issuer.publish(Some(vec![issuer.public()]));
    verifier.user(&token).await.expect("the key is published");
}

#[tokio::test]
async fn the_known_keys_stay_for_an_hour_while_auth_does_not_answer() {
    let issuer = Issuer::start().await;
    let verifier = verifier(&issuer);
    let (known, other) = (issuer.token(UserId::generate(), Plan::Pro), issuer.token(UserId::generate(), Plan::Pro));
    verifier.user(&known).await.expect("a valid token");

    issuer.publish(None);
    for minutes in [5_u32, 54] {
        verifier.age_keys(minutes * MINUTE);
        verifier.user(&known).await.expect("the known keys stay");
        verifier.user(&other).await.expect("also for a token that is new");
    }
    verifier.age_keys(MINUTE);
    for token in [&known, &other] {
        let fault = verifier.user(token).await.expect_err("the keys are too old");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unavailable, "UNAVAILABLE"));
    }
    issuer.publish(Some(vec![issuer.public()]));
    verifier.age_keys(MINUTE);
    verifier.user(&known).await.expect("auth answers again");
}

#[tokio::test]
async fn a_token_of_an_unknown_key_is_not_called_invalid_while_auth_does_not_answer() {
    let issuer = Issuer::start().await;
    let verifier = verifier(&issuer);
    issuer.publish(None);
    let token = issuer.token(UserId::generate(), Plan::Pro);
    // More checks than auth is asked for at once.
    for _ in 0..20 {
        let fault = verifier.user(&token).await.expect_err("the key is not known");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unavailable, "UNAVAILABLE"));
    }
    issuer.publish(Some(vec![issuer.public()]));
    verifier.age_keys(MINUTE);
    verifier.user(&token).await.expect("auth answers again");
}

/// The header and the claims of a valid token.
fn valid(issuer: &Issuer) -> (Value, Value) {
    let token = issuer.token(UserId::generate(), Plan::Pro);
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64"));
    let mut next = || serde_json::from_slice(&parts.next().expect("a part")).expect("JSON");
    (next(), next())
}

/// The object with one member set, or removed if the value is null.
fn with(object: &Value, member: &str, value: Value) -> String {
    let mut object = object.clone();
    let members = object.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(member);
    } else {
        members.insert(member.into(), value);
    }
    object.to_string()
}

#[tokio::test]
async fn a_signed_token_with_wrong_members_is_refused() {
    let issuer = Issuer::start().await;
    let verifier = verifier(&issuer);
    let (header, claims) = valid(&issuer);
    let (plain_header, plain_claims) = (header.to_string(), claims.to_string());
    verifier.user(&issuer.sign(&plain_header, &plain_claims)).await.expect("the unchanged token is valid");
    verifier.user(&issuer.sign(&with(&header, "x", json!(1)), &with(&claims, "x", json!([1])))).await.expect("unknown members are ignored");

    let headers = [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("ES384")),
        ("alg", json!("es256")),
        ("alg", Value::Null),
        ("alg", json!(["ES256"])),
        ("typ", json!("JWT")),
        ("typ", Value::Null),
        ("kid", json!("another")),
        ("kid", json!("")),
        ("kid", json!(7)),
        ("kid", Value::Null),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
    ];
    for (member, value) in headers {
        refused(&verifier, &format!("header {member}: {value}"), &issuer.sign(&with(&header, member, value), &plain_claims)).await;
    }
    let moment = now();
    let wrong = [
        ("iss", json!("somebody")),
        ("iss", Value::Null),
        ("aud", json!("backlot")),
        ("aud", json!(["backlot-internal", "other"])),
        ("aud", Value::Null),
        ("sub", json!("nobody")),
        ("sub", Value::Null),
        ("sid", json!("none")),
        ("exp", json!(moment - 31)),
        ("exp", json!(-1)),
        ("exp", json!("never")),
        ("exp", Value::Null),
        ("nbf", json!(moment + 600)),
        ("nbf", json!(u64::MAX)),
        ("nbf", Value::Null),
    ];
    for (member, value) in wrong {
        refused(&verifier, &format!("claim {member}: {value}"), &issuer.sign(&plain_header, &with(&claims, member, value))).await;
    }
}

#[tokio::test]
async fn a_signed_token_with_malformed_json_is_refused() {
    let issuer = Issuer::start().await;
    let verifier = verifier(&issuer);
    let (header, claims) = valid(&issuer);
    let (plain_header, plain_claims) = (header.to_string(), claims.to_string());
    for doubled in ["alg", "kid", "typ"] {
        let text = plain_header.replacen('{', &format!("{{\"{doubled}\":{},", header[doubled]), 1);
        refused(&verifier, &format!("a header with two {doubled}"), &issuer.sign(&text, &plain_claims)).await;
    }
    for doubled in ["sub", "aud", "iss", "exp", "nbf", "sid", "plan"] {
        let text = plain_claims.replacen('{', &format!("{{\"{doubled}\":{},", claims[doubled]), 1);
        refused(&verifier, &format!("claims with two {doubled}"), &issuer.sign(&plain_header, &text)).await;
    }
    let members = |object: &Value| Value::from(object.as_object().expect("object").values().cloned().collect::<Vec<_>>()).to_string();
    refused(&verifier, "a header as an array", &issuer.sign(&members(&header), &plain_claims)).await;
    refused(&verifier, "claims as an array", &issuer.sign(&plain_header, &members(&claims))).await;
    refused(&verifier, "text after the claims", &issuer.sign(&plain_header, &format!("{plain_claims}{{}}"))).await;
    refused(&verifier, "too long", &issuer.sign(&plain_header, &with(&claims, "pad", json!("x".repeat(4096))))).await;
}

/// Tokens whose signature is changed or encoded differently, with a description.
fn changed_signatures(token: &str) -> Vec<(String, String)> {
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let encode = |bytes: &[u8]| format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes));
    let swapped = [&bytes[32..], &bytes[..32]].concat();
    let der = [&[0x30, 0x44, 0x02, 0x20], &bytes[..32], &[0x02, 0x20], &bytes[32..]].concat();
    let mut cases = vec![
        ("no signature".to_owned(), format!("{signed}.")),
        ("no third part".to_owned(), signed.to_owned()),
        ("a fourth part".to_owned(), format!("{token}.AA")),
        ("padding".to_owned(), format!("{token}==")),
        ("r and s swapped".to_owned(), encode(&swapped)),
        ("in DER".to_owned(), encode(&der)),
        ("all zero".to_owned(), encode(&[0; 64])),
        ("all ones".to_owned(), encode(&[255; 64])),
        ("a leading zero".to_owned(), encode(&[&[0], bytes.as_slice()].concat())),
        ("a trailing zero".to_owned(), encode(&[bytes.as_slice(), &[0]].concat())),
    ];
    cases.extend((0..bytes.len()).map(|end| (format!("{end} bytes of it"), encode(&bytes[..end]))));
    cases.extend((0..bytes.len() * 8).step_by(7).map(|bit| {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {bit} flipped"), encode(&bytes))
    }));
    // 64 bytes leave four bits of the last character unused. A lenient decoder would accept other characters for the same bytes.
    let last = signature.as_bytes()[signature.len() - 1];
    let others = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']).filter(|c| *c as u8 != last);
    cases.extend(others.map(|c| (format!("{c} as the last character"), format!("{}{c}", &token[..token.len() - 1]))));
    cases
}

#[tokio::test]
async fn a_token_with_a_changed_signature_is_refused() {
    let issuer = Issuer::start().await;
    let verifier = verifier(&issuer);
    let token = issuer.token(UserId::generate(), Plan::Pro);
    for (what, token) in changed_signatures(&token) {
        refused(&verifier, &what, &token).await;
    }
    verifier.user(&token).await.expect("the unchanged token is valid");
}

#[tokio::test]
async fn a_token_signed_with_another_algorithm_is_refused() {
    let issuer = Issuer::start().await;
    let verifier = verifier(&issuer);
    let (header, claims) = valid(&issuer);
    let public = issuer.public();
    let point = [vec![4], URL_SAFE_NO_PAD.decode(&public.x).expect("x"), URL_SAFE_NO_PAD.decode(&public.y).expect("y")].concat();
    for alg in ["HS256", "ES256", "none"] {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(with(&header, "alg", json!(alg))), URL_SAFE_NO_PAD.encode(claims.to_string()));
        for (what, key) in [("the point", point.as_slice()), ("the coordinate", public.x.as_bytes()), ("nothing", b"")] {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
            refused(&verifier, &format!("{alg}, HMAC under {what}"), &format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))).await;
        }
        refused(&verifier, &format!("{alg} without a signature"), &format!("{signed}.")).await;
    }
    let caller = chassis::identity::Signer::new(Caller::Gateway, &testing::secret()).sign(Caller::ProjectStorage, None).expect("token");
    refused(&verifier, "a caller token", &caller).await;
}

#[tokio::test]
async fn a_key_of_another_kind_verifies_nothing() {
    let issuer = Issuer::start().await;
    let token = issuer.token(UserId::generate(), Plan::Pro);
    let key = issuer.public();
    let with_keys = |keys: Vec<JsonWebKey>| {
        let (_, keys) = tokio::sync::watch::channel(keys);
        Verifier::new(Caller::Auth, &testing::secret(), Keys::Local(keys))
    };
    with_keys(vec![key.clone()]).user(&token).await.expect("its own key");
    let rng = SystemRandom::new();
    let alg = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
    let pkcs8 = signature::EcdsaKeyPair::generate_pkcs8(alg, &rng).expect("key");
    let pair = signature::EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref(), &rng).expect("key");
    let wide = &signature::KeyPair::public_key(&pair).as_ref()[1..];
    let (x, y) = (URL_SAFE_NO_PAD.encode(&wide[..48]), URL_SAFE_NO_PAD.encode(&wide[48..]));
    let (header, claims) = valid(&issuer);
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let sig = URL_SAFE_NO_PAD.encode(pair.sign(&rng, signed.as_bytes()).expect("signature"));
    let other_curve = format!("{signed}.{sig}");
    for (what, wrong, token) in [
        ("P-384", JsonWebKey { crv: "P-384".into(), alg: "ES384".into(), x: x.clone(), y: y.clone(), ..key.clone() }, &other_curve),
        ("P-384 called P-256", JsonWebKey { x, y, ..key.clone() }, &other_curve),
        ("of another type", JsonWebKey { kty: "RSA".into(), ..key.clone() }, &token),
        ("of another curve", JsonWebKey { crv: "secp256k1".into(), ..key.clone() }, &token),
        ("of another algorithm", JsonWebKey { alg: "HS256".into(), ..key.clone() }, &token),
        ("coordinates swapped", JsonWebKey { x: key.y.clone(), y: key.x.clone(), ..key.clone() }, &token),
        ("a short coordinate", JsonWebKey { x: key.x[..40].into(), ..key.clone() }, &token),
        ("no coordinate", JsonWebKey { y: String::new(), ..key.clone() }, &token),
        ("no base64", JsonWebKey { y: "?".repeat(43), ..key.clone() }, &token),
    ] {
        refused(&with_keys(vec![wrong]), what, token).await;
    }
}
