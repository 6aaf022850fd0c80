//! Forks of projects.

use chassis::{clock::now, context::Context, page};
use prost::Message as _;
use proto::{error::Violations, id::ProjectId, project_storage as pb};
use ring::digest::{Context as Digest, SHA256};
use tonic::Request;
use uuid::Uuid;

use super::{decode, encode, text};
use crate::{
    app::App,
    commit::{
        create::CreateResult,
        fork::{self, Fork},
    },
    error::Error,
    model::page::Page,
    read::forks,
};

pub(super) async fn fork(app: &App, request: Request<pb::ForkProjectRequest>) -> Result<pb::ForkProjectResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let wire = request.into_inner();
    let encoded = wire.encode_to_vec();
    let mut violations = Violations::default();
    let parent = decode::project_id(&mut violations, &wire.project_id);
    let revision = decode::revision(&mut violations, "revision", &wire.revision);
    let name = wire.display_name.trim();
    text::OPTIONAL_NAME.check(&mut violations, name);
    let draft = if wire.draft_id.is_empty() { None } else { decode::draft(&mut violations, &wire.draft_id) };
    text::REQUEST_ID.check(&mut violations, &wire.request_id);
    let parent = decode::checked(violations, parent)?;
    let request = decode::request_key(wire.request_id.clone(), || fingerprint(&encoded));
    let fork = Fork { owner: user, parent, revision, draft, name: name.to_owned(), request };
    let CreateResult { project, replayed } = fork::fork(app.pool(), app.quotas, fork, now()).await?;
    Ok(pb::ForkProjectResponse { project: Some(encode::project(&project)), replayed })
}

/// The fingerprint of a fork. It differs from that of another request with the same bytes.
fn fingerprint(encoded: &[u8]) -> Vec<u8> {
    let mut digest = Digest::new(&SHA256);
    digest.update(b"ForkProject");
    digest.update(encoded);
    digest.finish().as_ref().to_vec()
}

pub(super) async fn list(app: &App, request: Request<pb::ListForksRequest>) -> Result<pb::ListForksResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::ListForksRequest { project_id, page_size, page_token } = request.into_inner();
    let mut violations = Violations::default();
    let parent = decode::project_id(&mut violations, &project_id);
    let size = page::size(page_size, &mut violations);
    let parent = decode::checked(violations, parent)?;
    let scope = format!("ListForks/{}/{parent}", user.id);
    let after = app.page_tokens.open::<Uuid>(&scope, &page_token)?.map(ProjectId);
    let (forks, next) = forks::list(app.pool(), user.id, parent, Page { size, after }).await?;
    Ok(pb::ListForksResponse {
        forks: forks.iter().map(encode::project).collect(),
        next_page_token: next.map(|id| app.page_tokens.seal(&scope, &id.0)).unwrap_or_default(),
    })
}
