use auth::testing::{Keyring, Session, User, claims};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chassis::{
    clock::now,
    identity::Caller,
    secret::ClusterSecret,
    testing::{Lines, eventually},
};
use futures::future::join_all;
use proto::auth::{GetKeySetRequest, JsonWebKey};
use time::Duration;

use crate::{
    admin::Admin,
    harness::{Cluster, PASSWORD, Replica, SECRET, Settings, answer},
};

async fn key_set(replica: &Replica) -> Vec<JsonWebKey> {
    answer(replica.direct().get_key_set(GetKeySetRequest {}).await).expect("keys").keys
}

/// Waits until the replica publishes these keys, for half of the time after which it loads the stored ones in any case.
async fn publishes(replica: &Replica, expected: &[String]) {
    eventually(std::time::Duration::from_secs(30), async || {
        let kids: Vec<_> = key_set(replica).await.into_iter().map(|key| key.kid).collect();
        (kids == expected).then_some(())
    })
    .await;
}

fn header(token: &str) -> serde_json::Value {
    let (header, _) = token.split_once('.').expect("a token");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).expect("base64url")).expect("json")
}

#[tokio::test]
async fn replicas_that_start_at_the_same_time_share_one_key() {
    let cluster = Cluster::start().await;
    let replicas = join_all((0..4).map(|_| cluster.auth())).await;
    let sets = join_all(replicas.iter().map(key_set)).await;
    assert_eq!(sets[0].len(), 1);
    assert!(sets.iter().all(|set| *set == sets[0]));
    let key = &sets[0][0];
    assert_eq!((key.kty.as_str(), key.crv.as_str(), key.alg.as_str(), key.r#use.as_str()), ("EC", "P-256", "ES256", "sig"));
    for coordinate in [&key.x, &key.y] {
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(coordinate).expect("base64url").len(), 32);
    }

    let account = replicas[0].gateway().sign_up("ada@example.org", PASSWORD).await.expect("account");
    let access = replicas[1].gateway().exchange(&account.session_token).await.expect("token");
    assert_eq!(header(&access.access_token), serde_json::json!({"alg": "ES256", "typ": "at+jwt", "kid": key.kid}));
    replicas[2].gateway().session(&access.access_token).await.expect("another replica accepts the token");
}

#[tokio::test]
async fn a_restart_keeps_the_key() {
    let cluster = Cluster::start().await;
    let before = key_set(&cluster.auth().await).await;
    assert_eq!(key_set(&cluster.auth().await).await, before);
}

#[tokio::test]
async fn every_service_may_read_the_keys() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    for caller in [Caller::Gateway, Caller::AgentStreaming, Caller::ProjectStorage, Caller::RateLimit, Caller::Operator] {
        answer(replica.called_by(caller, None).client.get_key_set(GetKeySetRequest {}).await).expect("keys");
    }
}

