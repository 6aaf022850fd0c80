//! The log under its writers, on a real database.

use std::time::{Duration, Instant};

use chassis::testing::eventually;
use proto::{
    agent_streaming::{TextStarted, TurnFailed, TurnStarted},
    id::{MessageId, ProjectId},
};

use super::{flusher::Flusher, *};
use crate::{
    log::doorbell::Doorbell,
    store::{
        Pool, claims, ends,
        events::{self, Append},
        testing, turns,
    },
    testing::{LEASE, accepted, claim, claimed, database, log, text},
    turn::{Cancel, Reason, State},
    watch::tail::Tails,
};

const SOON: Duration = Duration::from_secs(10);

struct Bench {
    db: Pool,
    journal: Journal,
    tails: Tails,
    stop: CancellationToken,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A database with one process that writes to it.
async fn bench() -> Bench {
    let db = database().await.pool;
    let (journal, tails, stop) = (Journal::default(), Tails::default(), CancellationToken::new());
    let flusher = Flusher::new(journal.clone(), db.clone(), tails.clone(), Doorbell::with(None), LEASE);
    chassis::task::spawn(flusher.run(stop.clone()));
    Bench { db, journal, tails, stop }
}

fn append(turn: &Turn, first_seq: u32, texts: &[&str], change: Option<Change>) -> Append {
    let payloads = texts.iter().map(|t| event::encode(&TurnEvent { kind: Some(text(t)), ..TurnEvent::default() })).collect();
    Append { turn: turn.id, epoch: turn.epoch, first_seq, payloads, change }
}

#[tokio::test]
async fn a_writer_of_an_old_epoch_writes_nothing() {
    let Bench { db, .. } = &bench().await;
    let turn = claimed(db).await;
    claims::release(db, &[(turn.id, turn.epoch)]).await.unwrap();
    let next = claim(db).await.pop().unwrap();
    assert!(next.id == turn.id && next.epoch > turn.epoch);

    let stale = append(&turn, 2, &["stale"], None);
    let ending = append(&turn, 2, &["stale"], Some(Change::completed("r".into())));
    assert!(events::append(db, &[&stale]).await.unwrap().is_empty());
    assert!(events::append_with_changes(db, &[&ending]).await.unwrap().is_empty());
    assert_eq!(log(db, turn.id).await.len(), 1);
    let row = turns::find(db, turn.id, turn.user_id).await.unwrap().unwrap();
    assert_eq!((row.state, row.epoch), (State::Accepted, next.epoch));
}

/// A process that has lost a turn without knowing and has claimed it again has both epochs in one batch.
#[tokio::test]
async fn an_old_epoch_writes_nothing_beside_the_new_one_of_the_same_turn() {
    let Bench { db, .. } = &bench().await;
    for old_first in [true, false] {
        let old = claimed(db).await;
        claims::release(db, &[(old.id, old.epoch)]).await.unwrap();
        let new = claim(db).await.pop().unwrap();
        assert!(new.id == old.id && new.epoch > old.epoch);
        let in_order = |stale, good| if old_first { [stale, good] } else { [good, stale] };

        let (queued, started) = (Change::queued(), Change::started("r".into(), Vec::new()));
        let (stale, good) = (append(&old, 2, &["stale"], Some(queued)), append(&new, 2, &["good"], Some(started)));
        assert_eq!(events::append_with_changes(db, &in_order(&stale, &good)).await.unwrap(), [(new.id, new.epoch)]);
        let row = turns::find(db, new.id, new.user_id).await.unwrap().unwrap();
        assert_eq!((row.state, row.base_revision.as_str()), (State::Accepted, "r"), "old first: {old_first}");

        let (stale, good) = (append(&old, 3, &["stale", "stale"], None), append(&new, 3, &["good"], None));
        assert_eq!(events::append(db, &in_order(&stale, &good)).await.unwrap(), [(new.id, new.epoch)]);
        let texts: Vec<_> = log(db, new.id).await.iter().map(|event| format!("{:?}", event.kind)).collect();
        assert!(texts.len() == 3 && !texts.iter().any(|text| text.contains("stale")), "old first: {old_first}: {texts:?}");
        ends::cancel(db, new.id, new.user_id, |_| Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_statement_that_waits_behind_a_claim_writes_nothing() {
    let Bench { db, .. } = &bench().await;
    let turn = claimed(db).await;
    // A claim that has not committed yet holds the row: the append must not slip in before it nor after it.
    let tx = testing::hold(db, turn.id).await;
    assert!(events::append(db, &[&append(&turn, 2, &["stale"], None)]).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    assert!(events::append(db, &[&append(&turn, 2, &["stale"], None)]).await.unwrap().is_empty());
    assert_eq!(log(db, turn.id).await.len(), 1);
}

#[tokio::test]
async fn the_same_rows_sent_again_change_nothing_and_are_acknowledged() {
    let Bench { db, .. } = &bench().await;
    let turn = claimed(db).await;
    let (plain, ending) = (append(&turn, 2, &["a", "b"], None), append(&turn, 4, &["end"], Some(Change::completed("r".into()))));
    for _ in 0..3 {
        assert_eq!(events::append(db, &[&plain]).await.unwrap(), [(turn.id, turn.epoch)]);
    }
    for _ in 0..3 {
        assert_eq!(events::append_with_changes(db, &[&ending]).await.unwrap(), [(turn.id, turn.epoch)]);
    }
    assert_eq!(log(db, turn.id).await.len(), 4);
    let row = turns::find(db, turn.id, turn.user_id).await.unwrap().unwrap();
    assert_eq!((row.state, row.revision.as_str(), row.last_seq), (State::Completed, "r", 4));
}

#[tokio::test]
async fn one_batch_writes_for_those_it_gets_and_skips_the_others() {
    let Bench { db, .. } = &bench().await;
    let (mine, locked) = (claimed(db).await, claimed(db).await);
    let _tx = testing::hold(db, locked.id).await;
    let got = events::append(db, &[&append(&mine, 2, &["x"], None), &append(&locked, 2, &["x"], None)]).await.unwrap();
    assert_eq!(got, [(mine.id, mine.epoch)]);
    assert_eq!((log(db, mine.id).await.len(), log(db, locked.id).await.len()), (2, 1));
}

#[tokio::test]
async fn what_a_turn_tells_the_model_is_on_record_from_its_start_to_its_end() {
    let Bench { db, .. } = &bench().await;
    let history = vec![MessageId::generate(), MessageId::generate()];
    for (told, cancelled) in [(history, false), (Vec::new(), false), (vec![MessageId::generate()], true)] {
        let (turn, other) = (claimed(db).await, claimed(db).await);
        let recorded = async |turn: &Turn| turns::find(db, turn.id, turn.user_id).await.unwrap().unwrap().history;
        assert_eq!(recorded(&turn).await, None);
        let start = append(&turn, 2, &["start"], Some(Change::started("r".into(), told.clone())));
        let queue = append(&other, 2, &["x"], Some(Change::progress()));
        events::append_with_changes(db, &[&start, &queue]).await.unwrap();
        assert_eq!((recorded(&turn).await, recorded(&other).await), (Some(told.clone()), None));
        let progress = append(&turn, 3, &["step"], Some(Change::progress()));
        // The same start again, as after a doubtful outcome.
        for again in [start, progress] {
            events::append_with_changes(db, &[&again]).await.unwrap();
            assert_eq!(recorded(&turn).await, Some(told.clone()));
        }
        if cancelled {
            ends::cancel(db, turn.id, turn.user_id, |_| Vec::new()).await.unwrap();
        } else {
            let end = append(&turn, 4, &["end"], Some(Change::failed(Reason::Internal)));
            events::append_with_changes(db, &[&end]).await.unwrap();
        }
        assert_eq!(recorded(&turn).await, None, "nobody needs it any more");
    }
}

#[tokio::test]
async fn fifty_turns_at_once_have_logs_without_gaps() {
    let bench = bench().await;
    let mut writers = Vec::new();
    for _ in 0..50 {
        let turn = claimed(&bench.db).await;
        let log = bench.journal.open(&turn, Instant::now() + LEASE);
        writers.push(chassis::task::spawn(async move {
            for n in 0..40 {
                log.push(Kind::TextStarted(TextStarted { block_id: n.to_string() })).await.unwrap();
                log.push(text("some words ")).await.unwrap();
                if n % 10 == 0 {
                    log.append(vec![Kind::TurnStarted(TurnStarted::default())], Change::started("r".into(), Vec::new())).await.unwrap();
                }
            }
            log.append(vec![Kind::TurnFailed(TurnFailed::default())], Change::failed(Reason::Internal)).await.unwrap();
            turn.id
        }));
    }
    for writer in writers {
        let events = log(&bench.db, writer.await.unwrap()).await;
        assert_eq!(events.len(), 1 + 40 * 2 + 4 + 1);
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
        assert_eq!(events.iter().filter(|event| event.is_terminal()).count(), 1);
        assert!(events.last().unwrap().is_terminal());
    }
}

#[tokio::test]
async fn deltas_are_joined_only_while_a_batch_is_under_way_and_lose_nothing() {
    let bench = bench().await;
    let turn = claimed(&bench.db).await;
    let writer = bench.journal.open(&turn, Instant::now() + LEASE);
    let mut sent = String::new();
    for n in 0..2_000 {
        let word = format!("wörd {n} ");
        sent.push_str(&word);
        writer.push(text(&word)).await.unwrap();
    }
    writer.flush().await.unwrap();
    let events = log(&bench.db, turn.id).await;
    let read: String = events
        .iter()
        .filter_map(|event| if let Some(Kind::TextDelta(delta)) = &event.kind { Some(delta.text.as_str()) } else { None })
        .collect();
    assert_eq!(read, sent);
    assert!(events.len() < 1_000, "{} rows", events.len());
    assert!(events.iter().all(|event| event::encode(&TurnEvent { seq: 0, turn_id: String::new(), ..event.clone() }).len() < 1_800));
}

#[tokio::test]
async fn a_cancel_is_the_last_word_whatever_the_owner_does() {
    let bench = bench().await;
    for round in 0..20 {
        let turn = claimed(&bench.db).await;
        let writer = bench.journal.open(&turn, Instant::now() + LEASE);
        let owner = chassis::task::spawn(async move {
            while writer.push(text("more ")).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        // Let it come to a different point each time.
        eventually(SOON, || async { (log(&bench.db, turn.id).await.len() > round % 5).then_some(()) }).await;
        let (cancel, seq) = ends::cancel(&bench.db, turn.id, turn.user_id, crate::intake::cancel::event).await.unwrap().unwrap();
        assert_eq!(cancel, Cancel::Now);
        // Nobody tells the owner: its next batch does.
        owner.await.unwrap();
        let events = log(&bench.db, turn.id).await;
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
        assert_eq!(events.last().unwrap().seq, seq);
        assert!(events.last().unwrap().is_terminal());
        assert_eq!(ends::cancel(&bench.db, turn.id, turn.user_id, crate::intake::cancel::event).await.unwrap(), Some((Cancel::Done, 0)));
    }
}

#[tokio::test]
async fn a_fenced_owner_hears_of_it_without_writing() {
    let bench = bench().await;
    let turn = claimed(&bench.db).await;
    let writer = bench.journal.open(&turn, Instant::now() + LEASE);
    claims::release(&bench.db, &[(turn.id, turn.epoch)]).await.unwrap();
    // The heartbeat finds out; a doorbell would be faster.
    tokio::time::timeout(SOON, writer.fenced().cancelled()).await.unwrap();
    assert_eq!(writer.push(text("late")).await, Err(WriteError::Fenced));
}

#[tokio::test]
async fn one_broken_turn_does_not_stop_the_others() {
    let bench = bench().await;
    let good = claimed(&bench.db).await;
    // A turn of a day that has no partition.
    let mut bad = claimed(&bench.db).await;
    let old = proto::id::TurnId(uuid::Uuid::from_u128(1));
    testing::rename(&bench.db, bad.id, old).await;
    bad.id = old;
    let (good_log, bad_log) = (bench.journal.open(&good, Instant::now() + LEASE), bench.journal.open(&bad, Instant::now() + LEASE));
    for _ in 0..3 {
        let _ = bad_log.push(text("x")).await;
        good_log.push(text("x")).await.unwrap();
    }
    good_log.flush().await.unwrap();
    assert_eq!(bad_log.flush().await, Err(WriteError::Refused));
    good_log.push(text("y")).await.unwrap();
    good_log.flush().await.unwrap();
}

#[tokio::test]
async fn viewers_get_what_is_written_and_nothing_before() {
    let bench = bench().await;
    let turn = claimed(&bench.db).await;
    let writer = bench.journal.open(&turn, Instant::now() + LEASE);
    let mut viewers: Vec<_> = (0..10).map(|_| bench.tails.join(turn.id, turn.last_seq).unwrap()).collect();
    for n in 0..50 {
        writer.push(Kind::TextStarted(TextStarted { block_id: n.to_string() })).await.unwrap();
    }
    writer.append(vec![Kind::TurnFailed(TurnFailed::default())], Change::failed(Reason::Internal)).await.unwrap();
    let written = log(&bench.db, turn.id).await;
    for viewer in &mut viewers {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|event: &TurnEvent| !event.is_terminal()) {
            seen.extend(viewer.next(1_000).await.unwrap().into_iter().map(|frame| frame.event.clone()));
        }
        assert_eq!(seen, written[1..]);
    }
}

#[tokio::test]
async fn a_project_has_one_slot_and_a_queue_in_order() {
    let bench = bench().await;
    let project = ProjectId::generate();
    let (first, second, third) =
        (accepted(&bench.db, project).await, accepted(&bench.db, project).await, accepted(&bench.db, project).await);
    let claimed = claim(&bench.db).await;
    let epoch = |turn: &Turn| claimed.iter().find(|c| c.id == turn.id).unwrap().epoch;
    assert_eq!(claims::take_slot(&bench.db, second.id, epoch(&second)).await.unwrap(), claims::Slot::Busy);
    assert_eq!(claims::take_slot(&bench.db, first.id, epoch(&first)).await.unwrap(), claims::Slot::Taken);
    assert_eq!(claims::take_slot(&bench.db, first.id, epoch(&first)).await.unwrap(), claims::Slot::Taken);
    assert_eq!(claims::take_slot(&bench.db, first.id, epoch(&first) - 1).await.unwrap(), claims::Slot::Fenced);
    for turn in [&second, &third] {
        let queued = append(&Turn { epoch: epoch(turn), ..turn.clone() }, 2, &["queued"], Some(Change::queued()));
        assert_eq!(events::append_with_changes(&bench.db, &[&queued]).await.unwrap(), [(turn.id, queued.epoch)]);
    }
    assert!(claim(&bench.db).await.is_empty());
    let end = append(&Turn { epoch: epoch(&first), ..first.clone() }, 2, &["end"], Some(Change::completed("r".into())));
    events::append_with_changes(&bench.db, &[&end]).await.unwrap();
    let next = claim(&bench.db).await;
    assert_eq!(next.iter().map(|turn| turn.id).collect::<Vec<_>>(), [second.id]);
}

#[tokio::test]
async fn many_claimers_of_one_turn_are_one_owner_per_epoch() {
    let bench = bench().await;
    let turn = accepted(&bench.db, ProjectId::generate()).await;
    for round in 1..=10 {
        let claims: Vec<_> = (0..8)
            .map(|_| {
                let db = bench.db.clone();
                chassis::task::spawn(async move { claim(&db).await.len() })
            })
            .collect();
        let mut owners = 0;
        for claim in claims {
            owners += claim.await.unwrap();
        }
        assert_eq!(owners, 1, "round {round}");
        let epoch = claims::epochs(&bench.db, &[turn.id]).await.unwrap()[&turn.id];
        claims::release(&bench.db, &[(turn.id, epoch)]).await.unwrap();
    }
}
