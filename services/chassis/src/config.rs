//! Reads the environment once. A role reads all its settings before it calls [`Env::check`], so that an operator sees all faults at
//! once. The same reads make the list of settings that `--help` prints.

mod setting;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

pub use setting::{BoundedNumber, Secret, Setting};

/// The exit status after a configuration fault (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// A setting in the help text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingDoc {
    pub name: String,
    /// As it would be written in the environment; `None` when the setting is off, missing or derived by default.
    pub default: Option<String>,
    /// How the default follows from other settings or from the machine, in words.
    pub derived: Option<&'static str>,
    pub help: &'static str,
    /// The value must never be shown.
    pub secret: bool,
}

/// The environment of a process, the settings that were read from it, and their faults.
#[derive(Debug, Clone)]
pub struct Env {
    /// By name. `None` if the value is not valid Unicode.
    values: BTreeMap<String, Option<String>>,
    docs: Vec<SettingDoc>,
    known: BTreeSet<String>,
    faults: Vec<(String, String)>,
    describing: bool,
}

impl Env {
    /// The environment of this process.
    #[must_use]
    pub fn process() -> Self {
        let pairs = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())));
        Self::from_values(pairs.collect())
    }

    /// An environment with exactly these variables.
    pub fn of<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::from_values(pairs.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect())
    }

    /// An empty environment for `--help`. Reading settings from it only lists them and must have no other effect.
    #[must_use]
    pub fn describe() -> Self {
        Self { describing: true, ..Self::from_values(BTreeMap::new()) }
    }

    fn from_values(values: BTreeMap<String, Option<String>>) -> Self {
        Self { values, docs: Vec::new(), known: BTreeSet::new(), faults: Vec::new(), describing: false }
    }

    /// Whether the settings are only listed. Nothing may be created then.
    #[must_use]
    pub fn is_describing(&self) -> bool {
        self.describing
    }

    /// Whether the variable has a value. An empty variable counts as absent, because `${NAME:-}` in a compose file makes one.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| value.as_ref().is_none_or(|text| !text.trim().is_empty()))
    }

    /// Sets a variable that has no value, for a launcher that determines the value itself.
    pub fn set_default(&mut self, name: &str, value: impl Into<String>) {
        if !self.is_set(name) {
            self.values.insert(name.to_owned(), Some(value.into()));
        }
    }

    /// Reads a setting that has a default. Records a fault and returns the default if the value is invalid.
    ///
    /// # Panics
    /// The default does not parse, which is a bug.
    pub fn get<T: Setting>(&mut self, name: &str, default: &str, help: &'static str) -> T {
        self.document::<T>(name, Some(default), None, help);
        self.read(name).unwrap_or_else(|| T::parse(default).unwrap_or_else(|e| panic!("the default of {name} does not parse: {e}")))
    }

    /// Reads a setting without a default. Records a fault and returns `None` if the value is invalid.
    pub fn optional<T: Setting>(&mut self, name: &str, help: &'static str) -> Option<T> {
        self.document::<T>(name, None, None, help);
        self.read(name)
    }

    /// Reads a setting whose default follows from other settings or from the machine. `default` says how.
    pub fn derived<T: Setting>(&mut self, name: &str, default: &'static str, help: &'static str) -> Option<T> {
        self.document::<T>(name, None, Some(default), help);
        self.read(name)
    }

    /// Records a fault of a setting.
    pub fn fault(&mut self, name: &str, problem: impl Into<String>) {
        let fault = (name.to_owned(), problem.into());
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Records that a value is out of bounds. `must` is the rule; the value is added to the text.
    pub fn out_of_bounds(&mut self, name: &str, must: impl Into<String>) {
        let value = self.values.get(name).and_then(Option::as_deref).map(value_suffix).unwrap_or_default();
        self.fault(name, format!("{}{value}", must.into()));
    }

    /// Records a fault for each of these durations that is zero.
    pub fn require_positive<const N: usize>(&mut self, durations: [(&str, Duration); N]) {
        for (name, _) in durations.into_iter().filter(|(_, duration)| duration.is_zero()) {
            self.out_of_bounds(name, "must be longer than 0s");
        }
    }

    /// Allows settings that other roles read, so that all roles can share one environment file.
    pub fn known_elsewhere(&mut self, settings: &[SettingDoc]) {
        self.known.extend(settings.iter().map(|doc| doc.name.clone()));
    }

    /// Records a fault for each unknown `BACKLOT_*` variable, because a mistyped name would have no effect.
    pub fn reject_unknown(&mut self) {
        let unknown: Vec<_> =
            self.values.keys().filter(|name| name.starts_with("BACKLOT_") && !self.known.contains(*name)).cloned().collect();
        for name in unknown {
            let problem = match nearest(&name, self.known.iter().map(String::as_str)) {
                Some(known) => format!("unknown setting; did you mean {known}?"),
                None => "unknown setting".to_owned(),
            };
            self.fault(&name, problem);
        }
    }

    /// Fails if a fault was recorded.
    ///
    /// # Errors
    /// All faults.
    pub fn check(&self) -> Result<(), Faults> {
        if self.faults.is_empty() { Ok(()) } else { Err(Faults(self.faults.clone())) }
    }

    /// The settings that were read, in the order of reading, without duplicates.
    #[must_use]
    pub fn settings(&self) -> &[SettingDoc] {
        &self.docs
    }

    fn document<T: Setting>(&mut self, name: &str, default: Option<&str>, derived: Option<&'static str>, help: &'static str) {
        self.known.insert(name.to_owned());
        if !self.docs.iter().any(|doc| doc.name == name) {
            let default = default.filter(|text| !text.is_empty()).map(str::to_owned);
            self.docs.push(SettingDoc { name: name.to_owned(), default, derived, help, secret: T::SECRET });
        }
    }

    fn read<T: Setting>(&mut self, name: &str) -> Option<T> {
        if !self.is_set(name) {
            return None;
        }
        let Some(text) = self.values.get(name)?.clone() else {
            self.fault(name, "must be valid UTF-8");
            return None;
        };
        match T::parse(text.trim()) {
            Ok(value) => Some(value),
            Err(problem) => {
                let value = if T::SECRET { String::new() } else { value_suffix(&text) };
                self.fault(name, format!("{problem}{value}"));
                None
            }
        }
    }
}

