//! The policies: the shipped ones, and a file that replaces or adds policies by name. All faults of a file are reported at once.

use std::{fmt, sync::Arc, time::Duration};

use chassis::config::{Setting, nearest};
use serde_yaml_ng::{Mapping, Value};

use crate::{decision::micros, gcra::Rate, window::Window};

/// The policies that are compiled into the executable.
const SHIPPED: &str = include_str!("../policies.yaml");
const MAX_NAME_BYTES: usize = 63;
/// A sliding log stores one time per unit.
const MAX_LOG_LIMIT: u32 = 10_000;
/// Times are in microseconds, so a shorter interval between units would be too inexact.
const MIN_INTERVAL: Duration = Duration::from_micros(10);
const MAX_WINDOW: Duration = Duration::from_secs(31 * 24 * 3600);
const MAX_BURST: u32 = 1_000_000;
const FIELDS: [&str; 5] = ["name", "limit", "window", "algorithm", "burst"];

/// One entry of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub(crate) name: String,
    /// Units per window.
    pub(crate) limit: u32,
    pub(crate) window: Duration,
    pub(crate) rule: Rule,
}

/// How a policy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    SlidingLog(Window),
    Gcra(Rate),
}

impl Policy {
    /// The most units that one request can take.
    pub(crate) fn max_cost(&self) -> u32 {
        match self.rule {
            Rule::SlidingLog(window) => window.limit,
            Rule::Gcra(rate) => rate.burst,
        }
    }

    /// The same policy with the limit multiplied by the factor.
    pub(crate) fn times(&self, factor: u32) -> Self {
        let rule = match self.rule {
            Rule::SlidingLog(window) => Rule::SlidingLog(Window { limit: window.limit.saturating_mul(factor), ..window }),
            Rule::Gcra(rate) => {
                Rule::Gcra(Rate { interval: (rate.interval / u64::from(factor)).max(1), burst: rate.burst.saturating_mul(factor) })
            }
        };
        Self { limit: self.limit.saturating_mul(factor), rule, ..self.clone() }
    }
}

/// The policies in use, in the order of the file: the shipped ones first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies(Vec<Arc<Policy>>);

/// A fault in a file of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    line: Option<usize>,
    /// The name or the number of the entry; empty for a fault of the whole file.
    entry: String,
    problem: String,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.entry.is_empty() {
            write!(f, "policy {}: ", self.entry)?;
        }
        f.write_str(&self.problem)
    }
}

impl Policies {
    /// The shipped policies.
    ///
    /// # Panics
    /// Never, because a test reads the same file.
    #[must_use]
    pub fn shipped() -> Self {
        Self(read(SHIPPED).unwrap_or_else(|faults| panic!("the shipped policies are invalid: {faults:?}")))
    }

    /// Replaces policies by those of the same name in a file, and appends the others of the file.
    ///
    /// # Errors
    /// Every fault of the file.
    pub fn with(mut self, yaml: &str) -> Result<Self, Vec<PolicyFault>> {
        let policies = read(yaml)?;
        let misspelt: Vec<_> = policies.iter().filter_map(|policy| self.misspelt(yaml, &policy.name)).collect();
        if !misspelt.is_empty() {
            return Err(misspelt);
        }
        for policy in policies {
            match self.0.iter_mut().find(|p| p.name == policy.name) {
                Some(place) => *place = policy,
                None => self.0.push(policy),
            }
        }
        Ok(self)
    }

    /// A new name that is almost a known one is probably misspelt, and would be a limit without effect.
    fn misspelt(&self, yaml: &str, name: &str) -> Option<PolicyFault> {
        let known = || self.names();
        if known().any(|known| known == name) {
            return None;
        }
        let anagram = known().find(|known| letters(known) == letters(name));
        let meant = anagram.or_else(|| nearest(name, known()))?;
        let problem = format!("unknown; did you mean {meant}? A new policy needs a name that is less similar");
        Some(PolicyFault { line: line_of(yaml, name, 0), entry: name.to_owned(), problem })
    }

    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Policy>> {
        self.0.iter().find(|p| p.name == name)
    }

    /// The names of the policies, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|policy| policy.name.as_str())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.iter().map(Arc::as_ref)
    }
}

fn letters(name: &str) -> Vec<u8> {
    let mut letters = name.as_bytes().to_vec();
    letters.sort_unstable();
    letters
}

