//! Parses the file of an agent. Files of other coding agents are taken as far as they go: what is missing or unknown is a note, and only a file
//! without instructions is refused.

pub(super) mod tools;

use super::{Agent, Model};
use crate::{
    digest::short_sha256,
    model::front_matter::{self, FrontMatter, cut_description, line},
};

/// The longest name of an agent in bytes.
const MAX_NAME: usize = 64;
/// How many characters of the text describe an agent that has no description.
const MAX_SUMMARY: usize = 300;
/// The largest number and the longest text, in characters, of tags and examples.
const TAGS: (usize, usize) = (32, 64);
const EXAMPLES: (usize, usize) = (16, 300);
const MAX_CATEGORY: usize = 64;
/// Names that are parts of routes.
const RESERVED: [&str; 1] = ["select"];
/// Bytes of a content version.
const VERSION_BYTES: usize = 16;

/// An agent, and what of its file was ignored or guessed, a sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed {
    pub agent: Agent,
    pub notes: Vec<String>,
}

/// Reads an agent from the text of its file. `stem` is the name of the file without its extension.
///
/// # Errors
/// The file has no front matter or no text after it, so that it is not an agent, or it has control characters.
pub(super) fn parse(stem: &str, text: &str) -> Result<Parsed, String> {
    front_matter::check_characters(text)?;
    let (front, body) = front_matter::split(text).map_err(|problem| problem.to_string())?;
    if body.is_empty() {
        return Err("has no text after its front matter".to_owned());
    }
    let mut notes = Vec::new();
    let front = FrontMatter::read(&front, &mut notes);
    let name = name(front.name.as_deref(), stem, &mut notes)?;
    let description = description(front.description, &body, &mut notes);
    let mut agent = Agent {
        name,
        description,
        category: front.category.unwrap_or_default().chars().take(MAX_CATEGORY).collect(),
        tags: bounded(front.tags, TAGS, "tags", &mut notes),
        examples: bounded(front.examples, EXAMPLES, "examples", &mut notes),
        model: model(front.model.as_deref(), &mut notes),
        tools: tools::known(&front.tools, &mut notes),
        version: String::new(),
        body,
    };
    agent.version = version(&agent);
    Ok(Parsed { agent, notes })
}

/// A hash of everything that the agent is, in hexadecimal digits.
///
/// # Panics
/// Never: an agent consists of texts.
fn version(agent: &Agent) -> String {
    let text = serde_json::to_vec(agent).expect("an agent is JSON");
    short_sha256(text, VERSION_BYTES)
}

/// The name of the front matter, else that of the file, in the characters that names may have.
fn name(given: Option<&str>, stem: &str, notes: &mut Vec<String>) -> Result<String, String> {
    let given = given.filter(|name| !name.is_empty());
    if given.is_none() {
        notes.push(format!("has no name; its file names it {stem:?}"));
    }
    let wanted = given.unwrap_or(stem);
    let mut name = String::new();
    for c in wanted.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            name.push(c);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_matches('-');
    let name = name.get(..MAX_NAME).unwrap_or(name).trim_end_matches('-').to_owned();
    if name.is_empty() {
        return Err(format!("its name {wanted:?} has no letter a to z and no digit"));
    }
    if RESERVED.contains(&name.as_str()) {
        return Err(format!("its name {name:?} is reserved"));
    }
    if given.is_some_and(|given| given != name) {
        notes.push(format!("its name {wanted:?} becomes {name:?}: lower-case letters, digits and -, at most {MAX_NAME}"));
    }
    Ok(name)
}

/// The description, else the first paragraph of the text.
fn description(given: Option<String>, body: &str, notes: &mut Vec<String>) -> String {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        notes.push("has no description; the first paragraph of its text describes it".to_owned());
        let paragraph = body.split("\n\n").map(str::trim).find(|part| !part.is_empty() && !part.starts_with('#')).unwrap_or(body);
        return line(paragraph).chars().take(MAX_SUMMARY).collect();
    };
    cut_description(given, notes)
}

/// The model: `provider/model`, or a class. Names of classes of other products are understood.
fn model(given: Option<&str>, notes: &mut Vec<String>) -> Model {
    match given.unwrap_or_default() {
        "" | "inherit" | "default" => Model::Default,
        "small" | "haiku" | "fast" => Model::Small,
        "standard" | "sonnet" => Model::Default,
        "large" | "opus" => Model::Large,
        named if named.contains('/') => Model::Named(named.to_owned()),
        other => {
            notes.push(format!("its model {other:?} is not provider/model and not a class; the default model of the cluster answers"));
            Model::Default
        }
    }
}

/// At most `max` texts of at most `length` characters.
fn bounded(mut list: Vec<String>, (max, length): (usize, usize), what: &str, notes: &mut Vec<String>) -> Vec<String> {
    if list.len() > max {
        notes.push(format!("only the first {max} of its {} {what} count", list.len()));
        list.truncate(max);
    }
    for text in list.iter_mut().filter(|text| text.chars().count() > length) {
        notes.push(format!("one of its {what} is cut after {length} characters"));
        *text = text.chars().take(length).collect();
    }
    list
}

#[cfg(test)]
mod tests;
