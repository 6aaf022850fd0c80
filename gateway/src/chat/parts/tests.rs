use proptest::prelude::*;
use proto::agent_streaming::{
    AgentSelected, AttemptFailed, FileClosed, FileDelta, FileOpened, FileRejected, FilesConflict, ReasoningDelta, ReasoningFinished,
    ReasoningStarted, StepFinished, StepStarted, StepSuperseded, TextDelta, TextFinished, TextStarted, ToolFailed, ToolInputDelta,
    ToolOutput, ToolReady, ToolStarted, TurnAccepted, TurnCancelled, TurnCommitting, TurnCompleted, TurnConflicted, TurnFailed, TurnQueued,
    TurnStarted,
};

use super::*;

pub(crate) const TURN: &str = "01890000-0000-7000-8000-000000000001";

/// Numbers kinds as a log does.
pub(crate) fn log(kinds: impl IntoIterator<Item = Kind>) -> Vec<TurnEvent> {
    let event = |(seq, kind)| TurnEvent { seq, turn_id: TURN.into(), kind: Some(kind), ..TurnEvent::default() };
    (1..).zip(kinds).map(event).collect()
}

pub(crate) fn text(id: &str, text: &str) -> [Kind; 3] {
    let block_id = id.to_owned();
    [
        Kind::TextStarted(TextStarted { block_id: block_id.clone() }),
        Kind::TextDelta(TextDelta { block_id: block_id.clone(), text: text.into() }),
        Kind::TextFinished(TextFinished { block_id }),
    ]
}

pub(crate) fn accepted() -> Kind {
    Kind::TurnAccepted(TurnAccepted { project_id: "p".into() })
}

pub(crate) fn step(step: u32) -> Kind {
    Kind::StepStarted(StepStarted { step })
}

pub(crate) fn step_done(step: u32) -> Kind {
    Kind::StepFinished(StepFinished { step, finish_reason: "stop".into() })
}

pub(crate) fn superseded(from: u32, to: u32) -> Kind {
    Kind::StepSuperseded(StepSuperseded { from, to })
}

pub(crate) fn completed() -> Kind {
    Kind::TurnCompleted(TurnCompleted { revision: "r1".into() })
}

pub(crate) fn cancelled() -> Kind {
    Kind::TurnCancelled(TurnCancelled {})
}

pub(crate) fn failed() -> Kind {
    Kind::TurnFailed(TurnFailed { reason: "PROVIDER_ERROR".into(), message: "the provider does not answer".into() })
}

pub(crate) fn conflicted() -> [Kind; 2] {
    let paths = vec!["a.js".to_owned()];
    [Kind::FilesConflict(FilesConflict { paths }), Kind::TurnConflicted(TurnConflicted { revision: "c1".into() })]
}

pub(crate) fn committed() -> Kind {
    Kind::FilesCommitted(FilesCommitted { revision: "r1".into(), number: 3, added: 1, ..FilesCommitted::default() })
}

pub(crate) fn usage() -> Kind {
    Kind::Usage(Usage { input_tokens: 812, output_tokens: 94, ..Usage::default() })
}

