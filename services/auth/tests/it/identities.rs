//! Identities of accounts: GitHub, the rules of sign-up, accounts that nobody has verified, links, and the way in that stays.

use std::time::Duration;

use chassis::{
    identity::Caller,
    postgres::{begin, commit},
    testing::{Authenticator, eventually},
};
use proto::{
    auth::{Identity, ListIdentitiesRequest, ListProvidersRequest, StartProviderSignInRequest, UnlinkIdentityRequest},
    error::{ErrorCode, Fault},
};
use serde_json::{Value, json};

use crate::{
    a7::Fixture,
    account_deletion::deletions,
    admin::Admin,
    harness::{Client, Cluster, PASSWORD, Settings, answer},
    issuer::{TestIssuer, person},
    mailbox::verify_all,
    passkeys::ORIGIN,
    voided_mails::blocked,
};

impl Client {
    pub(crate) async fn identities(&self, access_token: &str) -> Result<Vec<Identity>, Box<Fault>> {
        let request = self.authorized(ListIdentitiesRequest {}, access_token);
        answer(self.client.clone().list_identities(request).await).map(|answer| answer.identities)
    }

    async fn unlink(&self, id: &str, access_token: &str) -> Result<(), Box<Fault>> {
        let request = self.authorized(UnlinkIdentityRequest { identity_id: id.into() }, access_token);
        answer(self.client.clone().unlink_identity(request).await).map(drop)
    }
}

fn github(id: u64, emails: &Value) -> Value {
    json!({ "user": { "id": id, "login": "ada-l", "name": "Ada Lovelace" }, "emails": emails })
}

async fn github_replica(cluster: &Cluster, site: &TestIssuer) -> crate::harness::Replica {
    let settings = [
        ("BACKLOT_PUBLIC_URL", "https://apps.example"),
        ("BACKLOT_GITHUB_CLIENT_ID", "backlot-test"),
        ("BACKLOT_GITHUB_CLIENT_SECRET", "a client secret of the test"),
        ("BACKLOT_GITHUB_URL", site.url()),
    ];
    cluster.auth_with(Settings(&settings)).await
}

#[tokio::test]
async fn github_signs_in_by_the_numeric_id_and_the_primary_verified_address() {
    let (cluster, site) = (Cluster::start().await, TestIssuer::with(false).await);
    let gateway = github_replica(&cluster, &site).await.gateway();
    let begun = gateway.start_at("github").await.expect("begun");
    assert!(begun.authorization_url.starts_with(&format!("{}/login/oauth/authorize?", site.url())), "{}", begun.authorization_url);
    let primary = json!([{ "email": "old@example.org", "primary": false, "verified": true },
                         { "email": "ada@example.org", "primary": true, "verified": true }]);
    let first = gateway.sign_in_at(("github", &site), github(7, &primary)).await.expect("a session");
    let user = gateway.exchange(&first.session_token).await.expect("token").user.expect("a user");
    assert_eq!((user.email.as_str(), user.display_name.as_str()), ("ada@example.org", "Ada Lovelace"));
    let again = gateway.sign_in_at(("github", &site), github(7, &json!([]))).await.expect("a session");
    assert_eq!(gateway.exchange(&again.session_token).await.expect("token").user.expect("a user").id, user.id);
    for emails in [
        json!([]),
        json!([{ "email": "eve@example.org", "primary": true, "verified": false }]),
        json!([{ "email": "eve@example.org", "primary": false, "verified": true }]),
    ] {
        let refused = gateway.sign_in_at(("github", &site), github(8, &emails)).await.expect_err("no address");
        assert_eq!(refused.reason, "EMAIL_UNVERIFIED", "{emails}");
    }
    for user in
        [json!({ "login": "x" }), json!({ "id": null, "login": "x" }), json!({ "id": "7", "login": "x" }), json!({ "id": 0, "login": "x" })]
    {
        let claims = json!({ "user": user, "emails": primary });
        assert_eq!(gateway.sign_in_at(("github", &site), claims).await.expect_err("no id").reason, "PROVIDER_REFUSED", "{user}");
    }
    let begun = gateway.start_at("github").await.expect("begun");
    let mut returned = site.authorize(&begun.authorization_url, github(7, &primary));
    returned.issuer = "https://other.example".to_owned();
    let refused = gateway.finish_at("github", &begun.browser_secret, &returned, None).await.expect_err("another issuer");
    assert_eq!(refused.reason, "PROVIDER_REFUSED");
}

