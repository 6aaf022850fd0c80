//! Access tokens whose session has ended: requests are refused and streams end, also at a replica that starts later. While auth is silent,
//! tokens are accepted by their signature.

use chassis::testing;
use proto::{
    agent_streaming::{GetTurnRequest, StreamTurnEventsRequest, TurnState},
    error::{ErrorCode, Fault},
    id::SessionId,
};

use crate::harness::{Cluster, SOON, prompt};

#[tokio::test]
async fn requests_are_refused_and_streams_end_with_the_session() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let (user, session) = (cluster.user(), SessionId::generate());
    let (mut ended, mut other) = (cluster.in_session(&user, session).at(&replica), user.at(&replica));
    let turn = ended.start(prompt("d", "HANG")).await;
    other.wait_for(&turn.id, TurnState::Running).await;
    let request = StreamTurnEventsRequest { turn_id: turn.id.clone(), ..Default::default() };
    let mut stream = ended.turns.stream_turn_events(request.clone()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some(), "the first events");
    let mut others = other.turns.stream_turn_events(request.clone()).await.unwrap().into_inner();
    assert!(others.message().await.unwrap().is_some(), "the first events");

    cluster.end_session(session);
    let status = loop {
        match tokio::time::timeout(SOON, stream.message()).await.expect("the stream ends") {
            Ok(message) => assert!(message.is_some(), "a clean end"),
            Err(status) => break status,
        }
    };
    let fault = Fault::from_status(&status);
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "SESSION_ENDED"));
    assert_eq!(fault.domain, "agent-streaming.backlot.dev");
    assert_eq!(ended.try_start(prompt("e", "SAY hi")).await.unwrap_err().reason, "SESSION_ENDED");
    let again = ended.turns.stream_turn_events(request).await.err().unwrap();
    assert_eq!(Fault::from_status(&again).reason, "SESSION_ENDED");

    // Another session of the same person goes on, and so does the turn.
    assert_eq!(other.turn(&turn.id).await.state(), TurnState::Running);
    other.turns.cancel_turn(proto::agent_streaming::CancelTurnRequest { turn_id: turn.id.clone() }).await.unwrap();
    while tokio::time::timeout(SOON, others.message()).await.expect("the stream ends").unwrap().is_some() {}

    // A replica that starts later learns of it before its first request.
    let later = cluster.replica();
    let refused = cluster.in_session(&user, session).at(&later).try_start(prompt("f", "SAY hi")).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Unauthenticated, "SESSION_ENDED"));
    user.at(&later).run(prompt("f", "SAY hi")).await;
}

#[tokio::test]
async fn while_auth_is_silent_tokens_are_accepted_by_their_signature() {
    let cluster = Cluster::start(&[]).await;
    let gate = cluster.gate_before_auth().await;
    let replica = cluster.replica_with(&[("BACKLOT_AUTH_URL", &gate.uri)]);
    let session = SessionId::generate();
    let mut person = cluster.in_session(&cluster.user(), session).at(&replica);
    let turn = person.start(prompt("d", "SAY hi")).await;
    person.see(&turn.id).await;

    gate.hold();
    cluster.end_session(session);
    // The replica cannot know of the end.
    person.turn(&turn.id).await;
    gate.open();
    let refused = testing::eventually(SOON, || {
        let (mut turns, request) = (person.turns.clone(), GetTurnRequest { turn_id: turn.id.clone() });
        async move { turns.get_turn(request).await.err() }
    })
    .await;
    assert_eq!(Fault::from_status(&refused).reason, "SESSION_ENDED");
}
