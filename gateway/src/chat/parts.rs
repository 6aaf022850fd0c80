//! The log of a turn as the parts of an answer, which all chat protocols have in common. Steps, blocks, calls and files begin before they
//! continue, end once, and have all ended at the end of the turn, whatever the log contains. A protocol only has to write the parts. Pure.

mod files;

use std::borrow::Cow;

use proto::agent_streaming::{ChecksFinished, FileOperation, FilesCommitted, TurnEvent, Usage, turn_event::Kind};

pub(crate) use files::File;
use files::{Files, NewFiles};

/// The error text of a call without an answer.
const UNFINISHED: &str = "the call was abandoned before it was done";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    Text,
    Reasoning,
}

/// One part of an answer. Texts are borrowed from the event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part<'e> {
    Started,
    Agent(&'e str),
    StepStarted(u32),
    StepFinished(u32),
    /// The parts of the open step so far are void. The step stays open.
    StepReset,
    BlockStarted(Block, Cow<'e, str>),
    BlockDelta(Block, &'e str, &'e str),
    BlockFinished(Block, Cow<'e, str>),
    CallStarted {
        call: &'e str,
        tool: &'e str,
    },
    CallInput {
        call: &'e str,
        json: &'e str,
    },
    /// The file that a call will write. It is known before the input is complete.
    CallTarget {
        call: &'e str,
        tool: String,
        path: &'e str,
    },
    CallReady {
        call: &'e str,
        tool: String,
        input: &'e str,
        /// The input has been sent in `CallInput` parts.
        streamed: bool,
    },
    CallDone {
        call: Cow<'e, str>,
        tool: String,
        /// How much of its input has been sent.
        progress: InputProgress,
        /// A summary for people, or an error text.
        outcome: Result<&'e str, Cow<'e, str>>,
    },
    File(File),
    /// A further piece of a file's new content.
    FileText {
        path: String,
        text: &'e str,
    },
    Notice(Notice<'e>),
    Usage(&'e Usage),
    Committed(&'e FilesCommitted),
    Checked(&'e ChecksFinished),
    Ended(Outcome<'e>),
}

/// How much of a call's input has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InputProgress {
    /// Nothing, or pieces.
    Partial,
    /// The file that the call writes.
    Target,
    Complete,
}

/// A notice for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice<'e> {
    /// The turn waits for another one.
    Queued { turn: &'e str },
    /// The provider did not answer; the attempt is repeated.
    Retrying { text: &'e str },
    /// The parts of the step so far are void. The step begins again.
    Superseded,
    /// Somebody else has changed these files in the meantime.
    Conflicted { paths: Vec<String>, revision: &'e str },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome<'e> {
    Completed { revision: &'e str },
    Failed { reason: &'e str, message: &'e str },
    Cancelled,
    Conflicted { revision: &'e str },
}

#[derive(Debug)]
struct Call {
    id: String,
    tool: String,
    streamed: bool,
    progress: InputProgress,
}

/// The state of an answer, which turns events into parts.
#[derive(Debug, Default)]
pub(crate) struct AnswerParts {
    /// Whether the protocol can remove the parts of a step.
    resets: bool,
    started: bool,
    ended: bool,
    step: Option<u32>,
    /// The open step was reset and begins again without another `StepStarted`.
    restarts: bool,
    blocks: Vec<(Block, String)>,
    calls: Vec<Call>,
    files: Files,
    conflict: Vec<String>,
    usage: Option<Usage>,
    finish_reason: String,
}

type Out<'e> = Vec<Part<'e>>;

impl AnswerParts {
    pub(crate) fn new(resets: bool) -> Self {
        Self { resets, ..Self::default() }
    }

    /// The usage of the turn, if it is known.
    pub(crate) fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// Why the last finished step ended.
    pub(crate) fn finish_reason(&self) -> &str {
        &self.finish_reason
    }

    /// The parts of one event. Events come in order. Some may be missing, as in the compact form of a log.
    pub(crate) fn event<'e>(&mut self, event: &'e TurnEvent) -> Vec<Part<'e>> {
        let mut out = Vec::new();
        if self.ended {
            return out;
        }
        if !self.started {
            self.started = true;
            out.push(Part::Started);
        }
        if let Some(kind) = &event.kind {
            self.kind(&mut out, kind);
        }
        out
    }

    fn kind<'e>(&mut self, out: &mut Out<'e>, kind: &'e Kind) {
        match kind {
            Kind::AgentSelected(e) => out.push(Part::Agent(&e.agent)),
            Kind::TurnQueued(e) => out.push(Part::Notice(Notice::Queued { turn: &e.running_turn_id })),
            Kind::AttemptFailed(e) if e.retry_in_ms > 0 => out.push(Part::Notice(Notice::Retrying { text: &e.message })),
            Kind::StepStarted(e) => self.step_started(out, e.step),
            Kind::StepFinished(e) => {
                self.finish_reason.clone_from(&e.finish_reason);
                self.close_step(out);
                out.extend(self.files.keep().into_iter().map(Part::File));
            }
            Kind::StepSuperseded(_) => self.superseded(out),
            Kind::TextStarted(e) => self.open_block(out, Block::Text, &e.block_id),
            Kind::TextDelta(e) => self.delta(out, Block::Text, &e.block_id, &e.text),
            Kind::TextFinished(e) => self.close_block(out, Block::Text, &e.block_id),
            Kind::ReasoningStarted(e) => self.open_block(out, Block::Reasoning, &e.block_id),
            Kind::ReasoningDelta(e) => self.delta(out, Block::Reasoning, &e.block_id, &e.text),
            Kind::ReasoningFinished(e) => self.close_block(out, Block::Reasoning, &e.block_id),
            Kind::ToolStarted(_) | Kind::ToolInputDelta(_) | Kind::ToolReady(_) | Kind::ToolOutput(_) | Kind::ToolFailed(_) => {
                self.call(out, kind);
            }
            Kind::FileOpened(_) | Kind::FileDelta(_) | Kind::FileClosed(_) | Kind::FileRejected(_) => self.file(out, kind),
            Kind::FilesCommitted(e) => out.push(Part::Committed(e)),
            // The answer of a call has the findings of the tool.
            Kind::ChecksFinished(e) if e.call_id.is_empty() => out.push(Part::Checked(e)),
            Kind::FilesConflict(e) => self.conflict.clone_from(&e.paths),
            Kind::Usage(e) => {
                self.usage = Some(*e);
                out.push(Part::Usage(e));
            }
            Kind::TurnCompleted(e) => self.end(out, Outcome::Completed { revision: &e.revision }),
            Kind::TurnFailed(e) => self.end(out, Outcome::Failed { reason: &e.reason, message: &e.message }),
            Kind::TurnCancelled(_) => self.end(out, Outcome::Cancelled),
            Kind::TurnConflicted(e) => self.end(out, Outcome::Conflicted { revision: &e.revision }),
            Kind::TurnAccepted(_)
            | Kind::TurnStarted(_)
            | Kind::TurnCommitting(_)
            | Kind::ContextPlanned(_)
            | Kind::AttemptStarted(_)
            | Kind::AttemptFailed(_)
            | Kind::ChecksFinished(_) => {}
        }
    }

    fn step_started(&mut self, out: &mut Out<'_>, step: u32) {
        if self.step.is_some() && self.restarts {
            self.restarts = false;
            return;
        }
        self.close_step(out);
        self.step = Some(step);
        out.push(Part::StepStarted(step));
    }

    /// Another process repeats the step. If the protocol allows it, the parts of the first run are removed. Otherwise they are closed, and a
    /// notice says that they are void.
    fn superseded(&mut self, out: &mut Out<'_>) {
        if self.step.is_none() && self.blocks.is_empty() && self.calls.is_empty() {
            return;
        }
        if self.resets && self.step.is_some() {
            out.push(Part::StepReset);
            self.blocks.clear();
            self.calls.clear();
            self.restarts = true;
            // The client drops the files that the step has added.
            out.extend(self.files.restore(NewFiles::Drop).into_iter().map(Part::File));
        } else {
            self.close_step(out);
            out.extend(self.files.restore(NewFiles::Fail("STEP_SUPERSEDED")).into_iter().map(Part::File));
            out.push(Part::Notice(Notice::Superseded));
        }
    }

    fn open_block<'e>(&mut self, out: &mut Out<'e>, block: Block, id: &'e str) {
        if !self.blocks.iter().any(|(kind, open)| *kind == block && open == id) {
            self.blocks.push((block, id.to_owned()));
            out.push(Part::BlockStarted(block, Cow::Borrowed(id)));
        }
    }

    fn delta<'e>(&mut self, out: &mut Out<'e>, block: Block, id: &'e str, text: &'e str) {
        self.open_block(out, block, id);
        if !text.is_empty() {
            out.push(Part::BlockDelta(block, id, text));
        }
    }

    fn close_block<'e>(&mut self, out: &mut Out<'e>, block: Block, id: &'e str) {
        if let Some(at) = self.blocks.iter().position(|(kind, open)| *kind == block && open == id) {
            self.blocks.remove(at);
            out.push(Part::BlockFinished(block, Cow::Borrowed(id)));
        }
    }

    fn call<'e>(&mut self, out: &mut Out<'e>, kind: &'e Kind) {
        match kind {
            Kind::ToolStarted(e) if !self.calls.iter().any(|call| call.id == e.call_id) => {
                self.calls.push(Call { id: e.call_id.clone(), tool: e.tool.clone(), streamed: false, progress: InputProgress::Partial });
                out.push(Part::CallStarted { call: &e.call_id, tool: &e.tool });
            }
            Kind::ToolInputDelta(e) => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.id == e.call_id && call.progress < InputProgress::Complete) {
                    call.streamed = true;
                    out.push(Part::CallInput { call: &e.call_id, json: &e.json });
                }
            }
            Kind::ToolReady(e) => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.id == e.call_id && call.progress < InputProgress::Complete) {
                    call.progress = InputProgress::Complete;
                    let (tool, streamed) = (call.tool.clone(), call.streamed);
                    out.push(Part::CallReady { call: &e.call_id, tool, input: &e.input_json, streamed });
                }
            }
            Kind::ToolOutput(e) => self.call_done(out, &e.call_id, Ok(&e.summary)),
            Kind::ToolFailed(e) => self.call_done(out, &e.call_id, Err(Cow::Borrowed(&e.message))),
            _ => {}
        }
    }

    fn call_done<'e>(&mut self, out: &mut Out<'e>, id: &'e str, outcome: Result<&'e str, Cow<'e, str>>) {
        if let Some(at) = self.calls.iter().position(|call| call.id == id) {
            let call = self.calls.remove(at);
            out.push(Part::CallDone { call: Cow::Borrowed(id), tool: call.tool, progress: call.progress, outcome });
        }
    }

    fn file<'e>(&mut self, out: &mut Out<'e>, kind: &'e Kind) {
        match kind {
            Kind::FileOpened(e) => {
                let operation = FileOperation::try_from(e.operation).unwrap_or_default();
                if let Some(call) = self.calls.iter_mut().find(|call| call.id == e.call_id && call.progress == InputProgress::Partial)
                    && operation == FileOperation::Write
                {
                    call.progress = InputProgress::Target;
                    out.push(Part::CallTarget { call: &e.call_id, tool: call.tool.clone(), path: &e.path });
                }
                out.push(Part::File(self.files.opened(&e.call_id, &e.path, operation)));
            }
            Kind::FileDelta(e) => {
                if let Some(path) = self.files.path_of(&e.call_id) {
                    out.push(Part::FileText { path: path.to_owned(), text: &e.text });
                }
            }
            Kind::FileClosed(e) => out.extend(self.files.closed(&e.call_id, &e.path, e.size_bytes).into_iter().map(Part::File)),
            Kind::FileRejected(e) => out.extend(self.files.rejected(&e.call_id, &e.reason).map(Part::File)),
            _ => {}
        }
    }

    /// Closes the open step with everything that is open in it.
    fn close_step(&mut self, out: &mut Out<'_>) {
        out.extend(self.blocks.drain(..).map(|(block, id)| Part::BlockFinished(block, id.into())));
        out.extend(self.calls.drain(..).map(|call| Part::CallDone {
            call: call.id.into(),
            tool: call.tool,
            progress: call.progress,
            outcome: Err(Cow::Borrowed(UNFINISHED)),
        }));
        self.restarts = false;
        out.extend(self.step.take().map(Part::StepFinished));
    }

    fn end<'e>(&mut self, out: &mut Out<'e>, outcome: Outcome<'e>) {
        self.ended = true;
        self.close_step(out);
        let failure = match outcome {
            Outcome::Completed { .. } => None,
            Outcome::Failed { reason, .. } => Some(reason),
            Outcome::Cancelled => Some("TURN_CANCELLED"),
            Outcome::Conflicted { .. } => Some("TURN_CONFLICTED"),
        };
        // The files were staged, and nothing of the staged tree was kept.
        if let Some(reason) = failure {
            out.extend(self.files.fail_all(reason).into_iter().map(Part::File));
        }
        if let Outcome::Conflicted { revision } = outcome {
            out.push(Part::Notice(Notice::Conflicted { paths: std::mem::take(&mut self.conflict), revision }));
        }
        out.push(Part::Ended(outcome));
    }
}

#[cfg(test)]
pub(crate) mod tests;
