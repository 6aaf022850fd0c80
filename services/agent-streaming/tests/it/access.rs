//! Who may call what, against the descriptors.

use std::collections::BTreeMap;

use agent_streaming::RULES;
use chassis::identity::Caller;
use prost_reflect::DescriptorPool;
use proto::{agent_streaming::ListAgentsRequest, error::ErrorCode};
use tonic::Code;

use crate::harness::{Cluster, prompt};

#[test]
fn every_rpc_has_one_row_and_only_annotated_ones_are_open() {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
    let service = pool.get_service_by_name("backlot.agent_streaming.v1.AgentStreamingService").unwrap();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let expected: BTreeMap<_, _> =
        service.methods().map(|method| (method.name().to_owned(), method.options().has_extension(&http))).collect();
    let rows: BTreeMap<_, _> = RULES.iter().map(|rule| (rule.rpc.to_owned(), rule.callers.contains(&Caller::Direct))).collect();
    assert_eq!(rows, expected);
    assert_eq!(RULES.len(), rows.len(), "a row too many");
    assert!(RULES.iter().all(|rule| rule.user), "an RPC without a person");
}

#[tokio::test]
async fn a_turn_of_somebody_else_does_not_exist() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let (mut owner, mut stranger) = (cluster.person().at(&replica), cluster.person().at(&replica));
    let (turn, _) = owner.run(prompt("d", "SAY hello")).await;

    let absent = proto::id::TurnId::generate().to_string();
    for id in [&turn.id, &absent] {
        let get = stranger.turns.get_turn(proto::agent_streaming::GetTurnRequest { turn_id: id.clone() }).await.unwrap_err();
        let cancel = stranger.turns.cancel_turn(proto::agent_streaming::CancelTurnRequest { turn_id: id.clone() }).await.unwrap_err();
        let (_, follow) = stranger.follow(id, 0).await;
        let follow = follow.unwrap_err();
        for fault in [proto::error::Fault::from_status(&get), proto::error::Fault::from_status(&cancel), follow] {
            assert_eq!(
                (fault.code, fault.reason.as_str(), fault.message.as_str()),
                (ErrorCode::NotFound, "TURN_NOT_FOUND", "no such turn")
            );
        }
    }
}

#[tokio::test]
async fn the_catalogue_is_paged_and_needs_a_person() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["alpha", "omega"] {
        let text = format!("---\nname: {name}\ndescription: The agent {name}.\ntools: read_file\n---\nYou are {name}.\n");
        std::fs::write(folder.path().join(format!("{name}.md")), text).unwrap();
    }
    let cluster = Cluster::start(&[("BACKLOT_AGENTS_DIR", folder.path().to_str().unwrap())]).await;
    let replica = cluster.replica();
    let mut person = cluster.person().at(&replica);
    person.run(prompt("d", "SAY ready")).await;

    let first = person.turns.list_agents(ListAgentsRequest { page_size: 2, ..Default::default() }).await.unwrap().into_inner();
    let rest = ListAgentsRequest { page_size: 2, page_token: first.next_page_token.clone() };
    let rest = person.turns.list_agents(rest).await.unwrap().into_inner();
    let names: Vec<_> = first.agents.iter().chain(&rest.agents).map(|agent| agent.name.as_str()).collect();
    assert_eq!(names, ["alpha", "builder", "omega"]);
    assert!(rest.next_page_token.is_empty());
    for request in
        [ListAgentsRequest { page_size: -1, ..Default::default() }, ListAgentsRequest { page_token: "x".into(), ..Default::default() }]
    {
        assert_eq!(person.turns.list_agents(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let mut anyone = cluster.person();
    anyone.token = "not a token".into();
    let refused = anyone.at(&replica).turns.list_agents(ListAgentsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}
