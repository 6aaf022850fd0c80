//! Every attack, beside a person whose calls must all succeed. `make chaos ATTACK=1` has the long form, `make bench` compares the times.
//! `ATTACKS=bombs,flood` runs only these.

use anyhow::Result;
use attack::{Attack, SHORT};

/// Every bound by itself: the edge would stop most attacks before they reach one.
#[tokio::test(flavor = "multi_thread")]
async fn no_stranger_stops_others() -> Result<()> {
    stand(&[("BACKLOT_EDGE_PER_SECOND", "0")], |attack| attack.name != "flood").await
}

/// As the cluster is shipped.
#[tokio::test(flavor = "multi_thread")]
async fn the_edge_stops_floods() -> Result<()> {
    stand(&[], |attack| ["flood", "reset-streams", "unknown-rpcs"].contains(&attack.name)).await
}

async fn stand(settings: &[(&str, &str)], chosen: fn(&Attack) -> bool) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let outcomes = attack::stand(env!("CARGO_BIN_EXE_backlot-under-test"), folder.path(), settings, chosen, SHORT).await?;
    for (name, outcome) in outcomes {
        eprintln!("{name}: {outcome}");
    }
    Ok(())
}
