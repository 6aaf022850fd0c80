//! Published sites.

use std::{pin::Pin, sync::Arc};

use chassis::{
    clock::{now, timestamp},
    context::Context,
    error::status,
    page,
    server::stream_fault,
    task::spawn,
};
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use prost::bytes::Bytes;
use proto::{error::Violations, project_storage as pb};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Status, Streaming};

use super::{archives, blobs, decode, restriction, text};
use crate::{
    app::App,
    commit::{
        deploy::{self, Conversation, Deploy, Deployed, NewContent, NewFile, Part, Parts, Source},
        request::SavePolicy,
    },
    error::{Error, SERVICE, SiteError},
    git::Oid,
    model::{
        page::Page,
        publication::{Finding, MAX_FINDINGS, Publication},
        site::{BadSlug, BasePath, Deployment, Site, Slug},
    },
    sites::{self, Answer, FileRequest, SiteFile},
};

/// The messages of a publication.
pub(super) type PublishStream = Pin<Box<dyn Stream<Item = Result<pb::PublishSiteResponse, Status>> + Send>>;
/// The messages of an export.
pub(super) type ExportStream = Pin<Box<dyn Stream<Item = Result<pb::ExportDeploymentResponse, Status>> + Send>>;
/// The messages of a download.
pub(super) type DownloadStream = Pin<Box<dyn Stream<Item = Result<pb::DownloadSiteFileResponse, Status>> + Send>>;

pub(super) async fn publish(app: &Arc<App>, request: Request<Streaming<pb::PublishSiteRequest>>) -> Result<PublishStream, Error> {
    let context = Context::of(&request);
    let mut messages = request.into_inner();
    let first = messages.message().await.map_err(stream_error)?.unwrap_or_default();
    let settings = first.settings.unwrap_or_default();
    restriction::of_stream(&context, &settings.project_id)?;
    let deploy = decode_settings(&context, settings)?;
    let parts: Parts = messages.map(|message| message.map_err(stream_error).and_then(decode_part)).boxed();
    let (sender, source) = oneshot::channel();
    let app = Arc::clone(app);
    // In a task of its own: if the client does not read the answers, the work must not wait with a connection to the database.
    let work = AbortOnDropHandle::new(spawn(async move {
        let policy = SavePolicy::new(app.limiter.clone(), &context);
        let conversation = Conversation { source: sender, parts, slots: &app.upload_slots };
        deploy::deploy(app.writer(), policy, deploy, conversation, now()).await
    }));
    let end = work.map(|result| match result {
        Ok(result) => result.map(deployed_answer).map_err(status),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Status::unavailable("the process stops")),
        },
    });
    // Without a source the request is refused or repeated: the end follows.
    Ok(match source.await {
        Ok(source) => stream::once(async move { Ok(source_answer(source)) }).chain(stream::once(end)).boxed(),
        Err(_) => stream::once(end).boxed(),
    })
}

fn stream_error(status: Status) -> Error {
    Error::Fault(stream_fault(SERVICE, &status))
}

fn decode_settings(context: &Context, wire: pb::SiteSettings) -> Result<Deploy, Error> {
    let user = decode::user(context)?;
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &wire.project_id);
    let revision = decode::revision(&mut violations, "revision", &wire.revision);
    text::REQUEST_ID.check(&mut violations, &wire.request_id);
    let base_path = BasePath::parse(&wire.base_path);
    if base_path.is_none() {
        violations.add(
            "base_path",
            "must begin and end with `/`, and have at most 256 of the characters A-Z, a-z, 0-9, `/`, `-`, `_`, `.`, `~` and `@`",
        );
    }
    let slug = match wire.slug.as_str() {
        "" => Ok(None),
        text => Slug::parse(text).map(Some),
    };
    if slug == Err(BadSlug::Malformed) {
        violations.add(
            "slug",
            "must have 3 to 63 of the characters a-z, 0-9 and `-`, with a letter or digit at both ends, and no `--` after two characters",
        );
    }
    let (project, base_path) = decode::checked(violations, project.zip(base_path))?;
    let slug = slug.map_err(|_| SiteError::SlugReserved { slug: wire.slug.clone() })?;
    let request = decode::request_key(wire.request_id.clone(), || decode::fingerprint("PublishSite", &wire));
    Ok(Deploy { user, project, revision, slug, base_path, request })
}

