//! Service accounts: what their owner does with them, what their keys are, and what ends them.

use chassis::identity::Caller;
use futures::TryStreamExt as _;
use proto::{
    auth::{
        Account, AccountKind, ApiKeyScope, CreateApiKeyRequest, CreateApiKeyResponse, CreateServiceAccountRequest, DeleteAccountRequest,
        DeleteApiKeyRequest, DeleteServiceAccountRequest, ExportAccountRequest, FindUserRequest, ListApiKeysRequest,
        ListServiceAccountsRequest, ListUsersRequest, Plan, ServiceAccount, UpdateServiceAccountRequest, export_account_response::Entry,
    },
    error::{ErrorCode, Fault},
    id::UserId,
};
use rate_limit::Policies;
use serde_json::Value;

use crate::{
    account_deletion::deletions,
    admin::{Admin, request},
    harness::{Client, Cluster, PASSWORD, answer, within_a_minute},
    mailbox::{Mailbox, verify_all},
    step_up::{age_proofs, claims},
};

const ADA: &str = "ada@example.org";
const EVE: &str = "eve@example.org";

pub(crate) async fn create(gateway: &Client, access: &str, name: &str) -> Result<ServiceAccount, Box<Fault>> {
    let request = gateway.authorized(CreateServiceAccountRequest { display_name: name.into() }, access);
    Ok(answer(gateway.client.clone().create_service_account(request).await)?.service_account.expect("an account"))
}

async fn list(gateway: &Client, access: &str) -> Vec<ServiceAccount> {
    let request = gateway.authorized(ListServiceAccountsRequest {}, access);
    answer(gateway.client.clone().list_service_accounts(request).await).expect("a list").service_accounts
}

async fn rename(gateway: &Client, access: &str, id: &str, name: &str) -> Result<ServiceAccount, Box<Fault>> {
    let message = UpdateServiceAccountRequest { service_account_id: id.into(), display_name: name.into() };
    let request = gateway.authorized(message, access);
    Ok(answer(gateway.client.clone().update_service_account(request).await)?.service_account.expect("an account"))
}

async fn delete(gateway: &Client, access: &str, id: &str) -> Result<(), Box<Fault>> {
    let request = gateway.authorized(DeleteServiceAccountRequest { service_account_id: id.into() }, access);
    answer(gateway.client.clone().delete_service_account(request).await).map(drop)
}

pub(crate) async fn make_key(gateway: &Client, access: &str, account: &str) -> Result<CreateApiKeyResponse, Box<Fault>> {
    let message = CreateApiKeyRequest {
        display_name: "ci".into(),
        scope: ApiKeyScope::Write.into(),
        service_account_id: account.into(),
        ..Default::default()
    };
    answer(gateway.client.clone().create_api_key(gateway.authorized(message, access)).await)
}

/// The ids of the keys of an account.
async fn keys(gateway: &Client, access: &str, account: &str) -> Result<Vec<String>, Box<Fault>> {
    let request = gateway.authorized(ListApiKeysRequest { service_account_id: account.into() }, access);
    let listed = answer(gateway.client.clone().list_api_keys(request).await)?;
    Ok(listed.api_keys.into_iter().map(|key| key.id).collect())
}

async fn delete_key(gateway: &Client, access: &str, id: &str, account: &str) -> Result<(), Box<Fault>> {
    let message = DeleteApiKeyRequest { api_key_id: id.into(), service_account_id: account.into() };
    answer(gateway.client.clone().delete_api_key(gateway.authorized(message, access)).await).map(drop)
}

async fn refused(gateway: &Client, key: &str) {
    assert_eq!(gateway.exchange_key(key).await.expect_err("refused").reason, "API_KEY_INVALID");
}

async fn found(admin: &Admin, user: &str) -> Account {
    let request = request(FindUserRequest { user: user.into() });
    answer(admin.client().find_user(request).await).expect("found").account.expect("account")
}

