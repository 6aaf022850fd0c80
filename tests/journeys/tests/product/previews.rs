//! Previews with a host or a path of their own: a separate origin, security headers, and access only by capability.

use anyhow::{Context, Result};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use test_support::{Cluster, Person};
use url::Url;

struct Preview {
    person: Person,
    project: String,
    url: Url,
}

async fn preview(cluster: &Cluster) -> Result<Preview> {
    let person = cluster.person().await?;
    let files = json!([
        { "path": "index.html", "write": { "text": "<script>document.title='x'</script>" } },
        { "path": "app.js", "write": { "text": "export {}" } },
        { "path": "img/logo.svg", "write": { "text": "<svg xmlns='http://www.w3.org/2000/svg'/>" } },
        { "path": "docs/index.html", "write": { "text": "<h1>docs</h1>" } },
        { "path": "data.bin", "write": { "binary": "AAEC" } },
    ]);
    let saved = person.post("/api/projects/save", json!({ "draftId": "d", "changes": files })).await?;
    let project = saved["project"]["id"].as_str().context("project")?.to_owned();
    let made = person.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
    assert!(made.get("capability").is_none(), "the capability is only in the URL");
    assert!(made["expireTime"].is_string());
    Ok(Preview { person, project, url: Url::parse(made["url"].as_str().context("url")?)? })
}

