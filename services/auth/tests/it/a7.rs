//! Row A7 of the reference: sign-ins at two issuers that the test starts. An answer that is not exactly the awaited one signs nobody in,
//! makes no account and links nothing.

use proto::{
    auth::{FinishProviderSignInRequest, StartProviderSignInRequest},
    error::ErrorCode,
};
use serde_json::{Value, json};

use crate::{
    harness::{Client, Cluster, PASSWORD, Replica, answer},
    issuer::{Misbehavior, Returned, TestIssuer, honest_discovery, person},
    mailbox::Mailbox,
};

/// Two honest issuers, and one that does not name itself in its answers.
pub(crate) struct Fixture {
    pub(crate) cluster: Cluster,
    pub(crate) one: TestIssuer,
    pub(crate) two: TestIssuer,
    quiet: TestIssuer,
    pub(crate) replica: Replica,
    pub(crate) mailbox: Mailbox,
}

impl Fixture {
    pub(crate) async fn start(more: &[(&str, &str)]) -> Self {
        let (cluster, one, two, quiet) =
            (Cluster::start().await, TestIssuer::start().await, TestIssuer::start().await, TestIssuer::with(false).await);
        let entries = json!([one.entry("one"), two.entry("two"), quiet.entry("quiet")]).to_string();
        let base = [("BACKLOT_OIDC_PROVIDERS", entries.as_str()), ("BACKLOT_PROVIDER_TIMEOUT", "2s")];
        let mailbox = Mailbox::new();
        let replica = mailbox.auth(&cluster, &[&base[..], more].concat()).await;
        Self { cluster, one, two, quiet, replica, mailbox }
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(sql).fetch_one(&self.cluster.database.pool).await.expect("count")
    }

    pub(crate) fn quiet(&self) -> &TestIssuer {
        &self.quiet
    }

    async fn assert_nothing_happened(&self, row: &str) {
        for table in ["users", "sessions", "identities"] {
            assert_eq!(self.count(table).await, 0, "{row}: {table}");
        }
    }
}

#[tokio::test]
async fn a7_an_honest_issuer_signs_a_person_in_to_one_account() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let begun = gateway.start_at("one").await.expect("begun");
    for part in ["redirect_uri=https%3A%2F%2Fapps.example%2Faccount%2Foauth%2Fone%2Fcallback", "scope=openid+email+profile"] {
        assert!(begun.authorization_url.contains(part), "{part} in {}", begun.authorization_url);
    }
    let returned = fixture.one.authorize(&begun.authorization_url, person("1", "Ada@Example.org"));
    let first = gateway.finish_at("one", &begun.browser_secret, &returned, None).await.expect("a session");
    let access = gateway.exchange(&first.session_token).await.expect("token");
    let user = access.user.expect("a user");
    assert_eq!((user.email.as_str(), user.display_name.as_str()), ("Ada@example.org", "Ada"));
    // The key is issuer and subject: the same person with another address, and another person with the same subject.
    let again = gateway.sign_in_at(("one", &fixture.one), person("1", "ada@other.example")).await.expect("a session");
    let again = gateway.exchange(&again.session_token).await.expect("token").user.expect("a user");
    assert_eq!((again.id.as_str(), again.email.as_str()), (user.id.as_str(), "Ada@example.org"));
    let other = gateway.sign_in_at(("two", &fixture.two), person("1", "eve@example.org")).await.expect("a session");
    assert_ne!(gateway.exchange(&other.session_token).await.expect("token").user.expect("a user").id, user.id);
    let verified: bool = sqlx::query_scalar("select bool_and(verified_at is not null and password_hash is null) from users")
        .fetch_one(&fixture.cluster.database.pool)
        .await
        .expect("rows");
    assert!(verified && fixture.count("users").await == 2);
    assert_eq!(gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("no password").reason, "BAD_CREDENTIALS");
    assert_eq!(fixture.count("provider_flows").await, 0);
}

