//! Denial-of-service attacks on a cluster. During each attack all calls of a bystander must succeed, and afterwards the process must use no
//! more resources than before. An attack comes from its own address (127.0.0.2, or 127.0.0.3 for a second attacker).
//!
//! - [`ALL`] lists the attacks. `http`, `bodies`, `streams`, `grpc` and `messages` implement them over `wire`.
//! - [`run_all`] runs attacks against a new cluster. [`run`] runs one attack with a [`bystander`] and compares the [`resources`].

mod bodies;
pub mod bystander;
pub mod grpc;
pub mod http;
mod messages;
pub mod resources;
pub mod streams;
mod target;
pub mod wire;

use std::{fmt, path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use chassis::testing::lower_priority;
use test_support::process::Launch;

pub use self::target::{LONG, SHORT, Scale, Target};
use self::{bystander::Bystander, resources::Resources};

type Run = for<'a> fn(&'a Target, Scale) -> futures::future::BoxFuture<'a, Result<()>>;

/// An attack with its name.
pub struct Attack {
    pub name: &'static str,
    run: Run,
}

macro_rules! attacks {
    ($($name:literal => $module:ident :: $run:ident),* $(,)?) => {
        /// All attacks, in the order of `docs/security.md`.
        pub const ALL: &[Attack] = &[$(Attack { name: $name, run: |target, scale| Box::pin($module::$run(target, scale)) }),*];
    };
}

attacks! {
    "long-paths" => http::long_paths,
    "unfinished-posts" => http::unfinished_posts,
    "one-byte-bodies" => http::one_byte_bodies,
    "unfinished-saves" => http::unfinished_saves,
    "large-chats" => http::large_chats,
    "unread-answers" => http::unread_answers,
    "slow-loads" => http::slow_loads,
    "saves-without-a-share" => bodies::saves_without_a_share,
    "large-bodies" => bodies::large_bodies,
    "two-addresses" => bodies::two_addresses,
    "silent-connections" => http::silent_connections,
    "reset-requests" => http::reset_requests,
    "flood" => http::flood,
    "unread-events" => streams::unread_events,
    "replayed-events" => streams::replayed_events,
    "unread-turn-streams" => streams::unread_turn_streams,
    "unfinished-health-checks" => grpc::unfinished_health_checks,
    "bodyless-sign-ins" => grpc::bodyless_sign_ins,
    "unfinished-messages" => grpc::unfinished_messages,
    "bombs" => messages::bombs,
    "reflection" => messages::reflection,
    "reset-streams" => grpc::reset_streams,
    "silent-grpc-connections" => grpc::silent_connections,
    "unknown-rpcs" => grpc::unknown_rpcs,
    "open-watches" => grpc::open_watches,
}

/// The environment variable with the names of the attacks to run, separated by commas. Without it all of them run.
const NAMES: &str = "ATTACKS";

/// The limit for the memory of the process during an attack, in bytes.
const MAX_MEMORY: u64 = 1024 * 1024 * 1024;

/// The calls of the bystander and the resources of the process, before and during the attack.
#[derive(Debug)]
pub struct Outcome {
    pub idle: bystander::Record,
    pub attacked: bystander::Record,
    pub before: Resources,
    pub peak: Resources,
    pub after: Resources,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (idle, attacked) = (self.idle.percentile(0.99), self.attacked.percentile(0.99));
        let (calls, memory) = (self.attacked.calls(), [self.before, self.peak, self.after].map(|held| held.memory / 1_000_000));
        write!(
            f,
            "{calls} calls, p99 {idle:.1?} before and {attacked:.1?} during the attack; memory in MB before, at the peak, after: {memory:?}"
        )
    }
}

