//! Makes a service's database when it is not there, and waits for a server that is still starting.

use std::{
    borrow::Cow,
    io,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};

use super::Error;

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
    let mut until = Instant::now() + wait;
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
        } else if !told {
            told = true;
            tracing::warn!(server = server(options), "the database does not answer yet: {error}");
        }
        if Instant::now() >= until {
            return Err(refused(options, error));
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
    let failed = |source| Error::Create { database: name.to_owned(), server: server(options), source };
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

pub(super) fn refused(options: &PgConnectOptions, source: sqlx::Error) -> Error {
    Error::Connect { database: database(options).to_owned(), server: server(options), source }
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
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("no answer within 3 s"), "{error:?}");
    }
}
