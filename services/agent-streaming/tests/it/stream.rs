//! StreamTurnEvents: every event after a cursor, once and in order, from every replica.

use proto::{
    agent_streaming::{StreamTurnEventsRequest, TurnEvent, TurnState, turn_event::Kind},
    error::{ErrorCode, Fault},
};

use crate::harness::{Cluster, SOON, assert_whole, prompt};

#[tokio::test]
async fn every_cursor_of_a_running_or_ended_turn_returns_the_events_after_it() {
    let cluster = Cluster::start(&[]).await;
    let replicas = [cluster.replica(), cluster.replica()];
    let user = cluster.user();
    let mut person = user.at(&replicas[0]);
    let turn = person.start(prompt("d", "SLOW 30")).await;

    // Viewers connect and disconnect at both replicas while the turn runs.
    let viewers: Vec<_> = (0..10)
        .map(|n| {
            let (mut person, id) = (user.at(&replicas[n % 2]), turn.id.clone());
            chassis::task::spawn(async move {
                let leave_at = u32::try_from(n).unwrap() * 4 + 1;
                let (mut seen, end) = person.follow_until(&id, 0, |event| event.seq == leave_at).await;
                end.unwrap();
                let (rest, end) = person.follow(&id, leave_at).await;
                end.unwrap();
                seen.extend(rest);
                seen
            })
        })
        .collect();
    let whole = person.see(&turn.id).await;
    for viewer in viewers {
        assert_eq!(viewer.await.unwrap(), whole);
    }
    let last = whole.len();
    for after in 0..=last {
        let (events, end) = user.at(&replicas[after % 2]).follow(&turn.id, u32::try_from(after).unwrap()).await;
        end.unwrap();
        assert_eq!(events, whole[after..]);
    }
    let (events, end) = person.follow(&turn.id, u32::try_from(last).unwrap() + 1).await;
    let fault = end.unwrap_err();
    assert!(events.is_empty());
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "CURSOR_AHEAD"));
}

#[tokio::test]
async fn a_viewer_that_disconnects_does_not_affect_the_turn() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let turn = person.start(prompt("d", "SLOW 20")).await;
    for _ in 0..20 {
        let (events, _) = person.follow_until(&turn.id, 0, |_| true).await;
        assert_eq!(events.len(), 1);
    }
    assert_whole(&person.see(&turn.id).await);
    assert_eq!(person.turn(&turn.id).await.state(), TurnState::Completed);
}

#[tokio::test]
async fn only_a_viewer_that_does_not_read_is_disconnected() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let user = cluster.user();
    let mut person = user.at(&replica);
    // The turn writes several MiB of text as fast as possible, while ten viewers read and one does not.
    let turn = person.start(prompt("d", "FLOOD 6000")).await;
    person.wait_for(&turn.id, TurnState::Running).await;
    let request = StreamTurnEventsRequest { turn_id: turn.id.clone(), ..Default::default() };
    let mut idle = user.at(&replica).turns.stream_turn_events(request).await.unwrap().into_inner();
    let readers: Vec<_> = (0..10)
        .map(|_| {
            let (mut person, id) = (user.at(&replica), turn.id.clone());
            chassis::task::spawn(async move { person.see(&id).await.len() })
        })
        .collect();
    let whole = person.see(&turn.id).await;
    for reader in readers {
        assert_eq!(reader.await.unwrap(), whole.len());
    }

    // The idle viewer was disconnected if it was idle for too long. In any case it gets the rest after its cursor.
    let (mut seen, mut end) = (Vec::new(), Ok(()));
    loop {
        match tokio::time::timeout(SOON, idle.message()).await.unwrap() {
            Ok(Some(batch)) => seen.extend(batch.events),
            Ok(None) => break,
            Err(status) => {
                end = Err(Fault::from_status(&status));
                break;
            }
        }
    }
    if let Err(fault) = end {
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::RateLimited, "SLOW_READER"));
        let (rest, end) = person.follow(&turn.id, seen.last().unwrap().seq).await;
        end.unwrap();
        seen.extend(rest);
    }
    assert_eq!(seen, whole);
}

