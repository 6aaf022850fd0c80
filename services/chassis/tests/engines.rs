//! PostgreSQL and Redis clients against real servers.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::Duration;

use chassis::{
    config::Secret,
    postgres, redis,
    testing::{self, eventually},
};
use fred::{
    cmd,
    interfaces::{ClientLike as _, EventInterface as _, KeysInterface as _, PubsubInterface as _},
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgPool, migrate::Migrator, postgres::PgPoolOptions};

static MIGRATOR: Migrator = sqlx::migrate!("tests/migrations");
const LIMIT: Duration = Duration::from_secs(20);

async fn names(pool: &PgPool) -> Vec<String> {
    postgres::query("select things", sqlx::query_scalar("SELECT name FROM things ORDER BY id").fetch_all(pool)).await.unwrap()
}

#[tokio::test]
async fn every_test_has_a_database_of_its_own() {
    let (one, other) = tokio::join!(testing::postgres(&MIGRATOR), testing::postgres(&MIGRATOR));
    sqlx::query("INSERT INTO things VALUES (1, 'mine')").execute(&one.pool).await.unwrap();
    assert_eq!(names(&one.pool).await, ["mine"]);
    assert!(names(&other.pool).await.is_empty());
    let idle: String =
        sqlx::query_scalar("SELECT current_setting('idle_in_transaction_session_timeout')").fetch_one(&one.pool).await.unwrap();
    assert_eq!(idle, "30s");
    let level: String = sqlx::query_scalar("SELECT current_setting('client_min_messages')").fetch_one(&one.pool).await.unwrap();
    assert_eq!(level, "warning", "notices are not logged");
}

#[tokio::test]
async fn replicas_that_start_at_the_same_time_create_one_database() {
    let server = testing::postgres(&MIGRATOR).await;
    let url = server.url.replacen("/test_", "/raced-\"_", 1);
    let config = postgres::Config::of_url("rate-limit", Secret::new(url));
    let starts = (0..6).map(|_| postgres::connect(&config, &MIGRATOR));
    let pools = futures::future::try_join_all(starts).await.unwrap();
    assert!(names(&pools[5]).await.is_empty());
    let name: String = sqlx::query_scalar("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        .fetch_one(&pools[0])
        .await
        .unwrap();
    assert_eq!(name, "backlot rate-limit");
}

#[tokio::test]
async fn a_release_starts_on_a_database_that_the_next_release_has_migrated() {
    let server = testing::postgres(&MIGRATOR).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'next release', true, '', 0)",
    )
    .execute(&server.pool)
    .await
    .unwrap();
    let config = postgres::Config::of_url("auth", Secret::new(server.url.clone()));
    let pool = postgres::connect(&config, &MIGRATOR).await.unwrap();
    assert!(names(&pool).await.is_empty());
}

