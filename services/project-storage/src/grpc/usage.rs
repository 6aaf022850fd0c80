//! What accounts and projects use.

use chassis::context::Context;
use proto::{error::Violations, project_storage as pb};
use tonic::Request;

use super::decode;
use crate::{
    app::App,
    error::Error,
    model::project::{Role, Target},
    read::member,
    store::usage,
};

pub(super) async fn account(app: &App, request: Request<pb::GetUsageRequest>) -> Result<pb::GetUsageResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let used = usage::of_account(app.pool(), user.id).await?;
    Ok(pb::GetUsageResponse {
        projects: used.projects,
        deleted_projects: used.deleted_projects,
        max_projects: app.quotas.projects.of(user.plan),
        stored_bytes: used.stored_bytes,
        max_stored_bytes: app.quotas.bytes.of(user.plan),
    })
}

pub(super) async fn project(app: &App, request: Request<pb::GetProjectUsageRequest>) -> Result<pb::GetProjectUsageResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let mut violations = Violations::default();
    let id = decode::project_id(&mut violations, &request.into_inner().project_id);
    let id = decode::checked(violations, id)?;
    let project = member::find(app.pool(), user.id, &Target::Id(id), Role::Viewer).await?.project;
    let stored_bytes = usage::of_store(app.pool(), project.store, project.owner).await?;
    Ok(pb::GetProjectUsageResponse { stored_bytes, revisions: project.head.map_or(0, |(_, number)| number) })
}
