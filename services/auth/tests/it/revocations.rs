use std::{collections::BTreeSet, time::Duration};

use chassis::{identity::Caller, testing::canary::Stopwatch};
use futures::future::join_all;
use proto::{
    auth::{WatchRevocationsRequest, WatchRevocationsResponse},
    error::{ErrorCode, Fault},
};
use tonic::{Status, Streaming};

use crate::harness::{Client, Cluster, PASSWORD, Replica, answer, within_a_minute};

async fn watch(replica: &Replica, after: u64) -> Streaming<WatchRevocationsResponse> {
    let gateway = replica.gateway();
    answer(gateway.client.clone().watch_revocations(WatchRevocationsRequest { after }).await).expect("stream")
}

async fn next(stream: &mut Streaming<WatchRevocationsResponse>) -> WatchRevocationsResponse {
    within_a_minute(stream.message()).await.expect("no error").expect("not ended")
}

/// The next message that names a session.
async fn next_session(stream: &mut Streaming<WatchRevocationsResponse>) -> WatchRevocationsResponse {
    loop {
        let message = next(stream).await;
        if !message.session_id.is_empty() {
            return message;
        }
    }
}

/// Signs in and out. Returns the id of the ended session.
async fn sign_in_and_out(gateway: &Client) -> String {
    let session = gateway.sign_in("ada@example.org", PASSWORD).await.expect("session");
    gateway.sign_out(&session.session_token).await.expect("signed out");
    session.session.expect("session").id
}

#[tokio::test]
async fn every_replica_reports_an_ended_session_within_a_second() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.auth().await, cluster.auth().await);
    here.gateway().sign_up("ada@example.org", PASSWORD).await.expect("account");
    let (mut near, mut far) = (watch(&here, 0).await, watch(&there, 0).await);
    for stream in [&mut near, &mut far] {
        assert_eq!(next(stream).await, WatchRevocationsResponse::default(), "the first message has the cursor of an empty log");
    }
    for _ in 0..5 {
        let session = here.gateway().sign_in("ada@example.org", PASSWORD).await.expect("session");
        let id = session.session.expect("session").id;
        here.gateway().sign_out(&session.session_token).await.expect("signed out");
        let signed_out = Stopwatch::start();
        assert_eq!(next_session(&mut near).await.session_id, id);
        assert_eq!(next_session(&mut far).await.session_id, id);
        assert!(signed_out.elapsed() < Duration::from_secs(1), "{:?}", signed_out.elapsed());
    }
}

#[tokio::test]
async fn a_stream_from_a_cursor_has_exactly_the_missed_sessions() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.auth().await, cluster.auth().await);
    let gateway = one.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let mut stream = watch(&one, 0).await;
    next(&mut stream).await;
    let first = sign_in_and_out(&gateway).await;
    let seen = next_session(&mut stream).await;
    assert_eq!(seen.session_id, first);
    drop(stream);
    let missed = [sign_in_and_out(&gateway).await, sign_in_and_out(&gateway).await, sign_in_and_out(&gateway).await];

    let mut resumed = watch(&two, seen.cursor).await;
    let begun = next(&mut resumed).await;
    assert_eq!((begun.cursor, begun.session_id.as_str()), (seen.cursor, ""));
    let mut last = seen.cursor;
    for id in missed {
        let message = next_session(&mut resumed).await;
        assert_eq!(message.session_id, id);
        assert!(message.cursor > last);
        last = message.cursor;
    }
    assert_eq!(begun.backlog_end, last, "the end of the log when the stream began");
    let live = sign_in_and_out(&gateway).await;
    assert_eq!(next_session(&mut resumed).await.session_id, live);
}

/// The sessions of a stream up to the end of the log at its beginning.
async fn backlog(replica: &Replica, after: u64) -> Vec<String> {
    let mut stream = watch(replica, after).await;
    let first = next(&mut stream).await;
    assert_eq!(first.session_id, "", "the first message has the cursor alone");
    let (mut cursor, mut ended) = (first.cursor, Vec::new());
    while cursor < first.backlog_end {
        let message = next(&mut stream).await;
        cursor = message.cursor;
        ended.extend(Some(message.session_id).filter(|id| !id.is_empty()));
    }
    ended
}

