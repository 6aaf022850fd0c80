//! Access tokens as another service checks them: the key set over gRPC, good tokens, and every way to be wrong.
#![cfg(feature = "testing")]

use chassis::{
    client, clock,
    identity::{Caller, Keys, Verifier},
    testing::{self, Issuer},
};
use proto::{auth::Plan, id::UserId};

fn verifier(issuer: &Issuer) -> Verifier {
    let secret = testing::secret();
    let auth = client::connect(Caller::ProjectStorage, Caller::Auth, &issuer.uri, &secret);
    Verifier::new(Caller::ProjectStorage, &secret, Keys::Remote(auth))
}

#[tokio::test]
async fn a_token_is_good_until_it_ends_and_only_with_the_key_that_signed_it() {
    let (issuer, other) = (Issuer::start().await, Issuer::start().await);
    let (verifier, user) = (verifier(&issuer), UserId::generate());
    let token = issuer.token(user, Plan::Pro);
    for _ in 0..2 {
        let found = verifier.user(&token).await.expect("a good token, also from memory");
        assert_eq!((found.id, found.plan), (user, Plan::Pro));
    }
    let now = clock::now().unix_timestamp().unsigned_abs();
    let expired = issuer.token_until(user, Plan::Pro, now - 60);
    let foreign = other.token(user, Plan::Pro);
    let early = issuer.token_until(user, Plan::Pro, now + 3_600);
    for (what, token) in [("expired", &expired), ("of another key", &foreign), ("not yet good", &early)] {
        assert_eq!(verifier.user(token).await.expect_err(what).reason, "TOKEN_INVALID", "{what}");
    }
}
