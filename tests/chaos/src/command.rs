//! The command `make chaos`. `deploy/scripts/chaos.sh` documents its environment variables.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    bugs::BUGS,
    deployment::Engines,
    report,
    round::{Options, Scenario},
    run::{self, Amounts},
};

/// Runs what the environment variables select. Prints an error to standard error.
#[must_use]
pub fn run() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime");
    let Err(error) = runtime.and_then(|runtime| runtime.block_on(chaos())) else { return ExitCode::SUCCESS };
    // Without a backtrace. A closed standard error is ignored.
    let _ = run::say(&format!("{error:#}"));
    ExitCode::FAILURE
}

async fn chaos() -> Result<()> {
    let seed = number("SEED")?.unwrap_or_else(rand::random);
    run::say(&format!("SEED={seed}"))?;
    let options = Options {
        executable: std::env::current_exe()?,
        clients: usize::try_from(number("CLIENTS")?.unwrap_or(50))?,
        seed,
        recoveries: i64::try_from(number("RECOVERIES")?.unwrap_or(3))?,
        turn_limit: run::TURN_LIMIT,
    };
    let folder = run::folder()?;
    if is_set("ATTACK")? {
        return attacks(&options.executable, &folder).await;
    }
    let engines = run::engines(&folder).await?;
    if is_set("PLANTED")? { with_bugs(&options, &engines, folder).await } else { without_bug(&options, &engines, folder).await }
}

/// Runs attacks instead of faults, first without the edge and then with the shipped settings.
async fn attacks(executable: &std::path::Path, folder: &std::path::Path) -> Result<()> {
    for (what, edge) in [("without the edge", "0"), ("as shipped", "")] {
        let inner = folder.join(what.replace(' ', "-"));
        std::fs::create_dir_all(&inner)?;
        let settings = [("BACKLOT_EDGE_PER_SECOND", edge)];
        let settings = if edge.is_empty() { &settings[..0] } else { &settings[..] };
        let chosen: fn(&attack::Attack) -> bool = if edge.is_empty() { |_| true } else { |attack| attack.name != "flood" };
        for (name, outcome) in attack::run_all(&executable.to_string_lossy(), &inner, settings, chosen, attack::LONG).await? {
            run::say(&format!("{what:<17} {name:<26} {outcome}"))?;
        }
    }
    Ok(std::fs::remove_dir_all(folder)?)
}

async fn without_bug(options: &Options, engines: &std::sync::Arc<Engines>, folder: PathBuf) -> Result<()> {
    let mut amounts = Amounts { failpoints: 1, ..Amounts::short() };
    if is_set("FULL")? {
        amounts.kills = 200;
        amounts.reconnects = 2_000;
        (amounts.postgres, amounts.network, amounts.pauses, amounts.rolling) = (5, 40, 3, 3);
        (amounts.lost_writes, amounts.stale_workers, amounts.no_faults, amounts.redis_outage) = (3, 3, 10, true);
        amounts.time = Duration::from_secs(60 * number("MINUTES")?.unwrap_or(30));
    }
    if let Some(name) = setting("ONLY") {
        let is_named = |scenario: &&Scenario| scenario.name() == name;
        // One round is enough.
        (amounts.reconnects, amounts.no_faults, amounts.redis_outage) = (0, 10, true);
        amounts.only = Some(
            *Scenario::ALL
                .iter()
                .find(is_named)
                .with_context(|| format!("ONLY={name}: the scenarios are {:?}", Scenario::ALL.map(|scenario| scenario.name())))?,
        );
    }
    amounts.failpoints = number("SAMPLE")?.unwrap_or(amounts.failpoints);
    amounts.kills = number("KILLS")?.unwrap_or(amounts.kills);
    amounts.reconnects = number("RECONNECTS")?.unwrap_or(amounts.reconnects);
    let verdict = run::without_bug(options, &amounts, engines, &folder).await?;
    run::end(&verdict, options.seed, &folder)
}

async fn with_bugs(options: &Options, engines: &std::sync::Arc<Engines>, folder: PathBuf) -> Result<()> {
    let mut missed = Vec::new();
    let wanted = setting("BUG");
    ensure!(wanted.as_ref().is_none_or(|name| BUGS.iter().any(|bug| bug.name == name)), "BUG: there is no seeded bug {wanted:?}");
    for bug in BUGS.iter().filter(|bug| wanted.as_ref().is_none_or(|name| bug.name == name)) {
        let clock = Instant::now();
        let verdict = run::with_bug(options, bug, engines, &folder).await?;
        let rules = report::rules(&verdict);
        let found = match (rules.is_empty(), verdict.starved) {
            (false, _) => format!("found by: {rules}"),
            (true, false) => "NOT FOUND".to_owned(),
            (true, true) => "inconclusive: the machine was starved".to_owned(),
        };
        run::say(&format!("{:<26} {:<66} {found} ({:.0} s)", bug.name, bug.what, clock.elapsed().as_secs_f64()))?;
        if is_set("VERBOSE")? {
            run::say(&report::violations(&verdict))?;
        }
        if verdict.violations.is_empty() && !verdict.starved {
            missed.push(bug.name);
        }
    }
    std::fs::remove_dir_all(folder)?;
    ensure!(missed.is_empty(), "not found: {missed:?}");
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "a command of the harness, not a service")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Result<Option<u64>> {
    setting(name).map(|text| text.parse().with_context(|| format!("{name}={text}"))).transpose()
}

fn is_set(name: &str) -> Result<bool> {
    Ok(number(name)?.is_some_and(|value| value != 0))
}