#[tokio::test]
async fn a_stream_without_a_cursor_has_the_sessions_of_the_last_minutes() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let (old, one, other) = (sign_in_and_out(&gateway).await, sign_in_and_out(&gateway).await, sign_in_and_out(&gateway).await);
    // Twice the life of an access token.
    let age = "update revocations set created_at = created_at - interval '11 minutes' where session_id = $1::uuid";
    sqlx::query(age).bind(&old).execute(&cluster.database.pool).await.expect("aged");
    // A cursor beyond the end is from another database.
    for after in [0, 1_000_000, u64::MAX] {
        assert_eq!(backlog(&replica, after).await, [one.clone(), other.clone()], "after {after}");
    }
    // The order of cursors is that of the commits: a row that is older by its time may come later.
    sqlx::query(age).bind(&other).execute(&cluster.database.pool).await.expect("aged");
    assert_eq!(backlog(&replica, 0).await, [one.clone(), other.clone()]);
    sqlx::query(age).bind(&one).execute(&cluster.database.pool).await.expect("aged");
    assert!(backlog(&replica, 0).await.is_empty(), "the tokens of all have expired");
    let live = sign_in_and_out(&gateway).await;
    assert_eq!(backlog(&replica, 0).await, [live]);
}

#[tokio::test]
async fn concurrent_sign_outs_at_two_replicas_are_reported_once_and_in_order() {
    let cluster = Cluster::start().await;
    let replicas = [cluster.auth().await, cluster.auth().await];
    let gateways = [replicas[0].gateway(), replicas[1].gateway()];
    gateways[0].sign_up("ada@example.org", PASSWORD).await.expect("account");
    let mut streams = [watch(&replicas[0], 0).await, watch(&replicas[1], 0).await];
    let (mut sessions, mut expected) = (Vec::new(), BTreeSet::new());
    for at in 0..40 {
        let started = gateways[at % 2].sign_in("ada@example.org", PASSWORD).await.expect("session");
        expected.insert(started.session.expect("session").id);
        sessions.push(started.session_token);
    }
    let sign_outs = sessions.iter().enumerate().map(|(at, token)| gateways[at % 2].sign_out(token));
    join_all(sign_outs).await.into_iter().for_each(|answer| answer.map(drop).expect("signed out"));
    for stream in &mut streams {
        let (mut seen, mut last) = (BTreeSet::new(), 0);
        while seen.len() < expected.len() {
            let message = next_session(stream).await;
            assert!(message.cursor > last, "in order");
            last = message.cursor;
            assert!(seen.insert(message.session_id), "once");
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_stream_without_revocations_has_heartbeats() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let mut stream = watch(&replica, 0).await;
    next(&mut stream).await;
    assert_eq!(next(&mut stream).await, WatchRevocationsResponse::default(), "a heartbeat");
}

#[tokio::test]
async fn a_stopping_process_ends_its_streams_and_exits() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let mut stream = watch(&replica, 0).await;
    next(&mut stream).await;
    replica.stop.cancel();
    let status: Status = within_a_minute(async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without an error"),
                Err(status) => break status,
            }
        }
    })
    .await;
    let fault = Fault::from_status(&status);
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unavailable, "DRAINING"));
    assert!(fault.retry_after.is_some());
    within_a_minute(replica.served).await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_stream_ends_when_the_log_cannot_be_read() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    replica.gateway().sign_up("ada@example.org", PASSWORD).await.expect("account");
    let mut stream = watch(&replica, 0).await;
    next(&mut stream).await;
    // A live message shows that the stream has finished its own read of the log.
    let id = sign_in_and_out(&replica.gateway()).await;
    assert_eq!(next_session(&mut stream).await.session_id, id);
    sqlx::query("alter table revocations rename to hidden").execute(&cluster.database.pool).await.expect("hidden");
    let status = within_a_minute(async {
        loop {
            if let Err(status) = stream.message().await {
                break status;
            }
        }
    })
    .await;
    assert_eq!(Fault::from_status(&status).code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn only_roles_that_accept_access_tokens_may_watch() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let request = || WatchRevocationsRequest { after: 0 };
    let denied = answer(replica.direct().watch_revocations(request()).await).expect_err("direct");
    assert_eq!((denied.code, denied.reason.as_str()), (ErrorCode::Forbidden, "CALLER_DENIED"));
    for caller in [Caller::AgentStreaming, Caller::ProjectStorage] {
        answer(replica.called_by(caller, None).client.watch_revocations(request()).await).expect("allowed");
    }
    for caller in [Caller::RateLimit, Caller::Compile, Caller::Operator] {
        let denied = answer(replica.called_by(caller, None).client.watch_revocations(request()).await).expect_err("denied");
        assert_eq!(denied.reason, "CALLER_DENIED");
    }
}
