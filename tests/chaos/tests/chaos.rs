//! A short run of the chaos harness, and two of the seeded bugs. `make chaos` runs more.

use anyhow::{Result, ensure};
use chaos::{
    bugs, report,
    round::Options,
    run::{self, Amounts},
};

/// The number of lost workers after which a turn without progress fails.
const RECOVERIES: i64 = 3;
const CLIENTS: usize = 50;
const BUGS_PER_DAY: usize = 2;

fn options(seed: u64) -> Options {
    Options { executable: env!("CARGO_BIN_EXE_chaos").into(), clients: CLIENTS, seed, recoveries: RECOVERIES, turn_limit: run::TURN_LIMIT }
}

#[tokio::test(flavor = "multi_thread")]
async fn guarantees_hold_under_faults_and_seeded_bugs_are_found() -> Result<()> {
    let seed = rand::random();
    run::say(&format!("SEED={seed}"))?;
    // All runs share the engines. A run without violations removes its folder.
    let engines_folder = run::folder()?;
    let engines = run::engines(&engines_folder).await?;
    let folder = run::folder()?;
    let verdict = run::without_bug(&options(seed), &Amounts::short(), &engines, &folder).await?;
    run::end(&verdict, seed, &folder)?;

    let folder = run::folder()?;
    for bug in bugs::of_day(run::today(), BUGS_PER_DAY) {
        let verdict = run::with_bug(&options(seed), bug, &engines, &folder).await?;
        if verdict.violations.is_empty() && verdict.starved {
            run::say(&format!("{}: inconclusive, the machine was starved", bug.name))?;
            continue;
        }
        ensure!(!verdict.violations.is_empty(), "SEED={seed}: {} was not found, logs in {}", bug.name, folder.display());
        run::say(&format!("{} was found by: {}", bug.name, report::rules(&verdict)))?;
    }
    drop(engines);
    std::fs::remove_dir_all(folder)?;
    Ok(std::fs::remove_dir_all(engines_folder)?)
}