#[tokio::test]
async fn another_cluster_secret_creates_another_key_and_keeps_the_old_one_published() {
    let cluster = Cluster::start().await;
    let before = key_set(&cluster.auth().await).await;
    let other = cluster.auth_with(Settings(&[("BACKLOT_CLUSTER_SECRET", "another secret of thirty-two bytes")])).await;
    let after = key_set(&other).await;
    assert_eq!(after.len(), 2);
    assert_eq!(after[1], before[0], "the signing key is first");
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_until_its_tokens_have_ended() {
    let cluster = Cluster::start().await;
    let (secret, interval, start) = (ClusterSecret::of_bytes(SECRET.as_bytes()), Duration::days(90), now());
    let load = || Keyring::load(cluster.database.pool.clone(), &secret, interval, start);
    let (one, two) = (load().await.expect("keys"), load().await.expect("keys"));
    let kids = |ring: &Keyring| ring.published().borrow().iter().map(|k| k.kid.clone()).collect::<Vec<_>>();
    let (user, session) = user_with_session(start);
    let signer = |ring: &Keyring| header(&ring.sign(&claims(&user, &session, start)).expect("token"))["kid"].clone();
    let old = kids(&one);
    assert_eq!(old.len(), 1);

    let due = start + interval;
    one.refresh(due).await.expect("refreshed");
    two.refresh(due).await.expect("refreshed");
    assert_eq!(kids(&one).len(), 2, "published");
    assert_eq!(kids(&one), kids(&two), "one new key for all replicas");
    assert_eq!(signer(&one), old[0], "but not signing");

    one.refresh(due + Duration::minutes(15)).await.expect("refreshed");
    let new = kids(&one)[0].clone();
    assert_eq!(signer(&one), new);
    assert!(new != old[0] && kids(&one).contains(&old[0]), "the old one still verifies");
    assert_eq!(signer(&two), old[0], "a replica that has not refreshed yet");
    assert!(kids(&two).contains(&new), "but publishes the key of the other one");

    two.refresh(due + Duration::minutes(30)).await.expect("refreshed");
    assert_eq!(kids(&two), [new]);
}

async fn events(cluster: &Cluster) -> Vec<(String, String, String)> {
    let events = "select kind, details->>'kid', actor_kind from audit_events where kind like 'signing_key.%' order by created_at, id";
    sqlx::query_as(events).fetch_all(&cluster.database.pool).await.expect("events")
}

#[tokio::test]
async fn an_operator_replaces_the_signing_key_as_a_rotation_does() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let [old] = &key_set(&replica).await[..] else { panic!("one key") };
    let account = replica.gateway().sign_up("ada@example.org", PASSWORD).await.expect("account");
    let replaced = Admin::of(&replica).replace_signing_key(false).await;
    let seconds = replaced.sign_time.expect("a time").seconds - now().unix_timestamp();
    assert!((14 * 60..=15 * 60).contains(&seconds), "{seconds}");
    let kids: Vec<_> = key_set(&replica).await.into_iter().map(|key| key.kid).collect();
    assert_eq!(kids, [old.kid.clone(), replaced.kid.clone()], "both are published, and the old one signs");
    let access = replica.gateway().exchange(&account.session_token).await.expect("token");
    assert_eq!(header(&access.access_token)["kid"], old.kid);
    let of_operator = ("signing_key.created".to_owned(), replaced.kid, "operator".to_owned());
    assert_eq!(events(&cluster).await.last(), Some(&of_operator));
}

#[tokio::test]
async fn an_operator_replaces_a_leaked_signing_key_at_once() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (gateway, admin) = (replica.gateway(), Admin::of(&replica));
    let account = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let before = gateway.exchange(&account.session_token).await.expect("token").access_token;
    let pending = admin.replace_signing_key(false).await.kid;
    let leaked = header(&before)["kid"].as_str().expect("an id").to_owned();

    let replaced = admin.replace_signing_key(true).await;
    let kids: Vec<_> = key_set(&replica).await.into_iter().map(|key| key.kid).collect();
    assert_eq!(kids, std::slice::from_ref(&replaced.kid), "neither the leaked key nor the one that waited");
    assert_eq!(gateway.session(&before).await.expect_err("of the leaked key").reason, "TOKEN_INVALID");
    let after = gateway.exchange(&account.session_token).await.expect("the session goes on").access_token;
    assert_eq!(header(&after)["kid"], replaced.kid);
    gateway.session(&after).await.expect("accepted");
    let changed: i64 = sqlx::query_scalar("select count(*) from session_changes").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(changed, 1, "gateways get a new access token for the session");
    let mut retired: Vec<_> = events(&cluster).await.into_iter().filter(|event| event.0 == "signing_key.retired").collect();
    retired.sort();
    let mut expected = [leaked, pending].map(|kid| ("signing_key.retired".to_owned(), kid, "operator".to_owned()));
    expected.sort();
    assert_eq!(retired, expected);
}

