//! Verification, the reset of a password, and the mails about both.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use chassis::testing::eventually;
use proto::{auth::SignUpRequest, error::ErrorCode};

use crate::{
    account_deletion::delete,
    api_keys::{make, reading},
    harness::{Cluster, PASSWORD},
    mailbox::{Mailbox, forget_sent, is_stored, verify_all},
};

const NEW_PASSWORD: &str = "another horse battery staple";
const LIMIT: Duration = Duration::from_secs(60);

async fn is_verified(cluster: &Cluster, email: &str) -> bool {
    let select = sqlx::query_scalar("select verified_at is not null from users where email = $1").bind(email);
    select.fetch_one(&cluster.database.pool).await.expect("account")
}

#[tokio::test]
async fn a_signed_in_person_verifies_the_address() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    let account = gateway.sign_up("Ada@Example.org", PASSWORD).await.expect("account");
    assert!(mailbox.settled(&cluster).await.is_empty(), "a sign-up in mode open sends no mail");
    let token = gateway.access_of(&account.session_token).await;
    gateway.send_verification(&token).await.expect("accepted");
    let mail = mailbox.last(&cluster).await;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("Ada@example.org", "Confirm your e-mail address"));
    assert!(mail.link().starts_with("https://apps.example/account/verify-email?token="), "{}", mail.link());
    assert!(!is_verified(&cluster, "Ada@example.org").await);
    assert!(!is_stored(&cluster, &mail.token()).await, "the database has no token");

    assert_eq!(gateway.verify_as(&token, &mail.token()).await.expect("verified").email, "Ada@example.org");
    assert!(is_verified(&cluster, "Ada@example.org").await);
    gateway.exchange(&account.session_token).await.expect("the session goes on");
    gateway.send_verification(&token).await.expect("accepted");
    assert_eq!(mailbox.settled(&cluster).await.len(), 1, "a verified address gets no further mail");
    let fault = gateway.send_verification("no token").await.expect_err("nobody");
    assert_eq!(fault.code, ErrorCode::Unauthenticated);
}

/// Somebody makes an account with the address of a stranger, and asks for the mail. The stranger has the link, and no session of the account.
#[tokio::test]
async fn the_owner_of_an_address_does_not_verify_the_account_of_somebody_else() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    let squatter = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let theirs = gateway.access_of(&squatter.session_token).await;
    gateway.send_verification(&theirs).await.expect("accepted");
    let token = mailbox.last(&cluster).await.token();

    let other = gateway.signed_up("eve@example.org").await;
    let program = gateway.refresh_token(&theirs).await.expect("token");
    let of_program = gateway.refresh(&program.refresh_token).await.expect("token").access_token;
    let fault = gateway.verify(&token).await.expect_err("no session");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "TOKEN_MISSING"));
    assert!(fault.message.contains("sign in to it first, with POST /api/auth/signin or on the page /account/sign-in"), "{}", fault.message);
    assert_eq!(gateway.verify_as(&other, &token).await.expect_err("another account").reason, "LINK_INVALID");
    assert_eq!(gateway.verify_as(&of_program, &token).await.expect_err("a program").reason, "SESSION_REQUIRED");
    assert!(!is_verified(&cluster, "ada@example.org").await);

    mailbox.reset(&cluster, &gateway, ("ada@example.org", NEW_PASSWORD)).await;
    assert!(is_verified(&cluster, "ada@example.org").await);
    assert_eq!(gateway.exchange(&squatter.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.refresh(&program.refresh_token).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("theirs").reason, "BAD_CREDENTIALS");
    assert_eq!(gateway.verify_as(&theirs, &token).await.expect_err("void").reason, "LINK_INVALID");
}

