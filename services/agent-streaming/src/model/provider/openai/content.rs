//! The content of a delta: a text, or typed parts; and reasoning that models write between tags in front of their answer.

use serde_json::Value;

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// The field that it came in, which it goes back in.
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

/// The field of reasoning that came as a typed part of the content.
pub(super) const THINKING_PART: &str = "content.thinking";

/// The pieces of `content`, which is a text, a typed part or a list of these.
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
        // Images, references, and kinds that do not exist yet.
        _ => None,
    }
}

/// A text, also as `{"value": …}` or in parts.
fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(|part| if part.is_string() { joined(part) } else { joined(&part["text"]) }).collect(),
        Value::Object(_) => joined(&value["value"]),
        _ => String::new(),
    }
}

/// The tags, and what closes them.
pub(super) const TAGS: [(&str, &str); 3] = [("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<thought>", "</thought>")];

/// Tells reasoning between tags from the text after it. Tags count only in front of a text.
#[derive(Debug, Default)]
pub(super) struct Tagged {
    state: State,
    /// What may be a tag, or a part of one.
    held: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Front,
    Inside(usize),
    /// Space between the tag and the text is dropped.
    After,
    Text,
}

impl Tagged {
    pub(super) fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let mut pieces = Vec::new();
        while self.step(&mut pieces) {}
        pieces
    }

    /// The text is over: what was held is what it seems to be. A new text begins.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        let held = std::mem::take(&mut self.held);
        let state = std::mem::take(&mut self.state);
        match state {
            _ if held.is_empty() => None,
            State::Inside(tag) => Some(Piece::Reasoning(TAGS[tag].0, held)),
            State::Front | State::After | State::Text => Some(Piece::Text(held)),
        }
    }

    /// Whether there is more to decide.
    fn step(&mut self, pieces: &mut Vec<Piece>) -> bool {
        match self.state {
            State::Text => {
                if !self.held.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut self.held)));
                }
                false
            }
            State::Front => self.front(),
            State::Inside(tag) => self.inside(tag, pieces),
            State::After => {
                self.held = self.held.trim_start().to_owned();
                if self.held.is_empty() {
                    return false;
                }
                self.state = State::Text;
                true
            }
        }
    }

    fn front(&mut self) -> bool {
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
        // The end of what came may be the beginning of the tag.
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
                self.state = State::After;
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
    fn content_in_every_form() {
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

    /// Reasoning and text.
    fn read<'a>(fragments: impl IntoIterator<Item = &'a str>) -> (String, String) {
        let (mut tagged, mut reasoning, mut text) = (Tagged::default(), String::new(), String::new());
        let mut pieces: Vec<Piece> = fragments.into_iter().flat_map(|fragment| tagged.push(fragment)).collect();
        pieces.extend(tagged.finish());
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
    fn tags_in_front_of_a_text_hold_reasoning() {
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
