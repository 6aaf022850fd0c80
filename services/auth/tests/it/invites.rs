//! Sign-up by invite: over the API, at a provider, and fifty at once (row A4).

use chassis::clock::now;
use futures::future::join_all;
use proto::{
    auth::{
        CreateInviteRequest, CreateInviteResponse, Invite, ListInvitesRequest, ListProvidersRequest, RevokeInviteRequest, SignUpRequest,
        SignUpResponse, StartProviderSignInRequest,
    },
    error::{ErrorCode, Fault},
};

use crate::{
    a7::Fixture,
    admin::{Admin, OPERATOR, request},
    harness::{Client, PASSWORD, answer},
    issuer::person,
};

const BY_INVITE: [(&str, &str); 1] = [("BACKLOT_SIGNUP", "invite")];

impl Admin {
    pub(crate) async fn invite(&self, email: &str) -> CreateInviteResponse {
        let message = CreateInviteRequest { email: email.into(), hours: 0, operator: OPERATOR.into() };
        answer(self.client().create_invite(request(message)).await).expect("an invite")
    }

    async fn invites(&self) -> Vec<Invite> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let page = answer(self.client().list_invites(request(ListInvitesRequest { page_size: 2, page_token })).await).expect("a page");
            all.extend(page.invites);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return all;
            }
        }
    }

    async fn revoke_invite(&self, id: &str) -> Result<Invite, Box<Fault>> {
        let message = RevokeInviteRequest { invite_id: id.into(), operator: OPERATOR.into() };
        answer(self.client().revoke_invite(request(message)).await).map(|answer| answer.invite.expect("an invite"))
    }
}

impl Client {
    pub(crate) async fn sign_up_with(&self, email: &str, invite: &str) -> Result<SignUpResponse, Box<Fault>> {
        let message = SignUpRequest { email: email.into(), password: PASSWORD.into(), invite_token: invite.into(), ..Default::default() };
        answer(self.client.clone().sign_up(self.request(message)).await)
    }
}

#[tokio::test]
async fn an_invite_lets_one_person_sign_up() {
    let fixture = Fixture::start(&BY_INVITE).await;
    let (gateway, admin) = (fixture.replica.gateway(), Admin::of(&fixture.replica));
    let listed = answer(gateway.client.clone().list_providers(gateway.request(ListProvidersRequest {})).await).expect("a list");
    assert!(listed.invite_required);
    let refused = gateway.sign_up_with("ada@example.org", "").await.expect_err("no invite");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Forbidden, "INVITE_REQUIRED"));
    let open = admin.invite("").await;
    assert_eq!((open.token.len(), open.url.as_str()), (43, format!("https://apps.example/account/sign-up?token={}", open.token).as_str()));
    for token in ["x", &"x".repeat(43), "a\0b"] {
        let refused = gateway.sign_up_with("ada@example.org", token).await.expect_err("unknown");
        assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::InvalidArgument, "INVITE_INVALID"), "{token:?}");
    }
    assert_eq!(gateway.sign_up_with("ada@example.org", &"x".repeat(257)).await.expect_err("long").violations[0].field, "invite_token");

    // A refused sign-up leaves the invite as it is.
    let message = SignUpRequest {
        email: "ada@example.org".into(),
        password: "passwordpassword".into(),
        invite_token: open.token.clone(),
        ..Default::default()
    };
    let weak = answer(gateway.client.clone().sign_up(gateway.request(message)).await).expect_err("weak");
    assert_eq!(weak.reason, "WEAK_PASSWORD");
    let session = gateway.sign_up_with("ada@example.org", &open.token).await.expect("an account");
    gateway.exchange(&session.session_token).await.expect("a session");
    assert_eq!(gateway.sign_up_with("eve@example.org", &open.token).await.expect_err("used").reason, "INVITE_INVALID");

    let bound = admin.invite("Grace@Example.org").await;
    assert_eq!(gateway.sign_up_with("eve@example.org", &bound.token).await.expect_err("another").reason, "INVITE_INVALID");
    assert_eq!(gateway.sign_up_with("ada@example.org", &admin.invite("").await.token).await.expect_err("taken").reason, "EMAIL_TAKEN");
    gateway.sign_up_with("grace@example.org", &bound.token).await.expect("an account");

    let all = admin.invites().await;
    assert_eq!(all.iter().map(|one| one.used_by.is_empty()).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!((all[1].email.as_str(), all[1].created_by.as_str()), ("Grace@example.org", OPERATOR));
    let stored: String =
        sqlx::query_scalar("select string_agg(t::text, '') from invites t").fetch_one(&fixture.cluster.database.pool).await.expect("rows");
    assert!(!stored.contains(&open.token) && !stored.contains(&bound.token));
}

