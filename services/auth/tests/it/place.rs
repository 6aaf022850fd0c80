//! The place of a sign-in: in answers about sessions, in the export of an account and in mails, if the operator has a file of places.

use chassis::testing::mmdb;
use futures::TryStreamExt as _;
use proto::auth::{ExportAccountRequest, ExportAccountResponse, Session, export_account_response::Entry};
use tempfile::NamedTempFile;

use crate::{
    admin::Admin,
    harness::{Client, Cluster, PASSWORD, Replica, Settings, answer, within_a_minute},
    mailbox::{Mailbox, verify_all},
};

const EMAIL: &str = "ada@example.org";
const SETTING: &str = "BACKLOT_AUTH_PLACES_FILE";

fn places() -> NamedTempFile {
    let records = [
        ("1.1.1.0/24", mmdb::record("Berlin", "Germany")),
        ("2a00:1::/32", mmdb::record("São Paulo", "Brazil")),
        ("192.0.2.0/24", mmdb::record("Inside", "Nowhere")),
    ];
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), mmdb::file("DBIP-City-Lite", &records)).expect("written");
    file
}

/// The places of sessions, in their order.
fn shown(sessions: &[Session]) -> Vec<&str> {
    sessions.iter().map(|session| session.place.as_str()).collect()
}

async fn export(gateway: &Client, access: &str) -> Vec<Session> {
    let entries =
        answer(gateway.client.clone().export_account(gateway.authorized(ExportAccountRequest {}, access)).await).expect("a stream");
    let entries: Vec<ExportAccountResponse> = within_a_minute(entries.try_collect()).await.expect("entries");
    entries.into_iter().filter_map(|one| if let Some(Entry::Session(session)) = one.entry { Some(session) } else { None }).collect()
}

/// A person in three networks: the sessions, the one that was used last first, and an access token of the first one.
async fn sign_in_everywhere(replica: &Replica) -> (Vec<Session>, String) {
    let home = replica.gateway_for("192.0.2.77").sign_up(EMAIL, PASSWORD).await.expect("account");
    let berlin = replica.gateway_for("1.1.1.77").sign_in(EMAIL, PASSWORD).await.expect("session");
    let train = replica.gateway_for("2a00:1:2:3::9").sign_in(EMAIL, PASSWORD).await.expect("session");
    let access = replica.gateway().exchange(&home.session_token).await.expect("token").access_token;
    (vec![train.session.expect("session"), berlin.session.expect("session"), home.session.expect("session")], access)
}

#[tokio::test]
async fn a_session_has_the_place_of_its_network() {
    let cluster = Cluster::start().await;
    let file = places();
    let replica = cluster.auth_with(Settings(&[(SETTING, file.path().to_str().expect("text"))])).await;
    let (begun, access) = sign_in_everywhere(&replica).await;
    let expected = ["São Paulo, Brazil", "Berlin, Germany", ""];
    assert_eq!(shown(&begun), expected, "of the answers to sign-ins");
    let gateway = replica.gateway();
    let listed = gateway.sessions(&access).await.expect("list");
    assert_eq!(shown(&listed), expected, "of the list");
    assert_eq!(listed[1].network, "1.1.1.0/24");
    assert_eq!(shown(&Admin::of(&replica).sessions(EMAIL).await), expected, "of the list of an operator");
    assert_eq!(shown(&export(&gateway, &access).await), expected, "of the export");
    assert_eq!(gateway.session(&access).await.expect("session").session.expect("session").place, "");

    // Nothing of it is stored: a replica without the file, and one that has read another file, show other places of the same sessions.
    let other = mmdb::file("GeoLite2-Country", &[("1.0.0.0/8", serde_json::json!({"country": {"names": {"en": "Australia"}}}))]);
    std::fs::write(file.path(), other).expect("written");
    assert_eq!(shown(&gateway.sessions(&access).await.expect("list")), expected, "the file was read at the start");
    let next = cluster.auth_with(Settings(&[(SETTING, file.path().to_str().expect("text"))])).await;
    assert_eq!(shown(&next.gateway().sessions(&access).await.expect("list")), ["", "Australia", ""]);
}

#[tokio::test]
async fn without_a_file_no_session_and_no_mail_has_a_place() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[]).await;
    let (begun, access) = sign_in_everywhere(&replica).await;
    assert_eq!(shown(&begun), [""; 3]);
    assert_eq!(shown(&replica.gateway().sessions(&access).await.expect("list")), [""; 3]);
    verify_all(&cluster).await;
    replica.gateway_for("1.1.1.78").sign_in(EMAIL, PASSWORD).await.expect("session");
    let mail = mailbox.last(&cluster).await.raw.replace("\r\n", " ");
    assert!(mail.contains("from the address 1.1.1.78, which is new."), "{mail}");
}

#[tokio::test]
async fn a_mail_about_a_sign_in_names_the_place() {
    let (cluster, mailbox, file) = (Cluster::start().await, Mailbox::new(), places());
    let replica = mailbox.auth(&cluster, &[(SETTING, file.path().to_str().expect("text"))]).await;
    replica.gateway().sign_up(EMAIL, PASSWORD).await.expect("account");
    verify_all(&cluster).await;
    for (address, said) in
        [("1.1.1.77", "from the address 1.1.1.77 (Berlin, Germany), which is new."), ("9.9.9.9", "from the address 9.9.9.9, which is new.")]
    {
        replica.gateway_for(address).sign_in(EMAIL, PASSWORD).await.expect("session");
        let mail = mailbox.last(&cluster).await.raw.replace("\r\n", " ");
        assert!(mail.contains(said), "{mail}");
    }
}