/// Each row is one way in which an ID token or the answer with it is not valid.
#[tokio::test]
async fn a7_an_answer_of_an_issuer_that_is_not_valid_is_refused() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let rows: [(&str, Misbehavior, &str); 26] = [
        ("another issuer", Misbehavior::Claims(|c| c["iss"] = "https://two.example".into()), "PROVIDER_REFUSED"),
        ("issuer with a slash", Misbehavior::Claims(|c| c["iss"] = format!("{}/", c["iss"].as_str().unwrap()).into()), "PROVIDER_REFUSED"),
        ("no issuer", Misbehavior::Claims(|c| drop(c.as_object_mut().unwrap().remove("iss"))), "PROVIDER_REFUSED"),
        ("another audience", Misbehavior::Claims(|c| c["aud"] = "another-client".into()), "PROVIDER_REFUSED"),
        ("two audiences", Misbehavior::Claims(|c| c["aud"] = json!(["backlot-test", "another-client"])), "PROVIDER_REFUSED"),
        ("no audience", Misbehavior::Claims(|c| drop(c.as_object_mut().unwrap().remove("aud"))), "PROVIDER_REFUSED"),
        ("another nonce", Misbehavior::Claims(|c| c["nonce"] = "x".repeat(43).into()), "PROVIDER_REFUSED"),
        ("empty nonce", Misbehavior::Claims(|c| c["nonce"] = "".into()), "PROVIDER_REFUSED"),
        ("no nonce", Misbehavior::Claims(|c| drop(c.as_object_mut().unwrap().remove("nonce"))), "PROVIDER_REFUSED"),
        ("expired", Misbehavior::Claims(|c| c["exp"] = 1_000_000_000.into()), "PROVIDER_REFUSED"),
        ("no expiry", Misbehavior::Claims(|c| drop(c.as_object_mut().unwrap().remove("exp"))), "PROVIDER_REFUSED"),
        ("null subject", Misbehavior::Claims(|c| c["sub"] = Value::Null), "PROVIDER_REFUSED"),
        ("empty subject", Misbehavior::Claims(|c| c["sub"] = "".into()), "PROVIDER_REFUSED"),
        ("blank subject", Misbehavior::Claims(|c| c["sub"] = " ".into()), "PROVIDER_REFUSED"),
        ("numeric subject", Misbehavior::Claims(|c| c["sub"] = 7.into()), "PROVIDER_REFUSED"),
        ("long subject", Misbehavior::Claims(|c| c["sub"] = "x".repeat(256).into()), "PROVIDER_REFUSED"),
        ("subject with NUL", Misbehavior::Claims(|c| c["sub"] = "a\0".into()), "PROVIDER_REFUSED"),
        ("no subject", Misbehavior::Claims(|c| drop(c.as_object_mut().unwrap().remove("sub"))), "PROVIDER_REFUSED"),
        ("unsigned", Misbehavior::Unsigned, "PROVIDER_REFUSED"),
        ("signed with the secret of the client", Misbehavior::SignedWithSecret, "PROVIDER_REFUSED"),
        ("signed with another key", Misbehavior::OtherKey, "PROVIDER_REFUSED"),
        ("no ID token", Misbehavior::NoIdToken, "PROVIDER_REFUSED"),
        ("a redirect", Misbehavior::Redirects, "PROVIDER_UNAVAILABLE"),
        ("a huge answer", Misbehavior::Huge, "PROVIDER_UNAVAILABLE"),
        ("no answer", Misbehavior::NeverAnswers, "PROVIDER_UNAVAILABLE"),
        ("a broken answer", Misbehavior::Broken, "PROVIDER_REFUSED"),
    ];
    for (row, how, reason) in rows {
        fixture.one.misbehave(how);
        let refused = gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect_err(row);
        assert_eq!(refused.reason, reason, "{row}: {refused:?}");
        fixture.assert_nothing_happened(row).await;
    }
    fixture.one.misbehave(Misbehavior::None);
    gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect("the issuer is honest again");
}

/// Some issuers have the address of a person only at the endpoint for the claims of a person.
#[tokio::test]
async fn a7_an_address_outside_of_the_id_token_is_of_the_same_person_and_verified() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let mut document = honest_discovery(fixture.one.url(), true);
    document["userinfo_endpoint"] = format!("{}/user-info", fixture.one.url()).into();
    fixture.one.discover(document);
    let unverified = json!({ "sub": "1", "email": "ada@example.org", "email_verified": false });
    for (row, claims, reason) in [
        ("a redirect", None, "PROVIDER_UNAVAILABLE"),
        ("another person", Some(person("2", "ada@example.org")), "PROVIDER_REFUSED"),
        ("an address that is not verified", Some(unverified), "EMAIL_UNVERIFIED"),
    ] {
        fixture.one.tell(claims);
        let refused = gateway.sign_in_at(("one", &fixture.one), json!({ "sub": "1" })).await.expect_err(row);
        assert_eq!(refused.reason, reason, "{row}: {refused:?}");
        fixture.assert_nothing_happened(row).await;
    }
    fixture.one.tell(Some(person("1", "ada@example.org")));
    let begun = gateway.sign_in_at(("one", &fixture.one), json!({ "sub": "1" })).await.expect("a session");
    assert_eq!(gateway.exchange(&begun.session_token).await.expect("token").user.expect("a user").email, "ada@example.org");
}

