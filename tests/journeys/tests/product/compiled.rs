//! Previews of projects in Vite's layout: the page and its modules over HTTP, an edit, errors, and a cluster without a compiler. A script opens
//! the same project in Chromium (`tests/clients`).

use std::time::Duration;

use anyhow::{Context as _, Result};
use chassis::testing;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use test_support::{
    Cluster, Person,
    model_server::{Answer, At, Gate, ModelServer, Script, Stop},
    vite,
};
use url::Url;

/// How long a turn may take to its second answer.
const LIMIT: Duration = Duration::from_secs(120);
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");

/// A project and its preview.
struct Preview {
    person: Person,
    project: String,
    url: Url,
}

async fn preview(cluster: &Cluster) -> Result<Preview> {
    let person = cluster.person().await?;
    let saved = person.post("/api/projects/save", json!({ "draftId": "d", "changes": vite::changes() })).await?;
    let project = saved["project"]["id"].as_str().context("project")?.to_owned();
    let made = person.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
    Ok(Preview { person, project, url: Url::parse(made["url"].as_str().context("url")?)? })
}

impl Preview {
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        let url = self.url.join(path)?;
        let port = url.port().context("port")?;
        let mut request = self.person.http.request(Method::GET, format!("http://127.0.0.1:{port}{}", url.path()));
        request = request.header("host", format!("{}:{port}", url.host_str().unwrap_or_default()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?)
    }

    async fn save(&self, path: &str, text: &str) -> Result<()> {
        let change = json!({ "projectId": self.project, "changes": [{ "path": path, "write": { "text": text } }] });
        self.person.post("/api/projects/save", change).await.map(drop)
    }

    /// The addresses of the page's import map, by specifier.
    async fn modules(&self) -> Result<serde_json::Map<String, Value>> {
        let page = self.get("", &[]).await?.text().await?;
        let map = page.split_once("<script type=\"importmap\">").and_then(|(_, rest)| rest.split_once("</script>"));
        let map: Value = serde_json::from_str(map.with_context(|| page.clone())?.0)?;
        map["imports"].as_object().cloned().context("no imports")
    }

    /// The page without the revision that it names.
    async fn page(&self) -> Result<String> {
        let page = self.get("", &[BROWSER]).await?.text().await?;
        let Some((start, rest)) = page.split_once(" data-revision=\"") else { return Ok(page) };
        let (_, rest) = rest.split_once('"').context("a quote")?;
        Ok(format!("{start}{rest}"))
    }

