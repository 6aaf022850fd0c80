//! Rate limits over gRPC: counters in the process compared with an echo of the same messages, and counters in Redis compared with the plain
//! script. There are a thousand subjects, and no limit is reached.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chassis::{client, context::Context, identity::Caller, task};
use fred::{clients::Pool, interfaces::LuaInterface as _, types::scripts::Script};
use proto::rate_limit::{CheckRequest, PolicyCheck, rate_limit_service_client::RateLimitServiceClient};
use rate_limit::{
    Policies,
    testing::{Check, Clock, Limiter, Memory},
};
use tonic::transport::{Channel, Endpoint};

use crate::{
    environment::{Environment, POLICIES, Process, progress},
    sample::{Samples, median, rotated},
    table::{Goal, Table, Unit, shown},
};

const ROUNDS: usize = 3;
const SUBJECTS: usize = 1_000;
/// The number of calls of a single caller in a round.
const CALLS: usize = 1_500;
const CALLERS: usize = 64;
const ROUND: Duration = Duration::from_secs(1);
const DECISIONS: u32 = 200_000;

/// The script that the service runs.
const SCRIPT: &str = include_str!("../../../services/rate-limit/src/counter/check.lua");

/// A measured target.
#[derive(Clone)]
enum Target {
    Echo(RateLimitServiceClient<Channel>),
    Service(RateLimitServiceClient<client::ServiceChannel>),
    Script(Pool, String),
}

impl Target {
    async fn check(&mut self, number: usize) -> Result<()> {
        let subject = format!("user:{:08}", number % SUBJECTS);
        if let Target::Script(pool, sha) = self {
            let key = format!("baseline:rl:{{{subject}}}:general:log");
            let arguments = vec!["take", "", "log", "10000", "1000000", "1"];
            let answer: Vec<i64> = pool.evalsha(sha.as_str(), key, arguments).await?;
            ensure!(answer.first() == Some(&1), "the script refused: {answer:?}");
            return Ok(());
        }
        let checks = vec![PolicyCheck { policy: "general".to_owned(), subject, cost: None }];
        let request = Context::background().request(CheckRequest { checks });
        let answer = match self {
            Target::Echo(client) => client.check(request).await?,
            Target::Service(client) => client.check(request).await?,
            Target::Script(..) => return Ok(()),
        };
        let answer = answer.into_inner();
        ensure!(answer.allowed && !answer.degraded, "refused or degraded: {answer:?}");
        Ok(())
    }
}

/// The figures of a target over all rounds.
#[derive(Default)]
struct Figures {
    alone: Samples,
    together: Samples,
    rate: Vec<f64>,
    /// CPU seconds of its process per million calls.
    cpu: Vec<f64>,
}

pub(crate) async fn measure(environment: &Environment, table: &mut Table) -> Result<()> {
    progress("limiter");
    let echo = environment.helper(&["echo"]).await?;
    let memory = environment.role("memory", "rate-limit", &[]).await?;
    let redis = environment.role("redis", "rate-limit", &[("REDIS_URL", &environment.redis.url)]).await?;
    let service = |process: &Process| {
        let channel = client::connect(Caller::Gateway, Caller::RateLimit, &process.url.parse()?, &environment.secret());
        anyhow::Ok(Target::Service(RateLimitServiceClient::new(channel)))
    };
    let channel = Endpoint::from_shared(echo.url.clone())?.tcp_nodelay(true).connect().await?;
    let targets = [
        (Target::Echo(RateLimitServiceClient::new(channel)), Some(&echo)),
        (service(&memory)?, Some(&memory)),
        (script(environment).await?, None),
        (service(&redis)?, Some(&redis)),
    ];
    let mut figures: [Figures; 4] = Default::default();
    for (target, _) in &targets {
        sequential(target.clone(), 200).await?;
    }
    for round in 0..ROUNDS {
        for index in rotated(targets.len(), round) {
            let (target, process) = &targets[index];
            figures[index].alone.extend(sequential(target.clone(), CALLS).await?);
            concurrent(target, *process, &mut figures[index]).await?;
        }
    }
    report(table, &figures);
    table.note(format!("limiter: one decision in the process, without gRPC: {}", shown(Unit::Time, in_process().await?)));
    Ok(())
}