#[tokio::test]
async fn without_settings_there_are_no_providers() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let listed = answer(gateway.client.clone().list_providers(gateway.request(ListProvidersRequest {})).await).expect("a list");
    assert!(listed.providers.is_empty() && !listed.invite_required);
    let refused = gateway.start_at("github").await.expect_err("no provider");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::NotFound, "PROVIDER_NOT_FOUND"));
}

#[tokio::test]
async fn a_new_person_gets_an_account_by_the_rules_of_sign_up() {
    for (settings, reason) in [
        (&[("BACKLOT_SIGNUP", "open")][..], None),
        (&[("BACKLOT_SIGNUP", "verify")], None),
        (&[("BACKLOT_SIGNUP", "closed")], Some("SIGNUP_CLOSED")),
        (&[("BACKLOT_SIGNUP", "invite")], Some("INVITE_REQUIRED")),
        (&[("BACKLOT_SIGNUP_DOMAINS", "example.org")], None),
        (&[("BACKLOT_SIGNUP_DOMAINS", "example.com")], Some("SIGNUP_CLOSED")),
    ] {
        let fixture = Fixture::start(settings).await;
        let gateway = fixture.replica.gateway();
        let result = gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await;
        assert_eq!(result.as_ref().err().map(|fault| fault.reason.as_str()), reason, "{settings:?}");
        assert_eq!(fixture.count("users").await, i64::from(reason.is_none()), "{settings:?}");
        assert_eq!(fixture.count("identities").await, i64::from(reason.is_none()), "{settings:?}");
    }
}

/// Somebody signs up with the address of another person before that person comes: nothing of theirs stays usable.
#[tokio::test]
async fn an_unverified_account_yields_to_who_proves_its_address() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let squatter = gateway.sign_up("ada@example.org", PASSWORD).await.expect("an account");
    let access = gateway.access_of(&squatter.session_token).await;
    gateway.link_at(("two", &fixture.two), person("squatter", "eve@example.org"), &access).await.expect("linked");
    let program = gateway.refresh_token(&access).await.expect("a program").refresh_token;

    let owner = gateway.sign_in_at(("one", &fixture.one), person("1", "ADA@example.org")).await.expect("a session");
    let user = gateway.exchange(&owner.session_token).await.expect("token").user.expect("a user");
    assert_eq!((user.email.as_str(), fixture.count("users").await), ("ada@example.org", 1));
    assert_eq!(user.display_name, "Ada", "that of the squatter was `ada`");
    assert_eq!(gateway.exchange(&squatter.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.refresh(&program).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("no password").reason, "BAD_CREDENTIALS");
    // A provider key that the squatter has stored would send the owner's prompts to the squatter.
    let [keys] = &deletions(&fixture.replica, Caller::AgentStreaming).await[..] else { panic!("an entry for the keys") };
    assert_eq!((keys.user_id.as_str(), keys.only_keys), (user.id.as_str(), true));
    assert!(deletions(&fixture.replica, Caller::ProjectStorage).await.is_empty(), "the account stays");
    // The squatter's identity is a new person now.
    let other = gateway.sign_in_at(("two", &fixture.two), person("squatter", "eve@example.org")).await.expect("a session");
    assert_ne!(gateway.exchange(&other.session_token).await.expect("token").user.expect("a user").id, user.id);
    let refused = gateway.sign_in_at(("two", &fixture.two), person("2", "ada@example.org")).await.expect_err("verified by now");
    assert_eq!(refused.reason, "EMAIL_TAKEN");
}

#[tokio::test]
async fn a_mail_tells_of_a_linked_and_an_unlinked_identity() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let session = gateway.sign_up("ada@example.org", PASSWORD).await.expect("an account").session_token;
    let access = gateway.access_of(&session).await;
    gateway.link_at(("one", &fixture.one), person("1", "ada@work.example"), &access).await.expect("linked");
    gateway.link_at(("one", &fixture.one), person("1", "ada@work.example"), &access).await.expect("once more changes nothing");
    let id = gateway.identities(&access).await.expect("a list").remove(0).id;
    gateway.unlink(&id, &access).await.expect("unlinked");
    let mut mails: Vec<_> = fixture.mailbox.settled(&fixture.cluster).await.into_iter().map(|mail| (mail.to, mail.subject)).collect();
    mails.sort();
    let to_ada = |subject: &str| ("ada@example.org".to_owned(), subject.to_owned());
    assert_eq!(mails, [to_ada("Another sign-in was linked to your account"), to_ada("Another sign-in was unlinked from your account")]);
}

