//! Who may call what, through the real stack.

use chassis::identity::Caller;
use proto::{
    error::Fault,
    project_storage::{
        BeginTurnRequest, EndTurnRequest, GetProjectRequest, ListProjectsRequest, ReadPreviewFileRequest, TurnEnd,
        project_storage_service_client::ProjectStorageServiceClient,
    },
};
use tonic::transport::Endpoint;

use crate::harness::{Cluster, answer, bearing, plain, reason};

#[tokio::test]
async fn people_reach_the_public_surface_and_nothing_else() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let mut direct = ProjectStorageServiceClient::new(Endpoint::from(cluster.uri().clone()).connect_lazy());
    assert!(answer(direct.list_projects(bearing(ListProjectsRequest::default(), &ann.token)).await).is_ok());
    assert_eq!(reason(answer(direct.list_projects(plain(ListProjectsRequest::default())).await)), "TOKEN_MISSING");
    assert_eq!(reason(answer(direct.list_projects(bearing(ListProjectsRequest::default(), "x.y.z")).await)), "TOKEN_INVALID");
    assert_eq!(reason(answer(direct.begin_turn(bearing(BeginTurnRequest::default(), &ann.token)).await)), "CALLER_DENIED");
    assert_eq!(reason(answer(direct.read_preview_file(bearing(ReadPreviewFileRequest::default(), &ann.token)).await)), "CALLER_DENIED");
    let end = || EndTurnRequest {
        turn_id: proto::id::TurnId::generate().to_string(),
        end: TurnEnd::Failed.into(),
        partial_answer: String::new(),
        failure_reason: String::new(),
    };
    for caller in [Caller::Gateway, Caller::Auth, Caller::RateLimit, Caller::Operator] {
        assert_eq!(reason(answer(cluster.client(caller).end_turn(plain(end())).await)), "CALLER_DENIED", "{caller:?}");
    }
    assert!(answer(cluster.agent().end_turn(plain(end())).await).is_ok());
    assert_eq!(reason(answer(cluster.agent().list_projects(bearing(ListProjectsRequest::default(), &ann.token)).await)), "CALLER_DENIED");
    assert_eq!(reason(answer(cluster.agent().begin_turn(plain(BeginTurnRequest::default())).await)), "TOKEN_MISSING");
}

#[tokio::test]
async fn a_refusal_carries_its_service() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let status = ann.client.clone().get_project(ann.request(GetProjectRequest { project_id: "x".into() })).await.expect_err("refused");
    let fault = Fault::from_status(&status);
    assert_eq!((fault.domain.as_str(), fault.violations[0].field.as_str()), ("project-storage.backlot.dev", "project_id"));
}
