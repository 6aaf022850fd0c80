//! What is left of a person after their account was deleted: nothing of their own, no name in what belongs to others, and everything of others.

use std::time::Duration;

use project_storage::testing::delete_account;
use proto::project_storage::{
    CreatePreviewRequest, DeleteProjectRequest, ListRevisionsRequest, PublishTemplateRequest, RateTemplateRequest, ReactionKind,
    ReportTemplateRequest, SetReactionRequest, Template, TurnEnd,
};

use crate::{
    forks::set_role,
    harness::{Cluster, Person, Turn, answer, commit, conversation, reason, write},
};

async fn ask(cluster: &Cluster, person: &Person, project: &str, prompt: &str) {
    let turn = Turn::new(cluster);
    turn.begin(person, project, prompt).await.expect("begun");
    let mut result = turn.result("", vec![]);
    result.answer = "an answer".into();
    commit(&turn.agent, result).await.expect("committed");
}

async fn template(person: &Person, project: &str, title: &str) -> Template {
    let request = PublishTemplateRequest { project_id: project.into(), title: title.into(), ..PublishTemplateRequest::default() };
    answer(person.client.clone().publish_template(person.request(request)).await).expect("published").template.expect("a template")
}

async fn say(person: &Person, template: &str) {
    let rate = RateTemplateRequest { template_id: template.into(), stars: 5, text: format!("canary of {}", person.id) };
    answer(person.client.clone().rate_template(person.request(rate)).await).expect("rated");
    let report = ReportTemplateRequest { template_id: template.into(), reason: format!("canary of {}", person.id) };
    answer(person.client.clone().report_template(person.request(report)).await).expect("reported");
}

async fn react(person: &Person, project: &str, message: &str) {
    let kind = ReactionKind::Helpful.into();
    let request = SetReactionRequest { project_id: project.into(), message_id: message.into(), kind, reason: "canary".into() };
    answer(person.client.clone().set_reaction(person.request(request)).await).expect("a reaction");
}

/// Two people with projects and templates, each of whom takes part in the project of the other one.
struct Both {
    ann: Person,
    bob: Person,
    /// The project of bob.
    shared: String,
    /// The template of bob.
    template: String,
}

/// Makes a project with an answer, a template of it and a preview.
async fn project_of(cluster: &Cluster, person: &Person) -> (String, String) {
    let project = person.create().await.id;
    person.save(&project, vec![write("a", "1")]).await.expect("saved");
    ask(cluster, person, &project, &format!("canary of {}", person.id)).await;
    let request = CreatePreviewRequest { project_id: project.clone(), ..CreatePreviewRequest::default() };
    answer(person.client.clone().create_preview(person.request(request)).await).expect("a preview");
    let template = template(person, &project, &format!("canary of {}", person.id)).await;
    (project, template.id)
}

async fn both(cluster: &Cluster) -> Both {
    let (ann, bob) = (cluster.person(), cluster.person());
    let (own, own_template) = project_of(cluster, &ann).await;
    let deleted = ann.create().await.id;
    let request = DeleteProjectRequest { project_id: deleted, ..DeleteProjectRequest::default() };
    answer(ann.client.clone().delete_project(ann.request(request)).await).expect("deleted");
    let (shared, template) = project_of(cluster, &bob).await;
    set_role(cluster, &ann, &shared, 2).await;
    set_role(cluster, &bob, &own, 2).await;

    for (person, project) in [(&ann, &shared), (&bob, &own)] {
        person.save(project, vec![write("c", &person.id.to_string())]).await.expect("saved");
        ask(cluster, person, project, &format!("canary of {}", person.id)).await;
        let answered = conversation(person, project).await;
        let message = answered.iter().find(|message| message.text == "an answer").expect("an answer");
        react(person, project, &message.id).await;
    }
    say(&ann, &template).await;
    say(&bob, &own_template).await;
    Both { ann, bob, shared, template }
}

/// What bob sees of his own.
async fn view(both: &Both) -> (Vec<String>, Vec<String>, usize) {
    let conversation = conversation(&both.bob, &both.shared).await;
    let own =
        conversation.iter().filter(|message| message.user_id != both.ann.id.to_string()).map(|message| message.text.clone()).collect();
    (both.bob.files(&both.shared).await, own, conversation.len())
}

