//! What a turn has answered, folded from its events: the same while it runs and from the log of a dead owner.

use proto::agent_streaming::turn_event::Kind;

use crate::turn::event;

/// A message of project-storage holds no more.
const MAX_BYTES: usize = 256 * 1024;

/// The text blocks of a turn, one after the other with an empty line between.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    text: String,
    /// What it was before the step that runs.
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
            // Space at the end goes with the next block, so what counts ends before it.
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

    fn fold(texts: &[&str]) -> Answer {
        let mut answer = Answer::default();
        for text in texts {
            answer.apply(&Kind::TextStarted(TextStarted::default()));
            answer.apply(&Kind::ReasoningDelta(ReasoningDelta { block_id: String::new(), text: "thought".into() }));
            answer.apply(&Kind::TextDelta(TextDelta { block_id: String::new(), text: (*text).into() }));
        }
        answer
    }

    #[test]
    fn blocks_are_paragraphs() {
        assert_eq!(fold(&[]).text(), "");
        assert_eq!(fold(&["one\n"]).text(), "one");
        assert_eq!(fold(&["one\n", "", "two"]).text(), "one\n\ntwo");
        assert_eq!(fold(&[" \n", "one"]).text(), "one");
    }

    #[test]
    fn a_superseded_step_takes_its_text_along() {
        let mut answer = fold(&["one \n\n"]);
        answer.apply(&Kind::StepStarted(StepStarted::default()));
        answer.apply(&Kind::TextStarted(TextStarted::default()));
        answer.apply(&Kind::TextDelta(TextDelta { block_id: String::new(), text: "é".into() }));
        assert_eq!(answer.text(), "one\n\né");
        answer.apply(&Kind::StepSuperseded(StepSuperseded::default()));
        assert_eq!(answer.text(), "one");
    }

    #[test]
    fn an_answer_is_cut_between_characters() {
        let answer = fold(&["a", &"é".repeat(200_000), "more"]);
        assert!(answer.text().len() <= MAX_BYTES && answer.text().len() > MAX_BYTES - 4);
        assert!(answer.text().ends_with('é'));
    }
}
