//! Uncached input tokens of turns with planned contexts, compared with prompts that have every file and the whole conversation. A cluster runs the
//! turns of a session on each project, and a scripted expert answers as the model. It makes the same changes with both prompts, and the same
//! rule says on both sides what a provider has in its cache.

mod expert;
mod prompt;
mod trees;

use std::collections::BTreeMap;

use agent_streaming::count_tokens;
use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use test_support::{Person, model_server::ModelServer};

use self::{
    expert::Expert,
    prompt::Session,
    trees::{Kind, Task, Tree},
};
use crate::{
    environment::{Environment, progress},
    table::Table,
};

/// `BACKLOT_MODEL_WINDOW_TOKENS`: a project whose prompt with every file does not fit has no baseline.
const WINDOW: u32 = 200_000;
/// The goal: the part of the tokens that is saved.
const GOAL: f64 = 0.7;
/// How often the sessions are drawn again for an interval, and the seed.
const DRAWS: usize = 4_000;
const SEED: u64 = 1;
/// Files of one save.
const SAVE: usize = 100;

/// The tokens of one task.
#[derive(Debug, Clone, Copy)]
struct Cost {
    planned: u32,
    full: u32,
}

pub(crate) async fn measure(environment: &Environment, table: &mut Table) -> Result<()> {
    progress("tokens");
    let expert = Expert::default();
    let models = ModelServer::start(expert.script()).await;
    let cluster = environment.cluster("tokens", models.url(), &[]).await?;
    let mut sessions: BTreeMap<Kind, Vec<Vec<Cost>>> = BTreeMap::new();
    for tree in trees::all()? {
        let full: u32 = tree.files.iter().map(|(path, text)| count_tokens(&prompt::file(path, text))).sum();
        if full > WINDOW {
            table.note(format!("tokens: {} has {full} tokens, which no prompt can have; it is not counted", tree.name));
            continue;
        }
        progress(&format!("tokens: {}", tree.name));
        let found = session(&cluster.person, (&expert, &models), &tree).await.with_context(|| tree.name.clone())?;
        table.note(format!(
            "tokens: {}: {} files with {full} tokens, {} tasks, saved {:.0} %",
            tree.name,
            tree.files.len(),
            found.len(),
            saved(&found) * 100.0
        ));
        sessions.entry(tree.kind).or_default().push(found);
    }
    for (kind, sessions) in &sessions {
        table.note(summary(kind.name(), sessions));
    }
    let all: Vec<Vec<Cost>> = sessions.into_values().flatten().collect();
    table.note(format!("{}; the goal is {:.0} %", summary("all projects", &all), GOAL * 100.0));
    Ok(())
}

/// Runs the tasks of a tree one after the other in one project.
async fn session(person: &Person, (expert, models): (&Expert, &ModelServer), tree: &Tree) -> Result<Vec<Cost>> {
    let mut files = tree.files.clone();
    let project = save(person, tree).await?;
    let (mut planned, mut full) = (Session::default(), Session::default());
    let mut costs = Vec::new();
    let mut conversation = Vec::new();
    for Task { request, edited } in &tree.tasks {
        let before = models.requests().len();
        let changed = expert.take(&files, edited)?;
        let turn = person.turn(json!({ "projectId": project, "prompt": request, "agent": "builder" })).await?;
        ensure!(
            turn.outcome() == "turn.completed",
            "{request}: {}",
            turn.frames.last().map(|frame| frame.json().to_string()).unwrap_or_default()
        );
        let requests: Vec<_> = models.requests().split_off(before).into_iter().map(|request| request.body).collect();
        let plain = prompt::plain(&requests, &files, &conversation, request)?;
        files.extend(changed);
        costs.push(Cost {
            planned: requests.iter().map(|request| planned.uncached(prompt::segments(request))).sum(),
            full: plain.into_iter().map(|request| full.uncached(request)).sum(),
        });
        conversation.extend([request.clone(), expert::ANSWER.to_owned()]);
    }
    let stored = person.files(&project).await?;
    ensure!(files.iter().all(|(path, text)| stored.get(path) == Some(text)), "the final files are others");
    Ok(costs)
}

async fn save(person: &Person, tree: &Tree) -> Result<String> {
    let files: Vec<_> = tree.files.iter().collect();
    let mut project = String::new();
    for files in files.chunks(SAVE) {
        let changes: Vec<_> = files.iter().map(|(path, text)| json!({ "path": path, "write": { "text": text } })).collect();
        let saved = person.post("/api/projects/save", json!({ "draftId": tree.name.replace(['/', '.'], "-"), "changes": changes })).await?;
        saved["project"]["id"].as_str().context("no project")?.clone_into(&mut project);
    }
    Ok(project)
}

/// The part of the tokens that tasks save together.
fn saved<'a>(costs: impl IntoIterator<Item = &'a Cost>) -> f64 {
    let sums = costs.into_iter().fold((0.0, 0.0), |(planned, full), cost| (planned + f64::from(cost.planned), full + f64::from(cost.full)));
    1.0 - sums.0 / sums.1
}

fn summary(of: &str, sessions: &[Vec<Cost>]) -> String {
    let costs = || sessions.iter().flatten();
    let total = |tokens: fn(&Cost) -> u32| costs().map(|cost| u64::from(tokens(cost))).sum::<u64>();
    let (low, high) = interval(sessions);
    let cheaper = costs().filter(|cost| cost.planned < cost.full).count();
    format!(
        "tokens: {of}: {} sessions of {} tasks, {} uncached input tokens with a plan, {} with every file; saved {:.1} % ({:.1} to {:.1}); {cheaper} tasks \
            were cheaper",
        sessions.len(),
        costs().count(),
        total(|cost| cost.planned),
        total(|cost| cost.full),
        saved(costs()) * 100.0,
        low * 100.0,
        high * 100.0
    )
}

/// The interval of 95 % of what is saved, by drawing whole sessions again: the tasks of one depend on each other.
fn interval(sessions: &[Vec<Cost>]) -> (f64, f64) {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut draw = || saved((0..sessions.len()).flat_map(|_| &sessions[random.random_range(0..sessions.len())]));
    let mut drawn: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
    drawn.sort_by(f64::total_cmp);
    (drawn[DRAWS / 40], drawn[DRAWS - 1 - DRAWS / 40])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_has_what_is_saved() {
        let session = |planned, full| vec![Cost { planned, full }; 3];
        let same = interval(&[session(1, 2), session(10, 20)]);
        assert!((same.0 - 0.5).abs() < 1e-9 && (same.1 - 0.5).abs() < 1e-9, "{same:?}");
        let mixed = [session(1, 10), session(9, 10), session(5, 10), session(4, 10)];
        let (low, high) = interval(&mixed);
        let middle = saved(mixed.iter().flatten());
        assert!(low < middle && middle < high && low >= 0.1 && high <= 0.9, "{low} {middle} {high}");
        assert_eq!(interval(&mixed), (low, high), "the same in each run");
    }
}
