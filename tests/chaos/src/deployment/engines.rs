//! The PostgreSQL and Redis servers of a deployment.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use chassis::{
    task,
    testing::{self, Signal, TestRedis},
};
use private_postgres::{Options, PrivatePostgres};
use sqlx::{Connection as _, PgConnection};
use test_support::canary::Stopwatch;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
};

use crate::proxy::Target;

const RECOVERED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// The two servers. Several deployments can use them one after the other.
pub struct Engines {
    postgres: PrivatePostgres,
    redis: Mutex<TestRedis>,
}

impl Engines {
    /// Starts both servers. The data of PostgreSQL is below the folder.
    ///
    /// # Errors
    /// PostgreSQL does not start.
    pub async fn start(folder: &Path) -> Result<Self> {
        let folder = folder.join("postgres");
        // With fsync, because a kill must not lose acknowledged writes.
        let options = Options { max_connections: 300, ..Options::default() };
        let postgres = task::blocking(move || PrivatePostgres::start(&folder, options)).await??;
        Ok(Self { postgres, redis: Mutex::new(testing::redis().await) })
    }

    /// URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.postgres.url(database)
    }

    /// The target of links to PostgreSQL.
    #[must_use]
    pub fn postgres(&self) -> Target {
        Target::Unix(self.postgres.socket())
    }

    /// The target of links to Redis.
    pub async fn redis(&self) -> Target {
        Target::Tcp(([127, 0, 0, 1], self.redis.lock().await.port()).into())
    }

    /// Kills PostgreSQL and waits until it has recovered.
    ///
    /// # Errors
    /// It does not recover in time.
    pub async fn crash_postgres(&self) -> Result<()> {
        self.postgres.crash().context("PostgreSQL cannot be killed")?;
        let clock = Stopwatch::start();
        // The backends of the killed server may still answer for a moment.
        tokio::time::sleep(Duration::from_millis(100)).await;
        loop {
            match PgConnection::connect(&self.url("postgres")).await {
                Ok(connection) => return Ok(connection.close().await?),
                Err(error) if clock.elapsed() > RECOVERED_WITHIN => bail!("PostgreSQL has not recovered: {error}"),
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Kills Redis and starts it after `downtime`. Its data is lost.
    pub async fn crash_redis(&self, downtime: Duration) {
        let mut redis = self.redis.lock().await;
        redis.kill().await;
        tokio::time::sleep(downtime).await;
        redis.restart().await;
    }

    /// Pauses Redis with SIGSTOP for `time`. Its connections stay open.
    ///
    /// # Errors
    /// Redis is not running.
    pub async fn pause_redis(&self, time: Duration) -> Result<()> {
        let redis = self.redis.lock().await;
        testing::signal(redis.process(), Signal::Stop)?;
        tokio::time::sleep(time).await;
        Ok(testing::signal(redis.process(), Signal::Continue)?)
    }

    /// Deletes everything in Redis.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn flush_redis(&self) -> Result<()> {
        let redis = self.redis.lock().await;
        let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).await?;
        stream.write_all(b"FLUSHALL\r\n").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        anyhow::ensure!(&answer == b"+OK\r\n", "Redis did not flush: {answer:?}");
        Ok(())
    }

    /// Waits until both servers answer.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn heal(&self) -> Result<()> {
        let redis = self.redis.lock().await;
        testing::signal(redis.process(), Signal::Continue)?;
        PgConnection::connect(&self.url("postgres")).await?.close().await?;
        Ok(())
    }
}
