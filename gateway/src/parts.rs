//! A turn's log as the parts of an answer: what every chat protocol has in common. Steps, blocks, calls and files open before
//! they go on, close once, and are all closed at the end, whatever the log says; so a protocol only has to spell the parts.
//! Pure.

mod files;

use std::borrow::Cow;

use proto::agent_streaming::{FileOperation, FilesCommitted, TurnEvent, Usage, turn_event::Kind};

pub(crate) use files::File;
use files::{Files, Gone};

/// What a client is told of a call that got no answer.
const UNFINISHED: &str = "the call was given up before it was done";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    Text,
    Reasoning,
}

/// One thing to say. Those that borrow do so from the event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part<'e> {
    Started,
    Agent(&'e str),
    StepStarted(u32),
    StepFinished(u32),
    /// What the open step has said so far counts no more; the step stays open.
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
    /// Which file a call will write is known before all of its input is.
    CallTarget {
        call: &'e str,
        tool: String,
        path: &'e str,
    },
    CallReady {
        call: &'e str,
        tool: String,
        input: &'e str,
        /// The input has been sent piece by piece.
        streamed: bool,
    },
    CallDone {
        call: Cow<'e, str>,
        tool: String,
        /// How far its input had come.
        known: Known,
        /// A line for people, or why there is none.
        outcome: Result<&'e str, Cow<'e, str>>,
    },
    File(File),
    /// More of a file's new content.
    FileText {
        path: String,
        text: &'e str,
    },
    Notice(Notice<'e>),
    Usage(&'e Usage),
    Committed(&'e FilesCommitted),
    Ended(Outcome<'e>),
}

/// How much of a call's input has been said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Known {
    /// None, or pieces of it.
    Pieces,
    /// The file that it writes.
    Target,
    All,
}

/// Something that a person may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice<'e> {
    /// Another turn runs.
    Queued { turn: &'e str },
    /// The provider did not answer and is asked again.
    Retrying { text: &'e str },
    /// What the step said before is void, and it begins anew.
    Superseded,
    /// Somebody else changed these files meanwhile.
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
    known: Known,
}

/// What has been said so far.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// The client can take back what a step has said.
    resets: bool,
    started: bool,
    ended: bool,
    step: Option<u32>,
    /// The open step was taken back and begins anew under its old head.
    again: bool,
    blocks: Vec<(Block, String)>,
    calls: Vec<Call>,
    files: Files,
    conflict: Vec<String>,
    usage: Option<Usage>,
    finish_reason: String,
}

type Out<'e> = Vec<Part<'e>>;

impl Parts {
    pub(crate) fn new(resets: bool) -> Self {
        Self { resets, ..Self::default() }
    }

    /// What the turn has used, if that is known.
    pub(crate) fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// Why the last finished step ended.
    pub(crate) fn finish_reason(&self) -> &str {
        &self.finish_reason
    }

    /// What one event brings. Events come in order; those that the log has no more may be missing.
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
            Kind::FilesConflict(e) => self.conflict.clone_from(&e.paths),
            Kind::Usage(e) => {
                self.usage = Some(*e);
                out.push(Part::Usage(e));
            }
            Kind::TurnCompleted(e) => self.end(out, Outcome::Completed { revision: &e.revision }),
            Kind::TurnFailed(e) => self.end(out, Outcome::Failed { reason: &e.reason, message: &e.message }),
            Kind::TurnCancelled(_) => self.end(out, Outcome::Cancelled),
            Kind::TurnConflicted(e) => self.end(out, Outcome::Conflicted { revision: &e.revision }),
            Kind::TurnAccepted(_) | Kind::TurnStarted(_) | Kind::TurnCommitting(_) | Kind::AttemptStarted(_) | Kind::AttemptFailed(_) => {}
        }
    }

    fn step_started(&mut self, out: &mut Out<'_>, step: u32) {
        if self.step.is_some() && self.again {
            self.again = false;
            return;
        }
        self.close_step(out);
        self.step = Some(step);
        out.push(Part::StepStarted(step));
    }

    /// Another process asks the model again. What the lost one said is taken back where a client can do that; elsewhere it is
    /// closed as it stands, and a notice says that it counts no more.
    fn superseded(&mut self, out: &mut Out<'_>) {
        if self.step.is_none() && self.blocks.is_empty() && self.calls.is_empty() {
            return;
        }
        if self.resets && self.step.is_some() {
            out.push(Part::StepReset);
            self.blocks.clear();
            self.calls.clear();
            self.again = true;
            // Those that the step brought are gone with it.
            out.extend(self.files.restore(Gone::Unsaid).into_iter().map(Part::File));
        } else {
            self.close_step(out);
            out.extend(self.files.restore(Gone::Failed("STEP_SUPERSEDED")).into_iter().map(Part::File));
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
                self.calls.push(Call { id: e.call_id.clone(), tool: e.tool.clone(), streamed: false, known: Known::Pieces });
                out.push(Part::CallStarted { call: &e.call_id, tool: &e.tool });
            }
            Kind::ToolInputDelta(e) => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.id == e.call_id && call.known < Known::All) {
                    call.streamed = true;
                    out.push(Part::CallInput { call: &e.call_id, json: &e.json });
                }
            }
            Kind::ToolReady(e) => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.id == e.call_id && call.known < Known::All) {
                    call.known = Known::All;
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
            out.push(Part::CallDone { call: Cow::Borrowed(id), tool: call.tool, known: call.known, outcome });
        }
    }

    fn file<'e>(&mut self, out: &mut Out<'e>, kind: &'e Kind) {
        match kind {
            Kind::FileOpened(e) => {
                let operation = FileOperation::try_from(e.operation).unwrap_or_default();
                if let Some(call) = self.calls.iter_mut().find(|call| call.id == e.call_id && call.known == Known::Pieces)
                    && operation == FileOperation::Write
                {
                    call.known = Known::Target;
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

    /// Closes the open step with all that is open in it.
    fn close_step(&mut self, out: &mut Out<'_>) {
        out.extend(self.blocks.drain(..).map(|(block, id)| Part::BlockFinished(block, id.into())));
        out.extend(self.calls.drain(..).map(|call| Part::CallDone {
            call: call.id.into(),
            tool: call.tool,
            known: call.known,
            outcome: Err(Cow::Borrowed(UNFINISHED)),
        }));
        self.again = false;
        out.extend(self.step.take().map(Part::StepFinished));
    }

    fn end<'e>(&mut self, out: &mut Out<'e>, outcome: Outcome<'e>) {
        self.ended = true;
        self.close_step(out);
        let lost = match outcome {
            Outcome::Completed { .. } => None,
            Outcome::Failed { reason, .. } => Some(reason),
            Outcome::Cancelled => Some("TURN_CANCELLED"),
            Outcome::Conflicted { .. } => Some("TURN_CONFLICTED"),
        };
        // They stood on the staged tree, of which nothing was kept.
        if let Some(reason) = lost {
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
