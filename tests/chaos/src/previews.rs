//! Compiles the pages that were open in a round again, at each replica of compile and without its cache, and compares them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use backlot::role::Role;
use reqwest::Url;
use test_support::canary::{Stopwatch, within};
use tokio::time::{Duration, sleep};

use super::{
    check::{
        Violation,
        previews::{self, Compiled},
    },
    collect::ANSWERED_WITHIN,
    record::CompiledPage,
};
use crate::deployment::Deployment;

/// How many pages of a round are compiled again.
const PAGES: usize = 4;
const PAUSE: Duration = Duration::from_millis(100);
/// The tables of compile that are a cache.
const CACHE: &str = "TRUNCATE pages, facts, outputs, contents, resolutions, tarballs, bundles";

/// Checks that a revision has the same page at all replicas.
///
/// # Errors
/// A part of the cluster does not answer.
pub async fn check(deployment: &Deployment, shown: Vec<CompiledPage>) -> Result<Vec<Violation>> {
    let (pool, link) = (deployment.pool("compile").await?, deployment.link("gateway -> compile"));
    let shown: Vec<_> = shown.into_iter().rev().take(PAGES).collect();
    let mut compiled: Vec<Vec<(String, Compiled)>> =
        shown.iter().map(|page| vec![("the round".to_owned(), Compiled { html: page.html.clone(), modules: BTreeMap::new() })]).collect();
    for node in deployment.of(Role::Compile) {
        sqlx::query(CACHE).execute(&pool).await?;
        link.prefer(Some(node.address));
        link.cut();
        for (page, compiled) in shown.iter().zip(&mut compiled) {
            compiled.push((node.name.clone(), read(&page.url).await.with_context(|| format!("the page of {}", page.project))?));
        }
    }
    link.prefer(None);
    Ok(shown.iter().zip(&compiled).flat_map(|(page, compiled)| previews::check(&page.project, compiled)).collect())
}

async fn read(url: &Url) -> Result<Compiled> {
    let html = get(url).await?;
    let mut compiled = Compiled { modules: BTreeMap::new(), html };
    for name in modules(&compiled.html) {
        let code = get(&url.join(&name)?).await?;
        compiled.modules.insert(name, code);
    }
    Ok(compiled)
}

/// Asks until there is an answer: a connection was cut.
async fn get(url: &Url) -> Result<String> {
    let (host, port) = (url.host_str().context("a host")?, url.port().context("a port")?);
    let clock = Stopwatch::start();
    loop {
        let request = reqwest::Client::new().get(format!("http://127.0.0.1:{port}{}", url.path())).header("host", format!("{host}:{port}"));
        if let Ok(Ok(response)) = within(ANSWERED_WITHIN, request.send()).await
            && response.status().is_success()
        {
            return Ok(response.text().await?);
        }
        ensure!(clock.elapsed() < ANSWERED_WITHIN, "{url} has no answer");
        sleep(PAUSE).await;
    }
}

/// The addresses of modules in a page, sorted.
#[must_use]
pub fn modules(html: &str) -> BTreeSet<String> {
    let addresses = html.match_indices("@m/").map(|(at, _)| {
        let rest = &html[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "@/._-".contains(c))).unwrap_or(rest.len());
        rest[..end].to_owned()
    });
    addresses.filter(|address| address.contains('.')).collect()
}
