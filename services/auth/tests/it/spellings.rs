//! Different spellings of an address and of a password at sign-up and sign-in, and accounts of the previous release.

use proto::error::ErrorCode;

use crate::harness::{Cluster, PASSWORD};

#[tokio::test]
async fn every_spelling_of_an_address_is_one_account() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    for (original, spellings) in [
        (" ada@example.org", &["ada@example.org", "ADA@EXAMPLE.org ", "ａｄａ@example.org"][..]),
        ("x@bücher.example", &["x@xn--bcher-kva.example", "X@bu\u{308}cher.example", "x@BÜCHER.EXAMPLE"]),
        ("y@xn--bcher-kva.example", &["y@bücher.example", "Y@XN--BCHER-KVA.example"]),
        ("mu\u{308}ller@b.c", &["müller@b.c", "MÜLLER@b.c"]),
        ("иван@пример.рф", &["ИВАН@xn--e1afmkfd.xn--p1ai"]),
        ("हिन्दी@भारत.in", &["हिन्दी@xn--h2brj9c.in"]),
    ] {
        let user = gateway.sign_up(original, PASSWORD).await.unwrap_or_else(|e| panic!("{original}: {e:?}")).user.expect("user");
        assert_eq!(user.email, original.trim(), "displayed as it was typed");
        for text in spellings.iter().chain([&original]) {
            let fault = gateway.sign_up(text, PASSWORD).await.expect_err(text);
            assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "EMAIL_TAKEN"), "{text}");
            let seen = gateway.sign_in(text, PASSWORD).await.unwrap_or_else(|e| panic!("{text}: {e:?}")).user.expect("user");
            assert_eq!(seen, user, "{text}");
        }
    }
}

#[tokio::test]
async fn invisible_and_bidirectional_characters_are_refused() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    for email in
        ["\u{202e}ada@b.c", "ada\u{2066}@b.c", "ada@b\u{200f}.c", "ada@b.c\u{200b}", "a\u{ad}da@b.c", "ada@e\u{ad}x.org", "ada\n@b.c"]
    {
        let fault = gateway.sign_up(email, PASSWORD).await.expect_err(email);
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "email"), "{email:?}");
        assert!(fault.violations[0].description.contains("invisible characters"), "{fault:?}");
    }
}

#[tokio::test]
async fn every_spelling_of_a_password_is_accepted() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let (composed, decomposed) = ("grüner elefant im zoo", "gru\u{308}ner\u{a0}elefant im zoo");
    for (email, original) in [("ada@b.c", composed), ("eve@b.c", decomposed)] {
        gateway.sign_up(email, original).await.expect("account");
        for typed in [composed, decomposed] {
            gateway.sign_in(email, typed).await.expect("session");
        }
        let fault = gateway.sign_in(email, "gruner elefant im zoo").await.expect_err("another password");
        assert_eq!(fault.reason, "BAD_CREDENTIALS");
    }
    let long: String = "зелёный слон в саду ".chars().cycle().take(256).collect();
    let long_decomposed = long.replace('й', "и\u{306}").replace('ё', "е\u{308}");
    assert!(long_decomposed.chars().count() > 256);
    gateway.sign_up("long@b.c", &long_decomposed).await.expect("256 characters after normalisation");
    gateway.sign_in("long@b.c", &long).await.expect("session");
    let short = gateway.sign_up("short@b.c", "u\u{308}o\u{308}a\u{308}u\u{308}").await.expect_err("four characters");
    assert!(short.violations[0].description.contains("15 to 256 characters"), "{short:?}");
}

/// The previous release did not normalise addresses. It may have two accounts for one address.
#[tokio::test]
async fn accounts_of_the_previous_release_stay_reachable_and_separate() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    gateway.sign_up("template@example.org", PASSWORD).await.expect("account");
    let old_account = |email: &'static str| {
        let pool = cluster.database.pool.clone();
        async move {
            let id = proto::id::UserId::generate();
            sqlx::query(
                "insert into users (id, email, email_key, display_name, plan, password_hash, created_at)
                 select $1, $2, $3, 'old', plan, password_hash, created_at from users where email = 'template@example.org'",
            )
            .bind(id.0)
            .bind(email)
            .bind(email.to_lowercase())
            .execute(&pool)
            .await
            .expect("row");
            id.to_string()
        }
    };
    let unicode = old_account("x@bücher.example").await;
    let punycode = old_account("x@xn--bcher-kva.example").await;
    let single = old_account("Müller@straße.example").await;
    let invalid = old_account("a@b--.c").await;

    // The next start adds their identities.
    let gateway = cluster.auth().await.gateway();
    for (text, id) in [
        ("x@bücher.example", &unicode),
        ("x@xn--bcher-kva.example", &punycode),
        ("x@bu\u{308}cher.example", &unicode),
        ("Müller@straße.example", &single),
        ("mu\u{308}ller@xn--strae-oqa.example", &single),
        ("a@b--.c", &invalid),
    ] {
        let user = gateway.sign_in(text, PASSWORD).await.unwrap_or_else(|e| panic!("{text}: {e:?}")).user.expect("user");
        assert_eq!(&user.id, id, "{text}");
    }
    for text in ["X@Bu\u{308}cher.example", "müller@xn--strae-oqa.example"] {
        assert_eq!(gateway.sign_up(text, PASSWORD).await.expect_err(text).reason, "EMAIL_TAKEN");
    }
}
