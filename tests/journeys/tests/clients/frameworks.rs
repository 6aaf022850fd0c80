//! Projects of each framework in Chromium, with packages from the registry that npm is set up for: the templates of create-vite, and the
//! projects of the folder `projects`. The script clicks through the preview of each of them, and through published sites. Frameworks that are
//! not compiled are refused by name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use test_support::{Cluster, Person, projects, script::Gates};

use crate::browser::{command, run_command};

/// Projects whose sites are published: React with zod, Svelte with a router, and React with Tailwind and a router.
const PUBLISHED: [&str; 3] = ["form", "notes", "shop"];
/// A project of Vue whose site is in a folder, and the folder. Its router reads it from Vite's `BASE_URL`.
const IN_A_FOLDER: (&str, &str) = ("reading", "/library/");

/// A cluster that compiles, with the packages of the registry that npm is set up for.
pub(crate) async fn cluster() -> Result<Cluster> {
    cluster_with(&[]).await
}

/// Like [`cluster`], with additional settings.
async fn cluster_with(more: &[(&str, &str)]) -> Result<Cluster> {
    let (compiler, registry) = (chassis::testing::compiler().to_string_lossy(), projects::registry()?);
    let settings = [
        ("BACKLOT_COMPILER", &*compiler),
        ("BACKLOT_NPM_REGISTRY", &registry),
        // One person opens all projects.
        ("BACKLOT_SHARE_PERSON", "100"),
        // Other tests run beside this one.
        ("BACKLOT_COMPILE_WORKER_TIMEOUT", "300s"),
        ("BACKLOT_COMPILE_BUILD_TIMEOUT", "600s"),
    ];
    Cluster::with(&[&settings[..], more].concat()).await
}

/// Saves a project. Returns its id.
async fn save(person: &Person, name: &str, changes: Value) -> Result<String> {
    let saved = person.post("/api/projects/save", json!({ "draftId": name, "changes": changes })).await.with_context(|| name.to_owned())?;
    Ok(saved["project"]["id"].as_str().context("no project")?.to_owned())
}

/// Saves a project. Returns the URL of its preview.
async fn open(person: &Person, name: &str, changes: Value) -> Result<Value> {
    let project = save(person, name, changes).await?;
    Ok(person.post(&format!("/api/projects/{project}/previews"), json!({})).await?["url"].take())
}

/// Saves a project and publishes it in a folder. Returns the URL of the site.
async fn publish(person: &Person, slug: &str, folder: &str, changes: Value) -> Result<String> {
    let project = save(person, slug, changes).await?;
    let settings = json!({ "slug": slug, "basePath": folder });
    let published = person.post(&format!("/api/projects/{project}/publish"), settings).await.with_context(|| slug.to_owned())?;
    let url = published["site"]["url"].as_str().context("no URL")?;
    Ok(format!("{}{folder}", url.trim_end_matches('/')))
}

fn own_projects() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("projects")
}

/// The folders of a folder, by name.
fn folders(of: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(of).with_context(|| of.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.push((path.file_name().and_then(|name| name.to_str()).context("a name")?.to_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_of_each_framework_run_in_the_browser() -> Result<()> {
    let cluster = cluster().await?;
    let person = cluster.person().await?;
    let mut previews = Map::new();
    let unpacked = tempfile::tempdir()?;
    for (name, path) in folders(&projects::unpack_templates("create-vite", unpacked.path())?)? {
        if name.starts_with("template-") {
            previews.insert(name.clone(), open(&person, &name, projects::changes(&path)?).await?);
        }
    }
    ensure!(previews.len() == 16, "{:?}", previews.keys());
    for (name, path) in folders(&own_projects())? {
        previews.insert(name.clone(), open(&person, &name, projects::changes(&path)?).await?);
    }
    let mut command = command("frameworks.mjs");
    command.env("BACKLOT_PREVIEWS", serde_json::to_string(&previews)?);
    run_command(command, &Gates::default()).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn published_sites_run_in_the_browser() -> Result<()> {
    let address = chassis::testing::listener().await.local_addr()?;
    let sites = format!("http://{{site}}.sites.localhost:{}", address.port());
    let cluster = cluster_with(&[("BACKLOT_PREVIEW_LISTEN", &address.to_string()), ("BACKLOT_SITES_URL", &sites)]).await?;
    let person = cluster.person().await?;
    let mut sites = Map::new();
    for (name, path) in folders(&own_projects())? {
        if PUBLISHED.contains(&&*name) {
            let url = publish(&person, &format!("the-{name}"), "/", projects::changes(&path)?).await?;
            sites.insert(name, url.into());
        }
    }
    let (name, folder) = IN_A_FOLDER;
    let url = publish(&person, &format!("the-{name}-of-a-folder"), folder, projects::changes(&own_projects().join(name))?).await?;
    sites.insert(format!("{name} in a folder"), url.into());
    ensure!(sites.len() == PUBLISHED.len() + 1, "{sites:?}");
    let mut command = command("frameworks.mjs");
    command.env("BACKLOT_SITES", serde_json::to_string(&sites)?);
    run_command(command, &Gates::default()).await?;
    cluster.stop().await
}
