//! The history and the blame of one file.

use chassis::{context::Context, page};
use proto::{error::Violations, project_storage as pb};
use tonic::Request;

use super::{decode, encode};
use crate::{
    app::App,
    error::Error,
    git::Oid,
    model::page::Page,
    read::{
        blame::{self, Blame},
        file_history::{self, Cursor},
    },
};

pub(super) async fn list(app: &App, request: Request<pb::ListFileRevisionsRequest>) -> Result<pb::ListFileRevisionsResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let wire = request.into_inner();
    let path = decode::path("path".to_owned(), &wire.path)?;
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &wire.project_id);
    let revision = decode::revision(&mut violations, "revision", &wire.revision);
    let size = page::size(wire.page_size, &mut violations);
    let project = decode::checked(violations, project)?;
    let scope = format!("ListFileRevisions/{}/{project}/{}/{path}", user.id, wire.revision);
    let after = app.page_tokens.open::<Cursor>(&scope, &wire.page_token)?;
    let query = file_history::Query { user: user.id, project, path, revision };
    let (found, next) = file_history::list(&app.objects, (&app.load_slots, &context), query, Page { size, after }).await?;
    Ok(pb::ListFileRevisionsResponse {
        file_revisions: found.into_iter().map(encode::file_revision).collect(),
        next_page_token: next.map(|cursor| app.page_tokens.seal(&scope, &cursor)).unwrap_or_default(),
    })
}

pub(super) async fn blame(app: &App, request: Request<pb::BlameFileRequest>) -> Result<pb::BlameFileResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let wire = request.into_inner();
    let path = decode::path("path".to_owned(), &wire.path)?;
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &wire.project_id);
    let revision = decode::revision(&mut violations, "revision", &wire.revision);
    if wire.end_line > 0 && wire.end_line < wire.start_line {
        violations.add("end_line", "must not be less than start_line");
    }
    let project = decode::checked(violations, project)?;
    let lines = [wire.start_line, wire.end_line];
    let scope = format!("BlameFile/{}/{project}/{}/{lines:?}/{path}", user.id, wire.revision);
    let token = app.page_tokens.open::<(String, u32)>(&scope, &wire.page_token)?;
    let end = if wire.end_line == 0 { u32::MAX } else { wire.end_line };
    let mut query = blame::Query { user: user.id, project, path, revision, start: wire.start_line, end };
    if let Some((revision, line)) = token {
        query.revision = revision.parse::<Oid>().ok();
        query.start = line.saturating_add(1);
    }
    let blamed = blame::blame(&app.objects, (&app.load_slots, &context), query).await?;
    let Blame { revision, file, total_lines, ranges, next } = blamed;
    let revision = revision.id.to_string();
    Ok(pb::BlameFileResponse {
        next_page_token: next.map(|line| app.page_tokens.seal(&scope, &(&revision, line))).unwrap_or_default(),
        revision,
        etag: file.oid.etag(),
        total_lines,
        ranges: ranges.ranges.into_iter().map(encode::blame_range).collect(),
        revisions: ranges.revisions.iter().map(encode::blamed_revision).collect(),
    })
}