/// Somebody with another session of the account may have asked for the address.
#[tokio::test]
async fn an_unlinked_identity_voids_the_link_to_a_new_address() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let session = gateway.sign_up("ada@example.org", PASSWORD).await.expect("an account").session_token;
    let access = gateway.access_of(&session).await;
    gateway.link_at(("one", &fixture.one), person("1", "ada@work.example"), &access).await.expect("linked");
    gateway.change_email(&access, "new@example.org").await.expect("accepted");
    let mails = fixture.mailbox.settled(&fixture.cluster).await;
    let token = mails.into_iter().find(|mail| mail.to == "new@example.org").expect("a mail").token();
    let id = gateway.identities(&access).await.expect("a list").remove(0).id;
    gateway.unlink(&id, &access).await.expect("unlinked");
    assert_eq!(gateway.confirm_email(&access, &token).await.expect_err("void").reason, "LINK_INVALID");
}

/// The session ends while the provider is asked where the browser goes.
#[tokio::test]
async fn a_link_of_a_session_that_ends_meanwhile_is_refused() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let session = gateway.sign_up("ada@example.org", PASSWORD).await.expect("an account").session_token;
    let access = gateway.access_of(&session).await;
    let pool = &fixture.cluster.database.pool;
    let mut ending = begin(pool).await.expect("a transaction");
    sqlx::query("delete from sessions").execute(&mut *ending).await.expect("ended");
    let message = StartProviderSignInRequest { provider: "one".into(), link: true, ..Default::default() };
    let (begun, ()) = tokio::join!(gateway.start_with(message, Some(&access)), async {
        blocked(pool, "insert into provider_flows").await;
        commit(ending).await.expect("committed");
    });
    assert_eq!(begun.expect_err("ended").reason, "SESSION_ENDED");
}

/// The proof with which the link began is void then.
#[tokio::test]
async fn a_link_needs_a_second_factor_that_was_added_meanwhile() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let session = gateway.sign_up("ada@example.org", PASSWORD).await.expect("an account").session_token;
    let access = gateway.access_of(&session).await;
    let message = StartProviderSignInRequest { provider: "one".into(), link: true, ..Default::default() };
    let begun = gateway.start_with(message, Some(&access)).await.expect("begun");
    gateway.add_app(&access).await;
    let returned = fixture.one.authorize(&begun.authorization_url, person("1", "ada@work.example"));
    let refused = gateway.finish_at("one", &begun.browser_secret, &returned, Some(&access)).await.expect_err("no second factor");
    assert_eq!((refused.reason.as_str(), fixture.count("identities").await), ("STEP_UP_REQUIRED", 0));
}

/// A provider is only the first step. An app of a stranger does not keep the owner of the address out.
#[tokio::test]
async fn a_second_factor_is_asked_for_after_a_provider() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let owner = gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect("a session").session_token;
    gateway.add_app(&gateway.access_of(&owner).await).await;
    let before = fixture.count("sessions").await;
    let first = gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect_err("a second step");
    assert_eq!((first.code, first.reason.as_str()), (ErrorCode::Unauthenticated, "SECOND_FACTOR_REQUIRED"));
    assert!(!first.metadata["sign_in_token"].is_empty() && fixture.count("sessions").await == before);
    assert!(!first.metadata.contains_key("return_to"), "{first:?}");
    let message = StartProviderSignInRequest { provider: "one".into(), return_to: "keys".into(), ..Default::default() };
    let begun = gateway.start_with(message, None).await.expect("begun");
    let returned = fixture.one.authorize(&begun.authorization_url, person("1", "ada@example.org"));
    let first = gateway.finish_at("one", &begun.browser_secret, &returned, None).await.expect_err("a second step");
    assert_eq!(first.metadata["return_to"], "keys", "the page is not lost");

    let squatter = gateway.sign_up("eve@example.org", PASSWORD).await.expect("an account").session_token;
    gateway.add_app(&gateway.access_of(&squatter).await).await;
    gateway.sign_in_at(("one", &fixture.one), person("2", "eve@example.org")).await.expect("the app of the squatter is gone");
}

