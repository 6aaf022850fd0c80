//! Saves that a turn overwrites, and messages that are lost.

use super::*;

#[test]
fn a_turn_that_overwrites_a_newer_save_is_found() {
    let save = |number| SavedRevision {
        project: "p".into(),
        id: format!("s{number}"),
        number,
        resolves: None,
        file: ("shared.txt".into(), "saved\n".into()),
    };
    let turn = |base: &str| {
        let mut turn = valid();
        turn.watched.prompt.task = Task::Shared;
        for event in &mut turn.log {
            match event.kind.as_str() {
                "turn.started" => event.data["baseRevision"] = json!(base),
                "files.committed" => event.data["number"] = json!(3),
                _ => {}
            }
        }
        turn
    };
    let project = Project { saved: vec![save(1), save(2)], head: 3, ..project() };
    let rule = "a turn overwrites no newer save";
    let of = |base| violated(turn(base), &project, &FaultHistory::default());
    assert!(of("s1").contains(rule) && of("").contains(rule), "{:?}", of("s1"));
    assert!(!of("s2").contains(rule), "the turn has seen the newest save");
    let mut conflicted = turn("s2");
    conflicted.row.state = "conflicted".into();
    assert!(violated(conflicted, &project, &FaultHistory::default()).contains("a conflict has a newer save"));
}

#[test]
fn a_lost_doubled_or_moved_message_is_found() {
    let with = |messages: Vec<Message>| violated(valid(), &Project { messages, ..project() }, &FaultHistory::default());
    let [prompt, answer] = [message("t", true, true), message("t", false, true)];
    assert_eq!(with(vec![prompt.clone(), answer.clone()]), BTreeSet::new());
    let (prompts, answers, order) = ("accepted prompts are kept once", "answers are kept once", "messages are in order");
    assert_eq!(with(vec![answer.clone()]), BTreeSet::from([prompts]));
    assert_eq!(with(vec![prompt.clone(), prompt.clone(), answer.clone()]), BTreeSet::from([prompts]));
    assert_eq!(with(vec![Message { text: "else".into(), ..prompt.clone() }, answer.clone()]), BTreeSet::from([prompts]));
    assert_eq!(with(vec![prompt.clone()]), BTreeSet::from([answers]));
    assert_eq!(with(vec![prompt.clone(), answer.clone(), answer.clone()]), BTreeSet::from([answers]));
    assert_eq!(with(vec![answer, prompt]), BTreeSet::from([order]));

    let turn = |id: &str, started| {
        let mut turn = valid();
        (turn.watched.turn, turn.watched.started) = (id.into(), started);
        turn
    };
    let of = |turns: &[Turn]| {
        let messages = ["a", "a", "b", "b"].iter().zip([true, false, true, false]).map(|(id, is_prompt)| message(id, is_prompt, true));
        let project = Project { messages: messages.collect(), ..project() };
        let mut found = Vec::new();
        conversation::check(&project, turns, &mut Violations { turn: None, found: &mut found });
        found.into_iter().map(|violation| violation.rule).collect::<Vec<_>>()
    };
    assert_eq!(of(&[turn("a", (1, 5)), turn("b", (3, 6))]), [""; 0], "they overlap");
    assert_eq!(of(&[turn("a", (1, 5)), turn("b", (6, 7))]), [""; 0]);
    assert_eq!(of(&[turn("a", (6, 7)), turn("b", (1, 5))]), [order]);
}
