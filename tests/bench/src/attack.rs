//! The effect of attacks on other users: the p99 of a bystander's calls before and during each attack, on a cluster with the shipped
//! settings.

use std::time::Duration;

use ::attack::{self, Attack, Scale, Target, bystander::Bystander};
use anyhow::Result;

use crate::{
    environment::{Environment, progress},
    table::{Goal, Table, Unit},
};

/// The limit for the p99 during an attack, as a multiple of the p99 before it.
const TIMES: f64 = 3.0;
/// Long enough for several hundred calls before and during each attack.
const SCALE: Scale = Scale { times: 1, idle: Duration::from_secs(10), lasts: Duration::from_secs(10), low_priority: true };

pub(crate) async fn measure(environment: &Environment, upstream: &str, attacks: &[&Attack], table: &mut Table) -> Result<()> {
    if attacks.is_empty() {
        return Ok(());
    }
    // The shipped settings, because the environment has other limits and another model.
    let shipped = [
        ("BACKLOT_EDGE_PER_SECOND", "50"),
        ("BACKLOT_EDGE_BURST", "100"),
        ("BACKLOT_STREAM_OPENINGS", "60"),
        ("BACKLOT_MODEL", "demo/demo"),
        ("BACKLOT_DEMO_PACE", "1ms"),
    ];
    let cluster = environment.cluster("attack", upstream, &shipped).await?;
    let target = Target::of(&cluster.process.url, cluster.process.id(), &environment.data("attack")).await?;
    let bystander = Bystander::new(&target).await?;
    for attack in attacks {
        progress(&format!("attack: {}", attack.name));
        match attack::run(attack, &target, &bystander, SCALE).await {
            Ok(outcome) => {
                let times = (outcome.idle.percentile(0.99).as_secs_f64(), outcome.attacked.percentile(0.99).as_secs_f64());
                table.row(format!("{}: a bystander's calls, p99, compared with before", attack.name), Unit::Time, times, Goal::Tail(TIMES));
            }
            Err(e) => table.failure(format!("{e:#}")),
        }
    }
    Ok(())
}
