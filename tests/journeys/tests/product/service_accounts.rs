//! Service accounts over HTTP: a robot works in projects of its own, and ends within a second.

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, Person, canary::Stopwatch, person::PASSWORD};

use crate::{
    access_ends::{ACCESS_ENDS_WITHIN, refused},
    accounts::Browser,
};

async fn reason(person: &Person, method: Method, path: &str, body: Value) -> Result<(u16, String)> {
    let (status, problem) = person.refused(method, path, body).await?;
    Ok((status.as_u16(), problem["reason"].as_str().unwrap_or_default().to_owned()))
}

/// The projects that the caller sees.
async fn projects(person: &Person) -> Result<Vec<Value>> {
    Ok(person.get("/api/projects").await?["projects"].as_array().cloned().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_has_projects_of_its_own_until_its_account_is_deleted() -> Result<()> {
    let cluster = Cluster::start().await?;
    let (person, stranger) = (cluster.person().await?, cluster.person().await?);
    let mine = person.turn(json!({ "draftId": "mine", "prompt": "a counter" })).await?;
    let account = person.post("/api/auth/service-accounts", json!({ "displayName": "nightly build" })).await?;
    let id = account["id"].as_str().context("an id")?;
    let new_key = json!({ "displayName": "ci", "scope": "API_KEY_SCOPE_WRITE", "serviceAccountId": id });
    let made = person.post("/api/auth/keys", new_key.clone()).await?;
    let secret = made["secret"].as_str().context("a secret")?.to_owned();
    ensure!(secret.starts_with("blt_svc_"), "{}", made["apiKey"]);
    let robot = Person { cookie: String::new(), token: Some(secret), ..person.clone() };

    ensure!(projects(&robot).await?.is_empty(), "it reaches nothing of its owner");
    ensure!(reason(&robot, Method::GET, &format!("/api/projects/{}", mine.project), Value::Null).await?.0 == 404);
    ensure!(reason(&robot, Method::GET, "/api/auth/session", Value::Null).await? == (403, "SCOPE_REQUIRED".to_owned()));
    let own = robot.turn(json!({ "draftId": "robot", "prompt": "a counter" })).await?;
    ensure!(own.outcome() == "turn.completed", "{:?}", own.frames.last());
    let seen = projects(&robot).await?;
    ensure!(seen.len() == 1 && seen[0]["id"] == json!(own.project), "{seen:?}");
    let seen = projects(&person).await?;
    ensure!(seen.len() == 1 && seen[0]["id"] == json!(mine.project), "its projects are not those of its owner: {seen:?}");

    let path = format!("/api/auth/service-accounts/{id}");
    let absent = (404, "SERVICE_ACCOUNT_NOT_FOUND".to_owned());
    ensure!(reason(&stranger, Method::DELETE, &path, Value::Null).await? == absent);
    ensure!(reason(&stranger, Method::POST, "/api/auth/keys", new_key).await? == absent);
    ensure!(reason(&stranger, Method::GET, &format!("/api/auth/keys?serviceAccountId={id}"), Value::Null).await? == absent);
    let renamed = person.request(Method::PATCH, &path).json(&json!({ "displayName": "deploys" })).send().await?;
    ensure!(renamed.error_for_status()?.json::<Value>().await?["displayName"] == "deploys");
    let listed = person.get("/api/auth/service-accounts").await?;
    ensure!(listed["serviceAccounts"].as_array().is_some_and(|all| all.len() == 1 && all[0]["displayName"] == "deploys"), "{listed}");
    let keys = person.get(&format!("/api/auth/keys?serviceAccountId={id}")).await?;
    ensure!(keys["apiKeys"].as_array().is_some_and(|all| all.len() == 1), "{keys}");

    person.request(Method::DELETE, &path).send().await?.error_for_status()?;
    let since = Stopwatch::start();
    refused(&robot, since).await?;
    // A service may have learned of the end before the gateway, and then refuses the session of the key.
    while reason(&robot, Method::GET, "/api/projects", Value::Null).await? != (401, "API_KEY_INVALID".to_owned()) {
        ensure!(since.elapsed() < ACCESS_ENDS_WITHIN, "another reason after {:?}", since.elapsed());
    }
    person.get(&format!("/api/projects/{}", mine.project)).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_manages_service_accounts_and_keys_of_providers_without_scripts() -> Result<()> {
    const PAGE: &str = "/account/service-accounts";
    const KEYS: &str = "/account/provider-keys";
    let cluster = Cluster::start().await?;
    let browser = Browser::new(&cluster)?;
    let mine = browser.post("/account/sign-up", &[("email", "ada@example.com"), ("password", PASSWORD)]).await?.session()?;
    ensure!(browser.get(PAGE, &mine).await?.html.contains("You have no service accounts."));
    let made = browser.post_as(&mine, PAGE, &[("action", "create"), ("account_name", "<b>robot</b>")]).await?;
    ensure!(made.location == format!("{PAGE}?done=created"), "{} {}", made.status, made.html);
    let listed = browser.get(PAGE, &mine).await?;
    ensure!(listed.html.contains("&lt;b&gt;robot&lt;/b&gt;") && !listed.html.contains("<b>robot"), "{}", listed.html);
    let (_, row) = listed.html.split_once("&lt;b&gt;robot&lt;/b&gt;</th><td>").context("a row")?;
    let id = row.split('<').next().context("an id")?.to_owned();
    let key = [("action", "create-key"), ("holder", id.as_str()), ("name", "ci"), ("scope", "write"), ("projects", ""), ("days", "30")];
    let made = browser.post_as(&mine, PAGE, &key).await?;
    ensure!(made.status == StatusCode::OK && made.html.contains("<code>blt_svc_"), "{}", made.html);
    let listed = browser.get(PAGE, &mine).await?;
    ensure!(listed.html.contains("<th scope=\"row\">ci</th>") && !listed.html.contains("blt_svc_"), "shown once: {}", listed.html);
    let made = listed.hidden_after("<th scope=\"row\">ci</th>", "key")?;
    let deleted = browser.post_as(&mine, PAGE, &[("action", "delete-key"), ("account", &id), ("key", made)]).await?;
    ensure!(deleted.location == format!("{PAGE}?done=key-deleted"), "{} {}", deleted.status, deleted.html);
    let renamed = browser.post_as(&mine, PAGE, &[("action", "rename"), ("renamed", &id), ("new_name", "deploys")]).await?;
    ensure!(renamed.location == format!("{PAGE}?done=renamed"), "{} {}", renamed.status, renamed.html);
    let refused = browser.post_as(&mine, PAGE, &[("action", "rename"), ("renamed", &id), ("new_name", " ")]).await?;
    ensure!(refused.status == StatusCode::BAD_REQUEST && refused.html.contains("The name must be 1 to 80 characters."), "{}", refused.html);
    let delete = |name| [("action", "delete"), ("deleted", id.as_str()), ("typed_name", name)];
    let refused = browser.post_as(&mine, PAGE, &delete("robot")).await?;
    ensure!(refused.status == StatusCode::BAD_REQUEST && refused.html.contains("The name is another one."), "{}", refused.html);
    let deleted = browser.post_as(&mine, PAGE, &delete("deploys")).await?;
    ensure!(deleted.location == format!("{PAGE}?done=deleted"), "{} {}", deleted.status, deleted.html);
    let again = browser.post_as(&mine, PAGE, &delete("deploys")).await?;
    let text = "This service account is deleted already.";
    ensure!(again.status == StatusCode::NOT_FOUND && again.html.contains(text), "{} {}", again.status, again.html);

    let secret = "sk-ant-canary-0123456789abcdef";
    let add = [("action", "add"), ("provider", "anthropic"), ("secret", secret), ("name", "mine"), ("address", "")];
    let added = browser.post_as(&mine, KEYS, &add).await?;
    ensure!(added.location == format!("{KEYS}?done=added"), "{} {}", added.status, added.html);
    let again = browser.post_as(&mine, KEYS, &add).await?;
    ensure!(again.status == StatusCode::CONFLICT && !again.html.contains("canary"), "{} {}", again.status, again.html);
    let listed = browser.get(KEYS, &mine).await?;
    ensure!(listed.html.contains("<td>cdef</td>") && !listed.html.contains("canary"), "{}", listed.html);
    let id = listed.hidden_after("value=\"delete\"", "key")?.to_owned();
    let renamed = browser.post_as(&mine, KEYS, &[("action", "rename"), ("renamed", &id), ("new_name", "other")]).await?;
    ensure!(renamed.location == format!("{KEYS}?done=renamed"), "{} {}", renamed.status, renamed.html);
    let deleted = browser.post_as(&mine, KEYS, &[("action", "delete"), ("key", &id)]).await?;
    ensure!(deleted.location == format!("{KEYS}?done=deleted"), "{} {}", deleted.status, deleted.html);
    ensure!(browser.get(KEYS, &mine).await?.html.contains("You have no keys."));
    cluster.stop().await
}
