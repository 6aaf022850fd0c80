//! Keys of model providers that a person stores for themselves and for a project.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::canary::Stopwatch;
use tokio::time::sleep;

use super::{Addresses, Editor, PAUSE, POLL};
use crate::{client::ApiCall, prompt::Task};

const PATH: &str = "/api/provider-keys";
/// The model server takes any key.
const KEY: &str = "sk-chaos-0123456789-abcd";
const MODEL: &str = "openai/test";

impl Editor {
    /// Stores keys with a new account, whose sign-up is a recent proof, runs turns with them, renames one, deletes one, and purges the project
    /// of the other.
    pub(super) async fn use_own_keys(&mut self, addresses: &Addresses) -> Option<()> {
        let mut owner = self.newcomer().await?;
        let key = owner.store_key(addresses).await?;
        if owner.answer_with(json!({}), &key).await? {
            let of_project = owner.store_key(addresses).await?;
            owner.answer_with(json!({ "projectId": owner.project }), &of_project).await?;
            owner.purge().await?;
        }
        owner.project.clear();
        owner.rename_key(&key).await?;
        owner.call_or_not_found("delete a key", Method::DELETE, &format!("{PATH}/{key}"), json!({})).await?;
        let left = owner.keys().await?;
        if left.as_array().is_some_and(|left| !left.is_empty()) {
            owner.client.record.violation(format!("the deleted key {key} is listed: {left}"));
        }
        sleep(PAUSE).await;
        Some(())
    }

    /// Stores a key for the project, or for the person if there is none. Returns its id.
    pub(super) async fn store_key(&mut self, addresses: &Addresses) -> Option<String> {
        let mut body = json!({ "provider": "openai", "key": KEY, "baseUrl": addresses.model, "displayName": "chaos" });
        if !self.project.is_empty() {
            body["projectId"] = json!(self.project);
        }
        let store = ApiCall { what: "store a key", method: Method::POST, path: PATH, body, key: None };
        match self.client.call(store).await? {
            Ok(stored) => self.text_at(&stored, "/id"),
            // An earlier attempt without an answer has stored it.
            Err((_, problem)) if problem["reason"] == "PROVIDER_KEY_EXISTS" => {
                let listed = self.keys().await?;
                self.text_at(&listed, "/0/id")
            }
            Err(refused) => self.refused("store a key", refused),
        }
    }

    /// The keys of the project, or of the person if there is none. No answer has the key itself.
    async fn keys(&mut self) -> Option<Value> {
        let condition = if self.project.is_empty() { String::new() } else { format!("?projectId={}", self.project) };
        let listed = self.get("list keys", &format!("{PATH}{condition}")).await?["providerKeys"].take();
        if listed.to_string().contains(KEY) {
            self.client.record.violation(format!("a list of keys has the key {KEY}: {listed}"));
        }
        Some(listed)
    }

    /// Runs a turn that must use this key, and remembers its project. Returns `false` if it failed because its workers were lost.
    async fn answer_with(&mut self, mut fields: Value, key: &str) -> Option<bool> {
        fields["model"] = json!(MODEL);
        let mut turn = self.start(Task::Answer, fields).await?;
        let end = self.follow_to_end(&mut turn).await?;
        let found = self.get("get a turn", &format!("/api/turns/{}", turn.turn)).await?;
        if found["providerKeyId"] != json!(key) {
            self.client.record.violation(format!("a turn does not use the stored key {key}: {found}"));
        }
        if end == "turn.failed" {
            let lost = found.to_string();
            if !["WORKER_LOST", "NOT_BEGUN"].iter().any(|reason| lost.contains(reason)) {
                self.client.record.violation(format!("a turn with the stored key {key} failed: {found}"));
            }
            return Some(false);
        }
        self.project = self.text_at(&found, "/projectId")?;
        Some(true)
    }

    async fn rename_key(&mut self, key: &str) -> Option<()> {
        let (name, path, clock) = (self.text("renamed").trim().to_owned(), format!("{PATH}/{key}"), Stopwatch::start());
        loop {
            let rename =
                ApiCall { what: "rename a key", method: Method::PATCH, path: &path, body: json!({ "displayName": name }), key: None };
            match self.client.call(rename).await? {
                Ok(_) => break,
                // An earlier attempt without an answer was carried out at the same time.
                Err((StatusCode::CONFLICT, problem))
                    if problem["reason"] == "PROVIDER_KEY_CHANGED" && clock.elapsed() < self.client.turn_limit =>
                {
                    sleep(POLL).await;
                }
                Err(refused) => return self.refused("rename a key", refused),
            }
        }
        let listed = self.keys().await?;
        if listed[0]["displayName"] != json!(name) {
            self.client.record.violation(format!("the key {key} was named {name:?}, and the list is {listed}"));
        }
        Some(())
    }
}
