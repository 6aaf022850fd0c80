//! Published sites, compared with `vite build`.

use anyhow::Result;

use super::{project::Project, role::Role, vite::Modules};
use crate::{
    environment::progress,
    sample::{Samples, median},
    table::{Goal, Table, Unit},
};

const ROUNDS: usize = 5;
/// The most bytes and the longest time, compared with `vite build`.
const BYTES: f64 = 1.15;
const TIME: f64 = 1.0;

/// Each round builds other contents of all sources, so that nothing of an earlier build is of use.
pub(crate) async fn measure(role: &Role, modules: &Modules, mut shop: Project, table: &mut Table) -> Result<()> {
    progress("previews: sites");
    let (mut theirs, mut ours) = ((Samples::default(), Vec::new(), 0), (Samples::default(), Vec::new(), 0));
    for round in 0..ROUNDS {
        shop.change_all(round)?;
        let folder = modules.project(&shop)?;
        let build = modules.build(folder.path()).await?;
        theirs.0.push(build.time);
        theirs.1.push(build.cpu);
        theirs.2 = build.bytes;
        let cpu = role.cpu()?;
        ours.2 = ours.0.time(role.site(&shop)).await?;
        ours.1.push(role.cpu()? - cpu);
    }
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    let bytes = (theirs.2 as f64, ours.2 as f64);
    table.row("site of the shop, bytes", Unit::Bytes, bytes, Goal::TimesBound(BYTES));
    table.row("site of the shop, time, p50", Unit::Time, (theirs.0.p50(), ours.0.p50()), Goal::TimesBound(TIME));
    table.row("site of the shop, CPU", Unit::Time, (median(theirs.1), median(ours.1)), Goal::Shown);
    Ok(())
}
