//! How much of the time was really there. A canary does the same small piece of work again and again. What it waits and works
//! longer than it would on a machine that is only busy with the tests was taken by others, or the machine is slow: that time is
//! [`Starved`], and the bounds of the tests do not count it. Processes of a cluster compete with the same load for the same
//! processors, so what the canary misses, they miss.

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

/// A moment in milliseconds.
#[must_use]
pub fn millis(moment: time::OffsetDateTime) -> Millis {
    Millis::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or(Millis::MAX)
}

/// Now.
#[must_use]
pub fn now() -> Millis {
    millis(clock::now())
}

/// Between two pieces of work.
const PAUSE: Millis = 100;
/// What a piece may take with its wake-up on a machine that is not starved. On an idle machine it takes three milliseconds. While it
/// takes twenty the processes of a cluster still run well, because the canary waits for a processor longer than it works.
const BUSY: Millis = 20;
/// A piece of work: this text is checked so many times. The standard library does it, optimised in every profile.
const TEXT: &str = "ünïcode – 💡 ";
const REPEATED: usize = 4_096;
const PASSES: usize = 50;
/// Less than this is missing all the time.
const FELT: Millis = 250;
/// The shortest wait for something that has used its time up.
const SHORTEST: Duration = Duration::from_millis(10);

/// Stretches in which a part of the time was missing.
#[derive(Debug, Clone, Default)]
pub struct Starved(Vec<Stretch>);

#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: Millis,
    to: Millis,
    lost: Millis,
    /// Lost before this stretch.
    before: Millis,
}

impl Starved {
    /// So much of a stretch was missing. Stretches come in order and do not overlap.
    pub fn add(&mut self, from: Millis, to: Millis, lost: Millis) {
        let before = self.0.last().map_or(0, |last| last.before + last.lost);
        if from < to && lost > 0 {
            self.0.push(Stretch { from, to, lost: lost.min(to - from), before });
        }
    }

    /// What was missing between two moments.
    #[must_use]
    pub fn lost(&self, from: Millis, to: Millis) -> Millis {
        (self.until(to) - self.until(from)).max(0)
    }

    /// What was there between two moments.
    #[must_use]
    pub fn available(&self, from: Millis, to: Millis) -> Millis {
        to - from - self.lost(from, to)
    }

    fn until(&self, at: Millis) -> Millis {
        let begun = self.0.partition_point(|stretch| stretch.from < at);
        let Some(last) = begun.checked_sub(1).map(|index| self.0[index]) else { return 0 };
        last.before + last.lost * (at.min(last.to) - last.from) / (last.to - last.from)
    }
}

/// A quarter of the time or more was missing, and not only a moment of it.
fn felt(lost: Millis, of: Millis) -> bool {
    lost >= FELT && lost * 4 >= of
}

/// What of a stretch was missing that ended with a piece of work, if that took so long.
fn missing(stretch: Millis, took: Millis) -> Millis {
    if took <= BUSY { 0 } else { stretch - stretch * BUSY / took }
}

/// What the canary of this process has seen.
struct Book {
    starved: Starved,
    /// It has seen everything up to here.
    seen: Millis,
}

static CANARY: LazyLock<Mutex<Book>> = LazyLock::new(|| {
    thread::Builder::new().name("canary".to_owned()).spawn(watch).expect("a thread");
    Mutex::new(Book { starved: Starved::default(), seen: now() })
});

impl Book {
    /// What was missing since a moment. What the canary should have done by now and has not is missing as a whole.
    fn lost(&self, since: Millis, now: Millis) -> Millis {
        let due = self.seen + PAUSE + BUSY;
        self.starved.lost(since, now) + (now - due.max(since)).max(0)
    }
}

fn book() -> MutexGuard<'static, Book> {
    CANARY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch() {
    let text = TEXT.repeat(REPEATED);
    let mut since = book().seen;
    loop {
        thread::sleep(Duration::from_millis(PAUSE.unsigned_abs()));
        for _ in 0..PASSES {
            black_box(str::from_utf8(black_box(text.as_bytes())).is_ok());
        }
        let done = now();
        let mut book = book();
        book.starved.add(since, done, missing(done - since, done - since - PAUSE));
        (book.seen, since) = (done, done);
    }
}

/// Everything that this process has missed so far.
#[must_use]
pub fn starved() -> Starved {
    book().starved.clone()
}

/// Counts the time that was there.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Millis);

impl Stopwatch {
    #[must_use]
    pub fn start() -> Self {
        // The canary is at work from now on.
        drop(book());
        Self(now())
    }

    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let now = now();
        Duration::from_millis((now - self.0 - book().lost(self.0, now)).max(0).unsigned_abs())
    }

    /// What was missing since the start.
    #[must_use]
    pub fn lost(&self) -> Duration {
        Duration::from_millis(book().lost(self.0, now()).unsigned_abs())
    }

    /// Whether a quarter of the time since the start was missing: what went wrong meanwhile may be due to that.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        let now = now();
        felt(book().lost(self.0, now), now - self.0)
    }
}

/// Like [`timeout`], in time that was there.
///
/// # Errors
/// The time is over.
pub async fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let clock = Stopwatch::start();
    let mut future = pin!(future);
    loop {
        let left = limit.saturating_sub(clock.elapsed());
        match timeout(left.max(SHORTEST), &mut future).await {
            Err(_) if clock.elapsed() < limit => {}
            ended => return ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_piece_of_work_is_time_that_was_missing() {
        // How long a stretch was, what the work at its end took, and what was missing.
        for (stretch, took, lost) in [(103, 3, 0), (120, BUSY, 0), (140, 40, 70), (200, 100, 160), (5_100, 5_000, 5_080)] {
            assert_eq!(missing(stretch, took), lost, "{took} ms at the end of {stretch} ms");
        }
    }

    #[test]
    fn what_was_missing_is_told_between_any_two_moments() {
        let mut starved = Starved::default();
        starved.add(100, 200, 50);
        starved.add(200, 300, 0);
        starved.add(300, 400, 100);
        starved.add(400, 400, 100);
        starved.add(1_000, 2_000, Millis::MAX);
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
            assert_eq!(starved.lost(from, to), lost, "from {from} to {to}");
            assert_eq!(starved.available(from, to), to - from - lost);
        }
    }

    #[test]
    fn a_quarter_is_felt_and_a_moment_is_not() {
        for (lost, of, is) in
            [(0, 0, false), (249, 300, false), (250, 300, true), (250, 1_000, true), (250, 1_001, false), (5_000, 9_000, true)]
        {
            assert_eq!(felt(lost, of), is, "{lost} ms of {of} ms");
        }
    }

    #[test]
    fn what_the_canary_owes_was_missing() {
        let mut book = Book { starved: Starved::default(), seen: 1_000 };
        book.starved.add(800, 1_000, 100);
        for (since, now, lost) in [(800, 1_000, 100), (800, 1_120, 100), (900, 1_120, 50), (900, 1_220, 150), (1_150, 1_220, 70)] {
            assert_eq!(book.lost(since, now), lost, "since {since} at {now}");
        }
    }

    #[tokio::test]
    async fn a_wait_lasts_at_least_its_limit_and_ends() {
        let begun = std::time::Instant::now();
        assert!(within(Duration::from_millis(50), std::future::pending::<()>()).await.is_err());
        assert!(begun.elapsed() >= Duration::from_millis(45), "{:?}", begun.elapsed());
        assert_eq!(within(Duration::ZERO, std::future::ready(1)).await, Ok(1));
    }
}