fn decode_part(wire: pb::PublishSiteRequest) -> Result<Part, Error> {
    if wire.complete {
        if wire.findings.len() > MAX_FINDINGS {
            let problem = format!("must have at most {MAX_FINDINGS} findings");
            return Err(Error::Field { field: "findings".to_owned(), problem });
        }
        return Ok(Part::Complete(wire.findings.into_iter().map(decode_finding).collect()));
    }
    let Some(file) = wire.file else { return Ok(Part::Data(wire.data)) };
    let path = decode::path("file.path".to_owned(), &file.path)?;
    let content = if file.source_path.is_empty() { NewContent::Bytes(file.size_bytes) } else { NewContent::Source(file.source_path) };
    Ok(Part::File(NewFile { path, content, hashed: file.hashed }))
}

fn source_answer(source: Source) -> pb::PublishSiteResponse {
    let Source { revision, tree, is_compiled } = source;
    let source = pb::SiteSource { revision: revision.to_string(), tree_id: tree.to_string(), compiled: is_compiled };
    pb::PublishSiteResponse { source: Some(source), ..Default::default() }
}

fn deployed_answer(Deployed { publication, replayed }: Deployed) -> pb::PublishSiteResponse {
    let Publication { site, deployment, findings } = publication;
    pb::PublishSiteResponse {
        source: None,
        site: Some(encode_site(&site)),
        deployment: Some(encode_deployment(&deployment, site.active)),
        replayed,
        findings: findings.into_iter().map(encode_finding).collect(),
    }
}

fn decode_finding(wire: pb::SiteFinding) -> Finding {
    let pb::SiteFinding { code, file, line, column, message, frame, help, is_warning } = wire;
    Finding { code, file, line, column, message, frame, help, is_warning }
}

fn encode_finding(finding: Finding) -> pb::SiteFinding {
    let Finding { code, file, line, column, message, frame, help, is_warning } = finding;
    pb::SiteFinding { code, file, line, column, message, frame, help, is_warning }
}

fn encode_site(site: &Site) -> pb::Site {
    pb::Site {
        project_id: site.project.to_string(),
        slug: site.slug.clone(),
        // The gateway adds it, because only it knows where sites are served.
        url: String::new(),
        active_deployment: site.active,
        create_time: Some(timestamp(site.created_at)),
        update_time: Some(timestamp(site.updated_at)),
    }
}

fn encode_deployment(deployment: &Deployment, active: u32) -> pb::Deployment {
    pb::Deployment {
        number: deployment.number,
        revision: deployment.revision.to_string(),
        active: deployment.number == active,
        file_count: deployment.files,
        size_bytes: deployment.bytes,
        base_path: deployment.base_path.clone(),
        user_id: deployment.user.to_string(),
        create_time: Some(timestamp(deployment.created_at)),
    }
}

pub(super) async fn get(app: &App, request: Request<pb::GetSiteRequest>) -> Result<pb::GetSiteResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &request.into_inner().project_id);
    let project = decode::checked(violations, project)?;
    Ok(pb::GetSiteResponse { site: Some(encode_site(&sites::get(app.pool(), user.id, project).await?)) })
}

pub(super) async fn unpublish(app: &App, request: Request<pb::UnpublishSiteRequest>) -> Result<pb::UnpublishSiteResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &request.into_inner().project_id);
    let project = decode::checked(violations, project)?;
    sites::unpublish(app.pool(), user.id, project).await?;
    Ok(pb::UnpublishSiteResponse {})
}

