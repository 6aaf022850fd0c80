//! The audit log: what is in it, that it is read in pages, and that nobody changes it.

use std::time::Duration;

use auth::testing::Keyring;
use chassis::{
    clock::{from_timestamp, now, timestamp},
    identity::Caller,
    secret::ClusterSecret,
    testing::eventually,
};
use proto::auth::{AuditEvent, ListAuditEventsRequest, Plan};
use serde_json::{Value, json};

use crate::{
    admin::{Admin, Client, OPERATOR, client, request},
    harness::{Cluster, PASSWORD, SECRET, answer},
    mailbox::Mailbox,
    password_change::change,
    session_list::{revoke, revoke_all},
};

const NEW_PASSWORD: &str = "another horse battery staple";

async fn page(client: &Client, message: ListAuditEventsRequest) -> (Vec<AuditEvent>, String) {
    let page = answer(client.clone().list_audit_events(request(message)).await).expect("page");
    (page.events, page.next_page_token)
}

/// All events, in pages of this size.
async fn events(client: &Client, page_size: i32) -> Vec<AuditEvent> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let (events, next) = page(client, ListAuditEventsRequest { page_size, page_token, ..Default::default() }).await;
        all.extend(events);
        page_token = next;
        if page_token.is_empty() {
            return all;
        }
    }
}

fn details(event: &AuditEvent) -> Value {
    serde_json::from_str(&event.details).expect("JSON")
}

