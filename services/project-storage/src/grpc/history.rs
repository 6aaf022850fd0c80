//! Revisions: the list, the differences between two, and restores.

use chassis::{clock::now, context::Context, page};
use proto::{error::Violations, id::TurnId, project_storage as pb};
use tonic::Request;

use super::{decode, encode, text};
use crate::{
    app::App,
    commit::{
        request::{Preconditions, SavePolicy},
        restore::{self, Restore},
    },
    error::Error,
    git::Oid,
    model::{page::Page, revision::RevisionFilter},
    read::{
        diff::{self, Newer, Part, Query},
        filter, history,
    },
};

/// Unchanged lines around a change, if the request does not say how many.
const CONTEXT_LINES: u32 = 3;
const MAX_CONTEXT_LINES: u32 = 100;

pub(super) async fn list(app: &App, request: Request<pb::ListRevisionsRequest>) -> Result<pb::ListRevisionsResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let wire = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &wire.project_id);
    let size = page::size(wire.page_size, &mut violations);
    let wanted = filter(&mut violations, &wire);
    let project = decode::checked(violations, project)?;
    let filter = RevisionFilter { path: decode::optional_path("path", &wire.path)?, ..wanted };
    let (revisions, next_page_token) = if filter.is_empty() {
        let scope = format!("ListRevisions/{}/{project}", user.id);
        let after = app.page_tokens.open::<u32>(&scope, &wire.page_token)?;
        let (revisions, next) = history::list(app.pool(), user.id, project, Page { size, after }).await?;
        (revisions, next.map(|number| app.page_tokens.seal(&scope, &number)))
    } else {
        let scope = format!("ListRevisions/{}/{project}/{filter:?}", user.id);
        let after = app.page_tokens.open::<filter::Key>(&scope, &wire.page_token)?;
        let shared = (&app.load_slots, &context);
        let (revisions, next) = filter::list(&app.objects, shared, (user.id, project), filter, Page { size, after }).await?;
        (revisions, next.map(|key| app.page_tokens.seal(&scope, &key)))
    };
    Ok(pb::ListRevisionsResponse {
        revisions: revisions.into_iter().map(encode::labelled_revision).collect(),
        next_page_token: next_page_token.unwrap_or_default(),
    })
}

/// The filter of a list, without the path.
fn filter(violations: &mut Violations, wire: &pb::ListRevisionsRequest) -> RevisionFilter {
    RevisionFilter {
        path: None,
        user: decode::optional_id(violations, "user_id", &wire.user_id),
        turn: decode::optional_id(violations, "turn_id", &wire.turn_id),
        start: decode::time(violations, "start_time", wire.start_time.as_ref()),
        end: decode::time(violations, "end_time", wire.end_time.as_ref()),
    }
}

pub(super) async fn get(app: &App, request: Request<pb::GetRevisionRequest>) -> Result<pb::GetRevisionResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::GetRevisionRequest { project_id, revision } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let revision = violations.parse::<Oid>("revision", &revision);
    let (project, revision) = decode::checked(violations, project.zip(revision))?;
    let found = history::get(app.pool(), user.id, project, revision).await?;
    Ok(pb::GetRevisionResponse { revision: Some(encode::labelled_revision(found)) })
}

pub(super) async fn diff(app: &App, request: Request<pb::DiffRevisionsRequest>) -> Result<pb::DiffRevisionsResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let wire = request.into_inner();
    let path = decode::optional_path("path", &wire.path)?;
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &wire.project_id);
    let newer = newer(&mut violations, &wire);
    let base = decode::revision(&mut violations, "base_revision", &wire.base_revision);
    let size = page::size(wire.page_size, &mut violations);
    let project = decode::checked(violations, project)?;
    let context_lines = (!wire.names_only).then(|| wire.context_lines.unwrap_or(CONTEXT_LINES).min(MAX_CONTEXT_LINES));
    let asked = [&wire.revision, &wire.base_revision, &wire.turn_id, &wire.path].map(String::as_str).join("/");
    let scope = format!("DiffRevisions/{}/{project}/{asked}/{context_lines:?}", user.id);
    let token = app.page_tokens.open::<(String, String, String)>(&scope, &wire.page_token)?;
    let (mut query, mut after) = (Query { user: user.id, project, newer, base, path, context_lines }, None);
    if let Some((revision, base_revision, path)) = token {
        // A turn always has the same revision, and its commit may be in no log.
        if wire.turn_id.is_empty() {
            query.newer = revision.parse().map_or(Newer::Head, Newer::Revision);
        }
        query.base = base_revision.parse().ok();
        after = Some(path);
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let page = diff::diff(&app.objects, &app.load_slots, &context, query, Part { size, after }).await?;
    let (revision, base_revision) = (encode::optional_id(page.newer.as_ref()), encode::optional_id(page.base.as_ref()));
    Ok(pb::DiffRevisionsResponse {
        next_page_token: page
            .next
            .map(|path| app.page_tokens.seal(&scope, &(revision.clone(), base_revision.clone(), path)))
            .unwrap_or_default(),
        revision,
        base_revision,
        files: page.files.into_iter().map(encode::file_diff).collect(),
        diff_stat: Some(encode::diff_stat(page.stat)),
    })
}

fn newer(violations: &mut Violations, wire: &pb::DiffRevisionsRequest) -> Newer {
    let revision = decode::revision(violations, "revision", &wire.revision);
    if wire.turn_id.is_empty() {
        return revision.map_or(Newer::Head, Newer::Revision);
    }
    if !wire.revision.is_empty() {
        violations.add("turn_id", "must be empty when revision is given");
    }
    violations.parse::<TurnId>("turn_id", &wire.turn_id).map_or(Newer::Head, Newer::Turn)
}

pub(super) async fn restore(app: &App, request: Request<pb::RestoreRevisionRequest>) -> Result<pb::RestoreRevisionResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let mut wire = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &wire.project_id);
    let revision = violations.parse::<Oid>("revision", &wire.revision);
    let base = decode::revision(&mut violations, "base_revision", &wire.base_revision);
    text::MESSAGE.check(&mut violations, &wire.message);
    text::REQUEST_ID.check(&mut violations, &wire.request_id);
    let condition = decode::condition(&mut violations, std::mem::take(&mut wire.if_match));
    let (project, revision) = decode::checked(violations, project.zip(revision))?;
    let request = decode::request_key(wire.request_id.clone(), || decode::fingerprint("RestoreRevision", &wire));
    let policy = SavePolicy::new(app.limiter.clone(), &context);
    let restore = Restore { user, preconditions: Preconditions { project, condition, base }, revision, message: wire.message, request };
    let restored = restore::restore(app.writer(), policy, restore, now()).await?;
    Ok(pb::RestoreRevisionResponse {
        project: Some(encode::project(&restored.checkout.project)),
        revision: restored.checkout.revision.as_ref().map(encode::revision),
        replayed: restored.replayed,
    })
}
