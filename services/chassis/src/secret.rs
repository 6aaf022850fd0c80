//! The one secret of a cluster. Every key that services share (caller tokens, page tokens, cookies' names) is derived from
//! it for one purpose, so that none of them can stand in for another.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ring::{
    hkdf,
    rand::{SecureRandom as _, SystemRandom},
};

use crate::config::{Env, Secret};

const SETTING: &str = "BACKLOT_CLUSTER_SECRET";
/// Below this a secret typed by a person could be found by trying.
const SHORTEST: usize = 32;
/// Separates our derivations from anybody else's use of the same secret.
const SALT: &[u8] = b"backlot cluster secret v1";

/// The secret that all roles of a cluster share.
#[derive(Clone)]
pub struct ClusterSecret(hkdf::Prk);

impl ClusterSecret {
    /// From `BACKLOT_CLUSTER_SECRET`, else from `<BACKLOT_DATA_DIR>/cluster.key`, which the first start makes.
    pub fn read(env: &mut Env) -> Self {
        let given: Option<Secret> = env.optional(
            SETTING,
            "the secret that all roles share, at least 32 characters; without it <data dir>/cluster.key is made and used",
        );
        let folder = data_dir(env);
        match given {
            Some(secret) => {
                if secret.expose().len() < SHORTEST {
                    env.fault(SETTING, format!("must have at least {SHORTEST} characters"));
                }
                Self::of_bytes(secret.expose().as_bytes())
            }
            None if env.is_describing() => Self::of_bytes(&[0; SHORTEST]),
            None => {
                let path = folder.join("cluster.key");
                let text = read_or_create(&path).unwrap_or_else(|e| {
                    env.fault(SETTING, format!("is not set and {} cannot be used: {e}", path.display()));
                    String::new()
                });
                Self::of_bytes(text.as_bytes())
            }
        }
    }

    /// From bytes that the caller got elsewhere.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(bytes))
    }

    /// The key for one purpose (HKDF-SHA256).
    ///
    /// # Panics
    /// Never: one block of output is always available.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        let info = [purpose.as_bytes()];
        self.0.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key)).expect("32 bytes are one block of SHA-256");
        key
    }
}

impl std::fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterSecret([redacted])")
    }
}

/// The folder of everything that a cluster keeps on this machine.
pub fn data_dir(env: &mut Env) -> PathBuf {
    env.get("BACKLOT_DATA_DIR", ".backlot", "folder of the cluster's key, its private PostgreSQL and its list of endpoints")
}

/// Makes the folder. Others may pass through it (a private PostgreSQL has its own user when we are root) but not list it.
///
/// # Errors
/// What the file system says.
pub fn make_data_dir(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o711).create(folder)
}

/// The key of the folder. Two processes that start at once end with the same: each writes a file of its own in full, and
/// the first link to the final name wins.
fn read_or_create(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Ok(text) if text.trim().len() < SHORTEST => return Err(io::Error::other(format!("holds fewer than {SHORTEST} characters"))),
        read => return read.map(|text| text.trim().to_owned()),
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    make_data_dir(folder)?;
    let draft = path.with_extension(format!("{}.{}", std::process::id(), random_hex()?));
    let written = write_new(&draft).and_then(|()| match fs::hard_link(&draft, path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let _ = fs::remove_file(&draft);
    written?;
    File::open(folder)?.sync_all()?;
    fs::read_to_string(path).map(|text| text.trim().to_owned())
}

fn write_new(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", random_hex()?)?;
    file.sync_all()
}

fn random_hex() -> io::Result<String> {
    use std::fmt::Write as _;
    let mut bytes = [0_u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no random numbers from the system"))?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data").display().to_string();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut env = Env::of([("BACKLOT_DATA_DIR", data.as_str())]);
                        let secret = ClusterSecret::read(&mut env);
                        env.check().unwrap();
                        secret.derive("caller")
                    })
                })
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        let files: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, ["cluster.key"]);
        let mode = fs::metadata(Path::new(&data).join("cluster.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn each_purpose_and_each_cluster_has_its_own_keys() {
        let (one, other) = (ClusterSecret::of_bytes(&[1; 32]), ClusterSecret::of_bytes(&[2; 32]));
        assert_eq!(one.derive("caller"), one.clone().derive("caller"));
        assert_ne!(one.derive("caller"), one.derive("page"));
        assert_ne!(one.derive("caller"), other.derive("caller"));
    }

    #[test]
    fn a_short_secret_is_a_fault_that_does_not_show_it() {
        let mut env = Env::of([(SETTING, "hunter2")]);
        ClusterSecret::read(&mut env);
        assert_eq!(env.check().unwrap_err().to_string(), "BACKLOT_CLUSTER_SECRET: must have at least 32 characters");
    }

    #[test]
    fn help_makes_no_file() {
        let mut env = Env::describe();
        ClusterSecret::read(&mut env);
        assert!(!Path::new(".backlot").exists());
        assert!(env.settings()[0].secret);
    }
}