async fn script(environment: &Environment) -> Result<Target> {
    let config = chassis::redis::Config {
        url: Some(chassis::config::Secret::new(environment.redis.url.as_str())),
        password: None,
        prefix: String::new(),
    };
    let pool = chassis::redis::connect(&config).await?.context("there is a URL")?;
    let script = Script::from_lua(SCRIPT);
    for client in pool.clients() {
        script.load(client).await?;
    }
    Ok(Target::Script(pool, script.sha1().to_string()))
}

async fn sequential(mut target: Target, calls: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    for number in 0..calls {
        samples.time(target.check(number)).await?;
    }
    Ok(samples)
}

async fn concurrent(target: &Target, process: Option<&Process>, figures: &mut Figures) -> Result<()> {
    let cpu = || process.and_then(Process::cpu);
    let (before, start) = (cpu(), Instant::now());
    let caller = |mut target: Target, first: usize| async move {
        let mut samples = Samples::default();
        for number in (first..).step_by(7) {
            if start.elapsed() > ROUND {
                break;
            }
            samples.time(target.check(number)).await?;
        }
        anyhow::Ok(samples)
    };
    let tasks: Vec<_> = (0..CALLERS).map(|first| task::spawn(caller(target.clone(), first * 13))).collect();
    let mut samples = Samples::default();
    for task in tasks {
        samples.extend(task.await??);
    }
    let calls = samples.count();
    figures.rate.push(calls / start.elapsed().as_secs_f64());
    if let (Some(before), Some(after)) = (before, cpu()) {
        figures.cpu.push((after - before).as_secs_f64() * 1e6 / calls);
    }
    figures.together.extend(samples);
    Ok(())
}

/// Measures one decision of the limiter without gRPC. Returns seconds.
async fn in_process() -> Result<f64> {
    let policies = Policies::shipped().with(POLICIES).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let policy = Arc::clone(policies.named("general").context("general")?);
    let limiter = Limiter::new(None, Memory::new(1_000_000, Clock::System));
    let checks: Vec<[Check; 1]> =
        (0..SUBJECTS).map(|number| [Check { policy: Arc::clone(&policy), subject: format!("user:{number:08}"), cost: 1 }]).collect();
    let start = Instant::now();
    for check in checks.iter().cycle().take(DECISIONS as usize) {
        limiter.check(check).await;
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(DECISIONS))
}

fn report(table: &mut Table, [echo, memory, script, redis]: &[Figures; 4]) {
    let rate = |figures: &Figures| median(figures.rate.clone());
    let cpu = |figures: &Figures| median(figures.cpu.clone());
    let what = "limiter, in process, compared with an echo";
    table.row(format!("{what}: 1 caller, p50"), Unit::Time, (echo.alone.p50(), memory.alone.p50()), Goal::None);
    table.row(format!("{what}: 1 caller, p99"), Unit::Time, (echo.alone.p99(), memory.alone.p99()), Goal::Shown);
    table.row(format!("{what}: 64 callers"), Unit::Rate, (rate(echo), rate(memory)), Goal::Times(1.74));
    table.row(format!("{what}: 64 callers, p99"), Unit::Time, (echo.together.p99(), memory.together.p99()), Goal::Shown);
    table.row(format!("{what}: CPU per call"), Unit::CpuPerMillion, (cpu(echo), cpu(memory)), Goal::Times(1.77));

    // A single caller waits for gRPC and for Redis, so its baseline is the sum of both. For many callers it is the script.
    let both = |of: fn(&Samples) -> f64| of(&echo.alone) + of(&script.alone);
    let what = "limiter, Redis";
    table.row(
        format!("{what}, compared with an echo and the script: 1 caller, p50"),
        Unit::Time,
        (both(Samples::p50), redis.alone.p50()),
        Goal::Times(1.32),
    );
    table.row(
        format!("{what}, compared with an echo and the script: 1 caller, p99"),
        Unit::Time,
        (both(Samples::p99), redis.alone.p99()),
        Goal::Shown,
    );
    table.row(format!("{what}, compared with the script: 1 caller, p50"), Unit::Time, (script.alone.p50(), redis.alone.p50()), Goal::Shown);
    table.row(format!("{what}, compared with the script: 64 callers"), Unit::Rate, (rate(script), rate(redis)), Goal::Times(2.86));
    table.row(
        format!("{what}, compared with the script: 64 callers, p99"),
        Unit::Time,
        (script.together.p99(), redis.together.p99()),
        Goal::Shown,
    );
    table.row(format!("{what}, compared with an echo: CPU per call"), Unit::CpuPerMillion, (cpu(echo), cpu(redis)), Goal::None);
}
