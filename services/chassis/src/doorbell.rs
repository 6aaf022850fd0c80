//! The doorbell: words over Redis pub/sub that tell the other replicas of a service what has changed. It carries no data and may be lost,
//! because every listener also polls. Without Redis there is only one replica, and nothing is sent.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fred::{
    clients::{Pool, SubscriberClient},
    interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _},
};
use tokio::sync::{broadcast::error::RecvError, mpsc};
use uuid::Uuid;

use crate::{redis, task::Tasks};

/// The capacity of the queue of messages for Redis. Messages that do not fit are dropped.
const QUEUE_CAPACITY: usize = 256;
/// Words in one message.
const WORDS_PER_MESSAGE: usize = 64;
/// The pause after a failed subscription.
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);
/// The period of the warning that Redis cannot be reached.
const WARNING_PERIOD: Duration = Duration::from_secs(60);

/// Sends words to the other replicas of a service.
#[derive(Clone)]
pub struct Doorbell(Arc<Shared>);

struct Shared {
    /// The id of this process. A message begins with its sender's id, so that the sender can ignore it.
    sender_id: String,
    /// `None` without Redis.
    outgoing: Option<mpsc::Sender<String>>,
}

impl Doorbell {
    /// Connects to Redis if `REDIS_URL` is set. `receive` gets each word that another process sends on the channel; it must not block.
    ///
    /// # Errors
    /// As [`redis::connect`].
    pub async fn connect(
        config: &redis::Config,
        channel: &str,
        tasks: &Tasks,
        receive: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, redis::Error> {
        let (pool, subscriber) = (redis::connect(config).await?, redis::subscriber(config).await?);
        let (Some(pool), Some(subscriber)) = (pool, subscriber) else { return Ok(Self::alone()) };
        let channel = format!("{}{channel}", config.prefix);
        let (sender, queue) = mpsc::channel(QUEUE_CAPACITY);
        let doorbell = Self::new(Some(sender));
        tasks.spawn(publish(pool, channel.clone(), queue));
        tasks.spawn(doorbell.clone().listen(subscriber, channel, receive));
        Ok(doorbell)
    }

    /// A doorbell of the only replica.
    #[must_use]
    pub fn alone() -> Self {
        Self::new(None)
    }

    fn new(outgoing: Option<mpsc::Sender<String>>) -> Self {
        Self(Arc::new(Shared { sender_id: Uuid::now_v7().simple().to_string(), outgoing }))
    }

    /// Sends words. A word has no space.
    pub fn ring(&self, words: &[String]) {
        let Some(outgoing) = &self.0.outgoing else { return };
        for words in words.chunks(WORDS_PER_MESSAGE) {
            // The queue is full when Redis is slow or unreachable. The message is dropped, and the listeners poll.
            let _ = outgoing.try_send(format!("{} {}", self.0.sender_id, words.join(" ")));
        }
    }

    async fn listen(self, subscriber: SubscriberClient, channel: String, receive: impl Fn(&str)) {
        let mut messages = subscriber.message_rx();
        // After the first success, the client renews the subscription itself.
        let mut warned_at = None::<Instant>;
        while let Err(error) = subscriber.subscribe(channel.as_str()).await {
            if warned_at.is_none_or(|at| at.elapsed() >= WARNING_PERIOD) {
                tracing::warn!(error = %error, channel, "Redis (REDIS_URL) cannot be reached; changes are found by polling until it is reachable");
                warned_at = Some(Instant::now());
            }
            tokio::time::sleep(SUBSCRIBE_PAUSE).await;
        }
        loop {
            match messages.recv().await {
                Ok(message) => {
                    if let Some(text) = message.value.as_str() {
                        self.words(&text).for_each(&receive);
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return drop(subscriber.quit().await),
            }
        }
    }

    /// The words of another process's message; none of a message of this process.
    fn words<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let (sender, words) = text.split_once(' ').unwrap_or((text, ""));
        let is_own = sender == self.0.sender_id;
        words.split(' ').filter(move |word| !is_own && !word.is_empty())
    }
}

async fn publish(pool: Pool, channel: String, mut queue: mpsc::Receiver<String>) {
    while let Some(text) = queue.recv().await {
        // The pool logs an outage. The message is lost.
        let _: Result<(), _> = pool.next().publish(channel.as_str(), text).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ignores_its_own_messages() {
        let (one, other) = (Doorbell::alone(), Doorbell::alone());
        let message = format!("{} a b", one.0.sender_id);
        assert_eq!(one.words(&message).count(), 0);
        assert_eq!(other.words(&message).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(other.words("").count() + other.words("x").count() + other.words("x ").count(), 0);
    }

    #[test]
    fn many_words_are_sent_in_several_messages_and_a_full_queue_drops_them() {
        let (sender, mut queue) = mpsc::channel(2);
        let doorbell = Doorbell::new(Some(sender));
        doorbell.ring(&vec!["w".to_owned(); 3 * WORDS_PER_MESSAGE]);
        for _ in 0..2 {
            assert_eq!(queue.try_recv().unwrap().split(' ').count(), 1 + WORDS_PER_MESSAGE);
        }
        assert!(queue.try_recv().is_err());
        doorbell.ring(&[]);
        assert!(queue.try_recv().is_err());
    }
}
