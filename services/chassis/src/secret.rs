//! The secret of a cluster. Each key that services share (for caller tokens, page tokens, cookie names) is derived from it for one
//! purpose, so that a key for one purpose is useless for another. While the secret is replaced a cluster has two: it signs and seals with
//! one of them, and accepts both.

mod bundle;
mod key_file;
mod sealer;
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
pub use sealer::{Bound, OpenError, Opened, SealError, Sealer};

use crate::{
    caller::Caller,
    config::{Env, Secret},
    tls::Tls,
};

const SETTING: &str = "BACKLOT_CLUSTER_SECRET";
const PREVIOUS: &str = "BACKLOT_CLUSTER_SECRET_PREVIOUS";
/// The name of the setting with a role's bundle of keys.
pub const ROLE_KEYS: &str = "BACKLOT_ROLE_KEYS";
const FILE: &str = "cluster.key";
const PREVIOUS_FILE: &str = "cluster.key.previous";

/// The purpose of the keys that only auth has: for signing keys, sealed values and page tokens. The bundles of the release before have no
/// other one of auth.
pub const AUTH_KEYS: &str = "auth signing keys";
/// The purpose of the key that seals values of agent-streaming. A bundle of the release before lacks it.
pub const AGENT_SEALED: &str = "agent sealed values";

/// Separates these keys from other uses of the same secret.
const SALT: &[u8] = b"backlot cluster secret v1";

/// The purpose of the shared key, which can sign as any caller. The previous release has no other key for caller tokens.
const CALLER_PURPOSE: &str = "caller tokens";

/// What a process proves to the others of its cluster: keys, from the secret of the cluster or the bundle of one role, and with TLS a
/// certificate. While the secret is replaced there is a second source of keys, which are accepted too.
#[derive(Clone)]
pub struct ClusterSecret {
    current: Source,
    previous: Option<Source>,
    tls: Option<Arc<Tls>>,
}

#[derive(Clone)]
enum Source {
    Root(hkdf::Prk),
    Bundle(Arc<Bundle>),
}

impl ClusterSecret {
    /// Reads `BACKLOT_ROLE_KEYS` if it is set, else `BACKLOT_CLUSTER_SECRET`, else `<BACKLOT_DATA_DIR>/cluster.key`. It creates no secret,
    /// because a role with a secret of its own could not talk to the other roles.
    pub fn read(env: &mut Env, role: Caller) -> Self {
        let data = data_dir(env);
        let tls = Tls::read(env, role, &data);
        Self::read_keys(env, role).with_tls(tls)
    }

    fn read_keys(env: &mut Env, role: Caller) -> Self {
        let bundle: Option<Secret> =
            env.optional(ROLE_KEYS, "for a role that runs by itself: the output of `backlot keys ROLE`, in place of the cluster secret");
        let Some(bundle) = bundle else { return Self::read_root(env) };
        for name in [SETTING, PREVIOUS] {
            if env.is_set(name) {
                env.fault(ROLE_KEYS, format!("replaces {name}: set only one of them"));
            }
        }
        match Bundle::parse(bundle.expose(), role) {
            Ok((current, previous)) => {
                let previous = previous.map(|bundle| Source::Bundle(Arc::new(bundle)));
                Self { current: Source::Bundle(Arc::new(current)), previous, tls: None }
            }
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
        let previous: Option<Secret> = env.derived(
            PREVIOUS,
            "the content of <BACKLOT_DATA_DIR>/cluster.key.previous, if that file exists",
            "a second secret, which is accepted but does not sign, while the secret is replaced (see operations.md)",
        );
        let folder = data_dir(env);
        if env.is_describing() {
            return Self::of_bytes(&[]);
        }
        let secret = Self::of_bytes(current_text(env, given, &folder.join(FILE)).as_bytes());
        match previous_text(env, previous, &folder.join(PREVIOUS_FILE)) {
            Some(text) => secret.and_previous(&Self::of_bytes(text.as_bytes())),
            None => secret,
        }
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
        Self { current: Source::of_bytes(bytes), previous: None, tls: None }
    }

    /// The same keys, with a certificate.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// The certificate of the process, if it uses TLS.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// This secret, with the keys of another one accepted too.
    #[must_use]
    pub fn and_previous(self, other: &Self) -> Self {
        Self { previous: Some(other.current.clone()), ..self }
    }

    /// A secret that only a holder of the key for `purpose` can derive, with its second one.
    ///
    /// # Panics
    /// The bundle of the role has no key for this purpose, which is a bug.
    #[must_use]
    pub fn of_purpose(&self, purpose: &str) -> Self {
        let previous = self.previous.as_ref().and_then(|source| source.key(purpose));
        Self { current: Source::of_bytes(&self.derive(purpose)), previous: previous.map(|key| Source::of_bytes(&key)), tls: None }
    }

    /// The key for one purpose (HKDF-SHA256), with which the process signs.
    ///
    /// # Panics
    /// The bundle of the role has no key for this purpose, which is a bug.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        self.current.key(purpose).unwrap_or_else(|| panic!("no key for {purpose} is in the bundle of this role"))
    }

