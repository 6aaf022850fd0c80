//! Parses the file of an agent.

use std::path::Path;

use serde::Deserialize;

use super::Agent;
use crate::workspace::tools::catalogue::NAMES;

/// Names of our tools in other coding agents.
const ALIASES: &[(&str, &str)] = &[
    ("ls", "list_files"),
    ("glob", "list_files"),
    ("read", "read_file"),
    ("grep", "search"),
    ("write", "write_file"),
    ("edit", "edit_file"),
    ("multiedit", "edit_file"),
];

/// Unknown fields are ignored.
#[derive(Deserialize)]
struct FrontMatter {
    name: String,
    description: String,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    tools: Option<Tools>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Tools {
    List(Vec<String>),
    Line(String),
}

/// Reads an agent from the text of its file.
pub(super) fn parse(file: &Path, text: &str) -> Result<Agent, String> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let rest = text.strip_prefix("---\n").ok_or("does not begin with front matter between two lines of ---")?;
    let (front, body) = rest
        .split_once("\n---\n")
        .or_else(|| Some((rest.strip_suffix("\n---")?, "")))
        .ok_or("its front matter does not end with a line of ---")?;
    let front: FrontMatter = serde_yaml_ng::from_str(front).map_err(|e| format!("its front matter: {e}"))?;
    let name = front.name.trim().to_owned();
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(legal) {
        return Err(format!("its name {name:?} must be 1 to 64 lower-case letters, digits and -"));
    }
    let description = front.description.trim().to_owned();
    if description.is_empty() {
        return Err("its description is empty".to_owned());
    }
    let body = body.trim().to_owned();
    if body.is_empty() {
        return Err("has no text after its front matter".to_owned());
    }
    // Names without a provider, such as `inherit` or `sonnet`, belong to other products. They select the default model.
    let model = front.model.map(|model| model.trim().to_owned()).filter(|model| model.contains('/'));
    Ok(Agent { name, description, model, tools: tools(front.tools, file)?, body })
}

/// The names of the tools in the order of the catalogue. Unknown tools are ignored, so that agents of other products can be used, but at
/// least one tool must be known.
fn tools(listed: Option<Tools>, file: &Path) -> Result<Vec<String>, String> {
    let listed: Vec<String> = match listed {
        None => return Ok(NAMES.map(str::to_owned).to_vec()),
        Some(Tools::List(list)) => list,
        Some(Tools::Line(line)) => line.split(',').map(str::to_owned).collect(),
    };
    let listed: Vec<String> = listed.iter().map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect();
    let find = |name: &str| NAMES.into_iter().find(|known| *known == name || ALIASES.contains(&(name, *known)));
    for name in listed.iter().filter(|name| find(name).is_none()) {
        tracing::warn!(file = %file.display(), tool = name, "an unknown tool of the agent is ignored");
    }
    let known: Vec<&str> = listed.iter().filter_map(|name| find(name)).collect();
    if known.is_empty() {
        return Err(format!("none of its tools is one of {}", NAMES.join(", ")));
    }
    Ok(NAMES.into_iter().filter(|name| known.contains(name)).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Agent, String> {
        parse(Path::new("x.md"), text)
    }

    #[test]
    fn a_valid_file_is_parsed() {
        let text = "---\nname: a-1\ndescription: >-\n  Two\n  lines\nmodel: anthropic/claude\ntools: Read, Edit, Bash, grep\ncolor: red\n---\n\n# Body\n---\nmore\n";
        let agent = read(text).expect("a valid file");
        assert_eq!((agent.name.as_str(), agent.description.as_str(), agent.body.as_str()), ("a-1", "Two lines", "# Body\n---\nmore"));
        assert_eq!(agent.model.as_deref(), Some("anthropic/claude"));
        assert_eq!(agent.tools, ["read_file", "search", "edit_file"]);
        assert_eq!(read(&text.replace('\n', "\r\n")).as_ref(), Ok(&agent));
        let plain = read("---\nname: b\ndescription: d\nmodel: inherit\n---\nx").expect("a valid file");
        assert_eq!((plain.model, plain.tools.len()), (None, NAMES.len()));
    }

    #[test]
    fn an_invalid_file_is_refused_with_its_problem() {
        for (text, problem) in [
            ("", "does not begin"),
            ("# Title", "does not begin"),
            ("---\nname: a\n", "does not end"),
            ("---\nname: a\n---\nx", "missing field `description`"),
            ("---\nname: [\n---\nx", "its front matter"),
            ("---\nname: A b\ndescription: d\n---\nx", "its name \"A b\""),
            ("---\nname: ''\ndescription: d\n---\nx", "its name \"\""),
            ("---\nname: a\ndescription: ' '\n---\nx", "description is empty"),
            ("---\nname: a\ndescription: d\n---\n \n", "no text"),
            ("---\nname: a\ndescription: d\n---", "no text"),
            ("---\nname: a\ndescription: d\ntools: [Bash]\n---\nx", "none of its tools"),
            ("---\nname: a\ndescription: d\ntools: 7\n---\nx", "its front matter"),
        ] {
            let found = read(text).expect_err(text);
            assert!(found.contains(problem), "{text:?}: {found}");
        }
    }
}
