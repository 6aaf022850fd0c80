//! Prompts as lists of segments, the prompt with every file, and what of a prompt a provider has in its cache.

use std::collections::{BTreeMap, BTreeSet};

use agent_streaming::count_tokens;
use anyhow::{Context as _, Result};
use serde_json::Value;

/// The parts of a request in their order.
pub(super) type Segments = Vec<String>;

/// The requests of a session so far.
#[derive(Debug, Default)]
pub(super) struct Session(Vec<Segments>);

impl Session {
    /// The tokens that are not in the cache: those after the longest beginning that an earlier request had, too.
    pub(super) fn uncached(&mut self, request: Segments) -> u32 {
        let common = |earlier: &Segments| earlier.iter().zip(&request).take_while(|(a, b)| a == b).count();
        let cached = self.0.iter().map(common).max().unwrap_or_default();
        let tokens = request[cached..].iter().map(|segment| count_tokens(segment)).sum();
        self.0.push(request);
        tokens
    }
}

/// A file as prompts have it.
pub(super) fn file(path: &str, text: &str) -> String {
    let total = text.lines().count();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{path}, lines 1 to {total} of {total}:\n{text}{end}")
}

/// The segments of a request of the Messages API.
pub(super) fn segments(request: &Value) -> Segments {
    let messages = request["messages"].as_array().into_iter().flatten();
    let blocks = messages.flat_map(|message| message["content"].as_array().into_iter().flatten());
    head(request).into_iter().chain(blocks.map(segment)).collect()
}

/// The tools and the system prompt.
fn head(request: &Value) -> Segments {
    let system = request["system"].as_array().into_iter().flatten().map(segment);
    std::iter::once(without_marks(&request["tools"]).to_string()).chain(system).collect()
}

fn segment(block: &Value) -> String {
    block["text"].as_str().map_or_else(|| without_marks(block).to_string(), str::to_owned)
}

fn without_marks(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().filter(|(name, _)| *name != "cache_control").map(|(name, value)| (name.clone(), without_marks(value))).collect()
        }
        Value::Array(values) => values.iter().map(without_marks).collect(),
        value => value.clone(),
    }
}

/// The blocks after the last text of the person: calls and their results.
pub(super) fn steps(request: &Value) -> Vec<Value> {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let blocks = |message: &Value| message["content"].as_array().cloned().unwrap_or_default();
    let is_text = |message: &Value| message["role"] == "user" && blocks(message).iter().any(|block| block["type"] == "text");
    let asked = messages.iter().rposition(is_text).map_or(0, |at| at + 1);
    messages[asked..].iter().flat_map(blocks).collect()
}

/// The requests of the same turn with every file and the whole conversation in each. A reader of all files calls no tool to read them, so those
/// calls and their results are left out, and so are the requests that only had them.
pub(super) fn plain(requests: &[Value], files: &BTreeMap<String, String>, conversation: &[String], request: &str) -> Result<Vec<Segments>> {
    let first = requests.first().context("no request")?;
    let texts = files.iter().map(|(path, text)| file(path, text));
    let base: Segments = head(first).into_iter().chain(texts).chain(conversation.iter().cloned()).chain([request.to_owned()]).collect();
    let mut all: Vec<Segments> = Vec::new();
    for request in requests {
        let steps = steps(request);
        let reads: BTreeSet<_> = steps.iter().filter(|block| block["name"] == "read_file").map(|block| block["id"].to_string()).collect();
        let is_read = |block: &&Value| reads.contains(&block["id"].to_string()) || reads.contains(&block["tool_use_id"].to_string());
        let others = steps.iter().filter(|block| !is_read(block)).map(segment);
        let segments: Segments = base.iter().cloned().chain(others).collect();
        if all.last() != Some(&segments) {
            all.push(segments);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(blocks: &[Value]) -> Value {
        let messages: Vec<_> = blocks
            .iter()
            .map(|block| json!({ "role": if block["type"] == "tool_use" { "assistant" } else { "user" }, "content": [block] }))
            .collect();
        json!({ "tools": [{ "name": "read_file", "cache_control": {} }], "system": [{ "type": "text", "text": "rules" }], "messages": messages })
    }

    #[test]
    fn only_the_longest_known_beginning_is_cached() {
        let segments = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Segments>();
        let mut session = Session::default();
        let tokens = |text: &str| count_tokens(text);
        assert_eq!(session.uncached(segments(&["rules", "files"])), tokens("rules") + tokens("files"));
        assert_eq!(session.uncached(segments(&["rules", "files", "request"])), tokens("request"));
        assert_eq!(session.uncached(segments(&["rules", "others", "files"])), tokens("others") + tokens("files"));
        assert_eq!(session.uncached(segments(&["rules", "files", "request"])), 0);
        assert_eq!(session.uncached(segments(&["other rules", "files"])), tokens("other rules") + tokens("files"));
    }

    #[test]
    fn the_plain_prompt_has_all_files_and_no_reads() {
        let text = json!({ "type": "text", "text": "planned files and request" });
        let call = |id: &str, name: &str| json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
        let result = |id: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": "text" });
        let requests = [
            request(std::slice::from_ref(&text)),
            request(&[text.clone(), call("1", "read_file"), result("1")]),
            request(&[text.clone(), call("1", "read_file"), result("1"), call("2", "edit_file"), result("2")]),
        ];
        let files = BTreeMap::from([("a".to_owned(), "one\n".to_owned()), ("b".to_owned(), "two".to_owned())]);
        let found = plain(&requests, &files, &["earlier".to_owned()], "request").unwrap();
        let base =
            [r#"[{"name":"read_file"}]"#, "rules", "a, lines 1 to 1 of 1:\none\n", "b, lines 1 to 1 of 1:\ntwo\n", "earlier", "request"];
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], base);
        assert_eq!(found[1][..6], base);
        assert_eq!(found[1].len(), 8, "{:?}", found[1]);
        assert_eq!(segments(&requests[1]).len(), 5);
    }
}
