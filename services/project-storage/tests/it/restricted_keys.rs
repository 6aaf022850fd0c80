//! Keys that are restricted to projects. The journeys compare every RPC with a project that does not exist; these tests are about lists,
//! drafts and forks.

use chassis::identity::Grant;
use proto::{
    error::Fault,
    project_storage::{
        BeginTurnRequest, CreateProjectRequest, ForkProjectRequest, GetProjectRequest, GetUsageRequest, ListForksRequest,
        ListProjectsRequest, ListTemplatesRequest, LoadProjectRequest, MergeProjectRequest, PublishTemplateRequest, SaveProjectRequest,
        SearchMessagesRequest,
    },
};

use crate::harness::{Cluster, Person, Turn, answer, reason, with_token, write};

fn restricted(cluster: &Cluster, person: &Person, projects: &[&str]) -> Person {
    let projects = projects.iter().map(|id| id.parse().expect("an id")).collect();
    cluster.with_key(person, &Grant { can_write: true, projects: Some(projects) })
}

async fn projects(person: &Person, query: &str) -> Vec<String> {
    let request = ListProjectsRequest { query: query.into(), ..Default::default() };
    let listed = answer(person.client.clone().list_projects(person.request(request)).await).expect("a list");
    assert_eq!(listed.next_page_token, "");
    listed.projects.into_iter().map(|project| project.id).collect()
}

async fn draft(person: &Person, draft: &str) -> Result<String, Box<Fault>> {
    let save = SaveProjectRequest { draft_id: draft.into(), changes: vec![write("a.txt", draft)], ..Default::default() };
    person.send(save).await.map(|saved| saved.project.expect("a project").id)
}

#[tokio::test]
async fn a_restricted_key_lists_and_finds_only_its_projects() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let (mine, other) = (draft(&ann, "mine").await.expect("saved"), draft(&ann, "other").await.expect("saved"));
    for project in [&mine, &other] {
        let turn = Turn::new(&cluster);
        turn.begin(&ann, project, "a needle").await.expect("begun");
    }
    let (all, key) = (cluster.with_key(&ann, &Grant { can_write: false, projects: None }), restricted(&cluster, &ann, &[&mine]));
    assert_eq!((projects(&all, "").await.len(), projects(&key, "").await), (2, vec![mine.clone()]));
    let names = projects(&all, "untitled").await.len();
    assert_eq!(projects(&key, "untitled").await.len(), usize::from(names > 0));
    let search = async |person: &Person, project: &str| {
        let request = SearchMessagesRequest { query: "needle".into(), project_id: project.into(), ..Default::default() };
        let found = answer(person.client.clone().search_messages(person.request(request)).await)?;
        Ok::<_, Box<Fault>>(found.hits.into_iter().map(|hit| hit.project_id).collect::<Vec<_>>())
    };
    assert_eq!((search(&all, "").await.expect("found").len(), search(&key, "").await.expect("found")), (2, vec![mine.clone()]));
    assert_eq!(search(&key, &mine).await.expect("found"), std::slice::from_ref(&mine));
    assert_eq!(reason(search(&key, &other).await), "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn a_restricted_key_names_its_project_by_the_draft_id_and_makes_none() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let (mine, other) = (draft(&ann, "mine").await.expect("saved"), draft(&ann, "other").await.expect("saved"));
    let key = restricted(&cluster, &ann, &[&mine]);
    assert_eq!(draft(&key, "mine").await.expect("saved"), mine);
    for foreign in ["other", "new"] {
        assert_eq!(reason(draft(&key, foreign).await), "PROJECT_NOT_FOUND", "{foreign}");
        let load = LoadProjectRequest { draft_id: foreign.into(), ..Default::default() };
        assert_eq!(reason(key.load_page(load).await), "PROJECT_NOT_FOUND", "{foreign}");
        let begin =
            BeginTurnRequest { turn_id: Turn::new(&cluster).id, draft_id: foreign.into(), prompt: "x".into(), ..Default::default() };
        assert_eq!(reason(answer(cluster.agent().begin_turn(with_token(begin, &key.token)).await)), "PROJECT_NOT_FOUND", "{foreign}");
    }
    let begin = BeginTurnRequest { turn_id: Turn::new(&cluster).id, draft_id: "mine".into(), prompt: "x".into(), ..Default::default() };
    let begun = answer(cluster.agent().begin_turn(with_token(begin, &key.token)).await).expect("begun");
    assert_eq!(begun.project_id, mine);
    let merge = MergeProjectRequest { project_id: mine.clone(), source_project_id: other.clone(), ..Default::default() };
    assert_eq!(reason(answer(key.client.clone().merge_project(key.request(merge)).await)), "PROJECT_NOT_FOUND");
    let fork = ForkProjectRequest { project_id: mine.clone(), ..Default::default() };
    assert_eq!(reason(answer(key.client.clone().fork_project(key.request(fork)).await)), "PROJECTS_RESTRICTED");
    assert_eq!(
        reason(answer(key.client.clone().create_project(key.request(CreateProjectRequest::default())).await)),
        "PROJECTS_RESTRICTED"
    );
    assert_eq!(reason(answer(key.client.clone().get_usage(key.request(GetUsageRequest {})).await)), "PROJECTS_RESTRICTED");
    let templates = key.request(ListTemplatesRequest::default());
    assert_eq!(reason(answer(key.client.clone().list_templates(templates).await)), "PROJECTS_RESTRICTED");
    // A template may have been made from another project, which a new version from the key's project would replace.
    for template_id in [String::new(), "0190b3a0-0000-7000-8000-000000000000".to_owned()] {
        let publish = PublishTemplateRequest { project_id: mine.clone(), template_id, title: "mine".into(), ..Default::default() };
        assert_eq!(reason(answer(key.client.clone().publish_template(key.request(publish)).await)), "PROJECTS_RESTRICTED");
    }
    assert_eq!(projects(&ann, "").await.len(), 2);
}

#[tokio::test]
async fn a_restricted_key_sees_no_forks_and_origins_that_it_does_not_reach() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let parent = draft(&ann, "parent").await.expect("saved");
    let (one, two) = (ann.fork(&parent, "").await.expect("forked").id, ann.fork(&parent, "").await.expect("forked").id);
    let origin = async |person: &Person| {
        let request = person.request(GetProjectRequest { project_id: one.clone() });
        let found = answer(person.client.clone().get_project(request).await).expect("a project").project.expect("a project");
        found.forked_from.expect("an origin").project_id
    };
    let forks = async |person: &Person| {
        let request = person.request(ListForksRequest { project_id: parent.clone(), ..Default::default() });
        answer(person.client.clone().list_forks(request).await)
            .map(|listed| listed.forks.into_iter().map(|fork| fork.id).collect::<Vec<_>>())
    };
    let (fork_only, both) = (restricted(&cluster, &ann, &[&one]), restricted(&cluster, &ann, &[&one, &parent]));
    assert_eq!((origin(&ann).await, origin(&both).await, origin(&fork_only).await), (parent.clone(), parent.clone(), String::new()));
    assert_eq!(forks(&ann).await.expect("forks"), [two.clone(), one.clone()]);
    assert_eq!(forks(&both).await.expect("forks"), std::slice::from_ref(&one));
    assert_eq!(reason(forks(&fork_only).await), "PROJECT_NOT_FOUND");
    let listed = answer(fork_only.client.clone().list_projects(fork_only.request(ListProjectsRequest::default())).await).expect("a list");
    assert_eq!(listed.projects.len(), 1);
    assert_eq!(listed.projects[0].forked_from.as_ref().expect("an origin").project_id, "");
}
