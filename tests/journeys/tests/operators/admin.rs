//! `backlot admin` beside a running cluster: accounts, sessions, plans, impersonation, and the audit log.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chassis::testing::eventually;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, Person, canary::Stopwatch, person::PASSWORD};
use tokio::{io::AsyncWriteExt as _, process::Command};

const SEEN_WITHIN: Duration = Duration::from_secs(30);
const A_SECOND: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 5;

/// What a command printed and whether it succeeded.
struct Printed {
    out: String,
    errors: String,
    success: bool,
}

/// Runs `backlot admin` with only the data folder of the cluster, as `grace`.
async fn run(cluster: &Cluster, arguments: &[&str], input: &str) -> Result<Printed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backlot-under-test"));
    command.arg("admin").args(arguments).env_clear().env("USER", "grace").env("BACKLOT_DATA_DIR", cluster.data_dir());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // A command that does not read its input may have ended.
    let _ = child.stdin.take().context("stdin")?.write_all(input.as_bytes()).await;
    let output = child.wait_with_output().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Printed { out: text(&output.stdout), errors: text(&output.stderr), success: output.status.success() })
}

/// The output of a command that must succeed.
async fn admin(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let printed = run(cluster, arguments, "").await?;
    ensure!(printed.success, "{arguments:?}: {}", printed.errors);
    Ok(printed.out)
}

fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Signs in and returns the person, or the status and the reason of the refusal.
async fn sign_in(cluster: &Cluster, email: &str, password: &str) -> Result<Result<Person, (StatusCode, Value)>> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let body = json!({ "email": email, "password": password });
    let answer = http.post(format!("{}/api/auth/signin", cluster.url)).json(&body).send().await?;
    let (status, cookie) = (answer.status(), answer.headers().get("set-cookie").and_then(|value| value.to_str().ok()).map(str::to_owned));
    let mut body: Value = answer.json().await?;
    let Some(cookie) = cookie else {
        body.as_object_mut().context("a problem")?.retain(|name, _| !["instance", "traceId", "requestId"].contains(&name.as_str()));
        return Ok(Err((status, body)));
    };
    let user_id = body["user"]["id"].as_str().context("an id")?.to_owned();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    Ok(Ok(Person { http, url: cluster.url.clone(), email: email.to_owned(), user_id, cookie, token: None }))
}

async fn status(person: &Person) -> Option<StatusCode> {
    Some(person.request(Method::GET, "/api/auth/session").send().await.ok()?.status())
}

