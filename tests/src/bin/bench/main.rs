// Built with `--features bench` only (see Cargo.toml).
//! `make bench`: what Backlot costs beside what the same work costs at least on the same machine, in one run. In reading order:
//!
//! - `table`, `sample`, `cpu`: the figures and how they are judged.
//! - `ground`: what everything stands on: PostgreSQL, Redis, the processes that are measured.
//! - `stream` with `upstream`, `watch` and `pipe`: from the model server to the SSE client, beside a pipe of bytes.
//! - `files`, `page`: saves, loads and pages through gRPC, beside their own SQL (`sql`, `seed`).
//! - `limiter` with `echo`: rate limits through gRPC, beside an echo and the bare script.
//! - `token`: the check of access tokens, beside the bare signature.
//!
//! What is measured runs in processes of its own, so that its CPU can be told apart: they are this same executable under other
//! arguments. Targets take turns within every round. The exit code says whether anything costs more than five times its floor.

mod cpu;
mod echo;
mod files;
mod ground;
mod limiter;
mod page;
mod pipe;
mod sample;
mod seed;
mod sql;
mod stream;
mod table;
mod token;
mod upstream;
mod watch;

use std::{future::Future, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result};

use self::{ground::Ground, table::Table};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => in_runtime(measure(&[])),
        ["only", wanted @ ..] => in_runtime(measure(wanted)),
        ["pipe", upstream, database] => in_runtime(pipe::serve(upstream, database)),
        ["echo"] => in_runtime(echo::serve()),
        // Everything else is a command of the executable under measurement.
        _ => backlot::cli::run(),
    }
}

fn in_runtime(work: impl Future<Output = Result<ExitCode>>) -> ExitCode {
    chassis::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime");
    runtime.and_then(|runtime| runtime.block_on(work)).unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::FAILURE
    })
}

/// All of it, or the parts with these names.
async fn measure(wanted: &[&str]) -> Result<ExitCode> {
    let started = Instant::now();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.contains(&part);
    if cfg!(debug_assertions) {
        eprintln!("bench: this build is not optimised; the ratios mean little");
    }
    let mut table = Table::default();
    let ground = Ground::prepare().await?;
    if is_wanted("token") {
        token::measure(&mut table).await.context("token")?;
    }
    if is_wanted("limiter") {
        limiter::measure(&ground, &mut table).await.context("limiter")?;
    }
    if ["stream", "files", "page"].into_iter().any(is_wanted) {
        let upstream = upstream::Upstream::start().await?;
        let cluster = ground.cluster(&upstream.url).await?;
        if is_wanted("stream") {
            stream::measure(&ground, &cluster, &upstream, &mut table).await.context("stream")?;
        }
        if is_wanted("files") {
            files::measure(&ground, &cluster, &mut table).await.context("files")?;
        }
        if is_wanted("page") {
            page::measure(&ground, &cluster, &mut table).await.context("page")?;
        }
    }
    table.print(started.elapsed())?;
    Ok(if table.has_cliff() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