#[tokio::test]
async fn a_replica_that_did_not_replace_the_key_signs_with_the_new_one() {
    let cluster = Cluster::start().await;
    let (one, other) = (cluster.auth().await, cluster.auth().await);
    let gateway = other.gateway();
    let account = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let before = gateway.exchange(&account.session_token).await.expect("token").access_token;
    let replaced = Admin::of(&one).replace_signing_key(true).await;
    let after = gateway.exchange(&account.session_token).await.expect("token").access_token;
    assert_eq!(header(&after)["kid"], replaced.kid, "whoever asks after the replacement gets a token of the new key");
    gateway.session(&after).await.expect("accepted");
    assert_eq!(gateway.session(&before).await.expect_err("of the leaked key").reason, "TOKEN_INVALID");

    // Also if nobody asks it for a token.
    let next = Admin::of(&one).replace_signing_key(false).await;
    publishes(&other, &[replaced.kid, next.kid]).await;
    let last = Admin::of(&one).replace_signing_key(true).await;
    publishes(&other, &[last.kid]).await;
}

/// The refresh of a minute later loads the key. An error would say that nothing was replaced.
#[tokio::test]
async fn a_replacement_succeeds_although_the_process_cannot_load_the_key_yet() {
    let lines = Lines::collect();
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let pool = &cluster.database.pool;
    // The start has made the first key.
    assert_eq!(key_set(&replica).await.len(), 1);
    // The transaction of the replacement hides the table, so that the process finds no keys after it.
    for sql in [
        "create function hide_the_keys() returns trigger language plpgsql security definer as $$
         begin alter table signing_keys rename to hidden; return null; end $$",
        "create trigger hide_the_keys after insert on audit_events for each row execute function hide_the_keys()",
    ] {
        sqlx::query(sql).execute(pool).await.expect("a trigger");
    }
    let replaced = Admin::of(&replica).replace_signing_key(false).await;
    let kids: Vec<String> = sqlx::query_scalar("select kid from hidden order by created_at").fetch_all(pool).await.expect("keys");
    assert_eq!((kids.len(), kids.last()), (2, Some(&replaced.kid)));
    let warned = lines.of("the signing key was replaced, and this process loads the new one with its next refresh");
    assert_eq!(warned.len(), 1, "{warned:?}");
}

/// Whoever writes to the database has swapped the sealed private keys. No token is signed with a key under the name of another one.
#[tokio::test]
async fn a13_swapped_signing_keys_sign_nothing() {
    let cluster = Cluster::start().await;
    let (secret, interval, start) = (ClusterSecret::of_bytes(SECRET.as_bytes()), Duration::days(90), now());
    let load = |at| Keyring::load(cluster.database.pool.clone(), &secret, interval, at);
    let kids = |ring: &Keyring| ring.published().borrow().iter().map(|k| k.kid.clone()).collect::<Vec<_>>();
    let ring = load(start).await.expect("a key");
    ring.refresh(start + interval).await.expect("a second key");
    let before = kids(&ring);
    assert_eq!(before.len(), 2);
    let swap = "update signing_keys k set sealed_private = o.sealed_private from signing_keys o where o.kid <> k.kid";
    let swapped = sqlx::query(swap).execute(&cluster.database.pool).await.expect("swapped");
    assert_eq!(swapped.rows_affected(), 2);

    let restarted = load(start + interval).await.expect("a third key");
    let (user, session) = user_with_session(start);
    let kid = header(&restarted.sign(&claims(&user, &session, start)).expect("token"))["kid"].as_str().expect("text").to_owned();
    assert!(!before.contains(&kid) && kids(&restarted)[0] == kid, "{kid} in {before:?}");
}

fn user_with_session(now: time::OffsetDateTime) -> (User, Session) {
    let user = User {
        id: proto::id::UserId::generate(),
        email: "a@b".into(),
        display_name: "a".into(),
        plan: proto::auth::Plan::Free,
        created_at: now,
    };
    let session = Session::start(user.id, now);
    (user, session)
}
