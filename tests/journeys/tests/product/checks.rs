//! Checks over HTTP: the findings of revisions, and turns whose model writes a broken import.

use anyhow::{Context as _, Result};
use chassis::testing;
use serde_json::{Value, json};
use test_support::{
    Cluster, Person,
    model_server::{Answer, ModelServer, Script, Stop},
    upstream::Upstream,
    vite,
};

const BROKEN: &str = "import { greet } from './great';\nexport const hello = greet;\n";
const MENDED: &str = "import { greet } from './greet';\nexport const hello = greet;\n";

fn write(text: &str) -> Answer {
    Answer::default().tool("write_file", json!({ "path": "src/hello.ts", "content": text })).stop(Stop::ToolUse)
}

fn done() -> Answer {
    Answer::default().text("Done.")
}

async fn cluster(models: &ModelServer, compiler: &str) -> Result<Cluster> {
    let settings = [
        ("OPENAI_API_KEY", "sk-test"),
        ("OPENAI_BASE_URL", &models.openai_url()),
        ("BACKLOT_MODEL", "openai/gpt-test"),
        ("BACKLOT_COMPILER", compiler),
    ];
    Cluster::with(&settings).await
}

async fn project(person: &Person) -> Result<String> {
    let saved = person.post("/api/projects/save", json!({ "draftId": "d", "changes": vite::changes() })).await?;
    Ok(saved["project"]["id"].as_str().context("project")?.to_owned())
}