/// A refused sign-in is in the log soon after its answer.
async fn refused_sign_in_is_logged(cluster: &Cluster) {
    let refused = "select count(*) from audit_events where kind = 'session.refused'";
    eventually(Duration::from_secs(60), || async {
        let count: i64 = sqlx::query_scalar(refused).fetch_one(&cluster.database.pool).await.expect("count");
        (count == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_change_is_in_the_log_with_who_did_it() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (gateway, admin, log) = (replica.gateway_for("203.0.113.77"), Admin::of(&replica), client(&replica, Caller::Operator));
    let account = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let ada = account.user.expect("user").id;
    let second = gateway.sign_in("ada@example.org", PASSWORD).await.expect("session");
    gateway.sign_in("ada@example.org", "not the password").await.expect_err("wrong");
    gateway.sign_out(&second.session_token).await.expect("signed out");
    gateway.sign_out(&second.session_token).await.expect("nothing to end");
    let eve = admin.create("eve@example.org", "", Plan::Team).await.expect("account");
    let eve = eve.account.expect("account").user.expect("user").id;
    admin.set_plan("ada@example.org", Plan::Pro).await.expect("plan");
    admin.set_plan("ada@example.org", Plan::Pro).await.expect("the same plan");
    admin.end("ada@example.org", "").await.expect("ended");
    admin.end("ada@example.org", "").await.expect("nothing to end");
    let acting = admin.impersonate("ada@example.org", "ticket 7\u{9b}", 5).await.expect_err("a control character");
    assert_eq!(acting.reason, "INVALID_FIELD");
    let acting = admin.impersonate("ada@example.org", "ticket 7", 5).await.expect("session");
    gateway.sign_out(&acting.session_token).await.expect("signed out");
    gateway.sign_in("ada@example.org", PASSWORD).await.expect("session");
    admin.set_disabled("ada@example.org", true).await.expect("disabled");
    admin.set_disabled("ada@example.org", true).await.expect("still disabled");
    gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("disabled");
    gateway.sign_in("ada@example.org", "not the password").await.expect_err("disabled");
    admin.set_disabled("ada@example.org", false).await.expect("enabled");
    admin.set_disabled("ada@example.org", false).await.expect("still enabled");

    refused_sign_in_is_logged(&cluster).await;
    let all = events(&log, 200).await;
    let operator = ("operator", OPERATOR);
    let person = ("user", ada.as_str());
    let expected = [
        ("signing_key.created", ("system", ""), "", ""),
        ("user.signed_up", person, ada.as_str(), "203.0.113.0/24"),
        ("session.started", person, &ada, "203.0.113.0/24"),
        ("session.ended", person, &ada, "203.0.113.0/24"),
        ("user.created", operator, &eve, ""),
        ("user.plan_changed", operator, &ada, ""),
        ("session.revoked", operator, &ada, ""),
        ("session.impersonated", operator, &ada, ""),
        ("session.ended", operator, &ada, "203.0.113.0/24"),
        ("session.started", person, &ada, "203.0.113.0/24"),
        ("user.disabled", operator, &ada, ""),
        ("session.refused", person, &ada, "203.0.113.0/24"),
        ("user.enabled", operator, &ada, ""),
    ];
    let found: Vec<_> = all
        .iter()
        .map(|e| (e.kind.as_str(), (e.actor_kind.as_str(), e.actor_id.as_str()), e.user_id.as_str(), e.network.as_str()))
        .collect();
    assert_eq!(found, expected);
    assert!(all.iter().skip(1).all(|event| event.trace_id.len() == 32 && event.create_time.is_some()), "{all:?}");
    assert_eq!(details(&all[5]), json!({ "from": "free", "to": "pro" }));
    let session = acting.session.expect("session").id;
    assert_eq!(details(&all[7]), json!({ "session": session, "reason": "ticket 7", "minutes": "5" }));
    assert_eq!(details(&all[10]), json!({ "sessions": "1" }));
    let text = format!("{all:?}");
    for secret in ["example.org", PASSWORD, &account.session_token, &acting.session_token, "203.0.113.77"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn what_a_person_changes_in_the_account_is_in_the_log() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[]).await;
    let (gateway, log) = (replica.gateway(), client(&replica, Caller::Operator));
    let account = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let (ada, own) = (account.user.expect("user").id, account.session.expect("session").id);
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    let other = gateway.sign_in("ada@example.org", PASSWORD).await.expect("session").session.expect("session").id;
    revoke(&gateway, &access, &other).await.expect("ended");
    gateway.sign_in("ada@example.org", PASSWORD).await.expect("session");
    assert_eq!(revoke_all(&gateway, &access, false).await, Ok(1));
    assert_eq!(revoke_all(&gateway, &access, false).await, Ok(0), "nothing to end");
    let program = gateway.refresh_token(&access).await.expect("token");
    let next = gateway.refresh(&program.refresh_token).await.expect("refreshed").refresh_token;
    gateway.refresh(&next).await.expect("refreshed");
    assert_eq!(gateway.refresh(&program.refresh_token).await.expect_err("replayed").reason, "TOKEN_REUSED");
    mailbox.settled(&cluster).await;
    gateway.send_verification(&access).await.expect("accepted");
    let proof = mailbox.last(&cluster).await.token();
    gateway.verify_as(&access, &proof).await.expect("verified");
    gateway.verify_as(&access, &proof).await.expect_err("used");
    gateway.request_reset("ada@example.org").await.expect("accepted");
    let reset = mailbox.last(&cluster).await.token();
    gateway.confirm_reset(&reset, NEW_PASSWORD).await.expect("reset");
    gateway.confirm_reset(&reset, PASSWORD).await.expect_err("used");
    let begun = gateway.sign_in("ada@example.org", NEW_PASSWORD).await.expect("session");
    let access = gateway.exchange(&begun.session_token).await.expect("token").access_token;
    change(&gateway, &access, PASSWORD, NEW_PASSWORD).await.expect_err("the old password");
    let changed = change(&gateway, &access, NEW_PASSWORD, PASSWORD).await.expect("changed");

    let (all, person) = (events(&log, 200).await, ("user", ada.as_str()));
    let program_id = program.session.expect("session").id;
    let expected = [
        ("user.signed_up", person, json!({ "session": own })),
        ("session.started", person, json!({ "session": other })),
        ("session.revoked", person, json!({ "sessions": "1", "session": other })),
        ("session.started", person, details(&all[4])),
        ("session.revoked", person, json!({ "sessions": "1" })),
        ("refresh_token.created", person, json!({ "session": program_id, "by": own })),
        ("refresh_token.reused", ("system", ""), json!({ "session": program_id })),
        ("user.address_verified", person, json!({})),
        ("user.password_reset", person, json!({})),
        ("session.started", person, json!({ "session": begun.session.expect("session").id })),
        ("user.password_changed", person, json!({ "session": changed.session.expect("session").id })),
    ];
    let of_ada = all.iter().filter(|event| event.user_id == ada);
    let found: Vec<_> =
        of_ada.map(|event| (event.kind.as_str(), (event.actor_kind.as_str(), event.actor_id.as_str()), details(event))).collect();
    assert_eq!(found, expected);
    let text = format!("{all:?}");
    for secret in ["example.org", PASSWORD, NEW_PASSWORD, &proof, &reset, &program.refresh_token, &next, &changed.session_token] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_rotation_of_the_signing_key_is_in_the_log() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (start, secret) = (now(), ClusterSecret::of_bytes(SECRET.as_bytes()));
    let keyring = Keyring::load(cluster.database.pool.clone(), &secret, time::Duration::days(90), start).await.expect("keys");
    let old = keyring.published().borrow()[0].kid.clone();
    keyring.refresh(start + time::Duration::days(90)).await.expect("created");
    keyring.refresh(start + time::Duration::days(91)).await.expect("retired");
    let new = keyring.published().borrow()[0].kid.clone();
    let all = events(&client(&replica, Caller::Operator), 0).await;
    let found: Vec<_> = all.iter().map(|event| (event.kind.as_str(), details(event)["kid"].clone())).collect();
    assert_eq!(found, [("signing_key.created", json!(old)), ("signing_key.created", json!(new)), ("signing_key.retired", json!(old))]);
}

#[tokio::test]
async fn the_log_is_read_in_pages_and_by_time() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (admin, log) = (Admin::of(&replica), client(&replica, Caller::Operator));
    for n in 0..6 {
        admin.create(&format!("ada{n}@example.org"), "", Plan::Free).await.expect("account");
    }
    // Some events have the same time.
    let insert = "insert into audit_events (id, created_at, kind, actor_kind, details)
                  select gen_random_uuid(), '2020-01-01 00:00:00Z', 'test.same_time', 'system', '{}' from generate_series(1, 5)";
    sqlx::query(insert).execute(&cluster.database.pool).await.expect("inserted");
    let all = events(&log, 200).await;
    assert_eq!(all.len(), 12, "with the signing key");
    let times: Vec<_> = all.iter().map(|event| from_timestamp(&event.create_time.expect("time")).expect("time")).collect();
    assert!(times.is_sorted(), "{times:?}");
    for size in [1, 2, 3, 5, 11, 12] {
        assert_eq!(events(&log, size).await, all, "pages of {size}");
    }
    let at = |index: usize| Some(timestamp(times[index]));
    for (since, until, expected) in [
        (at(0), None, &all[..]),
        (at(8), None, &all[8..]),
        (None, at(8), &all[..8]),
        (at(7), at(9), &all[7..9]),
        (at(8), at(8), &all[..0]),
        (Some(timestamp(now() + time::Duration::DAY)), None, &all[..0]),
    ] {
        let message = ListAuditEventsRequest { since, until, page_size: 200, ..Default::default() };
        assert_eq!(page(&log, message).await, (expected.to_vec(), String::new()), "{since:?} {until:?}");
    }
    let (_, token) = page(&log, ListAuditEventsRequest { page_size: 2, ..Default::default() }).await;
    let other = ListAuditEventsRequest { page_size: 2, page_token: token, since: at(1), ..Default::default() };
    let fault = answer(log.clone().list_audit_events(request(other)).await).expect_err("the token of another list");
    assert_eq!(fault.violations[0].field, "page_token");
}

#[tokio::test]
async fn the_database_refuses_to_change_the_log() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    replica.gateway().sign_up("ada@example.org", PASSWORD).await.expect("account");
    let count = "select count(*) from audit_events";
    let before: i64 = sqlx::query_scalar(count).fetch_one(&cluster.database.pool).await.expect("count");
    for change in [
        "update audit_events set kind = 'user.created'",
        "update audit_events set details = '{}' where false",
        "delete from audit_events",
        "delete from audit_events where false",
        "truncate audit_events",
        "truncate audit_events cascade",
        "with old as (delete from audit_events returning id) select count(*) from old",
        "insert into audit_events select * from audit_events on conflict (id) do update set kind = 'user.created'",
        "set local session_replication_role = replica; delete from audit_events",
    ] {
        let error = sqlx::raw_sql(change).execute(&cluster.database.pool).await.expect_err(change);
        assert!(error.to_string().contains("can only be appended to"), "{change}: {error}");
    }
    let after: i64 = sqlx::query_scalar(count).fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!((before, after), (2, 2));
    // An account leaves the log as it is.
    sqlx::query("delete from users").execute(&cluster.database.pool).await.expect("deleted");
    let after: i64 = sqlx::query_scalar(count).fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(after, 2);
}

/// The event and its change are in one transaction.
#[tokio::test]
async fn a_change_whose_event_cannot_be_stored_does_not_happen() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (gateway, admin) = (replica.gateway(), Admin::of(&replica));
    let account = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    sqlx::query("alter table audit_events rename to hidden").execute(&cluster.database.pool).await.expect("hidden");
    gateway.sign_up("eve@example.org", PASSWORD).await.expect_err("no event");
    gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("no event");
    gateway.sign_out(&account.session_token).await.expect_err("no event");
    admin.create("bob@example.org", "", Plan::Free).await.expect_err("no event");
    admin.set_disabled("ada@example.org", true).await.expect_err("no event");
    admin.set_plan("ada@example.org", Plan::Pro).await.expect_err("no event");
    admin.end("ada@example.org", "").await.expect_err("no event");
    admin.impersonate("ada@example.org", "look", 5).await.expect_err("no event");
    sqlx::query("alter table hidden rename to audit_events").execute(&cluster.database.pool).await.expect("back");
    let access = gateway.exchange(&account.session_token).await.expect("the session stays");
    assert_eq!(access.user.expect("user").plan(), Plan::Free);
    let rows: (i64, i64) = sqlx::query_as("select (select count(*) from users), (select count(*) from sessions)")
        .fetch_one(&cluster.database.pool)
        .await
        .expect("counts");
    assert_eq!(rows, (1, 1));
}
