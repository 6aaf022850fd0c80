use chassis::{clock::from_timestamp, identity::Caller};
use futures::future::join_all;
use proto::{
    auth::{ListProvidersRequest, Plan, SignUpRequest},
    error::ErrorCode,
    id::{SessionId, UserId},
};

use crate::{
    harness::{Cluster, PASSWORD, Settings, answer},
    password_change::change,
};

#[tokio::test]
async fn a_new_account_is_signed_in() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let account = replica.gateway().sign_up("Ada.Lovelace@Example.ORG", PASSWORD).await.expect("account");

    let (user, session) = (account.user.expect("user"), account.session.expect("session"));
    assert_eq!((user.email.as_str(), user.display_name.as_str()), ("Ada.Lovelace@example.org", "Ada.Lovelace"));
    assert_eq!(user.plan(), Plan::Free);
    let _: (UserId, SessionId) = (user.id.parse().expect("id"), session.id.parse().expect("id"));
    let moment = |t: Option<pbjson_types::Timestamp>| from_timestamp(&t.expect("time")).expect("time");
    assert_eq!(moment(session.expire_time) - moment(session.create_time), time::Duration::days(30));
    assert_eq!(account.session_token.len(), 43);

    let access = replica.gateway().exchange(&account.session_token).await.expect("token");
    assert_eq!((access.session_id, access.user.as_ref()), (session.id.clone(), Some(&user)));
    let seen = replica.gateway().session(&access.access_token).await.expect("session");
    assert_eq!((seen.user, seen.session), (Some(user), Some(session)), "the same after a round trip through the database");
}

#[tokio::test]
async fn the_database_contains_no_secret() {
    let cluster = Cluster::start().await;
    let account = cluster.auth().await.gateway().sign_up("ada@example.org", PASSWORD).await.expect("account");
    for table in ["users", "sessions", "signing_keys"] {
        let sql = sqlx::AssertSqlSafe(format!("select coalesce(string_agg(t::text, ''), '') from {table} t"));
        let text: String = sqlx::query_scalar(sql).fetch_one(&cluster.database.pool).await.expect("rows");
        assert!(!text.is_empty() && !text.contains(&account.session_token) && !text.contains(PASSWORD), "{table}");
    }
}

#[tokio::test]
async fn a_new_database_has_no_account() {
    let cluster = Cluster::start().await;
    cluster.auth().await;
    let accounts: i64 = sqlx::query_scalar("select count(*) from users").fetch_one(&cluster.database.pool).await.expect("a number");
    assert_eq!(accounts, 0);
}

#[tokio::test]
async fn an_invalid_field_is_named_with_its_limit_and_no_account_is_created() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let (long, name) = (format!("{}@b.c", "a".repeat(251)), "n".repeat(81));
    let (short, endless) = ("elephant zebra", "x7".repeat(129));
    for (email, password, display_name, field, limit) in [
        ("", PASSWORD, "", "email", "3 to 254 characters"),
        (long.as_str(), PASSWORD, "", "email", "3 to 254 characters"),
        ("a@b@c", PASSWORD, "", "email", "exactly one @"),
        ("a\0@b", PASSWORD, "", "email", "no spaces"),
        ("ada@example.org", "", "", "password", "15 to 256 characters"),
        ("ada@example.org", short, "", "password", "15 to 256 characters"),
        ("ada@example.org", endless.as_str(), "", "password", "15 to 256 characters"),
        ("ada@example.org", PASSWORD, name.as_str(), "display_name", "at most 80 characters"),
        ("ada@example.org", PASSWORD, "Ada\0", "display_name", "no control characters"),
        ("ada@example.org", PASSWORD, "Ada\u{2028}", "display_name", "no control characters"),
        ("ada@example.org", PASSWORD, "nimda\u{202e}", "display_name", "change the direction"),
        ("ada@example.org", PASSWORD, "\u{2067}Ada", "display_name", "change the direction"),
    ] {
        let message =
            SignUpRequest { email: email.into(), password: password.into(), display_name: display_name.into(), ..Default::default() };
        let fault = answer(gateway.client.clone().sign_up(gateway.request(message)).await).expect_err(field);
        assert_eq!(
            (fault.code, fault.reason.as_str(), fault.domain.as_str()),
            (ErrorCode::InvalidArgument, "INVALID_FIELD", "auth.backlot.dev")
        );
        assert_eq!(fault.violations.len(), 1, "{fault:?}");
        assert_eq!(fault.violations[0].field, field);
        assert!(fault.violations[0].description.contains(limit), "{fault:?}");
    }
    let all = SignUpRequest { email: "x".into(), password: "x".into(), display_name: name, ..Default::default() };
    let fault = answer(gateway.client.clone().sign_up(gateway.request(all)).await).expect_err("all");
    assert_eq!(fault.violations.len(), 3, "one answer names all fields");
    let users: i64 = sqlx::query_scalar("select count(*) from users").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(users, 0);
}

#[tokio::test]
async fn values_at_the_limits_are_accepted() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let email = format!("{}@b.c", "a".repeat(250));
    let password: String = "зелёный слон в саду ".chars().cycle().take(256).collect();
    let account = gateway.sign_up(&email, &password).await.expect("account");
    assert_eq!(account.user.expect("user").display_name, "a".repeat(80));
    gateway.sign_in(&email, &password).await.expect("all 256 characters are significant");
    let shorter: String = password.chars().take(255).collect();
    assert_eq!(gateway.sign_in(&email, &shorter).await.expect_err("one character less").reason, "BAD_CREDENTIALS");
}

