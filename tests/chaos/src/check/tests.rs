//! A valid history, and what each rule reports for an invalid one.

use std::collections::BTreeSet;

use serde_json::json;
use test_support::canary::Stopwatch;

use super::*;
use crate::{
    ask::{Ask, Wish},
    deployment::timeline::Trouble,
    record::{Cancel, End, Saved, View},
};

const ASK: Ask = Ask { number: 2, wish: Wish::File };
const RULES: Rules = Rules { silence: 15_000, delay: 10_000, calm: false, recoveries: 3, lease: 1_500 };
const BEGAN: Millis = 1_800_000_000_000;

/// Writes a history down, an event every ten milliseconds.
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
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(BEGAN + self.now) * 1_000_000).unwrap();
        let json = json!({"seq": seq, "type": kind, "time": time.format(&Rfc3339).unwrap(), "data": data});
        self.frames.push(Frame { id: u32::try_from(seq).unwrap(), data: json.to_string() });
    }

    /// A step as far as `until` of its events; whole without.
    fn step(&mut self, step: u32, until: Option<usize>) {
        let script = &ASK.steps()[step as usize - 1];
        let question = u64::from(step);
        self.calls.push(Call { number: ASK.number, step, at: BEGAN + self.now, question });
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

    /// As everybody sees it who is well.
    fn turn(self, state: &str, storage: i16) -> Turn {
        let (first, second) = self.frames.split_at(2);
        let view = |after, frames: &[Frame], end| {
            // In the moment that they are written.
            let came = frames.iter().map(|frame| Event::of(frame).unwrap().at).collect();
            View { after, opened: BEGAN, frames: frames.to_vec(), came, end }
        };
        let views = vec![view(0, first, End::HungUp), view(2, second, End::Clean)];
        let watched = Watched {
            ask: ASK,
            person: 0,
            begun: Stopwatch::start(),
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

fn good() -> Turn {
    let mut writer = Writer::begin();
    (1..=3).for_each(|step| writer.step(step, None));
    writer.complete()
}

/// Its worker was lost in the middle of the second step.
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
    let tree = [ASK.own_file().unwrap(), ("shared.txt".into(), "last written by 2\n".into())];
    Project { id: "p".into(), tree: tree.into(), head: 1, messages: vec![("t".into(), true); 2], ..Project::default() }
}

fn broken(turn: Turn, project: &Project, past: &Past) -> BTreeSet<&'static str> {
    check(&[turn], std::slice::from_ref(project), past, &RULES).into_iter().map(|violation| violation.rule).collect()
}

/// The rules that a change of the good history breaks.
fn after(change: impl FnOnce(&mut Turn)) -> BTreeSet<&'static str> {
    changed(good(), change)
}

fn changed(mut turn: Turn, change: impl FnOnce(&mut Turn)) -> BTreeSet<&'static str> {
    change(&mut turn);
    broken(turn, &project(), &Past::default())
}

#[track_caller]
fn breaks(rule: &'static str, change: impl FnOnce(&mut Turn)) {
    let broken = after(change);
    assert!(broken.contains(rule), "{rule:?} is not among {broken:?}");
}

#[test]
fn a_good_history_breaks_nothing() {
    assert_eq!(after(|_| {}), BTreeSet::new());
    assert_eq!(changed(taken_over(), |_| {}), BTreeSet::new());
}

#[test]
fn a_log_has_no_gap_and_one_end() {
    breaks("numbering", |turn| drop(turn.log.remove(7)));
    breaks("numbering", |turn| turn.row.seqs.truncate(3));
    breaks("one terminal event", |turn| turn.log.push(turn.log[6].clone()));
    breaks("one terminal event", |turn| drop(turn.log.pop()));
    breaks("the row", |turn| turn.row.state = "cancelled".into());
    breaks("the row", |turn| turn.row.last_seq -= 1);
    breaks("the outbox", |turn| turn.row.end_due = true);
}

