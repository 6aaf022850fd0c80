//! Redis, with the client fred, for counters and doorbells that replicas share. It is optional: without `REDIS_URL` each process uses its
//! own memory. A server that refuses the credentials fails the start. If a server does not answer, at the start or later, commands fail
//! quickly, callers continue without Redis, and the client reconnects in the background.

use std::time::Duration;

use fred::{
    clients::{Client, Pool, SubscriberClient},
    error::ErrorKind,
    interfaces::{ClientLike as _, EventInterface as _},
    types::{
        Builder,
        config::{Config as FredConfig, ReconnectPolicy, UnresponsiveConfig},
    },
};

use crate::{
    config::{Env, Secret, has_split_password},
    task,
};

const CONNECTIONS: usize = 4;
/// The time limit of a command. By default fred waits for the server without a limit.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings of Redis.
#[derive(Debug, Clone)]
pub struct Config {
    /// `redis://`, `rediss://`, `redis-cluster://` or `redis-sentinel://`.
    pub url: Option<Secret>,
    /// Used instead of the password in the URL.
    pub password: Option<Secret>,
    /// The prefix of all keys and channels, so that several clusters can share a server.
    pub prefix: String,
}

impl Config {
    /// Reads the settings.
    pub fn read(env: &mut Env) -> Self {
        let url: Option<Secret> =
            env.optional("REDIS_URL", "Redis for counters and wake-ups that replicas share; without it each process has its own");
        let password = env.optional("REDIS_PASSWORD", "password of Redis without URL escapes, in place of one in REDIS_URL");
        // The library takes any scheme for `redis:`.
        let is_valid = |url: &str| url.starts_with("redis") && FredConfig::from_url(url).is_ok();
        if url.as_ref().is_some_and(|url| has_split_password(url.expose())) {
            env.fault("REDIS_URL", "has an @ after the host, likely because the password contains / ? or #: set REDIS_PASSWORD");
        } else if url.as_ref().is_some_and(|url| !is_valid(url.expose())) {
            env.fault("REDIS_URL", "must be a URL such as redis://127.0.0.1:6379, also rediss:, redis-cluster: or redis-sentinel:");
        }
        Self { url, password, prefix: env.get("BACKLOT_REDIS_PREFIX", "backlot:", "prefix of every key and channel in Redis") }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("REDIS_URL cannot be used")]
    Url(#[source] fred::error::Error),
    #[error("cannot connect to Redis")]
    Connect(#[source] fred::error::Error),
}

/// A pool of connections, or `None` without a URL.
///
/// # Errors
/// The URL is invalid, or the server refuses the credentials.
pub async fn connect(config: &Config) -> Result<Option<Pool>, Error> {
    let Some(builder) = builder(config)? else { return Ok(None) };
    let pool = builder.build_pool(CONNECTIONS).map_err(Error::Url)?;
    for client in pool.clients() {
        watch(client);
    }
    // fred connects in the background, and reconnects after every outage.
    drop(pool.connect_pool());
    wait_for_connection(config, pool.wait_for_connect()).await?;
    Ok(Some(pool))
}

/// A client for subscriptions, which are restored after an outage; `None` without a URL.
///
/// # Errors
/// The URL is invalid, or the server refuses the credentials.
pub async fn subscriber(config: &Config) -> Result<Option<SubscriberClient>, Error> {
    let Some(builder) = builder(config)? else { return Ok(None) };
    let client = builder.build_subscriber_client().map_err(Error::Url)?;
    watch(&client.to_client());
    // Both tasks end with the client.
    drop(client.manage_subscriptions());
    drop(client.connect());
    wait_for_connection(config, client.wait_for_connect()).await?;
    Ok(Some(client))
}

/// Waits for the first connection. Returns without one if the server does not answer, and fails if it refuses the credentials.
async fn wait_for_connection(config: &Config, connected: impl Future<Output = Result<(), fred::error::Error>>) -> Result<(), Error> {
    let connection = async {
        probe(config).await?;
        connected.await.map_err(Error::Connect)
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(Error::Connect(error))) if !is_refusal(&error) => {
            tracing::warn!("cannot connect to redis, continuing without it: {error}");
        }
        Ok(Err(error)) => return Err(error),
        Err(_) => tracing::warn!("redis did not answer within {} s, continuing without it", CONNECT_TIMEOUT.as_secs()),
    }
    Ok(())
}

/// Connects once, without retries, to get the reason of a refusal.
async fn probe(config: &Config) -> Result<(), Error> {
    let Some(mut builder) = builder(config)? else { return Ok(()) };
    builder.with_config(|config| config.fail_fast = true);
    let client = builder.build().map_err(Error::Url)?;
    client.init().await.map_err(Error::Connect)?;
    let pinged = client.ping::<()>(None).await;
    let _ = client.quit().await;
    pinged.map_err(Error::Connect)
}

fn is_refusal(error: &fred::error::Error) -> bool {
    matches!(error.kind(), ErrorKind::Auth | ErrorKind::Config | ErrorKind::Url)
}

fn builder(config: &Config) -> Result<Option<Builder>, Error> {
    let Some(url) = &config.url else { return Ok(None) };
    let password = config.password.as_ref().map(|password| password.expose().to_owned());
    let mut config = FredConfig::from_url(url.expose()).map_err(Error::Url)?;
    config.fail_fast = false;
    config.password = password.or(config.password);
    let mut builder = Builder::from_config(config);
    builder
        .with_connection_config(|connection| {
            connection.connection_timeout = Duration::from_secs(2);
            connection.internal_command_timeout = Duration::from_secs(2);
            connection.max_command_attempts = 2;
            connection.unresponsive = UnresponsiveConfig { max_timeout: Some(Duration::from_secs(3)), interval: Duration::from_secs(1) };
        })
        .with_performance_config(|performance| performance.default_command_timeout = COMMAND_TIMEOUT)
        .set_policy(ReconnectPolicy::new_exponential(0, 50, 2_000, 2));
    Ok(Some(builder))
}

/// Logs once when a connection is lost and once when it is restored.
fn watch(client: &Client) {
    let (mut errors, mut reconnects) = (client.error_rx(), client.reconnect_rx());
    task::spawn(async move {
        let mut is_lost = false;
        loop {
            tokio::select! {
                error = errors.recv() => match error {
                    Ok((error, server)) if !is_lost => {
                        is_lost = true;
                        tracing::warn!(server = server.map(|s| s.to_string()), "connection to redis lost: {error}");
                    }
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                },
                server = reconnects.recv() => match server {
                    Ok(server) if is_lost => {
                        is_lost = false;
                        tracing::info!(server = %server, "connection to redis restored");
                    }
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                },
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_url_is_a_fault_without_the_password() {
        let mut env = Env::of([("REDIS_URL", "http://:hunter2@somewhere")]);
        let config = Config::read(&mut env);
        assert_eq!(config.prefix, "backlot:");
        let fault = env.check().unwrap_err().to_string();
        assert!(fault.starts_with("REDIS_URL: must be a URL") && !fault.contains("hunter2"), "{fault}");
        for url in ["redis://:12#34@db", "redis://:12/34@db", "redis://me:12?34@db:6379"] {
            let mut env = Env::of([("REDIS_URL", url)]);
            Config::read(&mut env);
            let fault = env.check().unwrap_err().to_string();
            assert!(fault.contains("REDIS_PASSWORD") && !fault.contains("12") && !fault.contains("34"), "{fault}");
        }
    }

    #[tokio::test]
    async fn connect_returns_none_without_a_url_and_a_pool_without_a_server() {
        let mut config = Config { url: None, password: None, prefix: String::new() };
        assert!(connect(&config).await.unwrap().is_none());
        assert!(subscriber(&config).await.unwrap().is_none());
        config.url = Some(Secret::new("redis://127.0.0.1:1"));
        assert!(connect(&config).await.unwrap().is_some());
        assert!(subscriber(&config).await.unwrap().is_some());
    }
}
