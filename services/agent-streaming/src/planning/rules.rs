//! Makes a plan of what was read. Pure, apart from the tokens of contents that are remembered.

use std::collections::{BTreeMap, HashMap};

use proto::{
    agent_streaming::{ContextConversation, ContextPlanned, OutlinesStatus},
    project_storage::{FileKind, Message},
};

use super::{ContextLimits, Material, Plan, PlanError, parts};
use crate::{
    context::{
        choose,
        fold::{self, PastTurn, Record},
        rank::{self, Ranked, Signals},
        tokens::{COUNTER, count},
    },
    model::{
        message::ModelMessage,
        mode,
        prompt::{Prompt, tree},
        size,
    },
    outline::Outlines,
};

/// The last turns whose changed files count as recent.
const RECENT_TURNS: usize = 3;
/// The part of the budget for files that the list of their paths may have.
const LIST_SHARE: u32 = 3;

/// What is known besides the material.
pub(super) struct Known {
    /// Of the turns of the conversation, by their ids.
    pub(super) records: HashMap<String, Record>,
    /// By the ids of the contents. `None` if they are not known in time.
    pub(super) outlines: Option<Outlines>,
}

/// The files in the order of their relevance.
pub(super) fn rank(material: &Material, known: &Known) -> Vec<Ranked> {
    let (none, recent, request) = (BTreeMap::new(), recent(&material.conversation.messages, &known.records), words(material));
    rank::rank(&Signals {
        files: &material.files,
        request: &request,
        outlines: known.outlines.as_ref().unwrap_or(&none),
        recent: &recent,
        pinned: &material.pinned,
        excluded: &material.excluded,
    })
}

/// The plan, without the tokens of everything, and the tokens of everything but the files. `contents` has the texts of files by path.
///
/// # Errors
/// What the request pins cannot be shown, or the prompt is too long for the model.
pub(super) fn plan(
    material: &Material,
    known: &Known,
    limits: ContextLimits,
    (ranked, contents): (&[Ranked], &BTreeMap<String, String>),
) -> Result<(Plan, u32), PlanError> {
    let none = BTreeMap::new();
    let (list, listed) = tree::text(&material.files, &material.excluded, limits.files / LIST_SHARE);
    let list_tokens = count(&list);
    let budget = limits.files.saturating_sub(list_tokens);
    let chosen =
        choose::choose(considered(material, ranked), known.outlines.as_ref().unwrap_or(&none), contents, (&words(material), budget))?;
    let asked = mode::with_plan(&material.prompt, material.plan.as_deref());
    let request = format!("{}{asked}", chosen.text);
    let (system_tokens, request_tokens) = (count(&material.system).saturating_add(size::of_tools(&material.tools)), count(&request));
    let others = sum(&[system_tokens, list_tokens, request_tokens, limits.output]);
    let turns = fold::turns(&material.conversation.messages, &known.records);
    let (history, conversation) =
        conversation(&turns, material.conversation.is_cut, (limits.conversation, limits.window.saturating_sub(others)));
    let sizes = [
        ("the system prompt (rules, agent, AGENTS.md, skills) with the tools", system_tokens),
        ("the list of files", list_tokens),
        ("the conversation", conversation.tokens),
        ("the request with its files and its plan", request_tokens),
    ];
    let prompt_tokens = check_window(&sizes, limits)?;
    let prompt = Prompt { system: material.system.clone(), tree: list, history, request }.without_nul();
    let parts = parts(&prompt);
    let files_total = material.files.iter().filter(|file| file.kind() != FileKind::Folder).count();
    let event = ContextPlanned {
        budget_tokens: limits.files,
        tokens: list_tokens.saturating_add(count(&chosen.text)),
        counter: COUNTER.to_owned(),
        files_total: number(files_total),
        files: chosen.files,
        omitted_files: number(files_total.saturating_sub(listed)),
        conversation: Some(conversation),
        outlines: if known.outlines.is_some() { OutlinesStatus::Complete } else { OutlinesStatus::Unavailable }.into(),
        prompt_tokens,
        full_prompt_tokens: 0,
        part_ids: parts.iter().map(|(id, _)| id.clone()).collect(),
    };
    let rest = sum(&[system_tokens, count(&asked), fold::tokens(&turns)]);
    Ok((Plan { event, prompt, parts }, rest))
}

