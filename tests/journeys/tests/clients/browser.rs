//! The first page in Chromium. One script covers the main path: sign up, prompt, watch, preview and reload, also while the server asks to
//! wait. Another one covers accessibility, small screens and a network that fails. The others open
//! previews of one person, and the templates that ship.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use chassis::testing::eventually;
use serde_json::json;
use test_support::{
    Cluster,
    canary::within,
    cluster,
    model_server::{Answer, At, ModelServer, Request, Script, Stop},
    script::{self, Gates, has_results, last_line},
    vite,
};
use tokio::process::Command;

use crate::{
    frameworks, many_modules,
    scripted::{self, held, refused},
};

const LIMIT: Duration = Duration::from_secs(900);
/// The shipped policies, except that the fourth prompt of an hour is refused.
const POLICIES: &str = "policies:\n  - { name: agent, limit: 3, window: 1h, algorithm: sliding_log }\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_main_path_of_the_first_page_works() -> Result<()> {
    let policies = tempfile::NamedTempFile::new()?;
    std::fs::write(policies.path(), POLICIES)?;
    let cluster = Cluster::with(&[("BACKLOT_DEMO_PACE", "4ms"), ("BACKLOT_POLICIES", &policies.path().to_string_lossy())]).await?;
    run_script("first-page.mjs", &cluster, &Gates::default()).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_preview_stores_survives_a_revision() -> Result<()> {
    let cluster = Cluster::start().await?;
    run_script("previews.mjs", &cluster, &Gates::default()).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_projects_run_in_the_browser_also_one_of_two_thousand_modules() -> Result<()> {
    let compiler = chassis::testing::compiler().to_string_lossy();
    let settings = [
        ("BACKLOT_COMPILER", &*compiler),
        // Other tests run beside this one.
        ("BACKLOT_COMPILE_WORKER_TIMEOUT", "300s"),
        ("BACKLOT_COMPILE_BUILD_TIMEOUT", "600s"),
        // What an address may send at once is as shipped. A slow page gets hardly more.
        ("BACKLOT_EDGE_BURST", ""),
        ("BACKLOT_EDGE_PER_SECOND", "1"),
    ];
    let cluster = Cluster::with(&settings).await?;
    let person = cluster.person().await?;
    let saved = person.post("/api/projects/save", json!({ "draftId": "d", "changes": vite::changes() })).await?;
    let project = saved["project"]["id"].as_str().context("no project")?;
    let preview = person.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
    let mut command = command("compiled.mjs");
    command.env("BACKLOT_PREVIEW", preview["url"].as_str().context("no preview")?);
    let many = many_modules::open(&person).await?;
    command.env("BACKLOT_LARGE_PREVIEW", many.preview).env("BACKLOT_LARGE_HEADING", many.heading);
    command.env("BACKLOT_LARGE_MODULES", many.modules.to_string());
    run_command(command, &Gates::default()).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_preview_changes_after_a_save_and_reports_its_errors() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_COMPILER", &chassis::testing::compiler().to_string_lossy())]).await?;
    let mut command = command("live.mjs");
    command.env("BACKLOT_TEST_URL", &cluster.url);
    command.env("BACKLOT_CHANGES", vite::changes().to_string());
    run_command(command, &Gates::default()).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_in_a_tab_of_its_own_changes_after_a_save() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_COMPILER", &chassis::testing::compiler().to_string_lossy())]).await?;
    let mut command = command("tab.mjs");
    command.env("BACKLOT_TEST_URL", &cluster.url);
    command.env("BACKLOT_CHANGES", vite::changes().to_string());
    run_command(command, &Gates::default()).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_shows_what_a_check_has_found() -> Result<()> {
    let broken = json!({ "path": "src/hello.ts", "content": "import { greet } from './great';\nexport const hello = greet;\n" });
    let done = || Answer::default().text("Done.");
    let write = Answer::default().tool("write_file", broken).stop(Stop::ToolUse);
    let models = ModelServer::start(Script::queue([write, done(), done()])).await;
    let settings = [
        ("OPENAI_API_KEY", "sk-test"),
        ("OPENAI_BASE_URL", &models.openai_url()),
        ("BACKLOT_MODEL", "openai/gpt-test"),
        ("BACKLOT_COMPILER", &chassis::testing::compiler().to_string_lossy()),
    ];
    let cluster = Cluster::with(&settings).await?;
    let mut command = command("checks.mjs");
    command.env("BACKLOT_TEST_URL", &cluster.url);
    command.env("BACKLOT_CHANGES", vite::changes().to_string());
    run_command(command, &Gates::default()).await?;
    cluster.stop().await
}

/// Browsers use passkeys on localhost, and not on an address. The script resolves this name to the listener.
const LOCAL_SITE: &str = "http://localhost:4711";

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_added_and_signs_in() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_PUBLIC_URL", LOCAL_SITE)]).await?;
    let mut command = command("passkeys.mjs");
    command.env("BACKLOT_SITE", LOCAL_SITE);
    command.env("BACKLOT_LISTENER", format!("127.0.0.1:{}", cluster.url.rsplit(':').next().context("no port")?));
    run_command(command, &Gates::default()).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sign_in_page_solves_a_challenge() -> Result<()> {
    let policies = tempfile::NamedTempFile::new()?;
    let few = cluster::OPEN_POLICIES.replace("auth-stuffing, limit: 100000", "auth-stuffing, limit: 2");
    assert_ne!(few, cluster::OPEN_POLICIES);
    std::fs::write(policies.path(), few)?;
    let path = policies.path().to_string_lossy();
    let settings = [("BACKLOT_SIGN_IN_CHALLENGE", "under-attack"), ("BACKLOT_TRUSTED_HOPS", "1"), ("BACKLOT_POLICIES", &*path)];
    let cluster = Cluster::with(&settings).await?;
    run_script("challenge.mjs", &cluster, &Gates::default()).await?;
    cluster.stop().await
}

/// The pages of accounts, as the router has them.
fn account_pages() -> Vec<String> {
    let router = include_str!("../../../../gateway/src/router.rs");
    let paths = router.split("get(\"/account/").skip(1).filter_map(|rest| rest.split('"').next());
    paths.filter(|path| !path.contains('{')).map(|path| format!("/account/{path}")).collect()
}

/// The link of the mail with which a person sets a new password.
async fn reset_link(cluster: &Cluster) -> Result<String> {
    let person = cluster.person().await?;
    person.post("/api/auth/reset", json!({ "email": person.email })).await?;
    let link = eventually(LIMIT, || async {
        let mails = cluster.mails();
        mails.iter().flat_map(|mail| mail.lines()).find(|line| line.starts_with("http") && line.contains("token=")).map(str::to_owned)
    });
    Ok(link.await)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_account_page_is_accessible_and_leads_to_the_wrong_fields() -> Result<()> {
    let pages = account_pages();
    assert!(pages.len() > 15, "{pages:?}");
    let cluster = Cluster::start().await?;
    let mut command = command("account-pages.mjs");
    command.env("BACKLOT_TEST_URL", &cluster.url);
    command.env("BACKLOT_PAGES", serde_json::to_string(&pages)?);
    command.env("BACKLOT_LINK", reset_link(&cluster).await?);
    run_command(command, &Gates::default()).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_is_accessible_and_survives_network_failures() -> Result<()> {
    let gates = Gates::default();
    // A page that receives nothing for two heartbeats and a little longer treats the connection as lost.
    let (_models, cluster) = scripted::start(answer, &gates, &[("BACKLOT_HEARTBEAT", "1s")]).await?;
    run_script("accessibility.mjs", &cluster, &gates).await?;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_templates_become_projects_whose_previews_work() -> Result<()> {
    let cluster = frameworks::cluster().await?;
    let person = cluster.person().await?;
    let listed = person.get("/api/templates?pageSize=100").await?;
    let templates = listed["templates"].as_array().context("no templates")?;
    assert_eq!(templates.len(), 10, "{listed}");
    let mut previews = serde_json::Map::new();
    for template in templates {
        let (id, title) = (&template["id"].as_str().context("no id")?, template["title"].as_str().context("no title")?);
        let used = person.post(&format!("/api/templates/{id}/use"), json!({})).await?;
        let project = used["project"]["id"].as_str().context("no project")?;
        let files = person.files(project).await?;
        assert!(files.len() > 2 && !files.values().any(|text| text.contains("%%")), "{title}: {:?}", files.keys());
        let preview = person.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
        previews.insert(title.to_owned(), preview["url"].clone());
    }
    let mut command = command("starters.mjs");
    command.env("BACKLOT_PREVIEWS", serde_json::to_string(&previews)?);
    run_command(command, &Gates::default()).await?;
    cluster.stop().await
}

pub(crate) async fn run_script(name: &str, cluster: &Cluster, gates: &Gates) -> Result<()> {
    let mut command = command(name);
    command.env("BACKLOT_TEST_URL", &cluster.url);
    run_command(command, gates).await
}

pub(crate) fn command(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("browser").join(script));
    command
}

pub(crate) async fn run_command(command: Command, gates: &Gates) -> Result<()> {
    within(LIMIT, script::run(command, gates)).await.context("the script did not end in time")?
}

/// The answer of the model. The last line of the prompt selects it. After a tool result the answer is "Done.".
fn answer(request: &Request, gates: &Gates) -> Answer {
    if has_results(request) {
        return Answer::default().text("Done.");
    }
    let words = last_line(request);
    let page = |text: &str| json!({ "path": "index.html", "content": format!("<!doctype html>\n<title>App</title>\n<h1>{text}</h1>\n") });
    match words.split_once(' ') {
        Some(("hold", gate)) => held(gate, gates),
        Some(("edit", gate)) => {
            let answer =
                Answer::default().text("I change the page.").tool("write_file", page(&format!("edited {gate}"))).stop(Stop::ToolUse);
            answer.fragments(5).hold_at(At::Event(5), &gates.of(gate))
        }
        Some(("cut", _)) => Answer::default().text("This comes to its limit before").stop(Stop::MaxTokens),
        Some(("page", _)) => {
            let long = (1..200).map(|line| format!("const line{line} = \"a line that is somewhat longer than a telephone is wide\";\n"));
            let script = json!({ "path": "src/a-folder-with-a-name/app.js", "content": long.collect::<String>() });
            let answer = Answer::default().text("I write a page, and a script for it.").tool("write_file", page(&words));
            answer.tool("write_file", script).stop(Stop::ToolUse)
        }
        _ => refused(),
    }
}