#[tokio::test]
async fn a_service_account_has_keys_and_an_id_of_its_own() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up(ADA).await;
    let robot = create(&gateway, &access, "nightly build").await.expect("created");
    let made = make_key(&gateway, &access, &robot.id).await.expect("made");
    assert!(made.secret.starts_with("blt_svc_") && made.secret.len() == 44, "{}", made.secret.len());
    let exchanged = gateway.exchange_key(&made.secret).await.expect("exchanged");
    let user = exchanged.user.expect("user");
    assert_eq!((user.id.as_str(), user.email.as_str(), user.display_name.as_str()), (robot.id.as_str(), "", "nightly build"));
    assert_eq!(user.plan(), Plan::Free);
    let claims = claims(&exchanged.access_token);
    assert_eq!((&claims["sub"], &claims["aud"], &claims["auth_time"]), (&robot.id.clone().into(), &"backlot-limited".into(), &0.into()));
    assert_eq!(gateway.session(&exchanged.access_token).await.expect_err("no session").reason, "SCOPE_REQUIRED");
    refused(&gateway, &made.secret.replace("blt_svc_", "blt_pat_")).await;

    assert_eq!(keys(&gateway, &access, &robot.id).await.expect("keys"), [made.api_key.expect("a key").id.clone()]);
    assert!(keys(&gateway, &access, "").await.expect("keys").is_empty(), "it is no key of the person");
    let renamed = rename(&gateway, &access, &robot.id, "deploys").await.expect("renamed");
    assert_eq!((renamed.id.as_str(), renamed.display_name.as_str()), (robot.id.as_str(), "deploys"));
    assert_eq!(list(&gateway, &access).await, [renamed]);
    for name in ["", " ", &"a".repeat(81), "a\u{202e}b"] {
        for fault in [
            create(&gateway, &access, name).await.expect_err("a bad name"),
            rename(&gateway, &access, &robot.id, name).await.expect_err("a bad name"),
        ] {
            assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "display_name"), "{name}");
        }
    }
    for number in 1..10 {
        create(&gateway, &access, &format!("robot {number}")).await.expect("created");
    }
    let fault = create(&gateway, &access, "one more").await.expect_err("too many");
    assert_eq!((fault.reason.as_str(), fault.message.contains("10 service accounts")), ("TOO_MANY_CREDENTIALS", true), "{fault:?}");
}

/// T-296. The lists are the only RPCs of keys and service accounts that lock nothing.
#[tokio::test]
async fn an_ended_session_lists_neither_keys_nor_service_accounts() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let account = gateway.sign_up(ADA, PASSWORD).await.expect("account");
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    let robot = create(&gateway, &access, "robot").await.expect("created");
    make_key(&gateway, &access, &robot.id).await.expect("made");
    assert_eq!((keys(&gateway, &access, &robot.id).await.expect("keys").len(), list(&gateway, &access).await.len()), (1, 1));
    gateway.sign_out(&account.session_token).await.expect("signed out");
    let request = gateway.authorized(ListServiceAccountsRequest {}, &access);
    for fault in [
        answer(gateway.client.clone().list_service_accounts(request).await).map(drop).expect_err("ended"),
        keys(&gateway, &access, &robot.id).await.map(drop).expect_err("ended"),
        keys(&gateway, &access, "").await.map(drop).expect_err("ended"),
    ] {
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "SESSION_ENDED"));
    }
}

/// T-250.
#[tokio::test]
async fn the_service_account_of_somebody_else_looks_absent() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let (ada, eve) = (gateway.signed_up(ADA).await, gateway.signed_up(EVE).await);
    let robot = create(&gateway, &ada, "robot").await.expect("created");
    let key = make_key(&gateway, &ada, &robot.id).await.expect("made").api_key.expect("a key").id;
    let owner = gateway.session(&ada).await.expect("session").user.expect("user").id;
    for id in [&robot.id, &owner, &UserId::generate().to_string()] {
        for fault in [
            rename(&gateway, &eve, id, "mine").await.map(drop).expect_err("not hers"),
            delete(&gateway, &eve, id).await.expect_err("not hers"),
            make_key(&gateway, &eve, id).await.map(drop).expect_err("not hers"),
            keys(&gateway, &eve, id).await.map(drop).expect_err("not hers"),
            delete_key(&gateway, &eve, &key, id).await.expect_err("not hers"),
        ] {
            assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::NotFound, "SERVICE_ACCOUNT_NOT_FOUND"), "{id}");
        }
    }
    assert_eq!(delete_key(&gateway, &eve, &key, "").await.expect_err("not hers").reason, "API_KEY_NOT_FOUND");
    assert_eq!(delete_key(&gateway, &ada, &key, "").await.expect_err("of the robot").reason, "API_KEY_NOT_FOUND");
    assert!(list(&gateway, &eve).await.is_empty());
    let malformed = keys(&gateway, &ada, "x").await.expect_err("no id");
    assert_eq!((malformed.reason.as_str(), malformed.violations[0].field.as_str()), ("INVALID_FIELD", "service_account_id"));
    delete_key(&gateway, &ada, &key, &robot.id).await.expect("deleted");
}