/// The ranked files of which the model may get more than the path. What comes with the request is sent again with each one, so what all files declare
/// comes only with the first request of a conversation.
fn considered<'a>(material: &Material, ranked: &'a [Ranked]) -> &'a [Ranked] {
    let is_first = material.conversation.messages.is_empty();
    let relevant = ranked.iter().take_while(|file| is_first || file.is_pinned() || file.score > 0).count();
    &ranked[..relevant]
}

/// The text whose words decide which files matter. Only the first words of a long text count, so those of the person come first.
fn words(material: &Material) -> String {
    format!("{}\n{}", material.prompt, material.plan.as_deref().unwrap_or_default())
}

/// The tokens of a prompt with parts of these sizes.
///
/// # Errors
/// The prompt and an answer do not fit into the window of the model.
fn check_window(parts: &[(&str, u32)], limits: ContextLimits) -> Result<u32, PlanError> {
    let tokens = parts.iter().fold(0_u32, |sum, (_, tokens)| sum.saturating_add(*tokens));
    size::check(tokens, limits.window, limits.output).map_err(|text| {
        let (longest, most) = parts.iter().max_by_key(|(_, tokens)| *tokens).copied().unwrap_or_default();
        PlanError::TooLong(format!("{text}; the longest part is {longest} with {most}"))
    })?;
    Ok(tokens)
}

/// The files that the last turns have changed, the newest turn first.
fn recent(messages: &[Message], known: &HashMap<String, Record>) -> Vec<Vec<String>> {
    let mut turns: Vec<&str> = messages.iter().rev().map(|message| message.turn_id.as_str()).collect();
    turns.dedup();
    let files = turns.into_iter().filter_map(|turn| known.get(turn)).map(|record| record.files.clone());
    files.filter(|files| !files.is_empty()).take(RECENT_TURNS).collect()
}

/// What the model gets of the conversation. `high` is the most tokens of the turns that it gets word for word, and `room` those that the request
/// leaves: it gets none word for word if they do not fit.
fn conversation(turns: &[PastTurn], is_cut: bool, (high, room): (u32, u32)) -> (Vec<ModelMessage>, ContextConversation) {
    let (turns, dropped) = if is_cut { fold::anchored(turns) } else { (turns, 0) };
    let mut folding = fold::fold(turns, high);
    let mut messages = fold::messages(turns, folding);
    let mut tokens = fold::tokens_of(&messages, turns, folding);
    if tokens > room {
        folding = folding.without_words();
        messages = fold::messages(turns, folding);
        tokens = fold::tokens_of(&messages, turns, folding);
    }
    let counted = ContextConversation {
        turns: number(folding.kept),
        folded_turns: number(folding.folded),
        omitted_turns: number(folding.omitted + dropped),
        tokens,
    };
    (messages, counted)
}

fn sum(tokens: &[u32]) -> u32 {
    tokens.iter().copied().fold(0, u32::saturating_add)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proto::project_storage::MessageRole;

    use super::*;

    /// Turns of 24 tokens each.
    fn turns(count: usize) -> Vec<PastTurn> {
        let message = |turn: usize, role: MessageRole| Message {
            turn_id: format!("turn {turn}"),
            role: role.into(),
            text: "word ".repeat(11),
            ..Message::default()
        };
        let messages: Vec<Message> =
            (0..count).flat_map(|turn| [message(turn, MessageRole::User), message(turn, MessageRole::Assistant)]).collect();
        fold::turns(&messages, &HashMap::new())
    }

    #[test]
    fn every_turn_is_told_folded_or_omitted() {
        let of = |count: usize, is_cut: bool, limits: (u32, u32)| {
            let (messages, counted) = conversation(&turns(count), is_cut, limits);
            assert_eq!(counted.tokens, size::of_messages(&messages), "{count} turns, {is_cut}, {limits:?}");
            assert_eq!(counted.turns + counted.folded_turns + counted.omitted_turns, number(count), "{count} turns, {is_cut}, {limits:?}");
            (counted.turns, counted.folded_turns)
        };
        assert_eq!(of(0, false, (100, 1_000)), (0, 0));
        assert_eq!(of(4, false, (100, 1_000)), (4, 0));
        assert_eq!(of(5, false, (100, 1_000)), (2, 3));
        assert_eq!(of(1, false, (10, 1_000)), (1, 0), "the newest turn is told");
        assert_eq!(of(2, false, (10, 20)), (0, 2), "unless the request would not fit");
        assert_eq!(of(500, false, (100, 10_000)).0, 2);
        let (told, folded) = of(400, true, (100_000, 100_000));
        assert!(told < 400 && folded == 0, "{told} turns after the anchor");
    }
}