fn read(yaml: &str) -> Result<Vec<Arc<Policy>>, Vec<PolicyFault>> {
    let file_fault = |line, problem: String| vec![PolicyFault { line, entry: String::new(), problem }];
    let document: Value =
        serde_yaml_ng::from_str(yaml).map_err(|e| file_fault(e.location().map(|l| l.line()), format!("this is not YAML: {e}")))?;
    let entries = match &document {
        Value::Mapping(map) if map.len() == 1 => map.get("policies").and_then(Value::as_sequence),
        _ => None,
    };
    let entries = entries.ok_or_else(|| file_fault(None, "must contain one list named policies".into()))?;
    let mut faults = Vec::new();
    let mut policies: Vec<Arc<Policy>> = Vec::new();
    for (index, value) in entries.iter().enumerate() {
        let name = value.get("name").and_then(Value::as_str);
        let line = name.and_then(|name| line_of(yaml, name, policies.iter().filter(|p| p.name == name).count()));
        let mut entry = Entry { label: name.map_or_else(|| format!("number {}", index + 1), str::to_owned), line, faults: &mut faults };
        let Some(map) = value.as_mapping() else {
            entry.fault("must be a mapping with name, limit and window");
            continue;
        };
        let policy = entry.policy(map);
        if name.is_some_and(|name| policies.iter().any(|p| p.name == name)) {
            entry.fault("occurs twice in this file");
        }
        policies.extend(policy.map(Arc::new));
    }
    if faults.is_empty() { Ok(policies) } else { Err(faults) }
}

/// The line on which the entry with a name begins, for error messages. The parser does not record positions. A file in flow style has no
/// such line.
fn line_of(yaml: &str, name: &str, skip: usize) -> Option<usize> {
    let names = |line: &str| {
        let line = line.trim_start().trim_start_matches('-').trim_start();
        line.strip_prefix("name:").is_some_and(|rest| rest.split('#').next().is_some_and(|v| v.trim().trim_matches(['"', '\'']) == name))
    };
    yaml.lines().enumerate().filter(|(_, line)| names(line)).nth(skip).map(|(i, _)| i + 1)
}

/// Reads one entry and records its faults.
struct Entry<'a> {
    label: String,
    line: Option<usize>,
    faults: &'a mut Vec<PolicyFault>,
}

