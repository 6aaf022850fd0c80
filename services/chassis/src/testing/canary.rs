//! Measures CPU starvation. A canary thread repeats a small piece of work. If that takes longer than on a machine that runs only the
//! tests, other processes have used the processors, or the machine is slow. The additional time is lost, and the time limits of tests do
//! not count it ([`Starvation`]). The processes of a cluster under test lose about the same time, because they compete for the same
//! processors.

use std::{
    future::Future,
    hint::black_box,
    pin::pin,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::time::{error::Elapsed, timeout};

use crate::clock;

/// Milliseconds since 1970.
pub type Millis = i64;

/// Converts a time to milliseconds since 1970.
#[must_use]
pub fn millis(moment: time::OffsetDateTime) -> Millis {
    Millis::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or(Millis::MAX)
}

/// The current time.
#[must_use]
pub fn now() -> Millis {
    millis(clock::now())
}

/// The pause between two pieces of work.
const PAUSE: Millis = 100;
/// The time that a piece of work, including the wake-up, takes without starvation. It is three milliseconds on an idle machine. Up to
/// twenty the processes of a cluster still run well, because most of it is the canary's wait for a processor.
const NORMAL: Millis = 20;
/// The work: checks this text, repeated `REPETITIONS` times, for valid UTF-8 `PASSES` times. The standard library is optimised in all
/// profiles.
const TEXT: &str = "ünïcode – 💡 ";
const REPETITIONS: usize = 4_096;
const PASSES: usize = 50;
/// Less lost time than this is normal.
const SIGNIFICANT: Millis = 250;
/// The least time that [`within`] waits before it checks its limit again.
const MIN_WAIT: Duration = Duration::from_millis(10);

/// The periods in which time was lost.
#[derive(Debug, Clone, Default)]
pub struct Starvation(Vec<Period>);

#[derive(Debug, Clone, Copy)]
struct Period {
    from: Millis,
    to: Millis,
    lost: Millis,
    /// The time lost before this period.
    before: Millis,
}

impl Starvation {
    /// Adds the time that was lost in a period. Periods must be in order and must not overlap.
    pub fn add(&mut self, from: Millis, to: Millis, lost: Millis) {
        let before = self.0.last().map_or(0, |last| last.before + last.lost);
        if from < to && lost > 0 {
            self.0.push(Period { from, to, lost: lost.min(to - from), before });
        }
    }

    /// The time that was lost between two times.
    #[must_use]
    pub fn lost(&self, from: Millis, to: Millis) -> Millis {
        (self.until(to) - self.until(from)).max(0)
    }

    /// The time that was available between two times.
    #[must_use]
    pub fn available(&self, from: Millis, to: Millis) -> Millis {
        to - from - self.lost(from, to)
    }

    fn until(&self, at: Millis) -> Millis {
        let started = self.0.partition_point(|period| period.from < at);
        let Some(last) = started.checked_sub(1).map(|index| self.0[index]) else { return 0 };
        last.before + last.lost * (at.min(last.to) - last.from) / (last.to - last.from)
    }
}

/// Whether at least a quarter of the time was lost, and at least [`SIGNIFICANT`].
fn is_significant(lost: Millis, of: Millis) -> bool {
    lost >= SIGNIFICANT && lost * 4 >= of
}

/// The time lost in a period, from the time that the piece of work at its end took.
fn lost_in(period: Millis, took: Millis) -> Millis {
    if took <= NORMAL { 0 } else { period - period * NORMAL / took }
}

/// The measurements of this process.
struct Measurements {
    starvation: Starvation,
    /// The end of the last piece of work.
    until: Millis,
}

static CANARY: LazyLock<Mutex<Measurements>> = LazyLock::new(|| {
    thread::Builder::new().name("canary".to_owned()).spawn(measure).expect("a thread");
    Mutex::new(Measurements { starvation: Starvation::default(), until: now() })
});

impl Measurements {
    /// The time lost since a time. If the current piece of work is overdue, all time since its due time is lost.
    fn lost(&self, since: Millis, now: Millis) -> Millis {
        let due = self.until + PAUSE + NORMAL;
        self.starvation.lost(since, now) + (now - due.max(since)).max(0)
    }
}

fn measurements() -> MutexGuard<'static, Measurements> {
    CANARY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn measure() {
    let text = TEXT.repeat(REPETITIONS);
    let mut since = measurements().until;
    loop {
        thread::sleep(Duration::from_millis(PAUSE.unsigned_abs()));
        for _ in 0..PASSES {
            black_box(str::from_utf8(black_box(text.as_bytes())).is_ok());
        }
        let done = now();
        let mut measurements = measurements();
        measurements.starvation.add(since, done, lost_in(done - since, done - since - PAUSE));
        (measurements.until, since) = (done, done);
    }
}

/// The starvation of this process so far.
#[must_use]
pub fn starvation() -> Starvation {
    measurements().starvation.clone()
}

/// Measures available time: elapsed time without lost time.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Millis);

impl Stopwatch {
    #[must_use]
    pub fn start() -> Self {
        // Starts the canary.
        drop(measurements());
        Self(now())
    }

    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let now = now();
        Duration::from_millis((now - self.0 - measurements().lost(self.0, now)).max(0).unsigned_abs())
    }

    /// The time lost since the start.
    #[must_use]
    pub fn lost(&self) -> Duration {
        Duration::from_millis(measurements().lost(self.0, now()).unsigned_abs())
    }

    /// Whether at least a quarter of the time since the start was lost, so that a timeout may be due to starvation.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        let now = now();
        is_significant(measurements().lost(self.0, now), now - self.0)
    }
}

