//! The import of 2,000 files and the export of 50 MiB over gRPC, compared with the statement that writes the same objects, and with the
//! statement that reads them.

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use futures::stream;
use proto::project_storage::{ExportProjectRequest, ImportArchiveRequest, ImportSettings};
use sqlx::Row as _;
use uuid::Uuid;

use crate::{
    environment::{Cluster, progress},
    files::Service,
    sample::Samples,
    seed::{self, Objects},
    sql,
    table::{Goal, Table, Unit},
};

const TIMES: usize = 5;
const FILES: usize = 2000;
/// The parts of 4 KiB of a file of the export: 2,000 files have 50 MiB together.
const PARTS: usize = 6;
const MESSAGE_BYTES: usize = 256 * 1024;

impl Service {
    pub(crate) async fn import(&self, archive: &[u8]) -> Result<String> {
        let first = ImportArchiveRequest { settings: Some(ImportSettings::default()), ..Default::default() };
        let parts: Vec<_> = archive.chunks(MESSAGE_BYTES).map(|part| part.to_vec()).collect();
        let parts = parts.into_iter().map(|data| ImportArchiveRequest { data: data.into(), ..Default::default() });
        let messages = stream::iter(std::iter::once(first).chain(parts));
        let mut answers = self.client.clone().import_archive(self.request(messages)).await?.into_inner();
        let mut result = None;
        while let Some(answer) = answers.message().await? {
            result = answer.result;
        }
        Ok(result.and_then(|result| result.project).context("a project")?.id)
    }

    async fn export(&self, project: &str) -> Result<()> {
        let request = ExportProjectRequest { project_id: project.to_owned(), ..Default::default() };
        let mut parts = self.client.clone().export_project(self.request(request)).await?.into_inner();
        let mut bytes = 0;
        while let Some(part) = parts.message().await? {
            bytes += part.data.len();
        }
        ensure!(bytes > FILES, "the archive has {bytes} bytes");
        Ok(())
    }
}

pub(crate) async fn measure(cluster: &Cluster, table: &mut Table) -> Result<()> {
    let service = &Service::connect(cluster).await?;
    let user: Uuid = cluster.person.user_id.parse()?;
    progress("files: import 2,000");
    let (baseline, ours) = imports(service, cluster, user).await?;
    table.row("import 2,000 files, p50", Unit::Time, (baseline.p50(), ours.p50()), Goal::Shown);
    progress("files: export 50 MiB");
    let (baseline, ours) = exports(service, cluster, user).await?;
    table.row("export 50 MiB, p50", Unit::Time, (baseline.p50(), ours.p50()), Goal::Shown);
    Ok(())
}

async fn imports(service: &Service, cluster: &Cluster, user: Uuid) -> Result<(Samples, Samples)> {
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    for _ in 0..TIMES {
        let (mut head, objects) = (seed::project(&cluster.database, user).await?, Objects::of(FILES, FILES)?);
        let archive = archive(FILES, 1)?;
        baseline.time(sql::save(&cluster.database, &mut head, &objects)).await?;
        ours.time(service.import(&archive)).await?;
    }
    Ok((baseline, ours))
}

async fn exports(service: &Service, cluster: &Cluster, user: Uuid) -> Result<(Samples, Samples)> {
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    let project = service.import(&archive(FILES, PARTS)?).await?;
    let store: Uuid = sql::find(&cluster.database, project.parse()?, user).await?.try_get("store_id")?;
    let oids = "SELECT oid FROM objects WHERE store_id = $1 AND tag & 15 = 3";
    let oids: Vec<Vec<u8>> = sqlx::query_scalar(oids).bind(store).fetch_all(&cluster.database).await?;
    for _ in 0..TIMES {
        baseline.time(sql::objects(&cluster.database, store, &oids)).await?;
        ours.time(service.export(&project)).await?;
    }
    Ok((baseline, ours))
}

/// The path of a file of an archive.
pub(crate) fn path(number: usize) -> String {
    format!("part-{}/file-{number:04}.tsx", number % 50)
}

/// A tar.gz file of source files, each with so many parts of 4 KiB.
pub(crate) fn archive(files: usize, parts: usize) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for number in 0..files {
        let content: String = (0..parts).map(|_| seed::source()).collect();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path(number), content.as_bytes())?;
    }
    Ok(builder.into_inner()?.finish()?)
}