/// The events of a `write_file` call.
pub(crate) fn write(call: &str, path: &str, content: &str) -> [Kind; 6] {
    let call_id = call.to_owned();
    [
        Kind::ToolStarted(ToolStarted { call_id: call_id.clone(), tool: "write_file".into() }),
        Kind::FileOpened(FileOpened { call_id: call_id.clone(), path: path.into(), operation: FileOperation::Write.into() }),
        Kind::FileDelta(FileDelta { call_id: call_id.clone(), text: content.into() }),
        Kind::ToolReady(ToolReady { call_id: call_id.clone(), input_json: format!(r#"{{"path":"{path}"}}"#), ..ToolReady::default() }),
        Kind::FileClosed(FileClosed { call_id: call_id.clone(), path: path.into(), size_bytes: u32::try_from(content.len()).unwrap() }),
        Kind::ToolOutput(ToolOutput { call_id, summary: format!("wrote {path}") }),
    ]
}

/// Writes a valid random log. A step may be interrupted and repeated, and a turn may end at any place.
struct Author {
    kinds: Vec<Kind>,
    /// Counts the names of blocks and calls.
    names: u32,
}

impl Author {
    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    fn seq(&self) -> u32 {
        u32::try_from(self.kinds.len()).unwrap()
    }

    /// One act of a step: all of its events, or only the first ones.
    fn act(&mut self, choice: u8, whole: bool) {
        let path = format!("f{}.js", choice % 3);
        let mut kinds = match choice % 7 {
            0 => {
                let name = self.name("t");
                text(&name, "words").to_vec()
            }
            1 => self.reasoning(),
            2 => {
                let name = self.name("c");
                write(&name, &path, "text").to_vec()
            }
            3 => self.read(),
            4 => self.rejected(&path),
            5 => self.renamed(&path),
            _ => vec![usage(), Kind::AttemptFailed(AttemptFailed { retry_in_ms: 5, ..AttemptFailed::default() })],
        };
        if !whole {
            kinds.truncate(1 + usize::from(choice) % kinds.len());
        }
        self.kinds.append(&mut kinds);
    }

    fn reasoning(&mut self) -> Vec<Kind> {
        let block_id = self.name("r");
        vec![
            Kind::ReasoningStarted(ReasoningStarted { block_id: block_id.clone() }),
            Kind::ReasoningDelta(ReasoningDelta { block_id: block_id.clone(), text: "hm".into() }),
            Kind::ReasoningDelta(ReasoningDelta { block_id: block_id.clone(), text: "hm".into() }),
            Kind::ReasoningFinished(ReasoningFinished { block_id, opaque_json: String::new() }),
        ]
    }

    fn read(&mut self) -> Vec<Kind> {
        let call_id = self.name("c");
        vec![
            Kind::ToolStarted(ToolStarted { call_id: call_id.clone(), tool: "read_file".into() }),
            Kind::ToolInputDelta(ToolInputDelta { call_id: call_id.clone(), json: "{\"path\":".into() }),
            Kind::ToolInputDelta(ToolInputDelta { call_id: call_id.clone(), json: "\"a\"}".into() }),
            Kind::ToolReady(ToolReady { call_id: call_id.clone(), input_json: "{\"path\":\"a\"}".into(), ..ToolReady::default() }),
            Kind::ToolOutput(ToolOutput { call_id, summary: "7 lines".into() }),
        ]
    }

    fn rejected(&mut self, path: &str) -> Vec<Kind> {
        let call_id = self.name("c");
        let reason = "NO_MATCH".to_owned();
        vec![
            Kind::ToolStarted(ToolStarted { call_id: call_id.clone(), tool: "edit_file".into() }),
            Kind::FileOpened(FileOpened { call_id: call_id.clone(), path: path.into(), operation: FileOperation::Edit.into() }),
            Kind::FileRejected(FileRejected { call_id: call_id.clone(), path: path.into(), reason: reason.clone(), ..Default::default() }),
            Kind::ToolFailed(ToolFailed { call_id, reason, message: "no such text".into() }),
        ]
    }

    fn renamed(&mut self, path: &str) -> Vec<Kind> {
        let call_id = self.name("c");
        vec![
            Kind::ToolStarted(ToolStarted { call_id: call_id.clone(), tool: "rename_file".into() }),
            Kind::ToolReady(ToolReady { call_id: call_id.clone(), input_json: "{}".into(), ..ToolReady::default() }),
            Kind::FileOpened(FileOpened { call_id: call_id.clone(), path: path.into(), operation: FileOperation::Rename.into() }),
            Kind::FileClosed(FileClosed { call_id: call_id.clone(), path: format!("new-{path}"), size_bytes: 4 }),
            Kind::ToolOutput(ToolOutput { call_id, summary: "renamed".into() }),
        ]
    }

    fn end(&mut self, choice: u8) {
        match choice % 4 {
            0 => self.kinds.extend([Kind::TurnCommitting(TurnCommitting::default()), committed(), completed()]),
            1 => self.kinds.push(failed()),
            2 => self.kinds.push(cancelled()),
            _ => self.kinds.extend(conflicted()),
        }
    }
}

/// A log of steps, each a list of acts. A step with a number is interrupted after that many acts and then repeated.
fn write_log(steps: &[(Vec<u8>, Option<u8>)], end: u8) -> Vec<TurnEvent> {
    let mut author = Author { kinds: vec![accepted(), Kind::AgentSelected(AgentSelected::default())], names: 0 };
    if end > 200 {
        author.kinds.push(Kind::TurnQueued(TurnQueued { running_turn_id: "other".into() }));
    }
    author.kinds.push(Kind::TurnStarted(TurnStarted::default()));
    let last = steps.len().saturating_sub(1);
    for (at, (acts, interrupted)) in steps.iter().enumerate() {
        let number = u32::try_from(at + 1).unwrap();
        if let Some(after) = interrupted {
            author.kinds.push(step(number));
            let from = author.seq();
            for (nth, act) in acts.iter().enumerate().take(usize::from(*after) + 1) {
                author.act(*act, nth != usize::from(*after));
            }
            let to = author.seq();
            author.kinds.push(superseded(from, to));
        }
        author.kinds.push(step(number));
        // A turn that does not complete may leave its last step unfinished.
        let broken = at == last && !end.is_multiple_of(4) && end.is_multiple_of(3);
        for (nth, act) in acts.iter().enumerate() {
            author.act(*act, !(broken && nth + 1 == acts.len()));
        }
        if !broken {
            author.kinds.push(step_done(number));
        }
    }
    author.end(end);
    log(author.kinds)
}

pub(crate) fn any_log() -> impl Strategy<Value = Vec<TurnEvent>> {
    let acts = prop::collection::vec(any::<u8>(), 0..6);
    let steps = prop::collection::vec((acts, prop::option::weighted(0.3, 0..6_u8)), 0..4);
    (steps, any::<u8>()).prop_map(|(steps, end)| write_log(&steps, end))
}

/// The compact form of a log as StreamTurnEvents defines it.
pub(crate) fn short(log: &[TurnEvent]) -> Vec<TurnEvent> {
    let void: Vec<_> = log
        .iter()
        .filter_map(|event| match &event.kind {
            Some(Kind::StepSuperseded(e)) => Some(e.from..=e.to),
            _ => None,
        })
        .collect();
    let mut short: Vec<TurnEvent> = Vec::new();
    for event in log.iter().filter(|event| !void.iter().any(|range| range.contains(&event.seq))) {
        if let (Some(Kind::ReasoningDelta(more)), Some(last)) = (&event.kind, short.last_mut())
            && let Some(Kind::ReasoningDelta(delta)) = &mut last.kind
            && delta.block_id == more.block_id
        {
            delta.text.push_str(&more.text);
            last.seq = event.seq;
            continue;
        }
        short.push(event.clone());
    }
    short
}

fn parts(resets: bool, log: &[TurnEvent]) -> Vec<String> {
    let mut state = AnswerParts::new(resets);
    log.iter().flat_map(|event| state.event(event).into_iter().map(|part| format!("{part:?}")).collect::<Vec<_>>()).collect()
}

#[test]
fn open_parts_are_closed_at_the_end() {
    let call = Kind::ToolStarted(ToolStarted { call_id: "c".into(), tool: "read_file".into() });
    let [started, delta, _] = text("t", "so far");
    let log = log([accepted(), step(1), started, delta, call, cancelled()]);
    let words = parts(false, &log);
    let names: Vec<_> = words.iter().map(|part| part.split([' ', '(']).next().unwrap()).collect();
    let opened = ["Started", "StepStarted", "BlockStarted", "BlockDelta", "CallStarted"];
    assert_eq!(names, [&opened[..], &["BlockFinished", "CallDone", "StepFinished", "Ended"]].concat());
}

#[test]
fn inconsistent_events_have_no_parts() {
    let stray = [
        Kind::TextFinished(TextFinished { block_id: "x".into() }),
        Kind::ToolReady(ToolReady { call_id: "x".into(), input_json: "{}".into(), ..ToolReady::default() }),
        Kind::ToolOutput(ToolOutput { call_id: "x".into(), summary: String::new() }),
        Kind::FileDelta(FileDelta { call_id: "x".into(), text: "x".into() }),
        Kind::FileClosed(FileClosed { call_id: "x".into(), path: "x".into(), size_bytes: 1 }),
        superseded(1, 1),
    ];
    let events = log([accepted()].into_iter().chain(stray).chain([completed(), completed()]));
    assert_eq!(parts(false, &events).len(), 2, "{:?}", parts(false, &events));
    let unknown = TurnEvent { seq: 1, ..TurnEvent::default() };
    assert_eq!(parts(false, &[unknown]), ["Started"]);
}

#[test]
fn a_file_has_the_status_of_its_last_change() {
    let files = |kinds: Vec<Kind>| -> Vec<String> {
        let mut state = AnswerParts::new(false);
        let log = log(kinds);
        let found = log.iter().flat_map(|event| {
            let parts = state.event(event);
            parts
                .into_iter()
                .filter_map(|part| match part {
                    Part::File(file) => Some(serde_json::to_string(&file).unwrap()),
                    _ => None,
                })
                .collect::<Vec<_>>()
        });
        found.collect()
    };
    let written = || [&[accepted(), step(1)][..], &write("c", "a.js", "1234")].concat();
    let streaming = r#"{"path":"a.js","op":"write","status":"streaming"}"#;
    let applied = r#"{"path":"a.js","op":"write","status":"applied","bytes":4}"#;
    assert_eq!(files([written(), vec![step_done(1), completed()]].concat()), [streaming, applied]);
    let lost = r#"{"path":"a.js","op":"write","status":"failed","bytes":4,"reason":"PROVIDER_ERROR"}"#;
    assert_eq!(files([written(), vec![failed()]].concat()), [streaming, applied, lost]);
    let again = r#"{"path":"a.js","op":"write","status":"failed","bytes":4,"reason":"STEP_SUPERSEDED"}"#;
    assert_eq!(files([written(), vec![superseded(2, 8)]].concat()), [streaming, applied, again]);
    let open = r#"{"path":"a.js","op":"write","status":"failed","reason":"UNFINISHED"}"#;
    let cut: Vec<_> = written().into_iter().take(4).collect();
    assert_eq!(files([cut, vec![step_done(1), completed()]].concat()), [streaming, open]);
}

#[test]
fn a_rename_changes_both_paths() {
    let mut author = Author { kinds: vec![accepted(), step(1)], names: 0 };
    let renamed = author.renamed("a.js");
    author.kinds.extend(renamed);
    let words = parts(false, &log(author.kinds)).join("\n");
    assert!(words.contains(r#"path: "a.js", op: "rename", status: Applied, bytes: None, from: None, to: Some("new-a.js")"#), "{words}");
    assert!(words.contains(r#"path: "new-a.js", op: "rename", status: Applied, bytes: Some(4), from: Some("a.js")"#), "{words}");
}

#[test]
fn a_repeated_step_is_reset_if_the_protocol_allows_it() {
    let first = || [vec![accepted(), step(1)], write("c1", "a.js", "old").to_vec(), vec![step_done(1), step(2)]].concat();
    let second = || [write("c2", "a.js", "newer"), write("c3", "b.js", "new")].concat();
    let kinds = [first(), second(), vec![superseded(9, 21), step(2)], text("t", "anew").to_vec()].concat();
    let words = parts(true, &log(kinds.clone()));
    let at = words.iter().position(|part| part == "StepReset").expect("a reset");
    assert!(words[at + 1].contains(r#""a.js", op: "write", status: Applied, bytes: Some(3)"#), "as before the step: {}", words[at + 1]);
    assert!(words[at + 2].starts_with("BlockStarted"), "in the same step: {}", words[at + 2]);
    let words = parts(false, &log(kinds));
    let at = words.iter().position(|part| part.contains("Superseded")).expect("a notice");
    assert!(words[at - 1].contains(r#""b.js", op: "write", status: Failed"#), "{}", words[at - 1]);
    assert_eq!(words[at + 1], "StepStarted(2)");
}
