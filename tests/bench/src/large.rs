//! Projects of 5,000 and 10,000 files over gRPC: a load in pages, a fork, a restore, and the difference of two revisions.

use anyhow::{Context as _, Result, ensure};
use proto::project_storage::{DiffRevisionsRequest, ForkProjectRequest, LoadProjectRequest, RestoreRevisionRequest};
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use crate::{
    archives::{archive, path},
    environment::{Cluster, progress},
    files::Service,
    history::{save, write},
    sample::Samples,
    seed::{self, Objects},
    sql,
    table::{Goal, Table, Unit},
};

const LOADED: usize = 5_000;
/// The most files that a project may have.
const FILES: usize = 10_000;
/// Files that the revisions of a difference do not share: the most changes of a save.
const CHANGES: usize = 200;
const TIMES: usize = 20;
const LOADS: usize = 5;
/// The contents of one page of a load.
const PAGE_BYTES: i32 = 3 * 1024 * 1024;
/// Files of one page of a difference.
const PAGE: i32 = 50;

pub(crate) async fn measure(cluster: &Cluster, table: &mut Table) -> Result<()> {
    allow_large_projects(cluster).await?;
    let service = &Service::connect(cluster).await?;
    progress("large: load 5,000");
    let project = service.import(&archive(LOADED, 1)?).await?;
    let (baseline, ours) = loads(service, cluster, &project).await?;
    table.row(format!("load {LOADED} in pages, p50"), Unit::Time, (baseline.p50(), ours.p50()), Goal::Shown);
    progress("large: fork, diff and restore at 10,000");
    let project = service.import(&archive(FILES, 1)?).await?;
    let (baseline, ours) = forks(service, cluster, &project).await?;
    table.row(format!("fork at {FILES} files, p50"), Unit::Time, (baseline.p50(), ours.p50()), Goal::Shown);
    let (baseline, ours) = diffs(service, cluster, &project).await?;
    table.row(format!("diff at {FILES} files, p50"), Unit::Time, (baseline.p50(), ours.p50()), Goal::Shown);
    let (baseline, ours) = restores(service, cluster, &project).await?;
    table.row(format!("restore at {FILES} files, p50"), Unit::Time, (baseline.p50(), ours.p50()), Goal::Shown);
    Ok(())
}

/// Gives the person the plan with the largest projects.
async fn allow_large_projects(cluster: &Cluster) -> Result<()> {
    let options = cluster.database.connect_options();
    let name = options.get_database().context("a database")?.replace("project_storage", "auth");
    let auth = PgPool::connect_with((*options).clone().database(&name)).await?;
    let user: Uuid = cluster.person.user_id.parse()?;
    let changed = sqlx::query("UPDATE users SET plan = 'team' WHERE id = $1").bind(user).execute(&auth).await?;
    ensure!(changed.rows_affected() == 1, "auth has no person {user}");
    Ok(())
}

/// The store of a project, and ids of blobs in it.
async fn blobs(cluster: &Cluster, project: &str, limit: i64) -> Result<(Uuid, Vec<Vec<u8>>)> {
    let store: Uuid = sql::find(&cluster.database, project.parse()?, cluster.person.user_id.parse()?).await?.try_get("store_id")?;
    let oids = "SELECT oid FROM objects WHERE store_id = $1 AND tag & 15 = 3 LIMIT $2";
    Ok((store, sqlx::query_scalar(oids).bind(store).bind(limit).fetch_all(&cluster.database).await?))
}

/// All pages, compared with one statement that reads all files.
async fn loads(service: &Service, cluster: &Cluster, project: &str) -> Result<(Samples, Samples)> {
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    let (store, oids) = blobs(cluster, project, i64::MAX).await?;
    let pages = async || {
        let (mut files, mut token) = (0, String::new());
        loop {
            let request = LoadProjectRequest {
                project_id: project.to_owned(),
                page_bytes: PAGE_BYTES,
                page_token: token,
                ..LoadProjectRequest::default()
            };
            let page = service.client.clone().load_project(service.request(request)).await?.into_inner();
            files += page.files.len();
            token = page.next_page_token;
            if token.is_empty() {
                ensure!(files == LOADED, "{files} files were loaded");
                return Ok(());
            }
        }
    };
    for _ in 0..LOADS {
        baseline.time(sql::objects(&cluster.database, store, &oids)).await?;
        ours.time(pages()).await?;
    }
    Ok((baseline, ours))
}

/// Compared with the statements that make an empty project.
async fn forks(service: &Service, cluster: &Cluster, project: &str) -> Result<(Samples, Samples)> {
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    let user: Uuid = cluster.person.user_id.parse()?;
    for _ in 0..TIMES {
        baseline.time(seed::project(&cluster.database, user)).await?;
        let request = ForkProjectRequest { project_id: project.to_owned(), ..ForkProjectRequest::default() };
        let fork = async { anyhow::Ok(service.client.clone().fork_project(service.request(request)).await?.into_inner()) };
        ensure!(ours.time(fork).await?.project.is_some(), "no fork was made");
    }
    Ok((baseline, ours))
}

/// Each difference is of two other revisions, so that none is in a cache. Compared with a statement that reads the files of the page.
async fn diffs(service: &Service, cluster: &Cluster, project: &str) -> Result<(Samples, Samples)> {
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    let (store, oids) = blobs(cluster, project, i64::from(2 * PAGE)).await?;
    let change = |number: usize| write(path(number), seed::source());
    let changes = || (0..FILES).step_by(FILES / CHANGES).map(change).collect();
    let mut base = save(service, project, changes()).await?.1;
    for _ in 0..TIMES {
        let (_, revision) = save(service, project, changes()).await?;
        let request = DiffRevisionsRequest {
            project_id: project.to_owned(),
            revision: revision.clone(),
            base_revision: base,
            page_size: PAGE,
            ..DiffRevisionsRequest::default()
        };
        baseline.time(sql::objects(&cluster.database, store, &oids)).await?;
        let diff = async { anyhow::Ok(service.client.clone().diff_revisions(service.request(request)).await?.into_inner()) };
        let diff = ours.time(diff).await?;
        ensure!(diff.files.len() == usize::try_from(PAGE)?, "the page has {} files", diff.files.len());
        base = revision;
    }
    Ok((baseline, ours))
}

/// Restores two revisions in turns. Compared with the statement that writes a revision without files.
async fn restores(service: &Service, cluster: &Cluster, project: &str) -> Result<(Samples, Samples)> {
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    let mut head = seed::project(&cluster.database, cluster.person.user_id.parse()?).await?;
    let mut revisions = Vec::new();
    for _ in 0..2 {
        let changes = (0..FILES).step_by(FILES / CHANGES).map(|number| write(path(number), seed::source())).collect();
        revisions.push(save(service, project, changes).await?.1);
    }
    for time in 0..TIMES {
        let objects = Objects::of(0, 1)?;
        baseline.time(sql::save(&cluster.database, &mut head, &objects)).await?;
        let revision = revisions[time % 2].clone();
        let request = RestoreRevisionRequest { project_id: project.to_owned(), revision, ..RestoreRevisionRequest::default() };
        let restore = async { anyhow::Ok(service.client.clone().restore_revision(service.request(request)).await?.into_inner()) };
        ensure!(ours.time(restore).await?.revision.is_some(), "nothing was restored");
    }
    Ok((baseline, ours))
}
