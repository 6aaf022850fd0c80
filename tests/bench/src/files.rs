//! Saves of 1, 10 and 100 files and loads of 100 files through gRPC, compared with the bare SQL on prepared data.

use anyhow::{Context as _, Result, ensure};
use chassis::client::MAX_MESSAGE_BYTES;
use proto::project_storage::{
    FileChange, FileContent, LoadProjectRequest, SaveProjectRequest, file_change, file_content,
    project_storage_service_client::ProjectStorageServiceClient,
};
use sqlx::Row as _;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::{
    ground::{Cluster, Ground, progress},
    sample::Samples,
    seed::{self, Objects},
    sql,
    table::{Goal, Table, Unit},
};

/// Files of a save, how often it is made, and how near it should come to its floor.
const SAVES: [(usize, usize, f64); 3] = [(1, 150, 1.6), (10, 100, 1.5), (100, 40, 1.3)];
const LOADS: usize = 150;
const FILES: usize = 100;

/// project-storage in the hands of the person.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) client: ProjectStorageServiceClient<Channel>,
    token: MetadataValue<Ascii>,
}

impl Service {
    pub(crate) async fn connect(cluster: &Cluster) -> Result<Self> {
        let channel = Endpoint::from_shared(cluster.grpc.project_storage.clone())?.tcp_nodelay(true).connect().await?;
        let client = ProjectStorageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let token = format!("Bearer {}", cluster.person.access_token().await?).parse()?;
        Ok(Self { client, token })
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }

    async fn save(&self, request: SaveProjectRequest) -> Result<String> {
        let mut client = self.client.clone();
        let saved = client.save_project(self.request(request)).await?.into_inner();
        Ok(saved.project.context("a project")?.id)
    }

    async fn load(&self, project: &str) -> Result<()> {
        let request = LoadProjectRequest { project_id: project.to_owned(), ..LoadProjectRequest::default() };
        let loaded = self.client.clone().load_project(self.request(request)).await?.into_inner();
        ensure!(loaded.files.len() == FILES, "{} files came back", loaded.files.len());
        Ok(())
    }
}

pub(crate) async fn measure(_ground: &Ground, cluster: &Cluster, table: &mut Table) -> Result<()> {
    let service = Service::connect(cluster).await?;
    let user: Uuid = cluster.person.user_id.parse()?;
    for (files, times, goal) in SAVES {
        progress(&format!("files: save {files}"));
        let (floor, ours) = saves(&service, cluster, user, (files, times)).await?;
        table.row(format!("save {files}, p50"), Unit::Time, (floor.p50(), ours.p50()), Goal::Times(goal));
        table.row(format!("save {files}, p99"), Unit::Time, (floor.p99(), ours.p99()), Goal::Shown);
    }
    progress("files: load 100");
    let (floor, ours) = loads(&service, cluster, user).await?;
    table.row("load 100, p50", Unit::Time, (floor.p50(), ours.p50()), Goal::Times(1.6));
    table.row("load 100, p99", Unit::Time, (floor.p99(), ours.p99()), Goal::Shown);
    Ok(())
}

/// In turns, each on a project of its own; every save changes every file.
async fn saves(service: &Service, cluster: &Cluster, user: Uuid, (files, times): (usize, usize)) -> Result<(Samples, Samples)> {
    let (mut floor, mut ours) = (Samples::default(), Samples::default());
    let mut head = seed::project(&cluster.database, user).await?;
    let project = service.save(change_set("", files)).await?;
    for time in 0..times {
        let (objects, request) = (Objects::of(files, files)?, change_set(&project, files));
        // Who goes first changes every time.
        if time % 2 == 0 {
            floor.time(sql::save(&cluster.database, &mut head, &objects)).await?;
            ours.time(service.save(request)).await?;
        } else {
            ours.time(service.save(request)).await?;
            floor.time(sql::save(&cluster.database, &mut head, &objects)).await?;
        }
    }
    Ok((floor, ours))
}

async fn loads(service: &Service, cluster: &Cluster, user: Uuid) -> Result<(Samples, Samples)> {
    let (mut floor, mut ours) = (Samples::default(), Samples::default());
    let project = service.save(change_set("", FILES)).await?;
    let id: Uuid = project.parse()?;
    let store: Uuid = sql::find(&cluster.database, id, user).await?.try_get("store_id")?;
    let oids = "SELECT oid FROM objects WHERE store_id = $1 AND tag & 15 = 3";
    let oids: Vec<Vec<u8>> = sqlx::query_scalar(oids).bind(store).fetch_all(&cluster.database).await?;
    let directly = async || {
        sql::find(&cluster.database, id, user).await?;
        let rows = sql::objects(&cluster.database, store, &oids).await?;
        let bytes: usize = rows.iter().map(|row| row.try_get::<&[u8], _>("data").map_or(0, <[u8]>::len)).sum();
        ensure!(rows.len() == FILES && bytes > FILES, "{} files came back", rows.len());
        Ok(())
    };
    for time in 0..LOADS {
        if time % 2 == 0 {
            floor.time(directly()).await?;
            ours.time(service.load(&project)).await?;
        } else {
            ours.time(service.load(&project)).await?;
            floor.time(directly()).await?;
        }
    }
    Ok((floor, ours))
}

/// A change set that writes every file anew, on the newest revision; without a project on a new one.
fn change_set(project: &str, files: usize) -> SaveProjectRequest {
    let change = |number: usize| FileChange {
        path: format!("src/components/file-{number:03}.tsx"),
        action: Some(file_change::Action::Write(FileContent { data: Some(file_content::Data::Text(seed::source())) })),
        etag: String::new(),
    };
    let draft_id = if project.is_empty() { Uuid::new_v4().to_string() } else { String::new() };
    SaveProjectRequest {
        project_id: project.to_owned(),
        draft_id,
        changes: (0..files).map(change).collect(),
        ..SaveProjectRequest::default()
    }
}
