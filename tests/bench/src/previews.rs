//! Previews, compared with Vite on the same files and packages: the CPU time of edits, of pages and of checks, the time from a save to the page in
//! Chromium, and published sites. `server.mjs` and `hot.mjs` of the folder `vite` are the sides in Node.js. In reading order:
//!
//! - `project`: the projects.
//! - `role`: the role compile in its own process. `vite`: the dev server and `vite build`.
//! - `packages`, `edits`, `sites`: the measurements over gRPC.
//! - `browser`: the measurements of a whole cluster.

mod browser;
mod edits;
mod packages;
mod project;
mod role;
mod sites;
mod vite;

use anyhow::{Result, ensure};
use test_support::projects;

use self::{project::Project, role::Role, vite::Modules};
use crate::{
    environment::{Environment, progress},
    table::Table,
};

/// The name of the database in which the packages of all projects are kept.
const DATABASE: &str = "previews";
/// All packages are in the database.
const NO_REGISTRY: &str = "none";
/// The packages of the shop, with those that they depend on. The goals of a first page are for so many.
const PACKAGES: usize = 37;
/// Sizes of the generated projects, and the goals for the CPU seconds of an edit.
const SIZES: [(usize, f64); 2] = [(100, 0.010), (2_000, 0.030)];

pub(crate) async fn measure(environment: &Environment, upstream: &str, table: &mut Table) -> Result<()> {
    let modules = Modules::find()?;
    let shop = Project::shop()?;
    progress("previews: packages");
    let versions = Role::start(environment, DATABASE, &projects::registry()?).await?.keep_packages(&shop).await?;
    table.note(format!("previews: package.json asks for {versions} versions of packages, with those of development"));
    let packages = modules.packages_of(shop.content("package.json")?)?;
    ensure!(packages >= PACKAGES, "the shop has {packages} packages, less than {PACKAGES}");
    table.note(format!("previews: the page of the shop is made with {packages} packages"));
    packages::measure(environment, &modules, &shop, table).await?;
    let role = Role::start(environment, DATABASE, NO_REGISTRY).await?;
    edits::measure_cold(&role, &modules, shop.clone(), table).await?;
    edits::measure_edits(environment, &role, &modules, ("the shop", shop.clone(), 0.010), table).await?;
    for (components, goal) in SIZES {
        let name = format!("{components} files");
        edits::measure_edits(environment, &role, &modules, (&name, Project::generated(components)?, goal), table).await?;
    }
    edits::measure_checks(&role, &modules, Project::generated(2_000)?, table).await?;
    sites::measure(&role, &modules, shop.clone(), table).await?;
    browser::measure(environment, upstream, &modules, &shop, table).await
}
