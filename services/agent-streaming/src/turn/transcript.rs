//! The transcript of a turn, computed from its events: by the worker that drives the turn, and from the log by a worker that resumes it.
//! Both get the same transcript, because both use only events.

use std::collections::{HashMap, HashSet};

use proto::agent_streaming::{AgentSelected, ChecksFinished, ContextPlanned, Usage, turn_event::Kind};
use serde_json::Value;

use crate::{
    model::message::AssistantBlock,
    turn::{answer::Answer, parts::AnswerParts},
    workspace::tools,
};

/// The state of a turn after some of its events.
#[derive(Debug, Default, Clone)]
pub(crate) struct Transcript {
    pub(crate) answer: Answer,
    pub(crate) parts: AnswerParts,
    /// As reported by the provider, including superseded attempts.
    pub(crate) usage: Usage,
    pub(crate) finished: Vec<Step>,
    /// The paths that the tools of the turn may not change.
    pub(crate) locked_paths: Vec<String>,
    /// The checks before the commit, each with the number of finished steps before it.
    pub(crate) checks: Vec<(usize, ChecksFinished)>,
    /// The plan of the prompt.
    pub(crate) context: Option<ContextPlanned>,
    /// The model has got a request.
    pub(crate) was_asked: bool,
    open: Option<OpenStep>,
}

/// One answer of the model.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) blocks: Vec<AssistantBlock>,
    /// The ids of the calls with a `file.opened`.
    opened: HashSet<String>,
    /// The ids of the calls with a `tool.failed`.
    failed: HashSet<String>,
    /// The ids of the calls with a `file.closed`.
    closed: HashSet<String>,
    /// The results of the tool `check`, by the ids of the calls.
    checks: HashMap<String, ChecksFinished>,
}

/// A tool call of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Call<'a> {
    pub(crate) id: &'a str,
    pub(crate) tool: &'a str,
    pub(crate) input: &'a Value,
    /// The log has a `file.opened` of this call.
    pub(crate) opened: bool,
    /// The log has a `tool.failed` of this call.
    pub(crate) failed: bool,
    /// The log's result of the tool `check`.
    pub(crate) checks: Option<&'a ChecksFinished>,
}

impl Step {
    pub(crate) fn calls(&self) -> impl Iterator<Item = Call<'_>> {
        self.blocks.iter().filter_map(|block| match block {
            AssistantBlock::ToolCall { id, tool, input, .. } => {
                let (opened, failed) = (self.opened.contains(id), self.failed.contains(id));
                Some(Call { id, tool, input, opened, failed, checks: self.checks.get(id) })
            }
            AssistantBlock::Text(_) | AssistantBlock::Reasoning { .. } => None,
        })
    }

    /// Whether the step has no tool calls: the model is done.
    pub(crate) fn is_last(&self) -> bool {
        self.calls().next().is_none()
    }
}

/// A step that is not finished.
#[derive(Debug, Default, Clone)]
struct OpenStep {
    step: Step,
    /// The text of the open blocks, by block id.
    texts: HashMap<String, String>,
    /// The calls with incomplete arguments, by call id.
    calls: HashMap<String, PartialCall>,
}

/// A call whose arguments are incomplete.
#[derive(Debug, Default, Clone)]
struct PartialCall {
    tool: String,
    json: String,
    content: Option<String>,
}

impl Transcript {
    /// The transcript of a turn that has not started. The choice of its agent may have cost tokens.
    pub(crate) fn new(usage: Usage) -> Self {
        Self { usage, ..Self::default() }
    }

    pub(crate) fn apply(&mut self, kind: &Kind) {
        self.answer.apply(kind);
        self.parts.apply(kind);
        match kind {
            Kind::Usage(usage) => self.usage = *usage,
            Kind::AgentSelected(AgentSelected { choice: Some(choice), .. }) => self.usage = choice.usage.unwrap_or_default(),
            Kind::TurnStarted(started) => self.locked_paths.clone_from(&started.locked_paths),
            Kind::ContextPlanned(plan) => self.context = Some(plan.clone()),
            Kind::AttemptStarted(_) => self.was_asked = true,
            Kind::StepStarted(_) => self.open = Some(OpenStep::default()),
            Kind::StepFinished(_) => self.finished.extend(self.open.take().map(|open| open.step)),
            Kind::StepSuperseded(_) => self.open = None,
            Kind::ChecksFinished(checks) if checks.call_id.is_empty() => self.checks.push((self.finished.len(), checks.clone())),
            kind => {
                if let Some(open) = &mut self.open {
                    open.apply(kind);
                }
            }
        }
    }