    /// The keys for one purpose that are accepted, that of [`ClusterSecret::derive`] first. Empty if the bundle of the role has none.
    #[must_use]
    pub fn accepted(&self, purpose: &str) -> Vec<[u8; 32]> {
        let Some(current) = self.current.key(purpose) else { return Vec::new() };
        [current].into_iter().chain(self.previous.as_ref().and_then(|source| source.key(purpose))).collect()
    }

    /// Whether a second secret is accepted.
    #[must_use]
    pub fn is_being_replaced(&self) -> bool {
        self.previous.is_some()
    }

    /// The keys for calls of `from` to `to`, the one that signs first; empty if this process has a bundle and is neither of them.
    #[must_use]
    pub fn pair(&self, from: Caller, to: Caller) -> Vec<[u8; 32]> {
        self.accepted(&bundle::pair(from, to))
    }

    /// The keys that all callers share in the previous release, the one that signs first; empty with a bundle.
    #[must_use]
    pub fn shared(&self) -> Vec<[u8; 32]> {
        self.accepted(CALLER_PURPOSE)
    }

    /// The keys that a role needs, as one line, those of the second secret included; `None` if this process has a bundle itself.
    #[must_use]
    pub fn bundle(&self, role: Caller) -> Option<String> {
        if matches!(self.current, Source::Bundle(_)) {
            return None;
        }
        let of = |source: &Source| Bundle::of(role, |purpose| source.key(purpose));
        Some(of(&self.current).print(self.previous.as_ref().map(of)))
    }

    /// Every key of a bundle.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> impl Iterator<Item = [u8; 32]> + '_ {
        let Source::Bundle(bundle) = &self.current else { panic!("only a bundle has a list of keys") };
        bundle.all()
    }
}

impl Source {
    fn of_bytes(bytes: &[u8]) -> Self {
        Self::Root(hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(bytes))
    }

    fn key(&self, purpose: &str) -> Option<[u8; 32]> {
        match self {
            Self::Root(root) => {
                let mut key = [0; 32];
                let info = [purpose.as_bytes()];
                root.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key)).ok().map(|()| key)
            }
            Self::Bundle(bundle) => bundle.key(purpose),
        }
    }
}

/// The text of the secret that signs. It is empty after a fault.
fn current_text(env: &mut Env, given: Option<Secret>, path: &Path) -> String {
    if let Some(secret) = given {
        if let Err(weakness) = strength::check(secret.expose()) {
            env.fault(SETTING, weakness.to_string());
        }
        return secret.expose().to_owned();
    }
    // The value is not valid Unicode, which is already a fault.
    if env.is_set(SETTING) {
        return String::new();
    }
    key_file::read(path).unwrap_or_else(|e| {
        let path = path.display();
        let problem = match e.kind() {
            io::ErrorKind::NotFound => {
                format!("is not set and there is no {path}: set it, or set BACKLOT_DATA_DIR to the folder of a cluster")
            }
            _ => format!("is not set and {path} cannot be used: {e}"),
        };
        env.fault(SETTING, problem);
        String::new()
    })
}

