//! `make chaos`: `deploy/scripts/chaos.sh` lists the settings.

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
    round::{Layout, Scenario},
    run::{self, Amounts},
};

/// Runs what the settings ask for, and tells people how it ended.
#[must_use]
pub fn run() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime");
    let Err(error) = runtime.and_then(|runtime| runtime.block_on(chaos())) else { return ExitCode::SUCCESS };
    // A message for people, without a backtrace. If standard error is closed, nobody reads it.
    let _ = run::say(&format!("{error:#}"));
    ExitCode::FAILURE
}

async fn chaos() -> Result<()> {
    let seed = number("SEED")?.unwrap_or_else(rand::random);
    run::say(&format!("SEED={seed}"))?;
    let layout = Layout {
        executable: std::env::current_exe()?,
        clients: usize::try_from(number("CLIENTS")?.unwrap_or(50))?,
        seed,
        recoveries: i64::try_from(number("RECOVERIES")?.unwrap_or(3))?,
        patience: run::PATIENCE,
    };
    let folder = run::folder()?;
    if is_set("ATTACK")? {
        return attacks(&layout.executable, &folder).await;
    }
    let engines = run::engines(&folder).await?;
    if is_set("PLANTED")? { seeded(&layout, &engines, folder).await } else { sound(&layout, &engines, folder).await }
}

/// Attacks instead of faults: once against each limit by itself, and once with the edge in front of them.
async fn attacks(executable: &std::path::Path, folder: &std::path::Path) -> Result<()> {
    for (what, edge) in [("without the edge", "0"), ("as shipped", "")] {
        let inner = folder.join(what.replace(' ', "-"));
        std::fs::create_dir_all(&inner)?;
        let settings = [("BACKLOT_EDGE_PER_SECOND", edge)];
        let settings = if edge.is_empty() { &settings[..0] } else { &settings[..] };
        let chosen: fn(&attack::Attack) -> bool = if edge.is_empty() { |_| true } else { |attack| attack.name != "flood" };
        for (name, outcome) in attack::stand(&executable.to_string_lossy(), &inner, settings, chosen, attack::LONG).await? {
            run::say(&format!("{what:<17} {name:<26} {outcome}"))?;
        }
    }
    Ok(std::fs::remove_dir_all(folder)?)
}

async fn sound(layout: &Layout, engines: &std::sync::Arc<Engines>, folder: PathBuf) -> Result<()> {
    let mut amounts = Amounts::short();
    if is_set("FULL")? {
        amounts.kills = 200;
        amounts.reconnects = 2_000;
        (amounts.postgres, amounts.network, amounts.stops, amounts.rolling) = (5, 40, 3, 3);
        (amounts.unwritten, amounts.stale, amounts.calm, amounts.deaf) = (3, 3, 10, true);
        amounts.time = Duration::from_secs(60 * number("MINUTES")?.unwrap_or(30));
    }
    if let Some(name) = setting("ONLY") {
        let named = |scenario: &&Scenario| format!("{scenario:?}").to_lowercase() == name;
        // One round of it, whatever its result.
        (amounts.reconnects, amounts.calm, amounts.deaf) = (0, 10, true);
        amounts.only = Some(*Scenario::ALL.iter().find(named).with_context(|| format!("ONLY={name} is none of {:?}", Scenario::ALL))?);
    }
    amounts.kills = number("KILLS")?.unwrap_or(amounts.kills);
    amounts.reconnects = number("RECONNECTS")?.unwrap_or(amounts.reconnects);
    let verdict = run::sound(layout, &amounts, engines, &folder).await?;
    run::end(&verdict, layout.seed, &folder)
}

async fn seeded(layout: &Layout, engines: &std::sync::Arc<Engines>, folder: PathBuf) -> Result<()> {
    let mut missed = Vec::new();
    let wanted = setting("BUG");
    ensure!(wanted.as_ref().is_none_or(|name| BUGS.iter().any(|bug| bug.name == name)), "BUG: there is no {wanted:?}");
    for bug in BUGS.iter().filter(|bug| wanted.as_ref().is_none_or(|name| bug.name == name)) {
        let begun = Instant::now();
        let verdict = run::with_bug(layout, bug, engines, &folder).await?;
        let rules = report::rules(&verdict);
        let found = match (rules.is_empty(), verdict.starved) {
            (false, _) => format!("found by: {rules}"),
            (true, false) => "NOT FOUND".to_owned(),
            (true, true) => "not found, and nothing is known: the machine was starved".to_owned(),
        };
        run::say(&format!("{:<26} {:<66} {found} ({:.0} s)", bug.name, bug.what, begun.elapsed().as_secs_f64()))?;
        if is_set("VERBOSE")? {
            run::say(&report::wrongs(&verdict))?;
        }
        if verdict.violations.is_empty() && !verdict.starved {
            missed.push(bug.name);
        }
    }
    std::fs::remove_dir_all(folder)?;
    ensure!(missed.is_empty(), "not found: {missed:?}");
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "a tool for people, not a part of the cluster")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Result<Option<u64>> {
    setting(name).map(|text| text.parse().with_context(|| format!("{name}={text}"))).transpose()
}

fn is_set(name: &str) -> Result<bool> {
    Ok(number(name)?.is_some_and(|value| value != 0))
}
