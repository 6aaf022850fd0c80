//! What the model gets of a project and of its conversation.

use proto::{
    agent_streaming::{
        ContextForm, ContextPlanned, ContextReason, OutlinesStatus, PlanTurnRequest, StartTurnRequest, TurnEvent, TurnMode,
        turn_event::Kind,
    },
    error::{ErrorCode, Fault},
};
use serde_json::Value;

use crate::harness::{Cluster, Person, failure, prompt, save, types, upload};

const CART: &str = "export function cartTotal(items) {\n  return items.length;\n}\n";

pub(crate) fn planned(events: &[TurnEvent]) -> &ContextPlanned {
    let plan = events.iter().find_map(|event| if let Some(Kind::ContextPlanned(plan)) = &event.kind { Some(plan) } else { None });
    plan.unwrap()
}

/// The text of all messages of a request.
fn text(messages: &Value) -> String {
    messages.as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

async fn parts(cluster: &Cluster) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM prompt_parts").fetch_one(&mut cluster.turns_db().await).await.unwrap()
}

async fn shop(person: &Person) -> String {
    save(person, "d", &[("index.html", "<h1>Shop</h1>\n"), ("src/cart.js", CART), ("src/secret.js", "let hidden;\n")]).await.0
}

#[tokio::test]
async fn the_plan_is_in_the_log_before_the_model_gets_the_files() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    shop(&person).await;
    let (_, events) = person.run(prompt("d", "The cart is wrong.\nSAY fixed")).await;
    let at = |kind: &str| types(&events).iter().position(|found| *found == kind).unwrap();
    assert!(at("turn.started") < at("context.planned") && at("context.planned") < at("step.started"));
    let plan = planned(&events);
    assert_eq!((plan.files_total, plan.omitted_files, plan.counter.as_str()), (3, 0, "o200k_base"));
    assert_eq!(plan.outlines(), OutlinesStatus::Unavailable, "there is no compile");
    let [file] = plan.files.as_slice() else { panic!("{plan:?}") };
    assert_eq!((file.path.as_str(), file.form()), ("src/cart.js", ContextForm::Full));
    assert_eq!(file.reasons, [i32::from(ContextReason::Request)]);
    let usage = events.iter().rev().find_map(|event| if let Some(Kind::Usage(usage)) = &event.kind { Some(*usage) } else { None });
    let usage = usage.unwrap();
    assert_eq!((usage.context_tokens, usage.full_context_tokens), (plan.prompt_tokens, plan.full_prompt_tokens), "one request");
    assert!(plan.full_prompt_tokens > 0);
    assert!(plan.tokens > file.tokens && plan.tokens <= plan.budget_tokens && plan.prompt_tokens > plan.tokens);

    let sent = text(&cluster.model.requests("SAY fixed")[0]);
    assert!(sent.contains("<project_files count=\"3\">\nindex.html\nsrc/cart.js\nsrc/secret.js\n"), "{sent}");
    assert!(sent.contains(&format!("src/cart.js, lines 1 to 3 of 3:\n{CART}")), "{sent}");
    assert!(!sent.contains("let hidden") && sent.ends_with("The cart is wrong.\nSAY fixed"), "{sent}");
    assert_eq!(parts(&cluster).await, 0, "the turn has ended");
    let turn = person.start(prompt("d", "HANG")).await;
    person.follow_until(&turn.id, 0, |event| matches!(event.kind, Some(Kind::TextDelta(_)))).await.1.unwrap();
    assert_eq!(parts(&cluster).await, 4, "the turn hangs");
    person.turns.cancel_turn(proto::agent_streaming::CancelTurnRequest { turn_id: turn.id }).await.unwrap();
    assert_eq!(parts(&cluster).await, 0, "the turn is cancelled");
}