/// Each row is one answer that this browser does not wait for.
#[tokio::test]
async fn a7_an_answer_that_no_flow_of_the_browser_waits_for_is_refused() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    type Change = fn(&mut (String, String, Returned), &(String, Returned));
    // Provider and secret of the browser and its answer; the attacker's secret and answer at the same provider.
    let rows: [(&str, Change, &str); 12] = [
        ("no state", |own, _| own.2.state.clear(), "FLOW_INVALID"),
        ("another state", |own, _| own.2.state = "x".repeat(43), "FLOW_INVALID"),
        ("the attacker's state in the victim's browser", |own, other| own.2 = other.1.clone(), "FLOW_INVALID"),
        ("the attacker's browser with the victim's answer", |own, other| own.1.clone_from(&other.0), "FLOW_INVALID"),
        ("no secret of the browser", |own, _| own.1.clear(), "FLOW_INVALID"),
        ("another provider", |own, _| own.0 = "two".to_owned(), "FLOW_INVALID"),
        ("an unknown provider", |own, _| own.0 = "three".to_owned(), "FLOW_INVALID"),
        ("no code", |own, _| own.2.code.clear(), "FLOW_INVALID"),
        ("an unknown code", |own, _| own.2.code = "x".to_owned(), "PROVIDER_REFUSED"),
        ("the attacker's code in the victim's flow", |own, other| own.2.code.clone_from(&other.1.code), "PROVIDER_REFUSED"),
        ("an answer of another issuer", |own, _| own.2.issuer = "https://two.example".to_owned(), "PROVIDER_REFUSED"),
        ("an answer without its issuer", |own, _| own.2.issuer.clear(), "PROVIDER_REFUSED"),
    ];
    for (row, change, reason) in rows {
        let (mine, theirs) = (gateway.start_at("one").await.expect("begun"), gateway.start_at("one").await.expect("begun"));
        let returned = fixture.one.authorize(&mine.authorization_url, person("1", "ada@example.org"));
        let other = (theirs.browser_secret, fixture.one.authorize(&theirs.authorization_url, person("2", "eve@example.org")));
        let mut own = ("one".to_owned(), mine.browser_secret, returned);
        change(&mut own, &other);
        let refused = gateway.finish_at(&own.0, &own.1, &own.2, None).await.expect_err(row);
        assert_eq!(refused.reason, reason, "{row}: {refused:?}");
        fixture.assert_nothing_happened(row).await;
    }
}

/// The victim starts at the attacker's issuer, which answers with a code of the honest one: the code must not go to the attacker.
#[tokio::test]
async fn a7_a_mixed_up_code_reaches_no_other_issuer() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    for (attacker, name) in [(&fixture.two, "two"), (&fixture.quiet, "quiet")] {
        let (at_attacker, at_honest) = (gateway.start_at(name).await.expect("begun"), gateway.start_at("one").await.expect("begun"));
        let honest = fixture.one.authorize(&at_honest.authorization_url, person("1", "ada@example.org"));
        let state = attacker.authorize(&at_attacker.authorization_url, person("1", "ada@example.org")).state;
        let mixed = Returned { state, ..honest.clone() };
        let before = (attacker.token_requests(), fixture.one.token_requests());
        // With the address of either provider.
        let refused = gateway.finish_at(name, &at_attacker.browser_secret, &mixed, None).await.expect_err("mixed");
        assert_eq!(refused.reason, "PROVIDER_REFUSED");
        let refused = gateway.finish_at("one", &at_attacker.browser_secret, &mixed, None).await.expect_err("mixed");
        assert_eq!(refused.reason, "FLOW_INVALID");
        assert_eq!((attacker.token_requests(), fixture.one.token_requests()), before, "no code was sent");
    }
    fixture.assert_nothing_happened("mix-up").await;
}

