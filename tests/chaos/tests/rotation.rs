//! Row A3 of the test programme with real processes: auth and PostgreSQL are killed in the middle of a rotation of a refresh token. The
//! program repeats the request with the token that it has.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos::{
    deployment::{Deployment, Engines, Plan, node::Failpoint},
    run,
};
use chassis::{postgres, task, testing::eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{PgPool, Postgres, Transaction};
use test_support::Person;

/// The statements of a rotation that change something: the old token is marked as used, the new one is stored, and both are committed.
const STATEMENTS: [&str; 3] = ["update-refresh_tokens", "insert-refresh_tokens", "commit-refresh_tokens"];
/// How often PostgreSQL is killed at each of the other moments.
const CRASHES: usize = 2;
/// Rotations during a crash at a random moment.
const ROTATIONS: usize = 20;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The limit for the restart of what was killed, and for an answer after that.
const LIMIT: Duration = Duration::from_secs(120);

/// A cluster with one replica of each role.
struct Cluster {
    deployment: Deployment,
    engines: Arc<Engines>,
}

/// A program that is signed in with refresh tokens.
#[derive(Clone)]
struct Program {
    person: Person,
    session: String,
    token: String,
    /// The access token that came with it; empty with the first one.
    access: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_kills_in_the_middle_of_a_rotation_sign_nobody_out() -> Result<()> {
    let (data, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let engines = run::engines(data.path()).await?;
    let one = Plan::new(env!("CARGO_BIN_EXE_chaos")).set("BACKLOT_MODEL", "demo/demo");
    let plan = Plan { gateways: 1, agents: 1, storages: 1, auths: 1, limiters: 1, compilers: 1, ..one };
    let deployment = Deployment::start(&plan, &engines, folder.path().join("cluster")).await?;
    let cluster = Cluster { deployment, engines };
    let mut program = Program::start(&cluster.deployment.urls()[0]).await?;

    for statement in STATEMENTS {
        for side in ["before", "after"] {
            let context = || format!("auth is killed {side} {statement}");
            cluster.kill_auth_at(&format!("{statement}/{side}")).await.with_context(context)?;
            program.rotate().await;
            ensure!(cluster.deployment.node("auth-1").armed().is_empty(), "{} was not reached", context());
            program.check(&cluster).await.with_context(context)?;
        }
    }
    for kills_postgres in [false, true] {
        cluster.kill_while_the_mark_waits(&program, kills_postgres).await?;
        program.rotate().await;
        program.check(&cluster).await.with_context(|| format!("killed before the mark, PostgreSQL: {kills_postgres}"))?;
    }
    for crash in 0..CRASHES {
        cluster.crash_postgres_after_a_commit(&program).await?;
        program.rotate().await;
        program.check(&cluster).await.with_context(|| format!("crash {crash} after a commit"))?;
        let rotating = async {
            for _ in 0..ROTATIONS {
                program.rotate().await;
            }
        };
        let (crashed, ()) = tokio::join!(cluster.engines.crash_postgres(), rotating);
        crashed?;
        program.check(&cluster).await.with_context(|| format!("crash {crash} at a random moment"))?;
    }

    let old = program.token.clone();
    program.rotate().await;
    program.rotate().await;
    ensure!(program.answer(&old).await == Err("TOKEN_REUSED".to_owned()), "a replay was not noticed");
    ensure!(program.answer(&program.token).await == Err("SESSION_ENDED".to_owned()), "the session did not end");
    ensure!(program.tokens(&cluster).await? == (0, 0), "tokens of an ended session are left");
    cluster.deployment.stop().await
}

impl Cluster {
    /// Restarts auth with a failpoint that ends it at its next rotation.
    async fn kill_auth_at(&self, place: &str) -> Result<()> {
        let auth = self.deployment.node("auth-1");
        auth.arm([Failpoint { place: place.to_owned(), mode: "abort".to_owned() }]);
        auth.kill().await?;
        auth.start().await?;
        auth.ready(LIMIT).await
    }

    /// Locks the token, so that the statement that marks it as used waits, and kills auth or PostgreSQL meanwhile.
    async fn kill_while_the_mark_waits(&self, program: &Program, kills_postgres: bool) -> Result<()> {
        let pool = self.deployment.pool("auth").await?;
        let lock = lock_token(&pool, program).await?;
        let waiting = program.send();
        eventually(LIMIT, async || {
            let blocked =
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'update refresh_tokens set used_at%'";
            let count: i64 = sqlx::query_scalar(blocked).fetch_one(&pool).await.ok()?;
            (count > 0).then_some(())
        })
        .await;
        if kills_postgres {
            self.engines.crash_postgres().await?;
            drop(lock);
        } else {
            self.kill_auth().await?;
            lock.rollback().await?;
        }
        waiting.await?;
        Ok(())
    }

    async fn kill_auth(&self) -> Result<()> {
        let auth = self.deployment.node("auth-1");
        ensure!(auth.kill().await?, "auth was not running");
        auth.start().await?;
        auth.ready(LIMIT).await
    }

    /// Kills PostgreSQL right after a commit, whose answer auth does not get.
    async fn crash_postgres_after_a_commit(&self, program: &Program) -> Result<()> {
        let link = self.deployment.link("auth -> postgres");
        let before = link.dropped_answers();
        link.drop_answer("COMMIT");
        let waiting = program.send();
        eventually(LIMIT, async || (link.dropped_answers() > before).then_some(())).await;
        self.engines.crash_postgres().await?;
        waiting.await?;
        Ok(())
    }
}

impl Program {
    async fn start(url: &str) -> Result<Self> {
        let person = Person::sign_up(url).await?;
        let created = person.post("/api/auth/refresh-tokens", json!({ "displayName": "nightly export" })).await?;
        let text = |place: &str| created.pointer(place).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no {place}"));
        Ok(Self { session: text("/session/id")?, token: text("/refreshToken")?, access: String::new(), person })
    }

    /// Exchanges its token, and repeats the request until it is answered.
    ///
    /// # Panics
    /// The token is refused.
    async fn rotate(&mut self) {
        let answer = self.answer(&self.token).await.expect("the program stays signed in");
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        assert_ne!(text("refreshToken"), self.token);
        (self.token, self.access) = (text("refreshToken"), text("accessToken"));
    }

    /// The final answer to the exchange of a token, or the reason of its refusal.
    async fn answer(&self, token: &str) -> Result<Value, String> {
        eventually(LIMIT, async || exchange(&self.person, token).await).await
    }

    /// Sends one request to exchange the token. Its answer is lost.
    fn send(&self) -> tokio::task::JoinHandle<()> {
        let Self { person, token, .. } = self.clone();
        task::spawn(async move { drop(exchange(&person, &token).await) })
    }

    /// Its access token is accepted, and its session has one live token, the child of the one before.
    async fn check(&self, cluster: &Cluster) -> Result<()> {
        let accepted = eventually(LIMIT, async || {
            let request = self.person.http.get(format!("{}/api/projects", self.person.url)).bearer_auth(&self.access);
            let status = request.timeout(REQUEST_TIMEOUT).send().await.ok()?.status();
            (!status.is_server_error()).then_some(status)
        })
        .await;
        ensure!(accepted == StatusCode::OK, "the access token is answered with {accepted}");
        let (live, childless) = self.tokens(cluster).await?;
        ensure!((live, childless) == (1, 1), "{live} tokens are live, and {childless} have no child");
        Ok(())
    }

    /// The tokens of its session that were not used, and those that have no child.
    async fn tokens(&self, cluster: &Cluster) -> Result<(i64, i64)> {
        let select = "SELECT count(*) FILTER (WHERE used_at IS NULL),
                count(*) FILTER (WHERE NOT EXISTS (SELECT FROM refresh_tokens c WHERE c.parent_id = t.id))
            FROM refresh_tokens t WHERE session_id = $1::text::uuid";
        Ok(sqlx::query_as(select).bind(&self.session).fetch_one(&cluster.deployment.pool("auth").await?).await?)
    }
}

/// Begins a transaction that locks the live token of a program.
async fn lock_token(pool: &PgPool, program: &Program) -> Result<Transaction<'static, Postgres>> {
    let mut transaction = postgres::begin_in_query(pool).await?;
    let lock = sqlx::query("SELECT FROM refresh_tokens WHERE session_id = $1::text::uuid AND used_at IS NULL FOR UPDATE");
    lock.bind(&program.session).execute(&mut *transaction).await?;
    Ok(transaction)
}

/// Exchanges a token once. Returns the answer or the reason of a refusal; `None` if the request has to be repeated.
async fn exchange(person: &Person, token: &str) -> Option<Result<Value, String>> {
    let request = person.http.post(format!("{}/api/auth/token", person.url)).json(&json!({ "refreshToken": token }));
    let response = request.timeout(REQUEST_TIMEOUT).send().await.ok()?;
    let status = response.status();
    let answer: Value = response.json().await.ok()?;
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{answer}");
    match status {
        _ if status.is_success() => Some(Ok(answer)),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => None,
        _ => Some(Err(answer["reason"].as_str().unwrap_or_default().to_owned())),
    }
}
