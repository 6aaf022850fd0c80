//! A round: starts the load, injects the faults of a scenario, waits until all turns have settled, and checks the results.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use backlot::role::Role;
use rand::{SeedableRng as _, rngs::StdRng};
use test_support::{Person, canary::Stopwatch, identity_provider::IdentityProvider, model_server::ModelServer, upstream::Upstream};
use tokio::time::sleep;

use super::{
    accounts,
    check::{self, Rules, Turn, Violation},
    client::{Behavior, Client},
    collect::{self, Results},
    commits, credentials,
    fault_injector::{FaultInjector, LEASE},
    known_accounts,
    load::{Load, LoadOptions},
    model::script,
    operator::Operator,
    previews,
    prompt::{Prompt, Task},
    record::{ListHistory, ListOutcome, Record},
    replays, report, stores,
    targeted_faults::Point,
    verdict::Verdict,
};
use crate::deployment::{Deployment, Engines, Plan, timeline};

const USERS: usize = 6;
/// The time between the first turns of the clients and the first fault.
const WARM_UP: Duration = Duration::from_millis(1_500);
/// The percentage of requests that may get a transient refusal during a rolling restart. It is low, because gateways retry unanswered calls
/// if the contract allows it.
const ROLLING_PERCENT: u64 = 2;
/// The limit for the latency of an event. A lost doorbell adds two seconds. The rest is the tolerance for a busy machine.
const MAX_LATENCY: timeline::Millis = 10_000;
/// The limit for the time between two fired failpoints.
const NEXT_FAILPOINT_WITHIN: Duration = Duration::from_secs(120);
/// Processes of the compiler that are killed in a round of kills.
const COMPILERS: usize = 3;
/// The limit for the end of a turn that kills its workers.
const FAILED_WITHIN: Duration = Duration::from_secs(60);

/// The faults of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// No faults. Only viewers disconnect.
    NoFaults,
    Kills,
    Pauses,
    /// PostgreSQL and Redis.
    Engines,
    Network,
    Rolling,
    Failpoints,
    /// A turn that kills each of its workers.
    Poison,
    /// Redis is down for a long time.
    RedisOutage,
    /// Statements that are lost in transit, and statements that are executed after the death of their worker.
    LostWrites,
    /// Workers that continue turns after they have lost them.
    StaleWorkers,
    /// These failpoints.
    Chosen(&'static [Point]),
}

impl Scenario {
    /// All scenarios except [`Scenario::Chosen`].
    pub const ALL: [Self; 11] = [
        Self::NoFaults,
        Self::Kills,
        Self::Failpoints,
        Self::Pauses,
        Self::Engines,
        Self::Network,
        Self::Rolling,
        Self::Poison,
        Self::RedisOutage,
        Self::LostWrites,
        Self::StaleWorkers,
    ];

    /// The name for the environment variable `ONLY`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoFaults => "no-faults",
            Self::Kills => "kills",
            Self::Pauses => "pauses",
            Self::Engines => "engines",
            Self::Network => "network",
            Self::Rolling => "rolling",
            Self::Failpoints => "failpoints",
            Self::Poison => "poison",
            Self::RedisOutage => "redis-outage",
            Self::LostWrites => "lost-writes",
            Self::StaleWorkers => "stale-workers",
            Self::Chosen(_) => "chosen-failpoints",
        }
    }
}

/// A deployment with its users, its model server, its registry of packages and its provider of sign-ins.
pub struct Environment {
    pub deployment: Arc<Deployment>,
    pub record: Arc<Record>,
    pub rules: Rules,
    people: Arc<Vec<Person>>,
    model: ModelServer,
    registry: Arc<Upstream>,
    provider: Arc<IdentityProvider>,
    options: Options,
    rounds: u64,
}

/// The options of a run.
#[derive(Clone)]
pub struct Options {
    pub executable: PathBuf,
    pub clients: usize,
    pub seed: u64,
    pub recoveries: i64,
    /// The limit for the end of a turn. The work after the last turn of a round has half of it.
    pub turn_limit: Duration,
}

