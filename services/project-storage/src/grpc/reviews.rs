//! Reviews and reports of templates, and what operators do with templates.

use chassis::{context::Context, page};
use proto::{error::Violations, project_storage as pb};
use tonic::Request;
use uuid::Uuid;

use super::{decode, encode, templates::template_id, text};
use crate::{app::App, error::Error, model::page::Page, templates};

const MAX_STARS: u32 = 5;

pub(super) async fn list(app: &App, request: Request<pb::ListTemplateReviewsRequest>) -> Result<pb::ListTemplateReviewsResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::ListTemplateReviewsRequest { template_id: id, page_size, page_token } = request.into_inner();
    let mut violations = Violations::default();
    let id = template_id(&mut violations, &id);
    let size = page::size(page_size, &mut violations);
    let id = decode::checked(violations, id)?;
    let scope = format!("ListTemplateReviews/{}/{id}", user.id);
    let after = app.page_tokens.open::<(i64, Uuid)>(&scope, &page_token)?;
    let (reviews, next) = templates::reviews(app.pool(), user.id, id, Page { size, after }).await?;
    Ok(pb::ListTemplateReviewsResponse {
        reviews: reviews.into_iter().map(encode::review).collect(),
        next_page_token: next.map(|key| app.page_tokens.seal(&scope, &key)).unwrap_or_default(),
    })
}

pub(super) async fn rate(app: &App, request: Request<pb::RateTemplateRequest>) -> Result<pb::RateTemplateResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::RateTemplateRequest { template_id: id, stars, text } = request.into_inner();
    let mut violations = Violations::default();
    let id = template_id(&mut violations, &id);
    if !(1..=MAX_STARS).contains(&stars) {
        violations.add("stars", format!("must be 1 to {MAX_STARS}"));
    }
    text::REVIEW.check(&mut violations, &text);
    let id = decode::checked(violations, id)?;
    let review = templates::rate(app.pool(), user.id, id, i16::try_from(stars).unwrap_or(1), &text).await?;
    Ok(pb::RateTemplateResponse { review: Some(encode::review(review)) })
}

pub(super) async fn delete(
    app: &App,
    request: Request<pb::DeleteTemplateReviewRequest>,
) -> Result<pb::DeleteTemplateReviewResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let mut violations = Violations::default();
    let id = template_id(&mut violations, &request.into_inner().template_id);
    let id = decode::checked(violations, id)?;
    templates::delete_review(app.pool(), user.id, id).await?;
    Ok(pb::DeleteTemplateReviewResponse {})
}

pub(super) async fn report(app: &App, request: Request<pb::ReportTemplateRequest>) -> Result<pb::ReportTemplateResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::ReportTemplateRequest { template_id: id, reason } = request.into_inner();
    let mut violations = Violations::default();
    let id = template_id(&mut violations, &id);
    text::REPORT.check(&mut violations, reason.trim());
    let id = decode::checked(violations, id)?;
    templates::report(app.pool(), user.id, id, reason.trim()).await?;
    Ok(pb::ReportTemplateResponse {})
}

pub(super) async fn moderate(app: &App, request: Request<pb::ModerateTemplateRequest>) -> Result<pb::ModerateTemplateResponse, Error> {
    let pb::ModerateTemplateRequest { template_id: id, featured, hidden } = request.into_inner();
    let mut violations = Violations::default();
    let id = template_id(&mut violations, &id);
    let id = decode::checked(violations, id)?;
    let template = templates::moderate(app.pool(), id, featured, hidden).await?;
    Ok(pb::ModerateTemplateResponse { template: Some(encode::template(&template)) })
}

pub(super) async fn reports(app: &App, request: Request<pb::ListTemplateReportsRequest>) -> Result<pb::ListTemplateReportsResponse, Error> {
    let pb::ListTemplateReportsRequest { template_id: id, page_size, page_token } = request.into_inner();
    let mut violations = Violations::default();
    let template = if id.is_empty() { None } else { template_id(&mut violations, &id) };
    let size = page::size(page_size, &mut violations);
    decode::checked(violations, Some(()))?;
    let scope = format!("ListTemplateReports/{template:?}");
    let after = app.page_tokens.open::<(i64, Uuid, Uuid)>(&scope, &page_token)?;
    let (reports, next) = templates::reports(app.pool(), template, Page { size, after }).await?;
    Ok(pb::ListTemplateReportsResponse {
        reports: reports.into_iter().map(encode::report).collect(),
        next_page_token: next.map(|key| app.page_tokens.seal(&scope, &key)).unwrap_or_default(),
    })
}

pub(super) async fn dismiss(
    app: &App,
    request: Request<pb::DismissTemplateReportsRequest>,
) -> Result<pb::DismissTemplateReportsResponse, Error> {
    let pb::DismissTemplateReportsRequest { template_id: id, user_id } = request.into_inner();
    let mut violations = Violations::default();
    let id = template_id(&mut violations, &id);
    let user = if user_id.is_empty() { None } else { violations.parse("user_id", &user_id) };
    let id = decode::checked(violations, id)?;
    let dismissed = templates::dismiss_reports(app.pool(), id, user).await?;
    Ok(pb::DismissTemplateReportsResponse { dismissed: dismissed.try_into().unwrap_or(u32::MAX) })
}
