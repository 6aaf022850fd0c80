//! People who work on the same project as the agent. One saves during a turn, resolves conflicts, cancels a turn for a better question,
//! replaces an old question, and leaves early. One saves, reads and deletes without any agent. One replaces an old question while a later
//! one is answered.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rand::RngExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::canary::Stopwatch;
use tokio::time::{Duration, sleep};

use super::{
    ask::{Ask, SHARED, Wish},
    client::{Answered, Call, Client, Mood},
    record::{Cancel, Saved, Watched},
};

/// The time between two reads of a turn.
const LOOK: Duration = Duration::from_millis(30);
/// The time between two projects of the person who works without an agent.
const PAUSE: Duration = Duration::from_millis(300);
/// A turn with this many events has read the files that it works on.
const UNDER_WAY: u64 = 5;

/// What somebody does with projects.
#[derive(Debug, Clone, Copy)]
pub enum Job {
    BesideAgents,
    KeepHouse,
    ThinkAgain,
}

/// One project after the other until told to stop.
pub async fn work(client: Client, job: Job, name: String, stop: Arc<AtomicBool>) {
    let mut editor = Editor { client, draft: String::new(), project: String::new() };
    for round in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        editor.draft = format!("{name}-{round}");
        // The failure is recorded, and the next project may succeed.
        let _ = match job {
            Job::BesideAgents => editor.beside_agents(&stop).await,
            Job::KeepHouse => editor.keep_house().await,
            Job::ThinkAgain => editor.think_again().await,
        };
    }
}

struct Editor {
    client: Client,
    draft: String,
    project: String,
}

impl Editor {
    async fn beside_agents(&mut self, stop: &AtomicBool) -> Option<()> {
        self.begin().await?;
        self.beside_a_turn().await?;
        if !stop.load(Ordering::Relaxed) {
            self.interrupt().await?;
            self.ask_again().await?;
        }
        if stop.load(Ordering::Relaxed) { Some(()) } else { self.leave().await }
    }

    async fn keep_house(&mut self) -> Option<()> {
        self.begin().await?;
        self.look_around().await?;
        self.delete().await?;
        sleep(PAUSE).await;
        Some(())
    }

    /// Takes back an old question while a later one is answered. The later turn must tell the model the same, whichever worker asks.
    async fn think_again(&mut self) -> Option<()> {
        let old = self.old_question().await?;
        let later = self.start(Wish::Think, json!({})).await?;
        self.under_way(&later).await?;
        let new = self.start(Wish::Talk, json!({ "replacesTurnId": old })).await?;
        for mut turn in [later, new] {
            self.see_through(&mut turn).await?;
            self.client.record.watched(turn);
        }
        Some(())
    }

    /// Creates the project and saves its content a second time, which changes nothing.
    async fn begin(&mut self) -> Option<()> {
        let text = self.text("saved");
        let answer = self.save(json!({ "draftId": self.draft }), &text).await?;
        answer["project"]["id"].as_str()?.clone_into(&mut self.project);
        let same = self.save(json!({ "projectId": self.project }), &text).await?;
        if same["revision"] != answer["revision"] {
            self.client.record.wrong(format!("nothing was saved as {} after {}", same["revision"], answer["revision"]));
        }
        self.saved(&answer, None, text)
    }

    /// Saves the file that a turn is about to write, and resolves the conflict.
    async fn beside_a_turn(&mut self) -> Option<()> {
        let mut turn = self.start(Wish::Clash, json!({})).await?;
        self.under_way(&turn).await?;
        let text = self.text("saved");
        let answer = self.save(json!({ "projectId": self.project }), &text).await?;
        self.saved(&answer, None, text)?;
        let conflicted = self.see_through(&mut turn).await? == "turn.conflicted";
        let id = turn.turn.clone();
        self.client.record.watched(turn);
        if conflicted { self.decide(&id).await } else { Some(()) }
    }

    async fn decide(&mut self, turn: &str) -> Option<()> {
        let path = format!("/api/projects/{}/conflicts/{turn}", self.project);
        let look = self.get("look at a conflict", &path).await?;
        let text = self.text("decided");
        let files = json!([{ "path": SHARED, "take": "TAKE_CONTENT", "content": { "text": text } }]);
        let body = json!({ "baseRevision": look["headRevision"], "files": files });
        let resolve = format!("{path}/resolve");
        let answer = self.post("resolve", &resolve, body).await?;
        self.saved(&answer, Some(turn.to_owned()), text)
    }

    /// Stops a turn and starts another one.
    async fn interrupt(&mut self) -> Option<()> {
        let mut stopped = self.start(Wish::Think, json!({})).await?;
        self.under_way(&stopped).await?;
        let turn = self.start(Wish::Shared, json!({ "ifActive": "IF_ACTIVE_INTERRUPT" })).await?;
        stopped.cancel = Some(Cancel::Unknown);
        for mut turn in [stopped, turn] {
            self.see_through(&mut turn).await?;
            self.client.record.watched(turn);
        }
        Some(())
    }

