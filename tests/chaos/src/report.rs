//! The output: counts, and the histories of turns with violations.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    check::{Event, Turn, Violation},
    verdict::Verdict,
};
use crate::deployment::{Timeline, timeline::Millis};

/// The most histories that are shown.
const MAX_HISTORIES: usize = 4;
/// The most violations that are listed.
const MAX_LISTED: usize = 25;
/// The time before and after a turn whose faults are shown.
const MARGIN: Millis = 2_000;

/// Formats the turns with violations: the log, the views, the calls of the model and the faults during the turn.
#[must_use]
pub fn histories(violations: &[Violation], turns: &[Turn], timeline: &Timeline) -> Vec<String> {
    let named: BTreeSet<&str> = violations.iter().filter_map(|violation| violation.turn.as_deref()).collect();
    turns.iter().filter(|turn| named.contains(turn.watched.turn.as_str())).take(MAX_HISTORIES).map(|turn| history(turn, timeline)).collect()
}

fn history(turn: &Turn, timeline: &Timeline) -> String {
    let mut lines: Vec<(Millis, String)> = turn.log.iter().map(|event| (event.at, line(event))).collect();
    lines.extend(turn.calls.iter().map(|call| (call.at, format!("      call of the model for step {}", call.step))));
    let (from, to) = (lines.iter().map(|(at, _)| *at).min().unwrap_or_default(), lines.iter().map(|(at, _)| *at).max().unwrap_or_default());
    lines.extend(timeline.between(from - MARGIN, to + MARGIN).into_iter().map(|(at, note)| (at, format!("      -- {note}"))));
    lines.sort_by_key(|(at, _)| *at);
    let mut text = format!(
        "turn {} ({}), {:?}, storage {:?}, cancel {:?}, starved for {} ms\n",
        turn.watched.turn,
        turn.watched.prompt.text(),
        turn.row,
        turn.storage,
        turn.watched.cancel,
        timeline.fault_history().starved.lost(from, to)
    );
    for (at, line) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:>8} ms {line}", at - from);
    }
    for view in &turn.watched.views {
        let _ = writeln!(
            text,
            "  a viewer connected after event {} and got {} events up to {}: {:?}",
            view.after,
            view.frames.len(),
            view.last(),
            view.end
        );
    }
    text
}

fn line(event: &Event) -> String {
    let data: String = event.data.to_string().chars().take(90).collect();
    format!("{:>4} {:<18} {data}", event.seq, event.kind)
}

/// Formats the counts of a run.
#[must_use]
pub fn counts(verdict: &Verdict) -> String {
    verdict.counts.iter().fold(String::new(), |text, (what, times)| format!("{text}{times:>9}  {what}\n"))
}

/// Formats the violated rules and their numbers of violations.
#[must_use]
pub fn rules(verdict: &Verdict) -> String {
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    for violation in &verdict.violations {
        *rules.entry(violation.rule).or_default() += 1;
    }
    rules.iter().map(|(rule, times)| format!("{rule} ({times})")).collect::<Vec<_>>().join(", ")
}

/// Formats the first violations and the histories.
#[must_use]
pub fn violations(verdict: &Verdict) -> String {
    let mut text = format!("{} violations: {}\n", verdict.violations.len(), rules(verdict));
    for violation in verdict.violations.iter().take(MAX_LISTED) {
        let short: String = violation.text.chars().take(2_000).collect();
        let _ = writeln!(text, "- {} (turn {}): {short}", violation.rule, violation.turn.as_deref().unwrap_or("-"));
    }
    for history in &verdict.histories {
        let _ = writeln!(text, "\n{history}");
    }
    text
}