#[tokio::test]
async fn a_reset_sets_the_password_ends_all_sessions_and_tells_the_owner() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let (one, other) = (mailbox.auth(&cluster, &[]).await, mailbox.auth(&cluster, &[]).await);
    let gateway = one.gateway();
    let first = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let second = gateway.sign_in("ada@example.org", PASSWORD).await.expect("session");
    gateway.request_reset("ADA@example.org").await.expect("accepted");
    let mail = mailbox.last(&cluster).await;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("ada@example.org", "Set a new password"));
    assert!(mail.link().starts_with("https://apps.example/account/reset/confirm?token="), "{}", mail.link());
    assert!(!is_stored(&cluster, &mail.token()).await, "the database has no token");

    let weak = other.gateway().confirm_reset(&mail.token(), "passwordpassword").await.expect_err("weak");
    assert_eq!((weak.reason.as_str(), weak.violations[0].field.as_str()), ("WEAK_PASSWORD", "password"));
    other.gateway().confirm_reset(&mail.token(), NEW_PASSWORD).await.expect("a refused password leaves the token usable");
    for session in [&first.session_token, &second.session_token] {
        assert_eq!(gateway.exchange(session).await.expect_err("ended").reason, "SESSION_ENDED");
    }
    let ended: i64 = sqlx::query_scalar("select count(*) from revocations").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(ended, 2, "both sessions are in the log of revocations");
    assert!(is_verified(&cluster, "ada@example.org").await, "the address was proved");
    assert_eq!(gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("old").reason, "BAD_CREDENTIALS");
    gateway.sign_in("ada@example.org", NEW_PASSWORD).await.expect("new");
    let changed = mailbox.last(&cluster).await;
    assert_eq!((changed.to.as_str(), changed.subject.as_str()), ("ada@example.org", "Your password was changed"));
    assert_eq!(changed.link(), "https://apps.example/account/reset");
    let words = changed.raw.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("All stored keys of model providers are removed"), "{words}");
}

/// A password whose check began before the reset must not start a session after it.
#[tokio::test]
async fn a_sign_in_with_the_old_password_does_not_outlive_a_reset() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let slow = [("BACKLOT_ARGON2_MEMORY_KIB", "65536"), ("BACKLOT_ARGON2_ITERATIONS", "4"), ("BACKLOT_HASH_THREADS", "1")];
    let (slow, fast) = (mailbox.auth(&cluster, &slow).await, mailbox.auth(&cluster, &[]).await);
    slow.gateway().sign_up("ada@example.org", PASSWORD).await.expect("account");
    slow.gateway().request_reset("ada@example.org").await.expect("accepted");
    let token = mailbox.last(&cluster).await.token();
    let gateway = slow.gateway();
    let (sign_in, reset) =
        tokio::join!(gateway.sign_in("ada@example.org", PASSWORD), async { fast.gateway().confirm_reset(&token, NEW_PASSWORD).await });
    reset.expect("reset");
    // Whichever was first, the old password opens nothing now.
    if let Ok(session) = sign_in {
        assert_eq!(gateway.exchange(&session.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    }
}

#[tokio::test]
async fn a_reset_gives_an_account_without_a_password_one() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    sqlx::query("update users set password_hash = null").execute(&cluster.database.pool).await.expect("removed");
    assert_eq!(gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("none").reason, "BAD_CREDENTIALS");
    gateway.request_reset("ada@example.org").await.expect("accepted");
    gateway.confirm_reset(&mailbox.last(&cluster).await.token(), NEW_PASSWORD).await.expect("reset");
    gateway.sign_in("ada@example.org", NEW_PASSWORD).await.expect("session");
}

#[tokio::test]
async fn a_sign_in_from_a_new_network_is_told_to_a_verified_address() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[]).await;
    replica.gateway_for("192.0.2.1").sign_up("ada@example.org", PASSWORD).await.expect("account");
    replica.gateway_for("192.0.2.2").sign_in("ada@example.org", PASSWORD).await.expect("session");
    assert!(mailbox.settled(&cluster).await.is_empty(), "an address that nobody has verified may belong to somebody else");
    verify_all(&cluster).await;
    for (address, told) in [("192.0.2.2", false), ("2001:db8:1:2::3", true), ("2001:db8:1:2::4", false), ("192.0.2.1", false)] {
        let before = mailbox.settled(&cluster).await.len();
        replica.gateway_for(address).sign_in("ada@example.org", PASSWORD).await.expect("session");
        let mails = mailbox.settled(&cluster).await;
        assert_eq!(mails.len() - before, usize::from(told), "{address}");
    }
    let mail = mailbox.last(&cluster).await;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("ada@example.org", "New sign-in to your account"));
    assert!(mail.raw.replace("\r\n", " ").contains("from the address 2001:db8:1:2::/64, which is new."), "{}", mail.raw);
    replica.gateway_for("198.51.100.7").sign_in("ada@example.org", "wrong").await.expect_err("wrong");
    assert_eq!(mailbox.settled(&cluster).await.len(), 1, "a guess is not a sign-in");
}

