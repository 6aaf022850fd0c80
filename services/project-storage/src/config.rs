//! The settings of the service.

use std::{
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    time::Duration,
};

use chassis::{config::Env, identity::Caller, postgres, redis, secret::ClusterSecret, server};

use crate::{commit::quota::Quotas, model::per_plan::PerPlan};

/// The settings of `serve`.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: server::Config,
    /// The service's own database.
    pub postgres: postgres::Config,
    /// Wakes the watchers of projects at other replicas. Without it they are found by polling.
    pub redis: redis::Config,
    pub cluster_secret: ClusterSecret,
    /// The address of auth, whose keys verify access tokens.
    pub auth_url: http::Uri,
    /// The address of rate-limit, which counts saves.
    pub rate_limit_url: http::Uri,
    /// The size of the cache of trees and files, in bytes.
    pub cache_bytes: u64,
    /// Pages of whole projects that are read at the same time.
    pub loads: usize,
    /// Exports that are open at the same time.
    pub exports: usize,
    /// Imports that run at the same time.
    pub imports: usize,
    /// The time between two sweeps of unreachable objects; zero for none.
    pub object_sweep: Duration,
    /// The quotas of accounts.
    pub quotas: Quotas,
}

impl Config {
    pub fn read(env: &mut Env) -> Self {
        Self {
            server: server::Config::read(env),
            postgres: postgres::Config::read(env, crate::error::SERVICE),
            redis: redis::Config::read(env),
            cluster_secret: ClusterSecret::read(env, Caller::ProjectStorage),
            auth_url: env.get("BACKLOT_AUTH_URL", "http://127.0.0.1:9090", "where auth listens"),
            rate_limit_url: env.get("BACKLOT_RATE_LIMIT_URL", "http://127.0.0.1:9093", "where rate-limit listens"),
            cache_bytes: env.get(
                "BACKLOT_STORAGE_CACHE_BYTES",
                "134217728",
                "bytes of trees and files that project-storage keeps in memory",
            ),
            loads: env
                .get::<NonZeroUsize>(
                    "BACKLOT_LOADS_IN_WORK",
                    "4",
                    "merges, and pages of whole projects, of differences, of searches and of histories of files that project-storage works on at the same time",
                )
                .get(),
            exports: env
                .get::<NonZeroUsize>("BACKLOT_EXPORTS_OPEN", "64", "exports of projects that project-storage streams at the same time")
                .get(),
            imports: env
                .get::<NonZeroUsize>("BACKLOT_IMPORTS_IN_WORK", "8", "imports of archives that project-storage receives at the same time")
                .get(),
            object_sweep: env.get(
                "BACKLOT_OBJECT_SWEEP",
                "10m",
                "time between two searches for contents that no revision uses any more, which project-storage deletes; 0 for none",
            ),
            quotas: Quotas {
                projects: env
                    .get::<PerPlan<NonZeroU32>>("BACKLOT_ACCOUNT_PROJECTS", "1000", "projects that one account may have, by plan")
                    .map(NonZeroU32::get),
                bytes: env
                    .get::<PerPlan<NonZeroU64>>(
                        "BACKLOT_ACCOUNT_BYTES",
                        "5368709120",
                        "bytes that the projects of one account may store together, with their history, by plan",
                    )
                    .map(NonZeroU64::get),
            },
        }
    }
}
