//! The clients that people use, unchanged: the AI SDK's chat of three majors, and AG-UI's agent. Each journey is a script in
//! `tests/clients`; the model behind the cluster waits where the script wants it to.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use e2e::{
    Cluster,
    canary::within,
    model_server::{Answer, At, Gate, ModelServer, Refusal, Request, Script, Stop},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
};

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

/// Gates by the names that a script gave them.
#[derive(Clone, Default)]
struct Gates(Arc<Mutex<HashMap<String, Gate>>>);

impl Gates {
    fn of(&self, name: &str) -> Gate {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone()
    }
}

async fn journey(script: &[&str]) -> Result<()> {
    let gates = Gates::default();
    let models = ModelServer::start(Script::with({
        let gates = gates.clone();
        move |_, request| Some(answer(request, &gates))
    }))
    .await;
    let cluster = Cluster::with(&[
        ("ANTHROPIC_API_KEY", "sk-ant-canary"),
        ("ANTHROPIC_BASE_URL", models.url()),
        ("BACKLOT_MODEL", "anthropic/claude-test"),
        ("BACKLOT_MAX_STREAMS_PER_USER", "3"),
    ])
    .await?;
    within(LIMIT, drive(script, &cluster.url, &gates)).await.context("the client did not finish")??;
    cluster.stop().await
}

/// Where `make test` puts the clients, else where npm puts them by hand.
fn modules() -> PathBuf {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a process")]
    let named = std::env::var_os("BACKLOT_CLIENT_MODULES");
    named.map_or_else(folder, PathBuf::from)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

async fn drive(script: &[&str], url: &str, gates: &Gates) -> Result<()> {
    // The newest client needs a newer Node.js than many machines have.
    let mut command = Command::new(modules().join("node_modules/node/bin/node"));
    command.arg(folder().join(script[0])).args(&script[1..]).env("BACKLOT_TEST_URL", url).env("BACKLOT_CLIENT_MODULES", modules());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("the clients are missing: `make test` installs them")?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let mut errors = child.stderr.take().context("no output")?;
    let mut said = String::new();
    let (read, complaints) = tokio::join!(
        async {
            while let Some(line) = lines.next_line().await? {
                match line.strip_prefix("open ") {
                    Some(name) => gates.of(name).open(),
                    None => said.extend([line.as_str(), "\n"]),
                }
            }
            anyhow::Ok(())
        },
        async {
            let mut text = String::new();
            errors.read_to_string(&mut text).await.map(|_| text)
        },
    );
    read?;
    ensure!(child.wait().await?.success(), "{said}{}", complaints?);
    Ok(())
}

/// What the model says: by the person's last words, or that it is done once its tool has run.
fn answer(request: &Request, gates: &Gates) -> Answer {
    if has_results(request) {
        return Answer::default().text("Done.");
    }
    let words = last_words(request);
    let path_and = |content: &str| json!({ "path": "index.html", "content": content });
    match words.split_once(' ') {
        Some(("hold", gate)) => {
            Answer::default().text("This takes a while, but then it is done.").fragments(5).hold_at(At::Event(5), &gates.of(gate))
        }
        Some(("hold-tool", gate)) => {
            let answer = Answer::default().tool("write_file", path_and(&"<p>many words</p>".repeat(20))).stop(Stop::ToolUse);
            answer.hold_at(At::Event(12), &gates.of(gate))
        }
        Some(("page", _)) => {
            let answer = Answer::default().reasoning("A page will do.").text("I write a page.");
            answer.tool("write_file", path_and(&format!("<h1>{words}</h1>"))).stop(Stop::ToolUse)
        }
        _ => Answer::refuse(Refusal { status: 400, message: "as the script says".into(), retry_after: None, should_retry: None }),
    }
}

fn has_results(request: &Request) -> bool {
    let last = request.messages().last().map(|message| &message["content"]);
    last.and_then(Value::as_array).is_some_and(|blocks| blocks.iter().any(|block| block["type"] == "tool_result"))
}

fn last_words(request: &Request) -> String {
    let content = &request.messages().last().unwrap_or(&Value::Null)["content"];
    let text = match content {
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).next_back().unwrap_or_default(),
        other => other.as_str().unwrap_or_default(),
    };
    text.lines().next_back().unwrap_or_default().trim().to_owned()
}