impl Environment {
    /// Starts a deployment, with or without a seeded bug.
    ///
    /// # Errors
    /// It does not start.
    pub async fn open(options: &Options, engines: &Arc<Engines>, folder: PathBuf, bug: Option<&str>) -> Result<Self> {
        let record = Arc::new(Record::default());
        let model = ModelServer::start(script(Arc::clone(&record))).await;
        let (registry, provider) = (Arc::new(Upstream::start().await), Arc::new(IdentityProvider::start().await));
        let mut plan = Plan::new(&options.executable)
            .set("BACKLOT_NPM_REGISTRY", &registry.url)
            .set("BACKLOT_MODEL", "openai/test")
            .set("BACKLOT_SIGNUP", "invite")
            .set("BACKLOT_OIDC_PROVIDERS", &provider.setting())
            .set("OPENAI_BASE_URL", &model.openai_url())
            .set("ANTHROPIC_API_KEY", "test")
            .set("ANTHROPIC_BASE_URL", model.url());
        if let Some(bug) = bug {
            plan = plan.set("PLANTED", bug);
        }
        let deployment = Arc::new(Deployment::start(&plan, engines, folder).await?);
        let (operator, mut people) = (Operator::connect(&deployment), Vec::new());
        for replica in 0..USERS {
            let invite = operator.create_invite(replica).await?;
            people.push(Person::sign_up_with(&deployment.urls()[0], &invite).await?);
        }
        let lease = i64::try_from(LEASE.as_millis())?;
        let rules =
            Rules { max_silence: lease + 13_500, max_latency: MAX_LATENCY, no_faults: false, recoveries: options.recoveries, lease };
        Ok(Self { deployment, record, rules, people: Arc::new(people), model, registry, provider, options: options.clone(), rounds: 0 })
    }

    /// Runs one round of a scenario. The scenario defines the unit of `amount`.
    ///
    /// # Errors
    /// The harness failed. This is not a violation.
    pub async fn round(&mut self, scenario: Scenario, amount: u64) -> Result<Verdict> {
        self.rounds += 1;
        self.rules.no_faults = scenario == Scenario::NoFaults;
        let seed = self.options.seed.wrapping_mul(100).wrapping_add(self.rounds);
        let mut injector =
            FaultInjector { deployment: Arc::clone(&self.deployment), rng: StdRng::seed_from_u64(seed), counts: BTreeMap::new() };
        self.deployment.timeline.note(format!("round {} of {scenario:?}", self.rounds));
        let mut verdict = Verdict::default();
        let before = (self.record.requests().0, self.record.server_errors());
        if scenario == Scenario::Poison {
            verdict.violations.extend(self.poison(&mut injector).await?);
        } else {
            let size = LoadOptions {
                clients: self.options.clients,
                turn_limit: self.options.turn_limit,
                model: self.model.openai_url(),
                registry: Arc::clone(&self.registry),
                provider: Arc::clone(&self.provider),
            };
            let load = Load::start(&self.deployment, &self.people, &self.record, size, seed);
            sleep(WARM_UP).await;
            let injected = inject(&mut injector, scenario, amount).await;
            self.deployment.heal().await?;
            let unfired = injected?.into_iter().map(|text| Violation { rule: "every failpoint fires", turn: None, text });
            verdict.violations.extend(unfired);
            load.finish().await?;
        }
        for (what, times) in injector.counts {
            verdict.count(what, times);
        }
        if scenario == Scenario::Rolling {
            let (made, errors) = (self.record.requests().0 - before.0, self.record.server_errors() - before.1);
            let text = format!("{errors} of {made} requests got a transient refusal");
            verdict.require(errors * 100 <= made * ROLLING_PERCENT, "few errors during a rolling restart", text);
        }
        self.check_results(&mut verdict).await?;
        Ok(verdict)
    }

