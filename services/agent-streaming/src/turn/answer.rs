//! The text of a turn's answer, computed from its events.

use proto::agent_streaming::turn_event::Kind;

use crate::turn::event;

/// The largest message of project-storage.
const MAX_BYTES: usize = 256 * 1024;

/// The text blocks of a turn, separated by empty lines.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    text: String,
    /// The length of the text before the current step.
    before_step: usize,
}

impl Answer {
    pub(crate) fn apply(&mut self, kind: &Kind) {
        match kind {
            Kind::TextStarted(_) => {
                let end = self.text().len();
                self.text.truncate(end);
                if end > 0 {
                    self.add("\n\n");
                }
            }
            // The next block removes trailing white space, so it does not count here.
            Kind::StepStarted(_) => self.before_step = self.text().len(),
            Kind::StepSuperseded(_) => self.text.truncate(self.before_step),
            Kind::TextDelta(delta) => self.add(&delta.text),
            _ => {}
        }
    }

    pub(crate) fn text(&self) -> &str {
        self.text.trim_end()
    }

    fn add(&mut self, text: &str) {
        let mut text = text.to_owned();
        event::cut(&mut text, MAX_BYTES - self.text.len());
        self.text.push_str(&text);
    }
}

#[cfg(test)]
mod tests {
    use proto::agent_streaming::{ReasoningDelta, StepStarted, StepSuperseded, TextDelta, TextStarted};

    use super::*;

    fn answer(texts: &[&str]) -> Answer {
        let mut answer = Answer::default();
        for text in texts {
            answer.apply(&Kind::TextStarted(TextStarted::default()));
            answer.apply(&Kind::ReasoningDelta(ReasoningDelta { block_id: String::new(), text: "thought".into() }));
            answer.apply(&Kind::TextDelta(TextDelta { block_id: String::new(), text: (*text).into() }));
        }
        answer
    }

    #[test]
    fn blocks_are_separated_by_empty_lines() {
        assert_eq!(answer(&[]).text(), "");
        assert_eq!(answer(&["one\n"]).text(), "one");
        assert_eq!(answer(&["one\n", "", "two"]).text(), "one\n\ntwo");
        assert_eq!(answer(&[" \n", "one"]).text(), "one");
    }

    #[test]
    fn a_superseded_step_removes_its_text() {
        let mut answer = answer(&["one \n\n"]);
        answer.apply(&Kind::StepStarted(StepStarted::default()));
        answer.apply(&Kind::TextStarted(TextStarted::default()));
        answer.apply(&Kind::TextDelta(TextDelta { block_id: String::new(), text: "é".into() }));
        assert_eq!(answer.text(), "one\n\né");
        answer.apply(&Kind::StepSuperseded(StepSuperseded::default()));
        assert_eq!(answer.text(), "one");
    }

    #[test]
    fn an_answer_is_cut_at_a_character_boundary() {
        let answer = answer(&["a", &"é".repeat(200_000), "more"]);
        assert!(answer.text().len() <= MAX_BYTES && answer.text().len() > MAX_BYTES - 4);
        assert!(answer.text().ends_with('é'));
    }
}
