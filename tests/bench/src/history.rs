//! The past of a file over gRPC, compared with plain SQL that reads the same objects: the blame of a file that 1,000 revisions changed, and a
//! page of the revisions that changed a path.

use anyhow::{Context as _, Result, ensure};
use proto::project_storage::{
    BlameFileRequest, FileChange, FileContent, ListRevisionsRequest, SaveProjectRequest, file_change, file_content,
};
use sqlx::Row as _;
use uuid::Uuid;

use crate::{
    environment::{Cluster, Environment, progress},
    files::Service,
    sample::Samples,
    sql,
    table::{Goal, Table, Unit},
};

/// Revisions of the file that is blamed.
const REVISIONS: usize = 1_000;
const LINES: usize = 100;
const BLAMES: usize = 10;
const PAGE: i32 = 50;
const PAGES: usize = 100;
/// Revisions of the shorter log.
const SHORT: usize = 300;
const PATH: &str = "src/components/blamed.tsx";

pub(crate) async fn measure(_environment: &Environment, cluster: &Cluster, table: &mut Table) -> Result<()> {
    let service = Service::connect(cluster).await?;
    progress("history: blame");
    let (short, long) = (log(&service, SHORT).await?, log(&service, REVISIONS).await?);
    let (baseline, ours) = blames(&service, cluster, &long).await?;
    table.row(format!("blame at {REVISIONS} revisions, p50"), Unit::Time, (baseline.p50(), ours.p50()), Goal::Shown);
    progress("history: pages by path");
    let (short, long) = pages(&service, [&short, &long]).await?;
    let growth = (1.0, long.p50() / short.p50());
    table.row(format!("page of {PAGE} by path: {REVISIONS} revisions compared with {SHORT}"), Unit::Factor, growth, Goal::AtMost(1.5));
    Ok(())
}

pub(crate) fn write(path: String, text: String) -> FileChange {
    let content = FileContent { data: Some(file_content::Data::Text(text)) };
    FileChange { path, action: Some(file_change::Action::Write(content)), etag: String::new() }
}

/// Saves a change set. An empty `project` means a new one. Returns the ids of the project and of the revision.
pub(crate) async fn save(service: &Service, project: &str, changes: Vec<FileChange>) -> Result<(String, String)> {
    let draft_id = if project.is_empty() { Uuid::new_v4().to_string() } else { String::new() };
    let request = SaveProjectRequest { project_id: project.to_owned(), draft_id, changes, ..SaveProjectRequest::default() };
    let saved = service.client.clone().save_project(service.request(request)).await?.into_inner();
    Ok((saved.project.context("a project")?.id, saved.revision.context("a revision")?.id))
}

/// A project with one file that each revision changes in one line.
async fn log(service: &Service, revisions: usize) -> Result<String> {
    let mut lines: Vec<String> = (0..LINES).map(|line| format!("const line{line} = {};\n", Uuid::new_v4())).collect();
    let mut project = String::new();
    for revision in 0..revisions {
        lines[revision % LINES] = format!("const changed{revision} = {};\n", Uuid::new_v4());
        project = save(service, &project, vec![write(PATH.to_owned(), lines.concat())]).await?.0;
    }
    Ok(project)
}

async fn blames(service: &Service, cluster: &Cluster, project: &str) -> Result<(Samples, Samples)> {
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    let (id, user): (Uuid, Uuid) = (project.parse()?, cluster.person.user_id.parse()?);
    let store: Uuid = sql::find(&cluster.database, id, user).await?.try_get("store_id")?;
    let oids: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT oid FROM objects WHERE store_id = $1").bind(store).fetch_all(&cluster.database).await?;
    for _ in 0..BLAMES {
        baseline.time(sql::objects(&cluster.database, store, &oids)).await?;
        let request = BlameFileRequest { project_id: project.to_owned(), path: PATH.to_owned(), ..BlameFileRequest::default() };
        let blame = async { anyhow::Ok(service.client.clone().blame_file(service.request(request)).await?.into_inner()) };
        let blame = ours.time(blame).await?;
        ensure!(blame.ranges.iter().all(|range| !range.boundary), "the blame is not complete");
    }
    Ok((baseline, ours))
}

/// Pages of a short and of a long log, in turns.
async fn pages(service: &Service, projects: [&String; 2]) -> Result<(Samples, Samples)> {
    let mut samples = [Samples::default(), Samples::default()];
    for time in 0..PAGES {
        for index in [time % 2, 1 - time % 2] {
            let request = ListRevisionsRequest {
                project_id: projects[index].clone(),
                page_size: PAGE,
                path: PATH.to_owned(),
                ..ListRevisionsRequest::default()
            };
            let page = async { anyhow::Ok(service.client.clone().list_revisions(service.request(request)).await?.into_inner()) };
            let page = samples[index].time(page).await?;
            ensure!(page.revisions.len() == PAGE as usize, "the page has {} revisions", page.revisions.len());
        }
    }
    let [short, long] = samples;
    Ok((short, long))
}
