//! The agent of a turn: selected, explained, replayed, and kept although the agents change.

use std::fs;

use chassis::{client, context::Context, identity::Caller, secret::ClusterSecret, testing::eventually};
use prost::Message as _;
use proto::agent_streaming::{
    AgentSelected, GetAgentRequest, ReplaySelectionRequest, ReplaySelectionResponse, SelectAgentRequest, StartTurnRequest, TurnEvent,
    agent_streaming_service_client::AgentStreamingServiceClient, turn_event::Kind,
};
use tonic::{Code, Status};

use crate::harness::{Cluster, Process, SECRET, SOON, prompt, types};

const KANBAN: &str = "A kanban board with swimlanes and draggable cards, please.\nSAY done";

fn selected(events: &[TurnEvent]) -> AgentSelected {
    let found =
        events.iter().find_map(|event| if let Some(Kind::AgentSelected(selected)) = &event.kind { Some(selected.clone()) } else { None });
    found.expect("the event agent.selected")
}

async fn replay(replica: &Process, turn: &str) -> Result<ReplaySelectionResponse, Status> {
    let uri = format!("http://{}", replica.address).parse().unwrap();
    let secret = ClusterSecret::of_bytes(SECRET.as_bytes());
    let mut operator = AgentStreamingServiceClient::new(client::connect(Caller::Operator, Caller::AgentStreaming, &uri, &secret));
    let request = ReplaySelectionRequest { turn_id: turn.to_owned() };
    operator.replay_selection(Context::background().request(request)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn the_agent_of_a_turn_is_selected_explained_and_replayed() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let (turn, events) = person.run(prompt("d", KANBAN)).await;
    let selection = selected(&events);
    assert_eq!((selection.agent.as_str(), selection.rule.as_str(), turn.agent.as_str()), ("kanban-board", "matched", "kanban-board"));
    assert!(selection.candidates[0].terms.iter().any(|term| term.term == "kanban" && term.weight > 0), "{selection:?}");
    let asked = person.turns.select_agent(SelectAgentRequest { prompt: KANBAN.into(), agent: String::new() }).await.unwrap().into_inner();
    assert_eq!(asked.selection.unwrap(), selection, "the same answer without a turn");
    let replayed = replay(&replica, &turn.id).await.unwrap();
    assert!(replayed.is_same, "{replayed:?}");
    assert_eq!(replayed.recorded.unwrap(), selection);

    let named = StartTurnRequest { agent: "chess-game".into(), ..prompt("d", KANBAN) };
    let (turn, events) = person.run(named).await;
    let selection = selected(&events);
    assert_eq!((selection.agent.as_str(), selection.rule.as_str(), selection.candidates.len()), ("chess-game", "named", 0));
    assert!(replay(&replica, &turn.id).await.unwrap().is_same);
    // The version is that of the stored catalogue, not that of the event.
    let other = AgentSelected { version: "0".into(), ..selection.clone() };
    let change = sqlx::query("UPDATE turns SET selection = $2 WHERE id::text = $1").bind(&turn.id).bind(other.encode_to_vec());
    change.execute(&mut cluster.turns_db().await).await.unwrap();
    let replayed = replay(&replica, &turn.id).await.unwrap();
    assert!(!replayed.is_same && replayed.replayed.unwrap() == selection, "the event was changed");

    let (_, events) = person.run(prompt("d", "SAY thanks")).await;
    assert_eq!((selected(&events).agent.as_str(), selected(&events).rule.as_str()), ("builder", "weak"));
    assert_eq!(replay(&replica, "0190b3a0-0000-7000-8000-000000000000").await.unwrap_err().code(), Code::NotFound);
    let unknown = SelectAgentRequest { prompt: "x".into(), agent: "nobody".into() };
    assert_eq!(person.turns.select_agent(unknown).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(person.turns.select_agent(SelectAgentRequest::default()).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_turn_keeps_its_agent_although_the_agents_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zebra.md");
    let write = |body: &str| {
        let text = format!("---\nname: zebra\ndescription: Paints zebra stripes.\ntags: [zebra, stripes]\n---\n{body}\n");
        fs::write(&file, text).unwrap();
    };
    write("You paint with the old brush.");
    let cluster = Cluster::start(&[("BACKLOT_AGENTS_DIR", folder.path().to_str().unwrap())]).await;
    let (dying, user) = (cluster.replica(), cluster.user());
    let mut person = user.at(&dying);
    let text = "Paint zebra stripes on the zebra page.\nHANG1";
    let turn = person.start(prompt("d", text)).await;
    assert_eq!(turn.agent, "zebra");
    person.follow_until(&turn.id, 0, |event| matches!(event.kind, Some(Kind::TextDelta(_)))).await.1.unwrap();
    dying.crash();
    write("You paint with the new brush.");

    let replica = cluster.replica();
    let mut person = user.at(&replica);
    person.run(prompt("warm", "SAY up")).await;
    let events = person.see(&turn.id).await;
    assert_eq!(*types(&events).last().unwrap(), "turn.completed");
    let requests = cluster.model.requests("HANG1");
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0][0], requests[1][0], "the system prompt of both workers");
    assert!(requests[0][0].to_string().contains("the old brush"), "{}", requests[0][0]);
    assert!(replay(&replica, &turn.id).await.unwrap().is_same, "the agents of the turn are stored");

    let (_, events) = person.run(prompt("e", "Paint zebra stripes on the zebra page.\nSAY done")).await;
    assert_eq!(selected(&events).agent, "zebra");
    assert!(cluster.model.requests("SAY done")[0][0].to_string().contains("the new brush"));
    fs::remove_file(&file).unwrap();
    fs::write(folder.path().join("gnu.md"), "---\nname: gnu\ndescription: Draws gnus.\n---\nDraw.").unwrap();
    let request = || GetAgentRequest { name: "gnu".into() };
    eventually(SOON, || async { person.turns.clone().get_agent(request()).await.ok() }).await;
}

#[tokio::test]
async fn a_model_chooses_on_a_close_call() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["zebra-one", "zebra-two"] {
        let text = format!("---\nname: {name}\ndescription: Paints zebra stripes.\ntags: [zebra, stripes]\n---\nYou are {name}.\n");
        fs::write(folder.path().join(format!("{name}.md")), text).unwrap();
    }
    let folder = folder.path().to_str().unwrap();
    let cluster = Cluster::start(&[("BACKLOT_AGENTS_DIR", folder), ("BACKLOT_SELECTION_MODEL", "openai/chooser")]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    for (order, agent, rule, error) in [
        ("CHOOSE 0", "zebra-one", "chosen", ""),
        ("CHOOSE 1", "zebra-two", "chosen", ""),
        ("SAY none", "builder", "close", ""),
        ("SAY zebra-three", "builder", "close", "the answer names no candidate"),
        ("BUSY 1 none", "builder", "close", "overloaded"),
        ("HANG1", "builder", "close", "no answer within 5s"),
    ] {
        let text = format!("Paint zebra stripes on the zebra page.\n{order}");
        let (turn, events) = person.run(prompt("d", &text)).await;
        assert_eq!(*types(&events).last().unwrap(), "turn.completed", "{order}");
        let selection = selected(&events);
        assert_eq!(
            (selection.agent.as_str(), selection.rule.as_str(), turn.agent.as_str()),
            (agent, rule, agent),
            "{order}: {selection:?}"
        );
        let choice = selection.choice.clone().expect("the answer of the model");
        assert_eq!(
            (choice.model.as_str(), choice.agent.as_str()),
            ("openai/chooser", if rule == "chosen" { agent } else { "" }),
            "{order}"
        );
        assert!(choice.error.contains(error) && choice.error.is_empty() == error.is_empty(), "{order}: {choice:?}");
        let answered = u32::from(choice.error.is_empty() || order.starts_with("SAY"));
        assert_eq!(choice.usage.unwrap_or_default().input_tokens, 10 * answered, "{order}");
        assert_eq!(turn.usage.unwrap_or_default().input_tokens, 10 + 10 * answered, "{order}: the tokens count for the turn");
        let replayed = replay(&replica, &turn.id).await.unwrap();
        assert!(replayed.is_same, "{order}: {replayed:?}");
        assert_eq!(cluster.model.requests(order).len(), 2, "{order}: one request for the choice, one for the turn");
    }
    let request = &cluster.model.requests("CHOOSE 0")[0];
    assert!(request.to_string().contains("zebra-two: Paints zebra stripes."), "{request}");
    assert_eq!(cluster.model.offered("CHOOSE 0")[0], [""; 0], "no tools");

    for (text, rule) in [("SAY thanks", "weak"), (KANBAN, "matched")] {
        let (_, events) = person.run(prompt("d", text)).await;
        assert_eq!((selected(&events).rule.as_str(), selected(&events).choice), (rule, None), "{text}");
    }
    let asked = SelectAgentRequest { prompt: "Paint zebra stripes on the zebra page.\nCHOOSE 0".into(), agent: String::new() };
    let selection = person.turns.select_agent(asked).await.unwrap().into_inner().selection.unwrap();
    assert_eq!((selection.rule.as_str(), selection.choice), ("close", None), "a question without a turn asks no model");
    assert_eq!(cluster.model.requests("CHOOSE 0").len(), 2);
}
