//! Histories that are valid, and what the rules report for histories that are not.

use std::collections::BTreeSet;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;

const KEYS: [&str; 3] = ["a", "b", "c"];

fn lists(of: &[(&str, &[u64])]) -> Lists {
    of.iter().map(|(key, list)| ((*key).to_owned(), list.to_vec())).collect()
}

/// An operation from a time to another one, with what it has seen.
fn read((began, ended): (u64, u64), number: u32, seen: &[(&str, &[u64])]) -> ListOperation {
    let outcome = ListOutcome::Done(number);
    ListOperation { began, ended: Some(ended), seen: lists(seen), appended: Lists::new(), outcome }
}

fn save(times: (u64, u64), number: u32, seen: &[(&str, &[u64])], appended: &[(&str, &[u64])]) -> ListOperation {
    ListOperation { appended: lists(appended), ..read(times, number, seen) }
}

fn history(operations: Vec<ListOperation>, head: u32, last: &[(&str, &[u64])]) -> ListHistory {
    ListHistory { project: "p".to_owned(), operations, last: (head, lists(last)) }
}

/// Saves that were acknowledged, refused and not answered, and reads.
fn valid() -> ListHistory {
    let unknown = |operation| ListOperation { outcome: ListOutcome::Unknown, ended: None, ..operation };
    let refused = save((9, 11), 0, &[("a", &[1, 2])], &[("a", &[5])]);
    let operations = vec![
        save((1, 4), 2, &[("a", &[])], &[("a", &[1, 2])]),
        save((5, 8), 3, &[("a", &[1, 2]), ("b", &[])], &[("a", &[3]), ("b", &[4])]),
        read((9, 10), 3, &[("a", &[1, 2, 3]), ("b", &[4])]),
        ListOperation { outcome: ListOutcome::Refused, ..refused },
        unknown(save((11, 0), 0, &[("b", &[4])], &[("b", &[6])])),
        unknown(save((12, 0), 0, &[("a", &[1, 2, 3])], &[("a", &[7])])),
        read((13, 14), 3, &[("a", &[1, 2, 3]), ("b", &[4])]),
        read((20, 21), 4, &[("a", &[1, 2, 3, 7]), ("b", &[4])]),
    ];
    history(operations, 4, &[("a", &[1, 2, 3, 7]), ("b", &[4])])
}

fn rules(history: &ListHistory) -> BTreeSet<&'static str> {
    check(history).iter().map(|violation| violation.rule).collect()
}

#[test]
fn a_valid_history_violates_no_rule() {
    assert_eq!(check(&valid()), []);
    assert_eq!(check(&history(Vec::new(), 1, &[("a", &[])])), []);
}

type Change = fn(&mut ListHistory);

/// A rule with a change that violates it and no other rule.
const CHANGES: &[(&str, &str, Change)] = &[
    ("a lost append", "acknowledged appends are kept", |history| {
        history.last.1.insert("b".to_owned(), Vec::new());
        for read in [2, 6, 7] {
            history.operations[read].seen.insert("b".to_owned(), Vec::new());
        }
    }),
    ("an append that is made twice", "an element is in its list once", |history| {
        history.last.1.insert("a".to_owned(), vec![1, 2, 3, 7, 7]);
    }),
    ("a save over a newer save", "an append follows what its save has read", |history| {
        history.operations[5].seen.insert("a".to_owned(), vec![1, 2]);
    }),
    ("an element of nobody", "no invented elements", |history| history.last.1.entry("a".to_owned()).or_default().push(9)),
    ("an element in the wrong list", "no invented elements", |history| {
        history.operations[4].appended = lists(&[("c", &[8])]);
        history.operations[4].seen = lists(&[("c", &[])]);
        history.last.1.entry("b".to_owned()).or_default().push(8);
        history.last.1.insert("c".to_owned(), vec![8]);
        history.last.0 = 5;
    }),
    ("a refused append that is made", "no refused appends", |history| history.last.1.entry("a".to_owned()).or_default().push(5)),
    ("a read of half of a save", "no half saves", |history| {
        history.operations[2] = read((9, 10), 2, &[("a", &[1]), ("b", &[])]);
    }),
    ("a save that is made by half", "no half saves", |history| {
        history.operations[5].seen.insert("b".to_owned(), vec![4]);
        history.operations[5].appended.insert("b".to_owned(), vec![8]);
    }),
    ("a read of another order", "a read is a prefix of the final list", |history| {
        history.operations[2].seen.insert("a".to_owned(), vec![1, 2, 7]);
    }),
    ("a revision of nobody", "one revision for each save", |history| history.last.0 = 5),
    ("a read of a revision that was never made", "operations name revisions that were made", |history| {
        history.operations[7].outcome = ListOutcome::Done(99);
    }),
    ("a read of no revision", "operations name revisions that were made", |history| {
        history.operations.insert(0, read((0, 1), 0, &[("a", &[]), ("b", &[])]));
    }),
    ("two saves in one revision", "one revision for each save", |history| history.operations[1].outcome = ListOutcome::Done(2)),
    ("a stale read", "an operation sees what was acknowledged before it began", |history| {
        history.operations[7] = read((20, 21), 2, &[("a", &[1, 2]), ("b", &[])]);
    }),
    ("a save that takes effect before it is sent", "an operation sees what was acknowledged before it began", |history| {
        (history.operations[0].began, history.operations[0].ended) = (30, Some(31));
    }),
    ("a read of a newer revision than it says", "revisions are numbered in the order of what they have", |history| {
        history.operations[2].outcome = ListOutcome::Done(2);
    }),
];

