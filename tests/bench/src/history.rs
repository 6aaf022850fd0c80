//! The past of projects over gRPC, compared with plain SQL that reads the same objects: the difference of two revisions of 2,000 files, the
//! blame of a file that 1,000 revisions changed, and a page of the revisions that changed a path.

use anyhow::{Context as _, Result, ensure};
use proto::project_storage::{
    BlameFileRequest, DiffRevisionsRequest, FileChange, FileContent, ListRevisionsRequest, SaveProjectRequest, file_change, file_content,
};
use sqlx::Row as _;
use uuid::Uuid;

use crate::{
    environment::{Cluster, Environment, progress},
    files::Service,
    sample::Samples,
    seed, sql,
    table::{Goal, Table, Unit},
};

/// The most files that a project may have.
const FILES: usize = 2_000;
/// The most changes of a save.
const CHANGES: usize = 200;
/// Differences of 2,000 files, each of two other revisions, so that none is in a cache.
const DIFFS: usize = 40;
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
    progress("history: diff");
    let (baseline, ours) = diffs(&service, cluster).await?;
    table.row(format!("diff at {FILES} files, p50"), Unit::Time, (baseline.p50(), ours.p50()), Goal::Shown);
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

fn write(path: String, text: String) -> FileChange {
    let content = FileContent { data: Some(file_content::Data::Text(text)) };
    FileChange { path, action: Some(file_change::Action::Write(content)), etag: String::new() }
}

/// Saves a change set. An empty `project` means a new one. Returns the ids of the project and of the revision.
async fn save(service: &Service, project: &str, changes: Vec<FileChange>) -> Result<(String, String)> {
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

async fn diffs(service: &Service, cluster: &Cluster) -> Result<(Samples, Samples)> {
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    let file = |number: usize| write(format!("src/folder{}/file{number}.tsx", number % 40), seed::source());
    let (mut project, mut base) = (String::new(), String::new());
    for first in (0..FILES).step_by(CHANGES) {
        (project, base) = save(service, &project, (first..first + CHANGES).map(file).collect()).await?;
    }
    let (id, user): (Uuid, Uuid) = (project.parse()?, cluster.person.user_id.parse()?);
    let store: Uuid = sql::find(&cluster.database, id, user).await?.try_get("store_id")?;
    let blobs = "SELECT oid FROM objects WHERE store_id = $1 AND tag & 15 = 3 LIMIT $2";
    let blobs: Vec<Vec<u8>> = sqlx::query_scalar(blobs).bind(store).bind(i64::from(2 * PAGE)).fetch_all(&cluster.database).await?;
    for _ in 0..DIFFS {
        let (_, revision) = save(service, &project, (0..FILES).step_by(FILES / CHANGES).map(file).collect()).await?;
        let request = DiffRevisionsRequest {
            project_id: project.clone(),
            revision: revision.clone(),
            base_revision: base,
            page_size: PAGE,
            ..DiffRevisionsRequest::default()
        };
        baseline.time(sql::objects(&cluster.database, store, &blobs)).await?;
        let diff = async { anyhow::Ok(service.client.clone().diff_revisions(service.request(request)).await?.into_inner()) };
        let diff = ours.time(diff).await?;
        ensure!(diff.files.len() == PAGE as usize, "the page has {} files", diff.files.len());
        base = revision;
    }
    Ok((baseline, ours))
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
