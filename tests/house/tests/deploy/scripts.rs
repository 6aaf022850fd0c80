//! The scripts: which PostgreSQL is announced, and the queries for known vulnerabilities of crates and for digests of images, against
//! databases and registries on this machine.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use axum::{Json, Router, routing::post};
use house::root;
use serde_json::{Value, json};
use tokio::process::Command;

/// Starts a database that knows these vulnerabilities, by crate, and returns its URL.
async fn database(faults: HashMap<&'static str, &'static str>) -> Result<String> {
    let faults = Arc::new(faults);
    let answer = post(move |Json(asked): Json<Value>| {
        let faults = Arc::clone(&faults);
        async move {
            let of = |query: &Value| {
                let known = query["package"]["name"].as_str().and_then(|name| faults.get(name));
                assert_eq!(query["package"]["ecosystem"], "crates.io");
                assert!(query["version"].is_string());
                known.map_or_else(|| json!({}), |id| json!({ "vulns": [{ "id": id, "modified": "2026-01-01T00:00:00Z" }] }))
            };
            let results: Vec<_> = asked["queries"].as_array().map(|all| all.iter().map(of).collect()).unwrap_or_default();
            Json(json!({ "results": results }))
        }
    });
    let listener = chassis::testing::listener().await;
    let url = format!("http://{}", listener.local_addr()?);
    chassis::task::spawn(axum::serve(listener, Router::new().route("/v1/querybatch", answer)).into_future());
    Ok(url)
}

/// A folder of programs that come before those of the machine on the PATH.
fn programs(scripts: &[(&str, &str)]) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    for (name, text) in scripts {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(folder)
}

async fn run(script: &Path, programs: &Path, osv: &str) -> Result<(Output, String)> {
    let mut command = Command::new("bash");
    command
        .args(["-c", r#"PATH="$1:$PATH" exec bash "$2""#, "bash"])
        .args([programs, script])
        .env("OSV_API", osv)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.context("bash runs")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output, told))
}

/// A cargo-deny that finds nothing.
const CONTENT: &str = "exit 0";
const UNREACHABLE: &str = r#"[ "$2" = fetch ] && exit 1; exit 0"#;
const FINDS: &str = r#"[ "$2" = check ] && exit 4; exit 0"#;

#[tokio::test]
async fn a_known_fault_of_a_crate_fails_and_no_database_says_not_run() -> Result<()> {
    let script = root().join("deploy/scripts/advisories.sh");
    let (empty, full) = (database(HashMap::new()).await?, database(HashMap::from([("ring", "RUSTSEC-2099-0001")])).await?);
    // Bound and released: nobody listens there.
    let nobody = format!("http://{}", chassis::testing::listener().await.local_addr()?);
    for (deny, osv, passes, says) in [
        (CONTENT, &empty, true, vec!["by RustSec: ok", "by OSV: ok"]),
        (CONTENT, &full, false, vec!["by RustSec: ok", "ring 0.", "RUSTSEC-2099-0001"]),
        (CONTENT, &nobody, true, vec!["by RustSec: ok", "by OSV: not run"]),
        (UNREACHABLE, &empty, true, vec!["by RustSec: not run", "by OSV: ok"]),
        (UNREACHABLE, &nobody, true, vec!["by RustSec: not run", "by OSV: not run"]),
        (FINDS, &empty, false, vec![]),
    ] {
        let stubs = programs(&[("cargo-deny", deny)])?;
        let (output, told) = run(&script, stubs.path(), osv).await?;
        assert_eq!(output.status.success(), passes, "{deny}, {osv}: {told}");
        for words in says {
            assert!(told.contains(words), "{deny}, {osv}: no {words:?} in {told}");
        }
    }
    Ok(())
}

const DIGEST: &str = "sha256:0d1c7e1f92ab4c5e8f60b3a2d4c5e6f70d1c7e1f92ab4c5e8f60b3a2d4c5e6f7";

/// The files that name images, and the script.
fn copy() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    fs::create_dir_all(folder.path().join("deploy/scripts"))?;
    for file in ["docker-compose.yml", "deploy/Dockerfile", "deploy/scripts/common.sh", "deploy/scripts/pin.sh"] {
        fs::copy(root().join(file), folder.path().join(file))?;
    }
    Ok(folder)
}

fn images(folder: &Path) -> Result<String> {
    Ok(fs::read_to_string(folder.join("docker-compose.yml"))? + &fs::read_to_string(folder.join("deploy/Dockerfile"))?)
}

#[tokio::test]
async fn images_get_the_digest_that_a_registry_says_and_no_other() -> Result<()> {
    let folder = copy()?;
    let script = folder.path().join("deploy/scripts/pin.sh");
    let before = images(folder.path())?;
    for no_answer in ["exit 1", "echo", "echo sha256:short", "echo 'ERROR: no such host'", &format!("echo {DIGEST}0")] {
        let stubs = programs(&[("docker", no_answer)])?;
        let (output, told) = run(&script, stubs.path(), "").await?;
        assert!(!output.status.success() && told.contains("not pinned"), "{no_answer}: {told}");
        assert_eq!(images(folder.path())?, before, "{no_answer}");
    }

    let stubs = programs(&[("docker", &format!("echo {DIGEST}"))])?;
    for _ in 0..2 {
        let (output, told) = run(&script, stubs.path(), "").await?;
        assert!(output.status.success(), "{told}");
    }
    let after = images(folder.path())?;
    let named = |line: &&str| line.trim().starts_with("image:") || line.starts_with("FROM ");
    let foreign: Vec<_> = after.lines().filter(named).filter(|line| !line.contains("backlot:local")).collect();
    assert!(foreign.len() >= 8 && foreign.iter().all(|line| line.matches(DIGEST).count() == 1), "{foreign:#?}");
    assert_eq!(after.replace(&format!("@{DIGEST}"), ""), before, "nothing else changed");
    Ok(())
}

#[test]
fn the_launcher_announces_the_postgresql_that_will_be_used() {
    let folder = tempfile::tempdir().expect("folder");
    let path_of = |major: u32| folder.path().join(format!("pg{major}"));
    for major in [13, 98, 99] {
        fs::create_dir(path_of(major)).expect("folder");
        for (program, text) in [("initdb", String::new()), ("postgres", format!("echo 'postgres (PostgreSQL) {major}.4 (Some 1)'"))] {
            let file = path_of(major).join(program);
            fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("program");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("mode");
        }
    }
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("postgres/data")).expect("folder");
    // The first on the PATH is too old, the next one is not the newest.
    for (made_by, announced) in [(None, Some(99)), (Some("98"), Some(98)), (Some("99"), Some(99)), (Some("97"), None), (Some("13"), None)] {
        if let Some(major) = made_by {
            fs::write(data.join("postgres/data/PG_VERSION"), format!("{major}\n")).expect("version");
        }
        let path = [13, 98, 99].map(|major| path_of(major).display().to_string()).join(":");
        let script = "export PATH=\"$1:$PATH\"; source deploy/scripts/common.sh; used_postgres \"$2\" || true";
        let mut bash = std::process::Command::new("bash");
        let output = bash.args(["-c", script, "bash", &path]).arg(&data).current_dir(root()).output().expect("bash");
        let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let wanted = announced.map(|major| path_of(major).display().to_string()).unwrap_or_default();
        assert_eq!(told, wanted, "data made by {made_by:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
