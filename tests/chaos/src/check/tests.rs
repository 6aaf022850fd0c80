//! A valid history, and what each rule reports for an invalid one.

mod loss;

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::{
    deployment::timeline::Outage,
    prompt::{Prompt, Task},
    record::{Cancel, End, SavedRevision, View},
};

const PROMPT: Prompt = Prompt { number: 2, task: Task::Write };
const RULES: Rules = Rules { max_silence: 15_000, max_latency: 10_000, no_faults: false, recoveries: 3, lease: 1_500 };
const START: Millis = 1_800_000_000_000;

/// Writes a history with one event per ten milliseconds.
#[derive(Default)]
struct Writer {
    frames: Vec<Frame>,
    calls: Vec<Call>,
    now: Millis,
}

impl Writer {
    fn push(&mut self, kind: &str, data: &Value) {
        let seq = self.frames.len() + 1;
        self.now += 10;
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(START + self.now) * 1_000_000).unwrap();
        let json = json!({"seq": seq, "type": kind, "time": time.format(&Rfc3339).unwrap(), "data": data});
        self.frames.push(Frame { id: u32::try_from(seq).unwrap(), data: json.to_string() });
    }

    /// Writes the events of a step, or only the first `until` ones.
    fn step(&mut self, step: u32, until: Option<usize>) {
        let script = &PROMPT.steps()[step as usize - 1];
        let input_hash = u64::from(step);
        self.calls.push(Call { number: PROMPT.number, step, at: START + self.now, input_hash });
        let (head, tail) = script.text.split_at(20);
        let mut events = vec![
            ("step.started", json!({"step": step})),
            ("attempt.started", json!({"attempt": 1})),
            ("text.delta", json!({"blockId": "b", "text": head})),
            ("text.delta", json!({"blockId": "b", "text": tail})),
        ];
        for (n, (tool, input)) in script.calls.iter().enumerate() {
            let call = format!("call_{step}_{n}");
            let mut shown = input.clone();
            let content = shown.as_object_mut().unwrap().remove("content");
            events.push(("tool.started", json!({"callId": call, "tool": tool})));
            events.extend(content.map(|text| ("file.delta", json!({"callId": call, "text": text}))));
            events.push(("tool.ready", json!({"callId": call, "inputJson": shown.to_string()})));
            events.push(("file.closed", json!({"callId": call, "path": input["path"]})));
        }
        events.push(("step.finished", json!({"step": step, "finishReason": "stop"})));
        for (kind, data) in events.iter().take(until.unwrap_or(usize::MAX)) {
            self.push(kind, data);
        }
    }

    fn begin() -> Self {
        let mut writer = Self::default();
        writer.push("turn.accepted", &json!({"projectId": "p"}));
        writer.push("agent.selected", &json!({"agent": "builder"}));
        writer.push("turn.started", &json!({"baseRevision": ""}));
        writer
    }

    fn complete(mut self) -> Turn {
        self.push("turn.committing", &json!({"digest": "00"}));
        self.push("files.committed", &json!({"revision": "r1", "number": 1}));
        self.push("turn.completed", &json!({"revision": "r1"}));
        self.turn("completed", 2)
    }

    /// The observations of the turn without any fault.
    fn turn(self, state: &str, storage: i16) -> Turn {
        let (first, second) = self.frames.split_at(2);
        let view = |after, frames: &[Frame], end| {
            // Frames arrive when they are written.
            let arrived = frames.iter().map(|frame| Event::of(frame).unwrap().at).collect();
            View { after, opened: START, frames: frames.to_vec(), arrived, end }
        };
        let views = vec![view(0, first, End::Disconnected), view(2, second, End::Clean)];
        let watched = WatchedTurn {
            prompt: PROMPT,
            person: 0,
            started: (START, START),
            turn: "t".into(),
            replaces: None,
            views,
            cancel: None,
            finished: true,
        };
        let last_seq = u32::try_from(self.frames.len()).unwrap();
        let row = Row { state: state.into(), epoch: 1, last_seq, seqs: (1..=last_seq).collect(), ..Row::default() };
        let log = self.frames.iter().map(|frame| Event::of(frame).unwrap()).collect();
        Turn { watched, project: "p".into(), frames: self.frames, log, row, storage: Some(storage), calls: self.calls }
    }
}

