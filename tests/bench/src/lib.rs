//! `make bench`: the cost of Backlot, compared in the same run with a baseline that does the least possible work. In reading order:
//!
//! - `table`, `sample`, `proc`: the figures and how they are judged.
//! - `ground`: the environment: PostgreSQL, Redis and the processes that are measured.
//! - `stream` with `upstream`, `watch` and `pipe`: from the model server to the SSE client, compared with a pipe of bytes.
//! - `scale`: the same for up to 2,000 concurrent turns, with memory and the latency that other users see.
//! - `leave`, `kill`: what remains after viewers have left, and the gap in the stream after a process was killed.
//! - `files`, `page`: saves, loads and pages through gRPC, compared with the bare SQL (`sql`, `seed`).
//! - `limiter` with `echo`: rate limits through gRPC, compared with an echo server and with the bare script.
//! - `attack`: how much an attack slows others down.
//! - `token`: the check of access tokens, compared with the bare signature.
//!
//! Everything that is measured runs in its own process, so that its CPU time can be told apart. Each of these processes is this same
//! executable with other arguments. The targets alternate within every round. The exit code tells whether something failed or costs more
//! than five times its baseline.

mod attack;
mod echo;
mod files;
mod ground;
mod kill;
mod leave;
mod limiter;
mod page;
mod pipe;
mod proc;
mod sample;
mod scale;
mod seed;
mod sql;
mod stream;
mod table;
mod token;
mod upstream;
mod watch;

use std::{future::Future, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result};

use self::{ground::Ground, table::Table, upstream::Upstream};

/// Measures, or is one of the processes that are measured, by the arguments.
#[must_use]
pub fn run() -> ExitCode {
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
    let upstream = Upstream::start().await?;
    if ["stream", "files", "page"].into_iter().any(is_wanted) {
        let cluster = ground.cluster("bench", &upstream.url, &[]).await?;
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
    // One of the sizes as well: `scale-512`.
    let sizes = scale::SIZES.into_iter().filter(|size| is_wanted("scale") || is_wanted(&format!("scale-{}", size.turns)));
    scale::measure(&ground, &upstream, &sizes.collect::<Vec<_>>(), &mut table).await.context("scale")?;
    if is_wanted("leave") {
        leave::measure(&ground, &upstream, &mut table).await.context("leave")?;
    }
    // One of them as well: `attack-slow-loads`.
    let attacks = ::attack::ALL.iter().filter(|attack| is_wanted("attack") || is_wanted(&format!("attack-{}", attack.name)));
    attack::measure(&ground, &upstream.url, &attacks.collect::<Vec<_>>(), &mut table).await.context("attack")?;
    if is_wanted("kill") {
        kill::measure(&ground, &upstream, &mut table).await.context("kill")?;
    }
    table.print(started.elapsed())?;
    Ok(if table.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
