//! The settings of this service.

use std::{num::NonZero, path::PathBuf, thread::available_parallelism, time::Duration};

use chassis::{
    config::{BoundedNumber, Env},
    identity::Caller,
    postgres,
    secret::ClusterSecret,
    server,
};

use crate::{
    registry_url::{DEFAULT, RegistryUrl},
    sweep::Keep,
    tree::Limits,
};

const MIB: usize = 1024 * 1024;
/// The name of the compiler's executable.
const EXECUTABLE: &str = "backlot-compiler";

/// What `serve` needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) server: server::Config,
    /// The service's own database.
    pub postgres: postgres::Config,
    /// Verifies caller tokens.
    pub(crate) cluster_secret: ClusterSecret,
    /// The path of the compiler's executable.
    pub(crate) compiler: PathBuf,
    /// Worker processes at the same time.
    pub(crate) workers: usize,
    /// How long a worker may take.
    pub(crate) worker_timeout: Duration,
    /// The processor time that one file may take.
    pub(crate) file_timeout: Duration,
    /// How long a build may take, with the questions to its caller.
    pub(crate) build_timeout: Duration,
    /// Builds and checks at the same time.
    pub(crate) max_builds: usize,
    /// Bytes of trees and contents in memory, of all builds together.
    pub(crate) memory: usize,
    pub(crate) limits: Limits,
    pub(crate) keep: Keep,
    /// From which packages come.
    pub(crate) registry: RegistryUrl,
    /// Bytes that one person's builds may get from the registry in an hour.
    pub(crate) registry_bytes: u64,
    /// Bytes of packages in memory, of all builds together.
    pub(crate) packages_memory: usize,
    /// Requests to the registry at the same time.
    pub(crate) downloads: usize,
    /// Bytes of the packages that an operator keeps.
    pub(crate) vendor_bytes: u64,
}

impl Config {
    /// Reads the environment and records its faults there.
    pub fn read(env: &mut Env) -> Self {
        let compiler: Option<PathBuf> = env.derived(
            "BACKLOT_COMPILER",
            "`backlot-compiler` beside the running executable",
            "the executable that compiles previews and fetches their packages; without it, previews are not compiled",
        );
        let workers: Option<BoundedNumber<usize, 1, 256>> =
            env.derived("BACKLOT_COMPILE_WORKERS", "one per core, at most 256", "processes that compile at the same time");
        let cores = available_parallelism().map_or(2, NonZero::get).min(256);
        let config = Self {
            server: server::Config::read(env),
            postgres: postgres::Config::read(env, crate::error::SERVICE),
            cluster_secret: ClusterSecret::read(env, Caller::Compile),
            compiler: compiler.unwrap_or_else(beside_this),
            workers: workers.map_or(cores, |workers| workers.0),
            worker_timeout: env.get("BACKLOT_COMPILE_WORKER_TIMEOUT", "10s", "how long one process may compile"),
            file_timeout: env.get("BACKLOT_COMPILE_FILE_TIMEOUT", "2500ms", "processor time that one file may take, except in a bundle"),
            build_timeout: server::build_timeout(env),
            max_builds: number::<100_000>(env, "BACKLOT_COMPILE_MAX_BUILDS", "256", "builds and checks at the same time"),
            memory: number::<65_536>(env, "BACKLOT_COMPILE_MEMORY_MIB", "512", "memory for source files of all builds, in MiB") * MIB,
            limits: Limits {
                files: number::<100_000>(env, "BACKLOT_COMPILE_MAX_FILES", "20000", "files of a tree that is compiled"),
                bytes: number::<80>(env, "BACKLOT_COMPILE_MAX_SOURCE_MIB", "64", "contents that one build reads, in MiB") * MIB,
            },
            keep: Keep {
                time: env.get("BACKLOT_COMPILE_KEEP", "7d", "how long a compiled page is kept after its last use"),
                bytes: number::<1_048_576>(env, "BACKLOT_COMPILE_KEEP_MIB", "4096", "size of all that is kept, in MiB") * MIB,
            },
            registry: env.get(
                "BACKLOT_NPM_REGISTRY",
                DEFAULT,
                "npm registry, without credentials: of the packages of previews, and of PostgreSQL if this machine has none; `none` for a machine without a network",
            ),
            registry_bytes: {
                let help = "what the previews of one person may get from the registry in an hour, at one replica, in MiB";
                (number::<1_048_576>(env, "BACKLOT_COMPILE_REGISTRY_MIB", "4096", help) * MIB) as u64
            },
            packages_memory: {
                let help = "memory for packages that are fetched and bundled, of all builds, in MiB";
                number::<65_536>(env, "BACKLOT_COMPILE_PACKAGES_MIB", "512", help) * MIB
            },
            downloads: number::<1_000>(env, "BACKLOT_COMPILE_MAX_DOWNLOADS", "64", "requests to the registry at the same time"),
            vendor_bytes: {
                let help = "packages that `backlot vendor` keeps, in MiB";
                (number::<1_048_576>(env, "BACKLOT_COMPILE_VENDOR_MIB", "8192", help) * MIB) as u64
            },
        };
        config.check(env);
        config
    }