fn valid() -> Turn {
    let mut writer = Writer::begin();
    (1..=3).for_each(|step| writer.step(step, None));
    writer.complete()
}

/// A turn whose worker was lost in the middle of the second step.
fn taken_over() -> Turn {
    let mut writer = Writer::begin();
    writer.step(1, None);
    let from = writer.frames.len() + 1;
    writer.step(2, Some(6));
    writer.push("step.superseded", &json!({"from": from, "to": writer.frames.len()}));
    writer.step(2, None);
    writer.step(3, None);
    let mut turn = writer.complete();
    turn.row.epoch = 2;
    turn
}

fn project() -> Project {
    let tree = [PROMPT.own_file().unwrap(), ("shared.txt".into(), "last written by 2\n".into())];
    Project { id: "p".into(), tree: tree.into(), head: 1, messages: messages(), ..Project::default() }
}

fn message(turn: &str, is_prompt: bool, visible: bool) -> Message {
    Message { turn: turn.into(), is_prompt, text: PROMPT.text(), visible }
}

/// The prompt and the answer of the turn.
fn messages() -> Vec<Message> {
    vec![message("t", true, true), message("t", false, true)]
}

/// A project of a turn without files.
fn without_files(messages: Vec<Message>) -> Project {
    Project { id: "p".into(), messages, ..Project::default() }
}

fn violated(turn: Turn, project: &Project, faults: &FaultHistory) -> BTreeSet<&'static str> {
    check(&[turn], std::slice::from_ref(project), faults, &RULES).into_iter().map(|violation| violation.rule).collect()
}

/// The rules that a change of the valid history violates.
fn after(change: impl FnOnce(&mut Turn)) -> BTreeSet<&'static str> {
    changed(valid(), change)
}

fn changed(mut turn: Turn, change: impl FnOnce(&mut Turn)) -> BTreeSet<&'static str> {
    change(&mut turn);
    violated(turn, &project(), &FaultHistory::default())
}

#[track_caller]
fn violates(rule: &'static str, change: impl FnOnce(&mut Turn)) {
    let violated = after(change);
    assert!(violated.contains(rule), "{rule:?} is not among {violated:?}");
}

#[test]
fn a_valid_history_violates_no_rule() {
    assert_eq!(after(|_| {}), BTreeSet::new());
    assert_eq!(changed(taken_over(), |_| {}), BTreeSet::new());
}

#[test]
fn a_log_has_no_gaps_and_one_terminal_event() {
    violates("numbering", |turn| drop(turn.log.remove(7)));
    violates("numbering", |turn| turn.row.seqs.truncate(3));
    violates("one terminal event", |turn| turn.log.push(turn.log[6].clone()));
    violates("one terminal event", |turn| drop(turn.log.pop()));
    violates("turn row", |turn| turn.row.state = "cancelled".into());
    violates("turn row", |turn| turn.row.last_seq -= 1);
    violates("outbox", |turn| turn.row.end_due = true);
}

#[test]
fn viewers_receive_each_event_of_the_log_once() {
    violates("viewers receive each event once", |turn| {
        let again = turn.watched.views[0].frames[1].clone();
        turn.watched.views[1].frames.insert(0, again);
    });
    violates("viewers receive each event once", |turn| drop(turn.watched.views[1].frames.remove(3)));
    violates("viewers receive each event once", |turn| turn.watched.views[1].frames.swap(2, 3));
    violates("viewers receive the log", |turn| turn.watched.views[0].frames[1].data.push(' '));
    violates("streams end cleanly only after the terminal event", |turn| turn.watched.views[0].end = End::Clean);
    violates("streams are well-formed", |turn| turn.watched.views[0].end = End::Invalid("half an event".into()));
    violates("viewers receive the end", |turn| turn.watched.finished = false);
}

