//! The agents as they are now. A task reads the folder again after it has changed.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use chassis::task::{Ticks, blocking};
use tokio_util::sync::CancellationToken;

use super::{
    Agent, Agents, Note,
    folder::{self, Fingerprint},
};
use crate::{
    model::skills::Skills,
    store::{self, Pool, StoreError},
};

/// How often the folder is looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often the database is told that agents and skills are still in use. Unused ones are deleted after a day at the earliest.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// The current agents. A turn keeps those that it has started with.
#[derive(Debug)]
pub(crate) struct LiveAgents {
    dir: Option<PathBuf>,
    current: RwLock<Arc<Agents>>,
    /// The state of the folder that the current agents are of.
    seen: Mutex<Option<Fingerprint>>,
    /// The versions of the catalogue and of the skills that were stored last, and when.
    kept: Mutex<Option<(String, Instant)>>,
}

impl LiveAgents {
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn load(dir: Option<&Path>) -> io::Result<Self> {
        // A change after this is seen by the first look.
        let seen = dir.map(folder::fingerprint).transpose()?;
        let (agents, notes) = Agents::load(dir)?;
        report(&notes);
        let current = RwLock::new(Arc::new(agents));
        Ok(Self { dir: dir.map(Path::to_owned), current, seen: Mutex::new(seen), kept: Mutex::default() })
    }

    pub(crate) fn now(&self) -> Arc<Agents> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stores agents and skills, so that turns that are recovered and selections that are replayed find them.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) async fn keep(&self, db: &Pool, agents: &Agents) -> Result<(), StoreError> {
        let versions = format!("{} {}", agents.version(), agents.skills().version());
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if kept.is_some_and(|(kept, at)| kept == versions && at.elapsed() < KEPT_FOR) {
            return Ok(());
        }
        let now = Instant::now();
        store::agents::store(db, agents.version(), agents.catalogue(), &agents.all().collect::<Vec<_>>()).await?;
        store::skills::store(db, agents.skills()).await?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((versions, now));
        Ok(())
    }

    /// The agent with a version: one of the current agents, else the stored one.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) async fn find(&self, db: &Pool, name: &str, version: &str) -> Result<Option<Agent>, StoreError> {
        match self.now().get(name).filter(|agent| agent.version == version) {
            Some(agent) => Ok(Some(agent.clone())),
            None => store::agents::find(db, version).await,
        }
    }

    /// The skills with a version: the current ones, else the stored ones.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) async fn find_skills(&self, db: &Pool, version: &str) -> Result<Option<Arc<Skills>>, StoreError> {
        let now = Arc::clone(self.now().skills());
        if now.version() == version {
            return Ok(Some(now));
        }
        let stored = Skills::of(store::skills::find(db, version).await?);
        Ok((stored.version() == version).then(|| Arc::new(stored)))
    }

    /// Reads the folder again if it has changed. Blocks. A folder that cannot be read changes nothing.
    pub(crate) fn reload(&self) {
        let Some(dir) = &self.dir else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match folder::fingerprint(dir) {
            Ok(found) if seen.as_ref() == Some(&found) => return,
            Ok(found) => found,
            Err(error) => {
                if seen.take().is_some() {
                    tracing::warn!(dir = %dir.display(), "the folder of agents cannot be read; the agents stay: {error}");
                }
                return;
            }
        };
        if let Ok((agents, notes)) = Agents::load(Some(dir)) {
            report(&notes);
            tracing::info!(agents = agents.agents.len(), catalogue = agents.version(), "the agents were read again");
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(agents);
            *seen = Some(found);
        }
    }
}

/// Reads the folder again after each change, until `stop`.
pub(crate) async fn follow(agents: Arc<LiveAgents>, stop: CancellationToken) {
    let mut ticks = Ticks::new(INTERVAL, stop);
    while agents.dir.is_some() && ticks.next().await {
        let agents = Arc::clone(&agents);
        // A panic has been logged.
        let _ = blocking(move || agents.reload()).await;
    }
}

