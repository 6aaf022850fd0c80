//! Who may call each RPC.

use std::time::Duration;

use chassis::{identity::Caller, testing::eventually};
use proto::{
    error::{ErrorCode, Fault},
    id::SessionId,
    project_storage::{
        BeginTurnRequest, EndTurnRequest, GetProjectRequest, ListProjectsRequest, ReadPreviewFileRequest, TurnEnd,
        project_storage_service_client::ProjectStorageServiceClient,
    },
};
use tonic::transport::Endpoint;

use crate::harness::{Cluster, answer, reason, with_token, without_user};

#[tokio::test]
async fn clients_reach_public_rpcs_only() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let mut direct = ProjectStorageServiceClient::new(Endpoint::from(cluster.uri().clone()).connect_lazy());
    assert!(answer(direct.list_projects(with_token(ListProjectsRequest::default(), &ann.token)).await).is_ok());
    assert_eq!(reason(answer(direct.list_projects(without_user(ListProjectsRequest::default())).await)), "TOKEN_MISSING");
    assert_eq!(reason(answer(direct.list_projects(with_token(ListProjectsRequest::default(), "x.y.z")).await)), "TOKEN_INVALID");
    assert_eq!(reason(answer(direct.begin_turn(with_token(BeginTurnRequest::default(), &ann.token)).await)), "CALLER_DENIED");
    assert_eq!(reason(answer(direct.read_preview_file(with_token(ReadPreviewFileRequest::default(), &ann.token)).await)), "CALLER_DENIED");
    let end = || EndTurnRequest {
        turn_id: proto::id::TurnId::generate().to_string(),
        end: TurnEnd::Failed.into(),
        partial_answer: String::new(),
        failure_reason: String::new(),
        parts: Vec::new(),
    };
    for caller in [Caller::Gateway, Caller::Auth, Caller::RateLimit, Caller::Operator] {
        assert_eq!(reason(answer(cluster.client(caller).end_turn(without_user(end())).await)), "CALLER_DENIED", "{caller:?}");
    }
    assert!(answer(cluster.agent().end_turn(without_user(end())).await).is_ok());
    assert_eq!(
        reason(answer(cluster.agent().list_projects(with_token(ListProjectsRequest::default(), &ann.token)).await)),
        "CALLER_DENIED"
    );
    assert_eq!(reason(answer(cluster.agent().begin_turn(without_user(BeginTurnRequest::default())).await)), "TOKEN_MISSING");
}

#[tokio::test]
async fn a_token_of_an_ended_session_is_refused_also_by_a_replica_that_starts_later() {
    let cluster = Cluster::start().await;
    let (person, session) = (cluster.person(), SessionId::generate());
    let token = cluster.in_session(&person, session).token;
    let direct = |uri: &http::Uri| ProjectStorageServiceClient::new(Endpoint::from(uri.clone()).connect_lazy());
    let list = |uri: &http::Uri| {
        let (mut client, request) = (direct(uri), with_token(ListProjectsRequest::default(), &token));
        async move { answer(client.list_projects(request).await) }
    };
    list(cluster.uri()).await.expect("the session is open");
    cluster.end_session(session);
    let refused = eventually(Duration::from_secs(120), || async { list(cluster.uri()).await.err() }).await;
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Unauthenticated, "SESSION_ENDED"));
    let (later, _running) = cluster.replica().await;
    assert_eq!(reason(list(&later).await), "SESSION_ENDED");
    answer(direct(&later).list_projects(with_token(ListProjectsRequest::default(), &person.token)).await).expect("another session");
}

#[tokio::test]
async fn an_error_has_the_domain_of_the_service() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let status = ann.client.clone().get_project(ann.request(GetProjectRequest { project_id: "x".into() })).await.expect_err("an error");
    let fault = Fault::from_status(&status);
    assert_eq!((fault.domain.as_str(), fault.violations[0].field.as_str()), ("project-storage.backlot.dev", "project_id"));
}
