//! A search in 2,000 files over gRPC, with the files in the cache, compared with the load of one of them.

use anyhow::{Context as _, Result, ensure};
use proto::project_storage::{GetFileRequest, SaveProjectRequest, SearchFilesRequest};

use crate::{
    environment::{Cluster, progress},
    files::{Service, write},
    sample::Samples,
    table::{Goal, Table, Unit},
};

const FILES: usize = 2000;
const FILES_OF_SAVE: usize = 200;
const TIMES: usize = 50;
/// The goal, in seconds.
const GOAL: f64 = 0.1;

pub(crate) async fn measure(cluster: &Cluster, table: &mut Table) -> Result<()> {
    progress(&format!("search: {FILES} files"));
    let service = Service::connect(cluster).await?;
    let mut project = String::new();
    for part in 0..FILES / FILES_OF_SAVE {
        let changes = (0..FILES_OF_SAVE).map(|number| write(format!("part-{part}/file-{number:03}.tsx"))).collect();
        let mut request = SaveProjectRequest { project_id: project.clone(), changes, ..SaveProjectRequest::default() };
        if project.is_empty() {
            request.draft_id = uuid::Uuid::new_v4().to_string();
        }
        project = service.save(request).await?;
    }
    let (mut baseline, mut plain, mut regex) = (Samples::default(), Samples::default(), Samples::default());
    // The first search reads all files from the database.
    search(&service, &project, "no such text", false).await?;
    for _ in 0..TIMES {
        baseline.time(get(&service, &project)).await?;
        plain.time(search(&service, &project, "no such text", false)).await?;
        regex.time(search(&service, &project, r"v\d+\s+\w+\(\[", true)).await?;
    }
    table.row(format!("search {FILES} files, text, p50"), Unit::Time, (baseline.p50(), plain.p50()), Goal::Bound(GOAL));
    table.row(format!("search {FILES} files, text, p99"), Unit::Time, (baseline.p99(), plain.p99()), Goal::Shown);
    table.row(format!("search {FILES} files, expression, p50"), Unit::Time, (baseline.p50(), regex.p50()), Goal::Bound(GOAL));
    Ok(())
}

/// Searches all pages for something that is not there.
async fn search(service: &Service, project: &str, query: &str, is_regex: bool) -> Result<()> {
    let mut request =
        SearchFilesRequest { project_id: project.to_owned(), query: query.to_owned(), regex: is_regex, ..SearchFilesRequest::default() };
    loop {
        let page = service.client.clone().search_files(service.request(request.clone())).await?.into_inner();
        ensure!(page.hits.is_empty(), "the text was found: {:?}", page.hits);
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = page.next_page_token;
    }
}

async fn get(service: &Service, project: &str) -> Result<()> {
    let request = GetFileRequest { project_id: project.to_owned(), path: "part-0/file-000.tsx".to_owned(), ..GetFileRequest::default() };
    service.client.clone().get_file(service.request(request)).await?.into_inner().file.context("a file")?;
    Ok(())
}
