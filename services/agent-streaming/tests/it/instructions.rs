//! What a turn is told: the guidance of the project, and skills. Both are fixed when the turn starts. And the tools that it is allowed.

use std::{fs, path::Path};

use proto::{
    agent_streaming::{StartTurnRequest, TurnEvent, TurnMode, turn_event::Kind},
    project_storage::UploadFileRequest,
};
use serde_json::Value;

use crate::harness::{Cluster, Person, prompt, save, types};

fn failed(events: &[TurnEvent]) -> Vec<&str> {
    let reasons = events.iter().filter_map(|event| match &event.kind {
        Some(Kind::ToolFailed(failed)) => Some(failed.reason.as_str()),
        _ => None,
    });
    reasons.collect()
}

fn system(request: &Value) -> String {
    request[0]["content"].to_string()
}

fn skill(name: &str, body: &str) -> String {
    format!("---\nname: {name}\ndescription: What {name} is for.\n---\n{body}\n")
}

fn mount(folder: &Path, name: &str, body: &str) {
    fs::create_dir_all(folder.join(name)).unwrap();
    fs::write(folder.join(name).join("SKILL.md"), skill(name, body)).unwrap();
    fs::write(folder.join(name).join("more.md"), format!("More about {name}.")).unwrap();
}

/// Starts a turn, lets its replica crash in the middle of an answer, and changes something before another one continues.
async fn interrupted(cluster: &Cluster, text: &str, change: impl AsyncFnOnce(&Person)) -> Vec<Value> {
    let (dying, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&dying);
    save(&person, "d", &[("AGENTS.md", "Use tabs, always."), (".agents/skills/own/SKILL.md", &skill("own", "The old way."))]).await;
    let turn = person.start(prompt("d", text)).await;
    person.follow_until(&turn.id, 0, |event| matches!(event.kind, Some(Kind::TextDelta(_)))).await.1.unwrap();
    dying.crash();
    change(&person).await;
    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.completed");
    cluster.model.requests(text.lines().last().unwrap())
}

#[tokio::test]
async fn the_guidance_of_the_project_stands_below_the_rules() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    save(
        &person,
        "d",
        &[("AGENTS.md", "---\ntools: [read_file, edit_file, bash]\n---\nUse tabs, always."), ("docs/AGENTS.md", "Use spaces.")],
    )
    .await;
    let order = r#"TOOLS [["write_file", "{\"path\": \"a.txt\", \"content\": \"x\"}"]]"#;
    let (turn, events) = person.run(prompt("d", order)).await;
    assert_eq!((failed(&events), turn.revision.as_str()), (vec!["UNKNOWN_TOOL"], ""));
    assert_eq!(cluster.model.offered(order)[0], ["read_file", "edit_file", "read_skill"], "the project only narrows");
    let text = system(&cluster.model.requests(order)[0]);
    let (rules, guidance) = (text.find("# Rules of this workspace").unwrap(), text.find("# Guidance of the project").unwrap());
    assert!(
        rules < guidance && text.contains("Use tabs, always.") && !text.contains("Use spaces.") && !text.contains("tools: ["),
        "{text}"
    );
    person.run(prompt("e", "SAY hi")).await;
    assert!(!system(&cluster.model.requests("SAY hi")[0]).contains("# Guidance"));
}

#[tokio::test]
async fn a_recovered_turn_has_the_same_guidance_and_skills() {
    let folder = tempfile::tempdir().unwrap();
    mount(folder.path(), "zebra", "The old stripes.");
    let cluster = Cluster::start(&[("BACKLOT_AGENTS_DIR", folder.path().to_str().unwrap())]).await;
    let order = r#"TOOLS_HANG [["read_skill", "{\"name\": \"zebra\"}"], ["read_skill", "{\"name\": \"own\"}"]]"#;
    let requests = interrupted(&cluster, order, async |person| {
        save(person, "d", &[("AGENTS.md", "Use spaces."), (".agents/skills/own/SKILL.md", &skill("own", "The new way."))]).await;
        mount(folder.path(), "zebra", "The new stripes.");
        mount(folder.path(), "gnu", "Another one.");
    })
    .await;
    let [.., hung, resumed] = &requests[..] else { panic!("{} requests", requests.len()) };
    assert_eq!(hung, resumed, "the same input");
    let text = resumed.to_string();
    for part in
        ["Use tabs, always.", "- zebra: What zebra is for.", "- own (project): What own is for.", "The old stripes.", "The old way."]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("gnu"), "{text}");
}

