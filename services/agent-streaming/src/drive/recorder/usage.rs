//! The token usage of a turn over its attempts.

use proto::agent_streaming::Usage;

/// The usage of a turn: of its finished attempts and of the current one.
#[derive(Debug, Default)]
pub(super) struct UsageMeter {
    finished: Usage,
    current: Usage,
}

impl UsageMeter {
    /// `finished` is the usage of the attempts so far.
    pub(super) fn new(finished: Usage) -> Self {
        Self { finished, current: Usage::default() }
    }

    /// Replaces the usage of the current attempt. Returns the total of the turn if it has changed.
    pub(super) fn update(&mut self, usage: Usage) -> Option<Usage> {
        let changed = usage != self.current;
        self.current = usage;
        changed.then(|| sum(&self.finished, &self.current))
    }

    /// Finishes the current attempt, and returns its usage.
    pub(super) fn finish_attempt(&mut self) -> Usage {
        let used = std::mem::take(&mut self.current);
        self.finished = sum(&self.finished, &used);
        used
    }
}

fn sum(a: &Usage, b: &Usage) -> Usage {
    Usage {
        input_tokens: a.input_tokens.saturating_add(b.input_tokens),
        output_tokens: a.output_tokens.saturating_add(b.output_tokens),
        cached_input_tokens: a.cached_input_tokens.saturating_add(b.cached_input_tokens),
        cache_write_input_tokens: a.cache_write_input_tokens.saturating_add(b.cache_write_input_tokens),
        reasoning_tokens: a.reasoning_tokens.saturating_add(b.reasoning_tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_replaced_within_an_attempt_and_summed_over_attempts() {
        let usage = |input_tokens, output_tokens| Usage { input_tokens, output_tokens, ..Usage::default() };
        let mut meter = UsageMeter::default();
        assert_eq!(meter.update(usage(10, 1)), Some(usage(10, 1)));
        assert_eq!(meter.update(usage(10, 1)), None);
        assert_eq!(meter.update(usage(10, 5)), Some(usage(10, 5)));
        meter.finish_attempt();
        assert_eq!(meter.update(usage(7, 2)), Some(usage(17, 7)));
    }
}
