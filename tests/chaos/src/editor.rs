//! Users who edit the project of a turn. Some save during a turn, resolve conflicts, interrupt a turn, replace an old prompt, and leave a
//! turn. Three save, read, fork and delete without an agent. One replaces an old prompt while a later one is answered. One changes messages.
//! Two use contents again that a sweep is about to delete. One opens pages of projects that are compiled and import a package, also while a turn
//! runs. One stores keys of model providers, two delete accounts, and one uses credentials and ends them. One uses links in mails, one a second
//! factor, one passkeys, one a provider of sign-ins, and one devices and service accounts.

mod account;
mod conversation;
mod credentials;
mod mail_links;
mod merge;
mod own_keys;
mod passkeys;
mod preview;
mod programs;
mod project;
mod provider;
mod reuse;
mod running;
mod second_factor;
mod site;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rand::RngExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{canary::Stopwatch, identity_provider::IdentityProvider, upstream::Upstream};
use tokio::time::{Duration, sleep};

use super::{
    client::{ApiCall, Behavior, Client, Outcome},
    prompt::{Prompt, SHARED, Task},
    record::{Cancel, SavedRevision, WatchedTurn},
};

/// The time between two reads of a turn.
const POLL: Duration = Duration::from_millis(30);
/// The time between two projects of the editor without an agent.
const PAUSE: Duration = Duration::from_millis(300);
/// A turn with this many events has read its base revision.
const WORKING_AFTER: u64 = 5;

/// What is outside of the cluster.
#[derive(Debug)]
pub struct Addresses {
    /// The base URL of the model server for the provider `openai`.
    pub model: String,
    /// The prefix of the URLs of the databases.
    pub database: String,
    /// The folder with the mails of auth.
    pub outbox: PathBuf,
    /// The origin of the installation as browsers see it.
    pub site: String,
    /// Where people sign in, too.
    pub provider: Arc<IdentityProvider>,
}

/// What an editor does.
#[derive(Debug, Clone)]
pub enum Job {
    SaveDuringTurns,
    WithoutAgent,
    ReplacePrompts,
    ChangeMessages,
    ReuseContents,
    OpenCompiled(Arc<Upstream>),
    UseOwnKeys(Arc<Addresses>),
    DeleteAccount(Arc<Addresses>),
    DeleteGuests(Arc<Addresses>),
    UseCredentials,
    UseLinks(Arc<Addresses>),
    UseSecondFactor(Arc<Addresses>),
    UsePasskeys(Arc<Addresses>),
    UseProvider(Arc<Addresses>),
    UsePrograms,
}

/// Works on one project after the other until stopped.
pub async fn work(client: Client, job: Job, name: String, stop: Arc<AtomicBool>) {
    let mut editor = Editor { client, draft: String::new(), project: String::new() };
    for round in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        editor.draft = format!("{name}-{round}");
        let done = match &job {
            Job::SaveDuringTurns => editor.save_during_turns(&stop).await,
            Job::WithoutAgent => editor.work_without_agent().await,
            Job::ReplacePrompts => editor.replace_prompts().await,
            Job::ChangeMessages => editor.change_messages().await,
            Job::ReuseContents => editor.reuse_contents(&stop).await,
            Job::OpenCompiled(registry) => editor.open_compiled(registry).await,
            Job::UseOwnKeys(addresses) => editor.use_own_keys(addresses).await,
            Job::DeleteAccount(addresses) => editor.delete_account(addresses).await,
            Job::DeleteGuests(addresses) => editor.delete_guests(addresses).await,
            Job::UseCredentials => editor.use_credentials().await,
            Job::UseLinks(addresses) => editor.use_links(&addresses.outbox).await,
            Job::UseSecondFactor(addresses) => editor.use_second_factor(&addresses.outbox).await,
            Job::UsePasskeys(addresses) => editor.use_passkeys(&addresses.site).await,
            Job::UseProvider(addresses) => editor.use_provider(&addresses.provider).await,
            Job::UsePrograms => editor.use_programs().await,
        };
        // Most failures are also recorded where they happen. The editor continues with the next project.
        if done.is_none() {
            let text = format!("the editor {job:?} ended early with the draft {} in project {:?}", editor.draft, editor.project);
            editor.client.record.violation(text);
        }
    }
}

