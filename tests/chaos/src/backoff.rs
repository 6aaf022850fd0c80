//! How often the fault injector disturbs a round of failpoints.

/// Every how many attempts something is done. The number doubles up to a limit while no failpoint fires.
pub struct Backoff {
    first: u32,
    limit: u32,
    pause: u32,
    waited: u32,
}

impl Backoff {
    /// Due at the `first` attempt, and then rarer, at least once in `limit` attempts.
    #[must_use]
    pub const fn new(first: u32, limit: u32) -> Self {
        Self { first, limit, pause: first, waited: 0 }
    }

    /// A failpoint has fired.
    pub fn progress(&mut self) {
        self.pause = self.first;
    }

    /// Counts an attempt. Returns whether the thing is due; `restart` begins a new count.
    pub fn is_due(&mut self, restart: bool) -> bool {
        self.waited = if restart { 0 } else { self.waited + 1 };
        if self.waited < self.pause {
            return false;
        }
        (self.waited, self.pause) = (0, (self.pause * 2).min(self.limit));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_until_a_failpoint_fires() {
        let mut backoff = Backoff::new(1, 4);
        let mut due = |attempts: usize| (0..attempts).map(|_| u8::from(backoff.is_due(false))).collect::<Vec<_>>();
        assert_eq!(due(11), [1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
        backoff.progress();
        assert!(backoff.is_due(false));
        assert!(!backoff.is_due(true) && !backoff.is_due(false) && backoff.is_due(false), "a new count");
    }
}