/// T-251.
#[tokio::test]
async fn only_a_person_with_a_recent_proof_makes_and_deletes_service_accounts() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let access = gateway.signed_up(ADA).await;
    let robot = create(&gateway, &access, "robot").await.expect("created");
    let key = make_key(&gateway, &access, &robot.id).await.expect("made").secret;
    let program = gateway.refresh_token(&access).await.expect("token").refresh_token;
    let acting = Admin::of(&replica).impersonate(ADA, "ticket 7", 5).await.expect("session").session_token;
    let callers = [
        (gateway.exchange_key(&key).await.expect("token").access_token, "SCOPE_REQUIRED"),
        (gateway.refresh(&program).await.expect("token").access_token, "SESSION_REQUIRED"),
        (gateway.exchange(&acting).await.expect("token").access_token, "IMPERSONATED"),
    ];
    for (caller, reason) in &callers {
        for fault in [
            create(&gateway, caller, "another").await.map(drop).expect_err("refused"),
            rename(&gateway, caller, &robot.id, "another").await.map(drop).expect_err("refused"),
            delete(&gateway, caller, &robot.id).await.expect_err("refused"),
            make_key(&gateway, caller, &robot.id).await.map(drop).expect_err("refused"),
        ] {
            assert_eq!(fault.reason, *reason);
        }
    }
    let pool = &cluster.database.pool;
    sqlx::query("update sessions set authenticated_at = now() - interval '11 minutes'").execute(pool).await.expect("an old proof");
    for fault in [
        create(&gateway, &access, "another").await.map(drop).expect_err("refused"),
        delete(&gateway, &access, &robot.id).await.expect_err("refused"),
        make_key(&gateway, &access, &robot.id).await.map(drop).expect_err("refused"),
    ] {
        assert_eq!(fault.reason, "STEP_UP_REQUIRED");
    }
    rename(&gateway, &access, &robot.id, "another").await.expect("a name is no credential");
}

/// T-255.
#[tokio::test]
async fn deleted_service_accounts_count_for_the_limit_of_their_owner() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let gateway = cluster.auth().await.gateway();
    let (ada, eve) = (gateway.signed_up(ADA).await, gateway.signed_up(EVE).await);
    age_proofs(&cluster).await;
    assert_eq!(create(&gateway, &ada, "robot").await.expect_err("no recent proof").reason, "STEP_UP_REQUIRED");
    let renewed = "update sessions set authenticated_at = authenticated_at + interval '10 minutes'";
    sqlx::query(renewed).execute(&cluster.database.pool).await.expect("recent proofs");
    for number in 0..10 {
        let robot = create(&gateway, &ada, &format!("robot {number}")).await.expect("what was refused did not count");
        delete(&gateway, &ada, &robot.id).await.expect("deleted");
    }
    let fault = create(&gateway, &ada, "one more").await.expect_err("too many");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::RateLimited, "RATE_LIMITED"));
    assert_eq!((fault.quota[0].policy.as_str(), fault.quota[0].description.as_str()), ("service-accounts", "10 per 86400 s"));
    assert!(fault.retry_after.is_some() && list(&gateway, &ada).await.is_empty());
    create(&gateway, &eve, "robot").await.expect("another person");
}

