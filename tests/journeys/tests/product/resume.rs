//! Viewers with any cursor, during and after a turn. A viewer that disconnects does not affect the turn. A cancel ends it.

use anyhow::Result;
use futures::future::try_join_all;
use reqwest::Method;
use serde_json::json;
use sqlx::Row;
use test_support::{Cluster, sse::Frame, sse::Viewer};

#[tokio::test(flavor = "multi_thread")]
async fn every_cursor_gives_exactly_the_events_after_it() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let done = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    let last = done.frames.len();
    for after in [0, 1, 2, last / 2, last - 2, last - 1] {
        let after = u32::try_from(after)?;
        let rest = person.follow(&done.turn, after).await?.rest().await?;
        assert_eq!(rest, done.frames[after as usize..], "after={after}");
        let header =
            person.request(Method::GET, &format!("/api/turns/{}/events?after=1", done.turn)).header("last-event-id", after.to_string());
        let rest = Viewer::open(header.send().await?).await?.rest().await?;
        assert_eq!(rest, done.frames[after as usize..], "Last-Event-ID: {after} wins over ?after=1");
    }
    let path = format!("/api/turns/{}/events?after={last}", done.turn);
    assert_eq!(person.request(Method::GET, &path).send().await?.status(), 204, "an ended turn has no more events");
    let path = format!("/api/turns/{}/events?after={}", done.turn, last + 1);
    assert_eq!(person.request(Method::GET, &path).send().await?.status(), 204, "a cursor after the end of an ended turn");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_viewers_receive_the_stored_events() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_DEMO_PACE", "5ms")]).await?;
    let person = cluster.person().await?;
    let mut first = person.stream(json!({ "draftId": "d", "prompt": "a calculator" })).await?;
    let head = first.until("step.started").await?;
    let turn = head[0].json()["turnId"].as_str().unwrap_or_default().to_owned();

    let known = u32::try_from(head.len())?;
    let viewers = (0..10_u32).map(|n| n % known).map(|n| {
        let (person, turn) = (person.clone(), turn.clone());
        async move { anyhow::Ok((n, person.follow(&turn, n).await?.rest().await?)) }
    });
    let seen = try_join_all(viewers).await?;
    let whole: Vec<Frame> = head.into_iter().chain(first.rest().await?).collect();
    for (after, frames) in seen {
        assert_eq!(frames, whole[after as usize..], "viewer with the cursor {after}");
    }

    let pool = cluster.pool("agent-streaming").await?;
    let rows = sqlx::query("SELECT seq, payload FROM turn_events WHERE turn_id = $1 ORDER BY seq")
        .bind(turn.parse::<uuid::Uuid>()?)
        .fetch_all(&pool)
        .await?;
    assert_eq!(rows.len(), whole.len());
    for (row, frame) in rows.iter().zip(&whole) {
        let mut event: proto::agent_streaming::TurnEvent = prost::Message::decode(row.get::<&[u8], _>("payload"))?;
        event.seq = u32::try_from(row.get::<i32, _>("seq"))?;
        event.turn_id.clone_from(&turn);
        assert_eq!((event.seq, event.to_json()?), (frame.id, frame.data.clone()));
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_continues_without_its_viewer() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_DEMO_PACE", "5ms")]).await?;
    let person = cluster.person().await?;
    let mut viewer = person.stream(json!({ "draftId": "d", "prompt": "notes" })).await?;
    let head = viewer.until("file.opened").await?;
    drop(viewer);
    let turn = head[0].json()["turnId"].as_str().unwrap_or_default().to_owned();
    let rest = person.follow(&turn, head.last().map_or(0, |f| f.id)).await?.rest().await?;
    assert_eq!(rest.last().map(Frame::kind).as_deref(), Some("turn.completed"));
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cancel_only_the_terminal_event_follows_and_no_file_is_stored() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_DEMO_PACE", "50ms")]).await?;
    let person = cluster.person().await?;
    let mut viewer = person.stream(json!({ "draftId": "d", "prompt": "a landing page" })).await?;
    let head = viewer.until("file.delta").await?;
    let ahead = format!("/api/turns/{}/events?after=100000", head[0].json()["turnId"].as_str().unwrap_or_default());
    let (status, problem) = person.refused(Method::GET, &ahead, json!({})).await?;
    assert_eq!((status.as_u16(), problem["reason"].as_str()), (400, Some("CURSOR_AHEAD")), "a running turn has no such event");
    let (turn, project) = (
        head[0].json()["turnId"].as_str().unwrap_or_default().to_owned(),
        head[0].json()["data"]["projectId"].as_str().unwrap_or_default().to_owned(),
    );
    let cancelled = person.post(&format!("/api/turns/{turn}/cancel"), json!({})).await?;
    assert_eq!(cancelled["state"], "TURN_STATE_CANCELLED");
    assert_eq!(viewer.rest().await?.last().map(Frame::kind).as_deref(), Some("turn.cancelled"));
    assert!(person.files(&project).await?.is_empty());
    let again = person.post(&format!("/api/turns/{turn}/cancel"), json!({})).await?;
    assert_eq!(again["state"], "TURN_STATE_CANCELLED", "a second cancel gets the same answer");

    let done = person.turn(json!({ "projectId": project, "prompt": "a counter" })).await?;
    assert_eq!(done.outcome(), "turn.completed", "the project accepts turns again");
    let (status, problem) = person.refused(Method::POST, &format!("/api/turns/{}/cancel", done.turn), json!({})).await?;
    assert_eq!((status.as_u16(), problem["reason"].as_str()), (409, Some("TOO_LATE")));
    cluster.stop().await
}
