//! What an editor does with a project besides turns and saves: lists, labels, locks, forks, files, undo and deletions.

use reqwest::Method;
use serde_json::{Value, json};

use super::Editor;
use crate::{client::ApiCall, prompt::SHARED};

/// Bytes of a file that is stored in chunks.
const LARGE_FILE: usize = 300_000;

impl Editor {
    pub(super) async fn read_lists(&mut self) -> Option<()> {
        let (project, draft) = (self.project.clone(), self.draft.clone());
        self.get("list turns", &format!("/api/turns?projectId={project}")).await?;
        self.get("list turns", &format!("/api/turns?draftId={draft}")).await?;
        self.get("list turns by metadata", &format!("/api/turns?projectId={project}&metadata[load]=editor")).await?;
        let revisions = self.get("list revisions", &format!("/api/projects/{project}/revisions")).await?;
        self.get("list messages", &format!("/api/projects/{project}/messages")).await?;
        self.get("search messages", "/api/messages/search?query=saved").await?;
        self.get("search files", &format!("/api/projects/{project}/search?query=saved")).await?;
        // No turn has the id of the project.
        let diff = format!("/api/projects/{project}/diff?turnId={project}");
        self.call_or_not_found("compare a turn", Method::GET, &diff, Value::Null).await?;
        let head = &revisions["revisions"][0];
        let user = head["userId"].as_str().unwrap_or_default();
        let time = head["createTime"].as_str().unwrap_or_default().replace('+', "%2B");
        for condition in [format!("path={SHARED}&startTime={time}"), format!("userId={user}")] {
            self.get("list revisions", &format!("/api/projects/{project}/revisions?{condition}")).await?;
        }
        for of in ["history", "blame"] {
            self.get("read the past of a file", &format!("/api/projects/{project}/{of}/{SHARED}")).await?;
        }
        let head = self.text_at(&revisions, "/revisions/0/id")?;
        self.use_label(&head).await
    }

    /// Gives a revision a label, reads the labels and deletes it.
    pub(super) async fn use_label(&mut self, revision: &str) -> Option<()> {
        let labels = format!("/api/projects/{}/labels", self.project);
        let label = format!("{labels}/chaos");
        let set = ApiCall { what: "set a label", method: Method::PUT, path: &label, body: json!({ "revision": revision }), key: None };
        let answered = self.client.call(set).await?;
        self.accept("set a label", answered)?;
        self.get("list labels", &labels).await?;
        self.call_or_not_found("delete a label", Method::DELETE, &label, json!({})).await
    }

    /// Locks a file, moves it and moves it back, which the lock must follow, and deletes the lock.
    pub(super) async fn use_lock(&mut self) -> Option<()> {
        let locks = format!("/api/projects/{}/locks", self.project);
        let lock = format!("{locks}/{SHARED}");
        let set = ApiCall { what: "set a lock", method: Method::PUT, path: &lock, body: json!({}), key: None };
        let answered = self.client.call(set).await?;
        self.accept("set a lock", answered)?;
        let changes = format!("/api/projects/{}/changes", self.project);
        for (from, to) in [(SHARED, "moved.txt"), ("moved.txt", SHARED)] {
            let key = Some(format!("rename-{}", self.client.record.number()));
            let body = json!({ "changes": [{ "path": from, "rename": { "newPath": to } }] });
            let answered = self.client.call(ApiCall { what: "rename", method: Method::POST, path: &changes, body, key }).await?;
            self.accept("rename", answered)?;
            let listed = self.get("list locks", &locks).await?;
            if listed["locks"].as_array().is_none_or(|locks| locks.len() != 1) || listed["locks"][0]["path"] != json!(to) {
                self.client.record.violation(format!("project {} has other locks than that of {to}: {listed}", self.project));
            }
        }
        self.call_or_not_found("delete a lock", Method::DELETE, &lock, json!({})).await
    }

    /// Forks the project, which must have the same files, and changes the fork, which must not change the project.
    pub(super) async fn fork(&mut self) -> Option<()> {
        let root = format!("/api/projects/{}", self.project);
        let load = format!("/api/projects/load?projectId={}", self.project);
        let fork = self.fork_of(&self.project.clone()).await?;
        let before = self.get("load", &load).await?;
        let forked = self.get("load a fork", &format!("/api/projects/load?projectId={fork}")).await?;
        if forked["files"] != before["files"] || forked["revision"]["id"] != before["revision"]["id"] {
            self.client.record.violation(format!("the fork {fork} of {} has other files", self.project));
        }
        let text = self.text("forked");
        self.save(json!({ "projectId": fork }), &text).await?;
        if self.get("load", &load).await?["files"] != before["files"] {
            self.client.record.violation(format!("a save of the fork {fork} changed {}", self.project));
        }
        self.get("list forks", &format!("{root}/forks")).await?;
        self.merge(&fork).await?;
        self.call_or_not_found("delete a fork", Method::DELETE, &format!("/api/projects/{fork}?purge=true"), json!({})).await
    }

