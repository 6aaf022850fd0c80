//! Merges of forks and resolutions of conflicts, whose contents the editor knows.

use reqwest::Method;
use serde_json::{Value, json};

use super::Editor;
use crate::{
    check::contents::{self, Files},
    prompt::SHARED,
};

/// A file in which both sides of a merge change a line.
const MERGED: &str = "merged.txt";
/// Its lines: enough that changes of the first and of the last one do not overlap.
const LINES: usize = 12;

impl Editor {
    /// Forks a project. Returns the id of the fork.
    pub(super) async fn fork_of(&mut self, project: &str) -> Option<String> {
        let fork = self.post("fork", &format!("/api/projects/{project}/fork"), json!({})).await?;
        self.text_at(&fork, "/id")
    }

    /// Merges a fork into another one: without changes of the other one, with changes of other lines, and with a conflict.
    pub(super) async fn merge(&mut self, source: &str) -> Option<()> {
        let other = self.fork_of(&self.project.clone()).await?;
        self.merge_cleanly(source, &other).await?;
        let (ours, theirs) = (self.contents_of(&other).await?, self.contents_of(source).await?);
        self.require_files(&format!("after the first merge of {source} into {other}"), &theirs, &ours);
        self.merge_lines(source, &other).await?;
        self.merge_with_conflict(source, &other).await?;
        self.call_or_not_found("delete a fork", Method::DELETE, &format!("/api/projects/{other}?purge=true"), json!({})).await
    }

    async fn merge_cleanly(&mut self, source: &str, target: &str) -> Option<()> {
        let merged = self.start_merge(source, target).await?;
        if merged["outcome"] != "COMMIT_OUTCOME_COMMITTED" {
            return self.wrong(format!("the merge of {source} into {target} ended with {merged}"));
        }
        Some(())
    }

    async fn start_merge(&mut self, source: &str, target: &str) -> Option<Value> {
        self.post("merge", &format!("/api/projects/{target}/merge"), json!({ "sourceProjectId": source })).await
    }

    /// Changes the first line in one project and the last one in the other. A merge has both, and all other files as they were.
    async fn merge_lines(&mut self, source: &str, target: &str) -> Option<()> {
        let base: String = (0..LINES).map(|line| format!("line {line}, {}", self.text("saved"))).collect();
        self.write(source, &base).await?;
        self.merge_cleanly(source, target).await?;
        let replace = |line: usize, text: &str| {
            base.lines().enumerate().map(|(n, old)| if n == line { text.to_owned() } else { format!("{old}\n") }).collect::<String>()
        };
        let (theirs, ours) = (replace(0, &self.text("first")), replace(LINES - 1, &self.text("last")));
        self.write(source, &theirs).await?;
        self.write(target, &ours).await?;
        let mut expected = self.contents_of(target).await?;
        self.merge_cleanly(source, target).await?;
        let Some(merged) = contents::merged(&base, &ours, &theirs) else {
            return self.wrong("both sides changed the same line".to_owned());
        };
        expected.insert(MERGED.to_owned(), json!({ "text": merged }));
        let found = self.contents_of(target).await?;
        self.require_files(&format!("after the merge of lines of {source} into {target}"), &expected, &found);
        Some(())
    }

    async fn write(&mut self, project: &str, text: &str) -> Option<()> {
        let changes = json!([{ "path": MERGED, "write": { "text": text } }]);
        self.post("save lines", "/api/projects/save", json!({ "projectId": project, "changes": changes })).await.map(drop)
    }

    /// Changes the same line of both projects, and resolves the conflict with the content of the source.
    async fn merge_with_conflict(&mut self, source: &str, target: &str) -> Option<()> {
        let root = format!("/api/projects/{target}");
        for id in [target, source] {
            let text = self.text("diverged");
            self.save(json!({ "projectId": id }), &text).await?;
        }
        let (mut expected, theirs) = (self.contents_of(target).await?, self.contents_of(source).await?);
        let conflicted = self.start_merge(source, target).await?;
        let conflict = format!("{root}/conflicts/{}", self.text_at(&conflicted, "/conflictId")?);
        let found = self.get("get a conflict of a merge", &conflict).await?;
        let revision = self.text_at(&found, "/turnRevision")?;
        self.get("compare the other side of a merge", &format!("{root}/diff?revision={revision}")).await?;
        let files = json!([{ "path": SHARED, "take": "TAKE_TURN" }]);
        let body = json!({ "baseRevision": self.text_at(&found, "/headRevision")?, "files": files });
        self.post("resolve a merge", &format!("{conflict}/resolve"), body).await?;
        expected.extend(theirs.get(SHARED).map(|content| (SHARED.to_owned(), content.clone())));
        let found = self.contents_of(target).await?;
        self.require_files(&format!("after the resolution of the merge of {source} into {target}"), &expected, &found);
        Some(())
    }

    /// The contents of a project's files.
    pub(super) async fn contents_of(&mut self, project: &str) -> Option<Files> {
        let answer = self.get("load", &format!("/api/projects/load?projectId={project}")).await?;
        match contents::files(&answer) {
            Some(files) => Some(files),
            None => self.wrong(format!("project {project} was loaded without files: {answer}")),
        }
    }

    /// Records a violation if files are not as expected.
    pub(super) fn require_files(&self, when: &str, expected: &Files, found: &Files) {
        let different = contents::differences(expected, found);
        if !different.is_empty() {
            self.client.record.violation(format!("{when}: {different:?}"));
        }
    }
}
