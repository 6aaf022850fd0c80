//! Counters in Redis, shared by all replicas. One script decides all checks of a request, by the clock of Redis.
//!
//! On a Redis Cluster the keys of a script must have the same hash tag. The tag is the subject, so one script decides the checks of one
//! subject. A request with several subjects runs one script for each, in the order of their names, and a refusal refunds the units that the
//! earlier scripts took. In between, other requests may be refused because of those units, but never allowed by mistake.

use std::{collections::BTreeMap, time::Duration};

use fred::{
    clients::Pool,
    error::Error,
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand, Value, config::Options, scripts::Script},
};

use super::{Check, Clock, Counter, Unreachable};
use crate::{decision::Decision, policy::Rule};

const CHECK: &str = include_str!("check.lua");
/// Values per check in the answer of the script.
const VALUES: usize = 5;

/// Counters under one key prefix.
pub struct Redis {
    pool: Pool,
    script: Script,
    options: Options,
    /// For all scripts of a request.
    timeout: Duration,
    prefix: String,
    clock: Clock,
}

/// What the script does.
#[derive(Clone, Copy)]
enum Mode {
    Take,
    /// Decides and takes nothing.
    Peek,
}

/// A decision, and the time at which its units were stored.
#[derive(Clone, Copy)]
struct Answer {
    decision: Decision,
    taken_at: i64,
}

impl Redis {
    /// Keys begin with `prefix`, so that clusters can share one server. A request fails if Redis does not answer within `timeout`.
    pub(crate) fn new(pool: Pool, prefix: &str, timeout: Duration, clock: Clock) -> Self {
        // A command is sent once, and only on an open connection: a repeated one could take twice.
        let options = Options { fail_fast: true, max_attempts: Some(1), timeout: Some(timeout), ..Options::default() };
        Self { pool, script: Script::from_lua(CHECK), options, timeout, prefix: prefix.to_owned(), clock }
    }

    /// Runs one script per subject, in the order of their names.
    pub(super) async fn take_by_subject(&self, checks: &[Check]) -> Result<Vec<Decision>, Unreachable> {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, check) in checks.iter().enumerate() {
            groups.entry(&check.subject).or_default().push(i);
        }
        let mut answers: Vec<Option<Answer>> = vec![None; checks.len()];
        let mut taken: Vec<&Vec<usize>> = Vec::new();
        let mut refused = false;
        for group in groups.values() {
            let mode = if refused { Mode::Peek } else { Mode::Take };
            match self.run(mode, &select(checks, group)).await {
                Ok(some) => store(&mut answers, group, &some),
                Err(error) => {
                    self.refund(checks, &taken, &answers).await;
                    return Err(error);
                }
            }
            if refused {
                continue;
            }
            refused = group.iter().any(|i| answers[*i].is_some_and(|a| !a.decision.allowed));
            if !refused {
                taken.push(group);
            }
        }
        if refused {
            self.refund(checks, &taken, &answers).await;
            for group in taken {
                let current = self.run(Mode::Peek, &select(checks, group)).await?;
                store(&mut answers, group, &current);
            }
        }
        Ok(answers.into_iter().flatten().map(|a| a.decision).collect())
    }

    /// Refunds the units of these groups. If Redis cannot be reached, they are free again after their window.
    async fn refund(&self, checks: &[Check], groups: &[&Vec<usize>], answers: &[Option<Answer>]) {
        for group in groups {
            let mut args = vec![Value::from("refund"), self.now()];
            for i in *group {
                let (rule, cost) = (checks[*i].policy.rule, checks[*i].cost);
                let taken_at = answers[*i].map_or(0, |a| a.taken_at);
                let (algorithm, _, span) = script_arguments(rule);
                args.extend([algorithm.into(), taken_at.into(), span, i64::from(cost).into()]);
            }
            let group_checks = select(checks, group);
            let keys = group_checks.iter().map(|check| self.key(check)).collect();
            if let Err(error) = self.call(keys, args).await {
                tracing::warn!(error = %error, "the units of a refused request could not be refunded");
            }
        }
    }

    async fn run(&self, mode: Mode, checks: &[&Check]) -> Result<Vec<Answer>, Unreachable> {
        let mode = match mode {
            Mode::Take => "take",
            Mode::Peek => "peek",
        };
        let mut args = vec![Value::from(mode), self.now()];
        for check in checks {
            let (algorithm, size, span) = script_arguments(check.policy.rule);
            args.extend([algorithm.into(), size, span, i64::from(check.cost).into()]);
        }
        let keys = checks.iter().map(|check| self.key(check)).collect();
        let values = self.call(keys, args).await.map_err(|e| Unreachable(e.into()))?;
        if values.len() != checks.len() * VALUES {
            return Err(Unreachable(format!("the script answered {} values for {} checks", values.len(), checks.len()).into()));
        }
        Ok(values.chunks_exact(VALUES).map(Answer::read).collect())
    }

    /// Calls the script by its hash. A server that does not know the script gets its text and keeps it. (The `evalsha` of fred takes no
    /// options, and without them a call waits until Redis can be reached again.)
    async fn call(&self, keys: Vec<String>, args: Vec<Value>) -> Result<Vec<i64>, Error> {
        let client = self.pool.next_connected().with_options(&self.options);
        let mut words = Vec::with_capacity(2 + keys.len() + args.len());
        words.push(Value::from(self.script.sha1().clone()));
        words.push(Value::from(u32::try_from(keys.len()).unwrap_or_default()));
        words.extend(keys.into_iter().map(Value::from));
        words.extend(args);
        match client.custom(command("EVALSHA"), words.clone()).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                words[0] = CHECK.into();
                client.custom(command("EVAL"), words).await
            }
            answer => answer,
        }
    }

    fn now(&self) -> Value {
        self.clock.manual().map(|now| now.to_string()).unwrap_or_default().into()
    }

    /// The subject is the hash tag, so its braces are escaped. The algorithm is part of the key, so that a policy whose algorithm changes
    /// starts without a state.
    fn key(&self, check: &Check) -> String {
        let subject = check.subject.replace('%', "%25").replace('{', "%7B").replace('}', "%7D");
        format!("{}rl:{{{subject}}}:{}:{}", self.prefix, check.policy.name, script_arguments(check.policy.rule).0)
    }
}

