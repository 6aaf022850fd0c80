//! Sign-up in mode `verify`, and the domains that may sign up.

use chassis::identity::Caller;
use proto::{
    auth::{SignUpRequest, SignUpResponse},
    error::ErrorCode,
};
use rate_limit::Policies;

use crate::{
    harness::{Cluster, PASSWORD, Settings, answer},
    mailbox::{Mailbox, is_stored, verify_all},
};

const OTHER_PASSWORD: &str = "another horse battery staple";
const BY_MAIL: [(&str, &str); 1] = [("BACKLOT_SIGNUP", "verify")];

async fn accounts(cluster: &Cluster) -> i64 {
    sqlx::query_scalar("select count(*) from users").fetch_one(&cluster.database.pool).await.expect("count")
}

#[tokio::test]
async fn the_link_of_the_mail_creates_the_account() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &BY_MAIL).await.gateway();
    let answer = gateway.sign_up("Ada@Example.org", PASSWORD).await.expect("accepted");
    assert_eq!(answer, SignUpResponse::default(), "neither an account nor a session");
    let mail = mailbox.last(&cluster).await;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("Ada@example.org", "Confirm your e-mail address"));
    assert_eq!(accounts(&cluster).await, 0);
    assert!(!is_stored(&cluster, &mail.token()).await && !is_stored(&cluster, PASSWORD).await);
    assert_eq!(gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("not yet").reason, "BAD_CREDENTIALS");

    assert_eq!(gateway.verify(&mail.token()).await.expect("verified").email, "Ada@example.org");
    assert_eq!(accounts(&cluster).await, 1);
    let session = gateway.sign_in("ada@example.org", PASSWORD).await.expect("session");
    let user = session.user.expect("user");
    assert_eq!((user.email.as_str(), user.display_name.as_str()), ("Ada@example.org", "Ada"));
    assert_eq!(mailbox.settled(&cluster).await.len(), 1, "the first sign-in is not from a new device");
}

#[tokio::test]
async fn the_owner_of_an_address_uses_the_link_of_a_stranger_with_another_password() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &BY_MAIL).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("accepted");
    let token = mailbox.last(&cluster).await.token();
    gateway.confirm_reset(&token, "passwordpassword").await.expect_err("weak");
    gateway.confirm_reset(&token, OTHER_PASSWORD).await.expect("a new account");
    for refused in [gateway.confirm_reset(&token, PASSWORD).await.map(drop), gateway.verify(&token).await.map(drop)] {
        assert_eq!(refused.expect_err("used").reason, "LINK_INVALID");
    }
    gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("the password of the stranger");
    let user = gateway.sign_in("ada@example.org", OTHER_PASSWORD).await.expect("session").user.expect("user");
    assert_eq!((user.display_name.as_str(), accounts(&cluster).await), ("ada", 1));
}

#[tokio::test]
async fn the_owner_of_a_verified_account_learns_of_a_sign_up() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &BY_MAIL).await.gateway();
    cluster.auth().await.gateway().sign_up("ada@example.org", PASSWORD).await.expect("account");
    verify_all(&cluster).await;
    assert_eq!(gateway.sign_up("ADA@example.org", OTHER_PASSWORD).await.expect("accepted"), SignUpResponse::default());
    let mail = mailbox.last(&cluster).await;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("ada@example.org", "You already have an account"));
    assert_eq!(mail.link(), "https://apps.example/account/reset", "the link has no token");
    gateway.sign_in("ada@example.org", PASSWORD).await.expect("nothing has changed");
    gateway.sign_in("ada@example.org", OTHER_PASSWORD).await.expect_err("not the password");
}

