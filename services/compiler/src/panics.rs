//! Panics of libraries at the text of a file. They end the work with this file only.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

thread_local! {
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// The result of the work, or `None` if it panicked.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    IS_CAUGHT.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(false);
    result.ok()
}

/// Whether a panic of this thread is caught.
pub(crate) fn is_caught() -> bool {
    IS_CAUGHT.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_gives_nothing_and_later_ones_are_not_caught() {
        assert_eq!(caught(is_caught), Some(true));
        assert_eq!(caught(|| -> u32 { panic!("expected") }), None);
        assert!(!is_caught());
    }
}
