//! Projects of each framework in Chromium, with packages from the registry that npm is set up for: the templates of create-vite, and the
//! projects of the folder `projects`. The script clicks through each of them. Frameworks that are not compiled are refused by name.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use test_support::{Cluster, Person, projects, script::Gates};

use crate::browser::{command, run_command};

/// A cluster that compiles, with the packages of the registry that npm is set up for.
pub(crate) async fn cluster() -> Result<Cluster> {
    let (compiler, registry) = (chassis::testing::compiler().to_string_lossy(), projects::registry()?);
    let settings = [
        ("BACKLOT_COMPILER", &*compiler),
        ("BACKLOT_NPM_REGISTRY", &registry),
        // Other tests run beside this one.
        ("BACKLOT_COMPILE_WORKER_TIMEOUT", "300s"),
        ("BACKLOT_COMPILE_BUILD_TIMEOUT", "600s"),
    ];
    Cluster::with(&settings).await
}

/// Saves a project. Returns the URL of its preview.
async fn open(person: &Person, name: &str, changes: Value) -> Result<Value> {
    let saved = person.post("/api/projects/save", json!({ "draftId": name, "changes": changes })).await.with_context(|| name.to_owned())?;
    let project = saved["project"]["id"].as_str().context("no project")?;
    Ok(person.post(&format!("/api/projects/{project}/previews"), json!({})).await?["url"].take())
}

/// The folders of a folder, by name.
fn folders(of: &Path) -> Result<Vec<(String, std::path::PathBuf)>> {
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
    for (name, path) in folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("projects"))? {
        previews.insert(name.clone(), open(&person, &name, projects::changes(&path)?).await?);
    }
    let mut command = command("frameworks.mjs");
    command.env("BACKLOT_PREVIEWS", serde_json::to_string(&previews)?);
    run_command(command, &Gates::default()).await?;
    cluster.stop().await
}
