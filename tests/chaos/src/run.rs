//! A run: a sequence of rounds with or without a seeded bug.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use test_support::canary::Stopwatch;

use super::{
    bugs::Bug,
    report,
    round::{Environment, Options, Scenario},
    verdict::Verdict,
};
use crate::deployment::Engines;

/// The least percentage of successful requests. Otherwise the load was too low for a conclusion.
const SUCCESS_PERCENT: u64 = 60;
const KILLS_PER_ROUND: u64 = 100;
/// The limit for the end of a turn. Starved time does not count.
pub const TURN_LIMIT: Duration = Duration::from_secs(120);
/// The limit for the end of a turn in a run with a seeded bug.
const SEEDED_TURN_LIMIT: Duration = Duration::from_secs(30);
/// The number of rounds in which a seeded bug has to be found. Some bugs need a fault at an unlikely moment.
const MAX_ROUNDS: u32 = 8;

/// The numbers of faults and requests in a run.
#[derive(Debug, Clone)]
pub struct Amounts {
    pub kills: u64,
    pub reconnects: u64,
    /// The process ends at one of so many statements and calls: 1 for all, 0 for no failpoints.
    pub failpoints: u64,
    pub postgres: u64,
    pub network: u64,
    pub pauses: u64,
    pub rolling: u64,
    /// The number of repetitions.
    pub lost_writes: u64,
    pub stale_workers: u64,
    /// The seconds of the scenario without faults.
    pub no_faults: u64,
    pub redis_outage: bool,
    /// The rounds are repeated for this long.
    pub time: Duration,
    /// If set, only this scenario runs.
    pub only: Option<Scenario>,
}

impl Amounts {
    /// Amounts for a run of about ten minutes on two cores.
    #[must_use]
    pub fn short() -> Self {
        Self {
            kills: 60,
            reconnects: 500,
            failpoints: 40,
            postgres: 2,
            network: 10,
            pauses: 1,
            rolling: 1,
            lost_writes: 1,
            stale_workers: 1,
            no_faults: 0,
            redis_outage: false,
            time: Duration::ZERO,
            only: None,
        }
    }
}

/// Runs all scenarios without a seeded bug.
///
/// # Errors
/// The harness failed.
pub async fn without_bug(options: &Options, amounts: &Amounts, engines: &Arc<Engines>, folder: &Path) -> Result<Verdict> {
    let mut environment = Environment::open(options, engines, folder.join("without-bug"), None).await?;
    let (started, began, mut total, mut kills) = (Instant::now(), Stopwatch::start(), Verdict::default(), 0);
    let enough = |total: &Verdict, kills: u64| {
        let reconnects = total.counts.get("reconnects").copied().unwrap_or_default();
        started.elapsed() >= amounts.time && kills >= amounts.kills && reconnects >= amounts.reconnects
    };
    while total.violations.is_empty() && (total.counts.is_empty() || !enough(&total, kills)) {
        let left = if started.elapsed() < amounts.time { KILLS_PER_ROUND } else { amounts.kills.saturating_sub(kills) };
        let now = left.clamp(20, KILLS_PER_ROUND);
        let rounds = [
            (Scenario::Kills, now),
            (Scenario::Failpoints, amounts.failpoints),
            (Scenario::Pauses, amounts.pauses),
            (Scenario::Engines, amounts.postgres),
            (Scenario::Network, amounts.network),
            (Scenario::Rolling, amounts.rolling),
            (Scenario::Poison, 1),
            (Scenario::LostWrites, amounts.lost_writes),
            (Scenario::StaleWorkers, amounts.stale_workers),
            (Scenario::NoFaults, amounts.no_faults),
            (Scenario::RedisOutage, u64::from(amounts.redis_outage)),
        ];
        kills += now;
        let wanted = |scenario| amounts.only.is_none_or(|only| only == scenario);
        for (scenario, amount) in rounds.into_iter().filter(|(scenario, amount)| *amount > 0 && wanted(*scenario)) {
            let (round_started, clock) = (Instant::now(), Stopwatch::start());
            let verdict = environment.round(scenario, amount).await.with_context(|| format!("a round of {scenario:?}"))?;
            let turns = verdict.counts.get("turns").copied().unwrap_or_default();
            let (took, lost) = (round_started.elapsed().as_secs_f64(), clock.lost().as_secs_f64());
            say(&format!("{scenario:?}: {took:.1} s, starved for {lost:.1} s, {turns} turns, {} violations", verdict.violations.len()))?;
            total.add(verdict);
            let long_enough = !amounts.time.is_zero() && enough(&total, kills);
            if !total.violations.is_empty() || long_enough {
                break;
            }
        }
    }
    if total.violations.is_empty() {
        total.violations.extend(environment.check_swept().await?);
    }
    total.count("starved milliseconds", began.lost().as_millis().try_into().unwrap_or(u64::MAX));
    requests(&environment, &mut total);
    let deployment = Arc::clone(&environment.deployment);
    drop(environment);
    if let Some(deployment) = Arc::into_inner(deployment) {
        deployment.stop().await?;
    }
    Ok(total)
}

