//! The cluster under faults for about five minutes, and three of the seeded bugs. `make chaos` does more.

use anyhow::{Result, ensure};
use chaos::{
    bugs, report,
    round::Layout,
    run::{self, Amounts},
};

/// Takeovers without progress after which a turn is given up.
const RECOVERIES: i64 = 3;
const CLIENTS: usize = 50;
const BUGS_A_DAY: usize = 3;

fn layout(seed: u64) -> Layout {
    Layout { executable: env!("CARGO_BIN_EXE_chaos").into(), clients: CLIENTS, seed, recoveries: RECOVERIES, patience: run::PATIENCE }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_promised_holds_whatever_breaks_and_bugs_are_found() -> Result<()> {
    let seed = rand::random();
    // The engines serve every run below, and a run that found nothing takes its own folder away.
    let ground = run::folder()?;
    let engines = run::engines(&ground).await?;
    let folder = run::folder()?;
    let verdict = run::sound(&layout(seed), &Amounts::short(), &engines, &folder).await?;
    run::end(&verdict, seed, &folder)?;

    let folder = run::folder()?;
    for bug in bugs::of_day(run::today(), BUGS_A_DAY) {
        let verdict = run::with_bug(&layout(seed), bug, &engines, &folder).await?;
        if verdict.violations.is_empty() && verdict.starved {
            run::say(&format!("{} was not found, and nothing is known: the machine was starved", bug.name))?;
            continue;
        }
        ensure!(!verdict.violations.is_empty(), "SEED={seed}: {} was not found, logs in {}", bug.name, folder.display());
        run::say(&format!("{} was found by: {}", bug.name, report::rules(&verdict)))?;
    }
    drop(engines);
    std::fs::remove_dir_all(folder)?;
    Ok(std::fs::remove_dir_all(ground)?)
}