#[test]
fn viewers_see_each_event_of_the_log_once() {
    breaks("viewers see each event once", |turn| {
        let again = turn.watched.views[0].frames[1].clone();
        turn.watched.views[1].frames.insert(0, again);
    });
    breaks("viewers see each event once", |turn| drop(turn.watched.views[1].frames.remove(3)));
    breaks("viewers see each event once", |turn| turn.watched.views[1].frames.swap(2, 3));
    breaks("viewers see the log", |turn| turn.watched.views[0].frames[1].data.push(' '));
    breaks("a stream ends cleanly only at the end", |turn| turn.watched.views[0].end = End::Clean);
    breaks("a stream is well-formed", |turn| turn.watched.views[0].end = End::Bad("half an event".into()));
    breaks("viewers arrive", |turn| turn.watched.finished = false);
}

#[test]
fn an_unfinished_step_is_superseded_and_nothing_else_is() {
    let markers = |turn: &mut Turn, change: &dyn Fn(&mut Value)| {
        turn.log.iter_mut().filter(|event| event.kind == "step.superseded").for_each(|event| change(&mut event.data));
    };
    let none = changed(taken_over(), |turn| markers(turn, &|data| *data = json!({"from": 1_000, "to": 1_001})));
    assert!(none.contains("superseded events") && none.contains("steps in order"), "{none:?}");
    let too_much = changed(taken_over(), |turn| markers(turn, &|data| data["from"] = json!(8)));
    assert!(too_much.contains("superseded events"), "{too_much:?}");
    let too_little = changed(taken_over(), |turn| markers(turn, &|data| data["from"] = json!(data["from"].as_u64().unwrap() + 1)));
    assert!(too_little.contains("steps in order"), "{too_little:?}");
    breaks("what the model said", |turn| turn.log.iter_mut().filter(|e| e.kind == "text.delta").for_each(|e| e.data["text"] = json!("x")));
    breaks("every step", |turn| turn.watched.ask.wish = Wish::Move);
}

#[test]
fn the_model_is_asked_once_more_for_each_takeover() {
    let again = |turn: &mut Turn, at: Millis| {
        let call = Call { at, ..turn.calls[1].clone() };
        turn.calls.push(call);
    };
    breaks("calls", |turn| again(turn, BEGAN));
    breaks("calls", |turn| turn.calls.clear());
    let late = |turn: &mut Turn| {
        turn.row.epoch = 3;
        again(turn, BEGAN + 60_000);
    };
    breaks("no call for a finished step", late);
    let mut turn = good();
    late(&mut turn);
    let past = Past { pauses: vec![(BEGAN + 50_000, BEGAN + 59_000)], ..Past::default() };
    assert_eq!(broken(turn, &project(), &past), BTreeSet::new(), "one that stood still does not know yet");
}

/// A late answer, a replacement or a withdrawal before the second owner asks is no excuse, nor is it that an owner stood still or that
/// a part was missing.
#[test]
fn every_owner_asks_the_same_question() {
    let other = || {
        let mut turn = taken_over();
        turn.calls[2].question += 1;
        turn
    };
    let trouble = Trouble { what: "postgres".into(), span: (BEGAN, BEGAN + 60_000) };
    for past in [
        Past::default(),
        Past { pauses: vec![(BEGAN, BEGAN + 60_000)], ..Past::default() },
        Past { troubles: vec![trouble], ..Past::default() },
    ] {
        assert_eq!(broken(other(), &project(), &past), BTreeSet::from(["the same question"]), "{past:?}");
        assert_eq!(broken(taken_over(), &project(), &past), BTreeSet::new(), "{past:?}");
    }
    let first = changed(taken_over(), |turn| turn.calls.push(Call { question: 9, ..turn.calls[0].clone() }));
    assert!(first.contains("the same question"), "{first:?}");
}

