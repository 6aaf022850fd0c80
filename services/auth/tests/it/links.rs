//! What the page of a link learns before its form is sent.

use chassis::identity::Caller;
use proto::{
    auth::GetLinkRequest,
    error::{ErrorCode, Fault},
};

use crate::{
    harness::{Client, Cluster, PASSWORD, answer},
    mailbox::Mailbox,
};

/// Whether the token verifies an address, and whether it sets a password.
async fn find(client: &Client, token: &str) -> Result<(bool, bool), Box<Fault>> {
    let request = client.request(GetLinkRequest { token: token.into() });
    answer(client.client.clone().get_link(request).await).map(|link| (link.verifies_email, link.sets_password))
}

#[tokio::test]
async fn a_link_says_what_it_is_for_until_it_was_used_or_has_expired() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let by_mail = mailbox.auth(&cluster, &[("BACKLOT_SIGNUP", "verify")]).await.gateway();
    by_mail.sign_up("ada@example.org", PASSWORD).await.expect("accepted");
    let of_sign_up = mailbox.last(&cluster).await.token();
    let replica = mailbox.auth(&cluster, &[]).await;
    let gateway = replica.gateway();
    for _ in 0..2 {
        assert_eq!(find(&gateway, &of_sign_up).await.expect("a look uses nothing"), (true, true));
    }
    let eve = gateway.sign_up("eve@example.org", PASSWORD).await.expect("account");
    let access = gateway.exchange(&eve.session_token).await.expect("token").access_token;
    gateway.send_verification(&access).await.expect("accepted");
    let of_account = mailbox.last(&cluster).await.token();
    assert_eq!(find(&gateway, &of_account).await.expect("a link"), (true, false));

    gateway.verify(&of_sign_up).await.expect("the link still works");
    gateway.request_reset("ada@example.org").await.expect("accepted");
    let reset = mailbox.last(&cluster).await.token();
    assert_eq!(find(&gateway, &reset).await.expect("a link"), (false, true));
    sqlx::query("update email_tokens set expires_at = now()").execute(&cluster.database.pool).await.expect("expired");
    for (token, state) in [(of_sign_up.as_str(), "used"), (&reset, "expired"), ("x", "unknown"), ("a\0b", "no token")] {
        let refused = find(&gateway, token).await.expect_err(state);
        assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::InvalidArgument, "LINK_INVALID"), "{state}");
    }
    for token in ["", &"x".repeat(257)] {
        let refused = find(&gateway, token).await.expect_err("length");
        assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", "token"));
    }
    let service = replica.called_by(Caller::AgentStreaming, None);
    assert_eq!(find(&service, &reset).await.expect_err("not the gateway").reason, "CALLER_DENIED");
}
