//! Creates a service's database if it does not exist, and waits for a server that is still starting.

use std::{
    borrow::Cow,
    io,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};

use super::Error;
use crate::error::chain;

/// SQLSTATE: the database does not exist.
const ABSENT: &str = "3D000";
/// SQLSTATE of all errors of PgBouncer, including those that it passes on.
const POOLER: &str = "08P01";
/// PgBouncer caches for fifteen seconds that a database does not exist.
const POOLER_CACHE_TIME: Duration = Duration::from_secs(30);
/// SQLSTATE: the server is starting or recovering.
const STARTING: &str = "57P03";
/// SQLSTATEs of a lost race: the database exists, its catalogue row exists, or another session is copying the template.
const EXISTS: [&str; 3] = ["42P04", "23505", "55006"];
/// The time limit of an attempt to connect, including the name lookup. sqlx has none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The delay between two attempts.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Creates the database of these options if it does not exist. Returns the version of the server.
pub(super) async fn ensure_database(options: &PgConnectOptions, wait: Duration) -> Result<Option<u32>, Error> {
    let started = Instant::now();
    let mut until = started + wait;
    let (mut warned, mut created) = (false, false);
    loop {
        let error = match probe(options).await {
            Ok(version) => return Ok(version),
            Err(error) => error,
        };
        let kind = code(&error);
        if is_absent(&error) {
            if !created {
                create(options).await?;
                created = true;
                until = until.max(Instant::now() + POOLER_CACHE_TIME);
            }
        } else if !(is_transient(&error, kind.as_deref()) || created && kind.as_deref() == Some(POOLER)) {
            return Err(connect_error(options, error));
        } else if !warned && Instant::now() < until {
            warned = true;
            let (address, limit) = (address(options), until.duration_since(started).as_secs());
            tracing::warn!("cannot connect to PostgreSQL at {address} yet: {}; waiting for it, at most {limit} s", cause(&error));
        }
        if Instant::now() >= until {
            let cause = format!("{}; gave up after {} s", cause(&error), started.elapsed().as_secs());
            return Err(Error::Connect { address: address(options), cause });
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

async fn probe(options: &PgConnectOptions) -> Result<Option<u32>, sqlx::Error> {
    let connection = open(options).await?;
    let version = connection.server_version_num();
    // An error while closing does not matter.
    let _ = connection.close().await;
    Ok(version)
}

/// Connects within [`CONNECT_TIMEOUT`].
pub(super) async fn open(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let timed_out =
        |_| sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())));
    tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await.map_err(timed_out)?
}

async fn create(options: &PgConnectOptions) -> Result<(), Error> {
    let name = database(options);
    let failed = |error| Error::Create { address: address(options), cause: cause(&error) };
    let mut connection: PgConnection = open(&options.clone().database("postgres")).await.map_err(failed)?;
    // `template0` accepts no connections, so no session can block the copy. It also allows an encoding other than the server's default.
    let sql = format!("CREATE DATABASE \"{}\" TEMPLATE template0 ENCODING 'UTF8'", name.replace('"', "\"\""));
    let created = connection.execute(AssertSqlSafe(sql)).await;
    let _ = connection.close().await;
    match created {
        Ok(_) => {
            tracing::info!(database = name, "database created");
            Ok(())
        }
        Err(error) if code(&error).is_some_and(|code| EXISTS.contains(&code.as_ref())) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn is_absent(error: &sqlx::Error) -> bool {
    let Some(refusal) = error.as_database_error() else { return false };
    match refusal.code().as_deref() {
        Some(ABSENT) => true,
        Some(POOLER) => refusal.message().starts_with("database ") && refusal.message().ends_with(" does not exist"),
        _ => false,
    }
}

fn is_transient(error: &sqlx::Error, kind: Option<&str>) -> bool {
    kind == Some(STARTING) || matches!(error, sqlx::Error::Io(_))
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(|refusal| refusal.code())
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn connect_error(options: &PgConnectOptions, error: sqlx::Error) -> Error {
    Error::Connect { address: address(options), cause: cause(&error) }
}

/// The text of an error without repetition: some errors of sqlx repeat the text of their source.
fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Database(refusal) => refusal.message().to_owned(),
        other => chain(other),
    }
}

/// The server and the name of a database: `db:5432/shop_auth`.
fn address(options: &PgConnectOptions) -> String {
    format!("{}/{}", server(options), database(options))
}

/// The name of the database. Its default is the name of the user.
pub(super) fn database(options: &PgConnectOptions) -> &str {
    options.get_database().unwrap_or(options.get_username())
}

pub(super) fn server(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The listener accepts connections and never answers.
    #[tokio::test]
    async fn a_server_that_does_not_answer_is_an_error_that_names_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(address.port()).username("me").database("x");
        let error = tokio::time::timeout(Duration::from_secs(60), ensure_database(&options, Duration::ZERO)).await.expect("in time");
        let error = error.expect_err("no server");
        assert_eq!(error.to_string(), format!("cannot connect to PostgreSQL at {address}/x: no answer within 3 s; gave up after 3 s"));
    }
}
