//! Access to turns and agents.

use proto::{agent_streaming::ListAgentsRequest, error::ErrorCode};
use tonic::Code;

use crate::harness::{Cluster, prompt};

#[tokio::test]
async fn a_turn_of_another_user_is_not_found() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let (mut owner, mut stranger) = (cluster.user().at(&replica), cluster.user().at(&replica));
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
                (ErrorCode::NotFound, "TURN_NOT_FOUND", "the turn does not exist")
            );
        }
    }
}

#[tokio::test]
async fn agents_are_paged_and_need_an_authenticated_user() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["alpha", "omega"] {
        let text = format!("---\nname: {name}\ndescription: The agent {name}.\ntools: read_file\n---\nYou are {name}.\n");
        std::fs::write(folder.path().join(format!("{name}.md")), text).unwrap();
    }
    let cluster = Cluster::start(&[("BACKLOT_AGENTS_DIR", folder.path().to_str().unwrap())]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    person.run(prompt("d", "SAY ready")).await;

    let first = person.turns.list_agents(ListAgentsRequest { page_size: 2, ..Default::default() }).await.unwrap().into_inner();
    let rest = ListAgentsRequest { page_size: 200, page_token: first.next_page_token.clone(), ..Default::default() };
    let rest = person.turns.list_agents(rest).await.unwrap().into_inner();
    let names: Vec<_> = first.agents.iter().chain(&rest.agents).map(|agent| agent.name.as_str()).collect();
    assert!(names.is_sorted() && first.agents.len() == 2 && rest.next_page_token.is_empty());
    assert!(["alpha", "builder", "omega"].iter().all(|name| names.contains(name)), "{names:?}");
    for request in
        [ListAgentsRequest { page_size: -1, ..Default::default() }, ListAgentsRequest { page_token: "x".into(), ..Default::default() }]
    {
        assert_eq!(person.turns.list_agents(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let mut anyone = cluster.user();
    anyone.token = "not a token".into();
    let refused = anyone.at(&replica).turns.list_agents(ListAgentsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}
