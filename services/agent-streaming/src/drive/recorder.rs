//! Records a turn: writes its events to the log, and keeps the state that follows from them.

mod usage;

use proto::agent_streaming::{StepStarted, StepSuperseded, Usage, turn_event::Kind};

use self::usage::UsageMeter;
use crate::{
    log::journal::{TurnLog, WriteError},
    store::StoreError,
    turn::{Change, Failure, event, transcript::Transcript},
};

/// Why a worker stops before the last step.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The turn fails.
    Failed(Failure),
    /// The log takes no more events from this process.
    Write(WriteError),
    /// The database failed. Another worker continues the turn.
    Store(StoreError),
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<WriteError> for RunError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl From<Failure> for RunError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Writes the events of a turn to its log, and keeps the state that follows from them.
pub(crate) struct Recorder<'a> {
    pub(crate) log: &'a TurnLog,
    pub(crate) transcript: Transcript,
    meter: UsageMeter,
    /// The seq of the first event of the current step.
    step_from: u32,
}

impl<'a> Recorder<'a> {
    /// Continues from the transcript of a resumed turn, which is empty for a new one.
    pub(crate) fn new(log: &'a TurnLog, transcript: Transcript) -> Self {
        let meter = UsageMeter::new(transcript.usage);
        Self { log, transcript, meter, step_from: 0 }
    }

    /// Applies the same events to the transcript that go into the log, so that a worker that reads the log gets the same state.
    pub(crate) async fn push(&mut self, kind: Kind) -> Result<(), WriteError> {
        for kind in event::fit(kind) {
            self.transcript.apply(&kind);
            self.log.push_fitted(kind).await?;
        }
        Ok(())
    }

    pub(crate) async fn push_with(&mut self, kind: Kind, change: Change) -> Result<(), WriteError> {
        let kinds = event::fit(kind);
        kinds.iter().for_each(|kind| self.transcript.apply(kind));
        self.log.push_fitted_with(kinds, change).await
    }

    /// Starts a step, or the same step again after [`Recorder::supersede_step`].
    pub(super) async fn start_step(&mut self, step: u32) -> Result<(), WriteError> {
        self.push(Kind::StepStarted(StepStarted { step })).await?;
        self.step_from = self.log.last_seq();
        Ok(())
    }

    /// Supersedes all events of the current step.
    pub(super) async fn supersede_step(&mut self) -> Result<(), WriteError> {
        let range = StepSuperseded { from: self.step_from, to: self.log.last_seq() };
        self.push(Kind::StepSuperseded(range)).await
    }

    /// Records the usage of the current attempt so far.
    pub(super) async fn record_usage(&mut self, usage: Usage) -> Result<(), WriteError> {
        match self.meter.update(usage) {
            Some(total) => self.push_with(Kind::Usage(total), Change::usage(total)).await,
            None => Ok(()),
        }
    }

    /// Records a request whose tokens are these. What it would have had with every file and the whole conversation follows from the plan. Not
    /// every provider reports a usage, and not every request is answered.
    pub(super) async fn count_request(&mut self, tokens: u32) -> Result<(), WriteError> {
        let plan = self.transcript.context.as_ref().filter(|plan| plan.full_prompt_tokens > 0);
        let full = plan.map(|plan| tokens.saturating_sub(plan.prompt_tokens).saturating_add(plan.full_prompt_tokens));
        let total = self.meter.add_request(tokens, full);
        self.push_with(Kind::Usage(total), Change::usage(total)).await
    }

    /// Finishes the usage of the current attempt, and returns it.
    pub(super) fn finish_attempt(&mut self) -> Usage {
        self.meter.finish_attempt()
    }
}