#[tokio::test]
async fn a_revoked_or_expired_invite_is_refused() {
    let fixture = Fixture::start(&BY_INVITE).await;
    let (gateway, admin) = (fixture.replica.gateway(), Admin::of(&fixture.replica));
    let (revoked, expired, used) = (admin.invite("").await, admin.invite("").await, admin.invite("").await);
    let id = |invite: &CreateInviteResponse| invite.invite.as_ref().expect("an invite").id.clone();
    assert!(admin.revoke_invite(&id(&revoked)).await.expect("revoked").revoke_time.is_some());
    admin.revoke_invite(&id(&revoked)).await.expect("once more changes nothing");
    sqlx::query("update invites set expires_at = now() where id = $1::text::uuid")
        .bind(id(&expired))
        .execute(&fixture.cluster.database.pool)
        .await
        .expect("expired");
    for invite in [&revoked, &expired] {
        assert_eq!(gateway.sign_up_with("ada@example.org", &invite.token).await.expect_err("ended").reason, "INVITE_INVALID");
    }
    gateway.sign_up_with("ada@example.org", &used.token).await.expect("an account");
    let kept = admin.revoke_invite(&id(&used)).await.expect("an invite");
    assert!(kept.revoke_time.is_none() && kept.use_time.is_some());
    let unknown = admin.revoke_invite("0190b3a0-0000-7000-8000-000000000000").await.expect_err("unknown");
    assert_eq!((unknown.code, unknown.reason.as_str()), (ErrorCode::NotFound, "INVITE_NOT_FOUND"));
    assert_eq!(admin.revoke_invite("x").await.expect_err("no id").violations[0].field, "invite_id");
    for (email, hours, field) in [("x", 0, "email"), ("", 2_161, "hours")] {
        let message = CreateInviteRequest { email: email.into(), hours, operator: OPERATOR.into() };
        let refused = answer(admin.client().create_invite(request(message)).await).expect_err(field);
        assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", field));
    }
}

/// The address of an invited person is not kept for ever.
#[tokio::test]
async fn an_invite_that_ended_is_deleted_after_thirty_days() {
    let fixture = Fixture::start(&BY_INVITE).await;
    let (gateway, admin, pool) = (fixture.replica.gateway(), Admin::of(&fixture.replica), &fixture.cluster.database.pool);
    let (used, revoked) = (admin.invite("ada@example.org").await, admin.invite("eve@example.org").await);
    admin.invite("grace@example.org").await;
    gateway.sign_up_with("ada@example.org", &used.token).await.expect("an account");
    admin.revoke_invite(&revoked.invite.expect("an invite").id).await.expect("revoked");
    for (days, left) in [(29, 3), (31, 1), (38, 0)] {
        auth::testing::delete_old_rows(pool, now() + time::Duration::days(days)).await.expect("deleted");
        assert_eq!(fixture.count("invites").await, left, "after {days} days");
    }
}

#[tokio::test]
async fn a4_of_fifty_uses_of_an_invite_one_succeeds() {
    let fixture = Fixture::start(&BY_INVITE).await;
    let (gateway, admin) = (fixture.replica.gateway(), Admin::of(&fixture.replica));
    let invite = admin.invite("").await.token;
    let emails: Vec<_> = (0..50).map(|n| format!("ada-{n}@example.org")).collect();
    let results = join_all(emails.iter().map(|email| gateway.sign_up_with(email, &invite))).await;
    let refused: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).map(|fault| fault.reason.as_str()).collect();
    assert_eq!(refused.len(), 49, "{refused:?}");
    // Those that came while the passwords of all others were hashed may be refused for that.
    assert!(refused.iter().all(|reason| ["INVITE_INVALID", "SHARE_EXHAUSTED", "OVERLOADED"].contains(reason)), "{refused:?}");
    assert_eq!((fixture.count("users").await, fixture.count("sessions").await), (1, 1));
}

#[tokio::test]
async fn a_sign_up_at_a_provider_uses_an_invite() {
    let fixture = Fixture::start(&BY_INVITE).await;
    let (gateway, admin) = (fixture.replica.gateway(), Admin::of(&fixture.replica));
    let invite = admin.invite("ada@example.org").await.token;
    let sign_up = async |subject: &str, email: &str| {
        let message = StartProviderSignInRequest { provider: "one".into(), invite_token: invite.clone(), ..Default::default() };
        let begun = gateway.start_with(message, None).await.expect("begun");
        let returned = fixture.one.authorize(&begun.authorization_url, person(subject, email));
        gateway.finish_at("one", &begun.browser_secret, &returned, None).await
    };
    assert_eq!(sign_up("2", "eve@example.org").await.expect_err("another").reason, "INVITE_INVALID");
    assert_eq!(fixture.count("users").await, 0);
    sign_up("1", "ADA@example.org").await.expect("a session");
    assert_eq!(sign_up("3", "grace@example.org").await.expect_err("used").reason, "INVITE_INVALID");
    gateway.sign_in_at(("one", &fixture.one), person("1", "ada@example.org")).await.expect("a person with an account needs none");
    assert_eq!((fixture.count("users").await, fixture.count("identities").await), (1, 1));
}
