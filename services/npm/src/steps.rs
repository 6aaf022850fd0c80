//! Counts work, so that a hostile project ends.

use std::cell::Cell;

use crate::error::Error;

/// The steps of a resolution so far, over all builds of its tree, and the most that are allowed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps {
    done: Cell<u64>,
    limit: u64,
}

impl Steps {
    pub(crate) fn new(limit: u64) -> Self {
        Self { done: Cell::new(0), limit }
    }

    /// The steps so far.
    #[cfg(test)]
    pub(crate) fn done(&self) -> u64 {
        self.done.get()
    }

    pub(crate) fn count(&self, steps: usize) {
        self.done.set(self.done.get().saturating_add(steps as u64));
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.done.get() > self.limit
    }

    /// An error if there were too many.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_exhausted() { Err(Error::too_large("the resolution", self.limit, "steps")) } else { Ok(()) }
    }
}
