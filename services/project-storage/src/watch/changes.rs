//! Changes of projects, told to the watchers of this process and of other replicas.

use std::sync::Arc;

use chassis::{
    doorbell::Doorbell,
    redis,
    tail::{self, Entry},
    task::Tasks,
};
use proto::id::ProjectId;

use crate::model::revision::Revision;

/// The bytes of a revision in memory, without its message and its parents.
const REVISION_BYTES: usize = 300;

/// The tails of the projects that this process watches.
pub(crate) type Tails = tail::Tails<ProjectId, LoggedRevision>;

/// A revision of a project's log.
#[derive(Debug)]
pub(crate) struct LoggedRevision(pub(crate) Revision);

impl Entry for LoggedRevision {
    fn seq(&self) -> u32 {
        self.0.number
    }

    fn bytes(&self) -> usize {
        REVISION_BYTES + self.0.message.len() + 20 * self.0.parents.len()
    }
}

impl LoggedRevision {
    pub(crate) fn new(revision: Revision) -> Arc<Self> {
        Arc::new(Self(revision))
    }
}

/// Wakes the watchers of projects. A lost wake-up costs time only, because the reader also polls.
#[derive(Clone)]
pub(crate) struct Changes {
    pub(crate) tails: Tails,
    doorbell: Doorbell,
}

impl Changes {
    /// Connects to Redis if `REDIS_URL` is set.
    pub(crate) async fn connect(config: &redis::Config, tasks: &Tasks) -> Result<Self, redis::Error> {
        let tails = Tails::default();
        let woken = tails.clone();
        let receive = move |word: &str| match parse(word) {
            Some(Change::Committed(project, number)) => woken.ring(project, number),
            Some(Change::Access(project)) => woken.mark_behind([project]),
            None => {}
        };
        Ok(Self { tails, doorbell: Doorbell::connect(config, "projects", tasks, receive).await? })
    }

    /// A revision of the project was committed.
    pub(crate) fn committed(&self, project: ProjectId, number: u32) {
        self.tails.ring(project, number);
        self.doorbell.ring(&[committed(project, number)]);
    }

    /// Members of the project may have lost their access.
    pub(crate) fn access_changed(&self, project: ProjectId) {
        self.tails.mark_behind([project]);
        self.doorbell.ring(&[project.to_string()]);
    }
}

/// The word of [`Change::Committed`].
fn committed(project: ProjectId, number: u32) -> String {
    format!("{project}:{number}")
}

/// A word of a message between replicas.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Committed(ProjectId, u32),
    Access(ProjectId),
}

/// Returns `None` for words of other versions, which are ignored.
fn parse(word: &str) -> Option<Change> {
    match word.split_once(':') {
        Some((project, number)) => Some(Change::Committed(project.parse().ok()?, number.parse().ok()?)),
        None => Some(Change::Access(word.parse().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chassis::{config::Secret, testing};
    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    /// A subscription takes a moment, and words before it are lost.
    #[tokio::test]
    async fn each_change_is_told_to_other_replicas() {
        let server = testing::redis().await;
        let config = redis::Config { url: Some(Secret::new(server.url.as_str())), password: None, prefix: "test:".into() };
        let tasks = Tasks::default();
        let changes = Changes::connect(&config, &tasks).await.unwrap();
        let (sender, mut words) = mpsc::unbounded_channel();
        let receive = move |word: &str| drop(sender.send(word.to_owned()));
        let _other = Doorbell::connect(&config, "projects", &tasks, receive).await.unwrap();
        let project = ProjectId::generate();
        let told = async {
            for (tell, expected) in [
                (Box::new(|| changes.committed(project, 7)) as Box<dyn Fn()>, Change::Committed(project, 7)),
                (Box::new(|| changes.access_changed(project)), Change::Access(project)),
            ] {
                loop {
                    tell();
                    match timeout(Duration::from_millis(100), words.recv()).await {
                        Ok(Some(word)) if parse(&word).as_ref() == Some(&expected) => break,
                        _ => {}
                    }
                }
            }
        };
        timeout(Duration::from_secs(120), told).await.unwrap();
    }

    #[test]
    fn a_word_names_a_revision_or_a_project() {
        let project = ProjectId::generate();
        assert_eq!(parse(&committed(project, 7)), Some(Change::Committed(project, 7)));
        assert_eq!(parse(&format!("{project}:7")), Some(Change::Committed(project, 7)));
        assert_eq!(parse(&project.to_string()), Some(Change::Access(project)));
        for word in ["", ":", "x:7", "x", &format!("{project}:-1"), &format!("{project}:7:8")] {
            assert_eq!(parse(word), None, "{word}");
        }
    }
}
