//! A question takes the place of the question that it replaces and of everything after that. A refused question is not shown. Every
//! answer is shown with its question.

use super::{Broken, Project, Turn};

pub(super) fn check(project: &Project, turns: &[Turn], broken: &mut Broken<'_>) {
    let of = |id: &str| turns.iter().find(|turn| turn.watched.turn == id);
    // A turn that was given up before it began may have its question there or not.
    if project.messages.iter().any(|(turn, _)| of(turn).is_some_and(|turn| turn.row.reason == "NOT_BEGUN")) {
        return;
    }
    // The turns that are to be seen, and those that were asked, in the order of their questions.
    let (mut shown, mut asked): (Vec<&str>, Vec<&str>) = Default::default();
    for (id, _) in &project.messages {
        let Some(turn) = of(id).filter(|_| !asked.contains(&id.as_str())) else { continue };
        let first = turn.watched.replaces.as_ref().and_then(|replaced| asked.iter().position(|id| id == replaced));
        if let Some(first) = first {
            shown.retain(|shown| !asked[first..].contains(shown));
        }
        asked.push(id);
        shown.push(id);
    }
    let wrong = |(turn, seen): &&(String, bool)| *seen != shown.contains(&turn.as_str());
    if let Some((id, seen)) = project.messages.iter().find(wrong) {
        let told = |id: &String| {
            let turn = of(id).map(|turn| (turn.row.state.as_str(), turn.watched.replaces.as_deref().unwrap_or("nothing")));
            turn.map_or_else(|| format!("{id} was refused"), |(state, replaced)| format!("{id} {state} in place of {replaced}"))
        };
        let all: Vec<_> = project.messages.iter().map(|(id, seen)| (told(id), seen)).collect();
        broken.unless(false, "the conversation", || format!("a message of turn {id} is to be seen: {seen}, in {all:?}"));
    }
}