    /// The calls that have changed the staged files, also those of the open step, in their order.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Call<'_>> {
        let steps = self.finished.iter().chain(self.open.iter().map(|open| &open.step));
        steps.flat_map(|step| step.calls().filter(|call| step.closed.contains(call.id)))
    }

    /// Takes the complete blocks of the open step.
    pub(crate) fn take_open(&mut self) -> Step {
        self.open.take().map(|open| open.step).unwrap_or_default()
    }
}

impl OpenStep {
    fn apply(&mut self, kind: &Kind) {
        match kind {
            Kind::TextDelta(delta) => self.text(&delta.block_id).push_str(&delta.text),
            Kind::TextFinished(block) => {
                let text = self.texts.remove(&block.block_id).unwrap_or_default();
                self.step.blocks.push(AssistantBlock::Text(text));
            }
            Kind::ReasoningDelta(delta) => self.text(&delta.block_id).push_str(&delta.text),
            Kind::ReasoningFinished(block) => {
                let text = self.texts.remove(&block.block_id).unwrap_or_default();
                let opaque = serde_json::from_str(&block.opaque_json).unwrap_or_default();
                self.step.blocks.push(AssistantBlock::Reasoning { text, opaque });
            }
            Kind::ToolStarted(call) => {
                self.calls.insert(call.call_id.clone(), PartialCall { tool: call.tool.clone(), ..PartialCall::default() });
            }
            Kind::ToolInputDelta(delta) => {
                if let Some(call) = self.calls.get_mut(&delta.call_id) {
                    call.json.push_str(&delta.json);
                }
            }
            Kind::FileOpened(file) => {
                self.step.opened.insert(file.call_id.clone());
            }
            Kind::FileDelta(delta) => {
                if let Some(call) = self.calls.get_mut(&delta.call_id) {
                    call.content.get_or_insert_default().push_str(&delta.text);
                }
            }
            Kind::ToolReady(ready) => {
                let call = self.calls.remove(&ready.call_id).unwrap_or_default();
                let input = call.input(&ready.input_json);
                let opaque = serde_json::from_str(&ready.opaque_json).unwrap_or_default();
                self.step.blocks.push(AssistantBlock::ToolCall { id: ready.call_id.clone(), tool: call.tool, input, opaque });
            }
            Kind::FileClosed(file) => {
                self.step.closed.insert(file.call_id.clone());
            }
            Kind::ToolFailed(call) => {
                self.step.failed.insert(call.call_id.clone());
            }
            Kind::ChecksFinished(checks) => {
                self.step.checks.insert(checks.call_id.clone(), checks.clone());
            }
            _ => {}
        }
    }

    fn text(&mut self, block: &str) -> &mut String {
        // `entry` needs an owned key, which is cloned only for the first delta of a block.
        if !self.texts.contains_key(block) {
            self.texts.insert(block.to_owned(), String::new());
        }
        self.texts.entry(block.to_owned()).or_default()
    }
}

impl PartialCall {
    /// The arguments of `tool.ready`, with the content of a file from its deltas. Arguments that are too long for one event come from their
    /// deltas.
    fn input(&self, ready: &str) -> Value {
        let ready = serde_json::from_str(ready).unwrap_or_default();
        let mut input = match &ready {
            Value::Object(map) if map.is_empty() && !self.json.is_empty() => tools::repair(&self.tool, Value::String(self.json.clone())),
            _ => ready,
        };
        if let (Some(object), Some(content)) = (input.as_object_mut(), &self.content)
            && self.tool == "write_file"
        {
            object.insert("content".to_owned(), Value::String(content.clone()));
        }
        input
    }
}

/// A turn as its log has it.
#[derive(Debug, Default, Clone)]
pub(crate) struct RecordedTurn {
    pub(crate) transcript: Transcript,
    pub(crate) last_seq: u32,
    /// The seq of the first event of the unfinished step.
    step_from: Option<u32>,
}

