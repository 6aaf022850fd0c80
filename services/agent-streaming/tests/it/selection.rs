//! The catalogue of agents, and the labelled requests that measure their selection. The requests of the part `test` were written by somebody
//! who did not know the texts of the agents. `bench.sh only selection` prints the same figures with intervals.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::PathBuf,
};

use agent_streaming::Catalogue;
use proto::agent_streaming::AgentSelected;

const REQUESTS: &str = include_str!("../requests.tsv");
/// The number of built-in agents.
const AGENTS: usize = 154;
/// The least part of the English requests whose turn gets the right agent, in percent.
const SELECTED: usize = 86;
/// The largest part of the 5-word sequences of a text that another text may have, too, in percent.
const MAX_SHARED: usize = 6;

/// Requests of the part `test` by stratum: the right agent, empty if none fits, and the text.
pub(crate) fn requests() -> BTreeMap<&'static str, Vec<(&'static str, &'static str)>> {
    let mut strata: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in REQUESTS.lines().skip(1) {
        let [part, stratum, agent, request] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("not four fields: {line}") };
        if part == "test" {
            strata.entry(stratum).or_default().push((agent, request));
        }
    }
    strata
}

pub(crate) fn percent(part: usize, all: usize) -> usize {
    part * 100 / all
}

#[test]
fn requests_get_the_right_agent() {
    let (catalogue, _) = Catalogue::load(None).unwrap();
    let strata = requests();
    let english = &strata["english"];
    let selections: Vec<_> = english.iter().map(|(agent, request)| (agent, catalogue.select(request))).collect();
    let right = selections.iter().filter(|(agent, selection)| selection.agent == **agent).count();
    assert!(percent(right, english.len()) >= SELECTED, "{right} of {} get the right agent", english.len());
    let rank = |agent: &str, selection: &AgentSelected| selection.candidates.iter().position(|candidate| candidate.agent == agent);
    let ranks: Vec<_> = selections.iter().map(|(agent, selection)| rank(agent, selection)).collect();
    let within = |places| ranks.iter().filter(|rank| rank.is_some_and(|rank| rank < places)).count();
    assert!(percent(within(1), english.len()) >= 85, "{} of {} first", within(1), english.len());
    assert!(percent(within(3), english.len()) >= 95, "{} of {} among the first three", within(3), english.len());
    let no_fit = &strata["no-fit"];
    let taken: Vec<_> = no_fit
        .iter()
        .map(|(_, request)| (catalogue.select(request), request))
        .filter(|(selection, _)| selection.rule == "matched")
        .collect();
    assert!(taken.len() * 100 <= no_fit.len() * 5, "{} of {} were taken: {taken:?}", taken.len(), no_fit.len());
}

/// What people type first: the requests of the documentation and of the first page, and the names of common apps.
#[test]
fn first_requests_get_their_agent() {
    let (catalogue, _) = Catalogue::load(None).unwrap();
    for (request, agent) in [
        ("a to-do list", "todo-list"),
        ("a to do list", "todo-list"),
        ("A to-do list with a progress bar and a button for finished tasks", "todo-list"),
        ("make it dark", "dark-mode-theming"),
        ("a calculator", "calculator-app"),
        ("a blog", "blog-site"),
        ("a portfolio", "portfolio-site"),
        ("a chat", "chat-interface"),
        ("a dashboard", "kpi-dashboard"),
        ("a pricing page", "pricing-page"),
        ("an e-commerce shop", "online-store"),
        ("an ecommerce shop", "online-store"),
        ("a weather app", "weather-app"),
        ("hello", "builder"),
        ("make it better", "builder"),
        ("continue", "builder"),
        ("a website", "builder"),
        ("change the title to Chores", "builder"),
    ] {
        assert_eq!(catalogue.select(request).agent, agent, "{request}");
    }
}

#[test]
fn every_agent_has_four_requests_of_its_own() {
    let (catalogue, _) = Catalogue::load(None).unwrap();
    let strata = requests();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (agent, _) in strata.values().flatten() {
        *counts.entry(agent).or_default() += 1;
    }
    let names: Vec<_> = catalogue.agents().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), AGENTS);
    for name in names.into_iter().filter(|name| *name != "builder") {
        assert!(counts.get(name).copied().unwrap_or_default() >= 4, "{name} has too few requests");
    }
    assert!(counts[""] >= 100 && REQUESTS.lines().count() > 716);
}

/// The files of the built-in agents by name.
fn files() -> BTreeMap<String, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("agents");
    let files =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|ext| ext == "md"));
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())).collect()
}

#[test]
fn every_file_has_the_whole_front_matter_and_known_tools() {
    let (_, notes) = Catalogue::load(None).unwrap();
    assert_eq!(notes, Vec::<String>::new(), "an unknown tool, model or field");
    for (name, text) in files() {
        let front =
            text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).unwrap_or_else(|| panic!("{name}: no front matter")).0;
        for field in ["name", "description", "category", "tags", "tools", "model", "examples", "version"] {
            assert!(front.lines().any(|line| line.starts_with(&format!("{field}:"))), "{name} has no {field}");
        }
        assert!(front.contains(&format!("name: {name}\n")), "{name} has another name");
        let examples = front.lines().filter(|line| line.trim_start().starts_with("- ")).count();
        assert!((3..=5).contains(&examples), "{name} has {examples} examples");
    }
}

#[test]
fn no_two_agents_share_their_text() {
    let sequences = |text: &str| {
        let body = text.splitn(3, "---\n").nth(2).unwrap_or_default().to_lowercase();
        let words: Vec<&str> = body.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty()).collect();
        words.windows(5).map(|words| words.join(" ")).collect::<HashSet<_>>()
    };
    let texts: Vec<(String, HashSet<String>)> = files().iter().map(|(name, text)| (name.clone(), sequences(text))).collect();
    let mut shared = BTreeSet::new();
    for (at, (name, one)) in texts.iter().enumerate() {
        for (other_name, other) in &texts[at + 1..] {
            let common = one.intersection(other).count();
            if percent(common, one.len().min(other.len()).max(1)) > MAX_SHARED {
                shared.insert(format!("{name} and {other_name}: {common} sequences"));
            }
        }
    }
    assert_eq!(shared, BTreeSet::new());
}