#[test]
fn only_unfinished_steps_are_superseded() {
    let markers = |turn: &mut Turn, change: &dyn Fn(&mut Value)| {
        turn.log.iter_mut().filter(|event| event.kind == "step.superseded").for_each(|event| change(&mut event.data));
    };
    let none = changed(taken_over(), |turn| markers(turn, &|data| *data = json!({"from": 1_000, "to": 1_001})));
    assert!(none.contains("superseded events") && none.contains("steps in order"), "{none:?}");
    let too_much = changed(taken_over(), |turn| markers(turn, &|data| data["from"] = json!(8)));
    assert!(too_much.contains("superseded events"), "{too_much:?}");
    let too_little = changed(taken_over(), |turn| markers(turn, &|data| data["from"] = json!(data["from"].as_u64().unwrap() + 1)));
    assert!(too_little.contains("steps in order"), "{too_little:?}");
    violates("model text", |turn| turn.log.iter_mut().filter(|e| e.kind == "text.delta").for_each(|e| e.data["text"] = json!("x")));
    violates("all steps", |turn| turn.watched.prompt.task = Task::Move);
}

#[test]
fn the_model_is_called_once_more_per_takeover() {
    let again = |turn: &mut Turn, at: Millis| {
        let call = Call { at, ..turn.calls[1].clone() };
        turn.calls.push(call);
    };
    violates("model calls", |turn| again(turn, START));
    violates("model calls", |turn| turn.calls.clear());
    let late = |turn: &mut Turn| {
        turn.row.epoch = 3;
        again(turn, START + 60_000);
    };
    violates("no call for a finished step", late);
    let mut turn = valid();
    late(&mut turn);
    let faults = FaultHistory { pauses: vec![(START + 50_000, START + 59_000)], ..FaultHistory::default() };
    assert_eq!(violated(turn, &project(), &faults), BTreeSet::new(), "a paused worker does not know that it has lost the turn");
}

/// Neither changes of the conversation nor outages nor pauses of a worker excuse another input.
#[test]
fn all_calls_for_a_step_have_the_same_input() {
    let other = || {
        let mut turn = taken_over();
        turn.calls[2].input_hash += 1;
        turn
    };
    let outage = Outage { what: "postgres".into(), span: (START, START + 60_000) };
    for faults in [
        FaultHistory::default(),
        FaultHistory { pauses: vec![(START, START + 60_000)], ..FaultHistory::default() },
        FaultHistory { outages: vec![outage], ..FaultHistory::default() },
    ] {
        assert_eq!(violated(other(), &project(), &faults), BTreeSet::from(["same model input"]), "{faults:?}");
        assert_eq!(violated(taken_over(), &project(), &faults), BTreeSet::new(), "{faults:?}");
    }
    let first = changed(taken_over(), |turn| turn.calls.push(Call { input_hash: 9, ..turn.calls[0].clone() }));
    assert!(first.contains("same model input"), "{first:?}");
}

#[test]
fn a_prompt_is_planned_once_and_folded_once() {
    violates("one beginning of all requests", |turn| {
        let attempt = turn.log.iter_mut().rfind(|event| event.kind == "attempt.started").unwrap();
        attempt.data["prefixHash"] = json!("other");
    });
    violates("one plan", |turn| {
        for event in turn.log.iter_mut().filter(|event| event.kind == "attempt.started").take(2) {
            event.kind = "context.planned".into();
        }
    });
}

