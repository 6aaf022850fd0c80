//! The Vue starter and the shop on a machine without a registry, with the packages that another one has exported. `BACKLOT_WARM_ALL` lets the
//! other one keep every set of `vendor warm`, which takes several minutes. `make fuzz` sets it; `services/npm/tests/it/npm.rs` resolves every set.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result, ensure};
use chassis::testing;
use test_support::{Cluster, Person, projects};

use crate::vendor::{get, open, registry, succeeds};

const VUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../services/project-storage/templates/vue/files");
const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/projects/shop");
/// The set of the list that is kept without `BACKLOT_WARM_ALL`.
const SET: [&str; 2] = ["--set", "starter vue"];

/// Opens the project of a folder. Its page and all modules that it names must answer, and no error may be found.
async fn runs(person: &Person, folder: &str, package: &str) -> Result<()> {
    let changes = projects::changes(Path::new(folder))?;
    let (project, preview) = open(person, package, changes.as_array().context("changes")?).await?;
    let page = get(person, &preview, "").await?;
    let (status, html) = (page.status(), page.text().await?);
    ensure!(status == 200, "{folder}: {status} {html}");
    ensure!(html.contains(&format!("\"{package}\":\"/@m/")), "{package} is not in {html}");
    let modules = modules(&html);
    ensure!(modules.len() > 2, "{html}");
    for name in modules {
        let module = get(person, &preview, &name).await?;
        ensure!(module.status() == 200, "{folder}: {name} {}", module.status());
    }
    let found = person.get(&format!("/api/projects/{project}/findings")).await?;
    let errors = found["findings"].as_array().into_iter().flatten().filter(|finding| finding["isWarning"] != true).count();
    ensure!(errors == 0, "{folder}: {found}");
    Ok(())
}

/// The addresses of modules in a page.
fn modules(html: &str) -> BTreeSet<String> {
    html.split("/@m/").skip(1).filter_map(|rest| rest.split('"').next()).map(|name| format!("@m/{name}")).collect()
}

/// The packages of both projects are kept, exported and imported.
async fn move_packages(with: &Cluster, without: &Cluster) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("packages.tar").to_string_lossy().into_owned();
    let sets: &[&str] = if std::env::var_os("BACKLOT_WARM_ALL").is_some() { &[] } else { &SET };
    let warm = succeeds(with.data_dir(), &[&["warm"][..], sets].concat()).await?;
    ensure!(warm.contains("vue@3.5.") && warm.contains("bundle of vue"), "{warm}");
    succeeds(with.data_dir(), &["add", "--project", SHOP]).await?;
    let list = succeeds(with.data_dir(), &["list"]).await?;
    ensure!(list.contains("react-router-dom@7."), "{list}");
    succeeds(with.data_dir(), &["export", &file]).await?;
    succeeds(without.data_dir(), &["import", &file]).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vue_starter_and_the_shop_run_without_a_registry() -> Result<()> {
    let (compiler, registry) = (testing::compiler().to_string_lossy().into_owned(), registry().await?);
    let cluster = async |registry: &str| {
        let settings = [
            ("BACKLOT_COMPILER", compiler.as_str()),
            ("BACKLOT_NPM_REGISTRY", registry),
            // Other tests run beside this one.
            ("BACKLOT_COMPILE_WORKER_TIMEOUT", "300s"),
            ("BACKLOT_COMPILE_BUILD_TIMEOUT", "600s"),
        ];
        Cluster::with(&settings).await
    };
    let (with, without) = (cluster(&registry).await?, cluster("none").await?);
    move_packages(&with, &without).await?;
    with.stop().await?;
    let person = without.person().await?;
    runs(&person, VUE, "vue").await?;
    runs(&person, SHOP, "react-router-dom").await?;
    without.stop().await
}
