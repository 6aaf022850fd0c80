//! One round: clients at work, one scenario of faults, a pause until everything has settled, and the check of the results.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use backlot::role::Role;
use rand::{SeedableRng as _, rngs::StdRng};
use test_support::{Person, canary::Stopwatch, model_server::ModelServer};
use tokio::time::sleep;

use super::{
    aimed::Point,
    ask::{Ask, Wish},
    check::{self, Rules, Turn, Violation},
    client::{Client, Mood},
    commits,
    crowd::{Crowd, Size},
    gather::{self, Left},
    model::script,
    nemesis::{LEASE, Nemesis},
    record::Record,
    report,
    verdict::Verdict,
};
use crate::deployment::{Deployment, Engines, Plan, timeline};

const PEOPLE: usize = 6;
/// The time between the first turns of the clients and the first fault.
const WARM_UP: Duration = Duration::from_millis(1_500);
/// How many requests may be refused as transient during a rolling restart. There are few: gateways retry what got no answer, unless it
/// must not be sent twice.
const ROLLING_PERCENT: u64 = 2;
/// A lost doorbell costs two seconds. The rest is for a busy machine.
const DELAY: timeline::Millis = 10_000;
/// If no failpoint fires within this time, none of the remaining ones will.
const NEXT_FAILPOINT_WITHIN: Duration = Duration::from_secs(200);
/// A turn that kills its workers has failed by then.
const PARKED_WITHIN: Duration = Duration::from_secs(60);

/// What is broken in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Nothing but the viewers' own connections.
    Calm,
    Kills,
    Stops,
    /// PostgreSQL and Redis.
    Engines,
    Network,
    Rolling,
    Failpoints,
    /// A turn that kills each of its workers.
    Poison,
    /// Redis is unavailable for a long time.
    Deaf,
    /// Statements that are lost in transit, and statements that outlive their sender.
    Unwritten,
    /// Workers that continue turns that they have lost.
    Stale,
    /// Only these failpoints.
    Fails(&'static [Point]),
}

impl Scenario {
    /// All scenarios with random faults.
    pub const ALL: [Self; 11] = [
        Self::Calm,
        Self::Kills,
        Self::Failpoints,
        Self::Stops,
        Self::Engines,
        Self::Network,
        Self::Rolling,
        Self::Poison,
        Self::Deaf,
        Self::Unwritten,
        Self::Stale,
    ];
}

/// A deployment with its users and its model server.
pub struct Field {
    pub deployment: Arc<Deployment>,
    pub record: Arc<Record>,
    pub rules: Rules,
    people: Arc<Vec<Person>>,
    model: ModelServer,
    layout: Layout,
    rounds: u64,
}

/// How a field is set up.
#[derive(Clone)]
pub struct Layout {
    pub executable: PathBuf,
    pub clients: usize,
    pub seed: u64,
    pub recoveries: i64,
    /// The limit for the end of a turn, and half of it for the work that remains after a turn.
    pub patience: Duration,
}