/// The nonce protects even if an issuer does not check PKCE.
#[tokio::test]
async fn a7_a_swapped_code_is_refused_although_the_issuer_accepts_it() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    fixture.one.misbehave(Misbehavior::IgnoresPkce);
    let (mine, theirs) = (gateway.start_at("one").await.expect("begun"), gateway.start_at("one").await.expect("begun"));
    let own = fixture.one.authorize(&mine.authorization_url, person("1", "ada@example.org"));
    let other = fixture.one.authorize(&theirs.authorization_url, person("2", "eve@example.org"));
    let swapped = Returned { code: other.code, ..own };
    let before = fixture.one.token_requests();
    let refused = gateway.finish_at("one", &mine.browser_secret, &swapped, None).await.expect_err("swapped");
    assert_eq!((refused.reason.as_str(), fixture.one.token_requests()), ("PROVIDER_REFUSED", before + 1));
    fixture.assert_nothing_happened("swap").await;
}

#[tokio::test]
async fn a7_a_state_works_once_and_for_ten_minutes() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let begun = gateway.start_at("one").await.expect("begun");
    let returned = fixture.one.authorize(&begun.authorization_url, person("1", "ada@example.org"));
    sqlx::query("update provider_flows set expires_at = now()").execute(&fixture.cluster.database.pool).await.expect("expired");
    let refused = gateway.finish_at("one", &begun.browser_secret, &returned, None).await.expect_err("expired");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::InvalidArgument, "FLOW_INVALID"));

    // Row A4: of fifty uses at once one succeeds.
    let begun = gateway.start_at("one").await.expect("begun");
    let returned = fixture.one.authorize(&begun.authorization_url, person("1", "ada@example.org"));
    let uses = (0..50).map(|_| gateway.finish_at("one", &begun.browser_secret, &returned, None));
    let results = futures::future::join_all(uses).await;
    let refused: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).map(|fault| fault.reason.as_str()).collect();
    assert_eq!(refused, ["FLOW_INVALID"; 49]);
    assert_eq!((fixture.count("users").await, fixture.count("sessions").await), (1, 1));
}

#[tokio::test]
async fn a7_a_refusal_at_the_provider_is_named() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let begun = gateway.start_at("one").await.expect("begun");
    let returned = fixture.one.authorize(&begun.authorization_url, person("1", "ada@example.org"));
    let message = FinishProviderSignInRequest {
        provider: "one".into(),
        browser_secret: begun.browser_secret,
        state: returned.state,
        error: "access_denied".into(),
        ..Default::default()
    };
    let refused = answer(gateway.client.clone().finish_provider_sign_in(gateway.request(message)).await).expect_err("denied");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Forbidden, "PROVIDER_DENIED"));
}

/// The documents of an issuer are checked before a browser is sent there.
#[tokio::test]
async fn a7_an_issuer_with_foreign_documents_is_not_used() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let (one, two) = (fixture.one.url().to_owned(), fixture.two.url().to_owned());
    fixture.one.discover(honest_discovery(&two, true));
    assert_eq!(gateway.start_at("one").await.expect_err("of another issuer").reason, "PROVIDER_UNAVAILABLE");
    fixture.two.discover(json!({ "issuer": two, "authorization_endpoint": format!("{one}/authorize") }));
    assert_eq!(gateway.start_at("two").await.expect_err("incomplete").reason, "PROVIDER_UNAVAILABLE");
    assert_eq!(gateway.start_at("three").await.expect_err("unknown").reason, "PROVIDER_NOT_FOUND");
    gateway.start_at("quiet").await.expect("an issuer that fails stops no other one");
}

/// A rogue issuer makes auth ask addresses of the network that it is in: none of them is reached.
#[tokio::test]
async fn a7_the_documents_of_an_issuer_lead_to_no_private_address() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    // The issuers are at 127.0.0.1, which the settings therefore allow.
    let sinkhole = tokio::net::TcpListener::bind("127.0.0.2:0").await.expect("a port");
    let private = sinkhole.local_addr().expect("address");
    for (name, issuer, names_issuer, address) in [
        ("one", &fixture.one, true, format!("http://{private}/keys")),
        ("two", &fixture.two, true, format!("https://{private}/keys")),
        ("quiet", &fixture.quiet, false, "http://169.254.169.254/latest/meta-data".to_owned()),
    ] {
        let mut document = honest_discovery(issuer.url(), names_issuer);
        document["jwks_uri"] = address.as_str().into();
        issuer.discover(document);
        assert_eq!(gateway.start_at(name).await.expect_err(&address).reason, "PROVIDER_UNAVAILABLE", "{address}");
    }
    assert!(futures::FutureExt::now_or_never(sinkhole.accept()).is_none(), "nobody has connected");
}