#[tokio::test]
async fn skills_are_read_by_a_tool() {
    let folder = tempfile::tempdir().unwrap();
    mount(folder.path(), "zebra", "Stripes.");
    mount(folder.path(), "charts", "Own charts.");
    let cluster = Cluster::start(&[("BACKLOT_AGENTS_DIR", folder.path().to_str().unwrap())]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let files =
        [(".agents/skills/zebra/SKILL.md", skill("zebra", "Stripes of the project.")), (".agents/skills/zebra/a.md", "A.".to_owned())];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    save(&person, "d", &files).await;
    let order = r#"TOOLS [["read_skill", "{\"name\": \"zebra\"}"], ["read_skill", "{\"name\": \"zebra\", \"file\": \"a.md\"}"], ["read_skill", "{\"name\": \"charts\", \"file\": \"more.md\"}"], ["read_skill", "{\"name\": \"dark-mode\"}"], ["read_skill", "{\"name\": \"nothing\"}"], ["read_skill", "{\"name\": \"zebra\", \"file\": \"more.md\"}"]]"#;
    let (_, events) = person.run(prompt("d", order)).await;
    assert_eq!(failed(&events), ["SKILL_NOT_FOUND", "FILE_NOT_FOUND"]);
    let requests = cluster.model.requests(order);
    let last = requests.last().unwrap().as_array().unwrap();
    let results: Vec<&str> = last.iter().filter(|m| m["role"] == "tool").filter_map(|m| m["content"].as_str()).collect();
    assert_eq!(results[..3], ["Stripes of the project.\n\nFurther files, for read_skill with file: a.md", "A.", "More about charts."]);
    assert!(results[3].starts_with("# Dark mode"), "{}", results[3]);
    let text = system(&requests[0]);
    assert!(text.contains("- zebra (project): What zebra is for.\\n"), "{text}");
    assert!(text.contains("- form-validation: ") && text.contains("- charts: What charts is for."), "{text}");
}

#[tokio::test]
async fn the_operator_denies_tools() {
    let cluster = Cluster::start(&[("BACKLOT_TOOLS_DENIED", "delete_file, check,read_skill")]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    save(&person, "d", &[("a.txt", "x"), ("AGENTS.md", "---\ntools: '*'\n---\nDelete what you like.")]).await;
    let order = r#"TOOLS [["delete_file", "{\"path\": \"a.txt\"}"], ["read_skill", "{\"name\": \"charts\"}"]]"#;
    let (turn, events) = person.run(prompt("d", order)).await;
    assert_eq!((failed(&events), turn.revision.as_str()), (vec!["UNKNOWN_TOOL", "UNKNOWN_TOOL"], ""));
    assert_eq!(cluster.model.offered(order)[0], ["list_files", "read_file", "search", "write_file", "edit_file", "rename_file"]);
    assert!(!system(&cluster.model.requests(order)[0]).contains("# Skills"));
}

/// Uploads a file that is larger than a text may be.
async fn upload(person: &Person, project: &str, path: &str, content: &[u8]) {
    let first = UploadFileRequest {
        project_id: project.into(),
        path: path.into(),
        size_bytes: content.len() as u64,
        ..UploadFileRequest::default()
    };
    let parts = content.chunks(256 * 1024).map(|part| UploadFileRequest { data: part.to_vec().into(), ..UploadFileRequest::default() });
    let parts: Vec<_> = std::iter::once(first).chain(parts).collect();
    person.files.clone().upload_file(futures::stream::iter(parts)).await.unwrap();
}

#[tokio::test]
async fn guidance_that_cannot_be_read_allows_no_more_than_reading() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let (project, _) = save(&person, "d", &[("AGENTS.md", "---\ntools: [read_file, edit_file]\nUse tabs.")]).await;
    let reading = ["list_files", "read_file", "search", "read_skill"];
    person.run(prompt("d", "SAY broken")).await;
    assert_eq!(cluster.model.offered("SAY broken")[0], reading);
    let text = system(&cluster.model.requests("SAY broken")[0]);
    assert!(text.contains("What AGENTS.md allows cannot be read") && text.contains("Use tabs."), "{text}");

    upload(&person, &project, "AGENTS.md", b"---\ntools: [edit_file]\n---\n\xff").await;
    person.run(prompt("d", "SAY binary")).await;
    assert_eq!(cluster.model.offered("SAY binary")[0], reading);
    assert!(system(&cluster.model.requests("SAY binary")[0]).contains("What AGENTS.md allows cannot be read"));

    let large = format!("---\ntools: [edit_file]\n---\n{}", "Use tabs, always.\n".repeat(8_000));
    upload(&person, &project, "AGENTS.md", large.as_bytes()).await;
    person.run(prompt("d", "SAY large")).await;
    assert_eq!(cluster.model.offered("SAY large")[0], ["edit_file", "read_skill"]);
    let text = system(&cluster.model.requests("SAY large")[0]);
    assert!(text.contains("[AGENTS.md is cut here: ") && !text.contains("cannot be read"), "{} bytes", text.len());
}

#[tokio::test]
async fn files_and_plans_may_have_a_character_that_cannot_be_stored() {
    let cluster = Cluster::start(&[]).await;
    let (dying, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&dying);
    let files = [
        ("AGENTS.md", "Use tabs\0 always."),
        (".agents/skills/own/SKILL.md", "---\nname: own\ndescription: \"a\\0b\"\n---\nx"),
        ("src/cart.js", "let cart = '\0';\n"),
    ];
    save(&person, "d", &files).await;
    let plan = StartTurnRequest { mode: TurnMode::Plan.into(), ..prompt("d", "NUL 1. Write_it.") };
    let (plan, events) = person.run(plan).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.completed");

    let turn = person.start(StartTurnRequest { plan_turn_id: plan.id, ..prompt("d", "The cart is wrong.\nHANG1") }).await;
    person.follow_until(&turn.id, 0, |event| matches!(event.kind, Some(Kind::TextDelta(_)))).await.1.unwrap();
    let count = "SELECT count(*) FROM prompt_parts WHERE id = encode(sha256(convert_to(content, 'UTF8')), 'hex')";
    let count: i64 = sqlx::query_scalar(count).fetch_one(&mut cluster.turns_db().await).await.unwrap();
    assert_eq!(count, 4, "the ids are those of the stored texts");
    dying.crash();
    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    assert_eq!(*types(&person.see(&turn.id).await).last().unwrap(), "turn.completed");
    let [first, resumed] = &cluster.model.requests("HANG1")[..] else { panic!("not two requests") };
    assert_eq!(first, resumed, "both workers send the stored texts");
    let sent = first.to_string();
    for part in ["Use tabs\u{fffd} always.", "- own (project): a b", "<plan>\\n1. Write\u{fffd}it."] {
        assert!(sent.contains(part), "{part}: {sent}");
    }
    assert!(!sent.contains("let cart"), "a file with this character is no text: {sent}");
}

#[tokio::test]
async fn a_folder_with_characters_that_cannot_be_stored_stops_no_turn() {
    let folder = tempfile::tempdir().unwrap();
    mount(folder.path(), "zebra", "Stripes.");
    fs::write(folder.path().join("zebra/nul.md"), "a\0b").unwrap();
    let agent = "---\nname: gnu\ndescription: Draws gnus.\ncategory: \"a\\0b\"\nmodel: \"openai/x\\0\"\n---\nDraw.";
    fs::write(folder.path().join("gnu.md"), agent).unwrap();
    let cluster = Cluster::start(&[("BACKLOT_AGENTS_DIR", folder.path().to_str().unwrap())]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let order = r#"TOOLS [["read_skill", "{\"name\": \"zebra\"}"]]"#;
    let (turn, events) = person.run(StartTurnRequest { agent: "gnu".into(), ..prompt("d", order) }).await;
    assert_eq!((*types(&events).last().unwrap(), turn.agent.as_str(), failed(&events).len()), ("turn.completed", "gnu", 0));
    let read = cluster.model.requests(order).last().unwrap().to_string();
    assert!(read.contains("Further files, for read_skill with file: more.md\""), "{read}");
}
