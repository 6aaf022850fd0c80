//! The private PostgreSQL of a cluster without `DATABASE_URL`. It uses the programs of this machine, or those that [`download`] fetches.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use chassis::task;
use private_postgres::{Error, Options, PrivatePostgres, download};

use crate::settings::Cluster;

/// The placeholder for the URL of the server while the configuration is checked, before the server is started.
pub(super) const PLACEHOLDER: &str = "postgres://app@localhost/backlot";
/// The prefix of the names of the databases.
const PREFIX: &str = "backlot";
/// After this the process ends without waiting for the server, which stops when the process has ended.
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
            // The programs are unpacked into the folder of the server, which its user can always read.
            Err(Error::NoBinaries | Error::WrongVersion { needed: download::MAJOR, .. }) => {
                let programs = programs(&cluster.download, &folder).await?;
                start(folder.clone(), Some(programs)).await?.context("the private PostgreSQL cannot start")?
            }
            Err(error) => return Err(error).context("the private PostgreSQL cannot start"),
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

    /// Stops the server. Committed data is on the disk.
    pub(super) async fn stop(self) {
        let stopping = task::blocking(move || self.server.stop());
        if tokio::time::timeout(STOP_LIMIT, stopping).await.is_err() {
            tracing::warn!("the private PostgreSQL has not stopped in time; this process ends without waiting for it");
        }
    }
}

async fn start(folder: PathBuf, bin_dir: Option<PathBuf>) -> anyhow::Result<Result<PrivatePostgres, Error>> {
    let progress = Arc::new(|text: &str| tracing::info!("{text}"));
    let options = Options { bin_dir, progress, ..Options::default() };
    task::blocking(move || PrivatePostgres::start(&folder, options)).await.context("the start of the private PostgreSQL was aborted")
}

/// The folder of the downloaded programs. Downloads them if they are not there.
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
    async fn a_refused_download_names_the_alternatives() {
        let folder = tempfile::tempdir().expect("folder");
        let config = read_download(&mut Env::of([("BACKLOT_NO_DOWNLOAD", "1")]));
        let text = programs(&config, folder.path()).await.expect_err("refused").to_string();
        assert!(
            ["BACKLOT_NO_DOWNLOAD", "DATABASE_URL", "apt-get", "docker compose"].iter().all(|alternative| text.contains(alternative)),
            "{text}"
        );
    }
}