#[tokio::test]
async fn files_that_a_turn_has_changed_come_with_the_next_request() {
    let cluster = Cluster::start(&[("BACKLOT_CONVERSATION_TOKENS", "60")]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    shop(&person).await;
    person.run(prompt("d", "WRITE notes/today.txt remember")).await;
    let (_, events) = person.run(prompt("d", "SAY yes")).await;
    let plan = planned(&events);
    let recent = plan.files.iter().find(|file| file.path == "notes/today.txt").unwrap();
    assert_eq!(recent.reasons, [i32::from(ContextReason::Recent)]);
    assert_eq!(plan.conversation.unwrap().turns, 1);
    // The mark is exceeded now, and the first turn becomes one line.
    person.run(prompt("d", &format!("{}\nSAY long", "word ".repeat(50)))).await;
    let (_, events) = person.run(prompt("d", "SAY end")).await;
    let conversation = planned(&events).conversation.unwrap();
    assert!(conversation.folded_turns >= 1 && conversation.turns <= 2, "{conversation:?}");
    let sent = text(&cluster.model.requests("SAY end")[0]);
    assert!(sent.contains("- WRITE notes/today.txt remember (completed; changed notes/today.txt)\n"), "{sent}");
}

#[tokio::test]
async fn pinned_files_are_sent_or_the_turn_fails() {
    let cluster = Cluster::start(&[("BACKLOT_CONTEXT_TOKENS", "400")]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    shop(&person).await;
    save(&person, "d", &[("long.txt", &"many words ".repeat(400))]).await;
    let pins = |text: &str, pinned: &[&str], excluded: &[&str]| StartTurnRequest {
        pinned_paths: pinned.iter().map(|path| (*path).to_owned()).collect(),
        excluded_paths: excluded.iter().map(|path| (*path).to_owned()).collect(),
        ..prompt("d", text)
    };
    let (_, events) = person.run(pins("SAY pinned", &["src/secret.js"], &["index.html"])).await;
    assert_eq!(planned(&events).files[0].reasons, [i32::from(ContextReason::Pinned)]);
    let sent = text(&cluster.model.requests("SAY pinned")[0]);
    assert!(sent.contains("let hidden") && !sent.contains("\nindex.html\n"), "{sent}");

    for (path, reason) in [("missing.js", "PIN_MISSING"), ("long.txt", "PROMPT_TOO_LONG")] {
        let turn = person.start(pins(&format!("SAY {path}"), &[path], &[])).await;
        assert_eq!(failure(&person.see(&turn.id).await), reason, "{path}");
        assert!(cluster.model.requests(&format!("SAY {path}")).is_empty(), "the model is not called");
    }
    let refused = person.try_start(pins("SAY no", &["../x"], &[])).await.unwrap_err();
    assert_eq!((refused.code, refused.violations[0].field.as_str()), (ErrorCode::InvalidArgument, "pinned_paths[0]"));
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_not_sent() {
    let cluster = Cluster::start(&[("BACKLOT_MODEL_WINDOW_TOKENS", "17000")]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let turn = person.start(prompt("d", "SAY hello")).await;
    let events = person.see(&turn.id).await;
    assert_eq!(failure(&events), "PROMPT_TOO_LONG");
    let Some(Kind::TurnFailed(failed)) = &events.last().unwrap().kind else { panic!("{events:?}") };
    assert!(failed.message.contains("the longest part is the system prompt"), "{}", failed.message);
    assert_eq!(cluster.model.calls(), 0);
}

#[tokio::test]
async fn a_plan_without_a_turn_is_the_plan_of_the_turn() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let project = shop(&person).await;
    person.run(prompt("d", "WRITE notes.txt remember")).await;
    let text = "The cart is wrong.\nSAY fixed";
    let request = PlanTurnRequest { project_id: project.clone(), prompt: text.into(), ..PlanTurnRequest::default() };
    let planned_only = person.turns.plan_turn(request.clone()).await.unwrap().into_inner();
    assert_eq!(cluster.model.calls(), 2, "only the turn has called the model");
    let (turn, events) = person.run(prompt("d", text)).await;
    assert_eq!(planned_only.context.as_ref(), Some(planned(&events)));
    assert_eq!((planned_only.model, planned_only.selection.unwrap().agent), (turn.model, turn.agent));
    assert!(!planned_only.revision.is_empty());

    let refused = |request: PlanTurnRequest| {
        let mut turns = person.turns.clone();
        async move { Fault::from_status(&turns.plan_turn(request).await.unwrap_err()) }
    };
    let missing = refused(PlanTurnRequest { pinned_paths: vec!["missing.js".into()], ..request.clone() }).await;
    assert_eq!((missing.reason.as_str(), missing.violations[0].field.as_str()), ("INVALID_FIELD", "pinned_paths"));
    let other = cluster.user().at(&replica);
    let denied = Fault::from_status(&other.turns.clone().plan_turn(request).await.unwrap_err());
    assert_eq!(denied.reason, "PROJECT_NOT_FOUND");
}

/// What a turn and a plan without a turn say about the same request.
async fn both(person: &mut Person, request: StartTurnRequest, project: &str) -> (ContextPlanned, ContextPlanned) {
    let StartTurnRequest { prompt, pinned_paths, plan_turn_id, .. } = request.clone();
    let project_id = project.to_owned();
    let asked = PlanTurnRequest { project_id, prompt, pinned_paths, plan_turn_id, ..PlanTurnRequest::default() };
    let planned_only = person.turns.plan_turn(asked).await.unwrap().into_inner().context.unwrap();
    let (_, events) = person.run(request).await;
    (planned_only, planned(&events).clone())
}

#[tokio::test]
async fn a_plan_knows_the_limits_of_the_project() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    // The largest text of the person's plan, and one that is too large. Both are small enough for a project of another plan.
    let text = |bytes: usize| "cart\n".repeat(bytes / 5);
    let (small, large) = (text(102_400), text(110_000));
    let (project, _) = save(&person, "d", &[("cart-small.txt", &small), ("index.html", "<h1>Shop</h1>")]).await;
    for path in ["cart-large.txt", "AGENTS.md", "pinned/a.txt"] {
        upload(&person, &project, path, large.as_bytes()).await;
    }
    let (planned_only, turn) = both(&mut person, prompt("d", "The cart is wrong.\nSAY fixed"), &project).await;
    assert_eq!(planned_only, turn);
    let forms: Vec<_> = turn.files.iter().map(|file| (file.path.as_str(), file.form())).collect();
    assert_eq!(forms, [("cart-small.txt", ContextForm::Ranged)]);
    let paths = ["pinned".to_owned()];
    let request =
        PlanTurnRequest { project_id: project, prompt: "SAY no".into(), pinned_paths: paths.into(), ..PlanTurnRequest::default() };
    let refused = Fault::from_status(&person.turns.plan_turn(request).await.unwrap_err());
    assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", "pinned_paths"));
    assert!(refused.violations[0].description.contains("pinned/a.txt is no text, or too large"), "{refused:?}");
}

#[tokio::test]
async fn the_words_of_the_person_decide_before_those_of_the_plan() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let files = ["src/cart.js", "src/header.js", "src/steps.js", "src/plan.js"].map(|path| (path, "let a;\n"));
    let (project, _) = save(&person, "d", &files).await;
    let long = format!("SAY 1. Mend the header. {}", (0..500).map(|n| format!("word{n} ")).collect::<String>());
    let (plan, _) = person.run(StartTurnRequest { mode: TurnMode::Plan.into(), ..prompt("d", &long) }).await;
    let request = StartTurnRequest { plan_turn_id: plan.id, ..prompt("d", "The cart is wrong.\nSAY fixed") };
    let (planned_only, turn) = both(&mut person, request, &project).await;
    assert_eq!(planned_only, turn);
    assert_eq!(turn.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["src/cart.js", "src/header.js"]);
}

#[tokio::test]
async fn a_short_conversation_is_told_from_its_beginning() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let project = shop(&person).await;
    // 200 messages.
    converse(&cluster, &project, 100).await;
    let (planned_only, turn) = both(&mut person, prompt("d", "SAY fixed"), &project).await;
    assert_eq!(planned_only, turn);
    let conversation = turn.conversation.unwrap();
    assert_eq!((conversation.turns + conversation.folded_turns, conversation.omitted_turns), (100, 0), "{conversation:?}");
    assert!(text(&cluster.model.requests("SAY fixed")[0]).contains("- Please change part 1 of the shop"));
}

