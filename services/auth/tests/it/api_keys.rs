//! API keys: what they are, what their tokens say, and what ends them.

use chassis::clock::{from_timestamp, now};
use proto::{
    auth::{
        ApiKey, ApiKeyScope, ChangePasswordRequest, CreateApiKeyRequest, CreateApiKeyResponse, DeleteApiKeyRequest, ListApiKeysRequest,
        RevokeSessionsRequest,
    },
    error::{ErrorCode, Fault},
    id::{ProjectId, SessionId},
};
use serde_json::{Value, json};

use crate::{
    harness::{Client, Cluster, PASSWORD, answer, mistyped},
    mailbox::Mailbox,
    session_list::add_many,
    step_up::claims,
};

const ADA: &str = "ada@example.org";

pub(crate) fn reading() -> CreateApiKeyRequest {
    CreateApiKeyRequest { display_name: "ci".into(), scope: ApiKeyScope::Read.into(), ..Default::default() }
}

pub(crate) async fn make(gateway: &Client, access: &str, request: CreateApiKeyRequest) -> Result<CreateApiKeyResponse, Box<Fault>> {
    answer(gateway.client.clone().create_api_key(gateway.authorized(request, access)).await)
}

async fn list(gateway: &Client, access: &str) -> Vec<ApiKey> {
    answer(gateway.client.clone().list_api_keys(gateway.authorized(ListApiKeysRequest::default(), access)).await).expect("keys").api_keys
}

async fn delete(gateway: &Client, access: &str, id: &str) -> Result<(), Box<Fault>> {
    let request = gateway.authorized(DeleteApiKeyRequest { api_key_id: id.into(), ..Default::default() }, access);
    answer(gateway.client.clone().delete_api_key(request).await).map(drop)
}

#[tokio::test]
async fn the_token_of_a_key_has_its_scope_and_projects() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up(ADA).await;
    let projects = [ProjectId::generate(), ProjectId::generate()].map(|id| id.to_string());
    let restricted = CreateApiKeyRequest {
        scope: ApiKeyScope::Write.into(),
        project_ids: vec![projects[1].clone(), projects[0].clone(), projects[1].clone()],
        lifetime_days: 366,
        ..reading()
    };
    for (request, scope, only, days) in
        [(reading(), "read", Value::Null, 90), (restricted, "read write", json!([projects[0], projects[1]]), 366)]
    {
        let made = make(&gateway, &access, request).await.expect("made");
        let key = made.api_key.expect("a key");
        assert!(made.secret.starts_with("blt_pat_") && made.secret.len() == 44 && made.secret.ends_with(&key.last_four));
        let left = from_timestamp(&key.expire_time.expect("time")).expect("time") - now();
        assert!(left <= time::Duration::days(days) && left > time::Duration::days(days - 1), "{left}");
        assert_eq!(key.last_use_time, None);
        let exchanged = gateway.exchange_key(&made.secret).await.expect("exchanged");
        assert_eq!((exchanged.session_id.as_str(), exchanged.refresh_token.as_str()), (key.id.as_str(), ""));
        let claims = claims(&exchanged.access_token);
        assert_eq!((&claims["aud"], &claims["scope"], &claims["sid"]), (&json!("backlot-limited"), &json!(scope), &json!(key.id)));
        let mut found: Vec<String> = serde_json::from_value(claims["projects"].clone()).unwrap_or_default();
        found.sort();
        let mut expected: Vec<String> = serde_json::from_value(only).unwrap_or_default();
        expected.sort();
        assert_eq!(found, expected);
    }
    let listed = list(&gateway, &access).await;
    assert!(listed.len() == 2 && listed.iter().all(|key| key.last_use_time.is_some() && key.network == "192.0.2.0/24"), "{listed:?}");
    assert_eq!(gateway.sessions(&access).await.expect("sessions").len(), 1, "keys are not in the list of sessions");
    let stored: i64 = sqlx::query_scalar("select count(*) from api_keys where encode(token_hash, 'escape') like '%blt_pat_%'")
        .fetch_one(&cluster.database.pool)
        .await
        .expect("a number");
    assert_eq!(stored, 0);
}