/// Sends a request to a host below `localhost` without a resolver: the host is only in the header.
pub(crate) async fn get(person: &Person, method: Method, url: &Url, headers: &[(&str, &str)]) -> Result<Response> {
    let port = url.port().context("port")?;
    let mut request = person.http.request(method, format!("http://127.0.0.1:{port}{}", url.path()));
    request = request.header("host", format!("{}:{port}", url.host_str().unwrap_or_default()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.send().await?)
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_host_is_a_separate_origin() -> Result<()> {
    let cluster = Cluster::start().await?;
    let Preview { person, project, url } = preview(&cluster).await?;
    let main = Url::parse(&cluster.url)?;
    assert!(url.host_str().is_some_and(|h| h.ends_with(".localhost") && h.len() == 26 + ".localhost".len()), "{url}");

    for (path, kind, body) in [
        ("", "text/html; charset=utf-8", "<script>"),
        ("index.html", "text/html; charset=utf-8", "<script>"),
        ("app.js", "text/javascript; charset=utf-8", "export"),
        ("img/logo.svg", "image/svg+xml", "<svg"),
        ("docs/", "text/html; charset=utf-8", "<h1>docs"),
        ("data.bin", "application/octet-stream", "\0"),
    ] {
        let response = get(&person, Method::GET, &url.join(path)?, &[]).await?;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "content-type"), kind, "{path}");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer");
        assert_eq!(header(&response, "permissions-policy"), "publickey-credentials-create=(), publickey-credentials-get=()");
        assert!(response.headers().get("set-cookie").is_none());
        let policy = header(&response, "content-security-policy");
        for origin in ["http://127.0.0.1", "http://localhost"] {
            assert!(policy.contains("frame-ancestors") && policy.contains(&format!("{origin}:{}", main.port().unwrap_or(80))), "{policy}");
        }
        assert!(!policy.contains("sandbox"), "a preview host needs no sandbox: {policy}");
        let etag = header(&response, "etag");
        assert!(response.text().await?.contains(body), "{path}");
        let again = get(&person, Method::GET, &url.join(path)?, &[("if-none-match", &etag)]).await?;
        assert_eq!(again.status(), 304, "{path} {etag}");
    }
    assert_eq!(get(&person, Method::GET, &url.join("absent.html")?, &[]).await?.status(), 404);
    assert_eq!(get(&person, Method::POST, &url, &[]).await?.status(), 405);
    assert_eq!(get(&person, Method::HEAD, &url, &[]).await?.status(), 200);

    let mut other = url.clone();
    other.set_host(Some(&format!("{}.localhost", "a".repeat(26))))?;
    assert_eq!(get(&person, Method::GET, &other, &[]).await?.status(), 404, "an unknown capability");
    for path in ["/api/auth/session", "/healthz"] {
        assert_ne!(
            get(&person, Method::GET, &url.join(path)?, &[("cookie", &person.cookie)]).await?.status(),
            200,
            "previews serve nothing else"
        );
    }
    let main_host =
        person.http.get(&cluster.url).header("host", format!("{}:{}", url.host_str().unwrap_or_default(), main.port().unwrap_or(80)));
    assert!(!main_host.send().await?.text().await?.contains("document.title='x'"), "the main listener never serves previews");

    let change = json!({ "projectId": project, "changes": [{ "path": "index.html", "write": { "text": "<p>second" } }] });
    person.post("/api/projects/save", change).await?;
    assert!(get(&person, Method::GET, &url, &[]).await?.text().await?.contains("second"), "the preview shows the head");
    assert_eq!(person.request(Method::DELETE, &format!("/api/projects/{project}")).send().await?.status(), 200);
    assert_eq!(get(&person, Method::GET, &url, &[]).await?.status(), 404, "the preview ends with the access to the project");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_path_is_sandboxed() -> Result<()> {
    let cluster = cluster_with_paths().await?;
    let Preview { person, url, .. } = preview(&cluster).await?;
    let response = get(&person, Method::GET, &url, &[]).await?;
    assert_eq!(response.status(), 200, "{url}");
    let policy = header(&response, "content-security-policy");
    assert!(policy.contains("sandbox allow-scripts allow-forms"), "{policy}");
    assert!(!policy.contains("allow-same-origin"), "{policy}");
    assert_eq!(header(&response, "access-control-allow-origin"), "*");
    assert_eq!(get(&person, Method::GET, &url.join("img/logo.svg")?, &[]).await?.status(), 200);
    cluster.stop().await
}

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");

async fn cluster_with_paths() -> Result<Cluster> {
    let address = chassis::testing::listener().await.local_addr()?.to_string();
    Cluster::with(&[("BACKLOT_PREVIEW_LISTEN", &address), ("BACKLOT_PREVIEW_URL", &format!("http://{address}"))]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_behaves_like_a_web_server() -> Result<()> {
    for cluster in [Cluster::start().await?, cluster_with_paths().await?] {
        let Preview { person, url, .. } = preview(&cluster).await?;
        folders(&person, &url).await?;
        views(&person, &url).await?;
        missing(&person, &url).await?;
        shown(&person, &url).await?;
        cluster.stop().await?;
    }
    Ok(())
}

/// The path of a folder redirects to the path with a slash, so that relative links work.
async fn folders(person: &Person, url: &Url) -> Result<()> {
    let port = url.port().context("port")?;
    let base = format!("http://127.0.0.1:{port}{}", url.path());
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    for (path, location) in [("docs", "./docs/"), ("docs?a=1&b=/", "./docs/?a=1&b=/"), ("%64ocs", "./%64ocs/")] {
        for headers in [&[][..], &[BROWSER]] {
            let mut request = client.get(format!("{base}{path}")).header("host", format!("{}:{port}", url.host_str().unwrap_or_default()));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let response = request.send().await?;
            assert_eq!((response.status().as_u16(), header(&response, "location").as_str()), (307, location), "{path}");
        }
    }
    let page = get(person, Method::GET, &url.join("docs/")?, &[]).await?;
    assert!(page.status() == 200 && page.text().await?.contains("<h1>docs"));
    Ok(())
}

/// Paths of an app with client-side routing.
async fn views(person: &Person, url: &Url) -> Result<()> {
    for (path, headers, status) in [
        ("users/5", &[BROWSER][..], 200),
        ("users/5", &[("accept", "*/*")], 404),
        ("users/5", &[("accept", "application/json")], 404),
        ("users/5", &[("accept", "text/html;q=0")], 404),
        ("users/5.json", &[BROWSER], 404),
        ("app.js", &[BROWSER], 200),
    ] {
        let response = get(person, Method::GET, &url.join(path)?, headers).await?;
        assert_eq!(response.status(), status, "{path} {headers:?}");
        assert!(response.headers().get_all("vary").iter().any(|value| value == "accept"), "{path}");
        if path == "users/5" && status == 200 {
            assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
            assert!(response.text().await?.contains("document.title='x'"), "{path}");
        }
    }
    Ok(())
}

/// A browser that shows a page gets it with the script of the gateway, and everybody else gets the bytes of the file.
async fn shown(person: &Person, url: &Url) -> Result<()> {
    let plain = get(person, Method::GET, url, &[("sec-fetch-dest", "empty")]).await?;
    let (tag, bytes) = (header(&plain, "etag"), plain.text().await?);
    assert_eq!(bytes, "<script>document.title='x'</script>");
    for purpose in ["document", "iframe"] {
        let browser = [BROWSER, ("sec-fetch-dest", purpose)];
        let page = get(person, Method::GET, url, &browser).await?;
        let with_script = header(&page, "etag");
        assert!(with_script != tag && page.headers().get_all("vary").iter().any(|value| value == "sec-fetch-dest"), "{page:?}");
        let text = page.text().await?;
        let start = format!("<script src=\"{}@b/client-", url.path());
        assert!(text.starts_with(&start) && text.ends_with(&format!("></script>{bytes}")), "{text}");
        let known = get(person, Method::GET, url, &[BROWSER, ("sec-fetch-dest", purpose), ("if-none-match", &with_script)]).await?;
        assert_eq!((known.status().as_u16(), header(&known, "etag")), (304, with_script.clone()));
        // HEAD has the headers of GET: those of the page with the script, and not of the file.
        let head = get(person, Method::HEAD, url, &browser).await?;
        assert_eq!(
            (head.status().as_u16(), header(&head, "content-length"), header(&head, "etag")),
            (200, text.len().to_string(), with_script)
        );
        let script = url.join(text.split('"').nth(1).context("an address")?)?;
        assert_eq!(get(person, Method::GET, &script, &[]).await?.status(), 200);
    }
    for (method, path, headers) in [
        (Method::GET, "app.js", &[("sec-fetch-dest", "document")][..]),
        (Method::GET, "", &[("sec-fetch-dest", "iframe"), ("range", "bytes=0-")]),
    ] {
        let response = get(person, method, &url.join(path)?, headers).await?;
        assert!(!response.text().await?.contains("@b/client-"), "{path}");
    }
    let head = get(person, Method::HEAD, url, &[]).await?;
    assert_eq!(
        (head.status().as_u16(), header(&head, "content-length"), header(&head, "etag")),
        (200, bytes.len().to_string(), tag.clone())
    );
    assert_eq!(head.text().await?, "");
    for method in [Method::GET, Method::HEAD] {
        let known = get(person, method, url, &[("if-none-match", &tag)]).await?;
        assert_eq!((known.status().as_u16(), header(&known, "etag"), known.text().await?), (304, tag.clone(), String::new()));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_nobody_frames_asks_for_the_revision_that_it_would_show() -> Result<()> {
    let cluster = Cluster::start().await?;
    let Preview { person, project, url } = preview(&cluster).await?;
    let revision = async |path: &str, etag: &str| {
        let response = get(&person, Method::GET, &url.join(&format!("@b/revision/{path}"))?, &[("if-none-match", etag)]).await?;
        let (status, etag, text) = (response.status().as_u16(), header(&response, "etag"), response.text().await?);
        anyhow::Ok((status, etag, serde_json::from_str::<Value>(&text).unwrap_or_default()))
    };
    let page = get(&person, Method::GET, &url, &[BROWSER, ("sec-fetch-dest", "document")]).await?.text().await?;
    let (status, etag, first) = revision("", "").await?;
    let id = first["revision"].as_str().context("a revision")?;
    assert!(status == 200 && id.len() == 40 && page.contains(&format!("data-revision=\"{id}\"")), "{page}");
    for path in ["", "docs/", "docs/index.html"] {
        assert_eq!(revision(path, &etag).await?, (304, etag.clone(), Value::Null), "{path}");
    }
    let changes = json!([{ "path": "note.txt", "write": { "text": "a save" } }]);
    let saved = person.post("/api/projects/save", json!({ "projectId": project, "changes": changes })).await?;
    let (status, _, second) = revision("docs/", &etag).await?;
    assert_eq!((status, &second["revision"]), (200, &saved["revision"]["id"]));
    let (status, _, problem) = revision("absent.html", "").await?;
    assert_eq!((status, &problem["reason"]), (404, &json!("FILE_NOT_FOUND")));
    let capability = url.host_str().and_then(|host| host.split('.').next()).context("capability")?;
    let end = person.request(Method::DELETE, &format!("/api/projects/{project}/previews/{capability}"));
    assert!(end.send().await?.status().is_success());
    let (status, _, problem) = revision("", "").await?;
    assert_eq!((status, &problem["reason"]), (404, &json!("PREVIEW_NOT_FOUND")));
    cluster.stop().await
}

/// Browsers get an HTML page, programs get a problem.
async fn missing(person: &Person, url: &Url) -> Result<()> {
    let mut ended = url.clone();
    if url.path() == "/" {
        ended.set_host(Some(&format!("{}.localhost", "a".repeat(26))))?;
    } else {
        ended.set_path(&format!("/p/{}/", "a".repeat(26)));
    }
    for (at, title) in [(url.join("absent.html")?, "There is no page here"), (ended, "This preview has ended")] {
        let page = get(person, Method::GET, &at, &[BROWSER]).await?;
        assert_eq!((page.status().as_u16(), header(&page, "content-type").as_str()), (404, "text/html; charset=utf-8"));
        assert!(header(&page, "content-security-policy").contains("frame-ancestors"));
        assert!(page.text().await?.contains(title));
        let problem = get(person, Method::GET, &at, &[("accept", "*/*")]).await?;
        assert_eq!((problem.status().as_u16(), header(&problem, "content-type").as_str()), (404, "application/problem+json"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn range_requests_are_supported() -> Result<()> {
    let cluster = Cluster::start().await?;
    let Preview { person, url, .. } = preview(&cluster).await?;
    let at = url.join("app.js")?;
    let whole = get(&person, Method::GET, &at, &[]).await?;
    let etag = header(&whole, "etag");
    assert_eq!((header(&whole, "accept-ranges").as_str(), header(&whole, "content-length").as_str()), ("bytes", "9"));
    for (headers, status, content_range, body) in [
        (&[("range", "bytes=0-2")][..], 206, "bytes 0-2/9", "exp"),
        (&[("range", "bytes=7-")], 206, "bytes 7-8/9", "{}"),
        (&[("range", "bytes=-2")], 206, "bytes 7-8/9", "{}"),
        (&[("range", "bytes=0-2"), ("if-range", etag.as_str())], 206, "bytes 0-2/9", "exp"),
        (&[("range", "bytes=0-2"), ("if-range", "\"other\"")], 200, "", "export {}"),
        (&[("range", "bytes=0-2"), ("if-none-match", etag.as_str())], 304, "", ""),
        (&[("range", "bytes=9-")], 416, "bytes */9", "RANGE_NOT_SATISFIABLE"),
        (&[("range", "bytes=0-1,3-4")], 200, "", "export {}"),
        (&[("range", "nonsense")], 200, "", "export {}"),
    ] {
        let response = get(&person, Method::GET, &at, headers).await?;
        assert_eq!((response.status().as_u16(), header(&response, "content-range").as_str()), (status, content_range), "{headers:?}");
        if status != 416 {
            assert_eq!(header(&response, "etag"), etag, "{headers:?}");
        }
        let text = response.text().await?;
        assert!(if status == 416 { text.contains(body) } else { text == body }, "{headers:?}: {text}");
    }
    let head = get(&person, Method::HEAD, &at, &[("range", "bytes=0-2")]).await?;
    assert_eq!((head.status().as_u16(), header(&head, "content-length").as_str()), (200, "9"), "ranges apply only to GET");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_asset_is_streamed_with_ranges() -> Result<()> {
    let cluster = Cluster::start().await?;
    let Preview { person, project, url } = preview(&cluster).await?;
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap_or_default()).collect();
    let upload = person.request(Method::PUT, &format!("/api/projects/{project}/files/video.mp4")).body(data.clone());
    upload.send().await?.error_for_status()?;
    let at = url.join("video.mp4")?;
    let whole = get(&person, Method::GET, &at, &[]).await?;
    let (etag, length) = (header(&whole, "etag"), header(&whole, "content-length"));
    assert_eq!((whole.status().as_u16(), header(&whole, "content-type").as_str(), length.as_str()), (200, "video/mp4", "3000000"));
    assert!(whole.bytes().await? == data);
    let part = get(&person, Method::GET, &at, &[("range", "bytes=1000000-1999999")]).await?;
    assert_eq!((part.status().as_u16(), header(&part, "content-range").as_str()), (206, "bytes 1000000-1999999/3000000"));
    assert!(part.bytes().await? == data[1_000_000..2_000_000]);
    let head = get(&person, Method::HEAD, &at, &[]).await?;
    assert_eq!((header(&head, "content-length").as_str(), header(&head, "etag")), ("3000000", etag.clone()));
    let known = get(&person, Method::GET, &at, &[("if-none-match", &etag)]).await?;
    assert_eq!(known.status().as_u16(), 304);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_ends_when_it_is_revoked_and_when_its_creator_signs_out() -> Result<()> {
    let cluster = Cluster::start().await?;
    let Preview { person, project, url } = preview(&cluster).await?;
    let made = person.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
    let second = Url::parse(made["url"].as_str().context("url")?)?;
    assert_eq!(url, second, "a person has one origin for a project");
    assert_eq!(get(&person, Method::GET, &url, &[]).await?.status(), 200);
    let capability = url.host_str().and_then(|host| host.split('.').next()).context("capability")?;
    let end = format!("/api/projects/{project}/previews/{capability}");
    assert!(person.request(Method::DELETE, &end).send().await?.status().is_success());
    assert_eq!(get(&person, Method::GET, &url, &[]).await?.status(), 404);
    let (status, problem) = person.refused(Method::DELETE, &end, json!({})).await?;
    assert_eq!((status.as_u16(), problem["reason"].as_str()), (404, Some("PREVIEW_NOT_FOUND")));

    let made = person.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
    let second = Url::parse(made["url"].as_str().context("url")?)?;
    assert_ne!(url.origin(), second.origin(), "another origin");
    assert_eq!(get(&person, Method::GET, &second, &[]).await?.status(), 200);
    assert_eq!(get(&person, Method::GET, &url, &[]).await?.status(), 404, "the revoked one stays closed");
    person.post("/api/auth/signout", json!({})).await?;
    chassis::testing::eventually(std::time::Duration::from_secs(60), || async {
        (get(&person, Method::GET, &second, &[]).await.ok()?.status() == 404).then_some(())
    })
    .await;
    cluster.stop().await
}