/// T-252.
#[tokio::test]
async fn nobody_signs_in_to_a_service_account_and_no_mail_names_it() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[]).await;
    let (gateway, admin) = (replica.gateway(), Admin::of(&replica));
    let access = gateway.signed_up(ADA).await;
    let robot = create(&gateway, &access, "robot").await.expect("created");
    let stored: (String, String) = sqlx::query_as("select email_key, email_identity from users where owner_id is not null")
        .fetch_one(&cluster.database.pool)
        .await
        .expect("stored");
    for address in ["robot", &robot.id, &stored.0, &stored.1, &stored.0.to_lowercase()] {
        assert_eq!(gateway.sign_in(address, PASSWORD).await.expect_err("nobody").reason, "BAD_CREDENTIALS", "{address}");
        gateway.request_reset(address).await.expect("the answer is always the same");
    }
    for fault in [
        admin.impersonate(&robot.id, "ticket 7", 5).await.map(drop).expect_err("no person"),
        admin.reset_second_factor(&robot.id).await.map(drop).expect_err("no person"),
    ] {
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "NOT_A_PERSON"));
    }
    let shown = found(&admin, &robot.id).await;
    let owner = found(&admin, ADA).await;
    assert_eq!((shown.kind(), owner.kind()), (AccountKind::Service, AccountKind::Person));
    assert_eq!(shown.owner_id, owner.user.expect("user").id);
    let listed = answer(admin.client().list_users(request(ListUsersRequest::default())).await).expect("a list").accounts;
    assert_eq!(listed.iter().filter(|account| account.kind() == AccountKind::Service).count(), 1);
    admin.set_plan(&robot.id, Plan::Pro).await.expect("a plan of its own");
    assert_eq!(found(&admin, &robot.id).await.user.expect("user").plan(), Plan::Pro);
    make_key(&gateway, &access, &robot.id).await.expect("made");
    let mails = mailbox.settled(&cluster).await;
    let last = mails.last().expect("a mail");
    assert_eq!((mails.len(), last.to.as_str(), last.subject.as_str()), (1, ADA, "New API key for a service account"), "{mails:?}");
    assert_eq!(last.link(), "https://apps.example/account/service-accounts");
    let second = sqlx::query("update users set password_hash = 'x' where owner_id is not null").execute(&cluster.database.pool).await;
    assert!(second.is_err(), "the database refuses a password");
    gateway.sign_up("robot@example.org", PASSWORD).await.expect("addresses are not concerned");
}

/// T-253.
#[tokio::test]
async fn a_disabled_owner_or_service_account_has_no_keys() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (gateway, admin) = (replica.gateway(), Admin::of(&replica));
    let access = gateway.signed_up(ADA).await;
    let robot = create(&gateway, &access, "robot").await.expect("created");
    let key = make_key(&gateway, &access, &robot.id).await.expect("made").secret;
    let pool = &cluster.database.pool;
    sqlx::query("update users set disabled_at = now() where owner_id is null").execute(pool).await.expect("disabled");
    refused(&gateway, &key).await;
    sqlx::query("update users set disabled_at = null").execute(pool).await.expect("enabled");
    gateway.exchange_key(&key).await.expect("the row alone decides here");

    assert_eq!(admin.set_disabled(&robot.id, true).await.expect("disabled"), 1);
    refused(&gateway, &key).await;
    assert!(list(&gateway, &access).await[0].disable_time.is_some());
    let fault = make_key(&gateway, &access, &robot.id).await.expect_err("disabled");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "USER_DISABLED"));
    admin.set_disabled(&robot.id, false).await.expect("enabled");
    refused(&gateway, &key).await;

    let key = make_key(&gateway, &access, &robot.id).await.expect("made").secret;
    assert_eq!(admin.set_disabled(ADA, true).await.expect("disabled"), 2, "the session and the key of the robot");
    refused(&gateway, &key).await;
    let reported: i64 = sqlx::query_scalar("select count(*) from revocations").fetch_one(pool).await.expect("count");
    assert_eq!(reported, 3);
}

