//! What a turn has said and done, folded from its events: by its owner while it runs, and from the log by whoever takes it over.
//! Both see the same, because both see only events. Pure.

use std::collections::{HashMap, HashSet};

use proto::agent_streaming::{Usage, turn_event::Kind};
use serde_json::Value;

use crate::{model::provider::AssistantBlock, turn::answer::Answer, workspace::tools};

/// The state of a turn after some of its events.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    pub(crate) answer: Answer,
    /// By the provider's numbers, calls included whose step was superseded.
    pub(crate) usage: Usage,
    /// Steps that were finished and not taken out yet.
    pub(crate) finished: Vec<Step>,
    open: Option<Open>,
}

/// One answer of the model.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Step {
    pub(crate) blocks: Vec<AssistantBlock>,
    /// Calls whose file viewers know already.
    opened: HashSet<String>,
    /// Calls that the tool refused.
    failed: HashSet<String>,
}

/// A call that the model made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Call<'a> {
    pub(crate) id: &'a str,
    pub(crate) tool: &'a str,
    pub(crate) input: &'a Value,
    /// Viewers have seen that the call opens its file.
    pub(crate) opened: bool,
    /// The log says that the tool refused.
    pub(crate) failed: bool,
}

impl Step {
    pub(crate) fn calls(&self) -> impl Iterator<Item = Call<'_>> {
        self.blocks.iter().filter_map(|block| match block {
            AssistantBlock::ToolCall { id, tool, input, .. } => {
                Some(Call { id, tool, input, opened: self.opened.contains(id), failed: self.failed.contains(id) })
            }
            AssistantBlock::Text(_) | AssistantBlock::Reasoning { .. } => None,
        })
    }

    /// The model calls no tool any more: it is done.
    pub(crate) fn is_last(&self) -> bool {
        self.calls().next().is_none()
    }
}

/// A step while it arrives.
#[derive(Debug, Default)]
struct Open {
    step: Step,
    texts: HashMap<String, String>,
    calls: HashMap<String, Arriving>,
}

/// A call whose arguments are not whole yet.
#[derive(Debug, Default)]
struct Arriving {
    tool: String,
    json: String,
    content: Option<String>,
}

impl Transcript {
    pub(crate) fn apply(&mut self, kind: &Kind) {
        self.answer.apply(kind);
        match kind {
            Kind::Usage(usage) => self.usage = *usage,
            Kind::StepStarted(_) => self.open = Some(Open::default()),
            Kind::StepFinished(_) => self.finished.extend(self.open.take().map(|open| open.step)),
            Kind::StepSuperseded(_) => self.open = None,
            kind => {
                if let Some(open) = &mut self.open {
                    open.apply(kind);
                }
            }
        }
    }

    /// The step that runs, as far as it is whole; nothing of it stays here.
    pub(crate) fn take_open(&mut self) -> Step {
        self.open.take().map(|open| open.step).unwrap_or_default()
    }
}

impl Open {
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
                self.calls.insert(call.call_id.clone(), Arriving { tool: call.tool.clone(), ..Arriving::default() });
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
            Kind::ToolFailed(call) => {
                self.step.failed.insert(call.call_id.clone());
            }
            _ => {}
        }
    }

    fn text(&mut self, block: &str) -> &mut String {
        // Looked up first: a key is only made for the first piece.
        if !self.texts.contains_key(block) {
            self.texts.insert(block.to_owned(), String::new());
        }
        self.texts.entry(block.to_owned()).or_default()
    }
}

impl Arriving {
    /// The arguments: those of `tool.ready`, with the content that is in the deltas only. Arguments too long for one event are in
    /// their deltas.
    fn input(&self, ready: &str) -> Value {
        let told = serde_json::from_str(ready).unwrap_or_default();
        let mut input = match &told {
            Value::Object(map) if map.is_empty() && !self.json.is_empty() => tools::mend(&self.tool, Value::String(self.json.clone())),
            _ => told,
        };
        if let (Some(object), Some(content)) = (input.as_object_mut(), &self.content)
            && self.tool == "write_file"
        {
            object.insert("content".to_owned(), Value::String(content.clone()));
        }
        input
    }
}

/// A turn as its lost owner left it.
#[derive(Debug, Default)]
pub(crate) struct RecordedTurn {
    pub(crate) transcript: Transcript,
    last_seq: u32,
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

    /// The events of the step that was not finished, first and last.
    pub(crate) fn unfinished(&self) -> Option<(u32, u32)> {
        self.step_from.map(|from| (from, self.last_seq))
    }
}