#[tokio::test]
async fn the_owner_of_an_address_takes_over_an_account_that_nobody_has_verified() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &BY_MAIL).await.gateway();
    let squatter = mailbox.auth(&cluster, &[]).await.gateway();
    let theirs = squatter.sign_up("ada@example.org", PASSWORD).await.expect("account");
    gateway.sign_in("ada@example.org", PASSWORD).await.expect("an account of mode open signs in");
    gateway.sign_up("Ada@example.org", OTHER_PASSWORD).await.expect("accepted");
    let mail = mailbox.last(&cluster).await;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("ada@example.org", "You already have an account"));
    assert_eq!(mail.link(), "https://apps.example/account/reset", "no link sets a password that somebody else has chosen");
    gateway.exchange(&theirs.session_token).await.expect("a sign-up alone changes nothing");

    gateway.request_reset("ada@example.org").await.expect("accepted");
    gateway.confirm_reset(&mailbox.last(&cluster).await.token(), OTHER_PASSWORD).await.expect("proved");
    assert_eq!(accounts(&cluster).await, 1);
    assert_eq!(gateway.exchange(&theirs.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("old").reason, "BAD_CREDENTIALS");
    let mine = gateway.sign_in("ada@example.org", OTHER_PASSWORD).await.expect("the owner's password");
    assert_eq!(mine.user.expect("user").id, theirs.user.expect("user").id);
    let ended: i64 = sqlx::query_scalar("select count(*) from revocations").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(ended, 2, "gateways learn that the sessions have ended");
}

/// Somebody makes an account with the address while its owner has the mail.
#[tokio::test]
async fn the_link_of_a_sign_up_takes_over_an_account_that_nobody_has_verified() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &BY_MAIL).await.gateway();
    let open = mailbox.auth(&cluster, &[]).await.gateway();
    for (at, by_reset) in [false, true].into_iter().enumerate() {
        let email = format!("ada-{at}@example.org");
        gateway.sign_up(&email, PASSWORD).await.expect("accepted");
        let token = mailbox.last(&cluster).await.token();
        let theirs =
            SignUpRequest { email: email.clone(), password: OTHER_PASSWORD.into(), display_name: "Eve".into(), ..Default::default() };
        let squatter = answer(open.client.clone().sign_up(open.request(theirs)).await).expect("an account");
        let reset = {
            open.request_reset(&email).await.expect("accepted");
            mailbox.last(&cluster).await.token()
        };
        match by_reset {
            true => gateway.confirm_reset(&token, PASSWORD).await.expect("taken over"),
            false => drop(gateway.verify(&token).await.expect("taken over")),
        }
        assert_eq!(gateway.exchange(&squatter.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
        assert_eq!(gateway.sign_in(&email, OTHER_PASSWORD).await.expect_err("not the password").reason, "BAD_CREDENTIALS");
        let mine = gateway.sign_in(&email, PASSWORD).await.expect("the password of the owner");
        let user = mine.user.expect("user");
        assert_eq!((user.id, user.display_name), (squatter.user.expect("user").id, format!("ada-{at}")));
        assert_eq!(gateway.confirm_reset(&reset, OTHER_PASSWORD).await.expect_err("void").reason, "LINK_INVALID");
        assert_eq!(gateway.verify(&token).await.expect_err("used").reason, "LINK_INVALID");
    }
    let unverified = "select count(*) from users where verified_at is null";
    let unverified: i64 = sqlx::query_scalar(unverified).fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!((accounts(&cluster).await, unverified), (2, 0));
    let ended: i64 = sqlx::query_scalar("select count(*) from revocations").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(ended, 2, "gateways learn that the sessions have ended");
}

/// Somebody else has proved it before.
#[tokio::test]
async fn the_first_of_two_sign_ups_that_is_proved_wins() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &BY_MAIL).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("accepted");
    let first = mailbox.last(&cluster).await.token();
    gateway.sign_up("ada@example.org", OTHER_PASSWORD).await.expect("accepted");
    let second = mailbox.last(&cluster).await.token();
    gateway.verify_with(&second, OTHER_PASSWORD).await.expect("verified");
    assert_eq!(gateway.verify(&first).await.expect_err("void").reason, "LINK_INVALID");
    gateway.sign_in("ada@example.org", OTHER_PASSWORD).await.expect("session");
}