#[tokio::test]
async fn a_recipient_gets_three_mails_of_a_kind_in_an_hour() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    for email in ["ada@example.org", "eve@example.org"] {
        gateway.sign_up(email, PASSWORD).await.expect("account");
    }
    for email in ["ada@example.org", "ADA@example.org", "ada@EXAMPLE.org", "Ada@example.org", "eve@example.org"] {
        gateway.request_reset(email).await.expect("the answer is the same");
        mailbox.settled(&cluster).await;
    }
    let to = |mail: crate::mailbox::Mail| mail.to;
    let recipients: Vec<_> = mailbox.all().into_iter().map(to).collect();
    assert_eq!(recipients, ["ada@example.org", "ada@example.org", "ada@example.org", "eve@example.org"]);
    sqlx::query("update mail_queue set sent_at = sent_at - interval '61 minutes'").execute(&cluster.database.pool).await.expect("aged");
    gateway.request_reset("ada@example.org").await.expect("accepted");
    assert_eq!(mailbox.settled(&cluster).await.len(), 5);
}

/// Whoever signs up with the address of somebody else owns that account, and causes the mails that only an owner causes.
#[tokio::test]
async fn only_a_verified_address_gets_every_mail_that_its_owner_causes() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    for (email, is_verified, expected) in [("ada@example.org", true, 10), ("eve@example.org", false, 3)] {
        let access = gateway.signed_up(email).await;
        if is_verified {
            verify_all(&cluster).await;
        }
        for _ in 0..10 {
            make(&gateway, &access, reading()).await.expect("a key");
        }
        let mails = mailbox.settled(&cluster).await;
        assert_eq!(mails.iter().filter(|mail| mail.to == email).count(), expected, "{email}");
    }
}

/// The address of a deleted account is free, and somebody signs up with it again and again.
#[tokio::test]
async fn further_accounts_with_an_address_cause_no_further_mails() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    for _ in 0..4 {
        let access = gateway.signed_up("ada@example.org").await;
        for _ in 0..2 {
            make(&gateway, &access, reading()).await.expect("a key");
        }
        mailbox.settled(&cluster).await;
        delete(&gateway, &access, "ada@example.org").await.expect("deleted");
        mailbox.settled(&cluster).await;
    }
    for subject in ["New API key for your account", "Your account was deleted"] {
        assert_eq!(mailbox.all().iter().filter(|mail| mail.subject == subject).count(), 3, "{subject}");
    }
}

/// Somebody else asks for three resets. Their links go to the owner, who needs another one when these have expired.
#[tokio::test]
async fn a_reset_is_sent_when_the_links_of_the_others_have_expired() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let mut sent = Vec::new();
    for minutes in [0, 29, 2, 0] {
        let age = "update mail_queue set sent_at = sent_at - make_interval(mins => $1)";
        sqlx::query(age).bind(minutes).execute(&cluster.database.pool).await.expect("aged");
        for _ in 0..5 {
            gateway.request_reset("ada@example.org").await.expect("the answer is the same");
        }
        sent.push(mailbox.settled(&cluster).await.len());
    }
    assert_eq!(sent, [3, 3, 4, 4]);
}

#[tokio::test]
async fn the_outbox_is_private_and_the_queue_keeps_no_content() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    gateway.request_reset("ada@example.org").await.expect("accepted");
    mailbox.settled(&cluster).await;
    let mode = |path: &std::path::Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&mailbox.folder()), 0o700);
    for entry in fs::read_dir(mailbox.folder()).expect("folder") {
        assert_eq!(mode(&entry.expect("entry").path()), 0o600);
    }
    let rows: Vec<(Option<String>, Option<String>, bool)> =
        sqlx::query_as("select email, password_hash, sent_at is not null from mail_queue")
            .fetch_all(&cluster.database.pool)
            .await
            .expect("rows");
    assert_eq!(rows, [(None, None, true)]);
    auth::testing::delete_old_rows(&cluster.database.pool, chassis::clock::now() + time::Duration::days(2)).await.expect("deleted");
    let left: i64 = sqlx::query_scalar("select (select count(*) from mail_queue) + (select count(*) from email_tokens)")
        .fetch_one(&cluster.database.pool)
        .await
        .expect("count");
    assert_eq!(left, 0, "rows of mails and tokens are deleted in time");
}

/// Every mail of a queue that several replicas read is sent once.
#[tokio::test]
async fn two_replicas_do_not_send_a_mail_twice() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let (one, other) = (mailbox.auth(&cluster, &[]).await, mailbox.auth(&cluster, &[]).await);
    let people: Vec<_> = (0..20).map(|n| format!("ada{n:02}@example.org")).collect();
    for email in &people {
        one.gateway().sign_up(email, PASSWORD).await.expect("account");
    }
    let (here, there) = (one.gateway(), other.gateway());
    let requests =
        people.iter().enumerate().map(|(n, email)| if n % 2 == 0 { here.request_reset(email) } else { there.request_reset(email) });
    futures::future::try_join_all(requests).await.expect("accepted");
    let mut recipients: Vec<_> = mailbox.settled(&cluster).await.into_iter().map(|mail| mail.to).collect();
    recipients.sort();
    assert_eq!(recipients, people);
}