/// The time until the person is refused.
async fn refused_after(person: &Person, started: Stopwatch) -> Duration {
    eventually(SEEN_WITHIN, || async { (status(person).await? == StatusCode::UNAUTHORIZED).then_some(()) }).await;
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_manages_accounts_of_a_closed_cluster() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_SIGNUP", "closed")]).await?;
    ensure!(Person::sign_up(&cluster.url).await.is_err(), "sign-up is closed");
    let printed = admin(&cluster, &["users", "create", "ada@example.com", "--plan", "team"]).await?;
    ensure!(!printed.contains("password:") && sign_in(&cluster, "ada@example.com", PASSWORD).await?.is_err(), "it has no password");
    let link = printed.lines().find_map(|line| line.strip_prefix("link: ")).context("a link")?;
    let token = link.split_once("/account/reset/confirm?token=").context("a token")?.1;
    let set = json!({ "token": token, "password": PASSWORD });
    let http = reqwest::Client::builder().no_proxy().build()?;
    for expected in [StatusCode::OK, StatusCode::BAD_REQUEST] {
        let answer = http.post(format!("{}/api/auth/reset/confirm", cluster.url)).json(&set).send().await?;
        ensure!(answer.status() == expected, "{}", answer.text().await?);
    }
    let ada = sign_in(&cluster, "ada@example.com", PASSWORD).await?.expect("signs in");
    ensure!(ada.get("/api/auth/session").await?["user"]["plan"] == "PLAN_TEAM");

    let created = run(&cluster, &["users", "create", "eve@example.com", "--password-stdin", "--json"], &format!("{PASSWORD}\n")).await?;
    ensure!(created.success && !created.out.contains("passwordUrl"), "{} {}", created.out, created.errors);
    sign_in(&cluster, "eve@example.com", PASSWORD).await?.expect("signs in");
    for (arguments, cause) in [
        (&["users", "create", "ada@example.com"][..], "already has an account (EMAIL_TAKEN)"),
        (&["users", "create", "no address"], "(INVALID_FIELD)"),
        (&["users", "show", "nobody@example.com"], "there is no such account (USER_NOT_FOUND)"),
        (&["users", "create", "new@example.com", "--password-stdin"], "the standard input has no password"),
        (&["users", "plan", "ada@example.com", "gold"], "must be free, pro, team or enterprise"),
        (&["impersonate", "ada@example.com"], "--reason"),
        (&["sessions", "end", "ada@example.com", "--session", &uuid::Uuid::now_v7().to_string()], "no such session"),
    ] {
        let refused = run(&cluster, arguments, "").await?;
        ensure!(!refused.success && refused.out.is_empty() && refused.errors.contains(cause), "{arguments:?}: {}", refused.errors);
    }
    let listed = lines(&admin(&cluster, &["users", "list", "--json"]).await?)?;
    let emails: Vec<_> = listed.iter().map(|account| account["user"]["email"].as_str().unwrap_or_default()).collect();
    ensure!(emails == ["ada@example.com", "eve@example.com"], "{emails:?}");
    let found = admin(&cluster, &["users", "list", "--query", "EVE"]).await?;
    ensure!(found.lines().count() == 2 && found.contains("eve@example.com") && found.contains("enabled"), "{found}");
    let shown = admin(&cluster, &["users", "show", &ada.user_id]).await?;
    ensure!(shown.contains("ada@example.com") && shown.contains("team"), "{shown}");
    let row = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    // The link of an operator proves no address.
    ensure!((row("verified"), row("password"), row("passkeys"), row("linked accounts")) == ("-", "yes", "-", "-"), "{shown}");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_a_service_account_and_does_not_act_through_it() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let robot = person.post("/api/auth/service-accounts", json!({ "displayName": "nightly build" })).await?;
    let id = robot["id"].as_str().context("an id")?;
    let shown = admin(&cluster, &["users", "show", id]).await?;
    ensure!(shown.contains("service") && shown.contains("nightly build") && shown.contains(&person.user_id), "{shown}");
    let listed = lines(&admin(&cluster, &["users", "list", "--json"]).await?)?;
    let kinds: Vec<_> = listed.iter().map(|account| account["kind"].as_str().unwrap_or_default()).collect();
    ensure!(kinds == ["ACCOUNT_KIND_PERSON", "ACCOUNT_KIND_SERVICE"], "{listed:?}");
    for (arguments, cause) in [
        (&["impersonate", id, "--reason", "ticket 7"][..], "NOT_A_PERSON"),
        (&["users", "reset-second-factor", id], "NOT_A_PERSON"),
        (&["users", "delete", id, "--confirm", &person.email], "--confirm must be"),
        (&["users", "delete", id, "--confirm", ""], "--confirm must be"),
    ] {
        let refused = run(&cluster, arguments, "").await?;
        ensure!(!refused.success && refused.errors.contains(cause), "{arguments:?}: {}", refused.errors);
    }
    let changed = admin(&cluster, &["users", "plan", id, "pro"]).await?;
    ensure!(changed.contains(&format!("{id} has the plan pro")), "{changed}");
    admin(&cluster, &["users", "delete", id, "--confirm", id]).await?;
    ensure!(person.get("/api/auth/service-accounts").await?["serviceAccounts"].as_array().is_none_or(Vec::is_empty));
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_signing_key_is_replaced_and_people_stay_signed_in() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let program = person.with_token().await?;
    ensure!(status(&person).await == Some(StatusCode::OK) && status(&program).await == Some(StatusCode::OK));
    let printed = admin(&cluster, &["signing-keys", "replace", "--now"]).await?;
    ensure!(printed.contains("signs from") && printed.contains("the earlier keys are gone"), "{printed}");
    refused_after(&program, Stopwatch::start()).await;
    eventually(SEEN_WITHIN, || async { (status(&person).await? == StatusCode::OK).then_some(()) }).await;
    // A service reads the new key for the first token that it signed.
    person.get("/api/projects").await?;
    let events = lines(&admin(&cluster, &["audit", "export"]).await?)?;
    let retired = events.iter().filter(|event| event["kind"] == "signing_key.retired" && event["actorId"] == "grace").count();
    ensure!(retired == 1, "{events:?}");
    let printed = admin(&cluster, &["signing-keys", "replace"]).await?;
    ensure!(printed.contains("signs from") && !printed.contains("gone"), "{printed}");
    ensure!(status(&person).await == Some(StatusCode::OK));
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_account_is_out_within_a_second_and_looks_like_a_wrong_password() -> Result<()> {
    let cluster = Cluster::start().await?;
    let (person, bystander) = (cluster.person().await?, cluster.person().await?);
    let program = person.with_token().await?;
    let wrong = sign_in(&cluster, &person.email, "not the password at all").await?.err().context("refused")?;
    let mut user = person.clone();
    for attempt in 0..ATTEMPTS {
        // The gateway has the session in its cache now.
        ensure!(status(&user).await == Some(StatusCode::OK));
        let bearer = user.with_token().await?;
        let printed = admin(&cluster, &["users", "disable", &person.email]).await?;
        let disabled = Stopwatch::start();
        ensure!(printed.contains("is disabled"), "{printed}");
        let took = [refused_after(&user, disabled).await, refused_after(&bearer, disabled).await];
        ensure!(took.iter().all(|took| *took < A_SECOND), "attempt {attempt}: {took:?}");
        let refused = sign_in(&cluster, &person.email, PASSWORD).await?.err().context("disabled")?;
        ensure!(refused == wrong, "attempt {attempt}: {refused:?} {wrong:?}");
        admin(&cluster, &["users", "enable", &person.email]).await?;
        ensure!(status(&user).await == Some(StatusCode::UNAUTHORIZED), "its sessions stay ended");
        user = sign_in(&cluster, &person.email, PASSWORD).await?.expect("enabled");
    }
    ensure!(status(&program).await == Some(StatusCode::UNAUTHORIZED) && status(&bystander).await == Some(StatusCode::OK));
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_plan_holds_for_cached_sessions_within_a_second() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    // Whether a file of 60,000 bytes can be saved. project-storage reads the plan in the access token that the gateway has cached.
    let can_save = async || {
        let changes = json!([{ "path": "large.txt", "write": { "text": "a".repeat(60_000) } }]);
        let save = person.request(Method::POST, "/api/projects/save").json(&json!({ "draftId": "shop", "changes": changes }));
        Some(save.send().await.ok()?.status().is_success())
    };
    ensure!(can_save().await == Some(false), "free");
    for (plan, expected) in [("pro", true), ("free", false), ("enterprise", true)] {
        let printed = admin(&cluster, &["users", "plan", &person.email, plan]).await?;
        let changed = Stopwatch::start();
        ensure!(printed.trim_end().ends_with(&format!("has the plan {plan}")), "{printed}");
        eventually(SEEN_WITHIN, || async { (can_save().await? == expected).then_some(()) }).await;
        ensure!(changed.elapsed() < A_SECOND, "{plan}: {:?}", changed.elapsed());
    }
    ensure!(status(&person).await == Some(StatusCode::OK), "the session goes on");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_acts_for_a_person_and_the_audit_log_has_it_all() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let changes = json!([{ "path": "index.html", "write": { "text": "<p>Shop</p>" } }]);
    let saved = person.post("/api/projects/save", json!({ "draftId": "shop", "changes": changes })).await?;
    let reason = "ticket 7: the shop is empty";
    let begun = admin(&cluster, &["impersonate", &person.email, "--reason", reason, "--minutes", "5", "--json"]).await?;
    let begun: Value = serde_json::from_str(&begun)?;
    let body = json!({ "sessionToken": begun["sessionToken"] });
    let answer = person.http.post(format!("{}/api/auth/token", cluster.url)).json(&body).send().await?.error_for_status()?;
    let token = answer.json::<Value>().await?["accessToken"].as_str().context("a token")?.to_owned();
    let acting = Person { token: Some(token), ..person.clone() };
    ensure!(acting.get("/api/projects").await?["projects"][0]["id"] == saved["project"]["id"], "the operator sees what the person sees");
    ensure!(acting.get("/api/auth/session").await?["session"]["impersonator"] == "grace");
    ensure!(person.get("/api/auth/session").await?["session"]["impersonator"].is_null());

    let listed = admin(&cluster, &["sessions", "list", &person.email]).await?;
    ensure!(listed.lines().count() == 3 && listed.lines().filter(|line| line.ends_with("grace")).count() == 1, "{listed}");
    ensure!(listed.lines().skip(1).all(|line| line.split_whitespace().nth(1) == Some("browser")), "{listed}");
    ensure!(listed.starts_with("ID ") && listed.contains("  NETWORK  ") && listed.contains("  127.0.0.0/24  "), "{listed}");
    let id = begun["session"]["id"].as_str().context("an id")?;
    let ended = admin(&cluster, &["sessions", "end", &person.email, "--session", id]).await?;
    ensure!(ended == "sessions ended: 1\n", "{ended}");
    refused_after(&acting, Stopwatch::start()).await;
    ensure!(status(&person).await == Some(StatusCode::OK), "the person's own session goes on");
    admin(&cluster, &["--operator", "hopper", "sessions", "end", &person.email]).await?;
    refused_after(&person, Stopwatch::start()).await;

    let events = lines(&admin(&cluster, &["audit", "export", "--since", "1h"]).await?)?;
    let about: Vec<_> = events
        .iter()
        .filter(|event| event["userId"] == person.user_id.as_str())
        .map(|event| (event["kind"].as_str().unwrap_or_default(), event["actorId"].as_str().unwrap_or_default()))
        .collect();
    let own = person.user_id.as_str();
    ensure!(
        about == [("user.signed_up", own), ("session.impersonated", "grace"), ("session.revoked", "grace"), ("session.revoked", "hopper")],
        "{events:?}"
    );
    let impersonated = events.iter().find(|event| event["kind"] == "session.impersonated").context("the event")?;
    ensure!(impersonated["details"] == json!({ "session": id, "reason": reason, "minutes": "5" }), "{impersonated}");
    ensure!(admin(&cluster, &["audit", "export", "--until", "1h"]).await?.is_empty());
    cluster.stop().await
}

/// More events than one request returns.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_the_audit_log_has_all_pages_and_no_control_characters() -> Result<()> {
    const EVENTS: i64 = 1_001;
    let cluster = Cluster::start().await?;
    let insert = "insert into audit_events (id, created_at, kind, actor_kind, actor_id, details)
                  select gen_random_uuid(), '2020-01-01 00:00:00Z'::timestamptz + n / 3 * interval '1 second', 'test.event', 'operator',
                         U&'\\001b[2J\\009b', jsonb_build_object('n', n::text, 'text', U&'\\001b]0;x\\0007\\009b\\202e\\2028')
                  from generate_series(1, $1) n";
    sqlx::query(insert).bind(EVENTS).execute(&cluster.pool("auth").await?).await?;
    let text = admin(&cluster, &["audit", "export", "--since", "2020-01-01", "--until", "2020-02-01T00:00:00Z"]).await?;
    ensure!(!text.chars().any(|c| c != '\n' && proto::text::is_misleading(c)), "the export has control characters");
    let events = lines(&text)?;
    let mut numbers: Vec<i64> = events.iter().filter_map(|event| event["details"]["n"].as_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    ensure!(numbers == (1..=EVENTS).collect::<Vec<_>>(), "{} events", events.len());
    ensure!(events.iter().all(|event| event["details"]["text"] == "\u{1b}]0;x\u{7}\u{9b}\u{202e}\u{2028}"));
    ensure!(events.is_sorted_by_key(|event| event["createTime"].as_str().unwrap_or_default().to_owned()));
    cluster.stop().await
}
