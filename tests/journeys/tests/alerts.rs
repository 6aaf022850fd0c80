//! The alerts of deploy/prometheus: the test cases of `promtool`, and a Prometheus with shorter windows that scrapes a gateway, in which each
//! alert fires and clears.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chassis::{
    task,
    testing::{self, eventually},
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use test_support::{Person, cluster, person::PASSWORD, process::Launch};

/// The limit for an alert to change its state, on a busy machine.
const SEEN_WITHIN: Duration = Duration::from_secs(180);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/prometheus")
}

fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[test]
fn promtool_tests_pass_and_cover_every_alert() -> Result<()> {
    let mut promtool = Command::new("promtool");
    let output = promtool.args(["test", "rules", "alerts.test.yml"]).current_dir(folder()).output();
    let output = output.context("tests need promtool (apt install prometheus)")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let (rules, cases) =
        (std::fs::read_to_string(folder().join("alerts.yml"))?, std::fs::read_to_string(folder().join("alerts.test.yml"))?);
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        ensure!(cases.contains(&format!("alertname: {alert}\n        exp_alerts:")), "no test case in which {alert} fires");
        ensure!(cases.contains(&format!("alertname: {alert} }}")), "no test case in which {alert} does not fire");
    }
    Ok(())
}

/// A running Prometheus. Dropping it ends the process.
struct Prometheus {
    process: Child,
    url: String,
}

