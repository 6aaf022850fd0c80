//! The selection of each turn's agent comes out again at each replica.

use anyhow::Result;
use chassis::{client, context::Context, identity::Caller, secret::ClusterSecret};
use proto::agent_streaming::{ReplaySelectionRequest, agent_streaming_service_client::AgentStreamingServiceClient};

use super::check::{Turn, Violation};
use crate::deployment::{self, Deployment};
use backlot::role::Role;

/// Turns of one round that are replayed.
const TURNS: usize = 60;

/// Replays the selections of some turns, with one replica after the other.
///
/// # Errors
/// A replica does not answer.
pub async fn check(deployment: &Deployment, turns: &[Turn]) -> Result<Vec<Violation>> {
    let secret = ClusterSecret::of_bytes(deployment::SECRET.as_bytes());
    let mut replicas = Vec::new();
    for node in deployment.of(Role::AgentStreaming) {
        let channel = client::connect(Caller::Operator, Caller::AgentStreaming, &format!("http://{}", node.address).parse()?, &secret);
        replicas.push(AgentStreamingServiceClient::new(channel));
    }
    let mut violations = Vec::new();
    let selected = turns.iter().filter(|turn| turn.log.iter().any(|event| event.kind == "agent.selected"));
    for (turn, replica) in selected.take(TURNS).zip(replicas.iter().cycle()) {
        let request = ReplaySelectionRequest { turn_id: turn.watched.turn.clone() };
        let replay = replica.clone().replay_selection(Context::background().request(request)).await?.into_inner();
        if !replay.is_same {
            let text = format!("recorded {:?}, replayed {:?}", replay.recorded, replay.replayed);
            violations.push(Violation { rule: "selections replay", turn: Some(turn.watched.turn.clone()), text });
        }
    }
    Ok(violations)
}