/// Like [`timeout`], but counts only available time.
///
/// # Errors
/// The limit has passed.
pub async fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let clock = Stopwatch::start();
    let mut future = pin!(future);
    loop {
        let left = limit.saturating_sub(clock.elapsed());
        match timeout(left.max(MIN_WAIT), &mut future).await {
            Err(_) if clock.elapsed() < limit => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_piece_of_work_is_lost_time() {
        // The length of the period, the time of the work at its end, and the lost time.
        for (period, took, lost) in [(103, 3, 0), (120, NORMAL, 0), (140, 40, 70), (200, 100, 160), (5_100, 5_000, 5_080)] {
            assert_eq!(lost_in(period, took), lost, "{took} ms at the end of {period} ms");
        }
    }

    #[test]
    fn lost_time_is_known_between_any_two_times() {
        let mut starvation = Starvation::default();
        starvation.add(100, 200, 50);
        starvation.add(200, 300, 0);
        starvation.add(300, 400, 100);
        starvation.add(400, 400, 100);
        starvation.add(1_000, 2_000, Millis::MAX);
        for (from, to, lost) in [
            (0, 100, 0),
            (0, 150, 25),
            (0, 200, 50),
            (100, 200, 50),
            (150, 350, 75),
            (200, 300, 0),
            (0, 400, 150),
            (400, 1_000, 0),
            (0, 5_000, 1_150),
            (1_250, 1_500, 250),
            (3_000, 4_000, 0),
        ] {
            assert_eq!(starvation.lost(from, to), lost, "from {from} to {to}");
            assert_eq!(starvation.available(from, to), to - from - lost);
        }
    }

    #[test]
    fn a_quarter_of_the_time_is_significant_and_a_short_time_is_not() {
        for (lost, of, expected) in
            [(0, 0, false), (249, 300, false), (250, 300, true), (250, 1_000, true), (250, 1_001, false), (5_000, 9_000, true)]
        {
            assert_eq!(is_significant(lost, of), expected, "{lost} ms of {of} ms");
        }
    }

    #[test]
    fn the_time_of_overdue_work_is_lost() {
        let mut measurements = Measurements { starvation: Starvation::default(), until: 1_000 };
        measurements.starvation.add(800, 1_000, 100);
        for (since, now, lost) in [(800, 1_000, 100), (800, 1_120, 100), (900, 1_120, 50), (900, 1_220, 150), (1_150, 1_220, 70)] {
            assert_eq!(measurements.lost(since, now), lost, "since {since} at {now}");
        }
    }

    #[tokio::test]
    async fn a_wait_lasts_at_least_its_limit_and_ends() {
        let start = std::time::Instant::now();
        assert!(within(Duration::from_millis(50), std::future::pending::<()>()).await.is_err());
        assert!(start.elapsed() >= Duration::from_millis(45), "{:?}", start.elapsed());
        assert_eq!(within(Duration::ZERO, std::future::ready(1)).await, Ok(1));
    }
}
