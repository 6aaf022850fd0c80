//! The first page of a project: its packages are resolved, unpacked and bundled. Compared with a dev server without a cache.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use sqlx::{Executor as _, PgPool};

use super::{
    DATABASE, NO_REGISTRY,
    project::Project,
    role::Role,
    vite::{DevServer, Modules},
};
use crate::{
    environment::{Environment, progress},
    proc,
    sample::median,
    table::{Goal, Table, Unit},
};

const ROUNDS: usize = 5;
/// The goals: CPU seconds, and bytes.
const CPU: f64 = 1.5;
const MEMORY: f64 = 300.0 * 1024.0 * 1024.0;
/// Everything that is kept, except the packages themselves.
const FORGET: &str = "truncate contents, facts, outputs, pages, resolutions, bundles";

/// CPU seconds, seconds and peak bytes of each round.
#[derive(Default)]
struct Costs {
    cpu: Vec<f64>,
    time: Vec<f64>,
    peak: Vec<f64>,
}

pub(crate) async fn measure(environment: &Environment, modules: &Modules, shop: &Project, table: &mut Table) -> Result<()> {
    let database = PgPool::connect(&environment.url(&format!("{DATABASE}_compile"))).await?;
    let (mut baseline, mut ours) = (Costs::default(), Costs::default());
    for round in 0..ROUNDS {
        progress(&format!("previews: first page, round {round}"));
        let folder = modules.project(shop)?;
        let start = Instant::now();
        let mut server = DevServer::start(modules, folder.path()).await?;
        server.load().await?;
        baseline.time.push(start.elapsed().as_secs_f64());
        baseline.cpu.push(server.cpu()?);
        baseline.peak.push(server.peak().unwrap_or(f64::NAN));
        drop(server);
        database.execute(FORGET).await?;
        let role = Role::start(environment, DATABASE, NO_REGISTRY).await?;
        let (cpu, start, peak) = (role.cpu()?, Instant::now(), Peak::watch(role.process.id()));
        role.page(shop).await?;
        ours.time.push(start.elapsed().as_secs_f64());
        ours.cpu.push(role.cpu()? - cpu);
        ours.peak.push(peak.stop()?);
    }
    let both = |of: fn(&Costs) -> &Vec<f64>| (median(of(&baseline).clone()), median(of(&ours).clone()));
    table.row("first page of the shop, CPU", Unit::Time, both(|costs| &costs.cpu), Goal::Bound(CPU));
    table.row("first page of the shop, time", Unit::Time, both(|costs| &costs.time), Goal::Shown);
    table.row("first page of the shop, peak of a process", Unit::Bytes, both(|costs| &costs.peak), Goal::Bound(MEMORY));
    Ok(())
}

/// Watches the memory of a process and of those that it starts.
struct Peak {
    is_done: Arc<AtomicBool>,
    thread: thread::JoinHandle<f64>,
}

impl Peak {
    /// A process that runs shorter than this may be missed; one that bundles packages runs much longer.
    const INTERVAL: Duration = Duration::from_millis(5);

    fn watch(pid: u32) -> Self {
        let is_done = Arc::new(AtomicBool::new(false));
        let stop = is_done.clone();
        let thread = thread::spawn(move || {
            let mut peak = 0.0_f64;
            while !stop.load(Ordering::Relaxed) {
                for process in proc::children_of(pid).into_iter().chain([pid]) {
                    peak = peak.max(proc::peak_of(process).unwrap_or_default());
                }
                thread::sleep(Self::INTERVAL);
            }
            peak
        });
        Self { is_done, thread }
    }

    /// The bytes of the largest process.
    fn stop(self) -> Result<f64> {
        self.is_done.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the memory was not watched")
    }
}
