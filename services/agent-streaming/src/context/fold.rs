//! Folds the conversation. Turns are told word for word until they have more tokens than a high-water mark. Then the oldest of them become
//! one line each, until the others are below a low-water mark. The newest turn is told word for word, however long it is. So the beginning of the
//! conversation is the same in most turns. What is folded follows from the turns alone, oldest first, and not from what an earlier turn has folded.

use std::collections::HashMap;

use proto::project_storage::{Message, MessageRole};

use super::tokens::count;
use crate::{
    digest::sha256,
    model::{
        marks::escaped,
        message::{AssistantBlock, ModelMessage},
    },
};

/// The most turns that have a line each, and how many are left when there are more.
const MAX_LINES: usize = 200;
const LEFT_LINES: usize = 100;
/// The part of a request that its line has.
const REQUEST_CHARS: usize = 160;
/// The files that a line names.
const LINE_FILES: usize = 5;
/// The part of the high-water mark that is the low-water mark.
const LOW_PART: u32 = 2;
/// The answer of a turn that has none.
const NO_ANSWER: &str = "(This turn ended without an answer.)";
/// The answer to the lines of folded turns.
const LINES_ANSWER: &str = "(These requests are done.)";

/// What is known of an ended turn besides its messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Such as `completed` or `failed`.
    pub(crate) outcome: String,
    /// The files that it has changed. Empty if it has made no revision.
    pub(crate) files: Vec<String>,
}

/// A turn of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PastTurn {
    id: String,
    request: String,
    /// What the model gets as the answer.
    answers: Vec<String>,
    record: Record,
    /// Of its messages.
    tokens: u32,
}

/// The turns of a conversation, the oldest first. `known` is what is known of them, by their ids.
pub(crate) fn turns(messages: &[Message], known: &HashMap<String, Record>) -> Vec<PastTurn> {
    let mut turns: Vec<PastTurn> = Vec::new();
    for message in messages.iter().filter(|message| !message.text.trim().is_empty()) {
        if message.role() == MessageRole::User {
            turns.push(PastTurn {
                id: message.turn_id.clone(),
                request: message.text.clone(),
                answers: Vec::new(),
                record: known.get(&message.turn_id).cloned().unwrap_or_default(),
                tokens: count(&message.text),
            });
        } else if let Some(turn) = answered_by(message, &mut turns) {
            let text = answer(message);
            turn.tokens = turn.tokens.saturating_add(count(&text));
            turn.answers.push(text);
        }
    }
    let without = count(NO_ANSWER);
    for turn in turns.iter_mut().filter(|turn| turn.answers.is_empty()) {
        turn.tokens = turn.tokens.saturating_add(without);
    }
    turns
}

/// The turn of an answer. The requests of queued turns are written when they begin, so other requests can be between a request and its answer.
/// An answer whose own request was deleted belongs to the newest request before it.
fn answered_by<'a>(message: &Message, turns: &'a mut [PastTurn]) -> Option<&'a mut PastTurn> {
    let own = turns.iter().rposition(|turn| turn.id == message.turn_id).or(turns.len().checked_sub(1));
    own.and_then(|at| turns.get_mut(at))
}

/// The tokens of all turns, word for word.
#[must_use]
pub(crate) fn tokens(turns: &[PastTurn]) -> u32 {
    turns.iter().map(|turn| turn.tokens).fold(0, u32::saturating_add)
}

/// The turns without those before a turn that later calls are likely to find, too, and how many those are. For a conversation whose beginning
/// is not known: what is folded would be another part in every turn.
pub(crate) fn anchored(turns: &[PastTurn]) -> (&[PastTurn], usize) {
    // One of sixteen turns can be the first: its hash begins with 0.
    let is_anchor = |turn: &PastTurn| sha256(&turn.id).starts_with('0');
    let first = turns.iter().take(turns.len() / 2).position(is_anchor).unwrap_or(0);
    (turns.get(first..).unwrap_or_default(), first)
}

/// What the model gets of the conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Folding {
    /// The oldest turns, which are left out.
    pub(crate) omitted: usize,
    /// The turns after them, of one line each.
    pub(crate) folded: usize,
    /// The other turns, word for word.
    pub(crate) kept: usize,
}