struct Editor {
    client: Client,
    draft: String,
    project: String,
}

impl Editor {
    /// An editor with a new account, and with the same draft.
    async fn newcomer(&mut self) -> Option<Self> {
        Some(Self { client: self.client.sign_up().await?, draft: self.draft.clone(), project: String::new() })
    }

    async fn save_during_turns(&mut self, stop: &AtomicBool) -> Option<()> {
        self.create_project().await?;
        self.save_during_turn().await?;
        self.ask().await?;
        if !stop.load(Ordering::Relaxed) {
            self.interrupt().await?;
            self.replace_during_start().await?;
        }
        if stop.load(Ordering::Relaxed) { Some(()) } else { self.leave_turn().await }
    }

    async fn work_without_agent(&mut self) -> Option<()> {
        self.create_project().await?;
        let text = self.text("saved again");
        let answer = self.save(json!({ "projectId": self.project }), &text).await?;
        self.saved(&answer, None, text)?;
        self.read_lists().await?;
        self.use_lock().await?;
        self.use_files().await?;
        self.get("get the usage of a project", &format!("/api/projects/{}/usage", self.project)).await?;
        self.get("get the usage of an account", "/api/usage").await?;
        self.undo_and_revert().await?;
        self.watch().await?;
        self.fork().await?;
        self.use_templates().await?;
        self.import().await?;
        self.delete().await?;
        self.undelete().await?;
        self.purge().await?;
        sleep(PAUSE).await;
        Some(())
    }

    /// Replaces an old prompt while a later one is answered. Every worker of the later turn must send the same input to the model.
    async fn replace_prompts(&mut self) -> Option<()> {
        let Some(old) = self.ended_turn().await? else { return Some(()) };
        let later = self.start(Task::SlowAnswer, json!({})).await?;
        self.wait_until_working(&later).await?;
        let new = self.start(Task::Answer, json!({ "replacesTurnId": old })).await?;
        for mut turn in [later, new] {
            self.follow_to_end(&mut turn).await?;
            self.client.record.watched(turn);
        }
        Some(())
    }

    /// Creates the project and repeats the save, which must not create a revision.
    async fn create_project(&mut self) -> Option<()> {
        let text = self.text("saved");
        let answer = self.save(json!({ "draftId": self.draft }), &text).await?;
        self.project = self.text_at(&answer, "/project/id")?;
        let same = self.save(json!({ "projectId": self.project }), &text).await?;
        if same["revision"] != answer["revision"] {
            self.client
                .record
                .violation(format!("a save without changes created revision {} after {}", same["revision"], answer["revision"]));
        }
        self.saved(&answer, None, text)
    }

    /// Saves a file that a turn is about to write, and resolves the conflict.
    async fn save_during_turn(&mut self) -> Option<()> {
        let mut turn = self.start(Task::Conflict, json!({})).await?;
        self.wait_until_working(&turn).await?;
        let text = self.text("saved");
        let answer = self.save(json!({ "projectId": self.project }), &text).await?;
        self.saved(&answer, None, text)?;
        let conflicted = self.follow_to_end(&mut turn).await? == "turn.conflicted";
        let id = turn.turn.clone();
        self.client.record.watched(turn);
        if conflicted { self.resolve_conflict(&id).await.map(drop) } else { Some(()) }
    }

    /// Asks a question about the project.
    async fn ask(&mut self) -> Option<()> {
        let mut turn = self.start(Task::Ask, json!({})).await?;
        self.follow_to_end(&mut turn).await?;
        self.client.record.watched(turn);
        Some(())
    }

