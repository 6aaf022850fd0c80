//! The modes of turns: a question and a plan change nothing, and a later turn carries out a plan.

use proto::{
    agent_streaming::{StartTurnRequest, TurnMode, TurnState, turn_event::Kind},
    error::Fault,
    id::TurnId,
    project_storage::DeleteProjectRequest,
};

use crate::harness::{Cluster, Person, prompt, save, types};

/// The tools of a turn that changes nothing.
const READERS: [&str; 5] = ["list_files", "read_file", "search", "check", "read_skill"];

fn in_mode(mode: TurnMode, draft: &str, text: &str) -> StartTurnRequest {
    StartTurnRequest { mode: mode as i32, ..prompt(draft, text) }
}

fn field(fault: &Fault) -> (&str, &str) {
    (&fault.reason, fault.violations.first().map_or("", |violation| &violation.field))
}

#[tokio::test]
async fn a_question_has_no_tool_that_writes_and_makes_no_revision() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let (project, revision) = save(&person, "d", &[("index.html", "<h1>Hi</h1>")]).await;
    let order = r#"TOOLS [["write_file", "{\"path\": \"a.txt\", \"content\": \"x\"}"], ["delete_file", "{\"path\": \"index.html\"}"], ["read_file", "{\"path\": \"index.html\"}"]]"#;
    for mode in [TurnMode::Ask, TurnMode::Plan] {
        let (turn, events) = person.run(in_mode(mode, "d", order)).await;
        assert_eq!((turn.state(), turn.mode(), turn.revision.as_str()), (TurnState::Completed, mode, ""), "{events:?}");
        let refused = events.iter().filter_map(|event| match &event.kind {
            Some(Kind::ToolFailed(failed)) => Some(failed.reason.as_str()),
            _ => None,
        });
        assert_eq!(refused.collect::<Vec<_>>(), ["UNKNOWN_TOOL", "UNKNOWN_TOOL"]);
        assert!(!types(&events).contains(&"files.committed") && types(&events).contains(&"tool.output"));
    }
    assert!(cluster.model.offered(order).iter().all(|tools| tools == &READERS), "{:?}", cluster.model.offered(order));
    let system = cluster.model.requests(order)[0][0].to_string();
    assert!(system.contains("# Mode: ask"), "{system}");
    let loaded = person.load(&project).await;
    assert_eq!((loaded.revision.unwrap().id, loaded.files.len()), (revision, 1));
    let texts: Vec<_> = person.messages(&project).await.into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["All done.", order, "All done.", order], "prompts and answers are in the conversation");

    let built = person.run(prompt("d", "WRITE a.txt more")).await.0;
    assert_eq!((built.mode(), built.revision.is_empty()), (TurnMode::Build, false));
    assert!(!cluster.model.requests("WRITE a.txt more")[0][0].to_string().contains("# Mode"));
}

#[tokio::test]
async fn a_turn_carries_out_the_plan_of_an_earlier_one() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let planned = StartTurnRequest { agent: "chess-game".into(), ..in_mode(TurnMode::Plan, "d", "SAY 1. Write a.txt with a greeting.") };
    let (plan, _) = person.run(planned).await;
    let with_plan = |draft: &str, id: &str| StartTurnRequest { plan_turn_id: id.to_owned(), ..prompt(draft, "WRITE a.txt hello") };
    let (done, _) = person.run(with_plan("d", &plan.id)).await;
    assert!(!done.revision.is_empty());
    assert_eq!((done.agent.as_str(), plan.agent.as_str()), ("chess-game", "chess-game"), "the agent of the plan carries it out");
    let other = StartTurnRequest { agent: "builder".into(), ..with_plan("d", &plan.id) };
    assert_eq!(person.run(other).await.0.agent, "builder", "a named agent wins");
    let request = cluster.model.requests("WRITE a.txt hello")[0].to_string();
    assert!(request.contains("<plan>") && request.contains("1. Write a.txt with a greeting."), "{request}");
    let kept = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM turns WHERE plan IS NOT NULL");
    assert_eq!(kept.fetch_one(&mut cluster.turns_db().await).await.unwrap(), 0, "a plan is kept until its turn ends");
    // The project counts, not how the request names it.
    let by_id = StartTurnRequest { project_id: plan.project_id.clone(), draft_id: String::new(), ..with_plan("", &plan.id) };
    assert!(person.try_start(by_id).await.is_ok());

    let (other_project, _) = person.run(in_mode(TurnMode::Plan, "e", "SAY 1. Nothing.")).await;
    let unknown = TurnId::generate().to_string();
    for (what, id) in [("another project", &other_project.id), ("no plan", &done.id), ("no turn", &unknown), ("no id", &"x".to_owned())] {
        assert_eq!(field(&person.try_start(with_plan("d", id)).await.unwrap_err()), ("INVALID_FIELD", "plan_turn_id"), "{what}");
    }
    let mut stranger: Person = cluster.user().at(&replica);
    assert_eq!(field(&stranger.try_start(with_plan("d", &plan.id)).await.unwrap_err()), ("INVALID_FIELD", "plan_turn_id"));
    let asks = StartTurnRequest { mode: TurnMode::Ask as i32, ..with_plan("d", &plan.id) };
    assert_eq!(field(&person.try_start(asks).await.unwrap_err()), ("INVALID_FIELD", "plan_turn_id"));
}

#[tokio::test]
async fn a_plan_of_a_deleted_project_is_not_one_of_a_project_with_its_draft_id() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let (old, _) = person.run(in_mode(TurnMode::Plan, "d", "SAY 1. Write a.txt with a greeting.")).await;
    let delete = DeleteProjectRequest { project_id: old.project_id.clone(), ..DeleteProjectRequest::default() };
    person.files.delete_project(delete).await.unwrap();
    let with_plan = |id: &str| StartTurnRequest { plan_turn_id: id.to_owned(), ..prompt("d", "WRITE a.txt hello") };
    let refused = person.try_start(with_plan(&old.id)).await.unwrap_err();
    assert_eq!(field(&refused), ("INVALID_FIELD", "plan_turn_id"), "the project is deleted");
    let (new, _) = person.run(in_mode(TurnMode::Plan, "d", "SAY 1. Write b.txt.")).await;
    assert_ne!(new.project_id, old.project_id);
    let refused = person.try_start(with_plan(&old.id)).await.unwrap_err();
    assert_eq!(field(&refused), ("INVALID_FIELD", "plan_turn_id"), "another project has the draft id");
    assert!(person.try_start(with_plan(&new.id)).await.is_ok());
}

#[tokio::test]
async fn the_mode_is_a_part_of_the_request_of_a_key() {
    let cluster = Cluster::start(&[]).await;
    let replica = cluster.replica();
    let mut person = cluster.user().at(&replica);
    let keyed = |mode| StartTurnRequest { idempotency_key: "k".into(), ..in_mode(mode, "d", "SAY hi") };
    let turn = person.start(keyed(TurnMode::Unspecified)).await;
    assert_eq!(person.start(keyed(TurnMode::Build)).await.id, turn.id);
    assert_eq!(person.try_start(keyed(TurnMode::Ask)).await.unwrap_err().reason, "KEY_REUSED");
}
