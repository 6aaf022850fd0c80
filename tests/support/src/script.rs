//! Runs a journey that is a Node.js script. With an output line `open <name>` the script opens a gate of the model server. All other output
//! is shown if the script fails.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::Command,
};

use crate::model_server::{Gate, Request};

/// The gates of a script by name.
#[derive(Clone, Default)]
pub struct Gates(Arc<Mutex<HashMap<String, Gate>>>);

impl Gates {
    /// Returns the gate with this name. The first call creates it.
    #[must_use]
    pub fn of(&self, name: &str) -> Gate {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone()
    }
}

/// Runs a script to its end.
///
/// # Errors
/// The script cannot be started or fails. The error contains its output.
pub async fn run(mut command: Command, gates: &Gates) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("the program is missing: `make test` installs it")?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let mut errors = child.stderr.take().context("no output")?;
    let mut output = String::new();
    let (read, stderr) = tokio::join!(
        async {
            while let Some(line) = lines.next_line().await? {
                match line.strip_prefix("open ") {
                    Some(name) => gates.of(name).open(),
                    None => output.extend([line.as_str(), "\n"]),
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
    ensure!(child.wait().await?.success(), "{output}{}", stderr?);
    Ok(())
}

/// Whether the last message of a request has tool results.
#[must_use]
pub fn has_results(request: &Request) -> bool {
    let last = request.messages().last().map(|message| &message["content"]);
    last.and_then(Value::as_array).is_some_and(|blocks| blocks.iter().any(|block| block["type"] == "tool_result"))
}

/// The last line of the last message.
#[must_use]
pub fn last_line(request: &Request) -> String {
    let content = &request.messages().last().unwrap_or(&Value::Null)["content"];
    let text = match content {
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).next_back().unwrap_or_default(),
        other => other.as_str().unwrap_or_default(),
    };
    text.lines().next_back().unwrap_or_default().trim().to_owned()
}
