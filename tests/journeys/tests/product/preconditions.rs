//! `If-Match`, `If-None-Match` and idempotency keys on all routes that support them.

use anyhow::{Context, Result};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use test_support::{Cluster, Person, contract};

/// The method, the path and the body of the n-th change.
type Row<'a> = (Method, &'a str, fn(u32) -> Value);

const OTHER: &str = "\"0000\"";

struct Fixture {
    person: Person,
    project: String,
    turn: String,
}

impl Fixture {
    async fn send(&self, (method, path): (&Method, &str), body: Option<&Value>, headers: &[(&str, &str)]) -> Result<Response> {
        let mut request = self.person.request(method.clone(), path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Ok(request.send().await?)
    }

    fn path(&self) -> String {
        format!("/api/projects/{}", self.project)
    }

    async fn etag(&self) -> Result<String> {
        let project = self.person.get(&self.path()).await?;
        Ok(project["etag"].as_str().context("an etag")?.to_owned())
    }
}

async fn fixture(cluster: &Cluster) -> Result<Fixture> {
    let person = cluster.person().await?;
    let done = person.turn(json!({ "draftId": "d", "prompt": "a page" })).await?;
    Ok(Fixture { person, project: done.project, turn: done.turn })
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

fn change(text: &str) -> Value {
    json!([{ "path": "a.txt", "write": { "text": text } }])
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_ignores_if_match() -> Result<()> {
    let cluster = Cluster::start().await?;
    let fixture = fixture(&cluster).await?;
    let value = |variable: &str| match variable {
        "turn_id" => fixture.turn.clone(),
        "path" => "index.html".to_owned(),
        "name" => "builder".to_owned(),
        "revision" => "a".repeat(40),
        "number" => "1".to_owned(),
        _ => fixture.project.clone(),
    };
    let own =
        [("POST", "/api/chat".to_owned()), ("POST", "/api/agui".to_owned()), ("GET", "/".to_owned()), ("GET", "/page/app.js".to_owned())];
    let routes = contract::bindings().into_iter().map(|binding| (binding.method.clone(), binding.path(value)));
    let routes: Vec<(String, String)> = routes.chain(own.map(|(m, p)| (m.to_owned(), p))).collect();
    assert!(routes.len() > 30);
    for (method, path) in routes {
        let method: Method = method.parse()?;
        let body = match path.rsplit('/').next() {
            // The turn has ended, which is checked first.
            _ if path.starts_with("/api/turns/") && path.ends_with("/files/index.html") => continue,
            // Nothing is published, which is checked first.
            _ if path.ends_with("/deployments/1/export") => continue,
            _ if method == Method::GET || method == Method::DELETE => None,
            Some("changes") => Some(json!({ "changes": change("x") })),
            Some("save") => Some(json!({ "projectId": fixture.project, "changes": change("x") })),
            Some("merge") => Some(json!({ "sourceProjectId": fixture.project })),
            // The turn has no conflict, which is checked first.
            Some("resolve") => continue,
            _ if method == Method::PATCH => Some(json!({ "displayName": "x" })),
            _ => Some(json!({})),
        };
        let response = fixture.send((&method, &path), body.as_ref(), &[("if-match", OTHER)]).await?;
        let (status, problem) = (response.status().as_u16(), response.json::<Value>().await.unwrap_or_default());
        assert_eq!((status, problem["reason"].as_str()), (412, Some("ETAG_MISMATCH")), "{method} {path}: {problem}");
    }
    let project = fixture.person.get(&fixture.path()).await?;
    assert_ne!(project["displayName"], "x", "the project has not changed");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_needs_the_current_etag() -> Result<()> {
    let cluster = Cluster::start().await?;
    let fixture = fixture(&cluster).await?;
    let path = fixture.path();
    let changes = format!("{path}/changes");
    let rows: [Row<'_>; 3] = [
        (Method::PATCH, &path, |n| json!({ "displayName": format!("name {n}") })),
        (Method::POST, &changes, |n| json!({ "changes": change(&n.to_string()) })),
        (Method::POST, "/api/projects/save", |n| json!({ "changes": change(&format!("save {n}")) })),
    ];
    let mut number = 0;
    for (method, path, body) in rows {
        let mut body = move |fixture: &Fixture| {
            number += 1;
            let mut body = body(number);
            if path.ends_with("/save") {
                body["projectId"] = fixture.project.clone().into();
            }
            body
        };
        let etag = fixture.etag().await?;
        for list in [format!("{OTHER}, {etag}"), "*".to_owned()] {
            let response = fixture.send((&method, path), Some(&body(&fixture)), &[("if-match", &list)]).await?;
            assert_eq!(response.status(), 200, "{method} {path} {list}");
            assert_eq!(header(&response, "etag"), fixture.etag().await?, "{method} {path}");
        }
        assert_ne!(fixture.etag().await?, etag, "{method} {path} changes the ETag");
        // The old ETag, and the current one in invalid formats.
        for list in [etag.clone(), format!("W/{}", fixture.etag().await?), fixture.etag().await?.trim_matches('"').to_owned()] {
            let response = fixture.send((&method, path), Some(&body(&fixture)), &[("if-match", &list)]).await?;
            assert_eq!(response.status(), 412, "{method} {path} {list}");
            let problem: Value = response.json().await?;
            assert_eq!(problem["metadata"]["current"], json!(fixture.etag().await?));
        }
        number += 10;
    }
    // A turn that changes no file does not change the ETag.
    let (etag, before) = (fixture.etag().await?, fixture.person.get(&path).await?);
    let done = fixture.person.turn(json!({ "projectId": fixture.project, "prompt": "a page" })).await?;
    let after = fixture.person.get(&path).await?;
    if before["headRevision"] == after["headRevision"] {
        assert_eq!(fixture.etag().await?, etag, "{}", done.turn);
        assert_eq!(before["updateTime"], after["updateTime"]);
    }
    assert_ne!(before["activityTime"], after["activityTime"]);

    let response = fixture.send((&Method::DELETE, &path), None, &[("if-match", OTHER)]).await?;
    assert_eq!(response.status(), 412);
    let etag = fixture.etag().await?;
    assert_eq!(fixture.send((&Method::DELETE, &path), None, &[("if-match", &etag)]).await?.status(), 200);
    assert_eq!(fixture.send((&Method::DELETE, &path), None, &[("if-match", &etag)]).await?.status(), 404);
    let first = json!({ "draftId": "new", "changes": change("1") });
    let response = fixture.send((&Method::POST, "/api/projects/save"), Some(&first), &[("if-match", "*")]).await?;
    assert_eq!(response.status(), 412, "a missing project has no ETag");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_concurrent_changes_succeeds() -> Result<()> {
    let cluster = Cluster::start().await?;
    let fixture = fixture(&cluster).await?;
    let path = fixture.path();
    for round in 0..5 {
        let etag = fixture.etag().await?;
        let rename = |name: &str| {
            let body = json!({ "displayName": format!("{name} {round}") });
            let request = fixture.person.request(Method::PATCH, &path).header("if-match", &etag).json(&body);
            async move { request.send().await.map(|response| response.status().as_u16()) }
        };
        let (one, other) = tokio::join!(rename("one"), rename("other"));
        let mut both = [one?, other?];
        both.sort_unstable();
        assert_eq!(both, [200, 412], "round {round}");
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gets_the_first_answer() -> Result<()> {
    let cluster = Cluster::start().await?;
    let fixture = fixture(&cluster).await?;
    let (etag, body) = (fixture.etag().await?, json!({ "changes": change("1") }));
    let path = format!("{}/changes", fixture.path());
    let headers = [("if-match", etag.as_str()), ("idempotency-key", "k-1")];
    let first: Value = fixture.send((&Method::POST, &path), Some(&body), &headers).await?.json().await?;
    let again = fixture.send((&Method::POST, &path), Some(&body), &headers).await?;
    assert_eq!(again.status(), 200, "the first request has changed the ETag");
    assert_eq!(again.json::<Value>().await?["revision"], first["revision"]);
    let (etag, body) = (fixture.etag().await?, json!({ "displayName": "Shop" }));
    for _ in 0..2 {
        let answer = fixture.send((&Method::PATCH, &fixture.path()), Some(&body), &[("if-match", &etag)]).await?;
        assert_eq!(answer.status(), 200, "a repeated rename succeeds");
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn matching_etags_get_304_for_get_and_head() -> Result<()> {
    let cluster = Cluster::start().await?;
    let fixture = fixture(&cluster).await?;
    let file = format!("{}/files/index.html", fixture.path());
    for path in [fixture.path(), file, "/".to_owned(), "/page/app.js".to_owned()] {
        let whole = fixture.send((&Method::GET, &path), None, &[]).await?;
        let etag = header(&whole, "etag");
        assert_eq!((whole.status().as_u16(), etag.is_empty()), (200, false), "{path}");
        for (headers, status) in [
            (&[][..], 200),
            (&[("if-none-match", etag.as_str())], 304),
            (&[("if-none-match", "*")], 304),
            (&[("if-none-match", OTHER)], 200),
            (&[("if-match", etag.as_str())], 200),
            (&[("if-match", OTHER), ("if-none-match", etag.as_str())], 412),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let response = fixture.send((&method, &path), None, headers).await?;
                assert_eq!(response.status(), status, "{method} {path} {headers:?}");
                if status != 412 {
                    assert_eq!(header(&response, "etag"), etag, "{method} {path} {headers:?}");
                }
                let kind = header(&response, "content-type");
                assert_eq!(kind.is_empty(), status == 304, "{method} {path} {kind}");
            }
        }
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_on_an_unknown_revision_is_refused_at_its_start() -> Result<()> {
    let cluster = Cluster::start().await?;
    let fixture = fixture(&cluster).await?;
    let body = json!({ "projectId": fixture.project, "prompt": "a page", "baseRevision": "0".repeat(40) });
    for path in ["/api/turns", "/api/agent/stream"] {
        let (status, problem) = fixture.person.refused(Method::POST, path, body.clone()).await?;
        assert_eq!((status.as_u16(), problem["reason"].as_str()), (404, Some("REVISION_NOT_FOUND")), "{path}: {problem}");
    }
    let turns = fixture.person.get(&format!("/api/turns?projectId={}", fixture.project)).await?;
    assert_eq!(turns["turns"].as_array().map(Vec::len), Some(1), "a refused turn is not recorded");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_an_idempotency_key_take_effect_once() -> Result<()> {
    let cluster = Cluster::start().await?;
    let fixture = fixture(&cluster).await?;
    let changes = format!("{}/changes", fixture.path());
    let rows = [
        ("/api/projects", json!({ "displayName": "Shop" }), json!({ "displayName": "Bar" }), "/id"),
        ("/api/projects", json!({ "draftId": "shop" }), json!({ "draftId": "bar" }), "/id"),
        (
            "/api/projects/save",
            json!({ "draftId": "saved", "changes": change("1") }),
            json!({ "draftId": "saved", "changes": change("2") }),
            "/revision/id",
        ),
        (&changes, json!({ "changes": change("3") }), json!({ "changes": change("4") }), "/revision/id"),
        ("/api/turns", json!({ "draftId": "d2", "prompt": "a page" }), json!({ "draftId": "d2", "prompt": "a shop" }), "/id"),
    ];
    for (number, (path, body, other, id)) in rows.into_iter().enumerate() {
        let key = format!("{number:0>255}");
        let headers = [("idempotency-key", key.as_str())];
        let first = fixture.send((&Method::POST, path), Some(&body), &headers).await?;
        assert!(first.status().is_success() && header(&first, "idempotency-replayed").is_empty(), "{path}: {}", first.status());
        let (status, first) = (first.status(), first.json::<Value>().await?);
        let again = fixture.send((&Method::POST, path), Some(&body), &headers).await?;
        assert_eq!((again.status(), header(&again, "idempotency-replayed").as_str()), (status, "true"), "{path}");
        assert_eq!(again.json::<Value>().await?.pointer(id), first.pointer(id), "{path}");
        assert!(first.pointer(id).is_some(), "{path}: {first}");
        let reused = fixture.send((&Method::POST, path), Some(&other), &headers).await?;
        assert_eq!(reused.json::<Value>().await?["reason"], "KEY_REUSED", "{path}");
        let long = format!("{key}0");
        let refused = fixture.send((&Method::POST, path), Some(&body), &[("idempotency-key", &long)]).await?;
        assert_eq!(refused.json::<Value>().await?["errors"][0]["field"], "Idempotency-Key", "{path}");
    }
    // Of concurrent requests with one key, one takes effect.
    let make = || async {
        let answer = fixture.send((&Method::POST, "/api/projects"), Some(&json!({})), &[("idempotency-key", "at once")]).await?;
        anyhow::Ok((header(&answer, "idempotency-replayed"), answer.json::<Value>().await?["id"].clone()))
    };
    let (one, other, third) = tokio::join!(make(), make(), make());
    let made = [one?, other?, third?];
    assert!(made.iter().all(|(_, id)| *id == made[0].1), "{made:?}");
    assert_eq!(made.iter().filter(|(replayed, _)| replayed.is_empty()).count(), 1, "{made:?}");
    cluster.stop().await
}