impl RecordedTurn {
    /// Takes the next event of the log.
    pub(crate) fn apply(&mut self, seq: u32, kind: &Kind) {
        self.last_seq = seq;
        match kind {
            Kind::StepStarted(_) => self.step_from = Some(seq),
            Kind::StepFinished(_) | Kind::StepSuperseded(_) => self.step_from = None,
            _ => {}
        }
        self.transcript.apply(kind);
    }

    /// The first and the last seq of the unfinished step.
    pub(crate) fn unfinished(&self) -> Option<(u32, u32)> {
        self.step_from.map(|from| (from, self.last_seq))
    }
}

#[cfg(test)]
mod tests {
    use proto::agent_streaming::{
        ChecksStatus, FileClosed, FileDelta, FileOpened, ReasoningDelta, ReasoningFinished, StepFinished, StepStarted, StepSuperseded,
        TextDelta, TextFinished, TextStarted, ToolFailed, ToolInputDelta, ToolReady, ToolStarted,
    };
    use serde_json::json;

    use super::*;

    fn step(step: u32) -> Kind {
        Kind::StepStarted(StepStarted { step })
    }

    fn finished(step: u32) -> Kind {
        Kind::StepFinished(StepFinished { step, finish_reason: "stop".into() })
    }

    fn text_block(text: &str) -> Vec<Kind> {
        let block_id = || "b".to_owned();
        vec![
            Kind::TextStarted(TextStarted { block_id: block_id() }),
            Kind::TextDelta(TextDelta { block_id: block_id(), text: text.into() }),
            Kind::TextFinished(TextFinished { block_id: block_id() }),
        ]
    }

    fn call(tool: &str, pieces: &[Kind], ready: &str) -> Vec<Kind> {
        let started = Kind::ToolStarted(ToolStarted { call_id: "c".into(), tool: tool.into() });
        let ready = Kind::ToolReady(ToolReady { call_id: "c".into(), input_json: ready.into(), ..ToolReady::default() });
        [&[started], pieces, &[ready]].concat()
    }

    fn file(text: &str) -> Kind {
        Kind::FileDelta(FileDelta { call_id: "c".into(), text: text.into() })
    }

    fn json_piece(json: &str) -> Kind {
        Kind::ToolInputDelta(ToolInputDelta { call_id: "c".into(), json: json.into() })
    }

    fn recorded(kinds: Vec<Vec<Kind>>) -> RecordedTurn {
        let mut turn = RecordedTurn::default();
        for (seq, kind) in (1..).zip(kinds.concat()) {
            turn.apply(seq, &kind);
        }
        turn
    }

    fn input_of(events: Vec<Kind>) -> Value {
        let turn = recorded(vec![vec![step(1)], events, vec![finished(1)]]);
        let inputs: Vec<_> = turn.transcript.finished[0].calls().map(|call| call.input.clone()).collect();
        assert_eq!(inputs.len(), 1);
        inputs[0].clone()
    }

