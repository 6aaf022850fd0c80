//! Published sites: a built and a plain project at the address of a slug, roll back, the files as browsers and caches get them, and refusals.

use anyhow::{Context as _, Result};
use chassis::testing;
use reqwest::{Method, Response, StatusCode, redirect::Policy};
use serde_json::{Value, json};
use test_support::{Cluster, Person, vite};
use url::Url;

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
const SITES: [(&str, &str); 2] =
    [("BACKLOT_SITES_URL", "http://{site}.sites.localhost"), ("BACKLOT_SITES_DOMAINS", "www.shop.example=my-shop")];

/// A person with a project, and the listener of sites.
struct Fixture {
    person: Person,
    project: String,
    /// `http://127.0.0.1:port`
    listener: String,
}

async fn fixture(cluster: &Cluster, changes: Value) -> Result<Fixture> {
    let person = cluster.person().await?;
    let saved = person.post("/api/projects/save", json!({ "draftId": "d", "changes": changes })).await?;
    let project = saved["project"]["id"].as_str().context("project")?.to_owned();
    let preview = person.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
    let port = Url::parse(preview["url"].as_str().context("url")?)?.port().context("port")?;
    Ok(Fixture { person, project, listener: format!("http://127.0.0.1:{port}") })
}

fn files(files: &[(&str, &str)]) -> Value {
    files.iter().map(|(path, text)| json!({ "path": path, "write": { "text": text } })).collect()
}

impl Fixture {
    fn path(&self, rest: &str) -> String {
        format!("/api/projects/{}/{rest}", self.project)
    }

    async fn publish(&self, settings: Value) -> Result<Value> {
        self.person.post(&self.path("publish"), settings).await
    }

