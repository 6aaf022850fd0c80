//! All attacks. During each, all calls of a bystander must succeed. `make chaos ATTACK=1` runs longer attacks, and `make bench` compares
//! latencies. `ATTACKS=bombs,flood` selects attacks.

use anyhow::Result;
use attack::{Attack, SHORT};

/// Without the edge, which would stop most attacks before they reach the other limits.
#[tokio::test(flavor = "multi_thread")]
async fn bystanders_are_served_during_every_attack() -> Result<()> {
    run(&[("BACKLOT_EDGE_PER_SECOND", "0")], |attack| attack.name != "flood").await
}

/// With the shipped settings.
#[tokio::test(flavor = "multi_thread")]
async fn the_edge_stops_floods() -> Result<()> {
    run(&[], |attack| ["flood", "reset-streams", "unknown-rpcs"].contains(&attack.name)).await
}

async fn run(settings: &[(&str, &str)], chosen: fn(&Attack) -> bool) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let outcomes = attack::run_all(env!("CARGO_BIN_EXE_backlot-under-test"), folder.path(), settings, chosen, SHORT).await?;
    for (name, outcome) in outcomes {
        eprintln!("{name}: {outcome}");
    }
    Ok(())
}
