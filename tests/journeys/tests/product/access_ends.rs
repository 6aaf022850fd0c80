//! Row A5 of the test programme: whatever ends a session ([`crate::session_ends`] has the ways), its access stops within a second, and its open
//! streams of every kind within five, at two gateways. A gateway that starts later refuses it, too. A session never keeps an id across a login or a
//! new password.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chassis::testing::{self, eventually};
use futures::{StreamExt as _, future::try_join_all, stream};
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};
use test_support::{
    Cluster, Person,
    canary::{Stopwatch, within},
    model_server::{Answer, At, ModelServer, Request, Script},
    person::PASSWORD,
    process::Launch,
    script::{Gates, last_line},
};

use crate::{
    identities::{self, GitHub, LOCAL_SITE},
    session_ends::{ENDS, Ending, NEW_PASSWORD, Site, cookie_of, end, refresh, session_id, sign_in},
};

/// Rounds of the CI form.
const ROUNDS: usize = 200;
const AT_THE_SAME_TIME: usize = 8;
pub(crate) const ACCESS_ENDS_WITHIN: Duration = Duration::from_secs(1);
const STREAM_ENDS_WITHIN: Duration = Duration::from_secs(5);
const STARTED_WITHIN: Duration = Duration::from_secs(60);
/// The header that names the turn of a stream.
const TURN_ID: &str = "x-backlot-turn-id";

/// A second gateway of the cluster, in a process of its own.
pub(crate) struct SecondGateway {
    pub(crate) url: String,
    _process: tokio::process::Child,
}