#[test]
fn only_allowed_ends_of_a_turn_pass() {
    violates("acknowledged cancel", |turn| turn.watched.cancel = Some(Cancel::Done(START)));
    violates("both services agree", |turn| turn.storage = Some(1));
    violates("a question changes nothing", |turn| turn.watched.prompt.task = Task::Ask);
    violates("written files are committed", |turn| turn.log.retain(|event| event.kind != "files.committed"));
    let failed = |reason: &str, epoch| {
        let mut writer = Writer::begin();
        writer.step(1, None);
        writer.push("turn.failed", &json!({"reason": reason}));
        let mut turn = writer.turn("failed", 5);
        turn.row = Row { reason: reason.into(), epoch, ..turn.row };
        violated(turn, &without_files(messages()), &FaultHistory::default())
    };
    assert_eq!(failed("WORKER_LOST", 4), BTreeSet::new());
    assert_eq!(failed("WORKER_LOST", 3), BTreeSet::from(["outcome"]), "too few workers were lost");
    assert_eq!(failed("PROVIDER_ERROR", 4), BTreeSet::from(["outcome"]));
    let mut writer = Writer::begin();
    writer.push("turn.cancelled", &json!({}));
    let without_request = violated(writer.turn("cancelled", 6), &without_files(vec![message("t", true, true)]), &FaultHistory::default());
    assert_eq!(without_request, BTreeSet::from(["outcome"]));
}

#[test]
fn the_files_follow_from_the_logs() {
    let with = |change: &dyn Fn(&mut Project)| {
        let mut project = project();
        change(&mut project);
        violated(valid(), &project, &FaultHistory::default())
    };
    assert!(with(&|project| drop(project.tree.remove("shared.txt"))).contains("project files"));
    assert!(with(&|project| drop(project.tree.insert("turns/2.txt".into(), String::new()))).contains("file of the turn"));
    assert!(with(&|project| project.head = 2).contains("revisions"));
    assert!(with(&|project| project.duplicates.push("t".into())).contains("one revision per turn"));
}

#[test]
fn a_saved_revision_resolves_a_conflict() {
    let saved = |number, resolves: Option<&str>, text: &str| SavedRevision {
        project: "p".into(),
        id: format!("s{number}"),
        number,
        resolves: resolves.map(str::to_owned),
        file: ("shared.txt".into(), text.into()),
    };
    let conflicted = |task| {
        let mut writer = Writer::begin();
        (1..=3).for_each(|step| writer.step(step, None));
        writer.push("turn.conflicted", &json!({"revision": "r"}));
        let mut turn = writer.turn("conflicted", 4);
        turn.watched.prompt.task = task;
        turn
    };
    let mut project = Project { saved: vec![saved(1, None, "saved\n"), saved(2, Some("t"), "decided\n")], head: 2, ..project() };
    project.tree.insert("shared.txt".into(), "decided\n".into());
    assert!(violated(conflicted(Task::Write), &project, &FaultHistory::default()).contains("outcome"));
    assert!(!violated(conflicted(Task::Conflict), &project, &FaultHistory::default()).contains("project files"));
    project.saved.pop();
    let lost = violated(conflicted(Task::Conflict), &project, &FaultHistory::default());
    assert!(lost.contains("project files") && lost.contains("revisions"), "{lost:?}");
}

#[test]
fn a_replaced_prompt_is_hidden() {
    let turn = |id: &str, replaces: Option<&str>| {
        let mut turn = valid();
        turn.watched.turn = id.into();
        turn.watched.replaces = replaces.map(str::to_owned);
        turn
    };
    let turns = [turn("a", None), turn("b", None), turn("c", Some("b")), turn("d", Some("b"))];
    let holds = |turns: &[Turn], messages: &[(&str, bool)]| {
        let messages = messages.iter().map(|(turn, seen)| message(turn, true, *seen)).collect();
        let project = Project { messages, ..Project::default() };
        let mut found = Vec::new();
        conversation::check(&project, turns, &mut Violations { turn: None, found: &mut found });
        found.is_empty()
    };
    assert!(holds(&turns, &[("a", true), ("a", true), ("b", false), ("b", false), ("c", true), ("refused", false)]));
    let twice = [("b", false), ("c", false), ("c", false), ("d", true)];
    assert!(holds(&turns, &twice), "the later prompt replaces both");
    let late = [("a", true), ("b", false), ("c", true), ("a", true), ("b", false)];
    assert!(holds(&turns, &late), "a late answer belongs to its prompt");
    assert!(!holds(&turns, &[("a", true), ("b", true), ("c", true)]), "a replaced prompt is visible");
    assert!(!holds(&turns, &[("a", true), ("b", false), ("c", true), ("refused", true)]), "a refused prompt is visible");
    assert!(!holds(&turns, &[("a", false), ("b", true)]), "a prompt is hidden that was not replaced");
    assert!(!holds(&turns, &[("a", true), ("a", false)]), "an answer is hidden");
}