/// The same if the owner proves the address by a reset. Of a verified account that which is new goes: a thief of a session may have linked it.
#[tokio::test]
async fn a_reset_removes_new_identities_and_all_of_an_unverified_account() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    for (number, (name, is_verified, days, left)) in (1..).zip([("squatter", false, 8, 0), ("thief", true, 6, 0), ("owner", true, 8, 1)]) {
        let email = format!("{name}@example.org");
        let session = gateway.sign_up(&email, PASSWORD).await.expect("an account").session_token;
        let access = gateway.access_of(&session).await;
        gateway.link_at(("one", &fixture.one), person(name, "eve@example.org"), &access).await.expect("linked");
        let age = "update identities set created_at = now() - make_interval(days => $1)";
        sqlx::query(age).bind(days).execute(&fixture.cluster.database.pool).await.expect("aged");
        if is_verified {
            verify_all(&fixture.cluster).await;
        }
        fixture.mailbox.reset(&fixture.cluster, &gateway, (&email, "another horse battery staple")).await;
        assert_eq!(fixture.count("identities").await, left, "{email}");
        assert_eq!(fixture.count("account_deletions where only_keys").await, number, "{email}: keys of model providers");
        let mails: Vec<_> = fixture.mailbox.settled(&fixture.cluster).await.into_iter().filter(|mail| mail.to == email).collect();
        let has = |subject: &str| mails.iter().any(|mail| mail.subject == subject);
        assert_eq!(has("Another sign-in was unlinked from your account"), left == 0, "{email}");
        let changed = mails.iter().find(|mail| mail.subject == "Your password was changed").expect("a mail");
        let words = changed.raw.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words.contains("Besides the password the account has: an account at one, linked at"), left == 1, "{words}");
    }
}

/// It is as old as the account, and nobody else can have linked it.
#[tokio::test]
async fn a_reset_keeps_the_identity_that_has_proved_the_address() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let session = gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect("a session").session_token;
    gateway.link_at(("two", &fixture.two), person("thief", "eve@example.org"), &gateway.access_of(&session).await).await.expect("linked");
    fixture.mailbox.reset(&fixture.cluster, &gateway, ("ada@example.org", PASSWORD)).await;
    let again = gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect("a session").session_token;
    let left = gateway.identities(&gateway.access_of(&again).await).await.expect("a list");
    assert_eq!(left.iter().map(|identity| identity.provider.as_str()).collect::<Vec<_>>(), ["one"]);
}

#[tokio::test]
async fn a_disabled_account_is_refused() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect("a session");
    Admin::of(&fixture.replica).set_disabled("ada@example.org", true).await.expect("disabled");
    let refused = gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect_err("disabled");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Unauthenticated, "BAD_CREDENTIALS"));
    assert_eq!(fixture.count("sessions").await, 0);
}

#[tokio::test]
async fn a_person_links_lists_and_unlinks_identities() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let (ada, eve) = (gateway.sign_up("ada@example.org", PASSWORD).await, gateway.sign_up("eve@example.org", PASSWORD).await);
    let (ada, eve) = (ada.expect("an account").session_token, eve.expect("an account").session_token);
    let (access, other) = (gateway.access_of(&ada).await, gateway.access_of(&eve).await);
    gateway.link_at(("one", &fixture.one), person("1", "ada@work.example"), &access).await.expect("linked");
    gateway.link_at(("one", &fixture.one), person("1", "ada@work.example"), &access).await.expect("once more changes nothing");
    let listed = gateway.identities(&access).await.expect("a list");
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].provider.as_str(), listed[0].label.as_str()), ("one", "ada@work.example"));
    assert!(gateway.identities(&other).await.expect("a list").is_empty());
    let taken = gateway.link_at(("one", &fixture.one), person("1", "ada@work.example"), &other).await.expect_err("of another account");
    assert_eq!((taken.code, taken.reason.as_str()), (ErrorCode::Conflict, "IDENTITY_TAKEN"));

    let elsewhere = gateway.sign_in_at(("one", &fixture.one), person("1", "x@other.example")).await.expect("a session");
    assert_eq!(gateway.unlink(&listed[0].id, &other).await.expect_err("of another account").reason, "IDENTITY_NOT_FOUND");
    for id in ["", "x", &listed[0].id.to_uppercase()] {
        assert_eq!(gateway.unlink(id, &access).await.expect_err(id).reason, "INVALID_FIELD", "{id}");
    }
    gateway.unlink(&listed[0].id, &access).await.expect("unlinked");
    assert_eq!(gateway.unlink(&listed[0].id, &access).await.expect_err("gone").reason, "IDENTITY_NOT_FOUND");
    assert_eq!(gateway.exchange(&elsewhere.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    gateway.exchange(&ada).await.expect("the session that unlinked goes on");
}

#[tokio::test]
async fn the_last_way_in_stays() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let session = gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect("a session").session_token;
    let access = gateway.access_of(&session).await;
    let only = gateway.identities(&access).await.expect("a list").remove(0).id;
    let refused = gateway.unlink(&only, &access).await.expect_err("the last one");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Conflict, "LAST_SIGN_IN"));
    gateway.link_at(("two", &fixture.two), person("1", "ada@example.org"), &access).await.expect("linked");
    let other = gateway.identities(&access).await.expect("a list").remove(1).id;
    // Of two at once one is refused: one way in stays.
    let results = tokio::join!(gateway.unlink(&only, &access), gateway.unlink(&other, &access));
    let reasons: Vec<_> = [results.0, results.1].into_iter().filter_map(Result::err).map(|fault| fault.reason).collect();
    assert_eq!(reasons, ["LAST_SIGN_IN"]);
    // A provider that the operator has removed is no way in.
    sqlx::query("update identities set issuer = 'https://gone.example'").execute(&fixture.cluster.database.pool).await.expect("changed");
    gateway.link_at(("quiet", fixture.quiet()), person("1", "ada@example.org"), &access).await.expect("linked");
    let linked = gateway.identities(&access).await.expect("a list").pop().expect("one").id;
    assert_eq!(gateway.unlink(&linked, &access).await.expect_err("the last one").reason, "LAST_SIGN_IN");
}

