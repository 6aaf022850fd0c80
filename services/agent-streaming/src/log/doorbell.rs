//! The doorbell: a message over Redis pub/sub that tells the other replicas that a log has grown or that a turn can be claimed. It carries
//! no events and may be lost, because every listener also polls. Without Redis there is only one replica, and nothing is sent.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chassis::{redis, task::Tasks};
use fred::{
    clients::{Pool, SubscriberClient},
    interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _},
};
use proto::id::TurnId;
use tokio::sync::{Notify, broadcast::error::RecvError, mpsc};
use uuid::Uuid;

use crate::{log::journal::Journal, watch::tail::Tails};

/// The capacity of the queue of messages for Redis. Messages that do not fit are dropped.
const QUEUE_CAPACITY: usize = 256;
/// Turns in one message.
const TURNS_PER_MESSAGE: usize = 64;
/// The pause after a failed subscription.
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);
/// The period of the warning that Redis cannot be reached.
const WARNING_PERIOD: Duration = Duration::from_secs(60);

/// Sends doorbell messages, and receives those of other replicas.
#[derive(Clone)]
pub(crate) struct Doorbell(Arc<Shared>);

struct Shared {
    /// The id of this process. A message begins with its sender's id, so that the sender can ignore it.
    sender_id: String,
    /// `None` without Redis.
    outgoing: Option<mpsc::Sender<String>>,
    work: Notify,
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
        let (pool, subscriber) = (redis::connect(config).await?, redis::subscriber(config).await?);
        let (Some(pool), Some(subscriber)) = (pool, subscriber) else { return Ok(Self::new(None)) };
        let channel = format!("{}turns", config.prefix);
        let (sender, queue) = mpsc::channel(QUEUE_CAPACITY);
        let doorbell = Self::new(Some(sender));
        tasks.spawn(publish(pool, channel.clone(), queue));
        tasks.spawn(doorbell.clone().listen(subscriber, channel, listeners));
        Ok(doorbell)
    }

    pub(crate) fn new(outgoing: Option<mpsc::Sender<String>>) -> Self {
        Self(Arc::new(Shared { sender_id: Uuid::now_v7().simple().to_string(), outgoing, work: Notify::new() }))
    }

    /// Tells the other replicas that the logs of these turns have events up to these seqs.
    pub(crate) fn ring(&self, turns: Vec<(TurnId, u32)>) {
        for turns in turns.chunks(TURNS_PER_MESSAGE) {
            let words: Vec<_> = turns.iter().map(|(turn, seq)| format!("{turn}:{seq}")).collect();
            self.send(&words.join(" "));
        }
    }

    /// Tells the workers of all replicas, this one included, that there is a turn to claim.
    pub(crate) fn ring_work(&self) {
        self.0.work.notify_one();
        self.send("work");
    }

    /// Waits until there may be a turn to claim.
    pub(crate) async fn wait_for_work(&self) {
        self.0.work.notified().await;
    }

    fn send(&self, text: &str) {
        if let Some(outgoing) = &self.0.outgoing {
            // The queue is full when Redis is slow or unreachable. The message is dropped, and the listeners poll.
            let _ = outgoing.try_send(format!("{} {text}", self.0.sender_id));
        }
    }

    async fn listen(self, subscriber: SubscriberClient, channel: String, listeners: Listeners) {
        let mut messages = subscriber.message_rx();
        // After the first success, the client renews the subscription itself.
        let mut warned_at = None::<Instant>;
        while let Err(error) = subscriber.subscribe(channel.as_str()).await {
            if warned_at.is_none_or(|at| at.elapsed() >= WARNING_PERIOD) {
                tracing::warn!(error = %error, "Redis (REDIS_URL) cannot be reached; turns are found by polling until it is reachable");
                warned_at = Some(Instant::now());
            }
            tokio::time::sleep(SUBSCRIBE_PAUSE).await;
        }
        loop {
            match messages.recv().await {
                Ok(message) => {
                    if let Some(text) = message.value.as_str() {
                        self.receive(&text, &listeners);
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return drop(subscriber.quit().await),
            }
        }
    }

    fn receive(&self, text: &str, listeners: &Listeners) {
        let mut words = text.split(' ');
        if words.next() == Some(self.0.sender_id.as_str()) {
            return;
        }
        for word in words {
            match parse(word) {
                Some(Ring::Work) => self.0.work.notify_one(),
                Some(Ring::Turn(turn, seq)) => {
                    listeners.tails.ring(turn, seq);
                    // If the turn is driven here, another process has written to its log: a cancel, or a worker that took the turn over.
                    listeners.journal.check_epoch(turn);
                }
                None => {}
            }
        }
    }
}

async fn publish(pool: Pool, channel: String, mut queue: mpsc::Receiver<String>) {
    while let Some(text) = queue.recv().await {
        // The pool logs an outage. The message is lost.
        let _: Result<(), _> = pool.next().publish(channel.as_str(), text).await;
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
    if word == "work" {
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