#[tokio::test]
async fn a_drain_asks_viewers_to_reconnect() {
    let cluster = Cluster::start(&[]).await;
    let (going, staying) = (cluster.replica(), cluster.replica());
    let user = cluster.user();
    let turn = user.at(&staying).start(prompt("d", "SLOW 50")).await;
    let mut viewer = user.at(&going);
    let (id, follows) = (turn.id.clone(), std::sync::Arc::new(tokio::sync::Notify::new()));
    let seen = std::sync::Arc::clone(&follows);
    let stop = chassis::task::spawn(async move {
        let saw = |_: &TurnEvent| {
            seen.notify_one();
            false
        };
        viewer.follow_until(&turn.id, 0, saw).await
    });
    // The viewer must be connected when the drain starts.
    follows.notified().await;
    going.stop();
    let (seen, end) = stop.await.unwrap();
    let fault = end.unwrap_err();
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unavailable, "DRAINING"));
    assert!(fault.retry_after.is_some());
    going.ended().await;
    // The turn ends with the same log, whichever replica has driven it.
    let whole = user.at(&staying).see(&id).await;
    assert_eq!(seen, whole[..seen.len()]);
}

#[tokio::test]
async fn a_compact_stream_has_the_same_text_and_lines_have_the_same_events() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let turn = person.start(prompt("d", "SLOW 40")).await;
    let whole = person.see(&turn.id).await;
    let read = async |compact, as_lines| {
        let request = StreamTurnEventsRequest { turn_id: turn.id.clone(), after: 0, compact, as_lines };
        let mut stream = person.clone().turns.stream_turn_events(request).await.unwrap().into_inner();
        let (mut events, mut lines) = (Vec::new(), Vec::new());
        while let Some(batch) = stream.message().await.unwrap() {
            events.extend(batch.events);
            lines.extend(batch.lines);
        }
        (events, lines)
    };
    let text = |events: &[TurnEvent]| -> String {
        events.iter().filter_map(|e| if let Some(Kind::TextDelta(d)) = &e.kind { Some(d.text.as_str()) } else { None }).collect()
    };
    let (short, _) = read(true, false).await;
    assert!(short.len() + 10 < whole.len(), "{} of {}", short.len(), whole.len());
    assert_eq!(text(&short), text(&whole));
    assert_eq!(short.last(), whole.last());
    for after in [short[3].seq, short.last().unwrap().seq - 1] {
        let (rest, end) = person.clone().follow(&turn.id, after).await;
        end.unwrap();
        assert_eq!(rest, whole[after as usize..], "a seq of the compact stream is a valid cursor");
    }

    let (events, lines) = read(false, true).await;
    assert!(events.is_empty());
    assert_eq!(lines.len(), whole.len());
    for (line, event) in lines.iter().zip(&whole) {
        assert_eq!((line.seq, line.terminal), (event.seq, event.is_terminal()));
        assert_eq!(std::str::from_utf8(&line.json).unwrap(), event.to_json().unwrap());
    }
}

#[tokio::test]
async fn unread_streams_hold_no_connection_to_the_database() {
    const CONNECTIONS: usize = 4;
    let cluster = Cluster::start(&[("BACKLOT_DATABASE_CONNECTIONS", &CONNECTIONS.to_string())]).await;
    let replica = cluster.replica();
    let user = cluster.user();
    let mut person = user.at(&replica);
    // The log has several pages. Each is small enough that the next one is read before anything is sent.
    let turn = person.start(prompt("d", "SLOW 300")).await;
    assert!(person.see(&turn.id).await.len() > 256);
    let mut unread = user.with_window(&replica, 1);
    let mut held = Vec::new();
    for _ in 0..4 * CONNECTIONS {
        let request = StreamTurnEventsRequest { turn_id: turn.id.clone(), ..Default::default() };
        held.push(unread.turns.stream_turn_events(request).await.unwrap());
    }
    for _ in 0..10 {
        person.turn(&turn.id).await;
    }
    assert_eq!(held.len(), 4 * CONNECTIONS);
}