/// Starts a cluster with its data in `folder` and with these settings in addition to the shipped ones, and runs attacks on it.
///
/// # Errors
/// If the cluster does not start or exit cleanly, or an attack succeeds.
pub async fn run_all(
    executable: &str,
    folder: &Path,
    settings: &[(&str, &str)],
    chosen: fn(&Attack) -> bool,
    scale: Scale,
) -> Result<Vec<(&'static str, Outcome)>> {
    let policies = folder.join("policies.yaml");
    std::fs::write(&policies, test_support::cluster::OPEN_POLICIES)?;
    let launch = Launch::new(executable, &folder.join("backlot"))
        .set("BACKLOT_POLICIES", &policies.to_string_lossy())
        .set("BACKLOT_DEMO_PACE", "1ms")
        // Large bodies must arrive on a slow machine, too.
        .set("BACKLOT_BODY_TIMEOUT", "60s")
        .set("BACKLOT_WRITE_TIMEOUT", "5s");
    let launch = settings.iter().fold(launch, |launch, (name, value)| launch.set(name, value));
    let process = launch.up().await?;
    let target = Target::of(&process.url, process.id()?, &launch.data).await?;
    let bystander = Bystander::new(&target).await?;
    let (mut outcomes, mut problems) = (Vec::new(), Vec::new());
    let names = std::env::var_os(NAMES).map(|names| names.to_string_lossy().into_owned());
    let is_named = |attack: &Attack| names.as_ref().is_none_or(|names| names.split(',').any(|name| name == attack.name));
    for attack in ALL.iter().filter(|attack| chosen(attack) && is_named(attack)) {
        match run(attack, &target, &bystander, scale).await {
            Ok(outcome) if outcome.peak.memory > MAX_MEMORY => problems.push(format!("{}: {:?}", attack.name, outcome.peak)),
            Ok(outcome) => outcomes.push((attack.name, outcome)),
            Err(e) => problems.push(format!("{e:#}")),
        }
    }
    ensure!(problems.is_empty(), "{problems:#?}");
    ensure!(process.terminate().await? == Some(0), "no clean exit");
    Ok(outcomes)
}

/// Runs an attack on its own thread.
async fn run_in_thread(run: Run, target: Target, scale: Scale) -> Result<()> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    let attack = move || {
        let priority = if scale.low_priority { lower_priority() } else { Ok(()) };
        let runtime = priority.and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build());
        _ = done.send(runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(repeated(run, &target, scale))));
    };
    std::thread::Builder::new().name("attack".to_owned()).spawn(attack)?;
    outcome.await?
}

/// Repeats an attack until it has lasted long enough.
async fn repeated(run: Run, target: &Target, scale: Scale) -> Result<()> {
    let started = Instant::now();
    for times in 1.. {
        run(target, scale).await.with_context(|| format!("time {times}"))?;
        if started.elapsed() >= scale.lasts {
            break;
        }
    }
    Ok(())
}

/// Runs one attack while a bystander calls the cluster.
///
/// # Errors
/// A call of the bystander fails, or the cluster does not release its resources.
pub async fn run(attack: &Attack, target: &Target, bystander: &Bystander, scale: Scale) -> Result<Outcome> {
    let before = resources::settled(target.process, None).await?;
    let idle = bystander.watch(tokio::time::sleep(scale.idle)).await.0;
    let peak = resources::Peak::start(target.process);
    let (attacked, outcome) = bystander.watch(run_in_thread(attack.run, target.clone(), scale)).await;
    let peak = peak.stop().await;
    outcome.with_context(|| format!("{}: the attack failed to run", attack.name))?;
    ensure!(idle.failures.is_empty(), "{}: before the attack: {:?}", attack.name, idle.failures);
    ensure!(attacked.failures.is_empty(), "{}: {} calls, failed: {:?}", attack.name, attacked.calls(), attacked.failures);
    ensure!(attacked.calls() > 0, "{}: the bystander made no call", attack.name);
    let after = resources::settled(target.process, Some(before)).await.with_context(|| attack.name)?;
    Ok(Outcome { idle, attacked, before, peak, after })
}
