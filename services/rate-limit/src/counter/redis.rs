//! Counters in Redis, shared by every replica: one script decides all checks of a request on Redis's own clock.
//!
//! On a cluster a script sees the keys of one hash tag only. The tag is the subject, so the checks of one subject stay one
//! script; several subjects are asked one after the other in the order of their names, and a refusal gives back what the
//! earlier ones took. Until then others may see those units as taken: they are refused rather than let through.

use std::{collections::BTreeMap, time::Duration};

use fred::{
    clients::Pool,
    error::Error,
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand, Value, config::Options, scripts::Script},
};

use super::{Ask, Away, Clock, Counter};
use crate::{decision::Decision, policy::Rule};

const CHECK: &str = include_str!("check.lua");
/// Values per check in the script's answer.
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

/// What the script is to do.
#[derive(Clone, Copy)]
enum Mode {
    Take,
    Look,
}

/// A decision and the time under which its units were stored.
#[derive(Clone, Copy)]
struct Answer {
    decision: Decision,
    stamp: i64,
}

impl Redis {
    /// Keys begin with `prefix`, so that clusters can share one server. An answer later than `timeout` is no answer.
    #[must_use]
    pub fn new(pool: Pool, prefix: &str, timeout: Duration, clock: Clock) -> Self {
        // Once, and only on a live connection: a command that is sent again could take twice.
        let options = Options { fail_fast: true, max_attempts: Some(1), timeout: Some(timeout), ..Options::default() };
        Self { pool, script: Script::from_lua(CHECK), options, timeout, prefix: prefix.to_owned(), clock }
    }

    /// One script per subject, in the order of their names.
    pub(super) async fn take_by_subject(&self, asks: &[Ask]) -> Result<Vec<Decision>, Away> {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, ask) in asks.iter().enumerate() {
            groups.entry(&ask.subject).or_default().push(i);
        }
        let mut answers: Vec<Option<Answer>> = vec![None; asks.len()];
        let mut taken: Vec<&Vec<usize>> = Vec::new();
        let mut refused = false;
        for group in groups.values() {
            let mode = if refused { Mode::Look } else { Mode::Take };
            match self.run(mode, &select(asks, group)).await {
                Ok(some) => place(&mut answers, group, &some),
                Err(error) => {
                    self.give_back(asks, &taken, &answers).await;
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
            self.give_back(asks, &taken, &answers).await;
            for group in taken {
                let again = self.run(Mode::Look, &select(asks, group)).await?;
                place(&mut answers, group, &again);
            }
        }
        Ok(answers.into_iter().flatten().map(|a| a.decision).collect())
    }

    /// As far as Redis can be reached: units that stay taken are free again after their window.
    async fn give_back(&self, asks: &[Ask], groups: &[&Vec<usize>], answers: &[Option<Answer>]) {
        for group in groups {
            let mut args = vec![Value::from("give"), self.now()];
            for i in *group {
                let (rule, cost) = (asks[*i].policy.rule, asks[*i].cost);
                let stamp = answers[*i].map_or(0, |a| a.stamp);
                let (algorithm, _, span) = spell(rule);
                args.extend([algorithm.into(), stamp.into(), span, i64::from(cost).into()]);
            }
            let chosen = select(asks, group);
            let keys = chosen.iter().map(|ask| self.key(ask)).collect();
            if let Err(error) = self.call(keys, args).await {
                tracing::warn!(error = %error, "units of a refused request could not be given back");
            }
        }
    }

    async fn run(&self, mode: Mode, asks: &[&Ask]) -> Result<Vec<Answer>, Away> {
        let mode = match mode {
            Mode::Take => "take",
            Mode::Look => "look",
        };
        let mut args = vec![Value::from(mode), self.now()];
        for ask in asks {
            let (algorithm, size, span) = spell(ask.policy.rule);
            args.extend([algorithm.into(), size, span, i64::from(ask.cost).into()]);
        }
        let keys = asks.iter().map(|ask| self.key(ask)).collect();
        let values = self.call(keys, args).await.map_err(|e| Away(e.into()))?;
        if values.len() != asks.len() * VALUES {
            return Err(Away(format!("the script answered {} values for {} checks", values.len(), asks.len()).into()));
        }
        Ok(values.chunks_exact(VALUES).map(Answer::read).collect())
    }

    /// By hash; a server that does not know the script gets its text, which it then remembers. (fred's own `evalsha` takes no
    /// options, and without them a call waits for Redis to come back.)
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
        self.clock.set().map(|now| now.to_string()).unwrap_or_default().into()
    }

    /// The subject is the hash tag; braces in it would move the tag. The algorithm is part of the key, so that a policy that
    /// changes it starts anew.
    fn key(&self, ask: &Ask) -> String {
        let subject = ask.subject.replace('%', "%25").replace('{', "%7B").replace('}', "%7D");
        format!("{}rl:{{{subject}}}:{}:{}", self.prefix, ask.policy.name, spell(ask.policy.rule).0)
    }
}

impl Counter for Redis {
    async fn take(&self, asks: &[Ask]) -> Result<Vec<Decision>, Away> {
        let decisions = async {
            if self.pool.is_clustered() {
                return self.take_by_subject(asks).await;
            }
            let answers = self.run(Mode::Take, &asks.iter().collect::<Vec<_>>()).await?;
            Ok(answers.into_iter().map(|a| a.decision).collect())
        };
        tokio::time::timeout(self.timeout, decisions).await.unwrap_or_else(|late| Err(Away(late.into())))
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
        Self { decision, stamp: values[4] }
    }
}

/// The first key, which decides the node, follows the script and the number of keys.
fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::Offset(2), false)
}

/// A rule as the script reads it: algorithm, size, span.
fn spell(rule: Rule) -> (&'static str, Value, Value) {
    // Policies keep both far below the type's end.
    let whole = |n: u64| Value::from(i64::try_from(n).unwrap_or(i64::MAX));
    match rule {
        Rule::SlidingLog(window) => ("log", whole(window.limit.into()), whole(window.length)),
        Rule::Gcra(rate) => ("gcra", whole(rate.burst.into()), whole(rate.interval)),
    }
}

fn select<'a>(asks: &'a [Ask], group: &[usize]) -> Vec<&'a Ask> {
    group.iter().map(|i| &asks[*i]).collect()
}

fn place(answers: &mut [Option<Answer>], group: &[usize], some: &[Answer]) {
    for (i, answer) in group.iter().zip(some) {
        answers[*i] = Some(*answer);
    }
}