fn report(notes: &[Note]) {
    for note in notes {
        tracing::warn!(file = note.file, "agent file: {}", note.note);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{store::turns, turn::Turn};

    #[test]
    fn a_changed_folder_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let live = LiveAgents::load(Some(dir.path())).unwrap();
        let running = live.now();
        assert!(running.get("mine").is_none());
        fs::write(dir.path().join("mine.md"), "---\nname: mine\ndescription: Draws unicorns.\n---\nDraw.").unwrap();
        live.reload();
        assert!(live.now().get("mine").is_some());
        assert_ne!(live.now().version(), running.version());
        assert!(running.get("mine").is_none(), "a turn keeps its agents");
        let skill = dir.path().join("team/unicorns");
        fs::create_dir_all(skill.join("more")).unwrap();
        fs::write(skill.join("SKILL.md"), "---\nname: unicorns\ndescription: How to draw one.\n---\nHorn first.").unwrap();
        fs::write(skill.join("more/colours.md"), "White.").unwrap();
        live.reload();
        let found = |live: &LiveAgents| live.now().skills().all().find(|skill| skill.name == "unicorns").map(|skill| skill.files.clone());
        assert_eq!(found(&live).unwrap()["more/colours.md"], "White.");
        fs::write(skill.join("more/colours.md"), "Silver and white.").unwrap();
        live.reload();
        assert_eq!(found(&live).unwrap()["more/colours.md"], "Silver and white.");
        fs::remove_dir_all(dir.path()).unwrap();
        live.reload();
        assert!(live.now().get("mine").is_some(), "a folder that is gone changes nothing");
        assert!(LiveAgents::load(Some(dir.path())).is_err());
    }

    #[tokio::test]
    async fn agents_and_skills_are_deleted_when_nothing_has_them() {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let db = crate::testing::database().await.pool;
        let live = LiveAgents::load(None).unwrap();
        let agents = live.now();
        let count = |table: &'static str| store::testing::count(&db, table);
        let age = async || {
            for table in ["agents", "catalogues", "skills", "skill_sets"] {
                store::testing::age(&db, table, 3 * DAY).await;
            }
        };
        live.keep(&db, &agents).await.unwrap();
        let (agent, skill) = (agents.get("chess-game").unwrap(), count("skills").await);
        assert!(count("agents").await == 154 && count("catalogues").await == 1 && skill == 12 && count("skill_sets").await == 1);
        let turn =
            Turn { agent_version: Some(agent.version.clone()), skills: Some(agents.skills().version().into()), ..crate::testing::draft() };
        turns::insert(&db, &turn, None).await.unwrap().unwrap();
        age().await;
        store::agents::delete_old(&db, 4 * DAY).await.unwrap();
        assert_eq!((count("agents").await, count("catalogues").await), (154, 1), "not old enough");
        store::agents::delete_old(&db, DAY).await.unwrap();
        assert_eq!((count("agents").await, count("catalogues").await), (1, 0), "the agent of the open turn stays");
        assert_eq!((count("skills").await, count("skill_sets").await), (skill, 1), "and so do its skills");
        assert_eq!(store::agents::find(&db, &agent.version).await.unwrap().unwrap().name, "chess-game");

        // Another replica stores all again, and then says that they are in use.
        LiveAgents::load(None).unwrap().keep(&db, &agents).await.unwrap();
        assert_eq!(count("agents").await, 154);
        age().await;
        LiveAgents::load(None).unwrap().keep(&db, &agents).await.unwrap();
        store::testing::end(&db, turn.id, 1.0).await;
        store::agents::delete_old(&db, DAY).await.unwrap();
        assert_eq!((count("agents").await, count("skills").await), (154, skill));
        age().await;
        store::agents::delete_old(&db, DAY).await.unwrap();
        assert_eq!((count("agents").await, count("skills").await, count("skill_sets").await), (0, 0, 0));
    }
}
