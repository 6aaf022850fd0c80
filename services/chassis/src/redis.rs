//! Redis by fred: optional counters and doorbells that replicas share. Without `REDIS_URL` there is none, and what needs it
//! works in the process. A server that refuses us ends the start; one that is away, at the start or later, is the caller's to bridge,
//! so every command ends quickly, and the connection comes by itself.

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
/// The library's own default is to wait for ever while the server is away.
const COMMAND_LIMIT: Duration = Duration::from_millis(300);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Which server, and what its keys begin with.
#[derive(Debug, Clone)]
pub struct Config {
    /// `redis://`, `rediss://`, `redis-cluster://` or `redis-sentinel://`.
    pub url: Option<Secret>,
    /// In place of the one in the URL.
    pub password: Option<Secret>,
    /// Several clusters may share one server.
    pub prefix: String,
}

impl Config {
    /// Reads the settings.
    pub fn read(env: &mut Env) -> Self {
        let url: Option<Secret> =
            env.optional("REDIS_URL", "Redis for counters and wake-ups that replicas share; without it each process has its own");
        let password = env.optional("REDIS_PASSWORD", "password of Redis without URL escapes, in place of one in REDIS_URL");
        // The library takes any scheme for `redis:`.
        let usable = |url: &str| url.starts_with("redis") && FredConfig::from_url(url).is_ok();
        if url.as_ref().is_some_and(|url| has_split_password(url.expose())) {
            env.fault("REDIS_URL", "has an @ behind the host, as a password with / ? or # in it leaves: give it as REDIS_PASSWORD");
        } else if url.as_ref().is_some_and(|url| !usable(url.expose())) {
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

/// A pool on the server, or `None` without a URL.
///
/// # Errors
/// The URL was given and cannot be used, or the server refuses us.
pub async fn connect(config: &Config) -> Result<Option<Pool>, Error> {
    let Some(builder) = builder(config)? else { return Ok(None) };
    let pool = builder.build_pool(CONNECTIONS).map_err(Error::Url)?;
    for client in pool.clients() {
        watch(client);
    }
    // The library makes the connections in the background, and again after every outage.
    drop(pool.connect_pool());
    started(config, pool.wait_for_connect()).await?;
    Ok(Some(pool))
}

/// A connection that subscribes to channels, and to the same ones again after an outage; `None` without a URL.
///
/// # Errors
/// The URL was given and cannot be used, or the server refuses us.
pub async fn subscriber(config: &Config) -> Result<Option<SubscriberClient>, Error> {
    let Some(builder) = builder(config)? else { return Ok(None) };
    let client = builder.build_subscriber_client().map_err(Error::Url)?;
    watch(&client.to_client());
    // Both end with the client.
    drop(client.manage_subscriptions());
    drop(client.connect());
    started(config, client.wait_for_connect()).await?;
    Ok(Some(client))
}

/// Waits for the first connection. A server that is away is waited for in the background; one that refuses us is a mistake of
/// whoever configured it.
async fn started(config: &Config, connected: impl Future<Output = Result<(), fred::error::Error>>) -> Result<(), Error> {
    let asked = async {
        ask(config).await?;
        connected.await.map_err(Error::Connect)
    };
    match tokio::time::timeout(CONNECT_LIMIT, asked).await {
        Ok(Ok(())) => {}
        Ok(Err(Error::Connect(error))) if !is_refusal(&error) => tracing::warn!("redis cannot be reached, going on without it: {error}"),
        Ok(Err(error)) => return Err(error),
        Err(_) => tracing::warn!("redis does not answer within {} s, going on without it", CONNECT_LIMIT.as_secs()),
    }
    Ok(())
}

/// One connection that is not made again, so that it tells why it was refused.
async fn ask(config: &Config) -> Result<(), Error> {
    let Some(mut builder) = builder(config)? else { return Ok(()) };
    builder.with_config(|config| config.fail_fast = true);
    let client = builder.build().map_err(Error::Url)?;
    client.init().await.map_err(Error::Connect)?;
    let answered = client.ping::<()>(None).await;
    let _ = client.quit().await;
    answered.map_err(Error::Connect)
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
        .with_performance_config(|performance| performance.default_command_timeout = COMMAND_LIMIT)
        .set_policy(ReconnectPolicy::new_exponential(0, 50, 2_000, 2));
    Ok(Some(builder))
}

/// Says once when a connection is lost and once when it is back.
fn watch(client: &Client) {
    let (mut lost, mut back) = (client.error_rx(), client.reconnect_rx());
    task::spawn(async move {
        let mut away = false;
        loop {
            tokio::select! {
                error = lost.recv() => match error {
                    Ok((error, server)) if !away => {
                        away = true;
                        tracing::warn!(server = server.map(|s| s.to_string()), "connection to redis lost: {error}");
                    }
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                },
                server = back.recv() => match server {
                    Ok(server) if away => {
                        away = false;
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
    async fn no_url_is_no_redis_and_a_dead_one_is_gone_on_without() {
        let mut config = Config { url: None, password: None, prefix: String::new() };
        assert!(connect(&config).await.unwrap().is_none());
        assert!(subscriber(&config).await.unwrap().is_none());
        config.url = Some(Secret::new("redis://127.0.0.1:1"));
        assert!(connect(&config).await.unwrap().is_some());
        assert!(subscriber(&config).await.unwrap().is_some());
    }
}