impl Counter for Redis {
    async fn take(&self, checks: &[Check]) -> Result<Vec<Decision>, Unreachable> {
        let decisions = async {
            if self.pool.is_clustered() {
                return self.take_by_subject(checks).await;
            }
            let answers = self.run(Mode::Take, &checks.iter().collect::<Vec<_>>()).await?;
            Ok(answers.into_iter().map(|a| a.decision).collect())
        };
        tokio::time::timeout(self.timeout, decisions).await.unwrap_or_else(|late| Err(Unreachable(late.into())))
    }
}

impl Answer {
    fn read(values: &[i64]) -> Self {
        let count = |i: usize| u64::try_from(values[i]).unwrap_or_default();
        let decision = Decision {
            allowed: values[0] == 1,
            remaining: u32::try_from(values[1]).unwrap_or_default(),
            reset_after: Duration::from_micros(count(2)),
            retry_after: Duration::from_micros(count(3)),
        };
        Self { decision, taken_at: values[4] }
    }
}

/// The first key is the third argument, after the script and the number of keys. It decides the node.
fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::Offset(2), false)
}

/// A rule as arguments of the script: algorithm, size, span.
fn script_arguments(rule: Rule) -> (&'static str, Value, Value) {
    // The limits of policies keep both far below the range of the type.
    let number = |n: u64| Value::from(i64::try_from(n).unwrap_or(i64::MAX));
    match rule {
        Rule::SlidingLog(window) => ("log", number(window.limit.into()), number(window.length)),
        Rule::Gcra(rate) => ("gcra", number(rate.burst.into()), number(rate.interval)),
    }
}

fn select<'a>(checks: &'a [Check], group: &[usize]) -> Vec<&'a Check> {
    group.iter().map(|i| &checks[*i]).collect()
}

fn store(answers: &mut [Option<Answer>], group: &[usize], some: &[Answer]) {
    for (i, answer) in group.iter().zip(some) {
        answers[*i] = Some(*answer);
    }
}