#[tokio::test]
async fn a7_an_address_links_nothing() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    for (row, claims) in [
        ("not verified", json!({ "sub": "1", "email": "ada@example.org", "email_verified": false })),
        ("not said", json!({ "sub": "1", "email": "ada@example.org" })),
        ("no address", json!({ "sub": "1", "email_verified": true })),
        ("no valid address", json!({ "sub": "1", "email": "ada", "email_verified": true })),
        ("null", json!({ "sub": "1", "email": null, "email_verified": null })),
    ] {
        let refused = gateway.sign_in_at(("one", &fixture.one), claims).await.expect_err(row);
        assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Forbidden, "EMAIL_UNVERIFIED"), "{row}");
        fixture.assert_nothing_happened(row).await;
    }
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("an account");
    sqlx::query("update users set verified_at = now()").execute(&fixture.cluster.database.pool).await.expect("verified");
    for email in ["ada@example.org", "ADA@EXAMPLE.ORG", "ａｄａ@example.org"] {
        let refused = gateway.sign_in_at(("one", &fixture.one), person("1", email)).await.expect_err(email);
        assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Conflict, "EMAIL_TAKEN"), "{email}");
    }
    assert_eq!((fixture.count("users").await, fixture.count("identities").await), (1, 0));
    gateway.sign_in("ada@example.org", PASSWORD).await.expect("the account is as it was");
}

/// A link completes only in the session that began it.
#[tokio::test]
async fn a7_a_link_needs_the_session_that_began_it() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let access = async |email: &str| -> String {
        let session = gateway.sign_up(email, PASSWORD).await.expect("an account").session_token;
        gateway.exchange(&session).await.expect("token").access_token
    };
    let (ada, eve) = (access("ada@example.org").await, access("eve@example.org").await);
    let begin = async |token: Option<&str>| {
        let message = StartProviderSignInRequest { provider: "one".into(), link: true, ..Default::default() };
        gateway.start_with(message, token).await
    };
    assert_eq!(begin(None).await.expect_err("nobody").reason, "TOKEN_MISSING");
    for other in [None, Some(eve.as_str())] {
        let begun = begin(Some(&ada)).await.expect("begun");
        let returned = fixture.one.authorize(&begun.authorization_url, person("9", "eve@evil.example"));
        let refused = gateway.finish_at("one", &begun.browser_secret, &returned, other).await.expect_err("another session");
        assert_eq!(refused.reason, "FLOW_INVALID");
    }
    // A sign-out in between.
    let begun = begin(Some(&ada)).await.expect("begun");
    let returned = fixture.one.authorize(&begun.authorization_url, person("9", "ada@example.org"));
    sqlx::query("delete from sessions").execute(&fixture.cluster.database.pool).await.expect("ended");
    let refused = gateway.finish_at("one", &begun.browser_secret, &returned, Some(&ada)).await.expect_err("ended");
    assert_eq!((refused.reason.as_str(), fixture.count("identities").await), ("FLOW_INVALID", 0));
}

#[tokio::test]
async fn a7_fields_are_bounded() {
    let fixture = Fixture::start(&[]).await;
    let gateway: Client = fixture.replica.gateway();
    type Change = fn(&mut FinishProviderSignInRequest);
    let fields: [(&str, Change, &str); 7] = [
        ("provider", |m| m.provider = "x".repeat(33), "must be 1 to 32 characters"),
        ("browser_secret", |m| m.browser_secret = "x".repeat(257), "must be at most 256 characters"),
        ("state", |m| m.state = "x".repeat(257), "must be at most 256 characters"),
        ("code", |m| m.code = "x".repeat(4_097), "must be at most 4096 characters"),
        ("issuer", |m| m.issuer = "x".repeat(513), "must be at most 512 characters"),
        ("error", |m| m.error = "x".repeat(257), "must be at most 256 characters"),
        ("user_agent", |m| m.user_agent = "x".repeat(513), "must be at most 512 characters"),
    ];
    for (field, change, text) in fields {
        let mut message = FinishProviderSignInRequest { provider: "one".into(), ..Default::default() };
        change(&mut message);
        let refused = answer(gateway.client.clone().finish_provider_sign_in(gateway.request(message)).await).expect_err(field);
        assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", field));
        assert_eq!(refused.violations[0].description, text);
    }
}
