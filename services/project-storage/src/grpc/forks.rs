//! Forks of projects, and merges of one project of a family into another one.

use chassis::{clock::now, context::Context, page};
use proto::{error::Violations, id::ProjectId, project_storage as pb};
use tonic::Request;
use uuid::Uuid;

use super::{decode, encode, reverts::answer, text};
use crate::{
    app::App,
    commit::{
        create::CreateResult,
        fork::{self, Fork},
        merge_project::{self, MergeProject},
        request::{Preconditions, SavePolicy},
    },
    error::Error,
    model::page::Page,
    read::forks,
};

pub(super) async fn fork(app: &App, request: Request<pb::ForkProjectRequest>) -> Result<pb::ForkProjectResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let wire = request.into_inner();
    let mut violations = Violations::default();
    let parent = decode::project_id(&mut violations, &wire.project_id);
    let revision = decode::revision(&mut violations, "revision", &wire.revision);
    let name = wire.display_name.trim();
    text::OPTIONAL_NAME.check(&mut violations, name);
    let draft = if wire.draft_id.is_empty() { None } else { decode::draft(&mut violations, &wire.draft_id) };
    text::REQUEST_ID.check(&mut violations, &wire.request_id);
    let parent = decode::checked(violations, parent)?;
    let request = decode::request_key(wire.request_id.clone(), || decode::fingerprint("ForkProject", &wire));
    let fork = Fork { owner: user, parent, revision, draft, name: name.to_owned(), request };
    let policy = SavePolicy::new(app.limiter.clone(), &context);
    let CreateResult { project, replayed } = fork::fork((app.pool(), app.quotas), policy, fork, now()).await?;
    Ok(pb::ForkProjectResponse { project: Some(encode::project(&project)), replayed })
}

pub(super) async fn merge(app: &App, request: Request<pb::MergeProjectRequest>) -> Result<pb::MergeProjectResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let mut wire = request.into_inner();
    let if_match = std::mem::take(&mut wire.if_match);
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &wire.project_id);
    let source = violations.parse::<ProjectId>("source_project_id", &wire.source_project_id);
    let revision = decode::revision(&mut violations, "source_revision", &wire.source_revision);
    let base = decode::revision(&mut violations, "base_revision", &wire.base_revision);
    text::MESSAGE.check(&mut violations, &wire.message);
    text::REQUEST_ID.check(&mut violations, &wire.request_id);
    let condition = decode::condition(&mut violations, if_match);
    let (project, source) = decode::checked(violations, project.zip(source))?;
    let request = decode::request_key(wire.request_id.clone(), || decode::fingerprint("MergeProject", &wire));
    let preconditions = Preconditions { project, condition, base };
    let merge = MergeProject { user, preconditions, source, revision, message: wire.message, request };
    let policy = SavePolicy::new(app.limiter.clone(), &context);
    answer!(MergeProjectResponse, merge_project::merge(app.writer(), policy, merge, now()).await?)
}

pub(super) async fn list(app: &App, request: Request<pb::ListForksRequest>) -> Result<pb::ListForksResponse, Error> {
    let context = Context::of(&request);
    let (user, only) = (decode::user(&context)?, decode::only(&context)?);
    let pb::ListForksRequest { project_id, page_size, page_token } = request.into_inner();
    let mut violations = Violations::default();
    let parent = decode::project_id(&mut violations, &project_id);
    let size = page::size(page_size, &mut violations);
    let parent = decode::checked(violations, parent)?;
    let scope = format!("ListForks/{}/{parent}", user.id);
    let after = app.page_tokens.open::<Uuid>(&scope, &page_token)?.map(ProjectId);
    let (forks, next) = forks::list(app.pool(), (user.id, only.as_deref()), parent, Page { size, after }).await?;
    Ok(pb::ListForksResponse {
        forks: forks.iter().map(encode::project).collect(),
        next_page_token: next.map(|id| app.page_tokens.seal(&scope, &id.0)).unwrap_or_default(),
    })
}
