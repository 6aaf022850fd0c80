//! `make bench`: measures the cost of Backlot as ratios to baselines, which do the least possible work for the same result. In reading order:
//!
//! - `table`, `sample`, `proc`: the figures and their limits.
//! - `environment`: PostgreSQL, Redis and the processes that are measured.
//! - `stream` with `upstream`, `watch` and `pipe`: from the model server to the SSE client, compared with a byte pipe.
//! - `scale`: the same for up to 2,000 concurrent turns, with memory and the latency that other users see.
//! - `leave`, `kill`: the remaining work after viewers have left, and the gap in the stream after a process was killed.
//! - `files`, `archives`, `page`, `search`, `history`, `large`: saves, loads, imports, exports, pages, hits, blame, forks, differences and
//!   restores over gRPC, compared with plain SQL (`sql`, `seed`).
//! - `limiter` with `echo`: rate limits over gRPC, compared with an echo server and with the plain script.
//! - `attack`: how much an attack slows others down.
//! - `previews`: edits, pages, packages, checks and sites, compared with Vite's dev server and `vite build`.
//! - `selection`: how often the right agent is selected, and how long it takes.
//! - `tokens`: the input tokens of turns with a planned context, beside those with every file in the prompt.
//! - `token`: checks of access tokens at the gateway, compared with the plain signature.
//! - `sign_in` with `welch`: sign-ins, compared with the plain password hash, and whether their time tells which addresses have an account.
//!
//! Every target runs in its own process, so that its CPU time can be measured. Each of these processes runs this executable with other
//! arguments. The targets alternate within every round. The exit code is a failure if a measurement failed, costs more than five times
//! its baseline, or exceeds a bound.

mod archives;
mod attack;
mod echo;
mod environment;
mod files;
mod history;
mod kill;
mod large;
mod leave;
mod limiter;
mod page;
mod pipe;
mod previews;
mod proc;
mod sample;
mod scale;
mod search;
mod seed;
mod selection;
mod sign_in;
mod sql;
mod stream;
mod table;
mod token;
mod tokens;
mod upstream;
mod watch;
mod welch;

use std::{future::Future, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result};

use self::{environment::Environment, table::Table, upstream::Upstream};

/// Runs the measurements, or one of the measured processes, as the arguments say.
#[must_use]
pub fn run() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => in_runtime(measure(&[])),
        ["only", wanted @ ..] => in_runtime(measure(wanted)),
        ["pipe", upstream, database] => in_runtime(pipe::serve(upstream, database)),
        ["echo"] => in_runtime(echo::serve()),
        // All other arguments are commands of `backlot`.
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

/// Runs all measurements, or the parts with these names.
async fn measure(wanted: &[&str]) -> Result<ExitCode> {
    let started = Instant::now();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.contains(&part);
    if cfg!(debug_assertions) {
        eprintln!("bench: this is not a release build, so the ratios are not meaningful");
    }
    let mut table = Table::default();
    let environment = Environment::prepare().await?;
    if is_wanted("token") {
        token::measure(&mut table).await.context("token")?;
    }
    if is_wanted("selection") {
        selection::measure(&mut table).context("selection")?;
    }
    if is_wanted("tokens") {
        tokens::measure(&environment, &mut table).await.context("tokens")?;
    }
    if is_wanted("limiter") {
        limiter::measure(&environment, &mut table).await.context("limiter")?;
    }
    let upstream = Upstream::start().await?;
    sign_in::measure(is_wanted("sign-in"), &environment, &upstream.url, &mut table).await.context("sign-in")?;
    if ["stream", "files", "search", "page", "history", "large"].into_iter().any(is_wanted) {
        let cluster = environment.cluster("bench", &upstream.url, &[]).await?;
        if is_wanted("stream") {
            stream::measure(&environment, &cluster, &upstream, &mut table).await.context("stream")?;
        }
        if is_wanted("files") {
            files::measure(&environment, &cluster, &mut table).await.context("files")?;
            archives::measure(&cluster, &mut table).await.context("archives")?;
        }
        if is_wanted("search") {
            search::measure(&cluster, &mut table).await.context("search")?;
        }
        if is_wanted("page") {
            page::measure(&environment, &cluster, &mut table).await.context("page")?;
        }
        if is_wanted("history") {
            history::measure(&environment, &cluster, &mut table).await.context("history")?;
        }
        if is_wanted("large") {
            large::measure(&cluster, &mut table).await.context("large")?;
        }
    }
    // A single size can be selected, such as `scale-512`.
    let sizes = scale::SIZES.into_iter().filter(|size| is_wanted("scale") || is_wanted(&format!("scale-{}", size.turns)));
    scale::measure(&environment, &upstream, &sizes.collect::<Vec<_>>(), &mut table).await.context("scale")?;
    if is_wanted("leave") {
        leave::measure(&environment, &upstream, &mut table).await.context("leave")?;
    }
    // A single attack can be selected, such as `attack-slow-loads`.
    let attacks = ::attack::ALL.iter().filter(|attack| is_wanted("attack") || is_wanted(&format!("attack-{}", attack.name)));
    attack::measure(&environment, &upstream.url, &attacks.collect::<Vec<_>>(), &mut table).await.context("attack")?;
    if is_wanted("previews") {
        previews::measure(&environment, &upstream.url, &mut table).await.context("previews")?;
    }
    if is_wanted("kill") {
        kill::measure(&environment, &upstream, &mut table).await.context("kill")?;
    }
    table.print(started.elapsed())?;
    Ok(if table.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
