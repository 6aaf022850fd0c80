//! What an issuer must say about a sign-in there, if the settings require it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::Url;

use crate::{
    harness::{Cluster, Settings},
    issuer::{TestIssuer, person},
};

const REFUSED: &str = "PROVIDER_REFUSED";
const TOO_OLD: &str = "PROVIDER_SIGN_IN_TOO_OLD";
const TOO_WEAK: &str = "PROVIDER_SIGN_IN_TOO_WEAK";

/// A person who signed in at the issuer so many seconds ago, with this class.
fn signed_in(subject: &str, seconds_ago: Option<i64>, acr: Option<&str>) -> Value {
    let mut claims = person(subject, "ada@example.org");
    if let Some(seconds_ago) = seconds_ago {
        claims["auth_time"] = (chassis::clock::now().unix_timestamp() - seconds_ago).into();
    }
    if let Some(acr) = acr {
        claims["acr"] = acr.into();
    }
    claims
}

fn query(url: &str) -> BTreeMap<String, String> {
    url.parse::<Url>().expect("a URL").query_pairs().into_owned().collect()
}

#[tokio::test]
async fn the_age_and_the_class_of_a_sign_in_at_an_issuer_are_checked() {
    let (cluster, issuer, free) = (Cluster::start().await, TestIssuer::start().await, TestIssuer::start().await);
    let mut entry = issuer.entry("one");
    entry["maxAge"] = "1h".into();
    entry["acrValues"] = json!(["urn:example:gold", "urn:example:silver"]);
    let entries = json!([entry, free.entry("free")]).to_string();
    let settings = [("BACKLOT_PUBLIC_URL", "https://apps.example"), ("BACKLOT_OIDC_PROVIDERS", entries.as_str())];
    let replica = cluster.auth_with(Settings(&settings)).await;
    let gateway = replica.gateway();

    let asked = query(&gateway.start_at("one").await.expect("begun").authorization_url);
    assert_eq!((asked["max_age"].as_str(), asked["acr_values"].as_str()), ("3600", "urn:example:gold urn:example:silver"));
    let asked = query(&gateway.start_at("free").await.expect("begun").authorization_url);
    assert!(!asked.contains_key("max_age") && !asked.contains_key("acr_values"), "{asked:?}");

    let silver = Some("urn:example:silver");
    for (row, claims, reason) in [
        ("an old sign-in", signed_in("1", Some(7_200), silver), TOO_OLD),
        ("no time of the sign-in", signed_in("1", None, silver), REFUSED),
        ("a sign-in in the future", signed_in("1", Some(-7_200), silver), REFUSED),
        ("another class", signed_in("1", Some(10), Some("urn:example:bronze")), TOO_WEAK),
        ("no class", signed_in("1", Some(10), None), TOO_WEAK),
    ] {
        let refused = gateway.sign_in_at(("one", &issuer), claims).await.expect_err(row);
        assert_eq!(refused.reason, reason, "{row}: {refused:?}");
    }
    let users: i64 = sqlx::query_scalar("select count(*) from users").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(users, 0, "a refused sign-in makes no account");

    let honest = gateway.sign_in_at(("one", &issuer), signed_in("1", Some(10), silver)).await.expect("a session");
    let access = gateway.exchange(&honest.session_token).await.expect("token").access_token;
    let refused = gateway.link_at(("one", &issuer), signed_in("2", Some(7_200), silver), &access).await.expect_err("an old sign-in");
    assert_eq!(refused.reason, TOO_OLD, "a link is refused, too");
    gateway.sign_in_at(("free", &free), person("1", "grace@example.org")).await.expect("nothing is required of the other issuer");
}
