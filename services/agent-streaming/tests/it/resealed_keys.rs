//! Row A13 of the reference with its thousand rows: all stored keys are sealed with a new cluster secret.

use chassis::{
    secret::{AGENT_SEALED, Bound, ClusterSecret, Sealer},
    testing::eventually,
};
use proto::id::UserId;
use uuid::Uuid;

use crate::harness::{Cluster, SECRET, SOON, prompt};

const NEW: &str = "the next cluster secret of these tests, 3";
const KEYS: usize = 1_000;
/// Bytes by which a sealed value names the secret.
const HEAD: usize = 9;

fn sealer(secret: &str) -> Sealer {
    Sealer::new(&ClusterSecret::of_bytes(secret.as_bytes()), AGENT_SEALED).expect("a sealer")
}

/// Calls the function with the place of a key of a person.
fn with_place<T>(id: Uuid, user: Uuid, use_it: impl FnOnce(&Bound<'_>) -> T) -> T {
    let (row, owner) = (id.to_string(), format!("user {}", UserId(user)));
    use_it(&Bound { table: "provider_keys", column: "sealed", row: &row, owner: &owner })
}

fn content(number: usize) -> String {
    format!(r#"{{"key":"sk-{number}","base_url":"https://api.example"}}"#)
}

#[tokio::test]
async fn a13_a_thousand_stored_keys_follow_a_new_cluster_secret() {
    let cluster = Cluster::start(&[]).await;
    let before = cluster.replica();
    cluster.user().at(&before).run(prompt("warm", "SAY up")).await;
    let old = sealer(SECRET);
    let places: Vec<(Uuid, Uuid)> = (0..KEYS).map(|_| (Uuid::now_v7(), UserId::generate().0)).collect();
    let sealed = places
        .iter()
        .enumerate()
        .map(|(number, (id, user))| with_place(*id, *user, |place| old.seal(place, content(number).as_bytes())).expect("sealed"));
    let sealed: Vec<Vec<u8>> = sealed.collect();
    let (ids, users): (Vec<Uuid>, Vec<Uuid>) = places.iter().copied().unzip();
    let insert = "INSERT INTO provider_keys (id, user_id, provider, display_name, base_url, last_four, sealed)
                  SELECT id, owner, 'openai', '', 'https://api.example', 'last', sealed
                  FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS k (id, owner, sealed)";
    let mut db = cluster.turns_db().await;
    sqlx::query(insert).bind(&ids).bind(&users).bind(&sealed).execute(&mut db).await.unwrap();

    // The second round of the replacement: the new secret seals, and the old one is accepted.
    let _replica = cluster.replica_with(&[("BACKLOT_CLUSTER_SECRET", NEW), ("BACKLOT_CLUSTER_SECRET_PREVIOUS", SECRET)]);
    eventually(SOON, async || {
        let mut db = cluster.turns_db().await;
        let left = sqlx::query_scalar("SELECT count(*) FROM provider_keys WHERE substring(sealed FROM 1 FOR $2) = $1");
        let left: i64 = left.bind(&sealed[0][..HEAD]).bind(i32::try_from(HEAD).unwrap()).fetch_one(&mut db).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
    let new = sealer(NEW);
    for (number, (id, user)) in places.into_iter().enumerate() {
        let select = sqlx::query_scalar("SELECT sealed FROM provider_keys WHERE id = $1").bind(id);
        let sealed: Vec<u8> = select.fetch_one(&mut db).await.unwrap();
        let opened = with_place(id, user, |place| new.open(place, &sealed)).expect("the new secret alone opens it");
        assert_eq!(opened.expose(), content(number).as_bytes());
        assert!(with_place(id, UserId::generate().0, |place| new.open(place, &sealed)).is_err(), "of nobody else");
    }
}