#[tokio::test]
async fn the_least_length_of_a_new_password_is_a_setting_and_shorter_ones_of_before_stay_valid() {
    let cluster = Cluster::start().await;
    let fifteen = "zqx7!vbwk#3p9mt";
    let (seven, twelve, fourteen) = (&fifteen[..7], &fifteen[..12], &fifteen[..14]);
    let lenient = cluster.auth_with(Settings(&[("BACKLOT_PASSWORD_MIN_LENGTH", "8")])).await.gateway();
    lenient.sign_up("ada@example.org", twelve).await.expect("enough here");
    let refused = lenient.sign_up("eve@example.org", seven).await.expect_err("7");
    assert_eq!(refused.violations[0].description, "must be 8 to 256 characters");

    let gateway = cluster.auth().await.gateway();
    let begun = gateway.sign_in("ada@example.org", twelve).await.expect("a password of before");
    let access = gateway.exchange(&begun.session_token).await.expect("token").access_token;
    let refused = change(&gateway, &access, twelve, fourteen).await.expect_err("14");
    assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", "password"));
    assert_eq!(refused.violations[0].description, "must be 15 to 256 characters");
    change(&gateway, &access, twelve, fifteen).await.expect("15");
    assert_eq!(gateway.sign_up("eve@example.org", fourteen).await.expect_err("14").reason, "INVALID_FIELD");
    gateway.sign_up("eve@example.org", fifteen).await.expect("15");
}

#[tokio::test]
async fn anybody_learns_who_can_sign_up_and_how_long_a_password_is() {
    let cluster = Cluster::start().await;
    let domains = ("BACKLOT_SIGNUP_DOMAINS", "example.org");
    let mut rows = vec![(vec![], 15, [false, false, false])];
    rows.push((vec![domains, ("BACKLOT_PASSWORD_MIN_LENGTH", "20")], 20, [false, false, true]));
    // An invite may be for an address of any domain.
    rows.push((vec![domains, ("BACKLOT_SIGNUP", "invite")], 15, [false, true, false]));
    rows.push((vec![domains, ("BACKLOT_SIGNUP", "closed")], 15, [true, false, false]));
    for (settings, least, who_can) in rows {
        let gateway = cluster.auth_with(Settings(&settings)).await.gateway();
        let listed = answer(gateway.client.clone().list_providers(gateway.request(ListProvidersRequest {})).await).expect("a list");
        let who = [listed.sign_up_closed, listed.invite_required, listed.sign_up_domains_only];
        assert_eq!((listed.password_min_length, who), (least, who_can), "{settings:?}");
    }
}

#[tokio::test]
async fn a_weak_password_is_refused_with_the_cause() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    for password in ["1234567812345678", "qwertyuiopqwertyuiop", "lovelacelovelace", "ada.lovelace@example.org"] {
        let fault = gateway.sign_up("ada.lovelace@example.org", password).await.expect_err(password);
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "WEAK_PASSWORD"));
        assert_eq!(fault.violations[0].field, "password");
        assert!(!fault.violations[0].description.is_empty() && !fault.message.contains(password));
    }
}

#[tokio::test]
async fn all_spellings_of_an_address_are_one_account() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    for email in ["ada@example.org", "ADA@example.org", "ada@EXAMPLE.org"] {
        let fault = gateway.sign_up(email, PASSWORD).await.expect_err(email);
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "EMAIL_TAKEN"));
    }
}

#[tokio::test]
async fn one_of_many_concurrent_sign_ups_gets_the_address() {
    let cluster = Cluster::start().await;
    let (one, other) = (cluster.auth().await.gateway(), cluster.auth().await.gateway());
    let attempts =
        (0..12).map(|i| if i % 2 == 0 { one.sign_up("ada@example.org", PASSWORD) } else { other.sign_up("ada@example.org", PASSWORD) });
    let results = join_all(attempts).await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    assert!(results.iter().filter_map(|r| r.as_ref().err()).all(|f| f.reason == "EMAIL_TAKEN"));
}

#[tokio::test]
async fn closed_sign_up_refuses_everybody_but_an_operator_and_allows_sign_ins() {
    let cluster = Cluster::start().await;
    cluster.auth().await.gateway().sign_up("ada@example.org", PASSWORD).await.expect("open");
    let replica = cluster.auth_with(Settings(&[("BACKLOT_SIGNUP", "closed")])).await;
    let direct = SignUpRequest { email: "eve@example.org".into(), password: PASSWORD.into(), ..SignUpRequest::default() };
    for (caller, fault) in [
        ("a browser", replica.gateway().sign_up("eve@example.org", PASSWORD).await.expect_err("closed")),
        ("a known address", replica.gateway().sign_up("ada@example.org", PASSWORD).await.expect_err("closed")),
        ("a program", answer(replica.direct().sign_up(direct).await).expect_err("closed")),
    ] {
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Forbidden, "SIGNUP_CLOSED"), "{caller}");
    }
    replica.gateway().sign_in("ada@example.org", PASSWORD).await.expect("an existing account signs in");
    let operator = replica.called_by(Caller::Operator, None);
    operator.sign_up("eve@example.org", PASSWORD).await.expect("an operator creates accounts");
    replica.gateway().sign_in("eve@example.org", PASSWORD).await.expect("account");
}