#[test]
fn a_turn_ends_as_it_may() {
    breaks("after a cancel", |turn| turn.watched.cancel = Some(Cancel::Done(BEGAN)));
    breaks("both services agree", |turn| turn.storage = Some(1));
    breaks("what was written is committed", |turn| turn.log.retain(|event| event.kind != "files.committed"));
    let failed = |reason: &str, epoch| {
        let mut writer = Writer::begin();
        writer.step(1, None);
        writer.push("turn.failed", &json!({"reason": reason}));
        let mut turn = writer.turn("failed", 5);
        turn.row = Row { reason: reason.into(), epoch, ..turn.row };
        broken(turn, &Project { id: "p".into(), ..Project::default() }, &Past::default())
    };
    assert_eq!(failed("WORKER_LOST", 4), BTreeSet::new());
    assert_eq!(failed("WORKER_LOST", 3), BTreeSet::from(["outcome"]), "it was not taken over often enough");
    assert_eq!(failed("PROVIDER_ERROR", 4), BTreeSet::from(["outcome"]));
    let mut writer = Writer::begin();
    writer.push("turn.cancelled", &json!({}));
    let unasked = broken(writer.turn("cancelled", 6), &Project { id: "p".into(), ..Project::default() }, &Past::default());
    assert_eq!(unasked, BTreeSet::from(["outcome"]));
}

#[test]
fn the_tree_is_what_the_logs_tell() {
    let with = |change: &dyn Fn(&mut Project)| {
        let mut project = project();
        change(&mut project);
        broken(good(), &project, &Past::default())
    };
    assert!(with(&|project| drop(project.tree.remove("shared.txt"))).contains("the tree"));
    assert!(with(&|project| drop(project.tree.insert("turns/2.txt".into(), String::new()))).contains("the file"));
    assert!(with(&|project| project.head = 2).contains("revisions"));
    assert!(with(&|project| project.doubled.push("t".into())).contains("one revision a turn"));
}

#[test]
fn a_person_decides_what_conflicts() {
    let saved = |number, settles: Option<&str>, text: &str| Saved {
        project: "p".into(),
        number,
        settles: settles.map(str::to_owned),
        file: ("shared.txt".into(), text.into()),
    };
    let conflicted = |wish| {
        let mut writer = Writer::begin();
        (1..=3).for_each(|step| writer.step(step, None));
        writer.push("turn.conflicted", &json!({"revision": "r"}));
        let mut turn = writer.turn("conflicted", 4);
        turn.watched.ask.wish = wish;
        turn
    };
    let mut project = Project { saved: vec![saved(1, None, "saved\n"), saved(2, Some("t"), "decided\n")], head: 2, ..project() };
    project.tree.insert("shared.txt".into(), "decided\n".into());
    assert!(broken(conflicted(Wish::File), &project, &Past::default()).contains("outcome"));
    assert!(!broken(conflicted(Wish::Clash), &project, &Past::default()).contains("the tree"));
    project.saved.pop();
    let lost = broken(conflicted(Wish::Clash), &project, &Past::default());
    assert!(lost.contains("the tree") && lost.contains("revisions"), "{lost:?}");
}

#[test]
fn a_question_stands_in_the_place_of_another() {
    let turn = |id: &str, replaces: Option<&str>| {
        let mut turn = good();
        turn.watched.turn = id.into();
        turn.watched.replaces = replaces.map(str::to_owned);
        turn
    };
    let turns = [turn("a", None), turn("b", None), turn("c", Some("b")), turn("d", Some("b"))];
    let holds = |turns: &[Turn], messages: &[(&str, bool)]| {
        let messages = messages.iter().map(|(turn, seen)| ((*turn).to_owned(), *seen)).collect();
        let project = Project { messages, ..Project::default() };
        let mut found = Vec::new();
        conversation::check(&project, turns, &mut Broken { turn: None, found: &mut found });
        found.is_empty()
    };
    assert!(holds(&turns, &[("a", true), ("a", true), ("b", false), ("b", false), ("c", true), ("refused", false)]));
    let twice = [("b", false), ("c", false), ("c", false), ("d", true)];
    assert!(holds(&turns, &twice), "the later one stands in the place of both");
    let late = [("a", true), ("b", false), ("c", true), ("a", true), ("b", false)];
    assert!(holds(&turns, &late), "an answer belongs to its question, however late");
    assert!(!holds(&turns, &[("a", true), ("b", true), ("c", true)]), "what was replaced is there");
    assert!(!holds(&turns, &[("a", true), ("b", false), ("c", true), ("refused", true)]), "nobody asked");
    assert!(!holds(&turns, &[("a", false), ("b", true)]), "nobody replaced it");
    assert!(!holds(&turns, &[("a", true), ("a", false)]), "an answer is lost");
}

