//! The secret of a cluster. Each key that services share (for caller tokens, page tokens, cookie names) is derived from it for one
//! purpose, so that a key for one purpose is useless for another.

mod bundle;
mod key_file;
mod strength;

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bundle::Bundle;
use ring::hkdf;

use crate::{
    caller::Caller,
    config::{Env, Secret},
};

const SETTING: &str = "BACKLOT_CLUSTER_SECRET";
/// The name of the setting with a role's bundle of keys.
pub const ROLE_KEYS: &str = "BACKLOT_ROLE_KEYS";
const FILE: &str = "cluster.key";
/// Separates these keys from other uses of the same secret.
const SALT: &[u8] = b"backlot cluster secret v1";

/// The purpose of the shared key, which can sign as any caller. The previous release has no other key for caller tokens.
const CALLER_PURPOSE: &str = "caller tokens";

/// The source of a process's keys: the secret of the cluster, or the bundle of one role's keys.
#[derive(Clone)]
pub struct ClusterSecret(Source);

#[derive(Clone)]
enum Source {
    Root(hkdf::Prk),
    Bundle(Arc<Bundle>),
}

impl ClusterSecret {
    /// Reads `BACKLOT_ROLE_KEYS` if it is set, else `BACKLOT_CLUSTER_SECRET`, else `<BACKLOT_DATA_DIR>/cluster.key`. It creates no secret,
    /// because a role with a secret of its own could not talk to the other roles.
    pub fn read(env: &mut Env, role: Caller) -> Self {
        let bundle: Option<Secret> =
            env.optional(ROLE_KEYS, "for a role that runs by itself: the output of `backlot keys ROLE`, in place of the cluster secret");
        let Some(bundle) = bundle else { return Self::read_root(env) };
        if env.is_set(SETTING) {
            env.fault(ROLE_KEYS, format!("replaces {SETTING}: set only one of them"));
        }
        match Bundle::parse(bundle.expose(), role) {
            Ok(bundle) => Self(Source::Bundle(Arc::new(bundle))),
            Err(problem) => {
                env.fault(ROLE_KEYS, problem.to_string());
                Self::of_bytes(&[])
            }
        }
    }

    /// Reads the secret of the cluster; a bundle is not accepted. For commands that make keys and tokens for roles.
    pub fn read_root(env: &mut Env) -> Self {
        let given: Option<Secret> = env.derived(
            SETTING,
            "the content of <BACKLOT_DATA_DIR>/cluster.key, which `backlot up` creates",
            "the secret that all roles share, at least 32 random characters",
        );
        let path = data_dir(env).join(FILE);
        if env.is_describing() {
            return Self::of_bytes(&[]);
        }
        if let Some(secret) = given {
            if let Err(weakness) = strength::check(secret.expose()) {
                env.fault(SETTING, weakness.to_string());
            }
            return Self::of_bytes(secret.expose().as_bytes());
        }
        // The value is not valid Unicode, which is already a fault.
        if env.is_set(SETTING) {
            return Self::of_bytes(&[]);
        }
        let text = key_file::read(&path).unwrap_or_else(|e| {
            let path = path.display();
            let problem = match e.kind() {
                io::ErrorKind::NotFound => {
                    format!("is not set and there is no {path}: set it, or set BACKLOT_DATA_DIR to the folder of a cluster")
                }
                _ => format!("is not set and {path} cannot be used: {e}"),
            };
            env.fault(SETTING, problem);
            String::new()
        });
        Self::of_bytes(text.as_bytes())
    }

    /// Creates `<BACKLOT_DATA_DIR>/cluster.key` if there is no secret. Only the process that starts all roles calls this.
    pub fn make(env: &mut Env) {
        let path = data_dir(env).join(FILE);
        if !env.is_set(SETTING)
            && let Err(e) = key_file::make(&path)
        {
            env.fault(SETTING, format!("is not set and {} cannot be created: {e}", path.display()));
        }
    }

    /// A secret of these bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Source::Root(hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(bytes)))
    }

    /// The key for one purpose (HKDF-SHA256).
    ///
    /// # Panics
    /// The bundle of the role has no key for this purpose, which is a bug.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        self.key(purpose).unwrap_or_else(|| panic!("no key for {purpose} is in the bundle of this role"))
    }

    /// The key for calls of `from` to `to`; `None` if this process has a bundle and is neither of them.
    #[must_use]
    pub fn pair(&self, from: Caller, to: Caller) -> Option<[u8; 32]> {
        self.key(&bundle::pair(from, to))
    }

    /// The key that all callers share in the previous release; `None` with a bundle.
    #[must_use]
    pub fn shared(&self) -> Option<[u8; 32]> {
        self.key(CALLER_PURPOSE)
    }

    /// The keys that a role needs, as one line; `None` if this process has a bundle itself.
    #[must_use]
    pub fn bundle(&self, role: Caller) -> Option<String> {
        matches!(self.0, Source::Root(_)).then(|| Bundle::of(role, |purpose| self.derive(purpose)).print())
    }

    fn key(&self, purpose: &str) -> Option<[u8; 32]> {
        match &self.0 {
            Source::Root(root) => {
                let mut key = [0; 32];
                let info = [purpose.as_bytes()];
                root.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key)).ok().map(|()| key)
            }
            Source::Bundle(bundle) => bundle.key(purpose),
        }
    }

    /// Every key of a bundle.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> impl Iterator<Item = [u8; 32]> + '_ {
        let Source::Bundle(bundle) = &self.0 else { panic!("only a bundle has a list of keys") };
        bundle.all()
    }
}

