//! A turn whose files are read while it runs, over the API and in its preview. They must be those that it commits.

use std::collections::BTreeMap;

use reqwest::{Method, Url};
use serde_json::{Value, json};
use test_support::canary::Stopwatch;
use tokio::time::sleep;

use super::{Editor, POLL};
use crate::{
    check::{
        contents::Files,
        previews::{self as same, Compiled},
    },
    client::{ApiCall, Client},
    previews,
    prompt::{MODULE, Task},
    record::WatchedTurn,
};

/// What a running turn has shown.
struct Shown {
    files: Files,
    page: Compiled,
}

impl Editor {
    /// Runs a turn that changes a module of the project and then pauses. What it has shown meanwhile, at each gateway, must be what it commits.
    /// `preview` is the preview of the project.
    pub(super) async fn preview_turn(&mut self, preview: &Url) -> Option<()> {
        let mut turn = self.start(Task::Module, json!({})).await?;
        let shown = self.read_running(&turn.turn).await;
        let mut pages = self.read_at_each_gateway(&turn.turn).await?;
        let end = self.follow_to_end(&mut turn).await?;
        // A step that was repeated has not changed the module for a while.
        let is_final = end == "turn.completed" && !has_repeated(&turn);
        let when = format!("after turn {} that was read while it ran", turn.turn);
        self.client.record.watched(turn);
        let Some(shown) = shown.filter(|_| is_final) else { return Some(()) };
        let committed = self.contents_of(&self.project.clone()).await?;
        self.require_files(&when, &shown.files, &committed);
        pages.push(("the running turn".to_owned(), shown.page));
        pages.push(("its revision".to_owned(), self.read_page_and_modules(preview).await?));
        for (_, page) in &mut pages {
            page.html = same::without_place(&page.html);
        }
        for violation in same::check(&self.project, &pages) {
            self.client.record.violation(format!("{when}: {}", violation.text));
        }
        Some(())
    }

    /// Reads the files of a turn that has changed the module, and then its page with all modules. `None` if the turn has ended before, or if a
    /// request was refused, which is recorded as a violation.
    async fn read_running(&mut self, turn: &str) -> Option<Shown> {
        let mut files = Files::new();
        for path in self.changed_files(turn).await? {
            let at = format!("/api/turns/{turn}/files/{path}");
            let staged = ApiCall { what: "get a staged file", method: Method::GET, path: &at, body: Value::Null, key: None };
            let content = self.ask_running(staged).await?["content"].take();
            files.insert(path, content);
        }
        let at = format!("/api/projects/{}/previews", self.project);
        let body = json!({ "turnId": turn });
        let create = ApiCall { what: "create a preview of a turn", method: Method::POST, path: &at, body, key: None };
        let made = self.ask_running(create).await?;
        let url = Url::parse(&self.text_at(&made, "/url")?).ok()?;
        let mut page = Compiled { html: self.client.read_running(&url).await?, modules: BTreeMap::new() };
        for name in previews::modules(&page.html) {
            let code = self.client.read_running(&url.join(&name).ok()?).await?;
            page.modules.insert(name, code);
        }
        Some(Shown { files, page })
    }

    /// Reads the page of a turn at each gateway, which asks agent-streaming for the files also after the turn has ended. Returns the pages that
    /// were read before, without modules.
    async fn read_at_each_gateway(&mut self, turn: &str) -> Option<Vec<(String, Compiled)>> {
        let (at, mut pages) = (format!("/api/projects/{}/previews", self.project), Vec::new());
        for gateway in self.client.urls.clone() {
            let client = Client { urls: vec![gateway.clone()], ..self.client.second_client() };
            let mut editor = Self { client, draft: self.draft.clone(), project: self.project.clone() };
            let preview = editor.post("create a preview", &at, json!({})).await?;
            let preview = Url::parse(&editor.text_at(&preview, "/url")?).ok()?;
            if let Some(html) = editor.client.read_running(&of_turn(&preview, turn)?).await {
                pages.push((format!("the running turn at {gateway}"), Compiled { html, modules: BTreeMap::new() }));
            }
        }
        Some(pages)
    }

    /// Waits until the turn has changed the module, which is its last change. Returns the paths of its files.
    async fn changed_files(&mut self, turn: &str) -> Option<Vec<String>> {
        let (clock, at) = (Stopwatch::start(), format!("/api/turns/{turn}/files"));
        while clock.elapsed() < self.client.turn_limit {
            if self.get("get a turn", &format!("/api/turns/{turn}")).await?["endTime"].is_string() {
                return None;
            }
            let list = ApiCall { what: "list staged files", method: Method::GET, path: &at, body: Value::Null, key: None };
            // A turn that waits has none yet.
            let listed = self.ask_running(list).await.unwrap_or_default();
            let files = listed["files"].as_array().map(Vec::as_slice).unwrap_or_default();
            if files.iter().any(|file| file["path"] == MODULE && file["isChanged"] == true) {
                return files.iter().map(|file| file["path"].as_str().map(str::to_owned)).collect();
            }
            sleep(POLL).await;
        }
        self.wrong(format!("turn {turn} made no progress"))
    }

    /// The answer to a request about a running turn. `None` if it does not run, or if the request was refused, which is recorded as a violation.
    async fn ask_running(&mut self, call: ApiCall<'_>) -> Option<Value> {
        let what = call.what;
        match self.client.call(call).await? {
            Err((_, problem)) if problem["reason"] == "TURN_NOT_RUNNING" => None,
            answered => self.accept(what, answered),
        }
    }
}

/// The address of the files of a turn, made of that of a preview of its project: the id of the turn is behind the capability.
fn of_turn(preview: &Url, turn: &str) -> Option<Url> {
    let (capability, rest) = preview.host_str()?.split_once('.')?;
    let mut url = preview.clone();
    url.set_host(Some(&format!("{capability}{}.{rest}", turn.replace('-', "")))).ok()?;
    Some(url)
}

/// Whether a step of the turn was repeated.
fn has_repeated(turn: &WatchedTurn) -> bool {
    turn.views.iter().flat_map(|view| &view.frames).any(|frame| frame.kind() == "step.superseded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_turn_has_its_id_behind_the_capability() {
        let preview = Url::parse("http://abcdefghijklmnopqrstuvwx27.localhost:8081/").unwrap();
        let expected = "http://abcdefghijklmnopqrstuvwx270190b3a000007000800000000000abcd.localhost:8081/";
        assert_eq!(of_turn(&preview, "0190b3a0-0000-7000-8000-00000000abcd").unwrap().as_str(), expected);
        assert_eq!(of_turn(&Url::parse("http://localhost:8081/").unwrap(), "0190"), None);
    }
}
