//! Tests of the journal, the flusher and the store on a real database.

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
    turn::{CancelDecision, Reason, State},
    watch::tail::Tails,
};

const SOON: Duration = Duration::from_secs(10);

struct Fixture {
    db: Pool,
    journal: Journal,
    tails: Tails,
    stop: CancellationToken,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A database and a flusher that writes to it.
async fn fixture() -> Fixture {
    let db = database().await.pool;
    let (journal, tails, stop) = (Journal::default(), Tails::default(), CancellationToken::new());
    let flusher = Flusher::new(journal.clone(), db.clone(), tails.clone(), Doorbell::alone(), LEASE);
    chassis::task::spawn(flusher.run(stop.clone()));
    Fixture { db, journal, tails, stop }
}

fn append(turn: &Turn, first_seq: u32, texts: &[&str], change: Option<Change>) -> Append {
    let payloads = texts.iter().map(|t| event::encode(&TurnEvent { kind: Some(text(t)), ..TurnEvent::default() })).collect();
    Append { turn: turn.id, epoch: turn.epoch, first_seq, payloads, change }
}

#[tokio::test]
async fn a_writer_of_an_old_epoch_writes_nothing() {
    let Fixture { db, .. } = &fixture().await;
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

/// A process that has lost a turn and claimed it again before it noticed the loss has both epochs in one batch.
#[tokio::test]
async fn an_old_epoch_writes_nothing_in_a_batch_with_the_new_epoch() {
    let Fixture { db, .. } = &fixture().await;
    for old_first in [true, false] {
        let old = claimed(db).await;
        claims::release(db, &[(old.id, old.epoch)]).await.unwrap();
        let new = claim(db).await.pop().unwrap();
        assert!(new.id == old.id && new.epoch > old.epoch);
        let in_order = |stale, current| if old_first { [stale, current] } else { [current, stale] };

        let (queued, started) = (Change::queued(), Change::started("r".into(), Vec::new()));
        let (stale, current) = (append(&old, 2, &["stale"], Some(queued)), append(&new, 2, &["current"], Some(started)));
        assert_eq!(events::append_with_changes(db, &in_order(&stale, &current)).await.unwrap(), [(new.id, new.epoch)]);
        let row = turns::find(db, new.id, new.user_id).await.unwrap().unwrap();
        assert_eq!((row.state, row.base_revision.as_str()), (State::Accepted, "r"), "old first: {old_first}");

        let (stale, current) = (append(&old, 3, &["stale", "stale"], None), append(&new, 3, &["current"], None));
        assert_eq!(events::append(db, &in_order(&stale, &current)).await.unwrap(), [(new.id, new.epoch)]);
        let texts: Vec<_> = log(db, new.id).await.iter().map(|event| format!("{:?}", event.kind)).collect();
        assert!(texts.len() == 3 && !texts.iter().any(|text| text.contains("stale")), "old first: {old_first}: {texts:?}");
        ends::cancel(db, new.id, new.user_id, |_| Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_statement_that_waits_for_a_claim_writes_nothing() {
    let Fixture { db, .. } = &fixture().await;
    let turn = claimed(db).await;
    // A claim that has not committed yet locks the row. The append must not write, neither before the claim commits nor after.
    let tx = testing::hold(db, turn.id).await;
    assert!(events::append(db, &[&append(&turn, 2, &["stale"], None)]).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    assert!(events::append(db, &[&append(&turn, 2, &["stale"], None)]).await.unwrap().is_empty());
    assert_eq!(log(db, turn.id).await.len(), 1);
}

#[tokio::test]
async fn a_repeated_append_changes_nothing_and_is_acknowledged() {
    let Fixture { db, .. } = &fixture().await;
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
async fn a_batch_skips_the_turns_whose_rows_are_locked() {
    let Fixture { db, .. } = &fixture().await;
    let (free, locked) = (claimed(db).await, claimed(db).await);
    let _tx = testing::hold(db, locked.id).await;
    let written = events::append(db, &[&append(&free, 2, &["x"], None), &append(&locked, 2, &["x"], None)]).await.unwrap();
    assert_eq!(written, [(free.id, free.epoch)]);
    assert_eq!((log(db, free.id).await.len(), log(db, locked.id).await.len()), (2, 1));
}

#[tokio::test]
async fn the_history_of_a_turn_is_stored_from_its_start_to_its_end() {
    let Fixture { db, .. } = &fixture().await;
    let history = vec![MessageId::generate(), MessageId::generate()];
    for (history, cancelled) in [(history, false), (Vec::new(), false), (vec![MessageId::generate()], true)] {
        let (turn, other) = (claimed(db).await, claimed(db).await);
        let stored = async |turn: &Turn| turns::find(db, turn.id, turn.user_id).await.unwrap().unwrap().history;
        assert_eq!(stored(&turn).await, None);
        let start = append(&turn, 2, &["start"], Some(Change::started("r".into(), history.clone())));
        let progress_of_other = append(&other, 2, &["x"], Some(Change::progress()));
        events::append_with_changes(db, &[&start, &progress_of_other]).await.unwrap();
        assert_eq!((stored(&turn).await, stored(&other).await), (Some(history.clone()), None));
        let progress = append(&turn, 3, &["step"], Some(Change::progress()));
        // The flusher repeats the start if its outcome is unknown.
        for next in [start, progress] {
            events::append_with_changes(db, &[&next]).await.unwrap();
            assert_eq!(stored(&turn).await, Some(history.clone()));
        }
        if cancelled {
            ends::cancel(db, turn.id, turn.user_id, |_| Vec::new()).await.unwrap();
        } else {
            let end = append(&turn, 4, &["end"], Some(Change::failed(Reason::Internal)));
            events::append_with_changes(db, &[&end]).await.unwrap();
        }
        assert_eq!(stored(&turn).await, None, "the turn has ended");
    }
}

#[tokio::test]
async fn the_logs_of_fifty_concurrent_turns_have_no_gaps() {
    let fixture = fixture().await;
    let mut writers = Vec::new();
    for _ in 0..50 {
        let turn = claimed(&fixture.db).await;
        let log = fixture.journal.open(&turn, Instant::now() + LEASE);
        writers.push(chassis::task::spawn(async move {
            for n in 0..40 {
                log.push_fitted(Kind::TextStarted(TextStarted { block_id: n.to_string() })).await.unwrap();
                log.push_fitted(text("some words ")).await.unwrap();
                if n % 10 == 0 {
                    log.append(vec![Kind::TurnStarted(TurnStarted::default())], Change::started("r".into(), Vec::new())).await.unwrap();
                }
            }
            log.append(vec![Kind::TurnFailed(TurnFailed::default())], Change::failed(Reason::Internal)).await.unwrap();
            turn.id
        }));
    }
    for writer in writers {
        let events = log(&fixture.db, writer.await.unwrap()).await;
        assert_eq!(events.len(), 1 + 40 * 2 + 4 + 1);
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
        assert_eq!(events.iter().filter(|event| event.is_terminal()).count(), 1);
        assert!(events.last().unwrap().is_terminal());
    }
}

#[tokio::test]
async fn deltas_are_joined_during_a_write_and_lose_nothing() {
    let fixture = fixture().await;
    let turn = claimed(&fixture.db).await;
    let writer = fixture.journal.open(&turn, Instant::now() + LEASE);
    let mut sent = String::new();
    for n in 0..2_000 {
        let word = format!("wörd {n} ");
        sent.push_str(&word);
        writer.push_fitted(text(&word)).await.unwrap();
    }
    writer.flush().await.unwrap();
    let events = log(&fixture.db, turn.id).await;
    let read: String = events
        .iter()
        .filter_map(|event| if let Some(Kind::TextDelta(delta)) = &event.kind { Some(delta.text.as_str()) } else { None })
        .collect();
    assert_eq!(read, sent);
    assert!(events.len() < 1_000, "{} rows", events.len());
    assert!(events.iter().all(|event| event::encode(&TurnEvent { seq: 0, turn_id: String::new(), ..event.clone() }).len() < 1_800));
}

#[tokio::test]
async fn a_cancel_writes_the_last_event_while_a_worker_writes() {
    let fixture = fixture().await;
    for round in 0..20 {
        let turn = claimed(&fixture.db).await;
        let writer = fixture.journal.open(&turn, Instant::now() + LEASE);
        let worker = chassis::task::spawn(async move {
            while writer.push_fitted(text("more ")).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        // Cancels after a different number of events each time.
        eventually(SOON, || async { (log(&fixture.db, turn.id).await.len() > round % 5).then_some(()) }).await;
        let event = || crate::intake::cancel::event_at(clock::now());
        let (decision, seq) = ends::cancel(&fixture.db, turn.id, turn.user_id, event()).await.unwrap().unwrap();
        assert_eq!(decision, CancelDecision::Now);
        // The worker is not notified. It learns of the cancel when its next batch is skipped.
        worker.await.unwrap();
        let events = log(&fixture.db, turn.id).await;
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
        assert_eq!(events.last().unwrap().seq, seq);
        assert!(events.last().unwrap().is_terminal());
        assert_eq!(ends::cancel(&fixture.db, turn.id, turn.user_id, event()).await.unwrap(), Some((CancelDecision::Done, 0)));
    }
}

#[tokio::test]
async fn the_heartbeat_fences_a_worker_that_does_not_write() {
    let fixture = fixture().await;
    let turn = claimed(&fixture.db).await;
    let writer = fixture.journal.open(&turn, Instant::now() + LEASE);
    claims::release(&fixture.db, &[(turn.id, turn.epoch)]).await.unwrap();
    // There is no doorbell, so the heartbeat finds out.
    tokio::time::timeout(SOON, writer.fenced().cancelled()).await.unwrap();
    assert_eq!(writer.push_fitted(text("late")).await, Err(WriteError::Fenced));
}

#[tokio::test]
async fn one_broken_turn_does_not_stop_the_others() {
    let fixture = fixture().await;
    let good = claimed(&fixture.db).await;
    // The day of this turn has no partition.
    let mut bad = claimed(&fixture.db).await;
    let old = proto::id::TurnId(uuid::Uuid::from_u128(1));
    testing::rename(&fixture.db, bad.id, old).await;
    bad.id = old;
    let (good_log, bad_log) = (fixture.journal.open(&good, Instant::now() + LEASE), fixture.journal.open(&bad, Instant::now() + LEASE));
    for _ in 0..3 {
        let _ = bad_log.push_fitted(text("x")).await;
        good_log.push_fitted(text("x")).await.unwrap();
    }
    good_log.flush().await.unwrap();
    assert_eq!(bad_log.flush().await, Err(WriteError::Refused));
    good_log.push_fitted(text("y")).await.unwrap();
    good_log.flush().await.unwrap();
}

#[tokio::test]
async fn viewers_get_the_written_events() {
    let fixture = fixture().await;
    let turn = claimed(&fixture.db).await;
    let writer = fixture.journal.open(&turn, Instant::now() + LEASE);
    let mut viewers: Vec<_> = (0..10).map(|_| fixture.tails.join(turn.id, turn.last_seq).unwrap()).collect();
    for n in 0..50 {
        writer.push_fitted(Kind::TextStarted(TextStarted { block_id: n.to_string() })).await.unwrap();
    }
    writer.append(vec![Kind::TurnFailed(TurnFailed::default())], Change::failed(Reason::Internal)).await.unwrap();
    let written = log(&fixture.db, turn.id).await;
    for viewer in &mut viewers {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|event: &TurnEvent| !event.is_terminal()) {
            seen.extend(viewer.next(1_000).await.unwrap().into_iter().map(|frame| frame.event.clone()));
        }
        assert_eq!(seen, written[1..]);
    }
}

#[tokio::test]
async fn a_project_has_one_slot_and_an_ordered_queue() {
    let fixture = fixture().await;
    let project = ProjectId::generate();
    let (first, second, third) =
        (accepted(&fixture.db, project).await, accepted(&fixture.db, project).await, accepted(&fixture.db, project).await);
    let claimed = claim(&fixture.db).await;
    let epoch = |turn: &Turn| claimed.iter().find(|c| c.id == turn.id).unwrap().epoch;
    assert_eq!(claims::take_slot(&fixture.db, second.id, epoch(&second)).await.unwrap(), claims::Slot::Busy);
    assert_eq!(claims::take_slot(&fixture.db, first.id, epoch(&first)).await.unwrap(), claims::Slot::Taken);
    assert_eq!(claims::take_slot(&fixture.db, first.id, epoch(&first)).await.unwrap(), claims::Slot::Taken);
    assert_eq!(claims::take_slot(&fixture.db, first.id, epoch(&first) - 1).await.unwrap(), claims::Slot::Fenced);
    for turn in [&second, &third] {
        let queued = append(&Turn { epoch: epoch(turn), ..turn.clone() }, 2, &["queued"], Some(Change::queued()));
        assert_eq!(events::append_with_changes(&fixture.db, &[&queued]).await.unwrap(), [(turn.id, queued.epoch)]);
    }
    assert!(claim(&fixture.db).await.is_empty());
    let end = append(&Turn { epoch: epoch(&first), ..first.clone() }, 2, &["end"], Some(Change::completed("r".into())));
    events::append_with_changes(&fixture.db, &[&end]).await.unwrap();
    let next = claim(&fixture.db).await;
    assert_eq!(next.iter().map(|turn| turn.id).collect::<Vec<_>>(), [second.id]);
}

#[tokio::test]
async fn concurrent_claims_of_one_turn_have_one_winner() {
    let fixture = fixture().await;
    let turn = accepted(&fixture.db, ProjectId::generate()).await;
    for round in 1..=10 {
        let claims: Vec<_> = (0..8)
            .map(|_| {
                let db = fixture.db.clone();
                chassis::task::spawn(async move { claim(&db).await.len() })
            })
            .collect();
        let mut winners = 0;
        for claim in claims {
            winners += claim.await.unwrap();
        }
        assert_eq!(winners, 1, "round {round}");
        let epoch = claims::epochs(&fixture.db, &[turn.id]).await.unwrap()[&turn.id];
        claims::release(&fixture.db, &[(turn.id, epoch)]).await.unwrap();
    }
}