    /// Resolves a conflict with a content of its own, which it returns.
    async fn resolve_conflict(&mut self, turn: &str) -> Option<String> {
        let path = format!("/api/projects/{}/conflicts/{turn}", self.project);
        let conflict = self.get("get a conflict", &path).await?;
        let text = self.text("resolved");
        let files = json!([{ "path": SHARED, "take": "TAKE_CONTENT", "content": { "text": text } }]);
        let body = json!({ "baseRevision": self.text_at(&conflict, "/headRevision")?, "files": files });
        let resolve = format!("{path}/resolve");
        let answer = self.post("resolve", &resolve, body).await?;
        self.saved(&answer, Some(turn.to_owned()), text.clone())?;
        Some(text)
    }

    /// Starts a turn that interrupts another one.
    async fn interrupt(&mut self) -> Option<()> {
        let mut stopped = self.start(Task::SlowAnswer, json!({})).await?;
        self.wait_until_working(&stopped).await?;
        let turn = self.start(Task::Shared, json!({ "ifActive": "IF_ACTIVE_INTERRUPT" })).await?;
        stopped.cancel = Some(Cancel::Unknown);
        for mut turn in [stopped, turn] {
            self.follow_to_end(&mut turn).await?;
            self.client.record.watched(turn);
        }
        Some(())
    }

    /// Replaces an old prompt while another turn starts. Neither start may wait, so one of them is refused, perhaps after its start. A refused
    /// start must leave nothing behind.
    async fn replace_during_start(&mut self) -> Option<()> {
        let plain = json!({ "ifActive": "IF_ACTIVE_REJECT" });
        let Some(old) = self.ended_turn().await? else { return Some(()) };
        let replacing = json!({ "replacesTurnId": old, "ifActive": "IF_ACTIVE_REJECT" });
        let mut other_client = self.client.second_client();
        let [first, second] = [(); 2].map(|()| Prompt { number: self.client.record.number(), task: Task::Shared });
        let (first, second) =
            tokio::join!(self.client.try_start(first, &self.draft, replacing), other_client.try_start(second, &self.draft, plain));
        for started in [first?, second?] {
            match started {
                Ok(mut turn) => {
                    self.follow_to_end(&mut turn).await?;
                    self.client.record.watched(turn);
                }
                Err((_, problem)) if ["TURN_ACTIVE", "TURN_REPLACED"].iter().any(|reason| problem["reason"] == *reason) => {}
                Err(refused) => return self.refused("replace a prompt", refused),
            }
        }
        Some(())
    }

    /// Runs a turn whose prompt can be replaced. It cannot if the turn failed, because a withdrawn turn has no prompt.
    async fn ended_turn(&mut self) -> Option<Option<String>> {
        let mut turn = self.start(Task::Answer, json!({})).await?;
        let end = self.follow_to_end(&mut turn).await?;
        let id = turn.turn.clone();
        self.client.record.watched(turn);
        Some((end != "turn.failed").then_some(id))
    }

    /// Leaves a turn that is cancelled when its last viewer leaves.
    async fn leave_turn(&mut self) -> Option<()> {
        let mut turn = self.start(Task::SlowAnswer, json!({ "onDisconnect": "ON_DISCONNECT_CANCEL" })).await?;
        turn.cancel = Some(Cancel::Unknown);
        self.client.follow(&mut turn, Behavior::Leave).await;
        self.wait_until(&turn.turn, |turn| turn["endTime"].is_string()).await?;
        self.follow_to_end(&mut turn).await?;
        self.client.record.watched(turn);
        Some(())
    }

    /// A call that may answer 404: an earlier attempt without an answer has deleted the thing, or the turn has no revision.
    async fn call_or_not_found(&mut self, what: &str, method: Method, path: &str, body: Value) -> Option<()> {
        match self.client.call(ApiCall { what, method, path, body, key: None }).await? {
            Ok(_) | Err((StatusCode::NOT_FOUND, _)) => Some(()),
            Err(refused) => self.refused(what, refused),
        }
    }

