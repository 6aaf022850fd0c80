//! A project that is compiled and imports a package: a turn in it, whose files agent-streaming checks, its findings, and its page with its
//! modules.

use std::collections::BTreeMap;

use reqwest::{Method, Url};
use serde_json::{Value, json};
use test_support::upstream::Upstream;

use super::Editor;
use crate::{
    check::previews::Compiled,
    client::ApiCall,
    previews,
    prompt::MODULE,
    record::{CompiledPage, SavedRevision},
};

const PAGE: (&str, &str) =
    ("index.html", "<!doctype html><html><head></head><body><script type=\"module\" src=\"/src/main.ts\"></script></body></html>\n");
const MAIN: &str = "src/main.ts";
/// How often a request is sent whose compiler was killed. A run kills few processes at once.
const COMPILER_ATTEMPTS: usize = 20;

impl Editor {
    /// Creates a project, lets a turn change it, and opens its page before and after the turn and an edit.
    pub(super) async fn open_compiled(&mut self, registry: &Upstream) -> Option<()> {
        let draft = json!({ "draftId": self.draft });
        let answer = self.save_file(draft, PAGE.0, PAGE.1.to_owned()).await?;
        self.project = self.text_at(&answer, "/project/id")?;
        self.saved_file(&answer, PAGE.0, PAGE.1.to_owned())?;
        let package = self.publish_package(registry);
        let manifest = json!({ "dependencies": { &package: "1.0.0" } }).to_string();
        let main = format!("import {{ name }} from '{package}';\nimport {{ greet }} from './greet';\ndocument.title = greet(name);\n");
        for (path, text) in [("package.json", manifest), (MAIN, main), (MODULE, self.greet())] {
            self.edit(path, text).await?;
        }
        let preview = self.post("create a preview", &format!("/api/projects/{}/previews", self.project), json!({})).await?;
        let Ok(url) = Url::parse(&self.text_at(&preview, "/url")?) else {
            return self.wrong(format!("the preview of {} has no URL: {preview}", self.project));
        };
        let html = self.read_page_and_modules(&url).await?.html;
        // Compile has kept the page, so this records its use.
        if self.client.read_compiled(&url).await? != html {
            return self.wrong(format!("the page of {} is another one when it is loaded again", self.project));
        }
        self.preview_turn(&url).await?;
        let greet = self.greet();
        self.edit(MODULE, greet).await?;
        self.read_findings().await?;
        let html = self.read_page_and_modules(&url).await?.html;
        self.client.record.compiled(CompiledPage { project: self.project.clone(), url, html });
        self.publish_compiled().await
    }

    /// Publishes a package that no other project imports, so that it is resolved, fetched and bundled for this one. Returns its name.
    fn publish_package(&self, registry: &Upstream) -> String {
        let (name, code) = (format!("name-{}", self.draft), format!("export const name = '{}';\n", self.draft));
        let files = [("package.json", r#"{"type": "module", "main": "index.js"}"#), ("index.js", code.as_str())];
        registry.publish(&name, "1.0.0", &json!({}), &files);
        name
    }

    /// Builds and publishes the site. A compiler that was killed costs an answer.
    async fn publish_compiled(&mut self) -> Option<()> {
        let root = format!("/api/projects/{}", self.project);
        let (path, key) = (format!("{root}/publish"), format!("publish-{}", self.client.record.number()));
        let body = json!({ "slug": format!("built-{}", self.project) });
        let publish = || ApiCall { what: "publish a build", method: Method::POST, path: &path, body: body.clone(), key: Some(key.clone()) };
        self.call_compiler(publish).await?;
        self.call_or_not_found("end a built site", Method::DELETE, &format!("{root}/site"), json!({})).await
    }

    /// Reads the findings. A compiler that was killed costs an answer.
    async fn read_findings(&mut self) -> Option<()> {
        let path = format!("/api/projects/{}/findings", self.project);
        self.call_compiler(|| ApiCall { what: "get findings", method: Method::GET, path: &path, body: Value::Null, key: None }).await
    }

    /// Sends a request until its compiler answers.
    async fn call_compiler<'a>(&mut self, call: impl Fn() -> ApiCall<'a>) -> Option<()> {
        let what = call().what;
        for _ in 0..COMPILER_ATTEMPTS {
            match self.client.call(call()).await? {
                Ok(_) => return Some(()),
                Err((_, problem)) if problem["reason"] == "COMPILER_FAILED" => {}
                Err(refused) => return self.refused(what, refused),
            }
        }
        self.wrong(format!("{what} in project {}: the compiler has failed {COMPILER_ATTEMPTS} times in a row", self.project))
    }

    /// Reads the page, and each module that it names.
    pub(super) async fn read_page_and_modules(&mut self, url: &Url) -> Option<Compiled> {
        let mut page = Compiled { html: self.client.read_compiled(url).await?, modules: BTreeMap::new() };
        let names = previews::modules(&page.html);
        if names.is_empty() {
            return self.wrong(format!("the page of {} is not compiled: {}", self.project, page.html));
        }
        for name in names {
            let code = self.client.read_compiled(&url.join(&name).ok()?).await?;
            page.modules.insert(name, code);
        }
        Some(page)
    }

    /// A module with a unique text.
    fn greet(&self) -> String {
        format!("export const greet = (name: string): string => `{}, ${{name}}`;\n", self.text("said").trim())
    }

    async fn edit(&mut self, path: &str, text: String) -> Option<()> {
        let answer = self.save_file(json!({ "projectId": self.project }), path, text.clone()).await?;
        self.saved_file(&answer, path, text)
    }

    async fn save_file(&mut self, mut body: Value, path: &str, text: String) -> Option<Value> {
        body["changes"] = json!([{ "path": path, "write": { "text": text } }]);
        self.post("save", "/api/projects/save", body).await
    }

    /// Records a revision with one file.
    fn saved_file(&self, answer: &Value, path: &str, text: String) -> Option<()> {
        let number = answer["revision"]["number"].as_u64().and_then(|number| u32::try_from(number).ok());
        let Some(number) = number else { return self.wrong(format!("a save in project {} has no number: {answer}", self.project)) };
        let (project, id) = (self.project.clone(), self.text_at(answer, "/revision/id")?);
        self.client.record.saved(SavedRevision { project, id, number, resolves: None, file: (path.to_owned(), text) });
        Some(())
    }
}
