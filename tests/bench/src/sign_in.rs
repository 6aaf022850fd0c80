//! Sign-ins on all cores, compared with the bare password hash on as many threads, and the hash of auth, compared with that of
//! `@node-rs/argon2` in Node.js. Then the time of the calls that must not tell whether an address has an account ([`crate::welch`]).

use std::{
    process::Stdio,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use argon2_rust::{Algorithm, Argon2, Hasher, Params, Version, params::Memory};
use chassis::{client::ServiceChannel, task};
use futures::future::try_join_all;
use proto::auth::{SignInRequest, auth_service_client::AuthServiceClient};
use test_support::person::PASSWORD;
use tokio::process::Command;

use crate::{
    environment::{Cluster, Environment, progress},
    sample::{Samples, median, rotated},
    table::{Goal, Table, Unit, shown},
    welch::{self, at, auth},
};

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
/// Hashes of one thread, of each implementation.
const HASHES: usize = 100;
/// The shipped cost of a password hash.
const MEMORY_KIB: u32 = 19_456;
const ITERATIONS: u32 = 2;
/// Limits that these calls do not reach.
pub(crate) const POLICIES: &str = "policies:\n  \
    - { name: auth, limit: 100000, window: 1s, algorithm: gcra, burst: 1000000 }\n  \
    - { name: auth-account, limit: 100000, window: 1s, algorithm: gcra, burst: 1000000 }\n  \
    - { name: auth-guess, limit: 100000, window: 1s, algorithm: gcra, burst: 1000000 }\n  \
    - { name: auth-stuffing, limit: 100000, window: 1s, algorithm: gcra, burst: 1000000 }\n";

pub(crate) async fn measure(is_wanted: bool, environment: &Environment, upstream: &str, table: &mut Table) -> Result<()> {
    if !is_wanted {
        return Ok(());
    }
    progress("sign-in");
    let policies = environment.data("sign-in.yaml");
    std::fs::write(&policies, POLICIES)?;
    let policies = ("BACKLOT_POLICIES", &*policies.to_string_lossy());
    hashes(table).await?;
    let (memory, iterations) = (MEMORY_KIB.to_string(), ITERATIONS.to_string());
    let cost = [("BACKLOT_ARGON2_MEMORY_KIB", memory.as_str()), ("BACKLOT_ARGON2_ITERATIONS", iterations.as_str())];
    let cluster = environment.cluster("sign_in", upstream, &[policies, cost[0], cost[1]]).await?;
    rates(&cluster, table).await?;
    drop(cluster);
    welch::measure(environment, upstream, policies, table).await
}

/// The implementation of auth with the shipped cost. It keeps its memory, as auth does.
fn hasher() -> Result<Hasher> {
    let params = Params::builder().memory(Memory::kib(MEMORY_KIB.into())).passes(ITERATIONS).lanes(1).build()?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hasher())
}

fn hash(hasher: &mut Hasher) -> Result<[u8; 32]> {
    let mut output = [0; 32];
    hasher.hash_into(PASSWORD.as_bytes(), b"sixteen bytes...", &mut output)?;
    Ok(output)
}

/// Sign-ins a second, compared with bare hashes on as many threads as the machine has cores.
async fn rates(cluster: &Cluster, table: &mut Table) -> Result<()> {
    let cores = available_parallelism()?.get();
    let client = auth(&cluster.grpc.auth, cluster)?;
    let (mut bare, mut service) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for target in rotated(2, round) {
            if target == 0 {
                bare.push(bare_rate(cores).await?);
            } else {
                service.push(service_rate(&client, &cluster.person.email, 4 * cores).await?);
            }
        }
    }
    table.row("sign-ins on all cores", Unit::Rate, (median(bare), median(service)), Goal::Times(1.0 / 0.95));
    Ok(())
}

async fn bare_rate(threads: usize) -> Result<f64> {
    let started = Instant::now();
    let work = move || {
        let (mut hasher, mut count) = (hasher()?, 0_u32);
        while started.elapsed() < ROUND {
            hash(&mut hasher)?;
            count += 1;
        }
        anyhow::Ok(count)
    };
    let counts = try_join_all((0..threads).map(|_| task::blocking(work))).await?;
    let total = counts.into_iter().sum::<Result<u32>>()?;
    Ok(f64::from(total) / started.elapsed().as_secs_f64())
}

/// Every caller has an address of its own, because one address may use only a part of the threads.
async fn service_rate(client: &AuthServiceClient<ServiceChannel>, email: &str, callers: usize) -> Result<f64> {
    let started = Instant::now();
    let calling = (0..callers).map(async |caller| {
        let (mut client, mut count) = (client.clone(), 0_u32);
        let context = at(u32::try_from(caller)?);
        while started.elapsed() < ROUND {
            let request = SignInRequest { email: email.to_owned(), password: PASSWORD.to_owned(), ..Default::default() };
            client.sign_in(context.request(request)).await?;
            count += 1;
        }
        anyhow::Ok(count)
    });
    let total: u32 = try_join_all(calling).await?.into_iter().sum();
    Ok(f64::from(total) / started.elapsed().as_secs_f64())
}

/// One hash, compared with the other implementation in Node.js. Both must have the same result.
async fn hashes(table: &mut Table) -> Result<()> {
    let (mut hasher, mut ours) = (hasher()?, Samples::default());
    for _ in 0..HASHES {
        ours.time(async { hash(&mut hasher) }).await?;
    }
    let Some(folder) = std::env::var_os("BACKLOT_NODE_ARGON2") else {
        table.note(format!("a password hash takes {}; it was compared with no other implementation", shown(Unit::Time, ours.p50())));
        return Ok(());
    };
    let output = Command::new("node")
        .args(["-e", include_str!("sign_in.mjs"), PASSWORD, &MEMORY_KIB.to_string(), &ITERATIONS.to_string(), &HASHES.to_string()])
        .current_dir(&folder)
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("node")?;
    let text = String::from_utf8(output.stdout)?;
    let (seconds, result) = text.trim().split_once(' ').context("the output of sign_in.mjs")?;
    let own: String = hash(&mut hasher)?.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(result == own, "the implementations differ: {result} and {own}");
    table.row("password hash, p50, compared with @node-rs/argon2", Unit::Time, (seconds.parse()?, ours.p50()), Goal::TimesBound(1.1));
    Ok(())
}
