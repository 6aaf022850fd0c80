//! What the page of a link to a new address shows, and to whom.

use chassis::identity::Caller;
use proto::{
    auth::{GetEmailChangeRequest, GetEmailChangeResponse},
    error::{ErrorCode, Fault},
};

use crate::{
    email_change::Fixture,
    harness::{Client, answer},
};

const OLD: &str = "ada@example.org";
/// Every character that HTML gives a meaning to and an address may have.
const NEW: &str = "ada&o'neil@example.com";

async fn find(client: &Client, access: &str, token: &str) -> Result<GetEmailChangeResponse, Box<Fault>> {
    let request = client.authorized(GetEmailChangeRequest { token: token.into() }, access);
    answer(client.client.clone().get_email_change(request).await)
}

#[tokio::test]
async fn a_link_to_a_new_address_names_both_addresses_to_its_person_only() {
    let fixture = Fixture::start().await;
    let gateway = &fixture.gateway;
    let (ada, eve) = (fixture.account(OLD).await, fixture.account("eve@example.org").await);
    let token = fixture.link(&ada, NEW).await;
    for _ in 0..2 {
        let found = find(gateway, &ada, &token).await.expect("found");
        assert_eq!((found.email.as_str(), found.new_email.as_str()), (OLD, NEW));
    }
    gateway.request_reset(OLD).await.expect("accepted");
    let reset = fixture.mailbox.last(&fixture.cluster).await.token();
    for (access, token) in [(&eve, token.as_str()), (&ada, reset.as_str()), (&ada, "x"), (&ada, "a\0b")] {
        let refused = find(gateway, access, token).await.expect_err("not its link");
        assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::InvalidArgument, "LINK_INVALID"), "{token:?}");
    }
    for token in ["", &"x".repeat(257)] {
        let refused = find(gateway, &ada, token).await.expect_err("length");
        assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", "token"));
    }
    let service = fixture.replica.called_by(Caller::AgentStreaming, None);
    assert_eq!(find(&service, &ada, &token).await.expect_err("not the gateway").reason, "CALLER_DENIED");
    let changed = gateway.confirm_email(&ada, &token).await.expect("changed");
    let access = gateway.exchange(&changed.session_token).await.expect("token").access_token;
    assert_eq!(find(gateway, &access, &token).await.expect_err("used").reason, "LINK_INVALID");
}
