//! CPU time of the role and of the compilers that it starts: edits, revisions in which all sources are new, and checks. Compared with the dev
//! server, which answers the same change to an open page. The kernel counts in steps of 10 ms, so each figure is the mean of many changes.

use anyhow::Result;

use super::{
    project::Project,
    role::Role,
    vite::{DevServer, Modules},
};
use crate::{
    environment::{Environment, progress},
    sample::{Samples, median},
    table::{Goal, Table, Unit},
};

const ROUNDS: usize = 3;
const EDITS: usize = 30;
const COLD: usize = 10;
const CHECKS: usize = 10;
/// The goals in CPU seconds.
const COLD_CPU: f64 = 0.1;
const CHECK_CPU: f64 = 0.05;

/// Makes the next version of a file.
type Change = fn(&mut Project, usize);

/// CPU seconds of one change in each round, and the times of all.
#[derive(Default)]
struct Costs {
    cpu: Vec<f64>,
    time: Samples,
}

#[allow(clippy::cast_precision_loss, reason = "a small number")]
fn mean(total: f64, times: usize) -> f64 {
    total / times as f64
}

/// `about` is the name, the project and the goal for an edit that keeps imports, exports and classes.
pub(crate) async fn measure_edits(
    environment: &Environment,
    role: &Role,
    modules: &Modules,
    about: (&str, Project, f64),
    table: &mut Table,
) -> Result<()> {
    let (name, mut project, goal) = about;
    progress(&format!("previews: edits of {name}"));
    let folder = modules.project(&project)?;
    let mut server = DevServer::start(modules, folder.path()).await?;
    let loaded = server.load().await?;
    let page = role.page(&project).await?;
    table.note(format!("previews: {name}: the dev server answered {loaded} modules; the page of Backlot names {}", page.modules.len()));
    let mut known = page.modules;
    for (what, change, goal) in
        [("", Project::edit as Change, Goal::Bound(goal)), (" with a new export and class", Project::extend, Goal::Aim(goal))]
    {
        let (mut baseline, mut ours, mut database) = (Costs::default(), Costs::default(), Vec::new());
        for round in 0..ROUNDS {
            let cpu = server.cpu()?;
            for edit in 0..EDITS {
                change(&mut project, round * 2 * EDITS + edit);
                server.rest().await;
                baseline.time.time(server.edit(folder.path(), &project)).await?;
            }
            baseline.cpu.push(mean(server.cpu()? - cpu, EDITS));
            let (cpu, postgres) = (role.cpu()?, environment.postgres_cpu().unwrap_or_default());
            for edit in 0..EDITS {
                change(&mut project, (round * 2 + 1) * EDITS + edit);
                known = ours.time.time(edit_of(role, &project, &known)).await?;
            }
            ours.cpu.push(mean(role.cpu()? - cpu, EDITS));
            database.push(mean(environment.postgres_cpu().unwrap_or_default().saturating_sub(postgres).as_secs_f64(), EDITS));
        }
        table.row(format!("edit of {name}{what}, CPU"), Unit::Time, (median(baseline.cpu), median(ours.cpu)), goal);
        table.row(format!("edit of {name}{what}, time, p50"), Unit::Time, (baseline.time.p50(), ours.time.p50()), Goal::Shown);
        table.note(format!("previews: edit of {name}{what}: PostgreSQL needed {:.1} ms of CPU more", median(database) * 1e3));
    }
    Ok(())
}

/// Builds the page and reads the modules that an open page does not have yet. Returns the modules of the page.
async fn edit_of(role: &Role, project: &Project, known: &[String]) -> Result<Vec<String>> {
    let page = role.page(project).await?;
    let new: Vec<_> = page.modules.iter().filter(|name| !known.contains(name)).collect();
    anyhow::ensure!(!new.is_empty(), "the edit has changed no module");
    for name in new {
        role.module(name).await?;
    }
    Ok(page.modules)
}

/// A revision with other contents of all sources; its packages are bundled. Compared with a dev server that starts with its packages bundled.
pub(crate) async fn measure_cold(role: &Role, modules: &Modules, mut shop: Project, table: &mut Table) -> Result<()> {
    progress("previews: cold revisions");
    let (mut baseline, mut ours) = (Costs::default(), Costs::default());
    let folder = modules.project(&shop)?;
    DevServer::start(modules, folder.path()).await?.load().await?;
    role.page(&shop).await?;
    for round in 0..ROUNDS {
        let load = async {
            let mut server = DevServer::start(modules, folder.path()).await?;
            server.load().await?;
            server.cpu()
        };
        baseline.cpu.push(baseline.time.time(load).await?);
        let cpu = role.cpu()?;
        for number in 0..COLD {
            shop.change_all(round * COLD + number)?;
            ours.time.time(role.page(&shop)).await?;
        }
        ours.cpu.push(mean(role.cpu()? - cpu, COLD));
    }
    table.row("cold revision of the shop, CPU", Unit::Time, (median(baseline.cpu), median(ours.cpu)), Goal::Bound(COLD_CPU));
    table.row("cold revision of the shop, time, p50", Unit::Time, (baseline.time.p50(), ours.time.p50()), Goal::Shown);
    Ok(())
}

/// Checks of all files: the first one, and those after an edit, which keeps the imports or adds one. Compared with `vite build`, which is what
/// finds a wrong import without checks.
pub(crate) async fn measure_checks(role: &Role, modules: &Modules, mut project: Project, table: &mut Table) -> Result<()> {
    progress("previews: checks");
    let folder = modules.project(&project)?;
    let (mut baseline, mut first, mut ours, mut imported) = (Costs::default(), Costs::default(), Costs::default(), Costs::default());
    for round in 0..ROUNDS {
        let build = modules.build(folder.path()).await?;
        baseline.cpu.push(build.cpu);
        baseline.time.push(build.time);
        project.change_all(round)?;
        let cpu = role.cpu()?;
        first.time.time(role.check(&project)).await?;
        first.cpu.push(role.cpu()? - cpu);
        for (change, costs) in [(Project::edit as Change, &mut ours), (Project::import, &mut imported)] {
            let cpu = role.cpu()?;
            for number in 0..CHECKS {
                change(&mut project, round * CHECKS + number);
                costs.time.time(role.check(&project)).await?;
            }
            costs.cpu.push(mean(role.cpu()? - cpu, CHECKS));
        }
    }
    let build = median(baseline.cpu);
    table.row("check of 2000 files after an edit, CPU", Unit::Time, (build, median(ours.cpu)), Goal::Bound(CHECK_CPU));
    let added = (build, median(imported.cpu));
    table.row("check of 2000 files after an edit that adds an import, CPU", Unit::Time, added, Goal::Aim(CHECK_CPU));
    table.row("check of 2000 new files, CPU", Unit::Time, (build, median(first.cpu)), Goal::Aim(CHECK_CPU));
    table.row("check of 2000 files after an edit, time, p50", Unit::Time, (baseline.time.p50(), ours.time.p50()), Goal::Shown);
    Ok(())
}
