//! How much an attack slows others down: the slowest calls of a bystander before and during each attack, on a cluster with the shipped
//! settings.

use std::time::Duration;

use ::attack::{self, Attack, Scale, Target, bystander::Bystander};
use anyhow::Result;

use crate::{
    ground::{Ground, progress},
    table::{Goal, Table, Unit},
};

/// How many times its idle value the p99 may be.
const TIMES: f64 = 3.0;
/// Long enough for some hundred calls before and during each.
const SCALE: Scale = Scale { times: 1, idle: Duration::from_secs(10), lasts: Duration::from_secs(10), gives_way: true };

pub(crate) async fn measure(ground: &Ground, upstream: &str, attacks: &[&Attack], table: &mut Table) -> Result<()> {
    if attacks.is_empty() {
        return Ok(());
    }
    // What ships: the ground's own limits and model are for measurements of something else.
    let shipped = [
        ("BACKLOT_EDGE_PER_SECOND", "50"),
        ("BACKLOT_EDGE_BURST", "100"),
        ("BACKLOT_STREAM_OPENINGS", "60"),
        ("BACKLOT_MODEL", "demo/demo"),
        ("BACKLOT_DEMO_PACE", "1ms"),
    ];
    let cluster = ground.cluster("attack", upstream, &shipped).await?;
    let target = Target::of(&cluster.process.url, cluster.process.id(), &ground.data("attack")).await?;
    let bystander = Bystander::new(&target).await?;
    for attack in attacks {
        progress(&format!("attack: {}", attack.name));
        match attack::run(attack, &target, &bystander, SCALE).await {
            Ok(outcome) => {
                let times = (outcome.idle.percentile(0.99).as_secs_f64(), outcome.attacked.percentile(0.99).as_secs_f64());
                table.row(format!("{}: a bystander's calls, p99, beside before", attack.name), Unit::Time, times, Goal::Tail(TIMES));
            }
            Err(e) => table.fault(format!("{e:#}")),
        }
    }
    Ok(())
}