    /// Replaces an old question while another question is asked. Neither may wait, so one of them is refused, perhaps after its start. The
    /// refused one leaves nothing behind.
    async fn ask_again(&mut self) -> Option<()> {
        let other = json!({ "ifActive": "IF_ACTIVE_REJECT" });
        let again = json!({ "replacesTurnId": self.old_question().await?, "ifActive": "IF_ACTIVE_REJECT" });
        let mut twin = self.client.twin();
        let [first, second] = [(); 2].map(|()| Ask { number: self.client.record.number(), wish: Wish::Shared });
        let (first, second) = tokio::join!(self.client.try_start(first, &self.draft, again), twin.try_start(second, &self.draft, other));
        for answered in [first?, second?] {
            match answered {
                Ok(mut turn) => {
                    self.see_through(&mut turn).await?;
                    self.client.record.watched(turn);
                }
                Err((_, problem)) if ["TURN_ACTIVE", "TURN_REPLACED"].iter().any(|reason| problem["reason"] == *reason) => {}
                Err(refused) => return self.refused("ask again", refused),
            }
        }
        Some(())
    }

    /// A turn whose question can be replaced. `None` if it failed: a turn that was given up before its start has no question.
    async fn old_question(&mut self) -> Option<String> {
        let mut turn = self.start(Wish::Talk, json!({})).await?;
        let end = self.see_through(&mut turn).await?;
        let id = turn.turn.clone();
        self.client.record.watched(turn);
        (end != "turn.failed").then_some(id)
    }

    /// Leaves a turn that is cancelled when its last follower leaves.
    async fn leave(&mut self) -> Option<()> {
        let mut turn = self.start(Wish::Think, json!({ "onDisconnect": "ON_DISCONNECT_CANCEL" })).await?;
        turn.cancel = Some(Cancel::Unknown);
        self.client.follow(&mut turn, Mood::Leave).await;
        self.until(&turn.turn, |turn| turn["endTime"].is_string()).await?;
        self.see_through(&mut turn).await?;
        self.client.record.watched(turn);
        Some(())
    }

    async fn look_around(&mut self) -> Option<()> {
        let (project, draft) = (self.project.clone(), self.draft.clone());
        self.get("list turns", &format!("/api/turns?projectId={project}")).await?;
        self.get("list turns", &format!("/api/turns?draftId={draft}")).await?;
        self.get("list revisions", &format!("/api/projects/{project}/revisions")).await?;
        self.get("list messages", &format!("/api/projects/{project}/messages")).await?;
        Some(())
    }

    async fn delete(&mut self) -> Option<()> {
        let path = format!("/api/projects/{}", self.project);
        let call = Call { what: "delete", method: Method::DELETE, path: &path, body: json!({}), key: None };
        match self.client.ask(call).await? {
            // The first attempt got no answer.
            Ok(_) | Err((StatusCode::NOT_FOUND, _)) => Some(()),
            Err(refused) => self.refused("delete", refused),
        }
    }

    async fn start(&mut self, wish: Wish, wishes: Value) -> Option<Watched> {
        let ask = Ask { number: self.client.record.number(), wish };
        self.client.start(ask, &self.draft, wishes).await
    }

    /// Waits until a turn has started its work.
    async fn under_way(&mut self, turn: &Watched) -> Option<()> {
        self.until(&turn.turn, |turn| turn["lastSeq"].as_u64() >= Some(UNDER_WAY) || turn["endTime"].is_string()).await
    }

    /// Reads a turn without following it.
    async fn until(&mut self, turn: &str, holds: impl Fn(&Value) -> bool) -> Option<()> {
        let clock = Stopwatch::start();
        while !holds(&self.get("look at a turn", &format!("/api/turns/{turn}")).await?) {
            if clock.elapsed() > self.client.patience {
                self.client.record.wrong(format!("turn {turn} did not get on"));
                return None;
            }
            sleep(LOOK).await;
        }
        Some(())
    }

    /// The type of the last event.
    async fn see_through(&mut self, turn: &mut Watched) -> Option<String> {
        let mood = if self.client.rng.random() { Mood::Watch } else { Mood::Restless };
        self.client.follow(turn, mood).await;
        turn.views.iter().rev().find_map(|view| view.frames.last()).map(|frame| frame.kind())
    }

    async fn save(&mut self, mut body: Value, text: &str) -> Option<Value> {
        body["changes"] = json!([{ "path": SHARED, "write": { "text": text } }]);
        self.post("save", "/api/projects/save", body).await
    }

    /// Content that nobody else writes.
    fn text(&self, how: &str) -> String {
        format!("{how} by {}\n", self.client.record.number())
    }

    /// Records a revision.
    fn saved(&self, answer: &Value, settles: Option<String>, text: String) -> Option<()> {
        let number = answer["revision"]["number"].as_u64().and_then(|number| u32::try_from(number).ok())?;
        self.client.record.saved(Saved { project: self.project.clone(), number, settles, file: (SHARED.to_owned(), text) });
        Some(())
    }

    async fn get(&mut self, what: &str, path: &str) -> Option<Value> {
        let answered = self.client.ask(Call { what, method: Method::GET, path, body: Value::Null, key: None }).await?;
        self.good(what, answered)
    }

    async fn post(&mut self, what: &str, path: &str, body: Value) -> Option<Value> {
        let key = Some(format!("edit-{}", self.client.record.number()));
        let answered = self.client.ask(Call { what, method: Method::POST, path, body, key }).await?;
        self.good(what, answered)
    }

    fn good(&self, what: &str, answered: Answered) -> Option<Value> {
        match answered {
            Ok(answer) => Some(answer),
            Err(refused) => self.refused(what, refused),
        }
    }

    fn refused<T>(&self, what: &str, (status, problem): (StatusCode, Value)) -> Option<T> {
        self.client.record.wrong(format!("{what} in project {}: {status} {problem}", self.project));
        None
    }
}
