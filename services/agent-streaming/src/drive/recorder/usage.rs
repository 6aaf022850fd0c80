//! The token usage of a turn over its attempts.

use proto::agent_streaming::Usage;

/// The usage of a turn: of its finished attempts and of the current one.
#[derive(Debug, Default)]
pub(super) struct UsageMeter {
    finished: Usage,
    current: Usage,
    /// The tokens of all requests, and those of the same requests with everything in them.
    requests: (u32, u32),
}

impl UsageMeter {
    /// `finished` is the usage of the attempts so far.
    pub(super) fn new(finished: Usage) -> Self {
        Self { requests: (finished.context_tokens, finished.full_context_tokens), finished, current: Usage::default() }
    }

    /// Adds the tokens of a request, as Backlot counts them. `full` is `None` if it is not known. Returns the total of the turn.
    pub(super) fn add_request(&mut self, tokens: u32, full: Option<u32>) -> Usage {
        let (sent, all) = self.requests;
        // A sum with an unknown part would be too small.
        let known = full.filter(|_| all > 0 || sent == 0);
        self.requests = (sent.saturating_add(tokens), known.map_or(0, |full| all.saturating_add(full)));
        self.total()
    }

    /// Replaces the usage of the current attempt. Returns the total of the turn if it has changed.
    pub(super) fn update(&mut self, usage: Usage) -> Option<Usage> {
        let changed = usage != self.current;
        self.current = usage;
        changed.then(|| self.total())
    }

    fn total(&self) -> Usage {
        let (context_tokens, full_context_tokens) = self.requests;
        Usage { context_tokens, full_context_tokens, ..sum(&self.finished, &self.current) }
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
        context_tokens: 0,
        full_context_tokens: 0,
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

    #[test]
    fn requests_are_summed_and_an_unknown_one_makes_the_sum_unknown() {
        let mut meter = UsageMeter::new(Usage { context_tokens: 100, full_context_tokens: 900, ..Usage::default() });
        let of = |total: Usage| (total.context_tokens, total.full_context_tokens);
        assert_eq!(of(meter.add_request(10, Some(90))), (110, 990));
        assert_eq!(of(meter.add_request(10, None)), (120, 0));
        assert_eq!(of(meter.add_request(10, Some(90))), (130, 0));
        assert_eq!(of(meter.update(Usage { input_tokens: 3, ..Usage::default() }).unwrap()), (130, 0));
        assert_eq!(of(UsageMeter::default().add_request(10, Some(90))), (10, 90));
    }
}
