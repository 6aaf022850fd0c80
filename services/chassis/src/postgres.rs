//! PostgreSQL: one database per service, which is created and migrated at the start, and one pool. [`query`] adds a span, a metric and
//! the slow log to every statement.

mod create;
mod pooler;
mod store;
mod url;
mod watch;

use std::{
    borrow::Cow,
    future::{Future, poll_fn},
    num::NonZeroU32,
    pin::pin,
    str::FromStr as _,
    sync::LazyLock,
    time::{Duration, Instant},
};

use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram},
};
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tracing::{Dispatch, Span, dispatcher, field::Empty};

pub use self::{
    store::{Connection, Pool, StoreError, Tx, begin, begin_in_query, commit, connection},
    watch::watch,
};
use crate::{
    config::{Env, Secret},
    failpoint, telemetry,
};

/// The name of the engine in the health service.
pub const ENGINE: &str = "postgres";
/// A statement that takes longer than this is logged as slow.
pub const SLOW: Duration = Duration::from_secs(1);
/// The oldest supported server version, as `server_version_num`.
const MIN_SERVER_VERSION: u32 = 140_000;
/// A connection that was idle for longer than this is pinged before use. A ping before each use would double the cost of a read.
const PING_AFTER: Duration = Duration::from_secs(1);

/// The database of a service.
#[derive(Debug, Clone)]
pub struct Config {
    /// URL of the service's own database.
    pub url: Secret,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
    pub max_connections: u32,
    /// How long a request may wait for a connection.
    pub acquire_timeout: Duration,
    /// A transaction that is idle for this long is ended by the server, so that a stuck task cannot hold locks.
    pub idle_in_transaction: Duration,
    /// How long the start waits for a server that does not answer.
    pub connect_timeout: Duration,
}

impl Config {
    /// Reads the settings of a service, which is named as its folder: `project-storage`.
    pub fn read(env: &mut Env, service: &'static str) -> Self {
        let own = format!("BACKLOT_{}_DATABASE_URL", service.replace('-', "_").to_uppercase());
        let exact: Option<Secret> = env.derived(
            &own,
            "the database of this service on the server of DATABASE_URL",
            "URL of the PostgreSQL database of this service",
        );
        let shared: Option<Secret> = env.derived(
            "DATABASE_URL",
            "a private PostgreSQL with `backlot up`; required by a service that runs alone",
            "PostgreSQL server and prefix: each service creates and uses the database <name>_<service>",
        );
        let password = url::password(env);
        let found = match (&exact, &shared) {
            (Some(url), _) => url::database(url, None, password.as_ref()).map_err(|problem| (own.as_str(), problem.to_owned())),
            (None, Some(url)) => {
                url::database(url, Some(service), password.as_ref()).map_err(|problem| ("DATABASE_URL", problem.to_owned()))
            }
            (None, None) => Err(("DATABASE_URL", format!("is required, or {own}"))),
        };
        let url = found.unwrap_or_else(|(setting, problem)| {
            env.fault(setting, problem);
            Secret::new("")
        });
        let most: NonZeroU32 = env.get("BACKLOT_DATABASE_CONNECTIONS", "16", "most connections of one service to its database");
        let max_connections = most.get();
        let idle_in_transaction = env.get(
            "BACKLOT_DATABASE_IDLE_TRANSACTION",
            "30s",
            "a transaction that is idle for this long is rolled back; in agent-streaming at most a third of BACKLOT_LEASE",
        );
        // PostgreSQL takes 0 for no bound at all.
        env.require_positive([("BACKLOT_DATABASE_IDLE_TRANSACTION", idle_in_transaction)]);
        Self { max_connections, idle_in_transaction, ..Self::of_url(service, url) }
    }