impl Entry<'_> {
    fn policy(&mut self, map: &Mapping) -> Option<Policy> {
        let before = self.faults.len();
        for key in map.keys() {
            let key = key.as_str().unwrap_or("(not a text)");
            if !FIELDS.contains(&key) {
                self.fault(format!("{key} is not a field; the fields are {}", FIELDS.join(", ")));
            }
        }
        let name = self.name(map);
        let limit = self.count(map, "limit", MAX_BURST);
        let window = self.window(map);
        let gcra = self.is_gcra(map);
        let burst = if map.contains_key("burst") { self.count(map, "burst", MAX_BURST) } else { limit };
        if !gcra && map.contains_key("burst") {
            self.fault("burst is allowed only with algorithm gcra");
        }
        let (name, limit, window, burst) = (name?, limit?, window?, burst?);
        let rule = if gcra { self.rate(limit, window, burst) } else { self.log(limit, window) };
        (self.faults.len() == before).then_some(Policy { name, limit, window, rule })
    }

    fn name(&mut self, map: &Mapping) -> Option<String> {
        let Some(name) = map.get("name").and_then(Value::as_str) else {
            self.fault("name must be a text");
            return None;
        };
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(legal) {
            self.fault(format!("name must be 1 to {MAX_NAME_BYTES} lower-case letters, digits, - and _"));
            return None;
        }
        Some(name.to_owned())
    }

    fn count(&mut self, map: &Mapping, field: &str, max: u32) -> Option<u32> {
        let count = map.get(field).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=max).contains(n));
        if count.is_none() {
            self.fault(format!("{field} must be a whole number from 1 to {max}"));
        }
        count
    }

    fn window(&mut self, map: &Mapping) -> Option<Duration> {
        let Some(text) = map.get("window").and_then(Value::as_str) else {
            self.fault("window must be a duration such as 10s, 15m or 1h");
            return None;
        };
        match Duration::parse(text) {
            Ok(window) if (Duration::from_millis(1)..=MAX_WINDOW).contains(&window) => Some(window),
            Ok(_) => {
                self.fault("window must be 1ms to 31d");
                None
            }
            Err(problem) => {
                self.fault(format!("window {problem}"));
                None
            }
        }
    }

    fn is_gcra(&mut self, map: &Mapping) -> bool {
        match map.get("algorithm").map(Value::as_str) {
            None | Some(Some("sliding_log")) => false,
            Some(Some("gcra")) => true,
            Some(_) => {
                self.fault("algorithm must be sliding_log or gcra");
                false
            }
        }
    }

    fn log(&mut self, limit: u32, window: Duration) -> Rule {
        if limit > MAX_LOG_LIMIT {
            self.fault(format!("limit must be at most {MAX_LOG_LIMIT} with sliding_log; use gcra"));
        }
        Rule::SlidingLog(Window { limit, length: micros(window) })
    }

    fn rate(&mut self, limit: u32, window: Duration, burst: u32) -> Rule {
        if window / limit < MIN_INTERVAL {
            self.fault("limit must be at most 100000 a second");
        }
        let rate = Rate::new(limit, micros(window), burst);
        if rate.interval.saturating_mul(u64::from(burst)) > micros(MAX_WINDOW) {
            self.fault("burst must be free again within 31d");
        }
        Rule::Gcra(rate)
    }

    fn fault(&mut self, problem: impl Into<String>) {
        self.faults.push(PolicyFault { line: self.line, entry: self.label.clone(), problem: problem.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(yaml: &str) -> Vec<String> {
        Policies::shipped().with(yaml).expect_err(yaml).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_shipped_policies_are_valid() {
        let policies = Policies::shipped();
        let table: Vec<_> = policies.iter().map(|p| (p.name.as_str(), p.limit, p.window.as_secs())).collect();
        assert_eq!(
            table,
            [
                ("agent", 3, 60),
                ("auth", 5, 900),
                ("auth-account", 45, 900),
                ("auth-guess", 5, 900),
                ("auth-challenge", 450, 900),
                ("auth-stuffing", 25, 86_400),
                ("auth-once", 1, 86_400),
                ("service-accounts", 10, 86_400),
                ("save", 30, 3600),
                ("general", 10, 10)
            ]
        );
        assert!(policies.iter().all(|p| matches!(p.rule, Rule::SlidingLog(_))));
    }

    #[test]
    fn a_file_replaces_policies_by_name_and_adds_others() {
        let yaml =
            "policies:\n  - {name: save, limit: 9, window: 1m}\n  - {name: bulk, limit: 100, window: 1s, algorithm: gcra, burst: 250}\n";
        let policies = Policies::shipped().with(yaml).expect("legal");
        assert_eq!(
            policies.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
            [
                "agent",
                "auth",
                "auth-account",
                "auth-guess",
                "auth-challenge",
                "auth-stuffing",
                "auth-once",
                "service-accounts",
                "save",
                "general",
                "bulk"
            ]
        );
        assert_eq!(policies.named("save").map(|p| p.limit), Some(9));
        let bulk = policies.named("bulk").expect("added");
        assert_eq!(bulk.rule, Rule::Gcra(Rate { interval: 10_000, burst: 250 }));
        assert_eq!(bulk.max_cost(), 250);
    }

    #[test]
    fn every_fault_is_named_with_its_line() {
        let yaml = "\
policies:
  - name: agent
    limit: 0
    window: soon
  - limit: 3
    window: 1s
  - name: Loud
    limit: 3
    window: 1s
    algorithm: token_bucket
    brust: 4
  - name: twice   # the first
    limit: 3
    window: 1s
  - name: \"twice\"
    limit: 20000
    window: 60d
  - name: fast
    limit: 20000
    window: 100ms
    algorithm: gcra
  - name: slow
    limit: 20000
    window: 1h
    burst: 3
  - 7
";
        let found = faults(yaml);
        let expected = [
            "line 2: policy agent: limit must be a whole number from 1 to 1000000",
            "line 2: policy agent: window",
            "policy number 2: name must be a text",
            "line 7: policy Loud: brust is not a field",
            "line 7: policy Loud: name must be",
            "line 7: policy Loud: algorithm must be sliding_log or gcra",
            "line 15: policy twice: window must be 1ms to 31d",
            "line 15: policy twice: occurs twice in this file",
            "line 18: policy fast: limit must be at most 100000 a second",
            "line 22: policy slow: burst is allowed only with algorithm gcra",
            "line 22: policy slow: limit must be at most 10000 with sliding_log",
            "policy number 8: must be a mapping",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found} / {expected}");
        }
    }

    #[test]
    fn a_misspelt_name_is_a_fault_and_a_different_name_is_not() {
        let with = |name: &str| Policies::shipped().with(&format!("policies:\n  - {{name: {name}, limit: 1, window: 1s}}\n"));
        for (name, meant) in [("agnet", "agent"), ("genral", "general"), ("saves", "save"), ("auht", "auth")] {
            let faults = with(name).expect_err(name);
            assert!(faults[0].to_string().contains(&format!("policy {name}: unknown; did you mean {meant}?")), "{}", faults[0]);
        }
        for name in ["exports", "agent", "my-own"] {
            assert!(with(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_file_of_another_shape_is_refused() {
        for yaml in ["", "[]", "policies: 3", "policies: []\nother: 1", "limits: []"] {
            assert_eq!(faults(yaml), ["must contain one list named policies"], "{yaml}");
        }
        let broken = faults("policies:\n  - name: [\n");
        assert!(broken[0].contains("this is not YAML") && broken[0].starts_with("line "), "{broken:?}");
        assert!(faults("policies:\n  - {name: a, limit: 1, limit: 2, window: 1s}\n")[0].contains("duplicate"));
    }
}
