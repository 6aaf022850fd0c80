//! "Look at the log": tells the other replicas, by Redis pub/sub, that a turn has new events or that there is work. It carries
//! no data and may be lost; every listener also polls. Without Redis there is one replica, which tells itself.

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

/// Messages that wait for Redis; what does not fit is lost, which a doorbell may be.
const WAITING: usize = 256;
/// Turns in one message.
const TURNS: usize = 64;
/// Between attempts to subscribe.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the log says that Redis is away.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Rings the doorbell.
#[derive(Clone)]
pub(crate) struct Doorbell(Arc<Shared>);

struct Shared {
    /// This process, so that it does not hear itself.
    me: String,
    out: Option<mpsc::Sender<String>>,
    work: Notify,
}

/// What a ring wakes.
#[derive(Clone)]
pub(crate) struct Listeners {
    pub(crate) tails: Tails,
    pub(crate) journal: Journal,
}

impl Doorbell {
    /// Connects to Redis if there is one.
    pub(crate) async fn connect(config: &redis::Config, listeners: Listeners, tasks: &Tasks) -> Result<Self, redis::Error> {
        let (pool, subscriber) = (redis::connect(config).await?, redis::subscriber(config).await?);
        let (Some(pool), Some(subscriber)) = (pool, subscriber) else { return Ok(Self::with(None)) };
        let channel = format!("{}turns", config.prefix);
        let (out, waiting) = mpsc::channel(WAITING);
        let doorbell = Self::with(Some(out));
        tasks.spawn(publish(pool, channel.clone(), waiting));
        tasks.spawn(doorbell.clone().listen(subscriber, channel, listeners));
        Ok(doorbell)
    }

    pub(crate) fn with(out: Option<mpsc::Sender<String>>) -> Self {
        Self(Arc::new(Shared { me: Uuid::now_v7().simple().to_string(), out, work: Notify::new() }))
    }

    /// Turns of the other replicas' viewers have new events, up to these.
    pub(crate) fn ring(&self, turns: Vec<(TurnId, u32)>) {
        for turns in turns.chunks(TURNS) {
            let names: Vec<_> = turns.iter().map(|(turn, seq)| format!("{turn}:{seq}")).collect();
            self.send(&names.join(" "));
        }
    }

    /// There is a turn to be claimed, here or elsewhere.
    pub(crate) fn work(&self) {
        self.0.work.notify_one();
        self.send("work");
    }

    /// Waits for work.
    pub(crate) async fn worked(&self) {
        self.0.work.notified().await;
    }

    fn send(&self, text: &str) {
        if let Some(out) = &self.0.out {
            // Full: Redis is slow or away, and the listeners poll.
            let _ = out.try_send(format!("{} {text}", self.0.me));
        }
    }

    async fn listen(self, subscriber: SubscriberClient, channel: String, listeners: Listeners) {
        let mut messages = subscriber.message_rx();
        // Once subscribed, the client renews the subscription after every outage by itself.
        let mut told = None::<Instant>;
        while let Err(error) = subscriber.subscribe(channel.as_str()).await {
            if told.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
                tracing::warn!(error = %error, "Redis (REDIS_URL) cannot be reached; turns are found by polling until it is there");
                told = Some(Instant::now());
            }
            tokio::time::sleep(PAUSE).await;
        }
        loop {
            match messages.recv().await {
                Ok(message) => {
                    if let Some(text) = message.value.as_str() {
                        self.open(&text, &listeners);
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return drop(subscriber.quit().await),
            }
        }
    }

    fn open(&self, text: &str, listeners: &Listeners) {
        let mut words = text.split(' ');
        if words.next() == Some(self.0.me.as_str()) {
            return;
        }
        for word in words {
            match parse(word) {
                Some(Ring::Work) => self.0.work.notify_one(),
                Some(Ring::Turn(turn, seq)) => {
                    listeners.tails.ring(turn, seq);
                    // Only somebody who is not its owner rings for a turn that is driven here.
                    listeners.journal.suspect(turn);
                }
                None => {}
            }
        }
    }
}

async fn publish(pool: Pool, channel: String, mut waiting: mpsc::Receiver<String>) {
    while let Some(text) = waiting.recv().await {
        // An outage is logged by the pool; the message is lost, which a doorbell's may be.
        let _: Result<(), _> = pool.next().publish(channel.as_str(), text).await;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ring {
    Work,
    Turn(TurnId, u32),
}

/// A word of another version of this program is ignored.
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
    fn words_are_turns_or_work() {
        let turn = TurnId::generate();
        assert_eq!(parse(&format!("{turn}:7")), Some(Ring::Turn(turn, 7)));
        assert_eq!(parse("work"), Some(Ring::Work));
        for word in ["", "play", "x:7", &format!("{turn}:-1"), &turn.to_string()] {
            assert_eq!(parse(word), None, "{word}");
        }
    }
}