    /// The defaults with this database URL.
    #[must_use]
    pub fn of_url(service: &str, url: Secret) -> Self {
        Self {
            url,
            application_name: format!("backlot {service}"),
            max_connections: 16,
            acquire_timeout: Duration::from_secs(5),
            idle_in_transaction: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a service has no database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database URL cannot be used")]
    Url(#[source] sqlx::Error),
    #[error("cannot connect to PostgreSQL at {address}: {cause}")]
    Connect { address: String, cause: String },
    #[error("cannot create the database {address}: {cause}; create it, or give the user CREATEDB")]
    Create { address: String, cause: String },
    #[error("PostgreSQL 14 or newer is needed, the server is {0}")]
    TooOld(u32),
    #[error(
        "{server} pools transactions or statements, which breaks session locks, prepared statements and session settings: set \
         pool_mode=session (PgBouncer), or give the address of PostgreSQL itself"
    )]
    Pooled { server: String },
    #[error("cannot migrate database {database:?}")]
    Migrate { database: String, source: sqlx::migrate::MigrateError },
}

/// Waits for the server of a database, and creates the database if it does not exist. A process with several services calls this first, so
/// that a problem of their common server is reported once.
///
/// # Errors
/// The server does not answer in time or refuses the connection, or the database cannot be created.
pub async fn prepare(config: &Config) -> Result<(), Error> {
    create::ensure_database(&options(config)?, config.connect_timeout).await.map(drop)
}

/// A pool for the service's database, which is created if it does not exist, and migrated. Several replicas may do this at the same time.
///
/// # Errors
/// Those of [`prepare`]; the server is too old or is a pooler of transactions; a migration fails.
pub async fn connect(config: &Config, migrator: &Migrator) -> Result<PgPool, Error> {
    let options = options(config)?;
    let version = create::ensure_database(&options, config.connect_timeout).await?;
    if version.is_some_and(|number| number < MIN_SERVER_VERSION) {
        return Err(Error::TooOld(version.unwrap_or_default() / 10_000));
    }
    if pooler::shares_sessions(&options).await.map_err(|source| create::connect_error(&options, source))? {
        return Err(Error::Pooled { server: create::server(&options) });
    }
    migrate(config, &options, migrator).await?;
    pool_options(config).connect_with(options.clone()).await.map_err(|source| create::connect_error(&options, source))
}

/// Runs the migrations on a connection of their own. Its transactions may be idle for as long as a busy machine needs at a start.
async fn migrate(config: &Config, options: &PgConnectOptions, migrator: &Migrator) -> Result<(), Error> {
    let unlimited = Config { idle_in_transaction: Duration::ZERO, max_connections: 1, ..config.clone() };
    let pool = pool_options(&unlimited).connect_with(options.clone()).await.map_err(|source| create::connect_error(options, source))?;
    let database = create::database(options).to_owned();
    known_migrations(migrator).run(&pool).await.map_err(|source| Error::Migrate { database, source })?;
    pool.close().await;
    Ok(())
}

/// The migrations of this release. Those of the next release may be in the database already: its schema works with this release, so a
/// replica of this release may restart during an upgrade.
fn known_migrations(migrator: &Migrator) -> Migrator {
    let mut known = Migrator::with_migrations(migrator.iter().cloned().collect());
    known.set_ignore_missing(true);
    known
}

fn options(config: &Config) -> Result<PgConnectOptions, Error> {
    let options = PgConnectOptions::from_str(config.url.expose()).map_err(Error::Url)?;
    Ok(options
        .application_name(&config.application_name)
        // `query` logs the summary of a statement. sqlx would log the whole text.
        .disable_statement_logging()
        // Poolers refuse startup parameters that they do not know. It has no effect on binary numbers.
        .extra_float_digits(None))
}

fn pool_options(config: &Config) -> PgPoolOptions {
    let idle = config.idle_in_transaction.as_millis().to_string();
    PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection: &mut PgConnection, meta| {
            Box::pin(async move {
                if meta.idle_for > PING_AFTER {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |connection: &mut PgConnection, _| {
            // A statement instead of a startup parameter, because poolers refuse parameters that they do not know.
            let idle = idle.clone();
            Box::pin(async move {
                // Suppresses notices, such as the one at each start that the table of migrations exists.
                let set = "SELECT set_config('idle_in_transaction_session_timeout', $1, false), \
                           set_config('client_min_messages', 'warning', false)";
                let set = sqlx::query(set).persistent(false).bind(idle);
                connection.execute(set).await.map(drop)
            })
        })
}

struct Instruments {
    duration: Histogram<f64>,
    slow: Counter<u64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter = global::meter("chassis");
    Instruments {
        duration: meter
            .f64_histogram("db.client.operation.duration")
            .with_unit("s")
            .with_description("time of one database operation, the wait for a connection included")
            .with_boundaries(telemetry::SECONDS.to_vec())
            .build(),
        slow: meter.u64_counter("db.client.operation.slow").with_description("database operations above one second").build(),
    }
});

/// Runs a database operation in a span, measures it, and logs it if it is slow. The summary is a verb and its object, such as
/// `select sessions`. It is a constant, so that metrics have few series.
///
/// # Errors
/// Those of the operation.
pub async fn query<T, E: Into<StoreError>>(summary: &'static str, operation: impl Future<Output = Result<T, E>>) -> Result<T, StoreError> {
    let span = tracing::info_span!(
        "query",
        otel.name = summary,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = "postgresql",
        db.query.summary = summary,
        error.type = Empty,
    );
    let started = Instant::now();
    let mut operation = pin!(operation);
    // sqlx enters the current span for each row that it reads. Through all layers of telemetry this costs as much as reading the row,
    // so the operation is polled without a subscriber.
    let no_subscriber = Dispatch::none();
    let measured = async {
        failpoint::before(summary).map_err(sqlx::Error::from)?;
        let value =
            poll_fn(|context| dispatcher::with_default(&no_subscriber, || operation.as_mut().poll(context))).await.map_err(Into::into)?;
        failpoint::after(summary).map_err(sqlx::Error::from)?;
        Ok(value)
    };
    let result = measured.await;
    record_operation(&span, summary, started.elapsed(), result.as_ref().err());
    result
}

fn record_operation(span: &Span, summary: &'static str, elapsed: Duration, error: Option<&StoreError>) {
    let mut attributes = vec![KeyValue::new("db.system.name", "postgresql"), KeyValue::new("db.query.summary", summary)];
    // A missing row is not an error of the operation.
    if let Some(kind) = error.filter(|e| !matches!(e, StoreError::Database(sqlx::Error::RowNotFound))).map(error_kind) {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", kind.as_ref());
        watch::note_error(&kind);
        attributes.push(KeyValue::new("error.type", kind.into_owned()));
    }
    INSTRUMENTS.duration.record(elapsed.as_secs_f64(), &attributes);
    // Without a connection no statement has run. There is another alert for an unavailable database.
    let slow = elapsed >= SLOW && !error.is_some_and(has_no_connection);
    // Adds 0 too, so that the series exists before the first slow statement. Otherwise Prometheus does not see the first increase.
    INSTRUMENTS.slow.add(u64::from(slow), &attributes[..2]);
    if slow {
        span.in_scope(|| tracing::warn!(db.query.summary = summary, seconds = elapsed.as_secs_f64(), "slow statement"));
    }
}

fn has_no_connection(error: &StoreError) -> bool {
    matches!(error_kind(error).as_ref(), "pool_timed_out" | "pool_closed" | "connection")
}

/// The SQLSTATE of an error of the server, or the kind of another error.
fn error_kind(error: &StoreError) -> Cow<'static, str> {
    let StoreError::Database(error) = error else { return "inconsistent".into() };
    match error {
        sqlx::Error::Database(refusal) => refusal.code().map_or(Cow::Borrowed("database"), |code| Cow::Owned(code.into_owned())),
        sqlx::Error::PoolTimedOut => "pool_timed_out".into(),
        sqlx::Error::PoolClosed => "pool_closed".into(),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => "connection".into(),
        _ => "client".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(pairs: &[(&str, &str)], service: &'static str) -> Result<String, String> {
        let mut env = Env::of(pairs.iter().copied());
        let config = Config::read(&mut env, service);
        env.check().map(|()| config.url.expose().to_owned()).map_err(|faults| faults.to_string())
    }

    #[test]
    fn each_service_has_its_own_database() {
        let shared = [("DATABASE_URL", "postgres://me:pw@db:5432/shop?sslmode=require")];
        assert_eq!(url(&shared, "project-storage").unwrap(), "postgres://me:pw@db:5432/shop_project_storage?sslmode=require");
        assert_eq!(url(&[("DATABASE_URL", "postgres://db")], "auth").unwrap(), "postgres://db/backlot_auth");
        assert_eq!(
            url(&[("DATABASE_URL", "postgres://app@localhost/x?host=/tmp/s")], "auth").unwrap(),
            "postgres://app@localhost/x_auth?host=/tmp/s"
        );
        assert_eq!(
            url(&[("DATABASE_URL", "postgres://app@localhost/x?host=/home/me@corp/s")], "auth").unwrap(),
            "postgres://app@localhost/x_auth?host=/home/me@corp/s"
        );
        let own = [("DATABASE_URL", "postgres://db/x"), ("BACKLOT_PROJECT_STORAGE_DATABASE_URL", "postgres://other/mine")];
        assert_eq!(url(&own, "project-storage").unwrap(), "postgres://other/mine");
    }

    #[test]
    fn a_client_certificate_may_take_the_place_of_a_password() {
        let files =
            "sslmode=verify-full&sslrootcert=/etc/backlot/pg/ca.pem&sslcert=/etc/backlot/pg/client.pem&sslkey=/etc/backlot/pg/client.key";
        let shared = format!("postgres://backlot@db.internal/backlot?{files}");
        let url = url(&[("DATABASE_URL", shared.as_str())], "auth").unwrap();
        assert_eq!(url, format!("postgres://backlot@db.internal/backlot_auth?{files}"));
        let options = PgConnectOptions::from_str(&url).unwrap();
        assert!(matches!(options.get_ssl_mode(), sqlx::postgres::PgSslMode::VerifyFull));
        let options = format!("{options:?}");
        for name in ["ca.pem", "client.pem", "client.key"] {
            assert!(options.contains(&format!("/etc/backlot/pg/{name}")), "{options}");
        }
    }

    #[test]
    fn a_bad_url_is_a_fault_without_the_password() {
        assert_eq!(url(&[], "auth").unwrap_err(), "DATABASE_URL: is required, or BACKLOT_AUTH_DATABASE_URL");
        let fault = url(&[("DATABASE_URL", "mysql://me:hunter2@db/x")], "auth").unwrap_err();
        assert_eq!(fault, "DATABASE_URL: must be a URL such as postgres://user:password@host:5432/backlot");
    }

    #[test]
    fn a_password_may_have_any_characters() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for password in ["hunter2", "a@b", "a/b#c?d:e", "50%41", "12#34", "[x]", "k\u{e4}se &=+ ", "'\"\\", "$HOME"] {
            std::fs::write(file.path(), format!("{password}\n")).unwrap();
            for given in [("DATABASE_PASSWORD", password), ("DATABASE_PASSWORD_FILE", path)] {
                let url = url(&[("DATABASE_URL", "postgres://me@db:5432/shop"), given], "auth").unwrap();
                let options = format!("{:?}", PgConnectOptions::from_str(&url).unwrap());
                let wanted = format!("{:?}", PgConnectOptions::new_without_pgpass().password(password.trim()));
                let of = |options: &str| options.split("password: ").nth(1).unwrap().split(", database").next().unwrap().to_owned();
                assert_eq!(of(&options), of(&wanted), "{}", given.0);
                assert!(options.contains("host: \"db\"") && options.contains("shop_auth"), "{password}: {options}");
            }
        }
    }

    #[test]
    fn a_password_that_splits_the_url_is_a_fault_that_does_not_show_it() {
        for broken in [
            "postgres://me:12#34@db/x",
            "postgres://me:12/34@db/x",
            "postgres://me:12?34@db/x",
            "postgres://me:ab/cd@db/x",
            "postgres://me:ab@cd/12@db/x",
            "postgres://me:12?a=34@db/x",
        ] {
            for name in ["DATABASE_URL", "BACKLOT_AUTH_DATABASE_URL"] {
                let fault = url(&[(name, broken)], "auth").unwrap_err();
                assert!(fault.starts_with(&format!("{name}: ")) && fault.contains("DATABASE_PASSWORD"), "{fault}");
                assert!(!["12", "34", "ab", "cd"].iter().any(|part| fault.contains(part)), "{fault}");
            }
        }
        let twice = url(&[("DATABASE_URL", "postgres://me:hunter2@db/x"), ("DATABASE_PASSWORD", "hunter3")], "auth").unwrap_err();
        assert_eq!(twice, "DATABASE_URL: has a password, but DATABASE_PASSWORD is also set; give only one of them");
        let both = [("DATABASE_URL", "postgres://me@db/x"), ("DATABASE_PASSWORD", "hunter3"), ("DATABASE_PASSWORD_FILE", "/nowhere/x")];
        assert!(url(&both, "auth").unwrap_err().starts_with("DATABASE_PASSWORD_FILE: is set, but DATABASE_PASSWORD is also set"));
        let missing = url(&[("DATABASE_URL", "postgres://me@db/x"), ("DATABASE_PASSWORD_FILE", "/nowhere/x")], "auth").unwrap_err();
        assert!(missing.starts_with("DATABASE_PASSWORD_FILE: cannot be read: "), "{missing}");
    }
}