    #[test]
    fn arguments_are_restored_from_events() {
        let opened = Kind::FileOpened(FileOpened { call_id: "c".into(), path: "a".into(), operation: 1 });
        let write = call("write_file", &[opened, file("he"), file("llo")], r#"{"path":"a"}"#);
        assert_eq!(input_of(write), json!({"path": "a", "content": "hello"}));
        assert_eq!(input_of(call("write_file", &[file("")], r#"{"path":"a"}"#)), json!({"path": "a", "content": ""}));
        assert_eq!(input_of(call("write_file", &[], r#"{"path":"a"}"#)), json!({"path": "a"}));
        let long = call("edit_file", &[json_piece(r#"{"path":"#), json_piece(r#""a"}"#)], "{}");
        assert_eq!(input_of(long), json!({"path": "a"}), "arguments that only deltas have");
        assert_eq!(input_of(call("list_files", &[json_piece("{}")], "{}")), json!({}));
        assert_eq!(input_of(call("read_file", &[], r#""{\"path""#)), json!("{\"path"), "incomplete arguments, which the tool refuses");
    }

    #[test]
    fn a_finished_step_keeps_its_blocks_in_order() {
        let thought = vec![
            Kind::ReasoningDelta(ReasoningDelta { block_id: "r".into(), text: "hm".into() }),
            Kind::ReasoningFinished(ReasoningFinished { block_id: "r".into(), opaque_json: r#"{"signature":"s"}"#.into() }),
        ];
        let failed = Kind::ToolFailed(ToolFailed { call_id: "c".into(), ..ToolFailed::default() });
        let turn = recorded(vec![vec![step(1)], thought, text_block("I look."), call("list_files", &[], "{}"), vec![failed, finished(1)]]);
        let step = &turn.transcript.finished[0];
        assert_eq!(
            step.blocks,
            [
                AssistantBlock::Reasoning { text: "hm".into(), opaque: json!({"signature": "s"}) },
                AssistantBlock::Text("I look.".into()),
                AssistantBlock::ToolCall { id: "c".into(), tool: "list_files".into(), input: json!({}), opaque: Value::Null },
            ]
        );
        assert!(!step.is_last() && step.calls().all(|call| call.failed && !call.opened));
        assert_eq!(turn.unfinished(), None);
    }

    #[test]
    fn staged_files_have_the_changes_that_were_made() {
        let closed = || Kind::FileClosed(FileClosed { call_id: "c".into(), path: "a".into(), size_bytes: 1 });
        let write = |text: &str| call("write_file", &[file(text)], r#"{"path":"a"}"#);
        let mut turn = recorded(vec![
            vec![step(1)],
            write("one"),
            vec![closed(), finished(1), step(2)],
            write("refused"),
            vec![Kind::ToolFailed(ToolFailed { call_id: "c".into(), ..ToolFailed::default() }), finished(2), step(3)],
            write("two"),
        ]);
        let texts = |turn: &RecordedTurn| -> Vec<String> {
            turn.transcript.changes().map(|call| call.input["content"].as_str().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(texts(&turn), ["one"], "the last call is not executed yet");
        turn.apply(50, &closed());
        assert_eq!(texts(&turn), ["one", "two"]);
        turn.apply(51, &Kind::StepSuperseded(StepSuperseded { from: 20, to: 50 }));
        assert_eq!(texts(&turn), ["one"]);
    }

    #[test]
    fn checks_belong_to_their_call_or_follow_a_step() {
        let checks = |call_id: &str, is_returned| ChecksFinished {
            status: ChecksStatus::Findings.into(),
            call_id: call_id.into(),
            is_returned,
            ..ChecksFinished::default()
        };
        let by_tool = Kind::ChecksFinished(checks("c", false));
        let mut turn = recorded(vec![
            vec![step(1)],
            call("check", &[], "{}"),
            vec![by_tool, finished(1), step(2)],
            text_block("done"),
            vec![finished(2), Kind::ChecksFinished(checks("", true)), step(3)],
        ]);
        let transcript = &turn.transcript;
        assert_eq!(transcript.finished[0].calls().map(|call| call.checks).collect::<Vec<_>>(), [Some(&checks("c", false))]);
        assert_eq!(transcript.checks, [(2, checks("", true))]);
        assert!(turn.unfinished().is_some());
        turn.apply(100, &finished(3));
        turn.apply(101, &Kind::ChecksFinished(checks("", false)));
        assert_eq!(turn.transcript.checks.iter().map(|(after, _)| *after).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(turn.unfinished(), None, "a check belongs to no step");
    }

    #[test]
    fn a_superseded_step_leaves_only_its_usage() {
        let mut turn = recorded(vec![vec![step(1)], text_block("one"), vec![finished(1), step(2)], text_block("tw")]);
        assert_eq!(turn.unfinished(), Some((6, 9)));
        let usage = Usage { input_tokens: 7, ..Usage::default() };
        turn.apply(10, &Kind::Usage(usage));
        assert_eq!(turn.unfinished(), Some((6, 10)));
        assert_eq!(turn.transcript.answer.text(), "one\n\ntw");
        turn.apply(11, &Kind::StepSuperseded(StepSuperseded { from: 6, to: 10 }));
        assert_eq!((turn.unfinished(), turn.transcript.answer.text()), (None, "one"));
        assert_eq!(turn.transcript.usage, usage);
        for (seq, kind) in (12..).zip([vec![step(2)], text_block("two"), vec![finished(2)]].concat()) {
            turn.apply(seq, &kind);
        }
        assert_eq!(turn.transcript.finished.len(), 2);
        assert!(turn.transcript.finished[1].is_last());
        assert_eq!(turn.transcript.answer.text(), "one\n\ntwo");
    }
}