#[test]
fn a_turn_makes_progress_in_a_healthy_cluster() {
    let stall = |turn: &mut Turn| turn.log.iter_mut().skip(10).for_each(|event| event.at += 20_000);
    violates("progress", stall);
    let mut turn = valid();
    stall(&mut turn);
    let outage = Outage { what: "postgres".into(), span: (START + 5_000, START + 12_000) };
    let faults = FaultHistory { outages: vec![outage], ..FaultHistory::default() };
    assert!(!violated(turn, &project(), &faults).contains("progress"));
}

#[test]
fn events_arrive_within_the_limit() {
    violates("event latency", |turn| *turn.watched.views[1].arrived.last_mut().unwrap() += 12_000);
    let mut turn = valid();
    turn.watched.views[1].opened += 12_000;
    turn.watched.views[1].arrived.iter_mut().for_each(|came| *came += 12_100);
    assert_eq!(violated(turn, &project(), &FaultHistory::default()), BTreeSet::new(), "the viewer connected later");
}

#[test]
fn a_healthy_worker_keeps_its_turn() {
    let rules = Rules { no_faults: true, ..RULES };
    let of = |turn: Turn| check(&[turn], &[project()], &FaultHistory::default(), &rules);
    assert_eq!(of(valid()), []);
    assert_eq!(of(taken_over()).first().map(|found| found.rule), Some("healthy workers keep their turns"));
    let mut retried = taken_over();
    let at = retried.log.iter().position(|event| event.kind == "step.superseded").expect("a step that is superseded");
    retried.log[at + 1].kind = "attempt.failed".into();
    let violated = |turn: Turn| of(turn).into_iter().map(|found| found.rule).collect::<Vec<_>>();
    assert!(!violated(retried).contains(&"healthy workers keep their turns"), "the provider failed");
}

/// Starves the machine for `lost` milliseconds of each second, from ten seconds before the history to 30 seconds after its start.
fn starved(lost: Millis) -> FaultHistory {
    let mut faults = FaultHistory::default();
    (-10..30).for_each(|second| faults.starved.add(START + second * 1_000, START + (second + 1) * 1_000, lost));
    faults
}

/// Each case is a rule, the starved milliseconds per second that excuse the violation, and a change of the valid history. A tenth of each
/// second does not excuse it.
#[test]
fn starved_time_does_not_count() {
    type Case = (&'static str, Millis, fn(&mut Turn));
    let cases: [Case; 3] = [
        ("progress", 600, |turn| turn.log.iter_mut().skip(10).for_each(|event| event.at += 20_000)),
        ("event latency", 600, |turn| *turn.watched.views[1].arrived.last_mut().unwrap() += 15_000),
        ("no call for a finished step", 500, |turn| turn.calls.push(Call { at: START + 2_000, ..turn.calls[0].clone() })),
    ];
    for (rule, excuse, change) in cases {
        let of = |faults: &FaultHistory| {
            let mut turn = valid();
            // An additional call is allowed in the second epoch.
            turn.row.epoch = 2;
            change(&mut turn);
            violated(turn, &project(), faults)
        };
        assert_eq!(of(&starved(0)), BTreeSet::from([rule]));
        assert_eq!(of(&starved(100)), BTreeSet::from([rule]));
        assert_eq!(of(&starved(excuse)), BTreeSet::new(), "{rule}");
    }
}

#[test]
fn a_starved_worker_may_lose_its_turn() {
    let rules = Rules { no_faults: true, ..RULES };
    let of = |faults: &FaultHistory| {
        check(&[taken_over()], &[project()], faults, &rules).into_iter().map(|found| found.rule).collect::<Vec<_>>()
    };
    assert_eq!(of(&starved(100)), ["healthy workers keep their turns"]);
    assert_eq!(of(&starved(700)), [""; 0]);
}
