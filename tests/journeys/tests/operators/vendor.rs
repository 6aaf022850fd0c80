//! Packages for a machine without a network: kept by a cluster with a registry, exported, and imported by one without.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use chassis::testing;
use reqwest::Response;
use serde_json::{Value, json};
use test_support::{Cluster, Person};
use tokio::process::Command;
use url::Url;

const STARTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../services/project-storage/templates/react-tailwind/files");

/// The registry that npm is set up for.
pub(crate) async fn registry() -> Result<String> {
    let output = Command::new("npm").args(["config", "get", "registry"]).output().await.context("npm")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Runs `backlot vendor` for a cluster. Returns its exit status and what it prints.
async fn vendor(data: &Path, arguments: &[&str]) -> Result<(bool, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backlot-under-test"));
    let output = command.arg("vendor").args(arguments).env("BACKLOT_DATA_DIR", data).output().await?;
    Ok((output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()))
}

pub(crate) async fn succeeds(data: &Path, arguments: &[&str]) -> Result<String> {
    let (is_success, text) = vendor(data, arguments).await?;
    ensure!(is_success, "{arguments:?}: {text}");
    Ok(text)
}

/// The changes of a save with the files of the starter.
fn changes(folder: &Path) -> Result<Vec<Value>> {
    let (mut open, mut changes) = (vec![PathBuf::new()], Vec::new());
    while let Some(inside) = open.pop() {
        for entry in fs::read_dir(folder.join(&inside))? {
            let entry = entry?;
            let path = inside.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else {
                let text = fs::read_to_string(folder.join(&path))?;
                changes.push(json!({ "path": path.to_string_lossy(), "write": { "text": text } }));
            }
        }
    }
    Ok(changes)
}

/// Saves the starter with a change, and opens its preview.
pub(crate) async fn open(person: &Person, draft: &str, changes: &[Value]) -> Result<(String, Url)> {
    let saved = person.post("/api/projects/save", json!({ "draftId": draft, "changes": changes })).await?;
    let project = saved["project"]["id"].as_str().context("project")?.to_owned();
    let made = person.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
    Ok((project, Url::parse(made["url"].as_str().context("url")?)?))
}

pub(crate) async fn get(person: &Person, preview: &Url, path: &str) -> Result<Response> {
    let url = preview.join(path)?;
    let port = url.port().context("port")?;
    let request = person.http.get(format!("http://127.0.0.1:{port}{}", url.path()));
    Ok(request.header("host", format!("{}:{port}", url.host_str().unwrap_or_default())).header("accept", "text/html").send().await?)
}

/// The addresses of the import map of a page, by specifier.
fn imports(page: &str) -> Result<serde_json::Map<String, Value>> {
    let map = page.split_once("<script type=\"importmap\">").and_then(|(_, rest)| rest.split_once("</script>"));
    let map: Value = serde_json::from_str(map.with_context(|| page.to_owned())?.0)?;
    map["imports"].as_object().cloned().context("no imports")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_a_registry_shows_previews_with_imported_packages() -> Result<()> {
    let compiler = testing::compiler().to_string_lossy().into_owned();
    let settings = [("BACKLOT_COMPILER", compiler.as_str()), ("BACKLOT_COMPILE_WORKER_TIMEOUT", "300s")];
    let registry = registry().await?;
    let with = Cluster::with(&[settings[0], settings[1], ("BACKLOT_NPM_REGISTRY", &registry)]).await?;
    let without = Cluster::with(&[settings[0], settings[1], ("BACKLOT_NPM_REGISTRY", "none")]).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("packages.tar").to_string_lossy().into_owned();

    let warm = succeeds(with.data_dir(), &["warm", "--set", "starter react-tailwind"]).await?;
    assert!(warm.contains("react-dom@19.") && warm.contains("bundle of react, react-dom/client, react/jsx-"), "{warm}");
    let again = succeeds(with.data_dir(), &["warm", "--set", "starter react-tailwind"]).await?;
    assert!(again.contains("added 0 packages"), "{again}");
    let exported = succeeds(with.data_dir(), &["export", &file]).await?;
    let list = succeeds(with.data_dir(), &["list"]).await?;
    assert!(list.contains("vite@7.2.") && list.contains("without files") && exported.contains("wrote "), "{list}{exported}");

    // Before the import the page says what to do.
    let (person, starter) = (without.person().await?, changes(Path::new(STARTER))?);
    let (project, preview) = open(&person, "before", &starter).await?;
    let refused = get(&person, &preview, "").await?;
    assert_eq!(refused.status(), 422);
    let text = refused.text().await?;
    assert!(text.contains("backlot vendor add"), "{text}");

    refuses_a_cut_file(&without, &file).await?;
    let imported = succeeds(without.data_dir(), &["import", &file]).await?;
    assert!(imported.contains("react@19.") || imported.contains("were kept before"), "{imported}");
    let page = get(&person, &preview, "").await?;
    assert_eq!(page.status(), 200, "{}", page.text().await?);
    let addresses = imports(&page.text().await?)?;
    for specifier in ["react", "react-dom/client"] {
        let address = addresses[specifier].as_str().with_context(|| format!("{specifier} is not in {addresses:?}"))?;
        let module = get(&person, &preview, address.trim_start_matches('/')).await?;
        assert_eq!(module.status(), 200, "{specifier}");
        assert!(module.text().await?.len() > 10, "{specifier}");
    }
    let findings = person.get(&format!("/api/projects/{project}/findings")).await?;
    assert_eq!(findings["findings"].as_array().map_or(0, Vec::len), 0, "{findings}");
    let packages = |list: &str| list.lines().filter(|line| !line.starts_with("bundle of")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(packages(&succeeds(without.data_dir(), &["list"]).await?), packages(&list), "the same packages");

    let offline = succeeds(without.data_dir(), &["warm", "--set", "starter react-tailwind"]).await?;
    assert!(offline.contains("added 0 packages") && offline.contains("bundle of react"), "{offline}");
    let (is_success, text) = vendor(without.data_dir(), &["add", "left-pad@1", "../up"]).await?;
    assert!(!is_success && text.contains("REGISTRY_UNAVAILABLE") && text.contains("INVALID_FIELD"), "{text}");
    assert!(text.contains("set BACKLOT_NPM_REGISTRY of compile"), "{text}");
    with.stop().await?;
    without.stop().await
}

/// A file that ends within a package: what is complete is kept, and the command says that the rest is missing.
async fn refuses_a_cut_file(cluster: &Cluster, file: &str) -> Result<()> {
    let whole = fs::read(file)?;
    let cut = format!("{file}.cut");
    fs::write(&cut, &whole[..whole.len() / 2])?;
    let (is_success, text) = vendor(cluster.data_dir(), &["import", &cut]).await?;
    assert!(!is_success, "{text}");
    let (is_success, text) = vendor(cluster.data_dir(), &["import", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]).await?;
    assert!(!is_success && text.contains("no archive of `backlot vendor export`; name a file"), "{text}");
    assert!(!text.contains("added "), "{text}");
    let (is_success, text) = vendor(cluster.data_dir(), &["import", "none.tar"]).await?;
    assert!(!is_success && text.contains("there is no file none.tar"), "{text}");
    Ok(())
}