impl Folding {
    /// The same turns, all of one line or left out.
    #[must_use]
    pub(crate) fn without_words(self) -> Self {
        let lines = self.folded + self.kept;
        let folded = if lines > MAX_LINES { LEFT_LINES } else { lines };
        Self { omitted: self.omitted + lines - folded, folded, kept: 0 }
    }
}

/// How turns are folded. `high` is the most tokens of the turns that are kept.
#[must_use]
pub(crate) fn fold(turns: &[PastTurn], high: u32) -> Folding {
    let low = high / LOW_PART;
    let (mut first, mut omitted, mut tokens) = (0, 0, 0_u64);
    for (at, turn) in turns.iter().enumerate() {
        tokens += u64::from(turn.tokens);
        if tokens <= u64::from(high) {
            continue;
        }
        // The newest turn is kept.
        while tokens > u64::from(low) && first < at {
            tokens -= turns.get(first).map_or(0, |turn| u64::from(turn.tokens));
            first += 1;
        }
        if first - omitted > MAX_LINES {
            omitted = first - LEFT_LINES;
        }
    }
    Folding { omitted, folded: first - omitted, kept: turns.len() - first }
}

/// The messages of a folded conversation. Those of user and assistant alternate, because some chat templates require that, and the last one
/// is of the assistant.
#[must_use]
pub(crate) fn messages(turns: &[PastTurn], folding: Folding) -> Vec<ModelMessage> {
    let known = turns.get(folding.omitted..).unwrap_or_default();
    let (folded, kept) = known.split_at(folding.folded.min(known.len()));
    let mut messages = Vec::new();
    if !folded.is_empty() {
        let lines = escaped(&folded.iter().map(line).collect::<String>(), "earlier_requests");
        messages.push(user(format!("<earlier_requests>\n{lines}</earlier_requests>")));
        messages.push(assistant(LINES_ANSWER.to_owned()));
    }
    for turn in kept {
        messages.push(user(turn.request.clone()));
        messages.push(match turn.answers.as_slice() {
            [] => assistant(NO_ANSWER.to_owned()),
            answers => ModelMessage::Assistant { blocks: answers.iter().cloned().map(AssistantBlock::Text).collect() },
        });
    }
    messages
}

/// The tokens of these messages. The turns that are kept were counted before.
#[must_use]
pub(crate) fn tokens_of(messages: &[ModelMessage], turns: &[PastTurn], folding: Folding) -> u32 {
    let kept = tokens(turns.get(folding.omitted + folding.folded..).unwrap_or_default());
    match messages.first() {
        Some(ModelMessage::User { text }) if folding.folded > 0 => kept.saturating_add(count(text)).saturating_add(count(LINES_ANSWER)),
        _ => kept,
    }
}

fn user(text: String) -> ModelMessage {
    ModelMessage::User { text }
}

fn assistant(text: String) -> ModelMessage {
    ModelMessage::Assistant { blocks: vec![AssistantBlock::Text(text)] }
}

fn answer(message: &Message) -> String {
    if message.partial {
        return format!("{}\n\n(This turn ended here; none of its file changes were kept.)", message.text);
    }
    message.text.clone()
}

/// The line of a turn: its request, its outcome, and the files that it has changed.
fn line(turn: &PastTurn) -> String {
    let request: String = turn.request.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = request.chars().take(REQUEST_CHARS).collect();
    let more = if cut.len() < request.len() { "…" } else { "" };
    let outcome = match (turn.record.outcome.as_str(), turn.answers.is_empty()) {
        ("", true) => "no answer",
        ("", false) => "answered",
        (outcome, _) => outcome,
    };
    let mut line = format!("- {cut}{more} ({outcome}");
    let files = &turn.record.files;
    if !files.is_empty() {
        let named = files.iter().take(LINE_FILES).map(String::as_str).collect::<Vec<_>>().join(", ");
        let rest = files.len().saturating_sub(LINE_FILES);
        let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        line.push_str(&format!("; changed {named}{rest}"));
    }
    line + ")\n"
}

#[cfg(test)]
mod tests;
