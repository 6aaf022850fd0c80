use std::collections::BTreeMap;

use futures::TryStreamExt;
use proto::project_storage::FileChange;

use super::*;
use crate::{
    model::agents::Agents,
    model::mode,
    model::prompt::{Prompt, SystemParts, tree},
    model::provider::{AssistantBlock, FinishReason, ModelMessage, ToolResult},
    turn::mode::Mode,
    workspace::overlay::{Content, Overlay, tests::Memory},
    workspace::tools,
};

/// The result of a turn, run as a worker runs it.
struct Turn {
    events: Vec<ModelEvent>,
    text: String,
    steps: usize,
    tools: Vec<String>,
    failures: Vec<String>,
    files: BTreeMap<String, String>,
    finish: FinishReason,
    changes: Vec<FileChange>,
}

fn request(messages: Vec<ModelMessage>, (system, tree): (String, String), max_tokens: u32) -> ModelRequest {
    ModelRequest {
        model: "demo".into(),
        system,
        tree,
        messages,
        history: 0,
        tools: tools::specs(&tools::catalogue::NAMES),
        max_tokens,
        prompt_key: "t".into(),
    }
}

fn first_prompt(system: SystemParts<'_>, base: &Memory, request: &str) -> Prompt {
    let tree = tree::text(&base.entries(), &[], 4_000).0;
    Prompt { system: system.text(), tree, history: Vec::new(), request: request.to_owned() }
}

async fn turn(files: &BTreeMap<String, String>, prompt: &str) -> Turn {
    turn_of(files, prompt, 32_000).await
}

