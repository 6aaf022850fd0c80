//! The scripts, with stubs of OSV, cargo-deny and docker: which PostgreSQL `make run` announces, the reported vulnerabilities of crates, and
//! the digests of images.

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

/// Starts a stub of OSV with these vulnerabilities by crate. Returns its URL.
async fn osv(vulnerabilities: HashMap<&'static str, &'static str>) -> Result<String> {
    let vulnerabilities = Arc::new(vulnerabilities);
    let answer = post(move |Json(request): Json<Value>| {
        let vulnerabilities = Arc::clone(&vulnerabilities);
        async move {
            let of = |query: &Value| {
                let known = query["package"]["name"].as_str().and_then(|name| vulnerabilities.get(name));
                assert_eq!(query["package"]["ecosystem"], "crates.io");
                assert!(query["version"].is_string());
                known.map_or_else(|| json!({}), |id| json!({ "vulns": [{ "id": id, "modified": "2026-01-01T00:00:00Z" }] }))
            };
            let results: Vec<_> = request["queries"].as_array().map(|all| all.iter().map(of).collect()).unwrap_or_default();
            Json(json!({ "results": results }))
        }
    });
    let listener = chassis::testing::listener().await;
    let url = format!("http://{}", listener.local_addr()?);
    chassis::task::spawn(axum::serve(listener, Router::new().route("/v1/querybatch", answer)).into_future());
    Ok(url)
}

/// Creates a folder of shell scripts, for the beginning of the PATH.
pub(crate) fn programs(scripts: &[(&str, &str)]) -> Result<tempfile::TempDir> {
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
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output, stderr))
}

/// Stubs of cargo-deny.
const NO_ADVISORY: &str = "exit 0";
const UNREACHABLE: &str = r#"[ "$2" = fetch ] && exit 1; exit 0"#;
const ADVISORY: &str = r#"[ "$2" = check ] && exit 4; exit 0"#;

#[tokio::test]
async fn an_advisory_fails_and_an_unreachable_database_is_reported() -> Result<()> {
    let script = root().join("deploy/scripts/advisories.sh");
    let (empty, full) = (osv(HashMap::new()).await?, osv(HashMap::from([("ring", "RUSTSEC-2099-0001")])).await?);
    // The listener is closed, so connections are refused.
    let refused = format!("http://{}", chassis::testing::listener().await.local_addr()?);
    for (deny, osv, passes, messages) in [
        (NO_ADVISORY, &empty, true, vec!["by RustSec: ok", "by OSV: ok"]),
        (NO_ADVISORY, &full, false, vec!["by RustSec: ok", "ring 0.", "RUSTSEC-2099-0001"]),
        (NO_ADVISORY, &refused, true, vec!["by RustSec: ok", "by OSV: not run"]),
        (UNREACHABLE, &empty, true, vec!["by RustSec: not run", "by OSV: ok"]),
        (UNREACHABLE, &refused, true, vec!["by RustSec: not run", "by OSV: not run"]),
        (ADVISORY, &empty, false, vec![]),
    ] {
        let stubs = programs(&[("cargo-deny", deny)])?;
        let (output, stderr) = run(&script, stubs.path(), osv).await?;
        assert_eq!(output.status.success(), passes, "{deny}, {osv}: {stderr}");
        for message in messages {
            assert!(stderr.contains(message), "{deny}, {osv}: no {message:?} in {stderr}");
        }
    }
    Ok(())
}

const DIGEST: &str = "sha256:0d1c7e1f92ab4c5e8f60b3a2d4c5e6f70d1c7e1f92ab4c5e8f60b3a2d4c5e6f7";

/// Copies the files that refer to images, and the script, into a temporary folder.
fn copy_files() -> Result<tempfile::TempDir> {
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
async fn images_are_pinned_only_to_valid_digests() -> Result<()> {
    let folder = copy_files()?;
    let script = folder.path().join("deploy/scripts/pin.sh");
    let before = images(folder.path())?;
    for no_answer in ["exit 1", "echo", "echo sha256:short", "echo 'ERROR: no such host'", &format!("echo {DIGEST}0")] {
        let stubs = programs(&[("docker", no_answer)])?;
        let (output, stderr) = run(&script, stubs.path(), "").await?;
        assert!(!output.status.success() && stderr.contains("not pinned"), "{no_answer}: {stderr}");
        assert_eq!(images(folder.path())?, before, "{no_answer}");
    }

    let stubs = programs(&[("docker", &format!("echo {DIGEST}"))])?;
    for _ in 0..2 {
        let (output, stderr) = run(&script, stubs.path(), "").await?;
        assert!(output.status.success(), "{stderr}");
    }
    let after = images(folder.path())?;
    let named = |line: &&str| line.trim().starts_with("image:") || line.starts_with("FROM ");
    let foreign: Vec<_> = after.lines().filter(named).filter(|line| !line.contains("backlot:local")).collect();
    assert!(foreign.len() >= 8 && foreign.iter().all(|line| line.matches(DIGEST).count() == 1), "{foreign:#?}");
    assert_eq!(after.replace(&format!("@{DIGEST}"), ""), before, "nothing else changed");
    Ok(())
}

#[test]
fn make_run_announces_the_postgresql_that_will_be_used() {
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
    // The first version on the PATH is too old, and the second one is not the newest.
    for (created_by, expected) in [(None, Some(99)), (Some("98"), Some(98)), (Some("99"), Some(99)), (Some("97"), None), (Some("13"), None)]
    {
        if let Some(major) = created_by {
            fs::write(data.join("postgres/data/PG_VERSION"), format!("{major}\n")).expect("version");
        }
        let path = [13, 98, 99].map(|major| path_of(major).display().to_string()).join(":");
        let script = "export PATH=\"$1:$PATH\"; source deploy/scripts/common.sh; used_postgres \"$2\" || true";
        let mut bash = std::process::Command::new("bash");
        let output = bash.args(["-c", script, "bash", &path]).arg(&data).current_dir(root()).output().expect("bash");
        let announced = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let expected = expected.map(|major| path_of(major).display().to_string()).unwrap_or_default();
        assert_eq!(announced, expected, "data created by {created_by:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