/// The text of the second secret, if there is one. The file is read only if the secret that signs comes from its file, too.
fn previous_text(env: &mut Env, given: Option<Secret>, path: &Path) -> Option<String> {
    if let Some(secret) = given {
        if let Err(weakness) = strength::check(secret.expose()) {
            env.fault(PREVIOUS, weakness.to_string());
        }
        return Some(secret.expose().to_owned());
    }
    if env.is_set(SETTING) || env.is_set(PREVIOUS) {
        return None;
    }
    match key_file::read(path) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => {
            env.fault(PREVIOUS, format!("is not set and {} cannot be used: {e}", path.display()));
            None
        }
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
    fn a25_a_weak_secret_is_a_fault_that_does_not_show_it() {
        for (secret, problem) in [("hunter2", "must have at least 32 characters"), (&"x".repeat(32), "repeats")] {
            for (name, other) in [(SETTING, PREVIOUS), (PREVIOUS, SETTING)] {
                let mut env = Env::of([(name, secret), (other, OLD)]);
                ClusterSecret::read_root(&mut env);
                let fault = faults(&env);
                assert!(fault.starts_with(&format!("{name}: ")) && fault.contains(problem) && !fault.contains(secret), "{fault}");
            }
        }
    }

    const OLD: &str = "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7";
    const NEW: &str = "b7f4a90c5d3e1182ac64de07f93b5510";

    #[test]
    fn the_second_secret_is_accepted_but_does_not_sign() {
        let [old, new] = [OLD, NEW].map(|text| ClusterSecret::of_bytes(text.as_bytes()).derive("page"));
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().display().to_string();
        for (name, text) in [("cluster.key", OLD), ("cluster.key.previous", NEW)] {
            fs::write(folder.path().join(name), text).unwrap();
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let data = ("BACKLOT_DATA_DIR", data.as_str());
        for (settings, accepted) in [
            (vec![(SETTING, OLD)], vec![old]),
            (vec![(SETTING, OLD), (PREVIOUS, NEW)], vec![old, new]),
            (vec![(SETTING, NEW), (PREVIOUS, OLD)], vec![new, old]),
            (vec![data], vec![old, new]),
            (vec![data, (PREVIOUS, OLD)], vec![old, old]),
            // The files of a folder belong together.
            (vec![data, (SETTING, NEW)], vec![new]),
        ] {
            let mut env = Env::of(settings.clone());
            let secret = ClusterSecret::read_root(&mut env);
            env.check().unwrap();
            assert_eq!((secret.derive("page"), secret.accepted("page")), (accepted[0], accepted.clone()), "{settings:?}");
            assert_eq!(secret.is_being_replaced(), accepted.len() == 2);
        }
        fs::set_permissions(folder.path().join("cluster.key.previous"), fs::Permissions::from_mode(0o644)).unwrap();
        let mut env = Env::of([data]);
        ClusterSecret::read_root(&mut env);
        assert!(faults(&env).starts_with("BACKLOT_CLUSTER_SECRET_PREVIOUS: is not set and"), "{}", faults(&env));
    }

    #[test]
    fn a_derived_secret_has_a_second_one_too() {
        let [old, new] = [OLD, NEW].map(|text| ClusterSecret::of_bytes(text.as_bytes()));
        let both = new.clone().and_previous(&old).of_purpose(AUTH_KEYS);
        assert_eq!(both.accepted("page"), [new.of_purpose(AUTH_KEYS).derive("page"), old.of_purpose(AUTH_KEYS).derive("page")]);
        assert_eq!(old.of_purpose(AUTH_KEYS).derive("page"), ClusterSecret::of_bytes(&old.derive(AUTH_KEYS)).derive("page"));
    }

    #[test]
    fn help_creates_no_file() {
        let mut env = Env::describe();
        ClusterSecret::read_root(&mut env);
        assert!(!Path::new(".backlot").exists());
        assert!(env.settings()[0].secret);
    }
}
