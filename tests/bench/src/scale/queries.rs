//! The database calls of the services, from `/metrics`.

use std::collections::BTreeMap;

use anyhow::Result;

const DURATION: &str = "db_client_operation_duration_seconds";
/// The summary of the statement that writes most events.
const APPEND: &str = "append events";

/// Cumulative counts of operations by the upper bound of their duration.
#[derive(Debug, Clone, Default)]
struct Histogram(BTreeMap<u64, u64>);

impl Histogram {
    /// A quantile in seconds, interpolated linearly within its bucket.
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52 operations")]
    fn quantile(&self, part: f64) -> f64 {
        let total = self.0.values().copied().max().unwrap_or_default() as f64;
        let (mut below, mut counted) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            let (bound, count) = (f64::from_bits(*bound), *count as f64);
            if count >= total * part && count > counted {
                // The last bucket has no upper bound.
                let bound = if bound.is_finite() { bound } else { below };
                return below + (bound - below) * (total * part - counted) / (count - counted);
            }
            (below, counted) = (bound, count);
        }
        f64::NAN
    }

    fn count(&self) -> u64 {
        self.0.values().copied().max().unwrap_or_default()
    }

    fn combine(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        for (bound, count) in &other.0 {
            let own = self.0.entry(*bound).or_default();
            *own = with(*own, *count);
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Queries {
    all: Histogram,
    appends: Histogram,
}

impl Queries {
    pub(super) async fn read(http: &reqwest::Client, url: &str) -> Result<Self> {
        let text = http.get(url).send().await?.error_for_status()?.text().await?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut queries = Self::default();
        for line in text.lines() {
            let Some((labels, count)) = line.strip_prefix(DURATION).and_then(|line| line.strip_prefix("_bucket{")?.rsplit_once("} "))
            else {
                continue;
            };
            let label = |name: &str| Some(labels.split_once(&format!("{name}=\""))?.1.split_once('"')?.0);
            let (Some(bound), Ok(count)) = (label("le").and_then(bound), count.parse::<u64>()) else { continue };
            *queries.all.0.entry(bound).or_default() += count;
            if label("db_query_summary") == Some(APPEND) {
                *queries.appends.0.entry(bound).or_default() += count;
            }
        }
        queries
    }

    /// The difference to an earlier reading.
    pub(super) fn since(mut self, earlier: &Self) -> Self {
        self.all.combine(&earlier.all, u64::saturating_sub);
        self.appends.combine(&earlier.appends, u64::saturating_sub);
        self
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.all.combine(&other.all, u64::saturating_add);
        self.appends.combine(&other.appends, u64::saturating_add);
    }

    /// The p99 of all operations, in seconds.
    pub(super) fn p99(&self) -> f64 {
        self.all.quantile(0.99)
    }

    /// The p99 of the statement [`APPEND`], in seconds.
    pub(super) fn append_p99(&self) -> f64 {
        self.appends.quantile(0.99)
    }

    pub(super) fn appends(&self) -> u64 {
        self.appends.count()
    }
}

/// The bits of an upper bound. Positive numbers have the same order as their bits.
fn bound(text: &str) -> Option<u64> {
    let bound: f64 = if text == "+Inf" { f64::INFINITY } else { text.parse().ok()? };
    Some(bound.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated_within_their_bucket() {
        let line = |summary: &str, le: &str, count: u64| {
            format!("{DURATION}_bucket{{db_query_summary=\"{summary}\",db_system_name=\"postgresql\",le=\"{le}\"}} {count}\n")
        };
        let text = |factor: u64| {
            [
                line(APPEND, "0.001", 50 * factor),
                line(APPEND, "0.01", 100 * factor),
                line(APPEND, "+Inf", 100 * factor),
                line("select turn", "0.001", 0),
                line("select turn", "0.01", 0),
                line("select turn", "+Inf", 100 * factor),
                format!("{DURATION}_count{{le=\"no bucket\"}} 7\n"),
            ]
            .concat()
        };
        let (before, after) = (Queries::parse(&text(1)), Queries::parse(&text(3)));
        let queries = after.since(&before);
        assert_eq!((queries.all.count(), queries.appends()), (400, 200));
        assert!((queries.appends.quantile(0.5) - 0.001).abs() < 1e-9);
        assert!((queries.append_p99() - 0.00982).abs() < 1e-9);
        assert!((queries.p99() - 0.01).abs() < 1e-9);
        assert!(Queries::default().p99().is_nan());
    }
}