async fn assert_gone(cluster: &Cluster, both: &Both) {
    let ann = both.ann.id.to_string();
    assert_eq!(cluster.database.tables_with(&ann).await, [""; 0]);
    assert!(cluster.database.tables_with(&both.bob.id.to_string()).await.contains(&"messages".to_owned()), "others stay");
    let (files, _, _) = view(both).await;
    assert_eq!(files, ["a=1", &format!("c={ann}")], "the files belong to the project");
    let texts: Vec<_> = conversation(&both.bob, &both.shared).await.into_iter().map(|message| (message.text, message.user_id)).collect();
    let (nobody, bob) = (uuid::Uuid::nil().to_string(), both.bob.id.to_string());
    let canary = format!("canary of {bob}");
    let expected = [(&*canary, &bob), ("an answer", &bob), ("", &nobody), ("an answer", &nobody)];
    assert_eq!(texts.iter().map(|(text, user)| (text.as_str(), user)).collect::<Vec<_>>(), expected);
    assert_eq!(reason(both.ann.load(&both.shared).await), "PROJECT_NOT_FOUND");
    assert_eq!(cluster.count("SELECT count(*) FROM templates WHERE publisher_id <> '00000000-0000-0000-0000-000000000000'").await, 1);
    let rated = "SELECT ratings + stars FROM templates WHERE publisher_id <> '00000000-0000-0000-0000-000000000000'";
    assert_eq!(cluster.count(rated).await, 0, "the review no longer counts");
    let reacted = "SELECT coalesce(sum(helpful), 0) FROM messages";
    assert_eq!(cluster.count(reacted).await, 0, "the reaction no longer counts");
}

#[tokio::test]
async fn nothing_of_a_person_is_left_and_everything_of_others() {
    let cluster = Cluster::start().await;
    let both = both(&cluster).await;
    let found = cluster.database.tables_with(&both.ann.id.to_string()).await;
    let kinds =
        ["members", "messages", "preview_origins", "previews", "projects", "reactions", "ref_log", "template_reports", "template_reviews"];
    assert!(kinds.iter().all(|kind| found.contains(&(*kind).to_owned())), "{found:?}");
    for _ in 0..2 {
        assert!(delete_account(&cluster.database.pool, both.ann.id).await.expect("deleted"));
        assert_gone(&cluster, &both).await;
    }
    let told = cluster.count("SELECT count(*) FROM deletions WHERE kind = 2 AND done_at IS NULL").await;
    assert_eq!(told, 2, "agent-streaming has the turns of two projects");
    both.bob.save(&both.shared, vec![write("d", "2")]).await.expect("the project works as before");
    assert!(!both.template.is_empty());
}

/// A process that is killed at any moment leaves a deletion that another one completes.
#[tokio::test]
async fn a_deletion_that_is_cut_off_is_completed_by_the_next_one() {
    let cluster = Cluster::start().await;
    for cut in [1, 3, 6, 10, 15, 25, 40] {
        let both = both(&cluster).await;
        // A deletion that is not complete by then is dropped with its connection, which rolls its transaction back.
        let _ = tokio::time::timeout(Duration::from_millis(cut), delete_account(&cluster.database.pool, both.ann.id)).await;
        let pool = &cluster.database.pool;
        let (one, other) = tokio::join!(delete_account(pool, both.ann.id), delete_account(pool, both.ann.id));
        // Two replicas do it at the same time.
        assert!(one.expect("deleted") && other.expect("deleted"));
        assert_eq!(cluster.database.tables_with(&both.ann.id.to_string()).await, [""; 0], "cut after {cut} ms");
        assert_eq!(view(&both).await.2, 4);
        assert!(delete_account(pool, both.bob.id).await.expect("deleted"), "for the next round");
    }
}

#[tokio::test]
async fn a_running_turn_in_a_project_of_somebody_else_is_waited_for() {
    let cluster = Cluster::start().await;
    let both = both(&cluster).await;
    let turn = Turn::new(&cluster);
    turn.begin(&both.ann, &both.shared, "canary").await.expect("begun");
    let pool = &cluster.database.pool;
    assert!(!delete_account(pool, both.ann.id).await.expect("waits"));
    turn.end(TurnEnd::Cancelled, "").await.expect("ended");
    assert!(delete_account(pool, both.ann.id).await.expect("deleted"));
    assert_eq!(cluster.database.tables_with(&both.ann.id.to_string()).await, [""; 0]);
    assert_eq!(cluster.database.tables_with("canary of").await, ["messages", "templates"], "of bob");
}

