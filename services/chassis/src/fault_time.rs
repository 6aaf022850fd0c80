//! Times that fault runs shorten: what a service does hours or days after something else cannot be reached in a run of minutes.
//!
//! A service passes each such time through [`shortened`]. Without the feature `failpoints` this is the time itself. With it, `FAULT_TIMES`
//! may replace the time by its name, in milliseconds: `object-sweep-grace=4000;write-lease=10000`.

use std::time::Duration;

/// The time with this name: `time`, or what a fault run has set.
#[cfg(not(feature = "failpoints"))]
#[inline]
#[must_use]
pub const fn shortened(_name: &str, time: Duration) -> Duration {
    time
}

/// The time with this name: `time`, or what a fault run has set.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn shortened(name: &str, time: Duration) -> Duration {
    use std::sync::LazyLock;

    #[allow(clippy::disallowed_methods, reason = "not a setting: only the chaos harness's build reads it")]
    static TIMES: LazyLock<String> = LazyLock::new(|| std::env::var("FAULT_TIMES").unwrap_or_default());

    of(&TIMES, name).unwrap_or(time)
}

/// The time with this name in a list.
///
/// # Panics
/// The list has another form.
#[cfg(feature = "failpoints")]
fn of(times: &str, name: &str) -> Option<Duration> {
    let (_, millis) = times.split(';').filter_map(|entry| entry.split_once('=')).find(|(key, _)| *key == name)?;
    Some(Duration::from_millis(millis.parse().expect("FAULT_TIMES has milliseconds")))
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_replaced_by_its_name() {
        let times = "write-lease=10000;object-sweep-grace=4000";
        assert_eq!(of(times, "object-sweep-grace"), Some(Duration::from_secs(4)));
        assert_eq!(of(times, "lease"), None);
        assert_eq!(of("", "write-lease"), None);
        assert_eq!(shortened("no-such-time", Duration::from_secs(1)), Duration::from_secs(1));
    }
}
