//! What an editor does with the published site of a project.

use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::Editor;
use crate::client::ApiCall;

impl Editor {
    /// Publishes the project twice, rolls back, downloads a deployment, and ends the site. Its page must be that of the served deployment each
    /// time. `listener` is any URL of the listener of sites; `first` is the text of the project's page.
    pub(super) async fn use_site(&mut self, listener: &Url, first: &str) -> Option<()> {
        let root = format!("/api/projects/{}", self.project);
        let slug = format!("chaos-{}", self.project);
        let mut page = listener.clone();
        page.set_host(Some(&format!("{slug}.sites.localhost"))).ok()?;
        let key = format!("publish-{}", self.client.record.number());
        let deployed = self.publish(&key, json!({ "slug": slug })).await?;
        if self.publish(&key, json!({ "slug": slug })).await? != deployed {
            self.client.record.violation(format!("the repeat of a publication of {} has another result", self.project));
        }
        self.expect_page(&page, first).await?;

        let second = self.text("published");
        let body = json!({ "projectId": self.project, "changes": [{ "path": "index.html", "write": { "text": second } }] });
        self.post("save a page", "/api/projects/save", body).await?;
        self.expect_page(&page, first).await?;
        let key = format!("publish-{}", self.client.record.number());
        self.publish(&key, json!({})).await?;
        self.expect_page(&page, &second).await?;
        let number = self.number_at(&deployed, "/deployment/number")?;
        let activate = format!("{root}/deployments/{number}/activate");
        let answered =
            self.client.call(ApiCall { what: "roll back", method: Method::POST, path: &activate, body: json!({}), key: None }).await?;
        self.accept("roll back", answered)?;
        self.expect_page(&page, first).await?;
        self.get("get a site", &format!("{root}/site")).await?;
        let listed = self.get("list deployments", &format!("{root}/deployments")).await?;
        if listed["deployments"].as_array().is_none_or(|list| list.len() != 2) {
            self.client.record.violation(format!("two publications of {} made {listed}", self.project));
        }
        self.export_deployment(number).await?;
        self.client.read_absent(&page.join("absent.js").ok()?).await?;
        self.call_or_not_found("end a site", Method::DELETE, &format!("{root}/site"), json!({})).await
    }

    async fn publish(&mut self, key: &str, body: Value) -> Option<Value> {
        let path = format!("/api/projects/{}/publish", self.project);
        let call = ApiCall { what: "publish", method: Method::POST, path: &path, body, key: Some(key.to_owned()) };
        let answered = self.client.call(call).await?;
        self.accept("publish", answered)
    }

    async fn export_deployment(&mut self, number: u64) -> Option<()> {
        let path = format!("/api/projects/{}/deployments/{number}/export", self.project);
        match self.client.file("export a deployment", &path).await? {
            Ok(zip) if zip.body.starts_with(b"PK") => Some(()),
            Ok(other) => self.wrong(format!("{path} is no zip file, but {} bytes", other.body.len())),
            Err(refused) => self.refused("export a deployment", refused),
        }
    }

    async fn expect_page(&mut self, page: &Url, text: &str) -> Option<()> {
        let found = self.client.read_page(page).await?;
        if found != text {
            self.client.record.violation(format!("the site {page} shows {found:?} instead of {text:?}"));
        }
        Some(())
    }

    fn number_at(&self, answer: &Value, place: &str) -> Option<u64> {
        match answer.pointer(place).and_then(Value::as_u64) {
            Some(number) => Some(number),
            None => self.wrong(format!("no {place} in {answer}")),
        }
    }
}
