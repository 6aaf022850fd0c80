//! The link of the mail about a new second factor: it removes that factor, for an owner who has not added it. `a4.rs` races it.

use chassis::identity::Caller;
use proto::{
    auth::{GetLinkRequest, RemoveNewFactorRequest},
    error::{ErrorCode, Fault},
};

use crate::{
    admin::Admin,
    harness::{Client, Cluster, PASSWORD, Replica, answer, mistyped},
    mailbox::{Mailbox, is_stored, verify_all},
};

const EMAIL: &str = "ada@example.org";
const NEW_PASSWORD: &str = "another horse, another battery";
const ADDED: &str = "A second factor was added to your account";

impl Client {
    pub(crate) async fn remove_new_factor(&self, token: &str) -> Result<(), Box<Fault>> {
        let request = self.request(RemoveNewFactorRequest { token: token.into() });
        answer(self.client.clone().remove_new_factor(request).await).map(drop)
    }
}

/// An account with a verified address and an app that a thief of its session has added.
struct Fixture {
    cluster: Cluster,
    mailbox: Mailbox,
    replica: Replica,
    gateway: Client,
    session_token: String,
    recovery_codes: Vec<String>,
}

impl Fixture {
    async fn start() -> Self {
        let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
        let replica = mailbox.auth(&cluster, &[]).await;
        let gateway = replica.gateway();
        let session_token = gateway.sign_up(EMAIL, PASSWORD).await.expect("account").session_token;
        verify_all(&cluster).await;
        let mut fixture = Self { cluster, mailbox, replica, gateway, session_token, recovery_codes: Vec::new() };
        fixture.recovery_codes = fixture.gateway.add_app(&fixture.gateway.access_of(&fixture.session_token).await).await;
        fixture
    }

    /// An access token of a session that has shown a recovery code.
    async fn proved(&self) -> String {
        let access = self.gateway.access_of(&self.session_token).await;
        let renewed = self.gateway.step_up_by_code(&access, &self.recovery_codes[0]).await.expect("proved");
        self.gateway.access_of(&renewed.session_token).await
    }

    /// The token of the last mail about a new factor.
    async fn link(&self) -> String {
        let mails = self.mailbox.settled(&self.cluster).await;
        mails.into_iter().rfind(|mail| mail.subject == ADDED).expect("a mail").token()
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.cluster.database.pool).await.expect("count")
    }
}

fn assert_invalid(result: Result<(), Box<Fault>>, state: &str) {
    let fault = result.expect_err(state);
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "LINK_INVALID"), "{state}");
}

