//! Messages that their author changes, and answers that a user rates. The turns of these projects are not compared with their prompts.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::canary::Stopwatch;
use tokio::time::sleep;

use super::{Editor, POLL};
use crate::{client::ApiCall, prompt::Task};

impl Editor {
    /// Edits and deletes a prompt, and rates its answer.
    pub(super) async fn change_messages(&mut self) -> Option<()> {
        let mut turn = self.start(Task::Answer, json!({})).await?;
        if self.follow_to_end(&mut turn).await? == "turn.failed" {
            return Some(());
        }
        let found = self.get("get a turn", &format!("/api/turns/{}", turn.turn)).await?;
        self.project = self.text_at(&found, "/projectId")?;
        let messages = format!("/api/projects/{}/messages", self.project);
        let listed = self.conversation().await?;
        let [prompt, answer] = ["/0/id", "/1/id"].map(|place| Some(format!("{messages}/{}", self.text_at(&listed, place)?)));
        let (prompt, answer) = (prompt?, answer?);
        self.edit_prompt(&prompt).await?;
        self.rate(&answer).await?;
        self.read_preview().await?;
        self.delete_prompt(&prompt).await
    }

    pub(super) async fn conversation(&mut self) -> Option<Value> {
        let path = format!("/api/projects/{}/messages?order=MESSAGE_ORDER_OLDEST_FIRST", self.project);
        Some(self.get("list messages", &path).await?["messages"].take())
    }

    async fn edit_prompt(&mut self, prompt: &str) -> Option<()> {
        let text = self.text("edited");
        self.send("edit a message", Method::PATCH, prompt, json!({ "text": text })).await?;
        let found = self.conversation().await?[0]["text"].take();
        if found != json!(text) {
            self.client.record.violation(format!("the edited message {prompt} has the text {found}"));
        }
        Some(())
    }

    async fn rate(&mut self, answer: &str) -> Option<()> {
        let path = format!("{answer}/reaction");
        let rated = self.send("react", Method::PUT, &path, json!({ "kind": "REACTION_KIND_HELPFUL" })).await?;
        let taken = self.send("take a reaction back", Method::DELETE, &path, json!({})).await?;
        if rated["helpfulCount"] != json!(1) || !taken["helpfulCount"].is_null() {
            self.client.record.violation(format!("the answer {answer} has the reactions {rated} and then {taken}"));
        }
        Some(())
    }

    /// Deletes the prompt as soon as project-storage knows that its turn has ended.
    async fn delete_prompt(&mut self, prompt: &str) -> Option<()> {
        let clock = Stopwatch::start();
        loop {
            let delete = ApiCall { what: "delete a message", method: Method::DELETE, path: prompt, body: json!({}), key: None };
            match self.client.call(delete).await? {
                Ok(_) => break,
                Err((StatusCode::CONFLICT, problem)) if problem["reason"] == "TURN_OPEN" && clock.elapsed() < self.client.turn_limit => {
                    sleep(POLL).await;
                }
                Err(refused) => return self.refused("delete a message", refused),
            }
        }
        let left = self.conversation().await?[0].take();
        if !left["text"].is_null() || !left["deleteTime"].is_string() {
            self.client.record.violation(format!("the deleted message {prompt} is {left}"));
        }
        Some(())
    }

    /// Saves a page, reads it as a browser does, and revokes the preview.
    async fn read_preview(&mut self) -> Option<()> {
        let (text, root) = (self.text("previewed"), format!("/api/projects/{}", self.project));
        let body = json!({ "projectId": self.project, "changes": [{ "path": "index.html", "write": { "text": text } }] });
        self.post("save a page", "/api/projects/save", body).await?;
        let made = self.send("create a preview", Method::POST, &format!("{root}/previews"), json!({})).await?;
        let Ok(url) = reqwest::Url::parse(&self.text_at(&made, "/url")?) else { return self.wrong(format!("not a URL: {made}")) };
        let found = self.client.read_page(&url).await?;
        if found != text {
            self.client.record.violation(format!("the preview {url} shows {found:?} instead of {text:?}"));
        }
        self.use_site(&url, &text).await?;
        let capability = url.host_str()?.split('.').next()?;
        self.call_or_not_found("delete a preview", Method::DELETE, &format!("{root}/previews/{capability}"), json!({})).await
    }

    pub(super) async fn send(&mut self, what: &str, method: Method, path: &str, body: Value) -> Option<Value> {
        let answered = self.client.call(ApiCall { what, method, path, body, key: None }).await?;
        self.accept(what, answered)
    }
}
