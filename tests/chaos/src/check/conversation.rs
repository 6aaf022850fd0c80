//! Each message of an accepted turn is in the conversation once, and the prompts are in the order in which their clients sent them.
//!
//! A prompt that replaces another one hides that prompt and all later messages. A refused prompt is hidden. An answer is visible if and only
//! if its prompt is.

use super::{Message, Project, Turn, Violations};

pub(super) fn check(project: &Project, turns: &[Turn], violations: &mut Violations<'_>) {
    check_kept(project, turns, violations);
    check_visible(project, turns, violations);
}

/// The prompt of a turn whose start was answered, and the answer of a turn that ended with one, are never lost.
fn check_kept(project: &Project, turns: &[Turn], violations: &mut Violations<'_>) {
    let mut prompts: Vec<(&Turn, usize)> = Vec::new();
    for turn in turns.iter().filter(|turn| turn.project == project.id && turn.row.reason != "NOT_BEGUN") {
        let id = &turn.watched.turn;
        let places = |is_prompt| {
            let is_wanted = move |(_, message): &(usize, &Message)| message.turn == *id && message.is_prompt == is_prompt;
            project.messages.iter().enumerate().filter(is_wanted).map(|(place, _)| place).collect::<Vec<_>>()
        };
        let (prompt, answer) = (places(true), places(false));
        violations.require(prompt.len() == 1, "accepted prompts are kept once", || format!("turn {id} has {} prompts", prompt.len()));
        let ended_with_answer = matches!(turn.row.state.as_str(), "completed" | "conflicted");
        violations.require(answer.len() <= 1 && (answer.len() == 1 || !ended_with_answer), "answers are kept once", || {
            format!("turn {id} is {} and has {} answers", turn.row.state, answer.len())
        });
        let Some(place) = prompt.first().copied() else { continue };
        let (text, sent) = (&project.messages[place].text, turn.watched.prompt.text());
        violations
            .require(*text == sent, "accepted prompts are kept once", || format!("the prompt of turn {id} is {text:?}, not {sent:?}"));
        violations.require(answer.iter().all(|answer| *answer > place), "messages are in order", || format!("turn {id} answers too early"));
        prompts.push((turn, place));
    }
    prompts.sort_by_key(|(_, place)| *place);
    let late = |pair: &&[(&Turn, usize)]| pair[1].0.watched.started.1 < pair[0].0.watched.started.0;
    if let Some(pair) = prompts.windows(2).find(late) {
        let [first, second] = [0, 1].map(|n| &pair[n].0.watched.turn);
        violations
            .require(false, "messages are in order", || format!("turn {second} was accepted before {first} was sent, and is after it"));
    }
}

fn check_visible(project: &Project, turns: &[Turn], violations: &mut Violations<'_>) {
    let of = |id: &str| turns.iter().find(|turn| turn.watched.turn == id);
    // A turn that was withdrawn before it began may or may not have left its prompt.
    if project.messages.iter().any(|message| of(&message.turn).is_some_and(|turn| turn.row.reason == "NOT_BEGUN")) {
        return;
    }
    // The visible turns, and all turns, in the order of their prompts.
    let (mut visible, mut prompted): (Vec<&str>, Vec<&str>) = Default::default();
    for Message { turn: id, .. } in &project.messages {
        let Some(turn) = of(id).filter(|_| !prompted.contains(&id.as_str())) else { continue };
        let first = turn.watched.replaces.as_ref().and_then(|replaced| prompted.iter().position(|id| id == replaced));
        if let Some(first) = first {
            visible.retain(|visible| !prompted[first..].contains(visible));
        }
        prompted.push(id);
        visible.push(id);
    }
    let wrong = |message: &&Message| message.visible != visible.contains(&message.turn.as_str());
    if let Some(Message { turn: id, visible: seen, .. }) = project.messages.iter().find(wrong) {
        let describe = |id: &String| {
            let turn = of(id).map(|turn| (turn.row.state.as_str(), turn.watched.replaces.as_deref().unwrap_or("nothing")));
            turn.map_or_else(|| format!("{id} was refused"), |(state, replaced)| format!("{id} {state}, replaces {replaced}"))
        };
        let all: Vec<_> = project.messages.iter().map(|message| (describe(&message.turn), message.visible)).collect();
        violations.require(false, "conversation", || format!("a message of turn {id} is visible: {seen}, in {all:?}"));
    }
}
