//! The rounds of a run.

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
    round::{Field, Layout, Scenario},
    verdict::Verdict,
};
use crate::deployment::Engines;

/// If fewer of the clients' requests succeed, the run proves nothing.
const SUCCESS_PERCENT: u64 = 60;
const KILLS_A_ROUND: u64 = 100;
/// The limit for the end of a turn. As for every limit here, starved time does not count.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The same for a run with a seeded bug, which need not wait as long.
const SEEDED_PATIENCE: Duration = Duration::from_secs(30);
/// The most rounds in which a seeded bug has to be found. Most are found in the first round. Some need a fault at an unlikely moment.
const TRIES: u32 = 8;

/// The amounts of faults and requests.
#[derive(Debug, Clone)]
pub struct Amounts {
    pub kills: u64,
    pub reconnects: u64,
    pub failpoints: bool,
    pub postgres: u64,
    pub network: u64,
    pub stops: u64,
    pub rolling: u64,
    /// Faults at a chosen moment.
    pub unwritten: u64,
    pub stale: u64,
    /// Seconds without a fault, and whether Redis is unavailable for a long time.
    pub calm: u64,
    pub deaf: bool,
    /// The rounds are repeated for this long.
    pub time: Duration,
    /// Only this scenario.
    pub only: Option<Scenario>,
}

impl Amounts {
    /// What fits into five minutes on two cores.
    #[must_use]
    pub fn short() -> Self {
        Self {
            kills: 60,
            reconnects: 500,
            failpoints: true,
            postgres: 2,
            network: 10,
            stops: 1,
            rolling: 1,
            unwritten: 1,
            stale: 1,
            calm: 0,
            deaf: false,
            time: Duration::ZERO,
            only: None,
        }
    }
}

/// A run without seeded bugs.
///
/// # Errors
/// The harness itself does not work.
pub async fn sound(layout: &Layout, amounts: &Amounts, engines: &Arc<Engines>, folder: &Path) -> Result<Verdict> {
    let mut field = Field::open(layout, engines, folder.join("sound"), None).await?;
    let (started, began, mut total, mut kills) = (Instant::now(), Stopwatch::start(), Verdict::default(), 0);
    let enough = |total: &Verdict, kills: u64| {
        let reconnects = total.counts.get("reconnects").copied().unwrap_or_default();
        started.elapsed() >= amounts.time && kills >= amounts.kills && reconnects >= amounts.reconnects
    };
    while total.violations.is_empty() && (total.counts.is_empty() || !enough(&total, kills)) {
        let left = if started.elapsed() < amounts.time { KILLS_A_ROUND } else { amounts.kills.saturating_sub(kills) };
        let now = left.clamp(20, KILLS_A_ROUND);
        let rounds = [
            (Scenario::Kills, now),
            (Scenario::Failpoints, u64::from(amounts.failpoints)),
            (Scenario::Stops, amounts.stops),
            (Scenario::Engines, amounts.postgres),
            (Scenario::Network, amounts.network),
            (Scenario::Rolling, amounts.rolling),
            (Scenario::Poison, 1),
            (Scenario::Unwritten, amounts.unwritten),
            (Scenario::Stale, amounts.stale),
            (Scenario::Calm, amounts.calm),
            (Scenario::Deaf, u64::from(amounts.deaf)),
        ];
        kills += now;
        let wanted = |scenario| amounts.only.is_none_or(|only| only == scenario);
        for (scenario, amount) in rounds.into_iter().filter(|(scenario, amount)| *amount > 0 && wanted(*scenario)) {
            let (begun, clock) = (Instant::now(), Stopwatch::start());
            let verdict = field.round(scenario, amount).await.with_context(|| format!("a round of {scenario:?}"))?;
            let turns = verdict.counts.get("turns").copied().unwrap_or_default();
            let (took, lost) = (begun.elapsed().as_secs_f64(), clock.lost().as_secs_f64());
            say(&format!("{scenario:?}: {took:.1} s, starved for {lost:.1} s, {turns} turns, {} violations", verdict.violations.len()))?;
            total.add(verdict);
            let long_enough = !amounts.time.is_zero() && enough(&total, kills);
            if !total.violations.is_empty() || long_enough {
                break;
            }
        }
    }
    total.count("milliseconds without time for the cluster", began.lost().as_millis().try_into().unwrap_or(u64::MAX));
    requests(&field, &mut total);
    let deployment = Arc::clone(&field.deployment);
    drop(field);
    if let Some(deployment) = Arc::into_inner(deployment) {
        deployment.stop().await?;
    }
    Ok(total)
}

/// Runs the scenario that must find a bug. The verdict has the violations. On a starved machine the rules excuse some effects of a bug, so
/// a run there without violations proves nothing.
///
/// # Errors
/// The harness itself does not work.
pub async fn with_bug(layout: &Layout, bug: &Bug, engines: &Arc<Engines>, folder: &Path) -> Result<Verdict> {
    let layout = Layout { clients: layout.clients.min(20), patience: SEEDED_PATIENCE, ..layout.clone() };
    let mut field = Field::open(&layout, engines, folder.join(bug.name), Some(bug.name)).await?;
    let amount = match bug.found_by {
        Scenario::Kills => 15,
        Scenario::Calm => 6,
        _ => 1,
    };
    let (mut total, clock) = (Verdict::default(), Stopwatch::start());
    for _ in 0..TRIES {
        let verdict = field.round(bug.found_by, amount).await;
        total.add(verdict.with_context(|| format!("a round of {:?} with {}", bug.found_by, bug.name))?);
        if !total.violations.is_empty() {
            break;
        }
    }
    total.starved = clock.is_starved();
    Ok(total)
}

fn requests(field: &Field, total: &mut Verdict) {
    let (made, succeeded) = field.record.requests();
    total.count("requests", made);
    total.count("requests that succeeded", succeeded);
    for (answer, times) in field.record.answers() {
        total.count(format!("answers {answer}"), times);
    }
    if succeeded * 100 < made * SUCCESS_PERCENT {
        let text = format!("{succeeded} of {made} requests succeeded");
        total.violations.push(super::check::Violation { rule: "most requests succeed", turn: None, text });
    }
}

/// Starts the engines of a run.
///
/// # Errors
/// This machine lacks one of them.
pub async fn engines(folder: &Path) -> Result<Arc<Engines>> {
    chassis::install_crypto();
    Ok(Arc::new(Engines::start(folder).await?))
}

/// Where a run keeps its logs.
///
/// # Errors
/// No temporary folder can be made.
pub fn folder() -> Result<PathBuf> {
    Ok(tempfile::Builder::new().prefix("backlot-chaos-").tempdir()?.keep())
}

/// Ends a run. The folder is kept only if something was found.
///
/// # Errors
/// The folder cannot be removed, or a violation was found.
pub fn end(verdict: &Verdict, seed: u64, folder: &Path) -> Result<()> {
    say(&report::counts(verdict))?;
    if verdict.violations.is_empty() {
        return std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string());
    }
    anyhow::bail!("SEED={seed}, logs in {}\n{}", folder.display(), report::wrongs(verdict))
}

/// Days since 1970.
#[must_use]
pub fn today() -> i64 {
    chassis::clock::now().unix_timestamp().div_euclid(24 * 3600)
}

/// Writes a line to standard error. Tests capture only the output of macros, so the line is always shown.
///
/// # Errors
/// Standard error is closed.
pub fn say(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{text}")?)
}