/// The end of a fault that quotes the value. Values that look like a URL are not quoted, because they may contain a password.
fn value_suffix(text: &str) -> String {
    if text.contains('@') || text.contains("://") { String::new() } else { format!(", is {:?}", text.trim()) }
}

/// Whether a `/`, `?` or `#` in the password has split the URL: an `@` is in the path, in the fragment or in the name of a parameter,
/// or a host with a `:` has none while the query has one. The value of a parameter may contain `@`, such as the folder of a socket.
pub(crate) fn has_split_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (tail, fragment) = tail.split_once('#').unwrap_or((tail, ""));
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let name = |pair: &str| pair.split('=').next().is_some_and(|name| name.contains('@'));
    let is_in_query = host.contains(':') && !host.contains('@') && query.contains('@');
    is_in_query || path.contains('@') || fragment.contains('@') || query.split('&').any(name)
}

/// The faults of an environment, one line per fault: `NAME: problem`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(Vec<(String, String)>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, problem)) in self.0.iter().enumerate() {
            write!(f, "{}{name}: {problem}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// The known name that is nearest to a mistyped one, if at most a third of the name differs.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        .filter(|(d, _)| *d <= name.len() / 3)
        .map(|(_, candidate)| candidate)
}

/// The Levenshtein distance of two ASCII names.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn every_fault_is_reported_with_its_variable() {
        let mut env =
            Env::of([("BACKLOT_LISTEN", "nowhere"), ("BACKLOT_IDLE", "15"), ("BACKLOT_KEY", "k"), ("BACKLOT_URL", "ftp://me:pass")]);
        let listen: SocketAddr = env.get("BACKLOT_LISTEN", "127.0.0.1:8080", "where");
        let _: Duration = env.get("BACKLOT_IDLE", "15s", "how long");
        let _: Option<Secret> = env.optional("BACKLOT_KEY", "key");
        let _: Option<http::Uri> = env.optional("BACKLOT_URL", "peer");
        env.fault("BACKLOT_KEY", "is too short");
        assert_eq!(listen.port(), 8080);
        assert_eq!(
            env.check().unwrap_err().to_string(),
            "BACKLOT_LISTEN: must be an address and a port such as 127.0.0.1:8080 or [::1]:8080, is \"nowhere\"\n\
             BACKLOT_IDLE: must be a whole number and a unit, such as 300ms, 15s, 5m, 12h or 7d, is \"15\"\n\
             BACKLOT_URL: must begin with http://\n\
             BACKLOT_KEY: is too short"
        );
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        let mut env = Env::of([("REDIS_URL", ""), ("BACKLOT_NAMES", " a, ,b ")]);
        assert_eq!(env.optional::<Secret>("REDIS_URL", ""), None);
        assert_eq!(env.get::<Vec<String>>("BACKLOT_NAMES", "", ""), ["a", "b"]);
        env.set_default("REDIS_URL", "redis://x");
        assert_eq!(env.optional::<Secret>("REDIS_URL", "").unwrap().expose(), "redis://x");
    }

    #[test]
    fn a_mistyped_name_is_a_fault_with_a_suggestion() {
        let mut env = Env::of([("BACKLOT_LISTN", "x"), ("BACKLOT_ELSEWHERE", "x"), ("BACKLOT_ZZZZZZZZ", "x"), ("PATH", "/bin")]);
        let _: String = env.get("BACKLOT_LISTEN", "y", "");
        env.known_elsewhere(&[SettingDoc { name: "BACKLOT_ELSEWHERE".into(), default: None, derived: None, help: "", secret: false }]);
        env.reject_unknown();
        assert_eq!(
            env.check().unwrap_err().to_string(),
            "BACKLOT_LISTN: unknown setting; did you mean BACKLOT_LISTEN?\nBACKLOT_ZZZZZZZZ: unknown setting"
        );
    }

    #[test]
    fn the_settings_of_an_empty_environment_can_be_listed() {
        let mut env = Env::describe();
        let _: Duration = env.get("BACKLOT_IDLE", "15s", "how long");
        let _: Option<Secret> = env.optional("BACKLOT_KEY", "key");
        let _: Option<Secret> = env.optional("BACKLOT_KEY", "key");
        let _: Option<u32> = env.derived("BACKLOT_THREADS", "one per core", "threads");
        let shown: Vec<_> = env.settings().iter().map(|doc| (doc.name.as_str(), doc.default.as_deref(), doc.derived, doc.secret)).collect();
        let expected = [
            ("BACKLOT_IDLE", Some("15s"), None, false),
            ("BACKLOT_KEY", None, None, true),
            ("BACKLOT_THREADS", None, Some("one per core"), false),
        ];
        assert_eq!(shown, expected);
    }
}
