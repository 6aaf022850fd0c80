//! The parts of a turn's answer, computed from its events.

use std::collections::HashMap;

use proto::{
    agent_streaming::{Usage, turn_event::Kind as Event},
    parts::{self, ARGUMENT_BYTES, MAX_CALLS, MAX_PARTS, TEXT_BYTES},
    project_storage::{MessagePart, TokenUsage, ToolCall, ToolCallState, message_part::Kind},
};

/// The texts and tool calls of a turn, and its usage.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct AnswerParts {
    parts: Vec<MessagePart>,
    /// Parts that came after the last one that a message has.
    omitted: u32,
    usage: Usage,
    /// The texts of the current step by their blocks.
    blocks: HashMap<String, usize>,
    /// Bytes of the texts.
    text_bytes: usize,
    /// What it was before the current step: the number of parts, of omitted ones, and of bytes.
    before_step: (usize, u32, usize),
}

impl AnswerParts {
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::StepStarted(_) => {
                self.blocks.clear();
                self.before_step = (self.parts.len(), self.omitted, self.text_bytes);
            }
            Event::StepSuperseded(_) => {
                self.blocks.clear();
                let (parts, omitted, bytes) = self.before_step;
                self.parts.truncate(parts);
                (self.omitted, self.text_bytes) = (omitted, bytes);
            }
            Event::TextStarted(block) => {
                let at = self.parts.len();
                if self.push(Kind::Text(String::new())) {
                    self.blocks.insert(block.block_id.clone(), at);
                }
            }
            Event::TextDelta(delta) => {
                let part = self.blocks.get(&delta.block_id).and_then(|at| self.parts.get_mut(*at));
                if let Some(MessagePart { kind: Some(Kind::Text(text)), truncated }) = part {
                    let before = text.len();
                    *truncated |= append(text, &delta.text, before + TEXT_BYTES - self.text_bytes);
                    self.text_bytes += text.len() - before;
                }
            }
            Event::Usage(usage) => self.usage = *usage,
            event => self.apply_call(event),
        }
    }

    fn apply_call(&mut self, event: &Event) {
        match event {
            Event::ToolStarted(call) => {
                let state = ToolCallState::Unfinished.into();
                self.push(Kind::ToolCall(ToolCall { id: call.call_id.clone(), tool: call.tool.clone(), state, ..ToolCall::default() }));
            }
            Event::ToolInputDelta(delta) => self.change(&delta.call_id, |call, truncated| {
                *truncated |= append(&mut call.arguments, &delta.json, ARGUMENT_BYTES);
            }),
            // Arguments that are too long for this event are in the deltas.
            Event::ToolReady(ready) => self.change(&ready.call_id, |call, truncated| {
                if ready.input_json != "{}" || call.arguments.is_empty() {
                    call.arguments.clear();
                    *truncated = append(&mut call.arguments, &ready.input_json, ARGUMENT_BYTES);
                }
            }),
            Event::ToolOutput(output) => self.change(&output.call_id, |call, _| {
                call.set_state(ToolCallState::Succeeded);
                call.result.clone_from(&output.summary);
            }),
            Event::ToolFailed(failed) => self.change(&failed.call_id, |call, _| {
                call.set_state(ToolCallState::Failed);
                call.result.clone_from(&failed.message);
                call.error_reason.clone_from(&failed.reason);
            }),
            _ => {}
        }
    }

    /// The parts within the limits of a message.
    pub(crate) fn parts(&self) -> Vec<MessagePart> {
        let trimmed = self.parts.iter().filter_map(|part| match &part.kind {
            Some(Kind::Text(text)) if text.trim_end().is_empty() && !part.truncated => None,
            Some(Kind::Text(text)) => Some(MessagePart { kind: Some(Kind::Text(text.trim_end().to_owned())), ..part.clone() }),
            _ => Some(part.clone()),
        });
        let ends = [Kind::Omitted(self.omitted).into(), Kind::Usage(tokens(self.usage)).into()];
        parts::fit(trimmed.chain(ends).collect())
    }

    /// Returns `false` if the message has all parts that it may have.
    fn push(&mut self, kind: Kind) -> bool {
        let calls = || self.parts.iter().filter(|part| matches!(part.kind, Some(Kind::ToolCall(_)))).count();
        let fits = self.parts.len() < MAX_PARTS && (!matches!(kind, Kind::ToolCall(_)) || calls() < MAX_CALLS);
        if fits {
            self.parts.push(kind.into());
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
        fits
    }

    /// Changes a call and whether a text of it is cut.
    fn change(&mut self, id: &str, change: impl FnOnce(&mut ToolCall, &mut bool)) {
        for MessagePart { kind, truncated } in self.parts.iter_mut().rev() {
            if let Some(Kind::ToolCall(call)) = kind
                && call.id == id
            {
                return change(call, truncated);
            }
        }
    }
}

/// Adds to a text up to a limit. Returns whether something did not fit.
fn append(text: &mut String, more: &str, limit: usize) -> bool {
    text.push_str(more);
    parts::truncate(text, limit)
}

fn tokens(usage: Usage) -> TokenUsage {
    let Usage { input_tokens, output_tokens, cached_input_tokens, cache_write_input_tokens, reasoning_tokens, .. } = usage;
    TokenUsage { input_tokens, output_tokens, cached_input_tokens, cache_write_input_tokens, reasoning_tokens }
}

