//! `BACKLOT_SECOND_FACTOR=required`: what a person without a second factor may do, and what the first one changes.

use chassis::testing::Authenticator;
use proto::{
    auth::{ListProvidersRequest, StartProviderSignInRequest},
    error::ErrorCode,
};

use crate::{
    a7::Fixture,
    account_deletion::delete,
    admin::Admin,
    api_keys::{make, reading},
    device,
    harness::{Cluster, PASSWORD, Replica, answer},
    issuer::person,
    mailbox::Mailbox,
    passkeys::ORIGIN,
    password_change::change,
    service_accounts::{create, make_key},
    step_up::claims,
};

const EMAIL: &str = "ada@example.org";

/// A replica that requires a second factor.
async fn requiring(cluster: &Cluster, mailbox: &Mailbox) -> Replica {
    mailbox.auth(cluster, &[("BACKLOT_SECOND_FACTOR", "required")]).await
}

#[tokio::test]
async fn a_person_without_a_required_factor_may_add_one_and_leave() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = requiring(&cluster, &mailbox).await.gateway();
    let listed = answer(gateway.client.clone().list_providers(gateway.request(ListProvidersRequest {})).await).expect("a list");
    assert!(listed.second_factor_required, "the sign-in page leads to the page of factors");
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let limited = gateway.access_of(&begun.session_token).await;
    assert_eq!((&claims(&limited)["aud"], &claims(&limited)["scope"]), (&"backlot-limited".into(), &"second_factor".into()));
    for refused in [
        gateway.sessions(&limited).await.map(drop).expect_err("the account"),
        gateway.refresh_token(&limited).await.map(drop).expect_err("a program"),
        gateway.delete_totp(&limited).await.expect_err("the account"),
        gateway.change_email(&limited, "new@example.org").await.expect_err("the account"),
        make(&gateway, &limited, reading()).await.map(drop).expect_err("a key"),
        create(&gateway, &limited, "ci").await.map(drop).expect_err("a service account"),
        change(&gateway, &limited, PASSWORD, "another horse, another battery").await.map(drop).expect_err("the account"),
    ] {
        assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Forbidden, "SECOND_FACTOR_MISSING"));
    }
    gateway.session(&limited).await.expect("what a page shows");

    assert_eq!(gateway.add_app(&limited).await.len(), 10);
    let full = gateway.access_of(&begun.session_token).await;
    assert_eq!((&claims(&full)["aud"], &claims(&full)["scope"]), (&"backlot-internal".into(), &serde_json::Value::Null));
    assert_eq!(gateway.sessions(&full).await.expect("all rights").len(), 1);
    gateway.sign_out(&begun.session_token).await.expect("signed out");

    let other = gateway.sign_up("eve@example.org", PASSWORD).await.expect("account");
    let limited = gateway.access_of(&other.session_token).await;
    delete(&gateway, &limited, "eve@example.org").await.expect("a person may leave");
}

#[tokio::test]
async fn a_passkey_is_a_required_factor() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = requiring(&cluster, &mailbox).await.gateway();
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let limited = gateway.access_of(&begun.session_token).await;
    let mut device = Authenticator::at(ORIGIN);
    gateway.register(&limited, &mut device).await.expect("registered");
    let full = gateway.access_of(&begun.session_token).await;
    gateway.sessions(&full).await.expect("all rights");
}

/// The gateway sends the cookie of the browser with the answer of a provider. Somebody without a password proves again there who they are.
#[tokio::test]
async fn a_person_without_a_required_factor_signs_in_again_at_a_provider_and_links_nothing() {
    let fixture = Fixture::start(&[("BACKLOT_SECOND_FACTOR", "required")]).await;
    let gateway = fixture.replica.gateway();
    let begun = gateway.sign_in_at(("one", &fixture.one), person("1", EMAIL)).await.expect("an account");
    let limited = gateway.access_of(&begun.session_token).await;

    let again = gateway.start_at("one").await.expect("begun");
    let returned = fixture.one.authorize(&again.authorization_url, person("1", EMAIL));
    let renewed = gateway.finish_at("one", &again.browser_secret, &returned, Some(&limited)).await.expect("a session");
    let limited = gateway.access_of(&renewed.session_token).await;
    assert_eq!(claims(&limited)["scope"], "second_factor");

    let message = || StartProviderSignInRequest { provider: "two".into(), link: true, ..Default::default() };
    let refused = gateway.start_with(message(), Some(&limited)).await.expect_err("a link");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Forbidden, "SECOND_FACTOR_MISSING"));

    // A link that began with all rights does not end without them.
    let codes = gateway.add_app(&limited).await;
    let full = gateway.access_of(&renewed.session_token).await;
    let proved = gateway.step_up_by_code(&full, &codes[0]).await.expect("proved").session_token;
    let full = gateway.access_of(&proved).await;
    let begun = gateway.start_with(message(), Some(&full)).await.expect("begun");
    gateway.delete_totp(&full).await.expect("removed");
    let limited = gateway.access_of(&proved).await;
    let returned = fixture.two.authorize(&begun.authorization_url, person("2", "ada@work.example"));
    let refused = gateway.finish_at("two", &begun.browser_secret, &returned, Some(&limited)).await.expect_err("a link");
    assert_eq!(refused.reason, "SECOND_FACTOR_MISSING");
    assert_eq!(fixture.count("identities").await, 1);
}