impl SecondGateway {
    pub(crate) async fn start(cluster: &Cluster) -> Result<Self> {
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

/// Opens a stream of each kind: the events of the project with every credential, and a turn as a run of AG-UI, as events, and for the AI SDK.
/// The model holds the turn until the gate of the prompt opens.
async fn open_streams(viewers: [&Person; 3], prompt: &str) -> Result<Vec<Response>> {
    let [here, far, bearer] = viewers;
    let changes = json!([{ "path": "a.txt", "write": { "text": "1" } }]);
    let saved = here.post("/api/projects/save", json!({ "draftId": "d", "changes": changes })).await?;
    let project = saved["project"]["id"].as_str().context("a project")?;
    let mut streams = Vec::new();
    for viewer in viewers {
        streams.push(viewer.request(Method::GET, &format!("/api/projects/{project}/events?after=1")).send().await?);
    }
    let message = json!({ "id": "m", "role": "user", "content": prompt });
    let run = json!({ "threadId": project, "runId": "r", "messages": [message], "forwardedProps": { "agent": "builder" } });
    let run = here.request(Method::POST, "/api/agui").json(&run).send().await?;
    let turn = run.headers().get(TURN_ID).context("no turn")?.to_str()?.to_owned();
    streams.push(run);
    streams.push(far.request(Method::GET, &format!("/api/turns/{turn}/events?after=0")).send().await?);
    streams.push(bearer.request(Method::GET, &format!("/api/chat/{project}/stream")).send().await?);
    for stream in &streams {
        ensure!(stream.status() == StatusCode::OK, "{} {}", stream.url(), stream.status());
    }
    Ok(streams)
}

/// Reads to the end of a stream, which must be that of a broken connection.
async fn broken(mut stream: Response) -> Result<()> {
    while let Ok(chunk) = stream.chunk().await {
        ensure!(chunk.is_some(), "{} ended cleanly", stream.url());
    }
    Ok(())
}

/// Sends requests until one is refused.
pub(crate) async fn refused(viewer: &Person, since: Stopwatch) -> Result<()> {
    while viewer.request(Method::GET, "/api/projects").send().await?.status() != StatusCode::UNAUTHORIZED {
        ensure!(since.elapsed() < ACCESS_ENDS_WITHIN, "access after {:?}", since.elapsed());
    }
    Ok(())
}

/// Requires that the viewers are refused within a second from now and that the streams break within five.
pub(crate) async fn ends(viewers: [&Person; 3], streams: Vec<Response>) -> Result<()> {
    let since = Stopwatch::start();
    let access = try_join_all(viewers.map(|viewer| refused(viewer, since)));
    let streams = within(STREAM_ENDS_WITHIN, try_join_all(streams.into_iter().map(broken)));
    let (access, streams) = tokio::join!(access, streams);
    access?;
    streams.context("a stream is still open")??;
    Ok(())
}

/// One round: the ended session has open streams at both gateways, and its access is tried at both. All times begin with the answer to what
/// has ended it.
async fn round(number: usize, site: &Site<'_>, urls: [&str; 2], gates: &Gates) -> Result<()> {
    let how = ENDS[number % ENDS.len()];
    // All kinds of ends have both orders.
    let first = (number / ENDS.len()) % 2;
    let (here, there) = (urls[first], urls[1 - first]);
    let other = Person::sign_up(here).await?;
    let ending = Ending::begin(how, &other).await?;
    let far = Person { url: there.to_owned(), ..ending.person.clone() };
    // A program has its access token already.
    let bearer = if far.token.is_some() { far.clone() } else { far.with_token().await? };
    let (viewers, prompt) = ([&ending.person, &far, &bearer], format!("hold {number}"));
    let streams = open_streams(viewers, &prompt).await?;
    end(how, site, &ending, &other).await.with_context(|| format!("{how:?}"))?;
    ends(viewers, streams).await.with_context(|| format!("{how:?}"))?;
    // The turn goes on without its session.
    gates.of(&prompt).open();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_access_ends_in_a_second_and_streams_in_five_at_two_gateways() -> Result<()> {
    let gates = Gates::default();
    let held = gates.clone();
    let answer = move |request: &Request| {
        let text = Answer::default().text("This takes a while, but then it is done.").fragments(5);
        text.hold_at(At::Event(5), &held.of(&last_line(request)))
    };
    let models = ModelServer::start(Script::with(move |_, request| Some(answer(request)))).await;
    let github = GitHub::start().await?;
    let settings = [
        ("ANTHROPIC_API_KEY", "sk-ant-canary"),
        ("ANTHROPIC_BASE_URL", models.url()),
        ("BACKLOT_MODEL", "anthropic/claude-test"),
        ("BACKLOT_PUBLIC_URL", LOCAL_SITE),
    ];
    let cluster = identities::cluster(&github, &settings).await?;
    let site = Site { cluster: &cluster, github: &github };
    let second = SecondGateway::start(&cluster).await?;
    let urls = [cluster.url.as_str(), second.url.as_str()];
    let mut rounds = stream::iter((0..ROUNDS).map(|number| round(number, &site, urls, &gates))).buffer_unordered(AT_THE_SAME_TIME);
    while let Some(done) = rounds.next().await {
        done?;
    }
    drop(rounds);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_a_gateway_that_starts_later_knows_which_sessions_have_ended() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let ended = sign_in(&person, None).await?;
    let (of_ended, of_other) = (ended.with_token().await?, person.with_token().await?);
    of_ended.get("/api/projects").await?;
    ended.post("/api/auth/signout", json!({})).await?;
    let later = SecondGateway::start(&cluster).await?;
    for (viewer, expected) in [(&of_ended, StatusCode::UNAUTHORIZED), (&ended, StatusCode::UNAUTHORIZED), (&of_other, StatusCode::OK)] {
        let there = Person { url: later.url.clone(), ..viewer.clone() };
        let status = there.request(Method::GET, "/api/projects").send().await?.status();
        ensure!(status == expected, "{status} in place of {expected}");
    }
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
    let (_, next) = refresh(&program, &token).await?;
    let (_, again) = refresh(&program, &token).await?;
    ensure!(next["refreshToken"] == again["refreshToken"], "the answer was lost, and is the same");
    let working = Person { token: Some(again["accessToken"].as_str().context("a token")?.to_owned()), ..program.clone() };
    working.get("/api/projects").await?;
    let listed = person.get("/api/auth/sessions").await?;
    ensure!(listed["sessions"].as_array().into_iter().flatten().any(|one| one["displayName"] == "nightly export"), "{listed}");
    let (status, problem) = working.refused(Method::POST, "/api/auth/refresh-tokens", json!({})).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::FORBIDDEN, Some("SESSION_REQUIRED")), "{problem}");

    // The access token was used, so this is somebody else.
    let (status, problem) = refresh(&program, &token).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::UNAUTHORIZED, Some("TOKEN_REUSED")), "{problem}");
    refused(&working, Stopwatch::start()).await?;
    let (status, _) = refresh(&program, next["refreshToken"].as_str().context("a token")?).await?;
    ensure!(status == StatusCode::UNAUTHORIZED, "the whole family has ended");
    person.get("/api/auth/session").await?;
    cluster.stop().await
}