#[test]
fn each_rule_finds_its_anomaly() {
    for (anomaly, rule, change) in CHANGES {
        let mut changed = valid();
        change(&mut changed);
        assert_eq!(rules(&changed), BTreeSet::from([*rule]), "{anomaly}");
    }
}

#[test]
fn cycles_over_several_lists_are_found() {
    let both: &[(&str, &[u64])] = &[("a", &[]), ("b", &[])];
    let cases = [
        (
            "saves have one order over all lists (G0)",
            vec![
                save((1, 9), 2, &[("a", &[]), ("b", &[4])], &[("a", &[1]), ("b", &[2])]),
                save((2, 8), 3, &[("a", &[1]), ("b", &[])], &[("a", &[3]), ("b", &[4])]),
            ],
            (3, lists(&[("a", &[1, 3]), ("b", &[4, 2])])),
        ),
        (
            "saves do not see each other in a circle (G1c)",
            vec![save((1, 9), 2, &[("a", &[]), ("b", &[2])], &[("a", &[1])]), save((2, 8), 3, &[("a", &[1]), ("b", &[])], &[("b", &[2])])],
            (3, lists(&[("a", &[1]), ("b", &[2])])),
        ),
        (
            "what one operation has seen is of one moment (G-single)",
            vec![save((1, 9), 2, both, &[("a", &[1]), ("b", &[2])]), read((2, 8), 2, &[("a", &[1]), ("b", &[])])],
            (2, lists(&[("a", &[1]), ("b", &[2])])),
        ),
        (
            "saves that miss each other are not both made (G2)",
            vec![save((1, 9), 2, both, &[("a", &[1])]), save((2, 8), 3, both, &[("b", &[2])])],
            (3, lists(&[("a", &[1]), ("b", &[2])])),
        ),
    ];
    for (rule, operations, last) in cases {
        let history = ListHistory { project: "p".to_owned(), operations, last };
        assert_eq!(rules(&history), BTreeSet::from([rule]), "{:?}", check(&history));
    }
}

/// Operations one after the other, whose times overlap. Also returns the lists of each revision.
fn random(seed: u64) -> (ListHistory, Vec<Lists>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let empty: Lists = KEYS.iter().map(|key| ((*key).to_owned(), Vec::new())).collect();
    let (mut operations, mut revisions) = (Vec::new(), vec![Lists::new(), empty]);
    for moment in 1..80_u64 {
        let (began, ended) = (moment * 100 - rng.random_range(0..100), moment * 100 + rng.random_range(1..400));
        let now = revisions[revisions.len() - 1].clone();
        let (mut seen, mut appended) = (now.clone(), Lists::new());
        let mut outcome = ListOutcome::Done(u32::try_from(revisions.len() - 1).unwrap());
        if rng.random() {
            let keys: Vec<_> = KEYS.iter().filter(|_| rng.random()).collect();
            let keys = if keys.is_empty() { vec![&"a"] } else { keys };
            seen = keys.iter().map(|key| ((**key).to_owned(), now[**key].clone())).collect();
            appended = keys.iter().zip(0..).map(|(key, n)| ((**key).to_owned(), vec![moment * 10 + n, moment * 10 + n + 5])).collect();
            outcome = ListOutcome::Refused;
            if rng.random_ratio(2, 3) {
                let mut next = now;
                appended.iter().for_each(|(key, own)| next.get_mut(key).unwrap().extend(own));
                outcome = if rng.random() { ListOutcome::Unknown } else { ListOutcome::Done(u32::try_from(revisions.len()).unwrap()) };
                revisions.push(next);
            }
        }
        let ended = (outcome != ListOutcome::Unknown).then_some(ended);
        operations.push(ListOperation { began, ended, seen, appended, outcome });
    }
    let head = u32::try_from(revisions.len() - 1).unwrap();
    (ListHistory { project: "p".to_owned(), operations, last: (head, revisions[head as usize].clone()) }, revisions)
}

#[test]
fn random_histories_are_valid_and_a_stale_read_in_them_is_found() {
    let mut stale = 0;
    for seed in 0..200 {
        let (mut history, revisions) = random(seed);
        assert_eq!(check(&history), [], "seed {seed}");
        let is_save = |operation: &&ListOperation| !operation.appended.is_empty() && operation.outcome.number().is_some();
        let saves: Vec<_> = history.operations.iter().filter(is_save).cloned().collect();
        let late = history.operations.iter_mut().rev().find(|operation| operation.appended.is_empty()).unwrap();
        let Some(missed) = saves.iter().rev().find(|save| save.ended.is_some_and(|ended| ended < late.began)) else { continue };
        let number = missed.outcome.number().unwrap() - 1;
        (late.seen, late.outcome) = (revisions[number as usize].clone(), ListOutcome::Done(number));
        assert_eq!(rules(&history), BTreeSet::from(["an operation sees what was acknowledged before it began"]), "seed {seed}");
        stale += 1;
    }
    assert!(stale > 100);
}
