//! Decodes the content of a delta: text or typed parts, and reasoning that models write between tags before their answer.

use serde_json::Value;

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// Reasoning, with the field that it came in and in which it is sent back.
    Reasoning(&'static str, String),
    Refusal(String),
}

impl Piece {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Reasoning(_, text) | Self::Refusal(text) => text,
        }
    }
}

/// The field for reasoning that came as a typed part of the content.
pub(super) const THINKING_PART: &str = "content.thinking";

/// The pieces of `content`, which is text, a typed part, or a list of these.
pub(super) fn pieces(content: &Value) -> Vec<Piece> {
    match content {
        Value::String(text) => vec![Piece::Text(text.clone())],
        Value::Array(parts) => parts.iter().flat_map(pieces).collect(),
        Value::Object(_) => part(content).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn part(part: &Value) -> Option<Piece> {
    match part["type"].as_str().unwrap_or("text") {
        "text" | "output_text" | "text_delta" => Some(Piece::Text(joined(&part["text"]))),
        "thinking" | "reasoning" | "reasoning_text" => {
            let text = ["thinking", "reasoning", "text", "summary"].iter().map(|field| joined(&part[*field])).find(|text| !text.is_empty());
            text.map(|text| Piece::Reasoning(THINKING_PART, text))
        }
        "refusal" => Some(Piece::Refusal(joined(&part["refusal"]))),
        // Images, references and unknown types are ignored.
        _ => None,
    }
}

/// A text, which may also be `{"value": …}` or a list of parts.
fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(|part| if part.is_string() { joined(part) } else { joined(&part["text"]) }).collect(),
        Value::Object(_) => joined(&value["value"]),
        _ => String::new(),
    }
}

/// The opening and closing tags.
pub(super) const TAGS: [(&str, &str); 3] = [("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<thought>", "</thought>")];

/// Separates reasoning between tags from the text after it. Tags count only at the beginning of a text.
#[derive(Debug, Default)]
pub(super) struct TagSplitter {
    state: State,
    /// Text that may be a part of a tag.
    held: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning, where a tag may follow.
    #[default]
    Start,
    /// After the opening tag with this index.
    Inside(usize),
    /// After the closing tag. White space before the text is dropped.
    AfterTag,
    Text,
}

impl TagSplitter {
    pub(super) fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let mut pieces = Vec::new();
        while self.step(&mut pieces) {}
        pieces
    }

    /// Ends the text: returns the held part. The next push begins a new text.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        let held = std::mem::take(&mut self.held);
        let state = std::mem::take(&mut self.state);
        match state {
            _ if held.is_empty() => None,
            State::Inside(tag) => Some(Piece::Reasoning(TAGS[tag].0, held)),
            State::Start | State::AfterTag | State::Text => Some(Piece::Text(held)),
        }
    }

    /// Processes the held text in the current state. Returns whether there is more to process.
    fn step(&mut self, pieces: &mut Vec<Piece>) -> bool {
        match self.state {
            State::Text => {
                if !self.held.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut self.held)));
                }
                false
            }
            State::Start => self.open_tag(),
            State::Inside(tag) => self.inside(tag, pieces),
            State::AfterTag => {
                self.held = self.held.trim_start().to_owned();
                if self.held.is_empty() {
                    return false;
                }
                self.state = State::Text;
                true
            }
        }
    }

    fn open_tag(&mut self) -> bool {
        let text = self.held.trim_start();
        if let Some(tag) = TAGS.iter().position(|(open, _)| text.starts_with(open)) {
            self.state = State::Inside(tag);
            self.held = text[TAGS[tag].0.len()..].to_owned();
            return true;
        }
        if TAGS.iter().any(|(open, _)| open.starts_with(text)) {
            return false;
        }
        self.state = State::Text;
        true
    }

    fn inside(&mut self, tag: usize, pieces: &mut Vec<Piece>) -> bool {
        let (open, close) = TAGS[tag];
        let found = self.held.find(close);
        // The end of the held text may be the beginning of the closing tag.
        let end = found.unwrap_or_else(|| {
            (0..close.len())
                .rev()
                .map(|n| self.held.len().saturating_sub(n))
                .find(|at| self.held.is_char_boundary(*at) && close.starts_with(&self.held[*at..]))
                .unwrap_or(self.held.len())
        });
        if end > 0 {
            pieces.push(Piece::Reasoning(open, self.held[..end].to_owned()));
        }
        match found {
            Some(at) => {
                self.held.drain(..at + close.len());
                self.state = State::AfterTag;
                true
            }
            None => {
                self.held.drain(..end);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn content_of_every_format_is_decoded() {
        let text = |text: &str| Piece::Text(text.into());
        let thinking = |text: &str| Piece::Reasoning(THINKING_PART, text.into());
        for (content, expected) in [
            (json!("a"), vec![text("a")]),
            (json!(null), vec![]),
            (json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), vec![text("a"), text("b")]),
            (json!([{"type": "output_text", "text": {"value": "a"}}, "b"]), vec![text("a"), text("b")]),
            (json!({"type": "text", "text": "a"}), vec![text("a")]),
            (json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]), vec![thinking("hm")]),
            (json!([{"type": "thinking", "thinking": "hm"}, {"type": "reasoning", "text": "so"}]), vec![thinking("hm"), thinking("so")]),
            (json!([{"type": "refusal", "refusal": "no"}]), vec![Piece::Refusal("no".into())]),
            (json!([{"type": "image_url", "image_url": {}}, {"type": "reference"}, 7]), vec![]),
        ] {
            assert_eq!(pieces(&content), expected, "{content}");
        }
    }

    /// The reasoning and the text.
    fn read<'a>(fragments: impl IntoIterator<Item = &'a str>) -> (String, String) {
        let (mut splitter, mut reasoning, mut text) = (TagSplitter::default(), String::new(), String::new());
        let mut pieces: Vec<Piece> = fragments.into_iter().flat_map(|fragment| splitter.push(fragment)).collect();
        pieces.extend(splitter.finish());
        for piece in pieces {
            match piece {
                Piece::Text(more) => text.push_str(&more),
                Piece::Reasoning(_, more) => reasoning.push_str(&more),
                Piece::Refusal(_) => panic!("no refusal"),
            }
        }
        (reasoning, text)
    }

    #[test]
    fn tags_at_the_beginning_of_a_text_contain_reasoning() {
        for (text, reasoning, rest) in [
            ("<think>hm</think>\n\nYes", "hm", "Yes"),
            ("\n<think>\nhm <b></thin</think>Yes", "\nhm <b></thin", "Yes"),
            ("<thinking>hm</thinking>Yes </think>", "hm", "Yes </think>"),
            ("<think>never closed", "never closed", ""),
            ("<think></think>Yes", "", "Yes"),
            ("Yes <think>no</think>", "", "Yes <think>no</think>"),
            ("<thin", "", "<thin"),
            ("<b>bold</b>", "", "<b>bold</b>"),
            ("", "", ""),
            ("  ", "", "  "),
        ] {
            assert_eq!(read([text]), (reasoning.to_owned(), rest.to_owned()), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_reads_the_same(text in "( )?(<think>)?[<>/tĥink ]{0,12}(</think>)?[<a/> é]{0,6}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| ends[cut.index(ends.len())]).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            prop_assert_eq!(read(at.windows(2).map(|w| &text[w[0]..w[1]])), read([text.as_str()]));
        }
    }
}