    /// Checks that what nothing uses any more is deleted, and that nothing of deleted accounts is left.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn check_swept(&self) -> Result<Vec<Violation>> {
        let mut found = stores::check_swept(&self.deployment, self.options.turn_limit / 2).await?;
        found.extend(accounts::check(&self.deployment, &self.record.deleted_accounts()).await?);
        Ok(found)
    }

    async fn check_results(&self, verdict: &mut Verdict) -> Result<()> {
        verdict.violations.extend(collect::wait_until_settled(&self.deployment, self.options.turn_limit / 2).await?);
        verdict.violations.extend(commits::check(&self.deployment).await?);
        verdict.violations.extend(stores::check(&self.deployment).await?);
        let Results { turns, projects, lists, compiled, violations } =
            collect::collect(&self.deployment, &self.people, &self.record).await?;
        verdict.violations.extend(violations);
        let faults = self.deployment.timeline.fault_history();
        verdict.violations.extend(check::check(&turns, &projects, &faults, &self.rules));
        verdict.violations.extend(lists.iter().flat_map(check::lists::check));
        let observed = self.record.take_credentials();
        verdict.count("uses of credentials", observed.uses.len() as u64);
        verdict.count("accounts whose state is known", observed.accounts.len() as u64);
        verdict.violations.extend(known_accounts::check(&self.deployment, &observed.accounts).await?);
        verdict.violations.extend(credentials::check(&self.deployment, &observed, &faults, &self.rules).await?);
        verdict.count("compiled pages", compiled.len() as u64);
        verdict.violations.extend(replays::check(&self.deployment, &turns).await?);
        verdict.violations.extend(previews::check(&self.deployment, compiled).await?);
        for text in self.deployment.nodes.iter().flat_map(|node| node.panics()) {
            verdict.violations.push(Violation { rule: "no panic", turn: None, text });
        }
        for text in self.model.complaints() {
            verdict.violations.push(Violation { rule: "provider protocol", turn: None, text });
        }
        self.model.free_bodies();
        count_turns(&turns, verdict);
        count_lists(&lists, verdict);
        verdict.count("reconnects", self.record.reconnects.swap(0, std::sync::atomic::Ordering::Relaxed));
        verdict.histories = report::histories(&verdict.violations, &turns, &self.deployment.timeline);
        Ok(())
    }

    /// Kills the only worker at each call of the model. The turn must fail after the allowed number of recoveries.
    async fn poison(&self, injector: &mut FaultInjector) -> Result<Vec<Violation>> {
        let nodes: Vec<_> = self.deployment.of(Role::AgentStreaming).cloned().collect();
        let (worker, others) = nodes.split_first().expect("there is a worker");
        for other in others {
            other.terminate().await?;
        }
        let prompt = Prompt { number: self.record.number(), task: Task::Poison };
        let mut client = Client {
            people: Arc::clone(&self.people),
            person: 0,
            urls: self.deployment.urls(),
            record: Arc::clone(&self.record),
            operator: Operator::connect(&self.deployment),
            rng: StdRng::seed_from_u64(self.options.seed),
            turn_limit: self.options.turn_limit,
        };
        let draft = format!("{}-poison-{}", self.options.seed, self.rounds);
        let watching = chassis::task::spawn(async move { client.turn(prompt, &draft, Behavior::Watch).await });
        let clock = Stopwatch::start();
        let wanted = usize::try_from(self.rules.recoveries)? + 1;
        let mut killed = 0;
        while !watching.is_finished() && clock.elapsed() < FAILED_WITHIN && killed <= wanted {
            if self.record.calls_of(prompt.number) > killed {
                killed = self.record.calls_of(prompt.number);
                worker.kill().await?;
                *injector.counts.entry("workers killed by a poison turn".to_owned()).or_default() += 1;
                worker.start().await?;
            }
            sleep(Duration::from_millis(5)).await;
        }
        self.deployment.heal().await?;
        watching.await?;
        let is_allowed = (1..=wanted).contains(&killed);
        let text = format!("the turn killed {killed} workers, the limit is {wanted}");
        Ok(if is_allowed { Vec::new() } else { vec![Violation { rule: "a poison turn fails", turn: None, text }] })
    }
}

async fn inject(injector: &mut FaultInjector, scenario: Scenario, amount: u64) -> Result<Vec<String>> {
    match scenario {
        Scenario::NoFaults => sleep(Duration::from_secs(amount)).await,
        Scenario::Kills => {
            injector.kills(amount).await?;
            injector.kill_compilers(COMPILERS).await?;
        }
        Scenario::Pauses => injector.pauses(amount).await?,
        Scenario::Engines => {
            injector.postgres(amount).await?;
            injector.redis().await?;
        }
        Scenario::Network => {
            injector.network(amount).await?;
            injector.lost_answers(1).await?;
        }
        Scenario::Rolling => injector.rolling(amount).await?,
        Scenario::Failpoints => return injector.failpoints(NEXT_FAILPOINT_WITHIN, amount).await,
        Scenario::RedisOutage => injector.redis_outage().await,
        Scenario::LostWrites => {
            for _ in 0..amount {
                injector.lost_writes().await?;
            }
        }
        Scenario::StaleWorkers => {
            for _ in 0..amount {
                injector.stale_workers().await?;
            }
        }
        Scenario::Chosen(points) => return injector.chosen_failpoints(points).await,
        Scenario::Poison => {}
    }
    Ok(Vec::new())
}

fn count_lists(lists: &[ListHistory], verdict: &mut Verdict) {
    for operation in lists.iter().flat_map(|list| &list.operations) {
        let what = if operation.appended.is_empty() { "reads" } else { "appends" };
        let outcome = match operation.outcome {
            ListOutcome::Done(_) => "done",
            ListOutcome::Refused => "refused",
            ListOutcome::Unknown => "without an answer",
        };
        verdict.count(format!("{what} of lists {outcome}"), 1);
    }
}

fn count_turns(turns: &[Turn], verdict: &mut Verdict) {
    for turn in turns {
        let reason = if turn.row.reason.is_empty() { String::new() } else { format!(" {}", turn.row.reason) };
        verdict.count(format!("turns {}{reason}", turn.row.state), 1);
        verdict.count("turns", 1);
        verdict.count("events", turn.log.len() as u64);
        verdict.count("provider calls", turn.calls.len() as u64);
        verdict.count("superseded steps", turn.log.iter().filter(|event| event.kind == "step.superseded").count() as u64);
    }
}