pub(super) async fn list(app: &App, request: Request<pb::ListDeploymentsRequest>) -> Result<pb::ListDeploymentsResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::ListDeploymentsRequest { project_id, page_size, page_token } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let size = page::size(page_size, &mut violations);
    let project = decode::checked(violations, project)?;
    let scope = format!("ListDeployments/{}/{project}", user.id);
    let after = app.page_tokens.open::<u32>(&scope, &page_token)?;
    let (deployments, active, next) = sites::list(app.pool(), user.id, project, Page { size, after }).await?;
    Ok(pb::ListDeploymentsResponse {
        deployments: deployments.iter().map(|deployment| encode_deployment(deployment, active)).collect(),
        next_page_token: next.map(|number| app.page_tokens.seal(&scope, &number)).unwrap_or_default(),
    })
}

/// The number of a deployment.
fn deployment_number(violations: &mut Violations, number: u32) -> Option<u32> {
    if number == 0 {
        violations.add("number", "must be the number of a deployment, from 1");
    }
    (number > 0).then_some(number)
}

pub(super) async fn activate(app: &App, request: Request<pb::ActivateDeploymentRequest>) -> Result<pb::ActivateDeploymentResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::ActivateDeploymentRequest { project_id, number } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let number = deployment_number(&mut violations, number);
    let (project, number) = decode::checked(violations, project.zip(number))?;
    let site = sites::activate(app.pool(), user.id, project, number, now()).await?;
    Ok(pb::ActivateDeploymentResponse { site: Some(encode_site(&site)) })
}

pub(super) async fn export(app: &Arc<App>, request: Request<pb::ExportDeploymentRequest>) -> Result<ExportStream, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?.id;
    let pb::ExportDeploymentRequest { project_id, number, format } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let number = deployment_number(&mut violations, number);
    let format = archives::decode_format(&mut violations, &format);
    let ((project, number), format) = decode::checked(violations, project.zip(number).zip(format))?;
    let slots = (&app.export_slots, &app.load_slots);
    let export = sites::export(&app.objects, slots, &context, (user, project, number), format).await?;
    let parts = archives::stream_of(app, (user, project), context, (format, export));
    Ok(Box::pin(parts.map_ok(|pb::ExportProjectResponse { archive, data }| pb::ExportDeploymentResponse { archive, data })))
}

pub(super) async fn read(app: &App, request: Request<pb::ReadSiteFileRequest>) -> Result<pb::ReadSiteFileResponse, Error> {
    let pb::ReadSiteFileRequest { slug, path, if_none_match, page } = request.into_inner();
    let request = FileRequest { slug: &slug, path: &path, if_none_match: &if_none_match, page };
    Ok(match sites::read(&app.objects, request).await? {
        Answer::Redirect(path) => pb::ReadSiteFileResponse { redirect_path: path, ..Default::default() },
        Answer::File(file) => encode_file(file),
    })
}

fn encode_file(file: SiteFile) -> pb::ReadSiteFileResponse {
    pb::ReadSiteFileResponse {
        path: file.path,
        not_modified: file.is_not_modified,
        content: file.content.unwrap_or_default(),
        content_type: file.content_type,
        etag: Oid::etag(&file.file.oid),
        size_bytes: u64::from(file.file.size),
        hashed: file.is_hashed,
        not_found: file.is_not_found,
        redirect_path: String::new(),
        deployment: file.deployment,
    }
}

pub(super) async fn download(app: &Arc<App>, request: Request<pb::DownloadSiteFileRequest>) -> Result<DownloadStream, Error> {
    let context = Context::of(&request);
    let pb::DownloadSiteFileRequest { slug, deployment, path, offset, length } = request.into_inner();
    let path = decode::path("path".to_owned(), &path)?;
    let reader = sites::open(&app.objects, (&slug, deployment, &path), (offset, length)).await?;
    // As with previews: a stream holds no slot while it waits for its reader.
    let parts = blobs::parts(Arc::clone(app), reader, Some(context), |_, error| async move { status(error) });
    Ok(Box::pin(parts.map_ok(|data: Bytes| pb::DownloadSiteFileResponse { data })))
}