#[tokio::test]
async fn a_passkey_is_another_way_in_only_if_it_signs_in_without_an_address() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let session = gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect("a session").session_token;
    let mut access = gateway.access_of(&session).await;
    let only = gateway.identities(&access).await.expect("a list").remove(0).id;
    for (discoverable, refused) in [(false, Some("LAST_SIGN_IN")), (true, None)] {
        let mut device = Authenticator::at(ORIGIN);
        device.discoverable = discoverable;
        gateway.register(&access, &mut device).await.expect("registered");
        let renewed = gateway.step_up_with(&access, &mut device).await.expect("proved").session_token;
        access = gateway.access_of(&renewed).await;
        let reason = gateway.unlink(&only, &access).await.err().map(|fault| fault.reason);
        assert_eq!(reason.as_deref(), refused);
    }
}

#[tokio::test]
async fn links_change_only_after_a_recent_proof() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let session = gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect("a session").session_token;
    let access = gateway.access_of(&session).await;
    gateway.link_at(("two", &fixture.two), person("1", "ada@example.org"), &access).await.expect("a sign-in at a provider is a proof");
    let first = gateway.identities(&access).await.expect("a list").remove(0).id;
    sqlx::query("update sessions set authenticated_at = now() - interval '11 minutes'")
        .execute(&fixture.cluster.database.pool)
        .await
        .expect("aged");
    for refused in [
        gateway.unlink(&first, &access).await.expect_err("old"),
        gateway.link_at(("one", &fixture.one), person("2", "x@example.org"), &access).await.expect_err("old"),
    ] {
        assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Forbidden, "STEP_UP_REQUIRED"));
    }
    let again = gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect("a session").session_token;
    gateway.unlink(&first, &gateway.access_of(&again).await).await.expect("unlinked");
}

#[tokio::test]
async fn a_program_links_nothing() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let session = gateway.sign_up("ada@example.org", PASSWORD).await.expect("an account").session_token;
    let access = gateway.access_of(&session).await;
    gateway.link_at(("one", &fixture.one), person("1", "ada@example.org"), &access).await.expect("linked");
    let program = gateway.refresh_token(&access).await.expect("a program").refresh_token;
    let program = gateway.refresh(&program).await.expect("token").access_token;
    let listed = gateway.identities(&program).await.expect("a list");
    let refused = gateway.unlink(&listed[0].id, &program).await.expect_err("a program");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Forbidden, "SESSION_REQUIRED"));
    let refused = gateway.link_at(("two", &fixture.two), person("1", "ada@example.org"), &program).await.expect_err("a program");
    assert_eq!(refused.reason, "SESSION_REQUIRED");
}

/// Whoever reads the database finds no secret of a flow, and what nobody completes goes.
#[tokio::test]
async fn a_flow_leaves_only_hashes_and_is_deleted() {
    let fixture = Fixture::start(&[]).await;
    let gateway = fixture.replica.gateway();
    let begun = gateway.start_at("one").await.expect("begun");
    let returned = fixture.one.authorize(&begun.authorization_url, person("1", "ada@example.org"));
    let row: String =
        sqlx::query_scalar("select t::text from provider_flows t").fetch_one(&fixture.cluster.database.pool).await.expect("a row");
    assert!(!row.contains(&begun.browser_secret) && !row.contains(&returned.state), "{row}");
    let later = chassis::clock::now() + Duration::from_secs(601);
    auth::testing::delete_old_rows(&fixture.cluster.database.pool, later).await.expect("deleted");
    eventually(Duration::from_secs(10), || async { (fixture.count("provider_flows").await == 0).then_some(()) }).await;
}