impl Field {
    /// Starts a deployment, with or without a seeded bug.
    ///
    /// # Errors
    /// It does not start.
    pub async fn open(layout: &Layout, engines: &Arc<Engines>, folder: PathBuf, bug: Option<&str>) -> Result<Self> {
        let record = Arc::new(Record::default());
        let model = ModelServer::start(script(Arc::clone(&record))).await;
        let mut plan = Plan::new(&layout.executable)
            .set("BACKLOT_MODEL", "openai/test")
            .set("OPENAI_BASE_URL", &model.openai_url())
            .set("ANTHROPIC_API_KEY", "test")
            .set("ANTHROPIC_BASE_URL", model.url());
        if let Some(bug) = bug {
            plan = plan.set("PLANTED", bug);
        }
        let deployment = Arc::new(Deployment::start(&plan, engines, folder).await?);
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            people.push(Person::sign_up(&deployment.urls()[0]).await?);
        }
        let lease = i64::try_from(LEASE.as_millis())?;
        let rules = Rules { silence: lease + 13_500, delay: DELAY, calm: false, recoveries: layout.recoveries, lease };
        Ok(Self { deployment, record, rules, people: Arc::new(people), model, layout: layout.clone(), rounds: 0 })
    }

    /// Runs one round of a scenario. The scenario defines the unit of `amount`.
    ///
    /// # Errors
    /// The harness itself does not work. This is not a violation.
    pub async fn round(&mut self, scenario: Scenario, amount: u64) -> Result<Verdict> {
        self.rounds += 1;
        self.rules.calm = scenario == Scenario::Calm;
        let seed = self.layout.seed.wrapping_mul(100).wrapping_add(self.rounds);
        let mut nemesis = Nemesis { deployment: Arc::clone(&self.deployment), rng: StdRng::seed_from_u64(seed), counts: BTreeMap::new() };
        self.deployment.timeline.note(format!("round {} of {scenario:?}", self.rounds));
        let mut verdict = Verdict::default();
        let before = (self.record.requests().0, self.record.server_errors());
        if scenario == Scenario::Poison {
            verdict.violations.extend(self.poison(&mut nemesis).await?);
        } else {
            let size = Size { clients: self.layout.clients, patience: self.layout.patience };
            let crowd = Crowd::start(&self.deployment, &self.people, &self.record, size, seed);
            sleep(WARM_UP).await;
            let broken = act(&mut nemesis, scenario, amount).await;
            self.deployment.heal().await?;
            let missed = broken?.into_iter().map(|text| Violation { rule: "every fault fires", turn: None, text });
            verdict.violations.extend(missed);
            crowd.finish().await?;
        }
        for (what, times) in nemesis.counts {
            verdict.count(what, times);
        }
        if scenario == Scenario::Rolling {
            let (made, errors) = (self.record.requests().0 - before.0, self.record.server_errors() - before.1);
            let text = format!("{errors} of {made} requests were told to come later");
            verdict.unless(errors * 100 <= made * ROLLING_PERCENT, "a rolling restart goes unnoticed", text);
        }
        self.judge(&mut verdict).await?;
        Ok(verdict)
    }

    async fn judge(&self, verdict: &mut Verdict) -> Result<()> {
        verdict.violations.extend(gather::rest(&self.deployment, self.layout.patience / 2).await?);
        verdict.violations.extend(commits::again(&self.deployment).await?);
        let Left { turns, projects, found } = gather::gather(&self.deployment, &self.people, &self.record).await?;
        verdict.violations.extend(found);
        let past = self.deployment.timeline.past();
        verdict.violations.extend(check::check(&turns, &projects, &past, &self.rules));
        for text in self.deployment.nodes.iter().flat_map(|node| node.panics()) {
            verdict.violations.push(Violation { rule: "no panic", turn: None, text });
        }
        for text in self.model.complaints() {
            verdict.violations.push(Violation { rule: "the provider's protocol", turn: None, text });
        }
        self.model.forget_bodies();
        tally(&turns, verdict);
        verdict.count("reconnects", self.record.reconnects.swap(0, std::sync::atomic::Ordering::Relaxed));
        verdict.histories = report::histories(&verdict.violations, &turns, &self.deployment.timeline);
        Ok(())
    }

    /// The only worker dies each time the model is asked.
    async fn poison(&self, nemesis: &mut Nemesis) -> Result<Vec<Violation>> {
        let nodes: Vec<_> = self.deployment.of(Role::AgentStreaming).cloned().collect();
        let (only, others) = nodes.split_first().expect("there is a worker");
        for other in others {
            other.terminate().await?;
        }
        let ask = Ask { number: self.record.number(), wish: Wish::Poison };
        let mut client = Client {
            people: Arc::clone(&self.people),
            person: 0,
            urls: self.deployment.urls(),
            record: Arc::clone(&self.record),
            rng: StdRng::seed_from_u64(self.layout.seed),
            patience: self.layout.patience,
        };
        let draft = format!("{}-poison-{}", self.layout.seed, self.rounds);
        let watching = chassis::task::spawn(async move { client.turn(ask, &draft, Mood::Watch).await });
        let clock = Stopwatch::start();
        let wanted = usize::try_from(self.rules.recoveries)? + 1;
        let mut killed = 0;
        while !watching.is_finished() && clock.elapsed() < PARKED_WITHIN && killed <= wanted {
            if self.record.calls_of(ask.number) > killed {
                killed = self.record.calls_of(ask.number);
                only.kill().await?;
                *nemesis.counts.entry("poisoned workers".to_owned()).or_default() += 1;
                only.start().await?;
            }
            sleep(Duration::from_millis(5)).await;
        }
        self.deployment.heal().await?;
        watching.await?;
        let right = (1..=wanted).contains(&killed);
        let text = format!("it killed {killed} workers, {wanted} are enough");
        Ok(if right { Vec::new() } else { vec![Violation { rule: "a turn that kills its workers is given up", turn: None, text }] })
    }
}

async fn act(nemesis: &mut Nemesis, scenario: Scenario, amount: u64) -> Result<Vec<String>> {
    match scenario {
        Scenario::Calm => sleep(Duration::from_secs(amount)).await,
        Scenario::Kills => nemesis.kills(amount).await?,
        Scenario::Stops => nemesis.stops(amount).await?,
        Scenario::Engines => {
            nemesis.postgres(amount).await?;
            nemesis.redis().await?;
        }
        Scenario::Network => {
            nemesis.network(amount).await?;
            nemesis.doubts(1).await?;
        }
        Scenario::Rolling => nemesis.rolling(amount).await?,
        Scenario::Failpoints => return nemesis.failpoints(NEXT_FAILPOINT_WITHIN).await,
        Scenario::Deaf => nemesis.deaf().await,
        Scenario::Unwritten => {
            for _ in 0..amount {
                nemesis.unwritten().await?;
            }
        }
        Scenario::Stale => {
            for _ in 0..amount {
                nemesis.stale().await?;
            }
        }
        Scenario::Fails(points) => return nemesis.fails(points).await,
        Scenario::Poison => {}
    }
    Ok(Vec::new())
}

fn tally(turns: &[Turn], verdict: &mut Verdict) {
    for turn in turns {
        let reason = if turn.row.reason.is_empty() { String::new() } else { format!(" {}", turn.row.reason) };
        verdict.count(format!("turns {}{reason}", turn.row.state), 1);
        verdict.count("turns", 1);
        verdict.count("events", turn.log.len() as u64);
        verdict.count("provider calls", turn.calls.len() as u64);
        verdict.count("superseded steps", turn.log.iter().filter(|event| event.kind == "step.superseded").count() as u64);
    }
}
