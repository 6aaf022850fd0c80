//! The one secret of a cluster. Every key that services share (caller tokens, page tokens, cookies' names) is derived from
//! it for one purpose, so that none of them can stand in for another.

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
/// The setting of a role's bundle.
pub const ROLE_KEYS: &str = "BACKLOT_ROLE_KEYS";
const FILE: &str = "cluster.key";
/// Separates our derivations from anybody else's use of the same secret.
const SALT: &[u8] = b"backlot cluster secret v1";

/// Signs as everybody; the release before has no other key for callers.
const CALLER_PURPOSE: &str = "caller tokens";

/// What the keys of a process are made of: the secret of the cluster, or a bundle of one role's keys.
#[derive(Clone)]
pub struct ClusterSecret(Source);

#[derive(Clone)]
enum Source {
    Root(hkdf::Prk),
    Bundle(Arc<Bundle>),
}

impl ClusterSecret {
    /// From `BACKLOT_CLUSTER_SECRET`, else from `<BACKLOT_DATA_DIR>/cluster.key`. Nothing is made here: a role that made a secret of
    /// its own would start, and understand nobody. In place of both, `BACKLOT_ROLE_KEYS` is the role's own bundle.
    pub fn read(env: &mut Env, role: Caller) -> Self {
        let bundle: Option<Secret> =
            env.optional(ROLE_KEYS, "for a role that runs by itself: the output of `backlot keys ROLE`, in place of the cluster secret");
        let Some(bundle) = bundle else { return Self::read_root(env) };
        if env.is_set(SETTING) {
            env.fault(ROLE_KEYS, format!("is in place of {SETTING}: set one of the two"));
        }
        match Bundle::parse(bundle.expose(), role) {
            Ok(bundle) => Self(Source::Bundle(Arc::new(bundle))),
            Err(problem) => {
                env.fault(ROLE_KEYS, problem.to_string());
                Self::of_bytes(&[])
            }
        }
    }

    /// From the secret alone: for who makes keys for others.
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
        // A value that cannot be read has a fault already.
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

    /// Makes `<BACKLOT_DATA_DIR>/cluster.key` where a secret is missing: for the one process that starts all roles.
    pub fn make(env: &mut Env) {
        let path = data_dir(env).join(FILE);
        if !env.is_set(SETTING)
            && let Err(e) = key_file::make(&path)
        {
            env.fault(SETTING, format!("is not set and {} cannot be made: {e}", path.display()));
        }
    }

    /// From bytes that the caller got elsewhere.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Source::Root(hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(bytes)))
    }

    /// The key for one purpose (HKDF-SHA256).
    ///
    /// # Panics
    /// If a role with a bundle asks for a key that its bundle does not list, which is a mistake in the program.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        self.key(purpose).unwrap_or_else(|| panic!("no key for {purpose} is in the bundle of this role"))
    }

    /// The key of calls from one to another; `None` if this process is neither.
    #[must_use]
    pub fn pair(&self, from: Caller, to: Caller) -> Option<[u8; 32]> {
        self.key(&bundle::pair(from, to))
    }

    /// The key by which everybody signed in the release before; only with the cluster's secret.
    #[must_use]
    pub fn shared(&self) -> Option<[u8; 32]> {
        self.key(CALLER_PURPOSE)
    }

    /// What a role needs and nobody else's, as one line; `None` without the cluster's secret.
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
        let Source::Bundle(bundle) = &self.0 else { panic!("a secret has keys without end") };
        bundle.all()
    }
}

impl std::fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterSecret([redacted])")
    }
}

/// The folder of everything that a cluster keeps on this machine.
pub fn data_dir(env: &mut Env) -> PathBuf {
    env.get("BACKLOT_DATA_DIR", ".backlot", "folder of the cluster secret, the private PostgreSQL and the list of endpoints")
}

/// Makes the folder. Others may pass through it (a private PostgreSQL has its own user when we are root) but not list it.
///
/// # Errors
/// What the file system says.
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
    fn a_key_is_made_once_and_kept_from_others() {
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
    fn a_role_without_a_secret_is_refused_and_makes_none() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data").display().to_string();
        let mut env = Env::of([("BACKLOT_DATA_DIR", data.as_str())]);
        ClusterSecret::read_root(&mut env);
        let told = faults(&env);
        assert_eq!(
            told,
            format!(
                "BACKLOT_CLUSTER_SECRET: is not set and there is no {data}/cluster.key: set it, or set BACKLOT_DATA_DIR to the folder of a cluster"
            )
        );
        assert!(!Path::new(&data).exists());
    }

    #[test]
    fn a_key_that_others_can_read_is_a_fault_that_names_the_file_and_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().display().to_string();
        let path = folder.path().join("cluster.key");
        let mut env = Env::of([("BACKLOT_DATA_DIR", data.as_str())]);
        ClusterSecret::make(&mut env);
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let mut env = Env::of([("BACKLOT_DATA_DIR", data.as_str())]);
            ClusterSecret::read_root(&mut env);
            let told = faults(&env);
            assert!(told.contains(&format!("chmod 600 {}", path.display())), "{mode:o}: {told}");
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
            let told = faults(&env);
            assert!(told.starts_with("BACKLOT_CLUSTER_SECRET: ") && told.contains(problem) && !told.contains(secret), "{told}");
        }
    }

    #[test]
    fn help_makes_no_file() {
        let mut env = Env::describe();
        ClusterSecret::read_root(&mut env);
        assert!(!Path::new(".backlot").exists());
        assert!(env.settings()[0].secret);
    }
}
