//! New passwords that are on the operator's list of breached ones.

use std::fs;

use data_encoding::HEXUPPER;
use proto::{
    auth::Plan,
    error::{ErrorCode, Fault},
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tempfile::NamedTempFile;

use crate::{
    admin::{Admin, token_of},
    harness::{Cluster, PASSWORD, Settings},
    password_change::change,
};

const SETTING: &str = "BACKLOT_AUTH_BREACHED_PASSWORDS_FILE";
/// Strong by itself.
const BREACHED: &str = "seven otters juggle copper lanterns";
const OTHER: &str = "eight badgers paint wooden bicycles";

/// A list in the form of Have I Been Pwned.
fn list(passwords: &[&str]) -> NamedTempFile {
    let hash = |password: &&str| HEXUPPER.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes()).as_ref());
    let mut lines: Vec<_> = passwords.iter().map(|password| format!("{}:7\r\n", hash(password))).collect();
    lines.sort();
    let file = NamedTempFile::new().expect("a file");
    fs::write(file.path(), lines.concat()).expect("written");
    file
}

fn assert_breached(fault: &Fault, row: &str) {
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "WEAK_PASSWORD"), "{row}");
    assert_eq!(fault.violations[0].field, "password", "{row}");
    assert!(fault.violations[0].description.contains("data breaches"), "{row}: {fault:?}");
    assert!(!fault.message.contains(BREACHED), "{row}");
}

#[tokio::test]
async fn a_breached_password_is_refused_wherever_one_is_set() {
    let (cluster, file) = (Cluster::start().await, list(&["password1", BREACHED, "letmein"]));
    // An account from before the list.
    let before = cluster.auth().await.gateway();
    before.sign_up("old@example.org", BREACHED).await.expect("account");

    let replica = cluster.auth_with(Settings(&[(SETTING, file.path().to_str().expect("text"))])).await;
    let (gateway, admin) = (replica.gateway(), Admin::of(&replica));
    assert_breached(&gateway.sign_up("ada@example.org", BREACHED).await.expect_err("a sign-up"), "a sign-up");
    let account = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");

    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    assert_breached(&change(&gateway, &access, PASSWORD, BREACHED).await.expect_err("a change"), "a change");
    change(&gateway, &access, PASSWORD, OTHER).await.expect("changed");

    let created = admin.create("eve@example.org", BREACHED, Plan::Free).await.expect_err("an account by an operator");
    assert_breached(&created, "an account by an operator");
    let token = token_of(&admin.create("eve@example.org", "", Plan::Free).await.expect("account"));
    assert_breached(&gateway.confirm_reset(&token, BREACHED).await.expect_err("a link"), "a link");
    gateway.confirm_reset(&token, OTHER).await.expect("a refused password leaves the link usable");

    gateway.sign_in("old@example.org", BREACHED).await.expect("a password of before stays valid");
}
