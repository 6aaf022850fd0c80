//! Keys that are restricted to projects: to them the turns of other projects look absent.

use chassis::identity::Grant;
use proto::{
    agent_streaming::{CancelTurnRequest, GetTokenUsageRequest, GetTurnRequest, ListTurnsRequest, StartTurnRequest},
    error::Fault,
};

use crate::harness::{Cluster, prompt};

fn reason<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> String {
    Fault::from_status(&result.expect_err("refused")).reason
}

#[tokio::test]
async fn a_restricted_key_uses_the_turns_of_its_projects_only() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let owner = cluster.user();
    let mut person = owner.clone().at(&replica);
    let (mine, _) = person.run(prompt("mine", "SAY hello")).await;
    let (other, _) = person.run(prompt("other", "SAY hello")).await;
    let projects = Some(vec![mine.project_id.parse().expect("an id")]);
    let mut key = cluster.with_key(&owner, &Grant { can_write: true, projects }).at(&replica);

    let got = key.turns.get_turn(GetTurnRequest { turn_id: mine.id.clone() }).await.expect("a turn").into_inner();
    assert_eq!(got.turn.expect("a turn").id, mine.id);
    assert_eq!(reason(key.turns.get_turn(GetTurnRequest { turn_id: other.id.clone() }).await), "TURN_NOT_FOUND");
    assert_eq!(reason(key.turns.cancel_turn(CancelTurnRequest { turn_id: other.id.clone() }).await), "TURN_NOT_FOUND");
    assert_eq!(key.follow(&other.id, 0).await.1.expect_err("refused").reason, "TURN_NOT_FOUND");
    assert_eq!(reason(key.turns.get_token_usage(GetTokenUsageRequest {}).await), "PROJECTS_RESTRICTED");
    for (list, count) in [
        (ListTurnsRequest { project_id: mine.project_id.clone(), ..Default::default() }, 1),
        (ListTurnsRequest { draft_id: "mine".into(), ..Default::default() }, 1),
        (ListTurnsRequest { project_id: other.project_id.clone(), ..Default::default() }, 0),
        (ListTurnsRequest { draft_id: "other".into(), ..Default::default() }, 0),
    ] {
        assert_eq!(key.turns.list_turns(list).await.expect("a list").into_inner().turns.len(), count);
    }
    for start in [
        StartTurnRequest { project_id: other.project_id.clone(), draft_id: String::new(), ..prompt("", "SAY x") },
        prompt("other", "SAY x"),
        prompt("new", "SAY x"),
    ] {
        assert_eq!(reason(key.turns.start_turn(start).await), "PROJECT_NOT_FOUND");
    }
    let (turn, _) = key.run(prompt("mine", "SAY again")).await;
    assert_eq!(turn.project_id, mine.project_id);
}

#[tokio::test]
async fn a_key_that_may_only_read_starts_no_turn() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let owner = cluster.user();
    let (turn, _) = owner.clone().at(&replica).run(prompt("d", "SAY hello")).await;
    let mut key = cluster.with_key(&owner, &Grant { can_write: false, projects: None }).at(&replica);
    key.turns.get_turn(GetTurnRequest { turn_id: turn.id.clone() }).await.expect("a turn");
    assert_eq!(reason(key.turns.start_turn(prompt("d", "SAY x")).await), "SCOPE_REQUIRED");
    assert_eq!(reason(key.turns.cancel_turn(CancelTurnRequest { turn_id: turn.id }).await), "SCOPE_REQUIRED");
}
