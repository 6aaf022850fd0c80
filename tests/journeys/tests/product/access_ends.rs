//! Row A5 of the test programme: after a login, a logout, a revocation or a change of the password, the access of the sessions that ended stops
//! within a second, and their open event streams within five, at two gateways. A session never keeps an id across a login or a new password.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chassis::testing::{self, eventually};
use futures::{StreamExt as _, stream};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use test_support::{
    Cluster, Person,
    canary::{Stopwatch, within},
    person::PASSWORD,
    process::Launch,
    sse::Viewer,
};

/// Rounds of the CI form.
const ROUNDS: usize = 200;
const AT_THE_SAME_TIME: usize = 8;
const ACCESS_ENDS_WITHIN: Duration = Duration::from_secs(1);
const STREAM_ENDS_WITHIN: Duration = Duration::from_secs(5);
const STARTED_WITHIN: Duration = Duration::from_secs(60);
const NEW_PASSWORD: &str = "another horse, another battery 8";

/// A second gateway of the cluster, in a process of its own.
struct SecondGateway {
    url: String,
    _process: tokio::process::Child,
}

impl SecondGateway {
    async fn start(cluster: &Cluster) -> Result<Self> {
        let (listen, preview) = (testing::listener().await.local_addr()?, testing::listener().await.local_addr()?);
        let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), cluster.data_dir())
            .set("BACKLOT_LISTEN", &listen.to_string())
            .set("BACKLOT_PREVIEW_LISTEN", &preview.to_string())
            .set("BACKLOT_METRICS_LISTEN", "none")
            .set("BACKLOT_EDGE_PER_SECOND", "100000")
            .set("BACKLOT_EDGE_BURST", "100000");
        let launch = cluster
            .grpc
            .iter()
            .fold(launch, |launch, (role, url)| launch.set(&format!("BACKLOT_{}_URL", role.to_uppercase().replace('-', "_")), url));
        let log = std::fs::File::create(cluster.data_dir().join("second-gateway.log"))?;
        let process = launch.command(&["gateway"]).stderr(log).spawn()?;
        let (url, http) = (format!("http://{listen}"), reqwest::Client::builder().no_proxy().build()?);
        eventually(STARTED_WITHIN, || async {
            let ready = http.get(format!("{url}/readyz")).send().await.ok()?;
            (ready.status() == StatusCode::OK).then_some(())
        })
        .await;
        Ok(Self { url, _process: process })
    }
}

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    SignOut,
    SignInAgain,
    Revoke,
    RevokeOthers,
    RevokeAll,
    ChangePassword,
}

const ENDS: [End; 6] = [End::SignOut, End::SignInAgain, End::Revoke, End::RevokeOthers, End::RevokeAll, End::ChangePassword];

fn cookie_of(response: &reqwest::Response) -> Result<String> {
    let line = response.headers().get(header::SET_COOKIE).context("no cookie")?.to_str()?;
    Ok(line.split(';').next().unwrap_or_default().to_owned())
}

/// The same person with the cookie of a sign-in, for which the request has this cookie.
async fn sign_in(person: &Person, cookie: Option<&str>) -> Result<Person> {
    let body = json!({ "email": person.email, "password": PASSWORD });
    let mut request = person.http.post(format!("{}/api/auth/signin", person.url)).json(&body);
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie);
    }
    let response = request.send().await?.error_for_status()?;
    Ok(Person { cookie: cookie_of(&response)?, ..person.clone() })
}

async fn session_id(person: &Person) -> Result<String> {
    Ok(person.get("/api/auth/session").await?["session"]["id"].as_str().context("an id")?.to_owned())
}

/// Ends the session of `ended` at its gateway, in the given way. `other` is another session of the same person.
async fn end(how: End, ended: &Person, other: &Person) -> Result<()> {
    let body = json!({ "currentPassword": PASSWORD, "password": NEW_PASSWORD });
    let answer = match how {
        End::SignOut => ended.post("/api/auth/signout", json!({})).await,
        End::SignInAgain => sign_in(ended, Some(&ended.cookie)).await.map(|_| Value::Null),
        End::Revoke => {
            let path = format!("/api/auth/sessions/{}", session_id(ended).await?);
            other.request(Method::DELETE, &path).send().await?.error_for_status()?;
            Ok(Value::Null)
        }
        End::RevokeOthers => other.post("/api/auth/sessions:revoke", json!({})).await,
        End::RevokeAll => other.post("/api/auth/sessions:revoke", json!({ "includeCurrent": true })).await,
        End::ChangePassword => other.post("/api/auth/password", body).await,
    };
    answer.map(drop)
}