async fn turn_of(files: &BTreeMap<String, String>, prompt: &str, max_tokens: u32) -> Turn {
    let base = Memory::new(&files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect::<Vec<_>>());
    let mut overlay = Overlay::new(base.entries(), proto::project_storage::ProjectLimits { file_bytes: 51_200, ..Default::default() });
    let agents = Agents::load(None).unwrap().0;
    let parts = SystemParts { agent: &agents.default().body, ..SystemParts::default() };
    let prompt = first_prompt(parts, &base, prompt);
    let mut messages = vec![ModelMessage::User { text: prompt.request }];
    let demo = Demo::new(Duration::ZERO);
    let mut done = Turn {
        events: Vec::new(),
        text: String::new(),
        steps: 0,
        tools: Vec::new(),
        failures: Vec::new(),
        files: BTreeMap::new(),
        finish: FinishReason::ToolCalls,
        changes: Vec::new(),
    };
    while done.finish == FinishReason::ToolCalls {
        assert!(done.steps < 6, "the turn does not end");
        done.steps += 1;
        let request = Arc::new(request(messages.clone(), (prompt.system.clone(), prompt.tree.clone()), max_tokens));
        let events: Vec<ModelEvent> = demo.stream(request.clone()).try_collect().await.unwrap();
        assert_eq!(events, demo.stream(request).try_collect::<Vec<_>>().await.unwrap(), "the same request, the same answer");
        step(&events, &mut messages, &mut overlay, &base, &mut done).await;
        done.events.extend(events);
    }
    done.changes = overlay.changes();
    let paths: Vec<String> = overlay.files().map(|(path, _)| path.to_owned()).collect();
    for (path, content) in overlay.read(&base, &paths.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap() {
        match content {
            Content::Text(text) => drop(done.files.insert(path, text.to_string())),
            Content::Asset => {}
            Content::Binary(_) => panic!("{path} is text"),
        }
    }
    done
}

async fn step(events: &[ModelEvent], messages: &mut Vec<ModelMessage>, overlay: &mut Overlay, base: &Memory, done: &mut Turn) {
    let (mut blocks, mut results, mut json, mut tool_of) = (Vec::new(), Vec::new(), BTreeMap::<String, String>::new(), BTreeMap::new());
    for event in events {
        match event {
            ModelEvent::TextDelta { text, .. } => done.text.push_str(text),
            ModelEvent::TextFinished { .. } => blocks.push(AssistantBlock::Text(String::new())),
            ModelEvent::ToolStarted { call_id, tool } => drop(tool_of.insert(call_id.clone(), tool.clone())),
            ModelEvent::ToolInputDelta { call_id, json: more } => json.entry(call_id.clone()).or_default().push_str(more),
            ModelEvent::ToolReady { call_id, input, .. } => {
                assert_eq!(json[call_id], input.to_string(), "the deltas have the arguments of the call");
                let tool = &tool_of[call_id];
                let outcome = tools::execute(overlay, base, &tools::specs(&tools::catalogue::NAMES), tool, input).await.unwrap();
                done.tools.push(tool.clone());
                done.failures.extend(outcome.failure.as_ref().map(|failure| failure.reason.to_owned()));
                blocks.push(AssistantBlock::ToolCall {
                    id: call_id.clone(),
                    tool: tool.clone(),
                    input: input.clone(),
                    opaque: serde_json::Value::Null,
                });
                results.push(ToolResult { call_id: call_id.clone(), content: outcome.content, is_error: outcome.failure.is_some() });
            }
            ModelEvent::Finished(reason) => done.finish = *reason,
            _ => {}
        }
    }
    messages.extend([ModelMessage::Assistant { blocks }, ModelMessage::ToolResults(results)]);
}

fn written(changes: &[FileChange]) -> Vec<&str> {
    changes.iter().map(|change| change.path.as_str()).collect()
}

#[tokio::test]
async fn a_first_prompt_builds_an_app_in_several_steps() {
    for (prompt, page) in [
        ("Build a todo list", "<h1>To-do list</h1>"),
        ("a counter called “Laps & more”", "<h1>Laps &amp; more</h1>"),
        ("landing page for my bakery", "<h1>A fresh start</h1>"),
        ("Create a calculator", "<h1>Calculator</h1>"),
        ("take notes", "<h1>Notes</h1>"),
        ("pomodoro", "<h1>Focus timer</h1>"),
        ("something else entirely", "<h1>To-do list</h1>"),
    ] {
        let done = turn(&BTreeMap::new(), prompt).await;
        assert_eq!((done.steps, done.finish, done.failures.len()), (3, FinishReason::Stop, 0), "{prompt}");
        assert_eq!(done.tools, ["write_file", "write_file", "write_file", "list_files"]);
        assert_eq!(written(&done.changes), ["app.js", "index.html", "styles.css"]);
        assert!(done.files["index.html"].contains(page) && !done.files["index.html"].contains("{{"), "{prompt}");
        assert!(done.events.len() >= 60, "{} events", done.events.len());
        assert!(done.text.contains("demo model"), "{}", done.text);
    }
}

#[tokio::test]
async fn a_later_prompt_changes_the_files() {
    let built = turn(&BTreeMap::new(), "Build a dark todo list called Groceries").await.files;
    assert!(built["styles.css"].contains("--bg: #0f1220;"));
    let built = turn(&built, "make it light").await.files;
    for (prompt, path, text) in [
        ("Make it dark", "styles.css", "--bg: #0f1220;"),
        ("change the title to Weekly groceries", "index.html", "<title>Weekly groceries</title>"),
        ("please make it green", "styles.css", "--accent: #16a34a;"),
        ("bigger text", "styles.css", "--size: 20px;"),
        ("add a footer saying See you", "index.html", "<footer><p>See you</p></footer>"),
        ("Do what you think is best", "index.html", "<h2>Do what you think is best</h2>"),
        ("make it light", "index.html", "<h2>Make it light</h2>"),
    ] {
        let done = turn(&built, prompt).await;
        assert_eq!((done.steps, done.failures.len()), (3, 0), "{prompt}");
        assert!(done.tools.starts_with(&["read_file".into(), "read_file".into(), "edit_file".into()]), "{:?}", done.tools);
        assert!(written(&done.changes).contains(&path), "{prompt}: {:?}", written(&done.changes));
        assert!(done.files[path].contains(text), "{prompt}: {}", done.files[path]);
        assert!(done.text.contains("demo model"), "{}", done.text);
    }
}

#[tokio::test]
async fn another_app_replaces_the_first() {
    let built = turn(&BTreeMap::new(), "todo list").await.files;
    let done = turn(&built, "Build a calculator").await;
    assert!(done.files["index.html"].contains("<h1>Calculator</h1>"));
    assert_eq!(written(&done.changes), ["app.js", "index.html", "styles.css"]);
}

#[tokio::test]
async fn pages_of_users_are_changed() {
    let page = |text: &str| BTreeMap::from([("site/home.html".to_owned(), text.to_owned())]);
    for text in
        ["<html><head></head><body><h1>Mine</h1></body></html>", "<h1>Mine</h1>", "", &format!("<body>{}</body>", "x\n".repeat(30_000))]
    {
        for prompt in ["make it dark", "title: New", "anything"] {
            let files = page(text);
            let done = turn_of(&files, prompt, 200_000).await;
            if text.len() < 50_000 {
                assert_eq!((done.failures.len(), written(&done.changes)), (0, vec!["site/home.html"]), "{prompt} {text}");
            }
        }
    }
    let notes = BTreeMap::from([("notes.md".to_owned(), "x".to_owned())]);
    assert_eq!(turn(&notes, "counter").await.files.len(), 4);
}

/// The answer of the demo to one request of a mode, with the tools that the mode has.
async fn answer_in(mode: Mode, paths: &[&str], request_text: &str) -> String {
    let files: Vec<(&str, &str)> = paths.iter().map(|path| (*path, "x")).collect();
    let agents = Agents::load(None).unwrap().0;
    let agent = agents.default();
    let parts = SystemParts { agent: &agent.body, mode: mode::rules(mode), ..SystemParts::default() };
    let prompt = first_prompt(parts, &Memory::new(&files), request_text);
    let messages = vec![ModelMessage::User { text: prompt.request }];
    let tools = tools::specs(&tools::policy::of_turn(&agent.tools, mode, &[]));
    let request = ModelRequest { tools, ..request(messages, (prompt.system, prompt.tree), 32_000) };
    let events: Vec<ModelEvent> = Demo::new(Duration::ZERO).stream(request.into()).try_collect().await.unwrap();
    assert!(events.iter().all(|event| !matches!(event, ModelEvent::ToolStarted { .. })), "{events:?}");
    events.iter().filter_map(|event| if let ModelEvent::TextDelta { text, .. } = event { Some(text.as_str()) } else { None }).collect()
}

#[tokio::test]
async fn a_question_and_a_plan_are_answered_without_changes() {
    let asked = answer_in(Mode::Ask, &["index.html", "app.js"], "What is here?").await;
    assert!(asked.contains("The project has 2 files: app.js, index.html. A preview opens index.html."), "{asked}");
    let planned = answer_in(Mode::Plan, &[], "Build a calculator").await;
    assert!(planned.contains("\n\n1. Write index.html: the page of a calculator.\n2. Write styles.css"), "{planned}");
    let planned = answer_in(Mode::Plan, &["index.html"], "make it dark").await;
    assert!(planned.contains("1. Read index.html.\n2. Change index.html so that the colours are dark."), "{planned}");
    // A turn that carries out the plan builds what the plan was for.
    let done = turn(&BTreeMap::new(), &mode::with_plan("go", Some(&answer_in(Mode::Plan, &[], "Build a calculator").await))).await;
    assert!(done.files["index.html"].contains("<h1>Calculator</h1>"));
}

#[tokio::test]
async fn the_limit_cuts_the_answer_and_its_call() {
    let done = turn_of(&BTreeMap::new(), "counter", 100).await;
    assert_eq!((done.finish, done.changes.len(), done.steps), (FinishReason::Length, 0, 1));
    let used = done.events.iter().find_map(|event| if let ModelEvent::Usage(usage) = event { Some(usage.output_tokens) } else { None });
    assert!((90..=100).contains(&used.unwrap()), "{used:?}");
}

#[tokio::test]
async fn usage_counts_four_bytes_as_a_token() {
    let mut small = request(vec![ModelMessage::User { text: "x".repeat(40) }], ("s".repeat(4), String::new()), 1_000);
    small.tools.clear();
    let events: Vec<ModelEvent> = Demo::new(Duration::ZERO).stream(small.into()).try_collect().await.unwrap();
    let said: usize = events.iter().map(|event| if let ModelEvent::TextDelta { text, .. } = event { text.len() } else { 0 }).sum();
    let [.., ModelEvent::Usage(usage), ModelEvent::Finished(FinishReason::Stop)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((usage.input_tokens as usize, usage.output_tokens as usize), (11, said.div_ceil(4)));
}

#[tokio::test]
async fn events_come_at_the_configured_pace() {
    let request = request(vec![ModelMessage::User { text: "counter".into() }], (String::new(), String::new()), 32_000);
    let begun = tokio::time::Instant::now();
    let events: Vec<ModelEvent> = Demo::new(Duration::from_millis(1)).stream(request.into()).try_collect().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1) * u32::try_from(events.len()).unwrap());
}