    /// Publishes the project as a template, makes a project of it, and deletes both.
    pub(super) async fn use_templates(&mut self) -> Option<()> {
        let template = self.publish_template().await?;
        let path = format!("/api/templates/{}", self.text_at(&template, "/id")?);
        let next = json!({ "projectId": self.project, "title": "Chaos", "templateId": template["id"] });
        self.post("publish a version", "/api/templates", next).await?;
        self.get("list templates", "/api/templates?query=chaos&mine=true").await?;
        self.get("get a template", &path).await?;
        self.get("list reviews", &format!("{path}/reviews")).await?;
        let used = self.post("use a template", &format!("{path}/use"), json!({})).await?;
        let made = self.text_at(&used, "/project/id")?;
        let (copied, source) = (self.files_of(&made).await?, self.files_of(&self.project.clone()).await?);
        if copied != source {
            self.client.record.violation(format!("project {made} has other files than its template: {copied} instead of {source}"));
        }
        self.review(&path).await?;
        let report = format!("{path}/report");
        let report = ApiCall { what: "report", method: Method::PUT, path: &report, body: json!({ "reason": "chaos" }), key: None };
        let answered = self.client.call(report).await?;
        self.accept("report", answered)?;
        self.call_or_not_found("purge", Method::DELETE, &format!("/api/projects/{made}?purge=true"), json!({})).await?;
        self.call_or_not_found("unpublish", Method::DELETE, &path, json!({})).await
    }

    pub(super) async fn publish_template(&mut self) -> Option<Value> {
        let body = json!({ "projectId": self.project, "title": "Chaos", "variables": [{ "name": "by", "label": "By" }] });
        self.post("publish a template", "/api/templates", body).await
    }

    /// Another person reviews a template and takes the review back.
    async fn review(&mut self, template: &str) -> Option<()> {
        let publisher = self.client.person;
        self.client.person = (publisher + 1) % self.client.people.len();
        let path = format!("{template}/review");
        let review = ApiCall { what: "review", method: Method::PUT, path: &path, body: json!({ "stars": 4, "text": "chaos" }), key: None };
        let reviewed = self.client.call(review).await;
        let deleted = self.call_or_not_found("delete a review", Method::DELETE, &path, json!({})).await;
        self.client.person = publisher;
        self.accept("review", reviewed?)?;
        deleted
    }

    /// The paths of a project's files with their ids.
    async fn files_of(&mut self, project: &str) -> Option<Value> {
        Some(self.get("list files", &format!("/api/projects/{project}/files")).await?["files"].take())
    }

    /// Uploads a small file and a large one, the large one twice, and reads it.
    pub(super) async fn use_files(&mut self) -> Option<()> {
        let large = "x".repeat(LARGE_FILE);
        for (name, content) in [("small", "x"), ("large", large.as_str()), ("copy", large.as_str())] {
            let path = format!("/api/projects/{}/files/{name}.json", self.project);
            let key = Some(format!("upload-{}", self.client.record.number()));
            // The content is JSON, because `get` reads JSON.
            let upload = ApiCall { what: "upload", method: Method::PUT, path: &path, body: json!(json!(content).to_string()), key };
            let answered = self.client.call(upload).await?;
            self.accept("upload", answered)?;
        }
        let read = self.get("download", &format!("/api/projects/{}/raw/copy.json", self.project)).await?;
        if read != json!(large) {
            self.client.record.violation(format!("a download in project {} is not what was uploaded", self.project));
        }
        let path = format!("/api/projects/{}/files/small.json", self.project);
        self.call_or_not_found("delete a file", Method::DELETE, &path, json!({})).await
    }

    /// Imports an archive as a new project, and another one in place of its files.
    pub(super) async fn import(&mut self) -> Option<()> {
        let (first, second) = (self.text("imported"), self.text("replaced"));
        let made = self.post("import", "/api/projects/import", archive(&[("a.txt", &first), ("b.txt", &first)])?).await?;
        let project = self.text_at(&made, "/project/id")?;
        let path = format!("/api/projects/{project}/import?mode=IMPORT_MODE_REPLACE");
        self.post("import into a project", &path, archive(&[("a.txt", &second)])?).await?;
        let files = self.get("load an import", &format!("/api/projects/load?projectId={project}")).await?["files"].take();
        if files.as_array().is_none_or(|files| files.len() != 1) || files[0]["content"]["text"] != json!(second) {
            self.client.record.violation(format!("project {project} has other files than its archive: {files}"));
        }
        self.call_or_not_found("purge", Method::DELETE, &format!("/api/projects/{project}?purge=true"), json!({})).await
    }