impl Prometheus {
    /// Starts Prometheus with the shipped rules, in which windows and delays are seconds instead of minutes.
    fn start(folder: &Path, target: SocketAddr) -> Result<Self> {
        let rules = std::fs::read_to_string(self::folder().join("alerts.yml"))?;
        let quick = rules.replace("[5m]", "[15s]").replace("for: 2m", "for: 2s").replace("for: 1m", "for: 2s");
        ensure!(!quick.contains("m]") && quick.contains("[15s]"), "a window is still in minutes:\n{quick}");
        std::fs::write(folder.join("alerts.yml"), quick)?;
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\nrule_files: [alerts.yml]\n\
             scrape_configs: [{{ job_name: gateway, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n"
        );
        std::fs::write(folder.join("prometheus.yml"), config)?;
        let address = free_address()?;
        let log = std::fs::File::create(folder.join("log"))?;
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("tests need prometheus (apt install prometheus)")?;
        Ok(Self { process, url: format!("http://{address}") })
    }

    /// The state of an alert, for any role or for this one: `inactive`, `pending` or `firing`. Returns `None` if Prometheus does not answer.
    async fn state(&self, alert: &str, role: Option<&str>) -> Option<String> {
        let answer: Value = reqwest::get(format!("{}/api/v1/alerts", self.url)).await.ok()?.json().await.ok()?;
        let is_it = |labels: &Value| labels["alertname"] == alert && role.is_none_or(|role| labels["role"] == role);
        let found = answer["data"]["alerts"].as_array()?.iter().find(|found| is_it(&found["labels"]));
        Some(found.map_or("inactive", |found| found["state"].as_str().unwrap_or_default()).to_owned())
    }

    /// Repeats `meanwhile` until the alert has this state.
    async fn reaches(&self, alert: &str, state: &str, meanwhile: impl AsyncFn()) {
        self.reaches_for(None, alert, state, meanwhile).await;
    }

    async fn reaches_for(&self, role: Option<&str>, alert: &str, state: &str, meanwhile: impl AsyncFn()) {
        eventually(SEEN_WITHIN, async || {
            meanwhile().await;
            (self.state(alert, role).await.as_deref() == Some(state)).then_some(())
        })
        .await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // The process may have exited.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sets whether the database is read-only for new connections, and closes the existing ones.
async fn set_read_only(admin: &mut PgConnection, read_only: bool) -> Result<()> {
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut *admin).await?;
    let value = if read_only { "on" } else { "off" };
    sqlx::query(AssertSqlSafe(format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}"))).execute(&mut *admin).await?;
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .execute(admin)
        .await?;
    Ok(())
}

/// Makes or renews the certificates of all roles, for this many days.
async fn certificates(launch: &Launch, command: &str, days: u16) -> Result<()> {
    let output = launch.command(&["certs", command, "--days", &days.to_string()]).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn sign_in(person: &Person) {
    let body = json!({ "email": person.email, "password": PASSWORD });
    // The answer is counted in the metrics.
    let _ = person.http.post(format!("{}/api/auth/signin", person.url)).json(&body).send().await;
}

/// Tries the next pair of a list.
async fn try_stolen_password(person: &Person, tried: &AtomicUsize) {
    let number = tried.fetch_add(1, Ordering::Relaxed);
    let body = json!({ "email": format!("person{number}@example.org"), "password": "stolen" });
    let _ = person.http.post(format!("{}/api/auth/signin", person.url)).json(&body).send().await;
}

/// Signs in while a lock delays its statement for more than a second.
async fn slow_sign_in(person: &Person, database: &str) -> Result<()> {
    let mut blocker = PgConnection::connect(database).await?;
    let mut admin = PgConnection::connect(database).await?;
    sqlx::query("BEGIN").execute(&mut blocker).await?;
    sqlx::query("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").execute(&mut blocker).await?;
    let waiting = task::spawn({
        let person = person.clone();
        async move { sign_in(&person).await }
    });
    let mut waits = false;
    while !waits && !waiting.is_finished() {
        let query = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
                   AND now() - query_start > interval '1.2 s'";
        waits = sqlx::query_scalar(query).fetch_one(&mut admin).await?;
    }
    sqlx::query("ROLLBACK").execute(&mut blocker).await?;
    waiting.await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_fires_and_clears() -> Result<()> {
    chassis::install_crypto();
    let folder = tempfile::tempdir()?;
    let policies = folder.path().join("policies.yaml");
    let few = cluster::OPEN_POLICIES.replace("auth-stuffing, limit: 100000", "auth-stuffing, limit: 3");
    ensure!(few != cluster::OPEN_POLICIES);
    std::fs::write(&policies, few)?;
    let database = testing::database_url("alerts").await;
    let (launch, target) = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &folder.path().join("backlot"))
        .set("BACKLOT_TLS", "require")
        .set("DATABASE_URL", &database)
        .set("BACKLOT_POLICIES", &policies.to_string_lossy())
        .set("BACKLOT_EDGE_PER_SECOND", "0")
        .with_metrics()?;
    certificates(&launch, "make", 10).await?;
    let process = launch.up().await?;
    let person = Person::sign_up(&process.url).await?;
    let prometheus = Prometheus::start(folder.path(), target)?;
    for alert in ["ApiErrors", "SlowQuery", "PasswordList", "GatewayDown"] {
        prometheus.reaches(alert, "inactive", async || sign_in(&person).await).await;
    }

    for role in ["gateway", "compile"] {
        prometheus.reaches_for(Some(role), "CertificateExpires", "firing", async || ()).await;
    }
    certificates(&launch, "renew", 365).await?;
    prometheus.reaches("CertificateExpires", "inactive", async || ()).await;

    let of_auth = database.replacen("/alerts?", "/alerts_auth?", 1);
    ensure!(of_auth != database, "{database}");
    prometheus.reaches("SlowQuery", "firing", async || slow_sign_in(&person, &of_auth).await.expect("a slow statement")).await;
    prometheus.reaches("SlowQuery", "inactive", async || sign_in(&person).await).await;

    let tried = AtomicUsize::new(0);
    prometheus.reaches("PasswordList", "firing", async || try_stolen_password(&person, &tried).await).await;
    prometheus.reaches("PasswordList", "inactive", async || sign_in(&person).await).await;

    let mut admin = PgConnection::connect(&of_auth).await?;
    set_read_only(&mut admin, true).await?;
    prometheus.reaches("ApiErrors", "firing", async || sign_in(&person).await).await;
    sqlx::query("SET default_transaction_read_only = off").execute(&mut admin).await?;
    set_read_only(&mut admin, false).await?;
    prometheus.reaches("ApiErrors", "inactive", async || sign_in(&person).await).await;

    process.kill().await?;
    prometheus.reaches("GatewayDown", "firing", async || ()).await;
    let process = launch.up().await?;
    prometheus.reaches("GatewayDown", "inactive", async || ()).await;
    ensure!(process.terminate().await? == Some(0));
    Ok(())
}