/// One round: the ended session has an open stream at one gateway, and its access is tried at the other one.
async fn round(number: usize, urls: [&str; 2]) -> Result<()> {
    let how = ENDS[number % ENDS.len()];
    let (here, there) = (urls[number % 2], urls[(number + 1) % 2]);
    let other = Person::sign_up(here).await?;
    let ended = sign_in(&other, None).await?;
    let saved =
        ended.post("/api/projects/save", json!({ "draftId": "d", "changes": [{ "path": "a.txt", "write": { "text": "1" } }] })).await?;
    let project = saved["project"]["id"].as_str().context("a project")?.to_owned();
    let far = Person { url: there.to_owned(), ..ended.clone() };
    let bearer = far.with_token().await?;
    let path = format!("/api/projects/{project}/events?after=1");
    let mut streams = Vec::new();
    for viewer in [&ended, &far, &bearer] {
        streams.push(Viewer::open(viewer.request(Method::GET, &path).send().await?).await?);
    }
    end(how, &ended, &other).await.with_context(|| format!("{how:?}"))?;
    let since = Stopwatch::start();
    for viewer in [&ended, &far, &bearer] {
        while viewer.request(Method::GET, "/api/projects").send().await?.status() != StatusCode::UNAUTHORIZED {
            ensure!(since.elapsed() < ACCESS_ENDS_WITHIN, "{how:?}: access after {:?}", since.elapsed());
        }
    }
    for stream in &mut streams {
        let broken = within(STREAM_ENDS_WITHIN, stream.next()).await.with_context(|| format!("{how:?}: the stream is still open"))?;
        ensure!(broken.is_err(), "{how:?}: {broken:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_access_ends_in_a_second_and_streams_in_five_at_two_gateways() -> Result<()> {
    let cluster = Cluster::start().await?;
    let second = SecondGateway::start(&cluster).await?;
    let urls = [cluster.url.as_str(), second.url.as_str()];
    let mut rounds = stream::iter((0..ROUNDS).map(|number| round(number, urls))).buffer_unordered(AT_THE_SAME_TIME);
    while let Some(done) = rounds.next().await {
        done?;
    }
    drop(rounds);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_a_login_and_a_new_password_take_a_new_id_and_never_a_given_one() -> Result<()> {
    let cluster = Cluster::start().await?;
    let first = cluster.person().await?;
    let name = first.cookie.split('=').next().context("a name")?.to_owned();
    // Secrets that another page could have set: invented ones, and that of a session of somebody else.
    let attacker = cluster.person().await?;
    for planted in [format!("{name}=fixed"), format!("{name}={}", "A".repeat(43)), attacker.cookie.clone()] {
        let signed_in = sign_in(&first, Some(&planted)).await?;
        ensure!(signed_in.cookie != planted && signed_in.cookie != first.cookie, "the cookie is new");
        let planted = Person { cookie: planted, ..first.clone() };
        ensure!(planted.request(Method::GET, "/api/auth/session").send().await?.status() == StatusCode::UNAUTHORIZED);
    }
    let before = session_id(&first).await?;
    let again = sign_in(&first, Some(&first.cookie)).await?;
    let after = session_id(&again).await?;
    ensure!(after != before, "a login with a cookie has a new id");
    ensure!(first.request(Method::GET, "/api/auth/session").send().await?.status() == StatusCode::UNAUTHORIZED, "the old one has ended");

    let body = json!({ "currentPassword": PASSWORD, "password": NEW_PASSWORD });
    let response = again.request(Method::POST, "/api/auth/password").json(&body).send().await?.error_for_status()?;
    let changed = Person { cookie: cookie_of(&response)?, ..again.clone() };
    let answer: Value = response.json().await?;
    ensure!(answer.get("sessionToken").is_none(), "the secret is only in the cookie: {answer}");
    let last = session_id(&changed).await?;
    ensure!(last != after && answer["session"]["id"] == json!(last), "a new password has a new id");
    ensure!(again.request(Method::GET, "/api/auth/session").send().await?.status() == StatusCode::UNAUTHORIZED);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_the_devices_and_ends_one() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
    let body = json!({ "email": person.email, "password": PASSWORD });
    let signin = person.http.post(format!("{}/api/auth/signin", person.url)).header(header::USER_AGENT, agent).json(&body);
    let laptop = Person { cookie: cookie_of(&signin.send().await?.error_for_status()?)?, ..person.clone() };
    let listed = person.get("/api/auth/sessions").await?;
    let sessions = listed["sessions"].as_array().context("a list")?;
    ensure!(sessions.len() == 2, "{listed}");
    let found = sessions.iter().find(|one| one["device"] == "Firefox on Linux").context("the laptop")?;
    ensure!(found["network"] == "127.0.0.0/24" && found["kind"] == "SESSION_KIND_SIGN_IN" && found.get("isCurrent").is_none(), "{found}");
    ensure!(sessions.iter().filter(|one| one["isCurrent"] == json!(true)).count() == 1, "{listed}");
    let path = format!("/api/auth/sessions/{}", found["id"].as_str().context("an id")?);
    person.request(Method::DELETE, &path).send().await?.error_for_status()?;
    let (status, problem) = person.refused(Method::DELETE, &path, json!({})).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::NOT_FOUND, Some("SESSION_NOT_FOUND")), "{problem}");
    ensure!(laptop.request(Method::GET, "/api/auth/session").send().await?.status() == StatusCode::UNAUTHORIZED);

    let (status, problem) =
        person.refused(Method::POST, "/api/auth/password", json!({ "currentPassword": "a guess", "password": NEW_PASSWORD })).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::UNAUTHORIZED, Some("BAD_CREDENTIALS")), "{problem}");
    let all = person.request(Method::POST, "/api/auth/sessions:revoke").json(&json!({ "includeCurrent": true })).send().await?;
    ensure!(cookie_of(&all)?.ends_with('='), "the cookie is removed");
    let answer: Value = all.error_for_status()?.json().await?;
    ensure!(answer["revokedCount"] == 1, "{answer}");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_works_with_refresh_tokens_until_one_is_replayed() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let created = person.post("/api/auth/refresh-tokens", json!({ "displayName": "nightly export" })).await?;
    let token = created["refreshToken"].as_str().context("a token")?.to_owned();
    let program = Person { cookie: String::new(), ..person.clone() };
    let refresh = async |token: &str| {
        let body = json!({ "refreshToken": token });
        let response = program.http.post(format!("{}/api/auth/token", program.url)).json(&body).send().await?;
        anyhow::Ok((response.status(), response.json::<Value>().await?))
    };
    let (_, next) = refresh(&token).await?;
    let (_, again) = refresh(&token).await?;
    ensure!(next["refreshToken"] == again["refreshToken"], "the answer was lost, and is the same");
    let working = Person { token: Some(again["accessToken"].as_str().context("a token")?.to_owned()), ..program.clone() };
    working.get("/api/projects").await?;
    let listed = person.get("/api/auth/sessions").await?;
    ensure!(listed["sessions"].as_array().into_iter().flatten().any(|one| one["displayName"] == "nightly export"), "{listed}");
    let (status, problem) = working.refused(Method::POST, "/api/auth/refresh-tokens", json!({})).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::FORBIDDEN, Some("SESSION_REQUIRED")), "{problem}");

    // The access token was used, so this is somebody else.
    let (status, problem) = refresh(&token).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::UNAUTHORIZED, Some("TOKEN_REUSED")), "{problem}");
    let since = Stopwatch::start();
    while working.request(Method::GET, "/api/projects").send().await?.status() != StatusCode::UNAUTHORIZED {
        ensure!(since.elapsed() < ACCESS_ENDS_WITHIN, "access after {:?}", since.elapsed());
    }
    let (status, _) = refresh(next["refreshToken"].as_str().context("a token")?).await?;
    ensure!(status == StatusCode::UNAUTHORIZED, "the whole family has ended");
    person.get("/api/auth/session").await?;
    cluster.stop().await
}
