//! Searches.

use chassis::{context::Context, page};
use proto::{
    error::Violations,
    id::{MessageId, ProjectId},
    project_storage as pb,
};
use tonic::Request;
use uuid::Uuid;

use super::{decode, encode, text};
use crate::{
    app::App,
    blocking,
    error::Error,
    git::Oid,
    model::page::Page,
    read::{
        message_search::{self, MessageHit, MessageSearch},
        search::{self, FileHit, Position, Query, SearchPage},
    },
    search::{
        filter::{Globs, InvalidGlob, PathFilter},
        lines::Hit,
        pattern::{Pattern, Syntax},
    },
};

const MAX_CONTEXT_LINES: u32 = 5;

pub(super) async fn files(app: &App, request: Request<pb::SearchFilesRequest>) -> Result<pb::SearchFilesResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let wire = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &wire.project_id);
    let revision = decode::revision(&mut violations, "revision", &wire.revision);
    let size = page::size(wire.page_size, &mut violations);
    let project = decode::checked(violations, project)?;
    let lines = wire.context_lines.min(MAX_CONTEXT_LINES);
    let asked = pb::SearchFilesRequest { page_size: 0, page_token: String::new(), ..wire.clone() };
    let scope = format!("SearchFiles/{}/{asked:?}", user.id);
    let token = app.page_tokens.open::<(String, String, u32)>(&scope, &wire.page_token)?;
    // After the token, whose error is not hidden by that of a query that is missing.
    check_query(&wire.query)?;
    // Large expressions take long to compile.
    let (pattern, filter) = blocking::on_thread(move || compile(&wire)).await?;
    let context_lines = usize::try_from(lines).unwrap_or(0);
    let mut query = Query { user: user.id, project, revision, pattern, filter, context: context_lines };
    let mut after = None;
    if let Some((revision, path, line)) = token {
        query.revision = revision.parse::<Oid>().ok();
        after = Some(Position { path, line });
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let SearchPage { revision, hits, next } = search::search(&app.objects, &app.load_slots, &context, query, (size, after)).await?;
    let revision = encode::optional_id(revision.as_ref());
    Ok(pb::SearchFilesResponse {
        hits: hits.into_iter().map(hit).collect(),
        next_page_token: next.map(|end| app.page_tokens.seal(&scope, &(&revision, end.path, end.line))).unwrap_or_default(),
        revision,
    })
}

fn check_query(query: &str) -> Result<(), Error> {
    let mut violations = Violations::default();
    text::QUERY.check(&mut violations, query);
    decode::checked(violations, Some(()))
}

fn compile(wire: &pb::SearchFilesRequest) -> Result<(Pattern, PathFilter), Error> {
    let syntax = Syntax { is_regex: wire.regex, is_case_sensitive: wire.case_sensitive, is_whole_word: wire.whole_word };
    let pattern =
        Pattern::new(&wire.query, syntax).map_err(|problem| Error::Field { field: "query".to_owned(), problem: problem.to_string() })?;
    Ok((pattern, PathFilter { include: globs("include", &wire.include)?, exclude: globs("exclude", &wire.exclude)? }))
}

fn globs(field: &str, globs: &[String]) -> Result<Globs, Error> {
    Globs::new(globs).map_err(|InvalidGlob { index, problem }| {
        let field = index.map_or_else(|| field.to_owned(), |index| format!("{field}[{index}]"));
        Error::Field { field, problem }
    })
}

fn hit(found: FileHit) -> pb::SearchHit {
    let Hit { line, column, parts, is_cut, before, after } = found.hit;
    let parts = encode::parts(parts);
    pb::SearchHit { path: found.path, etag: found.file.oid.etag(), line, column, parts, cut: is_cut, before, after }
}

pub(super) async fn messages(app: &App, request: Request<pb::SearchMessagesRequest>) -> Result<pb::SearchMessagesResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let pb::SearchMessagesRequest { query, project_id, page_size, page_token } = request.into_inner();
    let mut violations = Violations::default();
    let project = if project_id.is_empty() { None } else { decode::project_id(&mut violations, &project_id) };
    let size = page::size(page_size, &mut violations);
    decode::checked(violations, Some(()))?;
    let scope = format!("SearchMessages/{}/{project_id}/{query:?}", user.id);
    let after = app.page_tokens.open::<(Uuid, Uuid)>(&scope, &page_token)?;
    check_query(&query)?;
    if !query.chars().any(char::is_alphanumeric) {
        return Err(Error::Field { field: "query".to_owned(), problem: "must have a letter or a digit".to_owned() });
    }
    let after = after.map(|(project, message)| (ProjectId(project), MessageId(message)));
    let search = MessageSearch { user: user.id, project, only: decode::only(&context)?, query };
    // A search keeps a connection busy for up to a second.
    let _slot = app.load_slots.take(&context).await?;
    let (hits, next) = message_search::search(app.pool(), &search, Page { size, after }).await?;
    Ok(pb::SearchMessagesResponse {
        hits: hits.into_iter().map(message_hit).collect(),
        next_page_token: next.map(|(project, message)| app.page_tokens.seal(&scope, &(project.0, message.0))).unwrap_or_default(),
    })
}

fn message_hit(hit: MessageHit) -> pb::MessageHit {
    let MessageHit { project, message, parts } = hit;
    pb::MessageHit { project_id: project.to_string(), message: Some(encode::message(message)), parts: encode::parts(parts) }
}
