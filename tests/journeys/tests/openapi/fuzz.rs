//! Runs schemathesis against a cluster. It generates requests from the OpenAPI document and a seed. No answer may be a 5xx or have an
//! undocumented status, reason, content type, header or schema. `make test` sends a few hundred requests, and `make fuzz` 20,000.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use test_support::{Cluster, canary::within};
use tokio::process::Command;

use crate::tools;

/// The number of cases per operation.
const CASES: u32 = 12;
const OPERATIONS: u32 = 34;
/// The limit per case: ten times the duration on a busy machine with two cores.
const CASE_TIME: Duration = Duration::from_millis(1_500);
const START_TIME: Duration = Duration::from_secs(120);
/// The checks of the answers, with `documented_reason` of the hooks.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,documented_reason";

fn setting(name: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_a_server_error_or_undocumented() -> Result<()> {
    let requested = setting("BACKLOT_FUZZ_CASES").map(|cases| cases.parse::<u32>()).transpose().context("BACKLOT_FUZZ_CASES")?;
    let seed = setting("BACKLOT_FUZZ_SEED").unwrap_or_else(|| "1".to_owned());
    let cluster = Cluster::with(&[
        ("BACKLOT_ACCOUNT_PROJECTS", "1000000"),
        ("BACKLOT_MAX_REQUESTS", "100000"),
        ("BACKLOT_MAX_STREAMS_PER_USER", "100000"),
        ("BACKLOT_STREAM_OPENINGS", "100000"),
    ])
    .await?;
    let at = tempfile::tempdir()?;
    let document = reqwest::get(format!("{}/openapi.json", cluster.url)).await?.text().await?;
    std::fs::write(at.path().join("openapi.json"), document)?;
    // The phase `coverage` generates about fifty cases per operation from the schemas.
    let (phases, cases) = match requested {
        // Some operations have fewer distinct requests, so more are generated for the others.
        Some(cases) => ("coverage,fuzzing", (cases + cases / 4).div_ceil(OPERATIONS)),
        None => ("fuzzing", CASES),
    };
    let report =
        run(&cluster.url, at.path(), &[("--phases", phases), ("--max-examples", &cases.to_string()), ("--seed", &seed)], cases).await?;
    #[allow(clippy::print_stdout, reason = "the report of a manual run")]
    if requested.is_some() {
        eprintln!("{report}");
    }
    let count = report.split(" generated, ").next().and_then(|text| text.split_whitespace().next_back()?.parse::<u32>().ok());
    ensure!(count >= Some(requested.unwrap_or(OPERATIONS * CASES / 2)), "{count:?} cases: {report}");
    cluster.stop().await
}

async fn run(url: &str, at: &Path, options: &[(&str, &str)], cases: u32) -> Result<String> {
    let program = tools::folder().join("venv/bin/schemathesis");
    let mut command = Command::new(&program);
    // One worker: `ast` of Python 3.11, which hypothesis uses, counts its recursion for all threads of a process together, and fails at times.
    command.args(["run", "openapi.json", "--url", url, "--checks", CHECKS, "--workers", "1", "--no-color", "--continue-on-failure"]);
    command.args(["--request-timeout", "60", "--generation-database", "none", "--suppress-health-check", "all", "--no-shrink"]);
    command.args(options.iter().flat_map(|(name, value)| [*name, *value]));
    command.env("SCHEMATHESIS_HOOKS", tools::sources().join("hooks.py")).env("BACKLOT_FUZZ_URL", url).env("PYTHONDONTWRITEBYTECODE", "1");
    command.current_dir(at).stdin(Stdio::null()).kill_on_drop(true);
    let time = START_TIME + CASE_TIME * OPERATIONS * (cases + 60);
    let done = within(time, command.output()).await.context("schemathesis did not exit in time")?;
    let done = done.with_context(|| format!("{} is missing: `make test` installs it", program.display()))?;
    let report = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "{report}");
    Ok(report)
}