/// Runs the scenario that must find a seeded bug. The verdict contains the violations. On a starved machine the rules excuse some effects of
/// a bug, so a run without violations is inconclusive there.
///
/// # Errors
/// The harness failed.
pub async fn with_bug(options: &Options, bug: &Bug, engines: &Arc<Engines>, folder: &Path) -> Result<Verdict> {
    let options = Options { clients: options.clients.min(20), turn_limit: SEEDED_TURN_LIMIT, ..options.clone() };
    let mut environment = Environment::open(&options, engines, folder.join(bug.name), Some(bug.name)).await?;
    let amount = match bug.found_by {
        Scenario::Kills => 15,
        Scenario::NoFaults => 6,
        _ => 1,
    };
    let (mut total, clock) = (Verdict::default(), Stopwatch::start());
    for _ in 0..MAX_ROUNDS {
        let verdict = environment.round(bug.found_by, amount).await;
        total.add(verdict.with_context(|| format!("a round of {:?} with {}", bug.found_by, bug.name))?);
        if total.violations.is_empty() && bug.found_by == Scenario::NoFaults {
            total.violations.extend(environment.check_swept().await?);
        }
        if !total.violations.is_empty() {
            break;
        }
    }
    total.starved = clock.is_starved();
    Ok(total)
}

fn requests(environment: &Environment, total: &mut Verdict) {
    let (made, succeeded) = environment.record.requests();
    total.count("requests", made);
    total.count("requests that succeeded", succeeded);
    for (answer, times) in environment.record.answers() {
        total.count(format!("answers {answer}"), times);
    }
    if succeeded * 100 < made * SUCCESS_PERCENT {
        let text = format!("{succeeded} of {made} requests succeeded");
        total.violations.push(super::check::Violation { rule: "most requests succeed", turn: None, text });
    }
}

/// Starts PostgreSQL and Redis for a run.
///
/// # Errors
/// PostgreSQL does not start.
pub async fn engines(folder: &Path) -> Result<Arc<Engines>> {
    chassis::install_crypto();
    Ok(Arc::new(Engines::start(folder).await?))
}

/// Creates a temporary folder for the logs of a run.
///
/// # Errors
/// The folder cannot be created.
pub fn folder() -> Result<PathBuf> {
    Ok(tempfile::Builder::new().prefix("backlot-chaos-").tempdir()?.keep())
}

/// Ends a run. The folder is kept if there are violations.
///
/// # Errors
/// There are violations, or the folder cannot be removed.
pub fn end(verdict: &Verdict, seed: u64, folder: &Path) -> Result<()> {
    say(&report::counts(verdict))?;
    if verdict.violations.is_empty() {
        return std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string());
    }
    anyhow::bail!("SEED={seed}, logs in {}\n{}", folder.display(), report::violations(verdict))
}

/// Days since 1970.
#[must_use]
pub fn today() -> i64 {
    chassis::clock::now().unix_timestamp().div_euclid(24 * 3600)
}

/// Writes a line to standard error. The test runner captures only the output of macros, so it always shows the line.
///
/// # Errors
/// Standard error is closed.
pub fn say(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{text}")?)
}
