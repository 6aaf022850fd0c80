//! A whole cluster: the page of a preview over HTTP, and the time from a save until Chromium shows it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::json;
use test_support::projects;

use super::{
    project::Project,
    vite::{DevServer, Modules},
};
use crate::{
    environment::{Cluster, Environment, progress},
    sample::Samples,
    table::{Goal, Table, Unit},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vite/hot.mjs");
const ROUNDS: usize = 30;
const PAGES: usize = 300;
const PUBLICATIONS: usize = 5;
/// The goals in seconds.
const RENDERED: f64 = 0.2;
const PAGE: f64 = 0.02;

pub(crate) async fn measure(environment: &Environment, upstream: &str, modules: &Modules, shop: &Project, table: &mut Table) -> Result<()> {
    progress("previews: a cluster");
    let registry = projects::registry()?;
    let settings = [("BACKLOT_NPM_REGISTRY", registry.as_str()), ("BACKLOT_SITES_URL", "http://{site}.sites.localhost")];
    let cluster = environment.cluster("preview_cluster", upstream, &settings).await?;
    let saved = cluster.person.post("/api/projects/save", json!({ "draftId": "shop", "changes": shop.changes() })).await?;
    let project = saved["project"]["id"].as_str().context("no project")?;
    let preview = cluster.person.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
    let folder = modules.project(shop)?;
    let mut server = DevServer::start(modules, folder.path()).await?;
    server.load().await?;
    pages(&server, preview["url"].as_str().context("no URL")?, table).await?;
    progress("previews: from a save to the page in Chromium");
    let options = json!({
        "url": cluster.process.url, "cookie": cluster.person.cookie, "project": project, "path": shop.edited, "text": shop.original,
        "marker": shop.marker, "vite": server.url, "root": folder.path(), "rounds": ROUNDS,
    });
    let times = rendered(modules, &options.to_string()).await?;
    table.row("a save to the page in Chromium, p50", Unit::Time, (times.vite.p50(), times.ours.p50()), Goal::Bound(RENDERED));
    table.row("a save to the page in Chromium, p95", Unit::Time, (times.vite.p95(), times.ours.p95()), Goal::Shown);
    publications(&cluster, modules, shop.clone(), project, table).await?;
    drop::<Cluster>(cluster);
    Ok(())
}

/// Publications over HTTP, each of another revision with other contents of all sources: the build, the upload and the commit. Compared with `vite
/// build`, which leaves its files in a folder.
async fn publications(cluster: &Cluster, modules: &Modules, mut shop: Project, project: &str, table: &mut Table) -> Result<()> {
    progress("previews: publications");
    let path = format!("/api/projects/{project}/publish");
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    for round in 0..PUBLICATIONS {
        shop.change_all(round)?;
        baseline.push(modules.build(modules.project(&shop)?.path()).await?.time);
        cluster.person.post("/api/projects/save", json!({ "projectId": project, "changes": shop.changes() })).await?;
        let published = ours.time(cluster.person.post(&path, json!({ "slug": "bench-shop" }))).await?;
        ensure!(published["site"]["activeDeployment"].is_number(), "there is no deployment: {published}");
    }
    table.row("publication of the shop, time, p50", Unit::Time, (baseline.p50(), ours.p50()), Goal::Shown);
    Ok(())
}

/// The page of the preview again and again, compared with that of the dev server.
async fn pages(server: &DevServer, preview: &str, table: &mut Table) -> Result<()> {
    let url: Url = preview.parse()?;
    let address = SocketAddr::from(([127, 0, 0, 1], url.port().context("a port")?));
    let http = Client::builder().no_proxy().resolve(url.host_str().context("a host")?, address).build()?;
    let get = async |url: &str| {
        let answer = http.get(url).header("accept", "text/html").send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status.is_success() && body.contains("<script"), "{url}: {status} {body}");
        Ok(())
    };
    // The first one is compiled.
    get(preview).await?;
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    for _ in 0..PAGES {
        baseline.time(get(&server.url)).await?;
        ours.time(get(preview)).await?;
    }
    table.row("page of the shop again, p95", Unit::Time, (baseline.p95(), ours.p95()), Goal::Bound(PAGE));
    table.row("page of the shop again, p50", Unit::Time, (baseline.p50(), ours.p50()), Goal::Shown);
    Ok(())
}

/// The output of the script, in ms.
#[derive(Deserialize)]
struct Output {
    ours: Vec<u64>,
    vite: Vec<u64>,
}

struct Times {
    ours: Samples,
    vite: Samples,
}

async fn rendered(modules: &Modules, options: &str) -> Result<Times> {
    let output = modules.node().arg(SCRIPT).env("BACKLOT_BENCH", options).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let output: Output = serde_json::from_str(text.trim())?;
    let samples = |times: Vec<u64>| {
        let mut samples = Samples::default();
        times.into_iter().for_each(|time| samples.push(Duration::from_millis(time)));
        samples
    };
    Ok(Times { ours: samples(output.ours), vite: samples(output.vite) })
}