/// Runs a turn. Returns its last event, and the data of its checks.
async fn turn(person: &Person, project: &str, clean: bool) -> Result<(Value, Vec<Value>)> {
    let done = person.turn(json!({ "projectId": project, "prompt": "say hello", "requireCleanFiles": clean })).await?;
    let checks = done.frames.iter().filter(|frame| frame.kind() == "checks.finished").map(|frame| frame.json()["data"].clone()).collect();
    Ok((done.frames.last().context("events")?.json(), checks))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_corrects_a_broken_import_and_the_findings_can_be_read() -> Result<()> {
    let models = ModelServer::start(Script::queue([write(BROKEN), done(), write(MENDED), done()])).await;
    let cluster = cluster(&models, &testing::compiler().to_string_lossy()).await?;
    let person = cluster.person().await?;
    let project = project(&person).await?;
    let findings = format!("/api/projects/{project}/findings");
    assert_eq!(person.get(&findings).await?["status"], "CHECKS_STATUS_CLEAN");

    let (end, checks) = turn(&person, &project, true).await?;
    assert_eq!((end["type"].as_str(), checks.len()), (Some("turn.completed"), 2), "{end} {checks:?}");
    let finding = &checks[0]["findings"][0];
    assert_eq!((&finding["code"], &finding["file"], &finding["line"]), (&json!("UNRESOLVED_IMPORT"), &json!("src/hello.ts"), &json!(1)));
    assert_eq!((&checks[0]["isReturned"], &checks[1]["status"]), (&json!(true), &json!("CHECKS_STATUS_CLEAN")));
    let asked = models.requests();
    assert_eq!(asked.len(), 4);
    assert!(asked[2].body.to_string().contains("UNRESOLVED_IMPORT"), "the model got the finding");

    models.script(Script::queue([write(BROKEN), done(), done()]));
    let (end, checks) = turn(&person, &project, true).await?;
    assert_eq!((&end["type"], &end["data"]["reason"], checks.len()), (&json!("turn.failed"), &json!("FILES_NOT_CLEAN"), 2), "{end}");
    models.script(Script::queue([write(BROKEN), done(), done()]));
    let (end, _) = turn(&person, &project, false).await?;
    assert_eq!(end["type"], "turn.completed");
    let head = person.get(&findings).await?;
    assert_eq!((&head["status"], &head["revision"]), (&json!("CHECKS_STATUS_FINDINGS"), &end["data"]["revision"]));
    assert_eq!(head["findings"][0]["file"], "src/hello.ts");
    cluster.stop().await
}

/// A manifest with a package, and a module of the page that imports `import` of it.
fn add_package(package: &str, import: &str) -> Answer {
    let manifest = json!({ "name": "fruit", "private": true, "type": "module", "dependencies": { package: "^1.0.0" } }).to_string();
    let greet = format!("import {import} from '{package}';\nexport const greet = (name: string): string => pad(name);\n");
    let file = |path: &str, content: &str| json!({ "path": path, "content": content });
    let both = Answer::default().tool("write_file", file("package.json", &manifest)).tool("write_file", file("src/greet.ts", &greet));
    both.stop(Stop::ToolUse)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_invents_a_package_gets_the_finding_once_and_commits_nothing() -> Result<()> {
    let registry = Upstream::start().await;
    let models = ModelServer::start(Script::queue([add_package("left-padd", "pad"), done(), done()])).await;
    let settings = [
        ("OPENAI_API_KEY", "sk-test"),
        ("OPENAI_BASE_URL", &models.openai_url()),
        ("BACKLOT_MODEL", "openai/gpt-test"),
        ("BACKLOT_COMPILER", &testing::compiler().to_string_lossy()),
        ("BACKLOT_NPM_REGISTRY", &registry.url),
    ];
    let cluster = Cluster::with(&settings).await?;
    let person = cluster.person().await?;
    let project = project(&person).await?;
    let (end, checks) = turn(&person, &project, true).await?;
    assert_eq!((&end["type"], &end["data"]["reason"], checks.len()), (&json!("turn.failed"), &json!("FILES_NOT_CLEAN"), 2), "{end}");
    let finding = &checks[0]["findings"][0];
    assert_eq!((&finding["code"], &finding["file"]), (&json!("UNKNOWN_PACKAGE"), &json!("package.json")), "{checks:?}");
    assert_eq!((&checks[0]["isReturned"], checks[1]["isReturned"].as_bool().unwrap_or_default()), (&json!(true), false));
    let asked = models.requests();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[2].body.to_string().matches("UNKNOWN_PACKAGE").count(), 1, "the model got the finding once");

    // It was not the model's fault: the package is new.
    registry.publish("left-padd", "1.0.0", &json!({}), &[("index.js", "module.exports = (text) => text;")]);
    models.script(Script::queue([add_package("left-padd", "pad"), done()]));
    let (end, checks) = turn(&person, &project, true).await?;
    assert_eq!((&end["type"], &checks[0]["status"]), (&json!("turn.completed"), &json!("CHECKS_STATUS_CLEAN")), "{checks:?}");

    // A package that exists, and that no page has imported yet, without a name that the model invents.
    let files = [("package.json", r#"{ "type": "module", "main": "index.js" }"#), ("index.js", "export const padStart = (text) => text;")];
    registry.publish("fruit-pad", "1.0.0", &json!({}), &files);
    models.script(Script::queue([add_package("fruit-pad", "{ pad }"), done(), done()]));
    let (end, checks) = turn(&person, &project, true).await?;
    assert_eq!((&end["type"], &end["data"]["reason"], checks.len()), (&json!("turn.failed"), &json!("FILES_NOT_CLEAN"), 2), "{end}");
    let finding = &checks[0]["findings"][0];
    assert_eq!((&finding["code"], &finding["file"]), (&json!("MISSING_EXPORT"), &json!("src/greet.ts")), "{checks:?}");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_compiler_a_turn_commits_unless_it_asks_for_clean_files() -> Result<()> {
    let models = ModelServer::start(Script::queue([write(BROKEN), done(), write(BROKEN), done()])).await;
    let cluster = cluster(&models, "/nowhere/backlot-compiler").await?;
    let person = cluster.person().await?;
    let project = project(&person).await?;
    let (end, checks) = turn(&person, &project, true).await?;
    assert_eq!(
        (&end["data"]["reason"], &checks[0]["status"]),
        (&json!("CHECKS_UNAVAILABLE"), &json!("CHECKS_STATUS_UNAVAILABLE")),
        "{end}"
    );
    assert!(!end.to_string().contains("/nowhere"), "{end}");
    let (end, checks) = turn(&person, &project, false).await?;
    assert_eq!((&end["type"], &checks[0]["status"]), (&json!("turn.completed"), &json!("CHECKS_STATUS_UNAVAILABLE")));
    assert_eq!(person.get(&format!("/api/projects/{project}/findings")).await?["status"], "CHECKS_STATUS_UNAVAILABLE");
    cluster.stop().await
}