    /// Undoes and redoes a save, and resolves the revert of an older one. The history must only grow.
    pub(super) async fn undo_and_revert(&mut self) -> Option<()> {
        let project = format!("/api/projects/{}", self.project);
        let (revisions, file) = (format!("{project}/revisions"), format!("{project}/files/{SHARED}"));
        let first = self.get("get a file", &file).await?["content"]["text"].clone();
        let text = self.text("undone");
        let saved = self.save(json!({ "projectId": self.project }), &text).await?;
        for (what, expected) in [("undo", first), ("redo", json!(text))] {
            self.post(what, &format!("{project}/{what}"), json!({})).await?;
            let found = self.get("get a file", &file).await?["content"]["text"].clone();
            if found != expected {
                self.client.record.violation(format!("after the {what}, {SHARED} of project {} has {found}, not {expected}", self.project));
            }
        }
        let before = self.get("list revisions", &revisions).await?;
        let later = self.text("later");
        self.save(json!({ "projectId": self.project }), &later).await?;
        let revert = format!("{revisions}/{}/revert", self.text_at(&saved, "/revision/id")?);
        let conflicted = self.post("revert", &revert, json!({})).await?;
        let id = self.text_at(&conflicted, "/conflictId")?;
        let listed = self.get("list conflicts", &format!("{project}/conflicts")).await?;
        if listed["conflicts"].as_array().map(Vec::len) != Some(1) {
            self.client.record.violation(format!("project {} has not one conflict: {listed}", self.project));
        }
        let mut expected = self.contents_of(&self.project.clone()).await?;
        let resolved = self.resolve_conflict(&id).await?;
        expected.insert(SHARED.to_owned(), json!({ "text": resolved }));
        let found = self.contents_of(&self.project.clone()).await?;
        self.require_files(&format!("after the resolution of a revert in project {}", self.project), &expected, &found);
        // No turn has the id of the project.
        let turn = format!("{project}/turns/{}/revert", self.project);
        self.call_or_not_found("revert a turn", Method::POST, &turn, json!({})).await?;
        let after = self.get("list revisions", &revisions).await?;
        let (before, after) = (before["revisions"].as_array()?, after["revisions"].as_array()?);
        if after.len() != before.len() + 2 || after[2..] != before[..] {
            self.client.record.violation(format!("the history of project {} was {before:?} and is {after:?}", self.project));
        }
        Some(())
    }

    /// Follows the project from its first revision while it gets another one.
    pub(super) async fn watch(&mut self) -> Option<()> {
        let revisions = format!("/api/projects/{}/revisions", self.project);
        let before = self.get("list revisions", &revisions).await?["revisions"][0]["number"].as_u64()?;
        let (text, project, mut other) = (self.text("watched"), self.project.clone(), self.client.second_client());
        let (seen, saved) = tokio::join!(other.watch_project(&project, before + 1), self.save(json!({ "projectId": project }), &text));
        saved?;
        let seen = seen?;
        let mut listed = self.get("list revisions", &revisions).await?["revisions"].take();
        listed.as_array_mut()?.reverse();
        let listed: Vec<_> = listed.as_array()?.iter().filter_map(|revision| revision["id"].as_str()).collect();
        if seen != listed {
            self.client.record.violation(format!("the events of project {} had the revisions {seen:?} and not {listed:?}", self.project));
        }
        Some(())
    }

    pub(super) async fn delete(&mut self) -> Option<()> {
        let path = format!("/api/projects/{}", self.project);
        self.call_or_not_found("delete", Method::DELETE, &path, json!({})).await
    }

    pub(super) async fn undelete(&mut self) -> Option<()> {
        let path = format!("/api/projects/{}/undelete", self.project);
        let undelete = ApiCall { what: "undelete", method: Method::POST, path: &path, body: json!({}), key: None };
        let answered = self.client.call(undelete).await?;
        self.accept("undelete", answered).map(drop)
    }

    /// Purges the project, which also tells the turns' service to delete what it has of it.
    pub(super) async fn purge(&mut self) -> Option<()> {
        let path = format!("/api/projects/{}?purge=true", self.project);
        self.call_or_not_found("purge", Method::DELETE, &path, json!({})).await
    }
}

/// A tar file of text files, which is UTF-8 as a whole.
pub(super) fn archive(files: &[(&str, &str)]) -> Option<Value> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, path, text.as_bytes()).ok()?;
    }
    String::from_utf8(builder.into_inner().ok()?).ok().map(Value::String)
}