/// Somebody signs up with the address of a stranger, who presses the button in the mail.
#[tokio::test]
async fn a_sign_up_is_confirmed_with_its_password_only() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let mailbox = Mailbox::new();
    let replica = mailbox.auth(&cluster, &BY_MAIL).await;
    let gateway = replica.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("accepted");
    let token = mailbox.last(&cluster).await.token();
    let fault = gateway.verify_with(&token, "").await.expect_err("without one");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(
        (fault.violations[0].field.as_str(), fault.violations[0].description.as_str()),
        ("password", "must be the password of the sign-up")
    );
    for _ in 0..5 {
        let fault = gateway.verify_with(&token, OTHER_PASSWORD).await.expect_err("another one");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "BAD_CREDENTIALS"));
    }
    let fault = gateway.verify(&token).await.expect_err("limited");
    assert_eq!((fault.code, fault.quota[0].policy.as_str()), (ErrorCode::RateLimited, "auth-guess"));
    assert_eq!(accounts(&cluster).await, 0);
    replica.gateway_for("198.51.100.7").verify(&token).await.expect("the link stays usable");
    gateway.sign_in("ada@example.org", PASSWORD).await.expect("attempts with a link are counted apart");
}

#[tokio::test]
async fn an_operator_creates_an_account_at_once() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let settings = [("BACKLOT_SIGNUP", "verify"), ("BACKLOT_SIGNUP_DOMAINS", "example.org")];
    let replica = mailbox.auth(&cluster, &settings).await;
    let account = replica.called_by(Caller::Operator, None).sign_up("ada@elsewhere.example", PASSWORD).await.expect("account");
    replica.gateway().exchange(&account.session_token).await.expect("session");
    assert!(mailbox.settled(&cluster).await.is_empty());
}

#[tokio::test]
async fn only_addresses_of_the_listed_domains_sign_up() {
    let domains = ("BACKLOT_SIGNUP_DOMAINS", "example.org, bücher.example");
    for settings in [&[domains][..], &[domains, ("BACKLOT_SIGNUP", "verify")]] {
        let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
        let gateway = mailbox.auth(&cluster, settings).await.gateway();
        for (n, domain) in ["example.org", "EXAMPLE.ORG", "bücher.example", "xn--bcher-kva.example"].into_iter().enumerate() {
            let answer = gateway.sign_up(&format!("ada-{n}@{domain}"), PASSWORD).await.expect(domain);
            assert_eq!(answer, SignUpResponse::default(), "whoever types an address of a domain has no session: {settings:?}");
        }
        for email in ["ada@mail.example.org", "ada@example.org.evil.example", "example.org@evil.example"] {
            let fault = gateway.sign_up(email, PASSWORD).await.expect_err(email);
            assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Forbidden, "SIGNUP_CLOSED"), "{settings:?}: {email}");
        }
        let mails = mailbox.settled(&cluster).await;
        assert_eq!((mails.len(), accounts(&cluster).await), (4, 0), "{settings:?}");
        let mail = mails.iter().find(|mail| mail.to == "ada-0@example.org").expect("a mail");
        gateway.verify(&mail.token()).await.expect("proved");
        assert_eq!(accounts(&cluster).await, 1, "{settings:?}");
    }
}

#[tokio::test]
async fn a_weak_password_and_an_invalid_address_are_refused_before_a_mail() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &BY_MAIL).await.gateway();
    assert_eq!(gateway.sign_up("ada@example.org", "qwertyuiopqwertyuiop").await.expect_err("weak").reason, "WEAK_PASSWORD");
    assert_eq!(gateway.sign_up("a@b@c", PASSWORD).await.expect_err("invalid").reason, "INVALID_FIELD");
    assert!(mailbox.settled(&cluster).await.is_empty());
    let closed = cluster.auth_with(Settings(&[("BACKLOT_SIGNUP", "closed")])).await.gateway();
    assert_eq!(closed.sign_up("ada@example.org", PASSWORD).await.expect_err("closed").reason, "SIGNUP_CLOSED");
}