impl std::fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterSecret([redacted])")
    }
}

/// Reads the setting of the folder with a cluster's data on this machine.
pub fn data_dir(env: &mut Env) -> PathBuf {
    env.get("BACKLOT_DATA_DIR", ".backlot", "folder of the cluster secret, the private PostgreSQL and the list of endpoints")
}

/// Creates the folder. Other users may traverse it but not list it: if the process runs as root, the private PostgreSQL has another user.
///
/// # Errors
/// The folder cannot be created.
pub fn make_data_dir(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o711).create(folder)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn faults(env: &Env) -> String {
        env.check().expect_err("a fault").to_string()
    }

    #[test]
    fn a_key_file_is_created_once_and_readable_only_by_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data").display().to_string();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut env = Env::of([("BACKLOT_DATA_DIR", data.as_str())]);
                        ClusterSecret::make(&mut env);
                        let secret = ClusterSecret::read_root(&mut env);
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
    fn a_role_without_a_secret_is_a_fault_and_creates_none() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data").display().to_string();
        let mut env = Env::of([("BACKLOT_DATA_DIR", data.as_str())]);
        ClusterSecret::read_root(&mut env);
        let fault = faults(&env);
        assert_eq!(
            fault,
            format!(
                "BACKLOT_CLUSTER_SECRET: is not set and there is no {data}/cluster.key: set it, or set BACKLOT_DATA_DIR to the folder of a cluster"
            )
        );
        assert!(!Path::new(&data).exists());
    }

    #[test]
    fn a_key_file_that_others_can_access_is_a_fault_with_the_chmod_command() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().display().to_string();
        let path = folder.path().join("cluster.key");
        let mut env = Env::of([("BACKLOT_DATA_DIR", data.as_str())]);
        ClusterSecret::make(&mut env);
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let mut env = Env::of([("BACKLOT_DATA_DIR", data.as_str())]);
            ClusterSecret::read_root(&mut env);
            let fault = faults(&env);
            assert!(fault.contains(&format!("chmod 600 {}", path.display())), "{mode:o}: {fault}");
        }
        for mode in [0o600, 0o400, 0o700] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let mut env = Env::of([("BACKLOT_DATA_DIR", data.as_str())]);
            ClusterSecret::read_root(&mut env);
            env.check().unwrap_or_else(|e| panic!("{mode:o}: {e}"));
        }
    }

    #[test]
    fn a_weak_key_file_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().display().to_string();
        let path = folder.path().join("cluster.key");
        for text in ["", "hunter2", &"a".repeat(32)] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let mut env = Env::of([("BACKLOT_DATA_DIR", data.as_str())]);
            ClusterSecret::make(&mut env);
            ClusterSecret::read_root(&mut env);
            assert!(faults(&env).contains("cluster.key cannot be used: "), "{text:?}");
        }
    }

    #[test]
    fn each_purpose_and_each_cluster_has_its_own_keys() {
        let (one, other) = (ClusterSecret::of_bytes(&[1; 32]), ClusterSecret::of_bytes(&[2; 32]));
        assert_eq!(one.derive("caller"), one.clone().derive("caller"));
        assert_ne!(one.derive("caller"), one.derive("page"));
        assert_ne!(one.derive("caller"), other.derive("caller"));
    }

    #[test]
    fn a_weak_secret_is_a_fault_that_does_not_show_it() {
        for (secret, problem) in [("hunter2", "must have at least 32 characters"), (&"x".repeat(32), "repeats")] {
            let mut env = Env::of([(SETTING, secret)]);
            ClusterSecret::read_root(&mut env);
            let fault = faults(&env);
            assert!(fault.starts_with("BACKLOT_CLUSTER_SECRET: ") && fault.contains(problem) && !fault.contains(secret), "{fault}");
        }
    }

    #[test]
    fn help_creates_no_file() {
        let mut env = Env::describe();
        ClusterSecret::read_root(&mut env);
        assert!(!Path::new(".backlot").exists());
        assert!(env.settings()[0].secret);
    }
}
