//! Samples of durations.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::Result;

/// Durations of one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, other: Samples) {
        self.0.extend(other.0);
    }

    /// Measures a future.
    pub(crate) async fn time<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let start = Instant::now();
        let value = work.await?;
        self.push(start.elapsed());
        Ok(value)
    }

    #[allow(clippy::cast_precision_loss, reason = "far below 2^52 samples")]
    pub(crate) fn count(&self) -> f64 {
        self.0.len() as f64
    }

    pub(crate) fn p50(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn p95(&self) -> f64 {
        self.quantile(0.95)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    pub(crate) fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// A quantile in seconds, without interpolation.
    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
        let index = ((sorted.len().saturating_sub(1)) as f64 * part).round() as usize;
        sorted.get(index).map_or(f64::NAN, Duration::as_secs_f64)
    }
}

/// The median of a figure with one value per round.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The indices of the targets in the order of a round. The first one rotates.
pub(crate) fn rotated(targets: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..targets).map(move |index| (index + round) % targets)
}
