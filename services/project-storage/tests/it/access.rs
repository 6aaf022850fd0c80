//! Who may call each RPC.

use chassis::identity::Caller;
use proto::{
    error::Fault,
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
async fn an_error_has_the_domain_of_the_service() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let status = ann.client.clone().get_project(ann.request(GetProjectRequest { project_id: "x".into() })).await.expect_err("an error");
    let fault = Fault::from_status(&status);
    assert_eq!((fault.domain.as_str(), fault.violations[0].field.as_str()), ("project-storage.backlot.dev", "project_id"));
}