#[tokio::test]
async fn a_connection_error_names_the_server_without_its_password() {
    let mut config = postgres::Config::of_url("auth", Secret::new("postgres://me:hunter2@127.0.0.1:1/x_auth"));
    config.connect_timeout = Duration::from_millis(200);
    let error = postgres::connect(&config, &MIGRATOR).await.unwrap_err();
    let text = chassis::error::chain(&error);
    assert!(text.starts_with("cannot connect to PostgreSQL at 127.0.0.1:1/x_auth: "), "{text}");
    assert_eq!(text.matches("refused").count(), 1, "the cause, once: {text}");
    assert!(!format!("{error:?} {text}").contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_transaction_whose_begin_is_dropped_is_rolled_back() {
    let database = testing::postgres(&MIGRATOR).await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&database.url).await.unwrap();
    for polls in 0..24 {
        let mut begin = Box::pin(postgres::begin(&pool));
        for _ in 0..polls {
            if futures::poll!(&mut begin).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(begin);
        // Later writes on the same connection must be visible to other connections.
        sqlx::query("INSERT INTO things VALUES ($1, 'x')").bind(polls).execute(&pool).await.unwrap();
        assert_eq!(names(&database.pool).await.len(), usize::try_from(polls).unwrap() + 1, "dropped after {polls} polls");
    }
}

#[tokio::test]
async fn a_lost_connection_is_not_reused() {
    let database = testing::postgres(&MIGRATOR).await;
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .execute(&database.pool)
        .await
        .unwrap();
    eventually(LIMIT, || async { sqlx::query("SELECT 1").execute(&database.pool).await.ok() }).await;
}

#[tokio::test]
async fn redis_reconnects_after_an_outage() {
    let mut server = testing::redis().await;
    let config = redis::Config { url: Some(Secret::new(server.url.as_str())), password: None, prefix: "test:".into() };
    let pool = redis::connect(&config).await.unwrap().unwrap();
    assert_eq!(pool.incr::<i64, _>("n").await.unwrap(), 1);
    server.kill().await;
    // The server is restarted only later, so a command that waited for it would not end.
    assert!(tokio::time::timeout(LIMIT, pool.incr::<i64, _>("n")).await.expect("a command does not wait for the server").is_err());
    server.restart().await;
    assert_eq!(eventually(LIMIT, || async { pool.incr::<i64, _>("n").await.ok() }).await, 1);
}

#[tokio::test]
async fn a_subscription_survives_an_outage() {
    let mut server = testing::redis().await;
    let config = redis::Config { url: Some(Secret::new(server.url.as_str())), password: None, prefix: String::new() };
    let (pool, listener) = (redis::connect(&config).await.unwrap().unwrap(), redis::subscriber(&config).await.unwrap().unwrap());
    let mut messages = listener.message_rx();
    listener.subscribe("bell").await.unwrap();
    server.restart().await;
    eventually(LIMIT, || async { pool.next().publish::<i64, _, _>("bell", "ding").await.ok().filter(|listeners| *listeners > 0) }).await;
    let message = tokio::time::timeout(LIMIT, messages.recv()).await.unwrap().unwrap();
    assert_eq!(message.value.convert::<String>().unwrap(), "ding");
}

#[tokio::test]
async fn redis_may_start_later_and_wrong_credentials_are_an_error() {
    let mut server = testing::redis().await;
    server.kill().await;
    let config = redis::Config { url: Some(Secret::new(server.url.as_str())), password: None, prefix: String::new() };
    let (pool, listener) = (redis::connect(&config).await.unwrap().unwrap(), redis::subscriber(&config).await.unwrap().unwrap());
    assert!(pool.incr::<i64, _>("n").await.is_err());
    server.restart().await;
    assert!(eventually(LIMIT, || async { pool.incr::<i64, _>("n").await.ok() }).await > 0);
    eventually(LIMIT, || async { listener.subscribe("bell").await.ok() }).await;

    pool.custom::<(), _>(cmd!("CONFIG"), vec!["SET", "requirepass", "right"]).await.unwrap();
    for wrong in ["redis://:wrong@", "redis://"] {
        let url = server.url.replace("redis://", wrong);
        let config = redis::Config { url: Some(Secret::new(url.as_str())), password: None, prefix: String::new() };
        assert!(matches!(redis::connect(&config).await, Err(redis::Error::Connect(_))), "{wrong}");
        assert!(matches!(redis::subscriber(&config).await, Err(redis::Error::Connect(_))), "{wrong}");
    }
}

#[tokio::test]
async fn the_watch_reports_a_read_only_database_until_it_is_writable() {
    let database = testing::postgres(&MIGRATOR).await;
    let mut problem = postgres::watch(&database.pool);
    // This connection may write even if the default of the database is read-only.
    let options = database.pool.connect_options().as_ref().clone().options([("default_transaction_read_only", "off")]);
    let mut admin = options.connect().await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut admin).await.unwrap();
    assert_eq!(*problem.borrow(), None);
    for (read_only, expected) in [("on", Some("it is read-only")), ("off", None)] {
        sqlx::query(AssertSqlSafe(format!("ALTER DATABASE {name} SET default_transaction_read_only = {read_only}")))
            .execute(&mut admin)
            .await
            .unwrap();
        // Existing connections keep the old default.
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .execute(&mut admin)
        .await
        .unwrap();
        let reported = tokio::time::timeout(LIMIT, problem.wait_for(|problem| problem.as_deref() == expected)).await;
        reported.unwrap_or_else(|_| panic!("{expected:?} was not reported")).unwrap();
    }
}
