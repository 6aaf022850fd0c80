//! Projects.

use chassis::{
    clock::{now, timestamp},
    context::Context,
    page,
};
use prost::Message as _;
use proto::{
    error::Violations,
    metadata::{self, EmptyValue},
    project_storage as pb,
};
use ring::digest::{Context as Digest, SHA256};
use tonic::Request;
use uuid::Uuid;

use super::{decode, encode, text};
use crate::{
    app::App,
    commit::create::{self, Create, CreateResult},
    delete,
    error::Error,
    manage,
    model::{
        filter::{ProjectFilter, ProjectUpdate},
        page::Page,
        project::{ListKey, Role, Target},
    },
    read::member,
};

pub(super) async fn create(app: &App, request: Request<pb::CreateProjectRequest>) -> Result<pb::CreateProjectResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let wire = request.into_inner();
    let encoded = wire.encode_to_vec();
    let pb::CreateProjectRequest { display_name, draft_id, request_id, metadata } = wire;
    let mut violations = Violations::default();
    text::OPTIONAL_NAME.check(&mut violations, display_name.trim());
    let draft = if draft_id.is_empty() { None } else { decode::draft(&mut violations, &draft_id) };
    text::REQUEST_ID.check(&mut violations, &request_id);
    metadata::check(&mut violations, "metadata", &metadata, EmptyValue::Refused);
    decode::checked(violations, Some(()))?;
    let request = decode::request_key(request_id, || fingerprint(&encoded));
    let create = Create { owner: user, draft, name: display_name.trim().to_owned(), metadata, request };
    let CreateResult { project, replayed } = create::create(app.pool(), app.quotas, create, now()).await?;
    Ok(pb::CreateProjectResponse { project: Some(encode::project(&project)), replayed })
}

/// The fingerprint of a creation. It differs from that of a save with the same bytes.
fn fingerprint(encoded: &[u8]) -> Vec<u8> {
    let mut digest = Digest::new(&SHA256);
    digest.update(b"CreateProject");
    digest.update(encoded);
    digest.finish().as_ref().to_vec()
}

pub(super) async fn list(app: &App, request: Request<pb::ListProjectsRequest>) -> Result<pb::ListProjectsResponse, Error> {
    let context = Context::of(&request);
    let (user, only) = (decode::user(&context)?, decode::only(&context)?);
    let pb::ListProjectsRequest { page_size, page_token, deleted, query, metadata } = request.into_inner();
    let mut scope = format!("{}/{}", if deleted { "ListProjects/deleted" } else { "ListProjects" }, user.id);
    if !query.is_empty() || !metadata.is_empty() {
        scope.push_str(&format!("/{query:?}/{metadata:?}"));
    }
    let mut violations = Violations::default();
    let size = page::size(page_size, &mut violations);
    text::OPTIONAL_QUERY.check(&mut violations, &query);
    metadata::check(&mut violations, "metadata", &metadata, EmptyValue::Refused);
    decode::checked(violations, Some(()))?;
    let after: Option<ListKey> = app.page_tokens.open::<(i64, Uuid)>(&scope, &page_token)?.map(|(micros, id)| (micros.into(), id));
    let filter = ProjectFilter::new(deleted, &query, metadata).with_only(only.clone());
    let (mut projects, next) = member::list(app.pool(), user.id, &filter, Page { size, after }).await?;
    if let Some(only) = only {
        projects.iter_mut().for_each(|project| project.hide_origin(|origin| only.contains(&origin)));
    }
    let token = |(micros, id): ListKey| app.page_tokens.seal(&scope, &(i64::try_from(micros).unwrap_or(i64::MAX), id));
    Ok(pb::ListProjectsResponse {
        projects: projects.iter().map(encode::project).collect(),
        next_page_token: next.map(token).unwrap_or_default(),
    })
}

pub(super) async fn get(app: &App, request: Request<pb::GetProjectRequest>) -> Result<pb::GetProjectResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let mut violations = Violations::default();
    let id = decode::project_id(&mut violations, &request.into_inner().project_id);
    let id = decode::checked(violations, id)?;
    let member = member::find(app.pool(), user.id, &Target::Id(id), Role::Viewer).await?;
    Ok(pb::GetProjectResponse { project: Some(encode::project(&member.project)) })
}

pub(super) async fn update(app: &App, request: Request<pb::UpdateProjectRequest>) -> Result<pb::UpdateProjectResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::UpdateProjectRequest { project_id, display_name, if_match, metadata } = request.into_inner();
    let mut violations = Violations::default();
    let id = decode::project_id(&mut violations, &project_id);
    let name = Some(display_name.trim()).filter(|_| !display_name.is_empty() || metadata.is_empty());
    if let Some(name) = name {
        text::NAME.check(&mut violations, name);
    }
    metadata::check(&mut violations, "metadata", &metadata, EmptyValue::Allowed);
    let condition = decode::condition(&mut violations, if_match);
    let id = decode::checked(violations, id)?;
    let update = ProjectUpdate { name: name.map(str::to_owned), metadata };
    let project = manage::update(app.pool(), user.id, id, &update, &condition).await?;
    Ok(pb::UpdateProjectResponse { project: Some(encode::project(&project)) })
}

pub(super) async fn delete(app: &App, request: Request<pb::DeleteProjectRequest>) -> Result<pb::DeleteProjectResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::DeleteProjectRequest { project_id, if_match, purge } = request.into_inner();
    let mut violations = Violations::default();
    let id = decode::project_id(&mut violations, &project_id);
    let condition = decode::condition(&mut violations, if_match);
    let id = decode::checked(violations, id)?;
    let purge_time = if purge {
        delete::purge(app.pool(), user.id, id, &condition).await?;
        None
    } else {
        Some(timestamp(delete::delete(app.pool(), user.id, id, &condition).await?))
    };
    app.watch.changes.access_changed(id);
    Ok(pb::DeleteProjectResponse { purge_time })
}

pub(super) async fn undelete(app: &App, request: Request<pb::UndeleteProjectRequest>) -> Result<pb::UndeleteProjectResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let mut violations = Violations::default();
    let id = decode::project_id(&mut violations, &request.into_inner().project_id);
    let id = decode::checked(violations, id)?;
    let project = delete::undelete(app.pool(), user.id, id).await?;
    Ok(pb::UndeleteProjectResponse { project: Some(encode::project(&project)) })
}
