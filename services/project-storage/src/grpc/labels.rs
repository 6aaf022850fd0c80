//! Labels of revisions.

use chassis::{context::Context, page};
use proto::{error::Violations, project_storage as pb};
use tonic::Request;

use super::{decode, encode, text};
use crate::{app::App, error::Error, labels, model::page::Page};

pub(super) async fn list(app: &App, request: Request<pb::ListLabelsRequest>) -> Result<pb::ListLabelsResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::ListLabelsRequest { project_id, page_size, page_token } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let size = page::size(page_size, &mut violations);
    let project = decode::checked(violations, project)?;
    let scope = format!("ListLabels/{}/{project}", user.id);
    let after = app.page_tokens.open::<String>(&scope, &page_token)?;
    let (labels, next) = labels::list(app.pool(), user.id, project, Page { size, after }).await?;
    Ok(pb::ListLabelsResponse {
        labels: labels.into_iter().map(encode::label).collect(),
        next_page_token: next.map(|name| app.page_tokens.seal(&scope, &name)).unwrap_or_default(),
    })
}

pub(super) async fn set(app: &App, request: Request<pb::SetLabelRequest>) -> Result<pb::SetLabelResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::SetLabelRequest { project_id, label, revision } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let label = label.trim();
    text::LABEL.check(&mut violations, label);
    let revision = violations.parse("revision", &revision);
    let (project, revision) = decode::checked(violations, project.zip(revision))?;
    let label = labels::set(app.pool(), user.id, project, label.to_owned(), revision).await?;
    Ok(pb::SetLabelResponse { label: Some(encode::label(label)) })
}

pub(super) async fn delete(app: &App, request: Request<pb::DeleteLabelRequest>) -> Result<pb::DeleteLabelResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::DeleteLabelRequest { project_id, label } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let label = label.trim();
    text::LABEL.check(&mut violations, label);
    let project = decode::checked(violations, project)?;
    labels::delete(app.pool(), user.id, project, label).await?;
    Ok(pb::DeleteLabelResponse {})
}