    async fn start(&mut self, task: Task, fields: Value) -> Option<WatchedTurn> {
        let prompt = Prompt { number: self.client.record.number(), task };
        self.client.start(prompt, &self.draft, fields).await
    }

    /// Waits until a turn has read its base revision.
    async fn wait_until_working(&mut self, turn: &WatchedTurn) -> Option<()> {
        self.wait_until(&turn.turn, |turn| turn["lastSeq"].as_u64() >= Some(WORKING_AFTER) || turn["endTime"].is_string()).await
    }

    /// Polls a turn until the condition holds.
    async fn wait_until(&mut self, turn: &str, holds: impl Fn(&Value) -> bool) -> Option<()> {
        let clock = Stopwatch::start();
        while !holds(&self.get("get a turn", &format!("/api/turns/{turn}")).await?) {
            if clock.elapsed() > self.client.turn_limit {
                self.client.record.violation(format!("turn {turn} made no progress"));
                return None;
            }
            sleep(POLL).await;
        }
        Some(())
    }

    /// Follows a turn to its end. Returns the type of the last event.
    async fn follow_to_end(&mut self, turn: &mut WatchedTurn) -> Option<String> {
        let behavior = if self.client.rng.random() { Behavior::Watch } else { Behavior::Reconnect };
        self.client.follow(turn, behavior).await;
        match turn.views.iter().rev().find_map(|view| view.frames.last()) {
            Some(frame) => Some(frame.kind()),
            None => self.wrong(format!("turn {} has no event", turn.turn)),
        }
    }

    async fn save(&mut self, mut body: Value, text: &str) -> Option<Value> {
        body["changes"] = json!([{ "path": SHARED, "write": { "text": text } }]);
        self.post("save", "/api/projects/save", body).await
    }

    /// A unique text.
    fn text(&self, how: &str) -> String {
        format!("{how} by {}\n", self.client.record.number())
    }

    /// Records a revision.
    fn saved(&self, answer: &Value, resolves: Option<String>, text: String) -> Option<()> {
        let (project, id) = (self.project.clone(), self.text_at(answer, "/revision/id")?);
        let Some(number) = answer["revision"]["number"].as_u64().and_then(|number| u32::try_from(number).ok()) else {
            return self.wrong(format!("a save in project {project} has no number: {answer}"));
        };
        self.client.record.saved(SavedRevision { project, id, number, resolves, file: (SHARED.to_owned(), text) });
        Some(())
    }

    /// The text at a JSON pointer of an answer. An answer without it is a violation.
    fn text_at(&self, answer: &Value, place: &str) -> Option<String> {
        match answer.pointer(place).and_then(Value::as_str) {
            Some(text) => Some(text.to_owned()),
            None => self.wrong(format!("an answer in project {} has no {place}: {answer}", self.project)),
        }
    }

    /// Records a violation after which the editor cannot continue.
    fn wrong<T>(&self, text: String) -> Option<T> {
        self.client.record.violation(text);
        None
    }

    async fn get(&mut self, what: &str, path: &str) -> Option<Value> {
        let answered = self.client.call(ApiCall { what, method: Method::GET, path, body: Value::Null, key: None }).await?;
        self.accept(what, answered)
    }

    async fn post(&mut self, what: &str, path: &str, body: Value) -> Option<Value> {
        let key = Some(format!("edit-{}", self.client.record.number()));
        let answered = self.client.call(ApiCall { what, method: Method::POST, path, body, key }).await?;
        self.accept(what, answered)
    }

    fn accept(&self, what: &str, answered: Outcome) -> Option<Value> {
        match answered {
            Ok(answer) => Some(answer),
            Err(refused) => self.refused(what, refused),
        }
    }

    fn refused<T>(&self, what: &str, (status, problem): (StatusCode, Value)) -> Option<T> {
        self.wrong(format!("{what} in project {}: {status} {problem}", self.project))
    }
}