/// A replica that was killed while it sent a mail has moved its time by the lease. When that ends, another one sends it.
#[tokio::test]
async fn a_mail_whose_replica_was_killed_is_sent_by_another_one() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let claimed = "insert into mail_queue (id, kind, recipient, email, created_at, attempts, due_at)
                   values (gen_random_uuid(), 'reset', sha256('x'), 'ada@example.org', now(), 1, now() + interval '90 seconds')";
    sqlx::query(claimed).execute(&cluster.database.pool).await.expect("claimed");
    gateway.request_reset("nobody@example.org").await.expect("accepted");
    eventually(LIMIT, || async {
        let left: i64 = sqlx::query_scalar("select count(*) from mail_queue").fetch_one(&cluster.database.pool).await.expect("count");
        (left == 1).then_some(())
    })
    .await;
    assert!(mailbox.all().is_empty(), "the lease has not ended");
    sqlx::query("update mail_queue set due_at = now()").execute(&cluster.database.pool).await.expect("ended");
    assert_eq!(mailbox.last(&cluster).await.to, "ada@example.org");
}

/// A mail that was not sent does not delay the others, and is tried again.
#[tokio::test]
async fn a_mail_that_cannot_be_written_is_kept() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    fs::write(mailbox.folder(), "a file in the place of the folder").expect("written");
    gateway.request_reset("ada@example.org").await.expect("the answer is the same");
    let attempted = || async {
        let attempts: i32 = sqlx::query_scalar(
            "select max(attempts) from mail_queue where due_at > now() + interval '5 seconds' and due_at < now() + interval '20 seconds'",
        )
        .fetch_one(&cluster.database.pool)
        .await
        .map(|attempts: Option<i32>| attempts.unwrap_or_default())
        .expect("row");
        (attempts == 1).then_some(())
    };
    eventually(LIMIT, attempted).await;
    fs::remove_file(mailbox.folder()).expect("removed");
    sqlx::query("update mail_queue set due_at = now()").execute(&cluster.database.pool).await.expect("due");
    assert_eq!(mailbox.last(&cluster).await.subject, "Set a new password");
    forget_sent(&cluster).await;
}

#[tokio::test]
async fn a_refused_sign_in_to_a_disabled_account_sends_no_mail() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    verify_all(&cluster).await;
    let disable = "update users set disabled_at = now()";
    sqlx::query(disable).execute(&cluster.database.pool).await.expect("disabled");
    // The next sign-in is from an address that the account does not know.
    sqlx::query("update user_addresses set address = '192.0.2.99'").execute(&cluster.database.pool).await.expect("moved");
    assert_eq!(gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("disabled").reason, "BAD_CREDENTIALS");
    assert!(mailbox.settled(&cluster).await.is_empty());
}

/// While a release is replaced, its successor may already queue mails of kinds that it does not know.
#[tokio::test]
async fn a_mail_of_a_later_release_is_left_to_it() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let insert = "insert into mail_queue (id, kind, recipient, created_at, attempts, due_at)
                  select gen_random_uuid(), 'of_a_later_release', sha256('x'), now(), 0, now() - interval '1 minute' from generate_series(1, 9)";
    sqlx::query(insert).execute(&cluster.database.pool).await.expect("rows");
    gateway.request_reset("ada@example.org").await.expect("accepted");
    chassis::testing::eventually(std::time::Duration::from_secs(30), || async {
        mailbox.all().iter().any(|mail| mail.subject == "Set a new password").then_some(())
    })
    .await;
    let untouched = "select count(*) from mail_queue where kind = 'of_a_later_release' and attempts = 0";
    let untouched: i64 = sqlx::query_scalar(untouched).fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(untouched, 9);
}

#[tokio::test]
async fn a_reset_refuses_the_name_of_the_person_as_the_password() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    let name = "Quillfeather Obadiah";
    let message =
        SignUpRequest { email: "ada@example.org".into(), password: PASSWORD.into(), display_name: name.into(), ..Default::default() };
    gateway.client.clone().sign_up(gateway.request(message)).await.expect("account");
    gateway.request_reset("ada@example.org").await.expect("accepted");
    let link = mailbox.last(&cluster).await.token();
    assert_eq!(gateway.confirm_reset(&link, &name.replace(' ', "")).await.expect_err("the name").reason, "WEAK_PASSWORD");
    gateway.confirm_reset(&link, NEW_PASSWORD).await.expect("the link can still be used");
}