/// A fork reads the log of a project that its owner has purged, and a project has the work of people who have left it.
#[tokio::test]
async fn forks_and_projects_that_a_person_has_left_keep_their_history_without_the_person() {
    let cluster = Cluster::start().await;
    let (ann, bob, eve) = (cluster.person(), cluster.person(), cluster.person());
    let own = ann.create().await.id;
    for n in 1..=3 {
        ann.put(&own, "a", &n.to_string()).await;
    }
    set_role(&cluster, &bob, &own, 1).await;
    let fork = bob.fork(&own, "").await.expect("forked").id;
    set_role(&cluster, &eve, &fork, 1).await;
    let second = eve.fork(&fork, "").await.expect("forked").id;
    ann.remove(&own).await;

    let left = bob.create().await.id;
    set_role(&cluster, &ann, &left, 2).await;
    ann.put(&left, "a", "1").await;
    ask(&cluster, &ann, &left, "canary").await;
    react(&bob, &left, &conversation(&bob, &left).await.last().expect("an answer").id).await;
    sqlx::query("DELETE FROM members WHERE user_id = $1").bind(ann.id.0).execute(&cluster.database.pool).await.expect("left");
    let logs = [bob.numbered_log(&fork).await, eve.numbered_log(&second).await, bob.numbered_log(&left).await];
    assert_eq!(logs.each_ref().map(|(numbers, _)| numbers.len()), [3, 3, 1]);
    let found = cluster.database.tables_with(&ann.id.to_string()).await;
    assert!(["messages", "ref_log", "turns"].iter().all(|table| found.contains(&(*table).to_owned())), "{found:?}");

    for _ in 0..2 {
        assert!(delete_account(&cluster.database.pool, ann.id).await.expect("deleted"));
        assert_eq!(cluster.database.tables_with(&ann.id.to_string()).await, [""; 0]);
    }
    assert_eq!([bob.numbered_log(&fork).await, eve.numbered_log(&second).await, bob.numbered_log(&left).await], logs);
    for (person, project) in [(&bob, &fork), (&eve, &second), (&bob, &left)] {
        let request = ListRevisionsRequest { project_id: project.clone(), ..ListRevisionsRequest::default() };
        let page = answer(person.client.clone().list_revisions(person.request(request)).await).expect("a page");
        assert!(page.revisions.iter().all(|revision| revision.user_id == uuid::Uuid::nil().to_string()), "{page:?}");
    }
    assert_eq!(cluster.database.tables_with("canary").await, ["reactions"], "the reason that bob gave stays");
    assert_eq!(bob.files(&fork).await, ["a=3"]);
    bob.put(&fork, "b", "1").await;
}

/// An upload to a fork counts for the owner of the fork while it runs.
#[tokio::test]
async fn an_upload_that_has_not_ended_keeps_no_id() {
    let cluster = Cluster::start().await;
    let person = cluster.person();
    let store = "INSERT INTO stores (id) VALUES (gen_random_uuid()) RETURNING id";
    let store: uuid::Uuid = sqlx::query_scalar(store).fetch_one(&cluster.database.pool).await.expect("a store");
    sqlx::query(
        "INSERT INTO pending_writes (id, store_id, expires_at, owner_id) VALUES (gen_random_uuid(), $1, now() + interval '1 hour', $2)",
    )
    .bind(store)
    .bind(person.id.0)
    .execute(&cluster.database.pool)
    .await
    .expect("a lease");
    assert_eq!(cluster.database.tables_with(&person.id.to_string()).await, ["pending_writes"]);
    assert!(delete_account(&cluster.database.pool, person.id).await.expect("deleted"));
    assert_eq!(cluster.database.tables_with(&person.id.to_string()).await, [""; 0]);
    assert_eq!(cluster.count("SELECT count(*) FROM pending_writes").await, 1, "the upload may end");
}
