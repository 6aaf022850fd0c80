//! Row A23 of the reference: addresses that look like another one, or are normalised to it. A mail goes only to the stored address.

use crate::{
    generated_spellings as generated,
    harness::{Cluster, PASSWORD},
    mailbox::{Mailbox, forget_sent, verify_all},
};

/// Typed texts for accounts of `stored`, and whether they mean that account.
const ROWS: &[(&str, &[(&str, bool)])] = &[
    (
        "mike@example.org",
        &[
            ("mike@example.org", true),
            ("MIKE@EXAMPLE.ORG", true),
            (" mike@example.org ", true),
            ("ｍｉｋｅ@example.org", true),
            ("mike@ｅｘａｍｐｌｅ.org", true),
            // The Kelvin sign is a letter whose lower case is k.
            ("mi\u{212a}e@example.org", true),
            ("mıke@example.org", false),
            ("mİke@example.org", false),
            ("mike+tag@example.org", false),
            ("m.ike@example.org", false),
            ("mike＠example.org", false),
            ("mike@evil.example@example.org", false),
            ("mike@example.org,eve@evil.example", false),
            ("mike@example.org\u{200b}", false),
            ("mіke@example.org", false),
            ("<mike@example.org>", false),
            ("mike@example.org.", false),
        ],
    ),
    ("x@bücher.example", &[("x@xn--bcher-kva.example", true), ("x@BU\u{308}CHER.example", true), ("x@bucher.example", false)]),
    ("O'Neil@Example.org", &[("o'neil@example.org", true), ("O’Neil@example.org", false)]),
];

/// The address of a mail in its header, where the domain is as the DNS uses it.
fn header(stored: &str) -> String {
    stored.replace("bücher.example", "xn--bcher-kva.example").replace("@Example.org", "@example.org")
}

#[tokio::test]
async fn a23_a_reset_goes_only_to_the_stored_address() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    for (stored, spellings) in ROWS {
        gateway.sign_up(stored, PASSWORD).await.expect("account");
        for (typed, means_it) in *spellings {
            forget_sent(&cluster).await;
            let before = mailbox.settled(&cluster).await.len();
            gateway.request_reset(typed).await.expect("the answer is the same");
            let mails = mailbox.settled(&cluster).await;
            let recipients: Vec<_> = mails[before..].iter().map(|mail| mail.to.clone()).collect();
            let expected: &[String] = if *means_it { &[header(stored)] } else { &[] };
            assert_eq!(recipients, expected, "{typed:?} for {stored}");
        }
    }
}

/// One in this many generated texts. `services/auth/src/email.rs` reads all of them.
const SAMPLED: usize = 151;

#[tokio::test]
async fn a23_a_reset_for_a_generated_text_goes_only_to_the_stored_address() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    for stored in generated::STORED {
        gateway.sign_up(stored, PASSWORD).await.expect("account");
        for (typed, means_it) in generated::of(stored).into_iter().step_by(SAMPLED) {
            forget_sent(&cluster).await;
            let before = mailbox.settled(&cluster).await.len();
            if let Err(fault) = gateway.request_reset(&typed).await {
                assert!(fault.reason == "INVALID_FIELD" && typed.contains(char::is_control), "{typed:?}: {fault:?}");
            }
            let mails = mailbox.settled(&cluster).await;
            let recipients: Vec<_> = mails[before..].iter().map(|mail| mail.to.clone()).collect();
            let expected: &[String] = if means_it { &[header(stored)] } else { &[] };
            assert_eq!(recipients, expected, "{typed:?} for {stored}");
        }
    }
}

#[tokio::test]
async fn a23_a_sign_up_tells_only_the_stored_address_of_a_verified_account() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let open = mailbox.auth(&cluster, &[]).await.gateway();
    let by_mail = mailbox.auth(&cluster, &[("BACKLOT_SIGNUP", "verify")]).await.gateway();
    for (stored, spellings) in ROWS {
        open.sign_up(stored, PASSWORD).await.expect("account");
        verify_all(&cluster).await;
        for (typed, means_it) in *spellings {
            forget_sent(&cluster).await;
            let before = mailbox.settled(&cluster).await.len();
            // A text that is no address is refused before anything else.
            let accepted = by_mail.sign_up(typed, PASSWORD).await.is_ok();
            let mails = mailbox.settled(&cluster).await;
            let new: Vec<_> = mails[before..].iter().map(|mail| (mail.to.clone(), mail.subject.as_str())).collect();
            if *means_it {
                assert_eq!(new, [(header(stored), "You already have an account")], "{typed:?} for {stored}");
            } else if accepted {
                assert_eq!(new.len(), 1, "{typed:?}");
                assert!(new[0].0 != header(stored) && new[0].1 == "Confirm your e-mail address", "{typed:?}: {new:?}");
            } else {
                assert!(new.is_empty(), "{typed:?}: {new:?}");
            }
        }
    }
}

/// A sign-up with another spelling does not change the address of an account, not even of one that nobody has verified.
#[tokio::test]
async fn a23_an_unverified_account_keeps_its_spelling() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let open = mailbox.auth(&cluster, &[]).await.gateway();
    let by_mail = mailbox.auth(&cluster, &[("BACKLOT_SIGNUP", "verify")]).await.gateway();
    open.sign_up("Mike@example.org", PASSWORD).await.expect("account");
    by_mail.sign_up("mi\u{212a}e@example.org", "another horse battery staple").await.expect("accepted");
    let mail = mailbox.last(&cluster).await;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("Mike@example.org", "You already have an account"));
    let stored: Vec<String> = sqlx::query_scalar("select email from users").fetch_all(&cluster.database.pool).await.expect("rows");
    assert_eq!(stored, ["Mike@example.org"]);
}