    /// How long a build waits for a worker: as long as the work after it may take.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.build_timeout / 2
    }

    fn check(&self, env: &mut Env) {
        env.require_positive([
            ("BACKLOT_COMPILE_WORKER_TIMEOUT", self.worker_timeout),
            ("BACKLOT_COMPILE_FILE_TIMEOUT", self.file_timeout),
        ]);
        let year = Duration::from_secs(365 * 24 * 3_600);
        if !(Keep::LEAST..=year).contains(&self.keep.time) {
            env.out_of_bounds("BACKLOT_COMPILE_KEEP", "must be from 1h to 365d");
        }
    }
}

fn number<const MAX: u32>(env: &mut Env, name: &str, default: &str, help: &'static str) -> usize {
    env.get::<BoundedNumber<usize, 1, MAX>>(name, default, help).0
}

fn beside_this() -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    this.with_file_name(EXECUTABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let base =
            [("BACKLOT_COMPILE_DATABASE_URL", "postgres://db/compile"), ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7")];
        let mut env = Env::of(base.iter().chain(pairs).copied());
        let config = Config::read(&mut env);
        env.check().map(|()| config).map_err(|faults| faults.to_string())
    }

    #[test]
    fn the_compiler_is_beside_the_executable_unless_set() {
        assert!(read(&[]).expect("no faults").compiler.ends_with(EXECUTABLE));
        assert_eq!(read(&[("BACKLOT_COMPILER", "/opt/c")]).expect("no faults").compiler, PathBuf::from("/opt/c"));
    }

    #[test]
    fn every_invalid_value_is_a_fault() {
        for (name, value) in [
            ("BACKLOT_COMPILE_WORKERS", "0"),
            ("BACKLOT_COMPILE_WORKER_TIMEOUT", "0s"),
            ("BACKLOT_COMPILE_FILE_TIMEOUT", "0s"),
            ("BACKLOT_COMPILE_BUILD_TIMEOUT", "0s"),
            ("BACKLOT_COMPILE_MAX_BUILDS", "0"),
            ("BACKLOT_COMPILE_MEMORY_MIB", "0"),
            ("BACKLOT_COMPILE_MAX_FILES", "100001"),
            ("BACKLOT_COMPILE_MAX_SOURCE_MIB", "81"),
            ("BACKLOT_COMPILE_KEEP", "59m"),
            ("BACKLOT_COMPILE_KEEP_MIB", "0"),
            ("BACKLOT_NPM_REGISTRY", "https://name:secret@host"),
            ("BACKLOT_COMPILE_REGISTRY_MIB", "0"),
            ("BACKLOT_COMPILE_PACKAGES_MIB", "0"),
            ("BACKLOT_COMPILE_MAX_DOWNLOADS", "0"),
            ("BACKLOT_COMPILE_VENDOR_MIB", "0"),
        ] {
            let faults = read(&[(name, value)]).map(drop).expect_err(name);
            assert!(faults.starts_with(name) && faults.lines().count() == 1, "{faults}");
        }
    }
}