#[tokio::test]
async fn an_unknown_deleted_expired_or_mistyped_key_is_refused() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let (ada, eve) = (gateway.signed_up(ADA).await, gateway.signed_up("eve@example.org").await);
    let made = make(&gateway, &ada, reading()).await.expect("made");
    let id = made.api_key.expect("a key").id;
    let refused = async |key: &str| {
        let fault = gateway.exchange_key(key).await.expect_err("refused");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "API_KEY_INVALID"), "{key}");
    };
    for wrong in ["x", "blt_pat_", &mistyped(&made.secret), &made.secret.to_uppercase(), &made.secret.replace("blt_pat_", "blt_rt_")] {
        refused(wrong).await;
    }
    assert_eq!(gateway.exchange(&made.secret).await.expect_err("no session").reason, "SESSION_ENDED", "a key is no session secret");
    assert_eq!(gateway.refresh(&made.secret).await.expect_err("no token").reason, "SESSION_ENDED", "nor a refresh token");
    for (who, id) in [(&eve, id.as_str()), (&ada, &SessionId::generate().to_string())] {
        assert_eq!(delete(&gateway, who, id).await.expect_err("not theirs").reason, "API_KEY_NOT_FOUND");
    }
    let session = gateway.session(&ada).await.expect("session").session.expect("session").id;
    assert_eq!(delete(&gateway, &ada, &session).await.expect_err("no key").reason, "API_KEY_NOT_FOUND");
    gateway.exchange_key(&made.secret).await.expect("still there");
    delete(&gateway, &ada, &id).await.expect("deleted");
    refused(&made.secret).await;
    let other = make(&gateway, &ada, reading()).await.expect("made");
    sqlx::query("update sessions set expires_at = now() where id in (select session_id from api_keys)")
        .execute(&cluster.database.pool)
        .await
        .expect("changed");
    refused(&other.secret).await;
    assert!(list(&gateway, &ada).await.is_empty());
}

#[tokio::test]
async fn a_key_and_a_program_make_no_keys() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up(ADA).await;
    let made = make(&gateway, &access, CreateApiKeyRequest { scope: ApiKeyScope::Write.into(), ..reading() }).await.expect("made");
    let by_key = gateway.exchange_key(&made.secret).await.expect("exchanged").access_token;
    assert_eq!(make(&gateway, &by_key, reading()).await.expect_err("refused").reason, "SCOPE_REQUIRED");
    assert_eq!(gateway.session(&by_key).await.expect_err("refused").reason, "SCOPE_REQUIRED");
    assert_eq!(gateway.refresh_token(&by_key).await.expect_err("refused").reason, "SCOPE_REQUIRED");
    let program = gateway.refresh_token(&access).await.expect("token").refresh_token;
    let by_program = gateway.refresh(&program).await.expect("token").access_token;
    assert_eq!(make(&gateway, &by_program, reading()).await.expect_err("refused").reason, "SESSION_REQUIRED");
    for _ in 0..49 {
        make(&gateway, &access, reading()).await.expect("made");
    }
    assert_eq!(make(&gateway, &access, reading()).await.expect_err("too many").reason, "TOO_MANY_CREDENTIALS");
    gateway.refresh_token(&access).await.expect("keys do not count as programs");
}

#[tokio::test]
async fn a_session_without_a_recent_proof_makes_no_keys_and_deletes_them() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up(ADA).await;
    let id = make(&gateway, &access, reading()).await.expect("made").api_key.expect("a key").id;
    sqlx::query("update sessions set authenticated_at = now() - interval '11 minutes'")
        .execute(&cluster.database.pool)
        .await
        .expect("changed");
    assert_eq!(make(&gateway, &access, reading()).await.expect_err("refused").reason, "STEP_UP_REQUIRED");
    delete(&gateway, &access, &id).await.expect("whoever finds a foreign key deletes it at once");
}