#[cfg(test)]
mod tests {
    use proto::agent_streaming::{
        StepStarted, StepSuperseded, TextDelta, TextStarted, ToolFailed, ToolInputDelta, ToolOutput, ToolReady, ToolStarted,
    };

    use super::*;

    fn text(id: &str, pieces: &[&str]) -> Vec<Event> {
        let delta = |text: &&str| Event::TextDelta(TextDelta { block_id: id.into(), text: (*text).into() });
        [Event::TextStarted(TextStarted { block_id: id.into() })].into_iter().chain(pieces.iter().map(delta)).collect()
    }

    fn call(id: &str, tool: &str) -> Event {
        Event::ToolStarted(ToolStarted { call_id: id.into(), tool: tool.into() })
    }

    fn input(id: &str, json: &str) -> Event {
        Event::ToolInputDelta(ToolInputDelta { call_id: id.into(), json: json.into() })
    }

    fn ready(id: &str, json: &str) -> Event {
        Event::ToolReady(ToolReady { call_id: id.into(), input_json: json.into(), ..ToolReady::default() })
    }

    fn step() -> Event {
        Event::StepStarted(StepStarted::default())
    }

    fn parts(events: &[&[Event]]) -> Vec<MessagePart> {
        let mut parts = AnswerParts::default();
        events.concat().iter().for_each(|event| parts.apply(event));
        parts.parts()
    }

    fn called(part: &MessagePart) -> (&str, &str, ToolCallState, &str, &str) {
        let Some(Kind::ToolCall(call)) = &part.kind else { panic!("{part:?}") };
        (&call.tool, &call.arguments, call.state(), &call.result, &call.error_reason)
    }

    fn written(text: &str) -> MessagePart {
        Kind::Text(text.to_owned()).into()
    }

    #[test]
    fn parts_are_in_the_order_of_the_events() {
        let output = Event::ToolOutput(ToolOutput { call_id: "c".into(), summary: "42 lines".into() });
        let failed = Event::ToolFailed(ToolFailed { call_id: "d".into(), reason: "NO_MATCH".into(), message: "not found".into() });
        let usage = Event::Usage(Usage { input_tokens: 3, output_tokens: 2, ..Usage::default() });
        let calls = [call("c", "read_file"), input("c", "{\"pa"), ready("c", r#"{"path":"a"}"#), call("d", "edit_file"), input("d", "{1}")];
        let ends = [ready("d", "{}"), output, failed, usage, call("e", "search"), input("e", "{\"q")];
        let parts = parts(&[&[step()], &text("a", &["I ", "look.\n"]), &calls, &ends, &text("b", &[" \n"]), &text("f", &["Done"])]);
        assert_eq!((&parts[0], &parts[4]), (&written("I look."), &written("Done")));
        assert_eq!(called(&parts[1]), ("read_file", r#"{"path":"a"}"#, ToolCallState::Succeeded, "42 lines", ""));
        assert_eq!(called(&parts[2]), ("edit_file", "{1}", ToolCallState::Failed, "not found", "NO_MATCH"));
        assert_eq!(called(&parts[3]), ("search", "{\"q", ToolCallState::Unfinished, "", ""));
        let tokens = TokenUsage { input_tokens: 3, output_tokens: 2, ..TokenUsage::default() };
        assert_eq!(parts[5..], [Kind::Usage(tokens).into()]);
    }

    #[test]
    fn a_superseded_step_leaves_no_parts() {
        let superseded = [Event::StepSuperseded(StepSuperseded::default()), step()];
        let first = [&[step()], &text("a", &["one"])[..]].concat();
        let second = [&[step()], &text("b", &[&"x".repeat(TEXT_BYTES)])[..], &[call("c", "search")]].concat();
        assert_eq!(parts(&[&first, &second, &superseded, &text("b", &["two"])]), [written("one"), written("two")]);
    }

    #[test]
    fn long_answers_are_cut_with_a_mark() {
        let many: Vec<_> = (0..MAX_CALLS + 3).map(|n| call(&n.to_string(), "search")).collect();
        let texts: Vec<_> = (0..MAX_PARTS - MAX_CALLS + 1).flat_map(|n| text(&n.to_string(), &["a text"])).collect();
        let fitted = parts(&[&many, &texts]);
        assert_eq!(fitted[MAX_PARTS - 1..], [written("a text"), Kind::Omitted(4).into()]);
        let cut = parts(&[&[call("c", "search"), input("c", &"x".repeat(ARGUMENT_BYTES + 1))]]);
        assert!(cut[0].truncated && called(&cut[0]).1.len() == ARGUMENT_BYTES);
        let whole = parts(&[&[call("c", "search"), input("c", &"x".repeat(ARGUMENT_BYTES + 1)), ready("c", r#"{"query":"x"}"#)]]);
        assert!(!whole[0].truncated);
        let long = parts(&[&text("a", &[&"x".repeat(TEXT_BYTES), "y"]), &text("b", &["z"])]);
        assert_eq!((long.len(), long[0].truncated, long[1].clone()), (2, true, Kind::Omitted(1).into()));
    }
}
