//! `backlot agents` and `backlot skills`: the catalogue, why a request gets its agent, and whether the selection of a turn comes out again.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::PathBuf,
};

use agent_streaming::Catalogue;
use anyhow::{Context as _, Result, bail};
use chassis::{
    config::{Env, SettingDoc},
    context::Context,
};
use clap::Subcommand;
use proto::agent_streaming::{
    AgentChoice, AgentSelected, ReplaySelectionRequest, agent_streaming_service_client::AgentStreamingServiceClient,
};

use crate::{
    operator::{Access, refusal},
    role::Role,
};

const DEFAULT_URL: &str =
    "the address in <BACKLOT_DATA_DIR>/endpoints.json, which a running `backlot up` writes, else http://127.0.0.1:9091";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the agents by name, and say what of the files in BACKLOT_AGENTS_DIR was ignored.
    List {
        /// Only agents that have all of these words, in any form or as the beginning of a word.
        words: Vec<String>,
        /// Only agents of this category.
        #[arg(long, value_name = "NAME", default_value = "")]
        category: String,
    },
    /// Say which agent a turn with this prompt would get, and why.
    Explain {
        /// What a person would ask for.
        #[arg(required = true)]
        prompt: Vec<String>,
    },
    /// Select the agent of a turn again, from what was stored with it. Exits with 1 if another decision comes out.
    Replay {
        /// The id of the turn.
        turn: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SkillsCommand {
    /// List the skills by name, and say what of the files in BACKLOT_AGENTS_DIR was ignored.
    List,
}

/// The settings of the command for skills.
#[must_use]
pub(crate) fn skill_settings() -> Vec<SettingDoc> {
    let mut env = Env::describe();
    folder(&mut env);
    env.settings().to_vec()
}

/// Runs a command for skills.
///
/// # Errors
/// The environment is invalid, or the folder cannot be read.
pub(crate) fn skills(env: Env, SkillsCommand::List: SkillsCommand) -> Result<()> {
    list_skills(&mut io::stdout().lock(), &catalogue(env)?)
}

fn list_skills(out: &mut impl Write, (catalogue, notes): &(Catalogue, Vec<String>)) -> Result<()> {
    for (name, description) in catalogue.skills() {
        writeln!(out, "{name}: {description}")?;
    }
    print_notes(notes)
}

/// Prints what was ignored to standard error, so that a pipe has the list alone.
fn print_notes(notes: &[String]) -> Result<()> {
    let mut out = io::stderr().lock();
    for note in notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

fn folder(env: &mut Env) -> Option<PathBuf> {
    env.optional("BACKLOT_AGENTS_DIR", "folder of agents and skills (Markdown with front matter) in addition to the built-in ones")
}

/// Only `replay` calls the role, so only it needs the cluster secret.
fn access(env: &mut Env) -> Access {
    Access::read(env, Role::AgentStreaming, "BACKLOT_AGENT_STREAMING_URL", (DEFAULT_URL, "where agent-streaming listens"))
}

/// The settings that the commands read.
#[must_use]
pub(crate) fn settings() -> Vec<SettingDoc> {
    let mut env = Env::describe();
    folder(&mut env);
    access(&mut env);
    env.settings().to_vec()
}

/// Runs a command.
///
/// # Errors
/// The environment is invalid, the folder cannot be read, agent-streaming does not answer or refuses, or another decision comes out.
pub(crate) fn command(mut env: Env, command: Command) -> Result<()> {
    let mut out = io::stdout().lock();
    let turn = match command {
        Command::List { words, category } => return list(&mut out, &catalogue(env)?, (&words.join(" "), &category)),
        Command::Explain { prompt } => return explain(&mut out, &catalogue(env)?.0.select(&prompt.join(" "))),
        Command::Replay { turn } => turn,
    };
    let access = access(&mut env);
    env.check()?;
    replay(&mut out, &access, turn)
}

/// The agents, and what of their files was ignored.
fn catalogue(mut env: Env) -> Result<(Catalogue, Vec<String>)> {
    let folder = folder(&mut env);
    env.check()?;
    Catalogue::load(folder.as_deref()).context("the folder of BACKLOT_AGENTS_DIR cannot be read")
}

/// Lists the agents that have all words of a query and a category, each empty for all.
fn list(out: &mut impl Write, (catalogue, notes): &(Catalogue, Vec<String>), (query, category): (&str, &str)) -> Result<()> {
    let categories: BTreeSet<&str> = catalogue.find("", "").map(|(_, category, _)| category).filter(|name| !name.is_empty()).collect();
    if !category.is_empty() && !categories.contains(category) {
        bail!("no agent has the category {category:?}; there are {}", categories.into_iter().collect::<Vec<_>>().join(", "));
    }
    let mut is_empty = true;
    for (name, category, description) in catalogue.find(query, category) {
        is_empty = false;
        let category = if category.is_empty() { String::new() } else { format!(" ({category})") };
        writeln!(out, "{name}{category}: {description}")?;
    }
    if is_empty {
        writeln!(io::stderr().lock(), "no agent has all of these words")?;
    }
    print_notes(notes)
}

fn explain(out: &mut impl Write, selection: &AgentSelected) -> Result<()> {
    let reason = match selection.rule.as_str() {
        "named" => "the request named it",
        "matched" => "it is clearly the best candidate",
        "chosen" => "a model chose it among the best candidates, which are too close to each other",
        "close" => "the default: the best candidates are too close to each other",
        "weak" => "the default: no agent matches enough",
        _ => "the default",
    };
    writeln!(out, "{} ({reason})", selection.agent)?;
    if let Some(AgentChoice { model, agent, error, .. }) = &selection.choice {
        let answer = match (error.as_str(), agent.as_str()) {
            ("", "") => "none of the candidates",
            ("", agent) => agent,
            (error, _) => error,
        };
        writeln!(out, "{model}: {answer}")?;
    }
    writeln!(out, "margin {}, catalogue {}", decimal(selection.margin), selection.catalogue)?;
    for candidate in &selection.candidates {
        let terms: Vec<_> = candidate.terms.iter().map(|term| format!("{} {}", term.term, decimal(term.weight))).collect();
        writeln!(out, "  {} {}: {}", decimal(candidate.score), candidate.agent, terms.join(", "))?;
    }
    Ok(())
}

/// A number in thousandths with its point.
fn decimal(thousandths: u32) -> String {
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}

fn replay(out: &mut impl Write, access: &Access, turn: String) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let answer = runtime.block_on(async {
        let mut client = AgentStreamingServiceClient::new(access.channel()?);
        let request = Context::background().request(ReplaySelectionRequest { turn_id: turn });
        client.replay_selection(request).await.map_err(refusal)
    })?;
    let answer = answer.into_inner();
    explain(out, &answer.recorded.unwrap_or_default())?;
    if answer.is_same {
        writeln!(out, "the same decision comes out again")?;
        return Ok(());
    }
    writeln!(out, "another decision comes out:")?;
    explain(out, &answer.replayed.unwrap_or_default())?;
    bail!("the recorded and the repeated decision differ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_skills_are_listed() {
        let mut text = Vec::new();
        list_skills(&mut text, &Catalogue::load(None).unwrap()).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().count() == 12 && text.starts_with("accessibility-audit: "), "{text}");
    }

    #[test]
    fn a_decision_is_explained_with_its_terms() {
        let (catalogue, _) = Catalogue::load(None).unwrap();
        let mut text = Vec::new();
        explain(&mut text, &catalogue.select("a kanban board with swimlanes")).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("kanban-board (it is clearly the best candidate)\nmargin 0."), "{text}");
        assert!(text.contains("kanban"), "{text}");
        for (agent, error, line) in [
            ("kanban-board", "", "\nopenai/small: kanban-board\n"),
            ("", "", "\nopenai/small: none of the candidates\n"),
            ("", "no answer within 5s", "\nopenai/small: no answer within 5s\n"),
        ] {
            let choice = AgentChoice { model: "openai/small".into(), agent: agent.into(), error: error.into(), usage: None };
            let mut text = Vec::new();
            explain(&mut text, &AgentSelected { choice: Some(choice), ..AgentSelected::default() }).unwrap();
            assert!(String::from_utf8(text).unwrap().contains(line), "{line}");
        }
        assert_eq!((decimal(0), decimal(1_020), decimal(7)), ("0.000".to_owned(), "1.020".to_owned(), "0.007".to_owned()));
    }
}
