//! Reading and resolving conflicts.

use chassis::{
    clock::{now, timestamp},
    context::Context,
    page,
};
use prost::Message as _;
use proto::{error::Violations, id::ConflictId, project_storage as pb};
use ring::digest::{Context as Digest, SHA256};
use tonic::Request;
use uuid::Uuid;

use super::{decode, encode, text};
use crate::{
    app::App,
    blocking,
    commit::{
        request::SavePolicy,
        resolve::{self, Choice, Resolve, Take},
    },
    error::Error,
    git::FileRef,
    model::{page::Page, project::ListKey},
    read::{
        conflict::{self, ConflictFile, ConflictView},
        merge::Contents,
    },
};

pub(super) async fn list(app: &App, request: Request<pb::ListConflictsRequest>) -> Result<pb::ListConflictsResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::ListConflictsRequest { project_id, page_size, page_token } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let size = page::size(page_size, &mut violations);
    let project = decode::checked(violations, project)?;
    let scope = format!("ListConflicts/{}/{project}", user.id);
    let after: Option<ListKey> = app.page_tokens.open::<(i64, Uuid)>(&scope, &page_token)?.map(|(micros, id)| (micros.into(), id));
    let (conflicts, next) = conflict::list(app.pool(), user.id, project, Page { size, after }).await?;
    let token = |(micros, id): ListKey| app.page_tokens.seal(&scope, &(i64::try_from(micros).unwrap_or(i64::MAX), id));
    Ok(pb::ListConflictsResponse {
        conflicts: conflicts.into_iter().map(encode::conflict).collect(),
        next_page_token: next.map(token).unwrap_or_default(),
    })
}

pub(super) async fn get(app: &App, request: Request<pb::GetConflictRequest>) -> Result<pb::GetConflictResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let pb::GetConflictRequest { project_id, turn_id } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let id = violations.parse::<ConflictId>("turn_id", &turn_id);
    let (project, id) = decode::checked(violations, project.zip(id))?;
    let ConflictView { conflict, files, with_content, contents } =
        conflict::get(&app.objects, (&app.load_slots, &context), user.id, (project, id)).await?;
    Ok(pb::GetConflictResponse {
        base_revision: conflict.open.base.map(|(id, _)| id.to_string()).unwrap_or_default(),
        head_revision: encode::optional_id(conflict.head.as_ref()),
        turn_revision: conflict.open.theirs.id.to_string(),
        expire_time: Some(timestamp(conflict.open.expires_at)),
        kind: encode::conflict_kind(conflict.open.kind).into(),
        user_id: conflict.open.user.to_string(),
        files: files.into_iter().enumerate().map(|(n, found)| file(found, (n < with_content).then_some(&contents))).collect(),
    })
}

fn file(found: ConflictFile, contents: Option<&Contents>) -> pb::ConflictFile {
    let side = |file: Option<FileRef>, old_path: Option<String>| {
        file.map(|file| pb::ConflictSide {
            etag: file.oid.etag(),
            size_bytes: file.size,
            content: contents.and_then(|contents| contents.get(&file.oid)).cloned().map(encode::content),
            old_path: old_path.unwrap_or_default(),
        })
    };
    let ConflictFile { path, base, head, theirs, head_old_path, their_old_path } = found;
    pb::ConflictFile { path, base: side(base, None), head: side(head, head_old_path), turn: side(theirs, their_old_path) }
}

pub(super) async fn resolve(app: &App, request: Request<pb::ResolveConflictRequest>) -> Result<pb::ResolveConflictResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let mut wire = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &wire.project_id);
    let conflict = violations.parse::<ConflictId>("turn_id", &wire.turn_id);
    let condition = decode::condition(&mut violations, std::mem::take(&mut wire.if_match));
    let base = violations.parse("base_revision", &wire.base_revision);
    text::REQUEST_ID.check(&mut violations, &wire.request_id);
    let ((project, conflict), base) = decode::checked(violations, project.zip(conflict).zip(base))?;
    let mut digest = Digest::new(&SHA256);
    digest.update(user.id.0.as_bytes());
    digest.update(&wire.encode_to_vec());
    let key = digest.finish().as_ref().to_vec();
    let request = decode::request_key(wire.request_id, || key.clone());
    let choices = choices(wire.files).await?;
    let policy = SavePolicy::new(app.limiter.clone(), &context);
    let resolve = Resolve { user, project, conflict, condition, base, choices, request, key };
    let resolved = resolve::resolve(app.writer(), policy, resolve, now()).await?;
    Ok(pb::ResolveConflictResponse {
        replayed: resolved.replayed,
        project: Some(encode::project(&resolved.project)),
        revision: resolved.revision.as_ref().map(encode::revision),
        files: encode::files(resolved.files),
    })
}

/// The choices with the ids of their contents.
///
/// # Errors
/// The first invalid choice.
async fn choices(wire: Vec<pb::ResolvedFile>) -> Result<Vec<Choice>, Error> {
    let bytes = wire.iter().filter_map(|file| file.content.as_ref()).map(decode::bytes).sum();
    let decode = move || wire.into_iter().enumerate().map(|(index, file)| choice(index, file)).collect();
    blocking::run(bytes, decode).await
}

fn choice(index: usize, wire: pb::ResolvedFile) -> Result<Choice, Error> {
    let invalid = |name: &str, problem: &str| Error::Field { field: format!("files[{index}].{name}"), problem: problem.to_owned() };
    let path = decode::path(format!("files[{index}].path"), &wire.path)?;
    let take = match (pb::Take::try_from(wire.take), wire.content) {
        (Ok(pb::Take::Content), Some(content)) => Take::Content(decode::content(format!("files[{index}].content"), content)?),
        (Ok(pb::Take::Content), None) => return Err(invalid("content", "is required with TAKE_CONTENT")),
        (Ok(pb::Take::Head | pb::Take::Turn), Some(_)) => return Err(invalid("content", "must be absent without TAKE_CONTENT")),
        (Ok(pb::Take::Head), None) => Take::Head,
        (Ok(pb::Take::Turn), None) => Take::Theirs,
        (Ok(pb::Take::Unspecified) | Err(_), _) => return Err(invalid("take", "must be TAKE_HEAD, TAKE_TURN or TAKE_CONTENT")),
    };
    Ok(Choice { path, take })
}
