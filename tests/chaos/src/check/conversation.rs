//! A prompt that replaces another one hides that prompt and all later messages. A refused prompt is hidden. An answer is visible if and only
//! if its prompt is.

use super::{Project, Turn, Violations};

pub(super) fn check(project: &Project, turns: &[Turn], violations: &mut Violations<'_>) {
    let of = |id: &str| turns.iter().find(|turn| turn.watched.turn == id);
    // A turn that was withdrawn before it began may or may not have left its prompt.
    if project.messages.iter().any(|(turn, _)| of(turn).is_some_and(|turn| turn.row.reason == "NOT_BEGUN")) {
        return;
    }
    // The visible turns, and all turns, in the order of their prompts.
    let (mut visible, mut prompted): (Vec<&str>, Vec<&str>) = Default::default();
    for (id, _) in &project.messages {
        let Some(turn) = of(id).filter(|_| !prompted.contains(&id.as_str())) else { continue };
        let first = turn.watched.replaces.as_ref().and_then(|replaced| prompted.iter().position(|id| id == replaced));
        if let Some(first) = first {
            visible.retain(|visible| !prompted[first..].contains(visible));
        }
        prompted.push(id);
        visible.push(id);
    }
    let wrong = |(turn, seen): &&(String, bool)| *seen != visible.contains(&turn.as_str());
    if let Some((id, seen)) = project.messages.iter().find(wrong) {
        let describe = |id: &String| {
            let turn = of(id).map(|turn| (turn.row.state.as_str(), turn.watched.replaces.as_deref().unwrap_or("nothing")));
            turn.map_or_else(|| format!("{id} was refused"), |(state, replaced)| format!("{id} {state}, replaces {replaced}"))
        };
        let all: Vec<_> = project.messages.iter().map(|(id, seen)| (describe(id), seen)).collect();
        violations.require(false, "conversation", || format!("a message of turn {id} is visible: {seen}, in {all:?}"));
    }
}