#[test]
fn nothing_stands_still_in_a_whole_cluster() {
    let stand_still = |turn: &mut Turn| turn.log.iter_mut().skip(10).for_each(|event| event.at += 20_000);
    breaks("nothing stands still", stand_still);
    let mut turn = good();
    stand_still(&mut turn);
    let trouble = Trouble { what: "postgres".into(), span: (BEGAN + 5_000, BEGAN + 12_000) };
    let past = Past { troubles: vec![trouble], ..Past::default() };
    assert!(!broken(turn, &project(), &past).contains("nothing stands still"));
}

#[test]
fn what_is_new_is_seen_soon() {
    breaks("viewers see what is new", |turn| *turn.watched.views[1].came.last_mut().unwrap() += 12_000);
    let mut turn = good();
    turn.watched.views[1].opened += 12_000;
    turn.watched.views[1].came.iter_mut().for_each(|came| *came += 12_100);
    assert_eq!(broken(turn, &project(), &Past::default()), BTreeSet::new(), "it was not there before");
}

#[test]
fn an_owner_that_is_well_keeps_its_turn() {
    let calm = Rules { calm: true, ..RULES };
    let of = |turn: Turn| check(&[turn], &[project()], &Past::default(), &calm);
    assert_eq!(of(good()), []);
    assert_eq!(of(taken_over()).first().map(|found| found.rule), Some("an owner that is well keeps its turn"));
    let mut asked_again = taken_over();
    let at = asked_again.log.iter().position(|event| event.kind == "step.superseded").expect("a step that is superseded");
    asked_again.log[at + 1].kind = "attempt.failed".into();
    let rules = |turn: Turn| of(turn).into_iter().map(|found| found.rule).collect::<Vec<_>>();
    assert!(!rules(asked_again).contains(&"an owner that is well keeps its turn"), "its provider failed");
}

/// So much of each second was missing, from ten seconds before the history to half a minute after its beginning.
fn starved(lost: Millis) -> Past {
    let mut past = Past::default();
    (-10..30).for_each(|second| past.starved.add(BEGAN + second * 1_000, BEGAN + (second + 1) * 1_000, lost));
    past
}

/// A change of the good history, the rule that it breaks on a machine with time, and on one that has lost a tenth of it; and the
/// loss of each second that explains it.
#[test]
fn time_that_was_missing_is_not_held_against_the_cluster() {
    type Case = (&'static str, Millis, fn(&mut Turn));
    let cases: [Case; 3] = [
        ("nothing stands still", 600, |turn| turn.log.iter_mut().skip(10).for_each(|event| event.at += 20_000)),
        ("viewers see what is new", 600, |turn| *turn.watched.views[1].came.last_mut().unwrap() += 15_000),
        ("no call for a finished step", 500, |turn| turn.calls.push(Call { at: BEGAN + 2_000, ..turn.calls[0].clone() })),
    ];
    for (rule, explains, change) in cases {
        let of = |past: &Past| {
            let mut turn = good();
            // One call too many is another rule's.
            turn.row.epoch = 2;
            change(&mut turn);
            broken(turn, &project(), past)
        };
        assert_eq!(of(&starved(0)), BTreeSet::from([rule]));
        assert_eq!(of(&starved(100)), BTreeSet::from([rule]));
        assert_eq!(of(&starved(explains)), BTreeSet::new(), "{rule}");
    }
}

#[test]
fn an_owner_that_the_machine_had_no_time_for_may_lose_its_turn() {
    let calm = Rules { calm: true, ..RULES };
    let of = |past: &Past| check(&[taken_over()], &[project()], past, &calm).into_iter().map(|found| found.rule).collect::<Vec<_>>();
    assert_eq!(of(&starved(100)), ["an owner that is well keeps its turn"]);
    assert_eq!(of(&starved(700)), [""; 0]);
}
