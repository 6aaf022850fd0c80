//! The tokens of a person's turns.

use proto::{agent_streaming::Usage, id::UserId};
use time::{Duration, OffsetDateTime};

use crate::{
    error::Error,
    store::{Pool, turns},
};

/// Older turns do not count.
const WINDOW: Duration = Duration::days(30);

/// Sums over turns. A turn of a few seconds has up to a million tokens, so the sums are wider than the counts of a turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenSums {
    pub(crate) since: OffsetDateTime,
    pub(crate) turns: u64,
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cached_input: u64,
    pub(crate) cache_write_input: u64,
    pub(crate) reasoning: u64,
    /// Of the turns whose full context was counted, so that the two can be compared.
    pub(crate) context: u64,
    pub(crate) full_context: u64,
}

impl TokenSums {
    fn none(since: OffsetDateTime) -> Self {
        Self { since, turns: 0, input: 0, output: 0, cached_input: 0, cache_write_input: 0, reasoning: 0, context: 0, full_context: 0 }
    }

    fn with(self, turn: &Usage) -> Self {
        let context = if turn.full_context_tokens > 0 { turn.context_tokens } else { 0 };
        Self {
            since: self.since,
            turns: self.turns + 1,
            input: self.input + u64::from(turn.input_tokens),
            output: self.output + u64::from(turn.output_tokens),
            cached_input: self.cached_input + u64::from(turn.cached_input_tokens),
            cache_write_input: self.cache_write_input + u64::from(turn.cache_write_input_tokens),
            reasoning: self.reasoning + u64::from(turn.reasoning_tokens),
            context: self.context + u64::from(context),
            full_context: self.full_context + u64::from(turn.full_context_tokens),
        }
    }
}

/// The sums over the turns that the user started in the time before `now`.
pub(crate) async fn read(db: &Pool, user: UserId, now: OffsetDateTime) -> Result<TokenSums, Error> {
    let since = now - WINDOW;
    let usages = turns::usages_since(db, user, since).await?;
    Ok(usages.iter().fold(TokenSums::none(since), TokenSums::with))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_overflow_and_compare_only_what_was_counted() {
        let since = OffsetDateTime::UNIX_EPOCH;
        let most = Usage {
            input_tokens: u32::MAX,
            output_tokens: 2,
            cached_input_tokens: 3,
            cache_write_input_tokens: 4,
            reasoning_tokens: 5,
            context_tokens: 6,
            full_context_tokens: 7,
        };
        let uncounted = Usage { context_tokens: 100, ..Usage::default() };
        let sums = [most, most, uncounted].iter().fold(TokenSums::none(since), TokenSums::with);
        let expected = TokenSums {
            since,
            turns: 3,
            input: 2 * u64::from(u32::MAX),
            output: 4,
            cached_input: 6,
            cache_write_input: 8,
            reasoning: 10,
            context: 12,
            full_context: 14,
        };
        assert_eq!(sums, expected);
    }
}
