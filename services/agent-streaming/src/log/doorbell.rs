//! The doorbell of turns: tells the other replicas that a log has grown or that a turn can be claimed.

use std::sync::Arc;

use chassis::{doorbell, redis, task::Tasks};
use proto::id::TurnId;
use tokio::sync::Notify;

use crate::{log::journal::Journal, watch::tail::Tails};

/// The word of work for workers.
const WORK: &str = "work";

/// Sends doorbell messages, and receives those of other replicas.
#[derive(Clone)]
pub(crate) struct Doorbell {
    bell: doorbell::Doorbell,
    work: Arc<Notify>,
}

/// The parts of this process that a message wakes.
#[derive(Clone)]
pub(crate) struct Listeners {
    pub(crate) tails: Tails,
    pub(crate) journal: Journal,
}

impl Doorbell {
    /// Connects to Redis if `REDIS_URL` is set.
    pub(crate) async fn connect(config: &redis::Config, listeners: Listeners, tasks: &Tasks) -> Result<Self, redis::Error> {
        let work = Arc::new(Notify::new());
        let claims = Arc::clone(&work);
        let receive = move |word: &str| match parse(word) {
            Some(Ring::Work) => claims.notify_one(),
            Some(Ring::Turn(turn, seq)) => {
                listeners.tails.ring(turn, seq);
                // If the turn is driven here, another process has written to its log: a cancel, or a worker that took the turn over.
                listeners.journal.check_epoch(turn);
            }
            None => {}
        };
        Ok(Self { bell: doorbell::Doorbell::connect(config, "turns", tasks, receive).await?, work })
    }

    /// The doorbell of a process without Redis.
    #[cfg(test)]
    pub(crate) fn alone() -> Self {
        Self { bell: doorbell::Doorbell::alone(), work: Arc::default() }
    }

    /// Tells the other replicas that the logs of these turns have events up to these seqs.
    pub(crate) fn ring(&self, turns: &[(TurnId, u32)]) {
        let words: Vec<_> = turns.iter().map(|(turn, seq)| format!("{turn}:{seq}")).collect();
        self.bell.ring(&words);
    }

    /// Tells the workers of all replicas, this one included, that there is a turn to claim.
    pub(crate) fn ring_work(&self) {
        self.work.notify_one();
        self.bell.ring(&[WORK.to_owned()]);
    }

    /// Waits until there may be a turn to claim.
    pub(crate) async fn wait_for_work(&self) {
        self.work.notified().await;
    }
}

/// A word of a message.
#[derive(Debug, PartialEq, Eq)]
enum Ring {
    Work,
    Turn(TurnId, u32),
}

/// Returns `None` for words of other versions, which are ignored.
fn parse(word: &str) -> Option<Ring> {
    if word == WORK {
        return Some(Ring::Work);
    }
    let (turn, seq) = word.split_once(':')?;
    Some(Ring::Turn(turn.parse().ok()?, seq.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_names_a_turn_or_work() {
        let turn = TurnId::generate();
        assert_eq!(parse(&format!("{turn}:7")), Some(Ring::Turn(turn, 7)));
        assert_eq!(parse("work"), Some(Ring::Work));
        for word in ["", "play", "x:7", &format!("{turn}:-1"), &turn.to_string()] {
            assert_eq!(parse(word), None, "{word}");
        }
    }
}
