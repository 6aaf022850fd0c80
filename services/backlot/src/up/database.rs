//! The private PostgreSQL of a cluster without `DATABASE_URL`: run by the machine's own programs, or by those that
//! [`download`] fetches.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use chassis::task;
use private_postgres::{Error, Options, PrivatePostgres, download};

use crate::settings::Cluster;

/// Stands for the URL of a server that is not started before the configuration is known to be sound.
pub(super) const PLACEHOLDER: &str = "postgres://app@localhost/backlot";
/// The prefix of the databases' names.
const PREFIX: &str = "backlot";
/// After this the process ends and leaves the server to stop by itself, which its death makes it do.
const STOP_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Database {
    server: PrivatePostgres,
    folder: PathBuf,
}

impl Database {
    /// Starts the server on `<data>/postgres`.
    pub(super) async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let folder = cluster.data_dir.join("postgres");
        let server = match start(folder.clone(), None).await? {
            Ok(server) => server,
            // Its files are inside the server's folder: wherever that is, the server's user can get there.
            Err(Error::NoBinaries | Error::WrongVersion { needed: download::MAJOR, .. }) => {
                let programs = programs(&cluster.download, &folder).await?;
                start(folder.clone(), Some(programs)).await?.context("the private PostgreSQL does not start")?
            }
            Err(error) => return Err(error).context("the private PostgreSQL does not start"),
        };
        Ok(Self { server, folder })
    }

    /// URL of the server and the prefix of its databases.
    pub(super) fn url(&self) -> String {
        self.server.url(PREFIX)
    }

    pub(super) fn describe(&self) -> String {
        format!("private PostgreSQL in {}, {}", self.folder.display(), self.server.url("postgres"))
    }

    /// Stops it; everything that was committed is on the disk.
    pub(super) async fn stop(self) {
        let stopping = task::blocking(move || self.server.stop());
        if tokio::time::timeout(STOP_LIMIT, stopping).await.is_err() {
            tracing::warn!("the private PostgreSQL takes long to stop; it goes on without this process");
        }
    }
}

async fn start(folder: PathBuf, bin_dir: Option<PathBuf>) -> anyhow::Result<Result<PrivatePostgres, Error>> {
    let progress = Arc::new(|text: &str| tracing::info!("{text}"));
    let options = Options { bin_dir, progress, ..Options::default() };
    task::blocking(move || PrivatePostgres::start(&folder, options)).await.context("the private PostgreSQL's start was cut short")
}

/// The folder of the fetched programs, which are fetched unless they are there already.
async fn programs(config: &download::Config, data: &Path) -> anyhow::Result<PathBuf> {
    if let Some(programs) = download::unpacked(data) {
        return Ok(programs);
    }
    let (download, data) = (download::fetch(config).await?, data.to_owned());
    Ok(task::blocking(move || download.unpack(&data)).await.context("the archive of PostgreSQL was not unpacked")??)
}

#[cfg(test)]
mod tests {
    use chassis::config::Env;

    use super::*;
    use crate::settings::read_download;

    #[tokio::test]
    async fn a_refusal_names_the_ways_out() {
        let folder = tempfile::tempdir().expect("folder");
        let config = read_download(&mut Env::of([("BACKLOT_NO_DOWNLOAD", "1")]));
        let text = programs(&config, folder.path()).await.expect_err("refused").to_string();
        assert!(["BACKLOT_NO_DOWNLOAD", "DATABASE_URL", "apt-get", "docker compose"].iter().all(|way| text.contains(way)), "{text}");
    }
}