#[tokio::test]
async fn a_reset_keeps_a_new_app_and_its_link_removes_it() {
    let fixture = Fixture::start().await;
    let gateway = &fixture.gateway;
    let mail = fixture.mailbox.last(&fixture.cluster).await;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), (EMAIL, ADDED));
    assert!(mail.link().starts_with("https://apps.example/account/remove-factor?token="), "{}", mail.link());
    let token = mail.token();
    assert!(!is_stored(&fixture.cluster, &token).await, "hashed");
    let found =
        gateway.client.clone().get_link(gateway.request(GetLinkRequest { token: token.clone() })).await.expect("a look uses nothing");
    let found = found.into_inner();
    assert!(found.removes_factor && !found.sets_password && !found.verifies_email, "{found:?}");

    fixture.mailbox.reset(&fixture.cluster, gateway, (EMAIL, NEW_PASSWORD)).await;
    let first_step = gateway.sign_in(EMAIL, NEW_PASSWORD).await.expect_err("a mail alone replaces no factor");
    assert_eq!(first_step.reason, "SECOND_FACTOR_REQUIRED");
    let begun =
        gateway.verify_sign_in(&first_step.metadata["sign_in_token"], &fixture.recovery_codes[0]).await.expect("the thief has the factor");
    gateway.remove_new_factor(&token).await.expect("removed");
    assert_eq!(gateway.exchange(&begun.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    gateway.sign_in(EMAIL, NEW_PASSWORD).await.expect("the owner gets in");
    for (sql, expected) in [
        ("select count(*) from totp_secrets", 0),
        ("select count(*) from recovery_codes", 0),
        (
            "select count(*) from audit_events where kind = 'second_factor.removed' and details->>'by' = 'mail' and details->>'sessions' = '1'",
            1,
        ),
    ] {
        assert_eq!(fixture.count(sql).await, expected, "{sql}");
    }
    let mails = fixture.mailbox.settled(&fixture.cluster).await;
    assert!(mails.iter().any(|mail| mail.subject == "A second factor was removed from your account"), "{mails:?}");
    assert_invalid(gateway.remove_new_factor(&token).await, "used");
}

#[tokio::test]
async fn a_link_removes_its_own_factor_only() {
    let fixture = Fixture::start().await;
    let (gateway, of_first) = (&fixture.gateway, fixture.link().await);
    let access = fixture.proved().await;
    gateway.delete_totp(&access).await.expect("removed");
    assert_invalid(gateway.remove_new_factor(&of_first).await, "removed already");
    gateway.add_app(&access).await;
    assert_invalid(gateway.remove_new_factor(&of_first).await, "another app");
    assert_eq!(fixture.count("select count(*) from totp_secrets").await, 1);
    let of_second = fixture.link().await;
    assert_ne!(of_first, of_second);
    gateway.remove_new_factor(&of_second).await.expect("its own");
    assert_eq!(fixture.count("select count(*) from totp_secrets").await, 0);
}

#[tokio::test]
async fn a4_a_link_of_a_factor_works_once_in_time_and_at_its_step() {
    let fixture = Fixture::start().await;
    let (gateway, token) = (&fixture.gateway, fixture.link().await);
    gateway.request_reset(EMAIL).await.expect("accepted");
    let reset = fixture.mailbox.last(&fixture.cluster).await.token();
    for (other, state) in [(reset.as_str(), "of a reset"), (&mistyped(&token), "altered"), ("a\0b", "no token")] {
        assert_invalid(gateway.remove_new_factor(other).await, state);
    }
    assert_invalid(gateway.confirm_reset(&token, NEW_PASSWORD).await, "of a factor");
    assert_invalid(gateway.verify(&token).await.map(drop), "of a factor");
    for wrong in [String::new(), "x".repeat(257)] {
        let refused = gateway.remove_new_factor(&wrong).await.expect_err("length");
        assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", "token"));
    }
    let service = fixture.replica.called_by(Caller::AgentStreaming, None);
    assert_eq!(service.remove_new_factor(&token).await.expect_err("not the gateway").reason, "CALLER_DENIED");

    sqlx::query("update email_tokens set expires_at = now()").execute(&fixture.cluster.database.pool).await.expect("expired");
    assert_invalid(gateway.remove_new_factor(&token).await, "expired");
    let later = "update email_tokens set expires_at = now() + interval '6 days'";
    sqlx::query(later).execute(&fixture.cluster.database.pool).await.expect("valid");
    gateway.remove_new_factor(&token).await.expect("in time");
    assert_invalid(gateway.remove_new_factor(&token).await, "used");
}

/// The owner of the address before must not remove the factor of the owner of the account.
#[tokio::test]
async fn another_address_makes_the_link_of_a_factor_void() {
    let fixture = Fixture::start().await;
    let (gateway, token) = (&fixture.gateway, fixture.link().await);
    let access = fixture.proved().await;
    gateway.change_email(&access, "ada@example.com").await.expect("accepted");
    let confirm = fixture.mailbox.last(&fixture.cluster).await.token();
    gateway.confirm_email(&access, &confirm).await.expect("changed");
    assert_invalid(gateway.remove_new_factor(&token).await, "sent to the address before");
    assert_eq!(fixture.count("select count(*) from totp_secrets").await, 1);
}

/// An operator may have disabled it because its mailbox was stolen.
#[tokio::test]
async fn a_link_of_a_factor_does_nothing_while_the_account_is_disabled() {
    let fixture = Fixture::start().await;
    let (gateway, admin, token) = (&fixture.gateway, Admin::of(&fixture.replica), fixture.link().await);
    for (disabled, expected) in [(true, 1), (false, 0)] {
        admin.set_disabled(EMAIL, disabled).await.expect("changed");
        let used = gateway.remove_new_factor(&token).await;
        if disabled {
            assert_invalid(used, "disabled");
        } else {
            used.expect("the token was not used");
        }
        assert_eq!(fixture.count("select count(*) from totp_secrets").await, expected, "{disabled}");
    }
}

/// The mail was written before the address changed, and its token was stored after that.
#[tokio::test]
async fn a_link_of_a_factor_is_void_for_an_account_with_another_address() {
    let fixture = Fixture::start().await;
    let token = fixture.link().await;
    for (email, state) in [("before@example.org", Some("of another address")), (EMAIL, None)] {
        let update = sqlx::query("update email_tokens set email = $1 where purpose = 'remove_factor'").bind(email);
        update.execute(&fixture.cluster.database.pool).await.expect("updated");
        let used = fixture.gateway.remove_new_factor(&token).await;
        match state {
            Some(state) => assert_invalid(used, state),
            None => used.expect("of the address of the account"),
        }
    }
}