/// T-254.
#[tokio::test]
async fn what_ends_a_service_account_is_reported_to_every_service() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[]).await;
    let (gateway, admin) = (replica.gateway(), Admin::of(&replica));
    let access = gateway.signed_up(ADA).await;
    let mut robots = Vec::new();
    for name in ["one", "two", "three"] {
        let id = create(&gateway, &access, name).await.expect("created").id;
        robots.push((id.clone(), make_key(&gateway, &access, &id).await.expect("made").secret));
    }
    let waiting = async || -> Vec<String> {
        deletions(&replica, Caller::ProjectStorage).await.into_iter().map(|deletion| deletion.user_id).collect()
    };
    delete(&gateway, &access, &robots[0].0).await.expect("deleted");
    refused(&gateway, &robots[0].1).await;
    assert_eq!(waiting().await, [robots[0].0.clone()]);
    assert_eq!(delete(&gateway, &access, &robots[0].0).await.expect_err("gone").reason, "SERVICE_ACCOUNT_NOT_FOUND");
    gateway.exchange_key(&robots[1].1).await.expect("others stay");
    assert_eq!(admin.delete(&robots[1].0).await.expect("deleted"), 1);
    refused(&gateway, &robots[1].1).await;

    let request = gateway.authorized(DeleteAccountRequest { email: ADA.into() }, &access);
    answer(gateway.client.clone().delete_account(request).await).expect("deleted");
    refused(&gateway, &robots[2].1).await;
    assert_eq!(waiting().await.len(), 4, "three robots and their owner");
    let left: i64 = sqlx::query_scalar("select (select count(*) from users) + (select count(*) from sessions)")
        .fetch_one(&cluster.database.pool)
        .await
        .expect("count");
    assert_eq!(left, 0);
    let deleted: Vec<(uuid::Uuid, Value)> =
        sqlx::query_as("select user_id, details from audit_events where kind = 'user.deleted' order by created_at, id")
            .fetch_all(&cluster.database.pool)
            .await
            .expect("events");
    assert_eq!(deleted.len(), 4);
    assert!(robots.iter().all(|(id, _)| deleted.iter().any(|(user, details)| user.to_string() == *id && details["owner"].is_string())));
    let mails = mailbox.settled(&cluster).await;
    assert_eq!(mails.iter().filter(|mail| mail.subject == "Your account was deleted").count(), 1, "a robot has no address");
}

/// Whoever signs up with the address of somebody else must not stay in through a robot.
#[tokio::test]
async fn an_unverified_account_yields_without_its_service_accounts() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[]).await;
    let gateway = replica.gateway();
    for (email, is_verified) in [(EVE, false), (ADA, true)] {
        let access = gateway.signed_up(email).await;
        let robot = create(&gateway, &access, "robot").await.expect("created");
        let key = make_key(&gateway, &access, &robot.id).await.expect("made").secret;
        if is_verified {
            verify_all(&cluster).await;
        }
        gateway.request_reset(email).await.expect("accepted");
        let mails = mailbox.settled(&cluster).await;
        let link = mails.iter().rfind(|mail| mail.to == email && mail.link().contains("?token=")).expect("a mail").token();
        gateway.confirm_reset(&link, "another horse battery staple").await.expect("changed");
        if is_verified {
            gateway.exchange_key(&key).await.expect("a new password of the owner ends no key of a robot");
        } else {
            refused(&gateway, &key).await;
            assert_eq!(deletions(&replica, Caller::ProjectStorage).await.len(), 1);
        }
    }
}

#[tokio::test]
async fn the_export_of_a_person_has_the_service_accounts() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up(ADA).await;
    let robot = create(&gateway, &access, "robot").await.expect("created");
    let request = gateway.authorized(ExportAccountRequest {}, &access);
    let entries = answer(gateway.client.clone().export_account(request).await).expect("a stream");
    let entries: Vec<_> = within_a_minute(entries.try_collect()).await.expect("entries");
    let entries: Vec<Entry> = entries.into_iter().filter_map(|entry: proto::auth::ExportAccountResponse| entry.entry).collect();
    let at = |wanted: fn(&Entry) -> bool| entries.iter().position(wanted).expect("an entry");
    assert!(entries.contains(&Entry::ServiceAccount(robot)), "{entries:?}");
    assert!(at(|entry| matches!(entry, Entry::ServiceAccount(_))) < at(|entry| matches!(entry, Entry::Event(_))));
    let kinds: Vec<String> =
        entries.iter().filter_map(|entry| if let Entry::Event(event) = entry { Some(event.kind.clone()) } else { None }).collect();
    assert!(kinds.contains(&"service_account.created".to_owned()), "{kinds:?}");
}
