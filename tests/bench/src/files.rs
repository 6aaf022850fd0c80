//! Saves of 1, 10 and 100 files and loads of 100 files over gRPC, compared with plain SQL on prepared data.

use anyhow::{Context as _, Result, ensure};
use chassis::{
    client::{self, MAX_MESSAGE_BYTES, ServiceChannel},
    identity::Caller,
};
use proto::project_storage::{
    FileChange, FileContent, LoadProjectRequest, SaveProjectRequest, file_change, file_content,
    project_storage_service_client::ProjectStorageServiceClient,
};
use sqlx::Row as _;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
};
use uuid::Uuid;

use crate::{
    environment::{Cluster, Environment, progress},
    sample::Samples,
    seed::{self, Objects},
    sql,
    table::{Goal, Table, Unit},
};

/// The number of files of a save, the number of saves, and the goal for the ratio to the baseline.
const SAVES: [(usize, usize, f64); 3] = [(1, 150, 1.6), (10, 100, 1.5), (100, 40, 1.3)];
const LOADS: usize = 150;
const FILES: usize = 100;

/// A client of project-storage that calls as the gateway does, with the token of the user. Other clients are also counted for the policy
/// `general`, which the gateway does for its own callers.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) client: ProjectStorageServiceClient<ServiceChannel>,
    token: MetadataValue<Ascii>,
}

impl Service {
    pub(crate) async fn connect(cluster: &Cluster) -> Result<Self> {
        let channel = client::connect(Caller::Gateway, Caller::ProjectStorage, &cluster.grpc.project_storage.parse()?, &cluster.secret);
        let client = ProjectStorageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let token = format!("Bearer {}", cluster.person.access_token().await?).parse()?;
        Ok(Self { client, token })
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }

    pub(crate) async fn save(&self, request: SaveProjectRequest) -> Result<String> {
        let mut client = self.client.clone();
        let saved = client.save_project(self.request(request)).await?.into_inner();
        Ok(saved.project.context("a project")?.id)
    }

    async fn load(&self, project: &str) -> Result<()> {
        let request = LoadProjectRequest { project_id: project.to_owned(), ..LoadProjectRequest::default() };
        let loaded = self.client.clone().load_project(self.request(request)).await?.into_inner();
        ensure!(loaded.files.len() == FILES, "{} files were loaded", loaded.files.len());
        Ok(())
    }
}

pub(crate) async fn measure(_environment: &Environment, cluster: &Cluster, table: &mut Table) -> Result<()> {
    let service = Service::connect(cluster).await?;
    let user: Uuid = cluster.person.user_id.parse()?;
    for (files, times, goal) in SAVES {
        progress(&format!("files: save {files}"));
        let (baseline, ours) = saves(&service, cluster, user, (files, times)).await?;
        table.row(format!("save {files}, p50"), Unit::Time, (baseline.p50(), ours.p50()), Goal::Times(goal));
        table.row(format!("save {files}, p99"), Unit::Time, (baseline.p99(), ours.p99()), Goal::Shown);
    }
    progress("files: load 100");
    let (baseline, ours) = loads(&service, cluster, user).await?;
    table.row("load 100, p50", Unit::Time, (baseline.p50(), ours.p50()), Goal::Times(1.6));
    table.row("load 100, p99", Unit::Time, (baseline.p99(), ours.p99()), Goal::Shown);
    Ok(())
}

/// Alternates between the baseline and the service, each on its own project. Every save changes every file.
async fn saves(service: &Service, cluster: &Cluster, user: Uuid, (files, times): (usize, usize)) -> Result<(Samples, Samples)> {
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    let mut head = seed::project(&cluster.database, user).await?;
    let project = service.save(change_set("", files)).await?;
    for time in 0..times {
        let (objects, request) = (Objects::of(files, files)?, change_set(&project, files));
        // The order alternates.
        if time % 2 == 0 {
            baseline.time(sql::save(&cluster.database, &mut head, &objects)).await?;
            ours.time(service.save(request)).await?;
        } else {
            ours.time(service.save(request)).await?;
            baseline.time(sql::save(&cluster.database, &mut head, &objects)).await?;
        }
    }
    Ok((baseline, ours))
}

async fn loads(service: &Service, cluster: &Cluster, user: Uuid) -> Result<(Samples, Samples)> {
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    let project = service.save(change_set("", FILES)).await?;
    let id: Uuid = project.parse()?;
    let store: Uuid = sql::find(&cluster.database, id, user).await?.try_get("store_id")?;
    let oids = "SELECT oid FROM objects WHERE store_id = $1 AND tag & 15 = 3";
    let oids: Vec<Vec<u8>> = sqlx::query_scalar(oids).bind(store).fetch_all(&cluster.database).await?;
    let directly = async || {
        sql::find(&cluster.database, id, user).await?;
        let rows = sql::objects(&cluster.database, store, &oids).await?;
        let bytes: usize = rows.iter().map(|row| row.try_get::<&[u8], _>("data").map_or(0, <[u8]>::len)).sum();
        ensure!(rows.len() == FILES && bytes > FILES, "{} files were loaded", rows.len());
        Ok(())
    };
    for time in 0..LOADS {
        if time % 2 == 0 {
            baseline.time(directly()).await?;
            ours.time(service.load(&project)).await?;
        } else {
            ours.time(service.load(&project)).await?;
            baseline.time(directly()).await?;
        }
    }
    Ok((baseline, ours))
}

/// A change that writes a random source file.
pub(crate) fn write(path: String) -> FileChange {
    let content = FileContent { data: Some(file_content::Data::Text(seed::source())) };
    FileChange { path, action: Some(file_change::Action::Write(content)), etag: String::new() }
}

/// A save that writes every file on the newest revision. An empty `project` means a new project.
fn change_set(project: &str, files: usize) -> SaveProjectRequest {
    let change = |number: usize| write(format!("src/components/file-{number:03}.tsx"));
    let draft_id = if project.is_empty() { Uuid::new_v4().to_string() } else { String::new() };
    SaveProjectRequest {
        project_id: project.to_owned(),
        draft_id,
        changes: (0..files).map(change).collect(),
        ..SaveProjectRequest::default()
    }
}