    /// The module of `src/greet.ts`.
    async fn greet(&self) -> Result<String> {
        let modules = self.modules().await?;
        let address = modules["@/greet"].as_str().context("address")?.trim_start_matches('/');
        Ok(self.get(address, &[]).await?.text().await?)
    }
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn compiler() -> String {
    testing::compiler().to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_project_is_compiled_and_an_edit_changes_one_module() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_COMPILER", &compiler())]).await?;
    let preview = preview(&cluster).await?;
    page_and_modules(&preview).await?;
    let before = preview.modules().await?;
    preview.save("src/greet.ts", "export const greet = (name: string): string => `Good day, ${name}`;\n").await?;
    let after = preview.modules().await?;
    let changed: Vec<_> = after.iter().filter(|(name, url)| before.get(*name) != Some(url)).map(|(name, _)| name.as_str()).collect();
    assert_eq!(changed, ["@/greet"], "{before:?} {after:?}");
    let old = before["@/greet"].as_str().context("address")?.trim_start_matches('/');
    assert_eq!(preview.get(old, &[]).await?.status(), 200, "a page that is open goes on");
    errors(&preview).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_running_turn_have_a_preview() -> Result<()> {
    let gate = Gate::default();
    let changed = json!({ "path": "src/greet.ts", "content": "export const greet = (name: string): string => `Welcome, ${name}`;\n" });
    let held = Answer::default().text("Done.").hold_at(At::Event(2), &gate);
    let models = ModelServer::start(Script::queue([Answer::default().tool("write_file", changed).stop(Stop::ToolUse), held])).await;
    let settings = [
        ("OPENAI_API_KEY", "sk-test"),
        ("OPENAI_BASE_URL", &*models.openai_url()),
        ("BACKLOT_MODEL", "openai/gpt-test"),
        ("BACKLOT_COMPILER", &compiler()),
    ];
    let cluster = Cluster::with(&settings).await?;
    let of_head = preview(&cluster).await?;
    let (person, project) = (of_head.person.clone(), of_head.project.clone());
    let started = person.post("/api/turns", json!({ "projectId": project, "prompt": "welcome people" })).await?;
    let turn = started["id"].as_str().context("turn")?.to_owned();
    staged_files(&cluster, &person, &turn).await?;

    let made = person.post(&format!("/api/projects/{project}/previews"), json!({ "turnId": turn })).await?;
    let url = Url::parse(made["url"].as_str().context("url")?)?;
    let staged = Preview { person: person.clone(), project: project.clone(), url };
    assert_eq!(staged.get("", &[BROWSER]).await?.status(), 200);
    assert!(staged.greet().await?.contains("Welcome"), "the staged file");
    assert!(!of_head.greet().await?.contains("Welcome"), "the head has another one");
    assert_eq!(staged.get("some/view", &[BROWSER]).await?.status(), 200, "a view of the app");
    assert_eq!(staged.get("none.png", &[]).await?.status(), 404);
    let modules = staged.modules().await?;
    let module = modules["@/greet"].as_str().context("address")?.trim_start_matches('/');
    refused_previews(&cluster, &staged, &turn).await?;
    let shown = staged.page().await?;

    gate.open();
    person.follow(&turn, 0).await?.rest().await?;
    let ended = staged.get("", &[]).await?;
    assert_eq!((ended.status().as_u16(), ended.json::<Value>().await?["reason"].clone()), (409, json!("TURN_NOT_RUNNING")));
    assert_eq!(staged.get(module, &[]).await?.status(), 200, "a module needs only the capability");
    assert!(of_head.greet().await?.contains("Welcome"), "the turn has committed");
    assert_eq!(of_head.page().await?, shown, "the turn has committed what its preview has shown");
    cluster.stop().await
}

/// The files of the turn over the API, when it has changed one.
async fn staged_files(cluster: &Cluster, person: &Person, turn: &str) -> Result<()> {
    let listed = testing::eventually(LIMIT, || async {
        let listed = person.get(&format!("/api/turns/{turn}/files")).await.ok()?;
        listed["files"].as_array()?.iter().any(|file| file["isChanged"] == true).then_some(listed)
    })
    .await;
    let changed: Vec<_> = listed["files"].as_array().into_iter().flatten().filter(|file| file["isChanged"] == true).collect();
    assert_eq!((changed.len(), &changed[0]["path"]), (1, &json!("src/greet.ts")), "{listed}");
    let file = person.get(&format!("/api/turns/{turn}/files/src/greet.ts")).await?;
    assert!(file["content"]["text"].as_str().is_some_and(|text| text.contains("Welcome")) && file["etag"] == changed[0]["etag"], "{file}");
    let stranger = cluster.person().await?;
    for path in [format!("/api/turns/{turn}/files"), format!("/api/turns/{turn}/files/src/greet.ts")] {
        let (status, problem) = stranger.refused(Method::GET, &path, Value::Null).await?;
        assert_eq!((status.as_u16(), &problem["reason"]), (404, &json!("TURN_NOT_FOUND")), "{path}");
    }
    Ok(())
}

/// The label of another project opens nothing, and neither does the turn in one.
async fn refused_previews(cluster: &Cluster, staged: &Preview, turn: &str) -> Result<()> {
    let other = preview(cluster).await?;
    let ask = async |person: &Person, project: &str, body: Value| {
        let (status, problem) = person.refused(Method::POST, &format!("/api/projects/{project}/previews"), body).await?;
        Ok::<_, anyhow::Error>((status.as_u16(), problem["reason"].clone()))
    };
    assert_eq!(ask(&other.person, &other.project, json!({ "turnId": turn })).await?, (404, json!("TURN_NOT_FOUND")));
    let both = json!({ "turnId": turn, "revision": "a".repeat(40) });
    assert_eq!(ask(&staged.person, &staged.project, both).await?, (400, json!("INVALID_FIELD")));
    let label = |url: &Url| url.host_str().unwrap_or_default().split('.').next().unwrap_or_default().to_owned();
    let forged = staged.url.as_str().replace(&label(&staged.url), &format!("{}{}", label(&other.url), turn.replace('-', "")));
    let forged = Preview { url: Url::parse(&forged)?, ..other };
    assert_eq!(forged.get("", &[]).await?.status(), 404, "a turn of another project");
    Ok(())
}

async fn page_and_modules(preview: &Preview) -> Result<()> {
    let page = preview.get("", &[BROWSER]).await?;
    assert_eq!((page.status().as_u16(), header(&page, "content-type").as_str()), (200, "text/html; charset=utf-8"));
    assert_eq!(header(&page, "cache-control"), "private, no-cache");
    let etag = header(&page, "etag");
    assert!(!etag.is_empty());
    let html = page.text().await?;
    assert!(html.contains("importmap") && !html.contains("\"/src/main.ts\""), "{html}");
    assert_eq!(preview.get("", &[BROWSER, ("if-none-match", &etag)]).await?.status(), 304);
    let view = preview.get("orders/5", &[BROWSER]).await?;
    assert_eq!((view.status().as_u16(), header(&view, "etag")), (200, etag), "a view of the app is its page");

    let mut code = String::new();
    for address in preview.modules().await?.values() {
        let path = address.as_str().context("address")?.trim_start_matches('/');
        assert!(path.starts_with("@m/"), "{path}");
        let module = preview.get(path, &[]).await?;
        assert_eq!((module.status().as_u16(), header(&module, "content-type").as_str()), (200, "text/javascript; charset=utf-8"), "{path}");
        assert_eq!(header(&module, "cache-control"), "private, max-age=31536000, immutable");
        let etag = header(&module, "etag");
        code.push_str(&module.text().await?);
        assert_eq!(preview.get(path, &[("if-none-match", &etag)]).await?.status(), 304, "{path}");
    }
    assert!(code.contains("Hello, ") && code.contains("an apple") && !code.contains(": string"), "{code}");
    let asset = code.split('"').find(|text| text.contains("@a/")).with_context(|| code.clone())?;
    let asset = preview.get(asset.trim_start_matches('/'), &[]).await?;
    assert_eq!((asset.status().as_u16(), header(&asset, "content-type").as_str()), (200, "image/svg+xml"));
    assert_eq!(header(&asset, "cache-control"), "private, max-age=31536000, immutable");
    assert!(asset.text().await?.contains("<svg"));
    for (path, status, kind) in [
        ("icon.svg", 200, "image/svg+xml"),
        ("src/main.ts", 200, "text/plain; charset=utf-8"),
        ("@m/000000000000000000000000.js", 404, "application/problem+json"),
        ("@a/0000000000000000000000000000000000000000.svg", 404, "application/problem+json"),
    ] {
        let answer = preview.get(path, &[]).await?;
        assert_eq!((answer.status().as_u16(), header(&answer, "content-type").as_str()), (status, kind), "{path}");
    }
    Ok(())
}

/// Errors of the project, and a module behind another person's preview.
async fn errors(preview: &Preview) -> Result<()> {
    let modules = preview.modules().await?;
    let path = modules["@/greet"].as_str().context("address")?.trim_start_matches('/').to_owned();
    preview.save("src/greet.ts", "export const greet = ;\n").await?;
    let broken = preview.get("", &[BROWSER]).await?;
    assert_eq!((broken.status().as_u16(), header(&broken, "content-type").as_str()), (422, "text/html; charset=utf-8"));
    assert!(header(&broken, "etag").is_empty());
    let text = broken.text().await?;
    assert!(text.contains("src/greet.ts:1:") && text.contains("export const greet = ;"), "{text}");
    preview.save("src/greet.ts", "import { createRoot } from 'react-dom/client';\nexport const greet = createRoot;\n").await?;
    let text = preview.get("", &[BROWSER]).await?.text().await?;
    assert!(text.contains("react-dom"), "a package that the project does not list: {text}");

    let mut unknown = preview.url.clone();
    unknown.set_host(Some(&format!("{}.localhost", "a".repeat(26))))?;
    let stranger = Preview { person: preview.person.clone(), project: preview.project.clone(), url: unknown };
    assert_eq!(stranger.get(&path, &[]).await?.status(), 404, "an address of a module opens nothing alone");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_share_an_origin_and_a_compiled_page_has_its_path() -> Result<()> {
    let address = testing::listener().await.local_addr()?.to_string();
    let settings = [
        ("BACKLOT_PREVIEW_LISTEN", address.as_str()),
        ("BACKLOT_PREVIEW_URL", &format!("http://{address}")),
        ("BACKLOT_COMPILER", &compiler()),
    ];
    let cluster = Cluster::with(&settings).await?;
    let preview = preview(&cluster).await?;
    let modules = preview.modules().await?;
    assert!(modules.len() >= 3, "{modules:?}");
    for address in modules.values() {
        let path = address.as_str().context("address")?;
        assert!(path.starts_with(&format!("{}@m/", preview.url.path())), "{path}");
        assert_eq!(preview.get(path, &[]).await?.status(), 200, "{path}");
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_compiler_only_compiled_pages_fail() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_COMPILER", "/nowhere/backlot-compiler")]).await?;
    let preview = preview(&cluster).await?;
    let page = preview.get("", &[BROWSER]).await?;
    assert_eq!((page.status().as_u16(), header(&page, "content-type").as_str()), (503, "text/html; charset=utf-8"));
    let text = page.text().await?;
    assert!(text.contains("has no compiler") && !text.contains("/nowhere"), "{text}");
    assert_eq!(preview.get("src/main.ts", &[]).await?.status(), 200, "files are answered as they are");
    let problem = preview.get("", &[("accept", "application/json")]).await?;
    assert_eq!(problem.json::<Value>().await?["reason"], "COMPILER_MISSING");
    assert!(!preview.person.files(&preview.project).await?.is_empty());
    cluster.stop().await
}
