//! Makes a service's database when it is not there, and waits for a server that is still starting.

use std::{
    borrow::Cow,
    io,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};

use super::Error;
use crate::error::chain;

/// SQLSTATE: no database of that name.
const ABSENT: &str = "3D000";
/// SQLSTATE of everything that PgBouncer says of its own or hands on.
const POOLER: &str = "08P01";
/// PgBouncer remembers for fifteen seconds that a database was not there.
const POOLER_FORGETS: Duration = Duration::from_secs(30);
/// SQLSTATE: the server is starting or recovering.
const STARTING: &str = "57P03";
/// SQLSTATEs of a lost race: the database exists, its row in the catalogue exists, somebody is copying the same template.
const EXISTS: [&str; 3] = ["42P04", "23505", "55006"];
/// Of one attempt, the look-up of the name included. Neither the library nor the system bounds it.
const ATTEMPT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

/// Sees to it that the database of these options exists, and tells the server's version.
pub(super) async fn ensure_database(options: &PgConnectOptions, wait: Duration) -> Result<Option<u32>, Error> {
    let started = Instant::now();
    let mut until = started + wait;
    let (mut told, mut made) = (false, false);
    loop {
        let error = match probe(options).await {
            Ok(version) => return Ok(version),
            Err(error) => error,
        };
        let kind = code(&error);
        if is_absent(&error) {
            if !made {
                create(options).await?;
                made = true;
                until = until.max(Instant::now() + POOLER_FORGETS);
            }
        } else if !(worth_waiting(&error, kind.as_deref()) || made && kind.as_deref() == Some(POOLER)) {
            return Err(refused(options, error));
        } else if !told && Instant::now() < until {
            told = true;
            let (place, most) = (place(options), until.duration_since(started).as_secs());
            tracing::warn!("cannot connect to PostgreSQL at {place} yet: {}; waiting for it, at most {most} s", cause(&error));
        }
        if Instant::now() >= until {
            let cause = format!("{}; gave up after {} s", cause(&error), started.elapsed().as_secs());
            return Err(Error::Connect { place: place(options), cause });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn probe(options: &PgConnectOptions) -> Result<Option<u32>, sqlx::Error> {
    let connection = open(options).await?;
    let version = connection.server_version_num();
    // It answered; how it takes the farewell does not matter.
    let _ = connection.close().await;
    Ok(version)
}

/// A connection, or an error in time.
pub(super) async fn open(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let late = |_| sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", ATTEMPT.as_secs())));
    tokio::time::timeout(ATTEMPT, options.connect()).await.map_err(late)?
}

async fn create(options: &PgConnectOptions) -> Result<(), Error> {
    let name = database(options);
    let failed = |error| Error::Create { place: place(options), cause: cause(&error) };
    let mut connection: PgConnection = open(&options.clone().database("postgres")).await.map_err(failed)?;
    // `template0` takes no connections, so nobody can be in the way; UTF-8 even where the server's default is something else.
    let sql = format!("CREATE DATABASE \"{}\" TEMPLATE template0 ENCODING 'UTF8'", name.replace('"', "\"\""));
    let made = connection.execute(AssertSqlSafe(sql)).await;
    let _ = connection.close().await;
    match made {
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

fn worth_waiting(error: &sqlx::Error, kind: Option<&str>) -> bool {
    kind == Some(STARTING) || matches!(error, sqlx::Error::Io(_))
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(|refusal| refusal.code())
}

#[allow(clippy::needless_pass_by_value, reason = "what `map_err` calls")]
pub(super) fn refused(options: &PgConnectOptions, error: sqlx::Error) -> Error {
    Error::Connect { place: place(options), cause: cause(&error) }
}

/// What went wrong, once: the library's errors say what their sources say again.
fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Database(refusal) => refusal.message().to_owned(),
        other => chain(other),
    }
}

/// Where a database is: `db:5432/shop_auth`.
fn place(options: &PgConnectOptions) -> String {
    format!("{}/{}", server(options), database(options))
}

/// What a connection without a database's name would open.
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

    /// As a name server or a host that is gone does it: whoever asks waits.
    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up_and_named() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(address.port()).username("me").database("x");
        let error = tokio::time::timeout(Duration::from_secs(60), ensure_database(&options, Duration::ZERO)).await.expect("in time");
        let error = error.expect_err("no server");
        assert_eq!(error.to_string(), format!("cannot connect to PostgreSQL at {address}/x: no answer within 3 s; gave up after 3 s"));
    }
}