/// Stores the messages of turns that have ended, as if the turns had been made.
pub(crate) async fn converse(cluster: &Cluster, project: &str, turns: i32) {
    let insert = "INSERT INTO messages (project_id, id, turn_id, role, text, user_id)
        SELECT p.id, ('01900000-0000-7000-8000-' || lpad(to_hex(2 * n + role), 12, '0'))::uuid,
            ('01900000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, role,
            CASE role WHEN 1 THEN 'Please change part ' || n || ' of the shop ' ELSE 'Part ' || n || ' is changed. ' END || repeat('word ', 200), p.owner_id
        FROM projects p, generate_series(1, $2) AS n, generate_series(1, 2) AS role WHERE p.id::text = $1";
    let inserted = sqlx::query(insert).bind(project).bind(turns).execute(&mut cluster.files_db().await).await.unwrap();
    assert_eq!(inserted.rows_affected(), 2 * u64::try_from(turns).unwrap());
}

#[tokio::test]
async fn two_thousand_files_and_five_hundred_turns_fit_into_the_window() {
    let cluster = Cluster::start(&[("BACKLOT_MODEL_WINDOW_TOKENS", "64000")]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let files: Vec<(String, String)> = (0..2_000)
        .map(|n| {
            let path = format!("src/section-{}/part-{n}.js", n % 50);
            (
                path,
                format!(
                    "import {{ next }} from './part-{}.js';\nexport function part{n}(cart) {{\n  return next(cart) + {n};\n}}\n",
                    n + 50
                ),
            )
        })
        .collect();
    let mut project = String::new();
    for files in files.chunks(200) {
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        project = save(&person, "d", &files).await.0;
    }
    converse(&cluster, &project, 500).await;
    let (_, events) = person.run(prompt("d", "The sum of part 1234 is wrong.\nSAY fixed")).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.completed");
    let plan = planned(&events);
    let conversation = plan.conversation.unwrap();
    let turns = conversation.turns + conversation.folded_turns + conversation.omitted_turns;
    assert_eq!((plan.files_total, turns), (2_000, 500), "{conversation:?}");
    assert!(conversation.folded_turns > 50 && conversation.turns < 100, "{conversation:?}");
    assert!(plan.tokens <= plan.budget_tokens && plan.prompt_tokens + 16_384 <= 64_000, "{} tokens", plan.prompt_tokens);
    assert!(plan.full_prompt_tokens > 200_000, "{} tokens without a plan", plan.full_prompt_tokens);
    assert!(
        plan.files.iter().any(|file| file.path == "src/section-34/part-1234.js" && file.form() == ContextForm::Full),
        "{:?}",
        plan.files
    );
    let sent = text(&cluster.model.requests("SAY fixed")[0]);
    assert!(sent.contains("function part1234") && sent.contains("Please change part 500 of the shop"), "{} bytes", sent.len());
}