#[tokio::test]
async fn an_invalid_field_is_named() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up(ADA).await;
    let id = ProjectId::generate().to_string();
    for (request, field) in [
        (CreateApiKeyRequest { display_name: " ".into(), ..reading() }, "display_name"),
        (CreateApiKeyRequest { display_name: "a".repeat(81), ..reading() }, "display_name"),
        (CreateApiKeyRequest { scope: 0, ..reading() }, "scope"),
        (CreateApiKeyRequest { scope: 9, ..reading() }, "scope"),
        (CreateApiKeyRequest { lifetime_days: 367, ..reading() }, "lifetime_days"),
        (CreateApiKeyRequest { project_ids: vec![id.clone(); 21], ..reading() }, "project_ids"),
        (CreateApiKeyRequest { project_ids: vec![id, "x".into()], ..reading() }, "project_ids[1]"),
    ] {
        let fault = make(&gateway, &access, request).await.expect_err("refused");
        let fields: Vec<_> = fault.violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!((fault.reason.as_str(), fields), ("INVALID_FIELD", vec![field]));
    }
    assert!(list(&gateway, &access).await.is_empty());
}

#[tokio::test]
async fn what_ends_all_sessions_ends_the_keys_and_a_sign_out_does_not() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let account = gateway.sign_up(ADA, PASSWORD).await.expect("account");
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    let key = make(&gateway, &access, reading()).await.expect("made").secret;
    gateway.sign_out(&account.session_token).await.expect("signed out");
    gateway.exchange_key(&key).await.expect("a sign-out ends only its session");

    let sign_in = async || {
        let session = gateway.sign_in(ADA, PASSWORD).await.expect("session").session_token;
        gateway.exchange(&session).await.expect("token").access_token
    };
    let access = sign_in().await;
    let revoke = gateway.authorized(RevokeSessionsRequest::default(), &access);
    answer(gateway.client.clone().revoke_sessions(revoke).await).expect("revoked");
    assert_eq!(gateway.exchange_key(&key).await.expect_err("ended").reason, "API_KEY_INVALID");

    let key = make(&gateway, &access, reading()).await.expect("made").secret;
    let change =
        ChangePasswordRequest { current_password: PASSWORD.into(), password: "another horse battery staple".into(), ..Default::default() };
    answer(gateway.client.clone().change_password(gateway.authorized(change, &access)).await).expect("changed");
    assert_eq!(gateway.exchange_key(&key).await.expect_err("ended").reason, "API_KEY_INVALID");
    let left: i64 = sqlx::query_scalar("select count(*) from api_keys").fetch_one(&cluster.database.pool).await.expect("a number");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_disabled_account_has_no_keys() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up(ADA).await;
    let key = make(&gateway, &access, reading()).await.expect("made").secret;
    sqlx::query("update users set disabled_at = now()").execute(&cluster.database.pool).await.expect("disabled");
    assert_eq!(gateway.exchange_key(&key).await.expect_err("disabled").reason, "API_KEY_INVALID");
    assert_eq!(make(&gateway, &access, reading()).await.expect_err("disabled").reason, "SESSION_ENDED");
}

#[tokio::test]
async fn the_owner_gets_a_mail_and_the_log_has_what_happened() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    let access = gateway.signed_up(ADA).await;
    let made = make(&gateway, &access, reading()).await.expect("made");
    let id = made.api_key.expect("a key").id;
    delete(&gateway, &access, &id).await.expect("deleted");
    let mails = mailbox.settled(&cluster).await;
    let mail = mails.iter().find(|mail| mail.subject == "New API key for your account").expect("a mail");
    assert!(mail.to == ADA && mail.raw.contains("192.0.2.1") && !mail.raw.contains(&made.secret[8..38]), "{}", mail.raw);
    let events: Vec<(String, Value)> =
        sqlx::query_as("select kind, details from audit_events where kind like 'api_key.%' order by created_at, id")
            .fetch_all(&cluster.database.pool)
            .await
            .expect("events");
    let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["api_key.created", "api_key.deleted"]);
    assert!(events.iter().all(|(_, details)| details["key"] == json!(id)), "{events:?}");
    assert!(!format!("{events:?}").contains(&made.secret[8..38]), "the log has no secrets");
}

#[tokio::test]
async fn many_other_sessions_hide_no_key() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up(ADA).await;
    make(&gateway, &access, reading()).await.expect("a key");
    add_many(&cluster).await;
    assert_eq!(list(&gateway, &access).await.len(), 1);
}
