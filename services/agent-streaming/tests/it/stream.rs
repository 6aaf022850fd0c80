//! StreamTurnEvents: every event after a cursor, once and in order, from anywhere.

use proto::{
    agent_streaming::{StreamTurnEventsRequest, TurnEvent, TurnState, turn_event::Kind},
    error::{ErrorCode, Fault},
};

use crate::harness::{Cluster, SOON, assert_whole, prompt};

#[tokio::test]
async fn any_cursor_of_a_running_and_of_an_ended_turn_gives_what_is_after_it() {
    let cluster = Cluster::start(&[]).await;
    let replicas = [cluster.replica(), cluster.replica()];
    let someone = cluster.person();
    let mut person = someone.at(&replicas[0]);
    let turn = person.start(prompt("d", "SLOW 30")).await;

    // Viewers come and go at both replicas while it runs.
    let viewers: Vec<_> = (0..10)
        .map(|n| {
            let (mut person, id) = (someone.at(&replicas[n % 2]), turn.id.clone());
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
        let (events, end) = someone.at(&replicas[after % 2]).follow(&turn.id, u32::try_from(after).unwrap()).await;
        end.unwrap();
        assert_eq!(events, whole[after..]);
    }
    let (events, end) = person.follow(&turn.id, u32::try_from(last).unwrap() + 1).await;
    let fault = end.unwrap_err();
    assert!(events.is_empty());
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "CURSOR_AHEAD"));
}

#[tokio::test]
async fn a_cut_viewer_changes_nothing_for_the_turn() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.person().at(&replica);
    let turn = person.start(prompt("d", "SLOW 20")).await;
    for _ in 0..20 {
        let (events, _) = person.follow_until(&turn.id, 0, |_| true).await;
        assert_eq!(events.len(), 1);
    }
    assert_whole(&person.see(&turn.id).await);
    assert_eq!(person.turn(&turn.id).await.state(), TurnState::Completed);
}

#[tokio::test]
async fn a_viewer_that_does_not_read_is_cut_and_the_others_are_not() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let someone = cluster.person();
    let mut person = someone.at(&replica);
    // Several MiB of text as fast as it can be written, while ten viewers read and one does not.
    let turn = person.start(prompt("d", "FLOOD 6000")).await;
    person.wait_for(&turn.id, TurnState::Running).await;
    let request = StreamTurnEventsRequest { turn_id: turn.id.clone(), ..Default::default() };
    let mut idle = someone.at(&replica).turns.stream_turn_events(request).await.unwrap().into_inner();
    let readers: Vec<_> = (0..10)
        .map(|_| {
            let (mut person, id) = (someone.at(&replica), turn.id.clone());
            chassis::task::spawn(async move { person.see(&id).await.len() })
        })
        .collect();
    let whole = person.see(&turn.id).await;
    for reader in readers {
        assert_eq!(reader.await.unwrap(), whole.len());
    }

    // The idle one finds itself cut if it was idle for longer than a stall, and gets the rest from its cursor either way.
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
async fn a_drain_sends_viewers_elsewhere() {
    let cluster = Cluster::start(&[]).await;
    let (going, staying) = (cluster.replica(), cluster.replica());
    let someone = cluster.person();
    let turn = someone.at(&staying).start(prompt("d", "SLOW 50")).await;
    let mut viewer = someone.at(&going);
    let (id, follows) = (turn.id.clone(), std::sync::Arc::new(tokio::sync::Notify::new()));
    let seen = std::sync::Arc::clone(&follows);
    let stop = chassis::task::spawn(async move {
        let saw = |_: &TurnEvent| {
            seen.notify_one();
            false
        };
        viewer.follow_until(&turn.id, 0, saw).await
    });
    // It must be inside when the replica begins to leave.
    follows.notified().await;
    going.stop();
    let (seen, end) = stop.await.unwrap();
    let fault = end.unwrap_err();
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unavailable, "DRAINING"));
    assert!(fault.retry_after.is_some());
    going.ended().await;
    // Whichever of the two drove it: it ends, and the log is one.
    let whole = someone.at(&staying).see(&id).await;
    assert_eq!(seen, whole[..seen.len()]);
}

#[tokio::test]
async fn a_late_reader_may_take_the_short_way_and_lines_are_the_events() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.person().at(&replica);
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
        assert_eq!(rest, whole[after as usize..], "a seq of the short way is a cursor");
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
async fn streams_that_are_left_unread_keep_no_connection_to_the_database() {
    const CONNECTIONS: usize = 4;
    let cluster = Cluster::start(&[("BACKLOT_DATABASE_CONNECTIONS", &CONNECTIONS.to_string())]).await;
    let replica = cluster.replica();
    let someone = cluster.person();
    let mut person = someone.at(&replica);
    // Several pages of the log, each of them small enough that the next one is asked for before anything is sent.
    let turn = person.start(prompt("d", "SLOW 300")).await;
    assert!(person.see(&turn.id).await.len() > 256);
    let mut unread = someone.with_window(&replica, 1);
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