/// Whoever knows the password may have begun a session, or a program, before the owner adds the factor.
#[tokio::test]
async fn the_first_required_factor_ends_what_began_without_one() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let optional = mailbox.auth(&cluster, &[]).await.gateway();
    let begun = optional.sign_up(EMAIL, PASSWORD).await.expect("account");
    let before = optional.access_of(&begun.session_token).await;
    let thief = optional.sign_in(EMAIL, PASSWORD).await.expect("session").session_token;
    let program = optional.refresh_token(&before).await.expect("a program").refresh_token;
    let key = make(&optional, &before, reading()).await.expect("a key").secret;

    let gateway = requiring(&cluster, &mailbox).await.gateway();
    for refused in
        [gateway.refresh(&program).await.map(drop).expect_err("a program"), gateway.exchange_key(&key).await.map(drop).expect_err("a key")]
    {
        assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Forbidden, "SECOND_FACTOR_MISSING"));
    }
    optional.refresh(&program).await.expect("the refusal has used no token");
    let limited = gateway.access_of(&begun.session_token).await;
    gateway.add_app(&limited).await;
    assert_eq!(gateway.exchange(&thief).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.refresh(&program).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.exchange_key(&key).await.expect_err("ended").reason, "API_KEY_INVALID");
    let logged = "select count(*) from audit_events where kind = 'second_factor.added' and details->>'sessions' = '3'";
    let logged: i64 = sqlx::query_scalar(logged).fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(logged, 1);
}

/// The person may lose the last factor between the approval and the exchange.
#[tokio::test]
async fn a_device_gets_no_session_of_a_person_without_a_required_factor() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let optional = mailbox.auth(&cluster, &[]).await.gateway();
    let access = optional.signed_up(EMAIL).await;
    let started = device::start(&optional).await;
    device::decide(&optional, &access, &started.user_code, true).await.expect("approved");

    let gateway = requiring(&cluster, &mailbox).await.gateway();
    assert_eq!(device::exchange(&gateway, &started.device_code).await.expect_err("no factor").message, "Denied");
    assert_eq!(optional.sessions(&access).await.expect("sessions").len(), 1, "nothing is half done");
    device::exchange(&optional, &started.device_code).await.expect("the refusal has not used the code");
}

#[tokio::test]
async fn without_the_last_factor_a_session_is_limited_again() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let replica = requiring(&cluster, &mailbox).await;
    let gateway = replica.gateway();
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let codes = gateway.add_app(&gateway.access_of(&begun.session_token).await).await;
    let full = gateway.access_of(&begun.session_token).await;
    let renewed = gateway.step_up_by_code(&full, &codes[0]).await.expect("proved").session_token;
    let full = gateway.access_of(&renewed).await;
    let robot = create(&gateway, &full, "ci").await.expect("a service account");
    let key = make_key(&gateway, &full, &robot.id).await.expect("a key").secret;
    let own = make(&gateway, &full, reading()).await.expect("a key").secret;
    gateway.exchange_key(&own).await.expect("the owner has a factor");

    gateway.delete_totp(&full).await.expect("removed");
    let limited = gateway.access_of(&renewed).await;
    assert_eq!(gateway.sessions(&limited).await.expect_err("limited").reason, "SECOND_FACTOR_MISSING");
    assert_eq!(gateway.exchange_key(&own).await.expect_err("ended with the factor").reason, "API_KEY_INVALID");
    gateway.exchange_key(&key).await.expect("a service account has no factors");
    let acting = Admin::of(&replica).impersonate(EMAIL, "ticket 7", 5).await.expect("session").session_token;
    gateway.sessions(&gateway.access_of(&acting).await).await.expect("an operator has proved in another way who they are");
}
