//! Unmodified chat clients: three major versions of the AI SDK, and the agent of AG-UI. Each journey is a script in
//! `tests/journeys/clients`, which controls when the model server continues.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::json;
use test_support::{
    canary::within,
    model_server::{Answer, At, Request, Stop},
    script::{self, Gates, has_results, last_line},
};
use tokio::process::Command;

use crate::scripted::{self, held, refused};

const LIMIT: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn the_ai_sdk_5() -> Result<()> {
    journey(&["chat.mjs", "ai5"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ai_sdk_6() -> Result<()> {
    journey(&["chat.mjs", "ai6"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ai_sdk_7() -> Result<()> {
    journey(&["chat.mjs", "ai7"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ag_ui() -> Result<()> {
    journey(&["agui.mjs"]).await
}

async fn journey(arguments: &[&str]) -> Result<()> {
    let gates = Gates::default();
    let (_models, cluster) = scripted::start(answer, &gates, &[("BACKLOT_MAX_STREAMS_PER_USER", "3")]).await?;
    within(LIMIT, run_script(arguments, &cluster.url, &gates)).await.context("the client did not finish")??;
    cluster.stop().await
}

/// The folder in which `make test` installs the clients, or else the folder of the scripts.
fn modules() -> PathBuf {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
    let named = std::env::var_os("BACKLOT_CLIENT_MODULES");
    named.map_or_else(folder, PathBuf::from)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

async fn run_script(arguments: &[&str], url: &str, gates: &Gates) -> Result<()> {
    // The newest client needs a recent Node.js, which is installed with the clients.
    let mut command = Command::new(modules().join("node_modules/node/bin/node"));
    command.arg(folder().join(arguments[0])).args(&arguments[1..]);
    command.env("BACKLOT_TEST_URL", url).env("BACKLOT_CLIENT_MODULES", modules());
    script::run(command, gates).await
}

/// The answer of the model. The last line of the prompt selects it. After a tool result the answer is "Done.".
fn answer(request: &Request, gates: &Gates) -> Answer {
    if has_results(request) {
        let done = Answer::default().text("Done.");
        return match request.prompt().lines().next_back().and_then(|words| words.trim().split_once(' ')) {
            Some(("hold-later", gate)) => done.fragments(2).hold_at(At::Event(4), &gates.of(gate)),
            _ => done,
        };
    }
    let words = last_line(request);
    let path_and = |content: &str| json!({ "path": "index.html", "content": content });
    match words.split_once(' ') {
        Some(("hold", gate)) => held(gate, gates),
        Some(("hold-tool", gate)) => {
            let answer = Answer::default().tool("write_file", path_and(&"<p>many words</p>".repeat(20))).stop(Stop::ToolUse);
            answer.hold_at(At::Event(12), &gates.of(gate))
        }
        Some(("page" | "hold-later" | "a", _)) => {
            let answer = Answer::default().reasoning("A page will do.").text("I write a page.");
            answer.tool("write_file", path_and(&format!("<h1>{words}</h1>"))).stop(Stop::ToolUse)
        }
        _ => refused(),
    }
}
