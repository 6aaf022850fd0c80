//! The descriptions of the tools for the model. They are a part of the cached prefix of every prompt: a change here invalidates the
//! providers' caches once.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::model::message::ToolSpec;

/// Every tool, in the order in which models see them.
pub(crate) const NAMES: [&str; 8] = ["list_files", "read_file", "search", "write_file", "edit_file", "delete_file", "rename_file", CHECK];
/// The tool whose result comes from the role compile.
pub(crate) const CHECK: &str = "check";

/// Reads a skill. Every turn with skills has it, so it is no tool of agents. The caller of the tools adds the result.
pub(crate) const READ_SKILL: &str = "read_skill";

/// Shared by all running turns.
static SPECS: LazyLock<Vec<ToolSpec>> = LazyLock::new(|| NAMES.into_iter().chain([READ_SKILL]).filter_map(spec).collect());

/// The tools with these names, in the order of [`NAMES`], and [`READ_SKILL`] as the last one. Unknown names are ignored.
#[must_use]
pub(crate) fn specs<S: AsRef<str>>(names: &[S]) -> Vec<&'static ToolSpec> {
    SPECS.iter().filter(|spec| names.iter().any(|name| name.as_ref() == spec.name)).collect()
}

/// The schema of a tool's arguments.
pub(super) fn schema(tool: &str) -> Option<&'static Value> {
    SPECS.iter().find(|spec| spec.name == tool).map(|spec| &spec.input_schema)
}

/// Description, properties and required properties.
type Description = (&'static str, Value, &'static [&'static str]);

fn spec(name: &'static str) -> Option<ToolSpec> {
    let (description, properties, required) = reader(name).or_else(|| writer(name))?;
    let input_schema = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    Some(ToolSpec { name, description, input_schema })
}

fn reader(name: &str) -> Option<Description> {
    match name {
        "list_files" => Some((
            "Lists the project's files with their sizes in bytes, sorted by path. The result shows the files as they are now, with the changes of this turn.",
            json!({"path": {"type": "string", "description": "Only paths that begin with this, such as src/."}}),
            &[],
        )),
        "read_file" => Some((
            "Reads a text file, at most 48 KiB at once. The first line of the result names the lines that follow; the rest is the file's text exactly as it is.",
            json!({
                "path": {"type": "string", "description": "Relative to the project's root, such as src/app.js."},
                "start_line": {"type": "integer", "minimum": 1, "description": "First line to read; 1 if left out."},
                "end_line": {"type": "integer", "minimum": 1, "description": "Last line to read; the end of the file if left out."},
            }),
            &["path"],
        )),
        "search" => Some((
            "Finds plain text in the project's files, ignoring case, line by line. The result has path, line number and line of at most 100 matches.",
            json!({
                "query": {"type": "string", "description": "The text to find; not a pattern."},
                "path": {"type": "string", "description": "Only files whose path begins with this."},
            }),
            &["query"],
        )),
        READ_SKILL => Some((
            "Reads a skill: instructions for a kind of work. The system prompt lists the skills. Without file the result has its text and names its further files.",
            json!({
                "name": {"type": "string", "description": "The name of the skill."},
                "file": {"type": "string", "description": "One of its further files."},
            }),
            &["name"],
        )),
        CHECK => Some((
            "Checks the project's files as they are now, with the changes of this turn: syntax, imports, exports, packages, undefined names. The result names file, line and fault. Projects with a page that is compiled are checked as a whole, others file by file. The files are checked once more before they are saved.",
            json!({}),
            &[],
        )),
        _ => None,
    }
}

fn writer(name: &str) -> Option<Description> {
    match name {
        "write_file" => Some((
            "Creates a file or replaces all of it. Give the whole content, never a part or a placeholder for what stays. For a small change of a long file use edit_file.",
            json!({
                "path": {"type": "string", "description": "Relative to the project's root, such as src/app.js. A name that Windows, macOS and Linux all take: at most 255 bytes a part, none of <>:\"|?* and no device name such as aux. Folders are made as needed."},
                "content": {"type": "string", "description": "The whole content of the file."},
            }),
            &["path", "content"],
        )),
        "edit_file" => Some((
            "Replaces one piece of a file. old_text must be in the file exactly as given, with the same spaces and line breaks, and only once; add lines around it until it is unique. Read the file first.",
            json!({
                "path": {"type": "string", "description": "The file."},
                "old_text": {"type": "string", "description": "What is there now."},
                "new_text": {"type": "string", "description": "What takes its place; empty removes it."},
            }),
            &["path", "old_text", "new_text"],
        )),
        "delete_file" => Some(("Removes a file.", json!({"path": {"type": "string", "description": "The file."}}), &["path"])),
        "rename_file" => Some((
            "Moves a file to another path, where no file may be. References to it in other files stay as they are: change them too.",
            json!({
                "path": {"type": "string", "description": "Where the file is."},
                "new_path": {"type": "string", "description": "Where it goes; a name as for write_file."},
            }),
            &["path", "new_path"],
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_spec_in_a_fixed_order() {
        assert_eq!(specs(&NAMES).iter().map(|spec| spec.name).collect::<Vec<_>>(), NAMES);
        assert_eq!(
            specs(&["write_file", "bash", "read_file"]).iter().map(|spec| spec.name).collect::<Vec<_>>(),
            ["read_file", "write_file"]
        );
        for spec in specs(&NAMES) {
            let known = spec.input_schema["properties"].as_object().expect("properties");
            for required in spec.input_schema["required"].as_array().expect("required") {
                assert!(known.contains_key(required.as_str().expect("a name")), "{}", spec.name);
            }
        }
    }
}