#[cfg(test)]
mod tests {
    use proto::agent_streaming::{
        FileDelta, FileOpened, ReasoningDelta, ReasoningFinished, StepFinished, StepStarted, StepSuperseded, TextDelta, TextFinished,
        TextStarted, ToolFailed, ToolInputDelta, ToolReady, ToolStarted,
    };
    use serde_json::json;

    use super::*;

    fn step(step: u32) -> Kind {
        Kind::StepStarted(StepStarted { step })
    }

    fn finished(step: u32) -> Kind {
        Kind::StepFinished(StepFinished { step, finish_reason: "stop".into() })
    }

    fn said(text: &str) -> Vec<Kind> {
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

    fn past(kinds: Vec<Vec<Kind>>) -> RecordedTurn {
        let mut past = RecordedTurn::default();
        for (seq, kind) in (1..).zip(kinds.concat()) {
            past.apply(seq, &kind);
        }
        past
    }

    fn input_of(events: Vec<Kind>) -> Value {
        let past = past(vec![vec![step(1)], events, vec![finished(1)]]);
        let inputs: Vec<_> = past.transcript.finished[0].calls().map(|call| call.input.clone()).collect();
        assert_eq!(inputs.len(), 1);
        inputs[0].clone()
    }

    #[test]
    fn arguments_are_put_together_again() {
        let opened = Kind::FileOpened(FileOpened { call_id: "c".into(), path: "a".into(), operation: 1 });
        let write = call("write_file", &[opened, file("he"), file("llo")], r#"{"path":"a"}"#);
        assert_eq!(input_of(write), json!({"path": "a", "content": "hello"}));
        assert_eq!(input_of(call("write_file", &[file("")], r#"{"path":"a"}"#)), json!({"path": "a", "content": ""}));
        assert_eq!(input_of(call("write_file", &[], r#"{"path":"a"}"#)), json!({"path": "a"}));
        let long = call("edit_file", &[json_piece(r#"{"path":"#), json_piece(r#""a"}"#)], "{}");
        assert_eq!(input_of(long), json!({"path": "a"}), "what no single event holds");
        assert_eq!(input_of(call("list_files", &[json_piece("{}")], "{}")), json!({}));
        assert_eq!(input_of(call("read_file", &[], r#""{\"path""#)), json!("{\"path"), "not whole, for the tool to refuse");
    }

    #[test]
    fn a_finished_step_keeps_its_blocks_in_order() {
        let thought = vec![
            Kind::ReasoningDelta(ReasoningDelta { block_id: "r".into(), text: "hm".into() }),
            Kind::ReasoningFinished(ReasoningFinished { block_id: "r".into(), opaque_json: r#"{"signature":"s"}"#.into() }),
        ];
        let failed = Kind::ToolFailed(ToolFailed { call_id: "c".into(), ..ToolFailed::default() });
        let past = past(vec![vec![step(1)], thought, said("I look."), call("list_files", &[], "{}"), vec![failed, finished(1)]]);
        let step = &past.transcript.finished[0];
        assert_eq!(
            step.blocks,
            [
                AssistantBlock::Reasoning { text: "hm".into(), opaque: json!({"signature": "s"}) },
                AssistantBlock::Text("I look.".into()),
                AssistantBlock::ToolCall { id: "c".into(), tool: "list_files".into(), input: json!({}), opaque: Value::Null },
            ]
        );
        assert!(!step.is_last() && step.calls().all(|call| call.failed && !call.opened));
        assert_eq!(past.unfinished(), None);
    }

    #[test]
    fn an_unfinished_step_is_named_and_leaves_nothing_once_superseded() {
        let mut past = past(vec![vec![step(1)], said("one"), vec![finished(1), step(2)], said("tw")]);
        assert_eq!(past.unfinished(), Some((6, 9)));
        let usage = Usage { input_tokens: 7, ..Usage::default() };
        past.apply(10, &Kind::Usage(usage));
        assert_eq!(past.unfinished(), Some((6, 10)));
        assert_eq!(past.transcript.answer.text(), "one\n\ntw");
        past.apply(11, &Kind::StepSuperseded(StepSuperseded { from: 6, to: 10 }));
        assert_eq!((past.unfinished(), past.transcript.answer.text()), (None, "one"));
        assert_eq!(past.transcript.usage, usage, "what was used stays used");
        for (seq, kind) in (12..).zip([vec![step(2)], said("two"), vec![finished(2)]].concat()) {
            past.apply(seq, &kind);
        }
        assert_eq!(past.transcript.finished.len(), 2);
        assert!(past.transcript.finished[1].is_last());
        assert_eq!(past.transcript.answer.text(), "one\n\ntwo");
    }
}
