//! Contents that nothing uses any more, and that saves use again just when a sweep deletes them.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use super::{Editor, project::archive};
use crate::{client::ApiCall, deployment::OBJECT_SWEEP_GRACE};

/// The contents that become unused.
const CONTENTS: usize = 60;
/// The time before the sweep at which the first of them is used again.
const BEFORE_SWEEP: Duration = Duration::from_millis(500);
/// The time between two saves.
const BETWEEN_SAVES: Duration = Duration::from_millis(10);
/// How long the saves go on.
const SAVES: Duration = Duration::from_secs(3);
/// The bytes of an archive up to its second file: the header and the block of the first one, and a part of the second header.
const TRUNCATED: usize = 512 + 512 + 100;

impl Editor {
    /// Leaves contents behind in the store of the project, in a fork that is purged and in an import that fails, and uses them again in the
    /// project while they are swept.
    pub(super) async fn reuse_contents(&mut self, stop: &AtomicBool) -> Option<()> {
        self.create_project().await?;
        let project = self.project.clone();
        let texts: Vec<String> = (0..CONTENTS).map(|_| self.text("used again")).collect();
        let fork = self.fork_of(&project).await?;
        let changes: Vec<Value> = texts.iter().enumerate().map(|(n, text)| change(n, text)).collect();
        self.post("save in a fork", "/api/projects/save", json!({ "projectId": fork, "changes": changes })).await?;
        self.fail_import(&texts[0]).await?;
        self.call_or_not_found("purge a fork", Method::DELETE, &format!("/api/projects/{fork}?purge=true"), json!({})).await?;
        sleep(Duration::from_millis(OBJECT_SWEEP_GRACE) - BEFORE_SWEEP).await;
        let began = tokio::time::Instant::now();
        for (n, text) in texts.iter().enumerate() {
            if stop.load(Ordering::Relaxed) || began.elapsed() > SAVES {
                break;
            }
            self.post("use a content again", "/api/projects/save", json!({ "projectId": project, "changes": [change(n, text)] })).await?;
            sleep(BETWEEN_SAVES).await;
        }
        Some(())
    }

    /// Imports an archive that ends too early. Its first file is read before that.
    async fn fail_import(&mut self, text: &str) -> Option<()> {
        let Value::String(mut bytes) = archive(&[("a.txt", text), ("b.txt", &text.repeat(100))])? else { return None };
        bytes.truncate(TRUNCATED);
        let path = format!("/api/projects/{}/import", self.project);
        let key = Some(format!("edit-{}", self.client.record.number()));
        let import = ApiCall { what: "import half an archive", method: Method::POST, path: &path, body: Value::String(bytes), key };
        match self.client.call(import).await? {
            Err((status, _)) if status.is_client_error() => Some(()),
            answer => {
                self.client.record.violation(format!("half an archive in project {} was answered with {answer:?}", self.project));
                None
            }
        }
    }
}

/// A file in a folder of its own, so that the folder is used again as well.
fn change(n: usize, text: &str) -> Value {
    json!({ "path": format!("used/{n}/again.txt"), "write": { "text": text } })
}