    /// The status and the body of a refused publication.
    async fn refused(&self, settings: Value) -> Result<(u16, Value)> {
        let answer = self.person.request(Method::POST, &self.path("publish")).json(&settings).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    async fn send(&self, method: Method, host: &str, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build()?;
        let mut request = http.request(method, format!("{}{path}", self.listener)).header("host", host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?)
    }

    /// What a browser gets at an address of the site `my-shop`.
    async fn get(&self, path: &str) -> Result<Response> {
        self.send(Method::GET, "my-shop.sites.localhost", path, &[BROWSER]).await
    }

    async fn text(&self, path: &str) -> Result<String> {
        Ok(self.get(path).await?.text().await?)
    }
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_served_as_static_hosts_do() -> Result<()> {
    let cluster = Cluster::with(&SITES).await?;
    let long = "x = 1;\n".repeat(1000);
    let changes = files(&[
        ("index.html", "<h1>shop</h1>"),
        ("about.html", "<h1>about</h1>"),
        ("docs/index.html", "<h1>docs</h1>"),
        ("app.js", &long),
        (".env", "SECRET=1"),
        ("package.json", "{}"),
    ]);
    let fixture = fixture(&cluster, changes).await?;
    let published = fixture.publish(json!({ "slug": "my-shop" })).await?;
    assert_eq!(published["site"]["url"], "http://my-shop.sites.localhost/");
    assert_eq!((&published["deployment"]["number"], &published["deployment"]["fileCount"]), (&json!(1), &json!(4)));

    for (path, status, body) in [
        ("/", 200, "<h1>shop"),
        ("/about", 200, "<h1>about"),
        ("/docs/", 200, "<h1>docs"),
        ("/orders/5", 200, "<h1>shop"),
        ("/absent.js", 404, "There is no page here"),
        ("/.env", 404, "There is no page here"),
        ("/package.json", 404, "There is no page here"),
        ("/..%2findex.html", 404, "There is no page here"),
        ("//index.html", 404, "There is no page here"),
    ] {
        let answer = fixture.get(path).await?;
        let got = (answer.status().as_u16(), answer.text().await?);
        assert!(got.0 == status && got.1.contains(body), "{path}: {got:?}");
    }
    caching(&fixture, &long).await?;

    let docs = fixture.get("/docs?a=1").await?;
    assert_eq!((docs.status().as_u16(), header(&docs, "location")), (307, "/docs/?a=1".to_owned()));
    let missing = fixture.send(Method::GET, "my-shop.sites.localhost", "/absent.js", &[("accept", "*/*")]).await?;
    assert_eq!((missing.status().as_u16(), header(&missing, "content-type")), (404, "application/problem+json".to_owned()));
    let detail = missing.json::<Value>().await?["detail"].clone();
    assert_eq!(detail, "the site has nothing at this address", "a visitor is told nothing about the project");
    assert_eq!(fixture.send(Method::POST, "my-shop.sites.localhost", "/", &[]).await?.status(), 405);
    // Other hosts of the listener: a custom domain, a site that does not exist, and hosts of previews.
    for (host, status) in [
        ("www.shop.example", 200),
        ("WWW.SHOP.example:80", 200),
        ("shop.example", 404),
        ("other.sites.localhost", 404),
        ("a.b.sites.localhost", 404),
        ("sites.localhost", 404),
        ("my-shop.localhost", 404),
    ] {
        let answer = fixture.send(Method::GET, host, "/", &[BROWSER]).await?;
        assert_eq!(answer.status().as_u16(), status, "{host}: {}", answer.text().await?);
    }
    cluster.stop().await
}

async fn caching(fixture: &Fixture, long: &str) -> Result<()> {
    let host = "my-shop.sites.localhost";
    let script = fixture.get("/app.js").await?;
    assert_eq!(header(&script, "content-type"), "text/javascript; charset=utf-8");
    assert_eq!(header(&script, "cache-control"), "public, max-age=0, must-revalidate");
    assert_eq!((header(&script, "x-content-type-options"), header(&script, "set-cookie")), ("nosniff".to_owned(), String::new()));
    assert_eq!(header(&script, "referrer-policy"), "strict-origin-when-cross-origin");
    assert_eq!(header(&script, "permissions-policy"), "publickey-credentials-create=(), publickey-credentials-get=()");
    let etag = header(&script, "etag");
    assert_eq!(script.text().await?, long);
    let known = fixture.send(Method::GET, host, "/app.js", &[("if-none-match", &etag)]).await?;
    assert_eq!((known.status().as_u16(), header(&known, "cache-control")), (304, "public, max-age=0, must-revalidate".to_owned()));
    let part = fixture.send(Method::GET, host, "/app.js", &[("range", "bytes=7-13")]).await?;
    assert_eq!((part.status().as_u16(), header(&part, "content-range")), (206, format!("bytes 7-13/{}", long.len())));
    assert_eq!(part.text().await?, "x = 1;\n");
    let head = fixture.send(Method::HEAD, host, "/app.js", &[]).await?;
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, long.len().to_string()));
    let packed = fixture.send(Method::GET, host, "/app.js", &[("accept-encoding", "br")]).await?;
    assert_eq!(header(&packed, "content-encoding"), "br");
    assert!(packed.bytes().await?.len() < 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_can_be_rolled_back_exported_and_ended() -> Result<()> {
    let cluster = Cluster::with(&SITES).await?;
    let fixture = fixture(&cluster, files(&[("index.html", "<h1>one</h1>"), ("404.html", "<h1>lost</h1>")])).await?;
    let person = &fixture.person;
    fixture.publish(json!({ "slug": "my-shop" })).await?;
    let first = person.get(&fixture.path("site")).await?;
    let lost = fixture.get("/nowhere").await?;
    assert_eq!((lost.status().as_u16(), lost.text().await?), (404, "<h1>lost</h1>".to_owned()));
    let change = json!({ "projectId": fixture.project, "changes": files(&[("index.html", "<h1>two</h1>")]) });
    let saved = person.post("/api/projects/save", change).await?;
    assert_eq!(fixture.text("/").await?, "<h1>one</h1>", "a save publishes nothing");
    let revision = saved["revision"]["id"].as_str().context("revision")?;
    let second = fixture.publish(json!({ "revision": revision })).await?;
    assert_eq!((&second["deployment"]["number"], &second["deployment"]["revision"]), (&json!(2), &json!(revision)));
    assert_eq!(fixture.text("/").await?, "<h1>two</h1>");

    person.post(&fixture.path("deployments/1/activate"), json!({})).await?;
    assert_eq!(fixture.text("/").await?, "<h1>one</h1>");
    let list = person.get(&fixture.path("deployments")).await?;
    let shown: Vec<_> =
        list["deployments"].as_array().context("a list")?.iter().map(|d| (d["number"].clone(), d["active"].clone())).collect();
    assert_eq!(shown, [(json!(2), Value::Null), (json!(1), json!(true))]);

    let archive = person.request(Method::GET, &fixture.path("deployments/2/export")).send().await?;
    assert_eq!(header(&archive, "content-type"), "application/zip");
    assert!(header(&archive, "content-disposition").contains("my-shop-2.zip"));
    let archive = archive.bytes().await?;
    // An import reads it again.
    let imported = person.request(Method::POST, "/api/projects/import").header("content-type", "application/zip").body(archive);
    let imported: Value = imported.send().await?.json().await?;
    let copy = imported["project"]["id"].as_str().with_context(|| imported.to_string())?;
    let page = person.get(&format!("/api/projects/{copy}/files/index.html")).await?;
    assert_eq!((&page["content"]["text"], &imported["importedFiles"]), (&json!("<h1>two</h1>"), &json!(2)), "{page}");

    // A site with a base path: its files are below it.
    fixture.publish(json!({ "basePath": "/app/" })).await?;
    let root = fixture.get("/").await?;
    assert_eq!((root.status().as_u16(), header(&root, "location")), (307, "/app/".to_owned()));
    assert_eq!(fixture.text("/app/").await?, "<h1>two</h1>");

    let ended = person.request(Method::DELETE, &fixture.path("site")).send().await?;
    assert_eq!(ended.status(), StatusCode::OK);
    let gone = fixture.get("/").await?;
    assert_eq!(gone.status(), 404);
    assert!(gone.text().await?.contains("There is no site here"));
    assert_eq!(first["slug"], "my-shop");
    cluster.stop().await
}

/// The address of the script of a built page.
fn script_of(html: &str) -> Result<String> {
    let script = html.split('"').find(|text| text.starts_with("/assets/") && text.ends_with(".js"));
    Ok(script.with_context(|| html.to_owned())?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_open_keeps_its_scripts_and_a_repeat_its_answer() -> Result<()> {
    let compiler = testing::compiler().to_string_lossy().into_owned();
    let cluster = Cluster::with(&[SITES[0], ("BACKLOT_COMPILER", &compiler)]).await?;
    let fixture = fixture(&cluster, vite::changes()).await?;
    let page = "<!doctype html><link rel=icon href=/gone.svg><script type=module src=/src/main.ts></script>";
    let change = json!({ "projectId": fixture.project, "changes": files(&[("index.html", page)]) });
    fixture.person.post("/api/projects/save", change).await?;
    let publish = async || {
        let request = fixture.person.request(Method::POST, &fixture.path("publish")).header("idempotency-key", "first");
        let answer = request.json(&json!({ "slug": "my-shop" })).send().await?;
        let replayed = header(&answer, "idempotency-replayed");
        anyhow::Ok((answer.status().as_u16(), replayed, answer.json::<Value>().await?))
    };
    let (status, replayed, first) = publish().await?;
    assert_eq!((status, replayed.as_str()), (201, ""), "{first}");
    // What does not stop the site is said.
    let finding = &first["findings"][0];
    assert_eq!(
        (&finding["code"], &finding["file"], &finding["line"]),
        (&json!("MISSING_FILE"), &json!("index.html"), &json!(1)),
        "{first}"
    );
    assert_eq!((&finding["isWarning"], first["findings"].as_array().map(Vec::len)), (&json!(true), Some(1)), "{first}");

    let old = script_of(&fixture.text("/").await?)?;
    let code = fixture.text(&old).await?;
    let change = json!({ "projectId": fixture.project, "changes": files(&[("src/main.ts", "document.title = 'new';")]) });
    fixture.person.post("/api/projects/save", change).await?;
    fixture.publish(json!({})).await?;
    assert_ne!(script_of(&fixture.text("/").await?)?, old);
    let kept = fixture.get(&old).await?;
    assert_eq!((kept.status().as_u16(), header(&kept, "cache-control")), (200, "public, max-age=31536000, immutable".to_owned()));
    let etag = header(&kept, "etag");
    assert_eq!(kept.text().await?, code);
    let known = fixture.send(Method::GET, "my-shop.sites.localhost", &old, &[("if-none-match", &etag)]).await?;
    assert_eq!(known.status(), 304);

    fixture.person.request(Method::DELETE, &fixture.path("site")).send().await?.error_for_status()?;
    assert_eq!(publish().await?, (201, "true".to_owned(), first));
    let gone = fixture.get(&old).await?;
    assert_eq!(gone.status(), 404, "a repeat publishes nothing");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vite_project_is_built_for_production() -> Result<()> {
    let compiler = testing::compiler().to_string_lossy().into_owned();
    let cluster = Cluster::with(&[SITES[0], ("BACKLOT_COMPILER", &compiler)]).await?;
    let fixture = fixture(&cluster, vite::changes()).await?;
    let published = fixture.publish(json!({ "slug": "my-shop" })).await?;
    assert_eq!(published["findings"], json!([]));
    let page = fixture.get("/").await?;
    assert_eq!(header(&page, "cache-control"), "public, max-age=0, must-revalidate");
    let html = page.text().await?;
    let script = fixture.get(&script_of(&html)?).await?;
    assert_eq!(header(&script, "cache-control"), "public, max-age=31536000, immutable");
    let code = script.text().await?;
    assert!(code.contains("Hello, ") && !code.contains(": string"), "{code}");
    assert_eq!(fixture.get("/orders/5").await?.status(), 200, "a view of the app");
    assert_eq!(fixture.get("/icon.svg").await?.status(), 200, "a file of public");
    for path in ["/src/main.ts", "/package.json", "/vite.config.ts", "/tsconfig.json"] {
        let answer = fixture.send(Method::GET, "my-shop.sites.localhost", path, &[("accept", "*/*")]).await?;
        assert_eq!(answer.status(), 404, "{path} is no build output");
    }

    let broken = json!({ "projectId": fixture.project, "changes": files(&[("src/greet.ts", "export const greet = (")]) });
    fixture.person.post("/api/projects/save", broken).await?;
    let (status, problem) = fixture.refused(json!({})).await?;
    assert_eq!((status, &problem["reason"]), (422, &json!("BUILD_FAILED")), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("src/greet.ts:1:")), "{problem}");
    assert_eq!(fixture.get("/").await?.text().await?, html, "the site is as before");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_published_is_refused() -> Result<()> {
    let cluster = Cluster::with(&SITES).await?;
    let fixture = fixture(&cluster, files(&[("index.html", "<h1>one</h1>")])).await?;
    let other = self::fixture(&cluster, files(&[("main.html", "<h1>other</h1>")])).await?;
    fixture.publish(json!({ "slug": "my-shop" })).await?;
    for (settings, status, reason) in [
        (json!({}), 400, "INVALID_FIELD"),
        (json!({ "slug": "My Shop" }), 400, "INVALID_FIELD"),
        (json!({ "slug": "www" }), 400, "SLUG_RESERVED"),
        (json!({ "slug": "my-shop" }), 409, "SLUG_TAKEN"),
        (json!({ "slug": "other", "basePath": "x" }), 400, "INVALID_FIELD"),
        (json!({ "slug": "other", "revision": "0".repeat(40) }), 404, "REVISION_NOT_FOUND"),
        (json!({ "slug": "other" }), 404, "FILE_NOT_FOUND"),
        (json!({ "slug": 5 }), 400, "INVALID_FIELD"),
        (json!({ "slug": "other", "projectId": fixture.project }), 400, "INVALID_FIELD"),
    ] {
        let (got, problem) = other.refused(settings.clone()).await?;
        assert_eq!((got, &problem["reason"]), (status, &json!(reason)), "{settings}: {problem}");
    }
    // A vite project needs the compiler.
    let vite = self::fixture(&cluster, vite::changes()).await?;
    let (status, problem) = vite.refused(json!({ "slug": "vite-app" })).await?;
    assert_eq!((status, &problem["reason"]), (503, &json!("COMPILER_MISSING")), "{problem}");
    let absent = vite.person.request(Method::GET, &vite.path("site")).send().await?;
    assert_eq!(absent.status(), 404);
    cluster.stop().await?;

    let cluster = Cluster::start().await?;
    let fixture = self::fixture(&cluster, files(&[("index.html", "<h1>one</h1>")])).await?;
    let (status, problem) = fixture.refused(json!({ "slug": "my-shop" })).await?;
    assert_eq!((status, &problem["reason"]), (409, &json!("SITES_DISABLED")), "{problem}");
    cluster.stop().await
}
