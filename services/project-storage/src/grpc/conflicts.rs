//! Conflicted turns.

use chassis::{clock::timestamp, context::Context};
use prost::Message as _;
use proto::{
    error::Violations,
    id::{ProjectId, TurnId},
    project_storage as pb,
};
use ring::digest::{Context as Digest, SHA256};
use tonic::Request;

use super::{decode, encode};
use crate::{
    app::App,
    commit::{
        request::RequestKey,
        resolve::{self, Choice, Resolve, Take},
    },
    error::Error,
    git::FileRef,
    model::revision::Revision,
    read::{
        conflict::{self, ConflictFile},
        merge::Contents,
        tree::{HEAVY_BYTES, off_thread},
    },
};

pub(super) async fn get(app: &App, request: Request<pb::GetConflictRequest>) -> Result<pb::GetConflictResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::GetConflictRequest { project_id, turn_id } = request.into_inner();
    let mut violations = Violations::default();
    let project = violations.parse::<ProjectId>("project_id", &project_id);
    let turn = violations.parse::<TurnId>("turn_id", &turn_id);
    let (project, turn) = decode::checked(violations, project.zip(turn))?;
    let looked = conflict::get(app, user.id, project, turn).await?;
    let id = |revision: Option<Revision>| revision.map(|revision| revision.id.to_string()).unwrap_or_default();
    Ok(pb::GetConflictResponse {
        base_revision: id(looked.conflict.base),
        head_revision: id(looked.conflict.head),
        turn_revision: looked.conflict.turn_revision.id.to_string(),
        expire_time: Some(timestamp(looked.conflict.expires_at)),
        files: looked.files.into_iter().enumerate().map(|(n, sides)| file(sides, (n < looked.shown).then_some(&looked.contents))).collect(),
    })
}

fn file(sides: ConflictFile, contents: Option<&Contents>) -> pb::ConflictFile {
    let side = |file: FileRef| pb::ConflictSide {
        etag: file.oid.etag(),
        size_bytes: file.size,
        content: contents.and_then(|contents| contents.get(&file.oid)).cloned().map(encode::content),
    };
    let ConflictFile { path, base, head, turn } = sides;
    pb::ConflictFile { path, base: base.map(side), head: head.map(side), turn: turn.map(side) }
}

pub(super) async fn resolve(app: &App, request: Request<pb::ResolveConflictRequest>) -> Result<pb::ResolveConflictResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let mut wire = request.into_inner();
    let mut violations = Violations::default();
    let project = violations.parse::<ProjectId>("project_id", &wire.project_id);
    let turn = violations.parse::<TurnId>("turn_id", &wire.turn_id);
    let condition = decode::condition(&mut violations, std::mem::take(&mut wire.if_match));
    let base = violations.parse("base_revision", &wire.base_revision);
    decode::request_id(&mut violations, &wire.request_id);
    let ((project, turn), base) = decode::checked(violations, project.zip(turn).zip(base))?;
    let mut digest = Digest::new(&SHA256);
    digest.update(user.id.0.as_bytes());
    digest.update(&wire.encode_to_vec());
    let key = digest.finish().as_ref().to_vec();
    let request = (!wire.request_id.is_empty()).then(|| RequestKey { id: wire.request_id, fingerprint: key.clone() });
    let choices = choices(wire.files).await?;
    let resolved = resolve::resolve(app, &context, Resolve { user, project, turn, condition, base, choices, request, key }).await?;
    Ok(pb::ResolveConflictResponse {
        replayed: resolved.replayed,
        project: Some(encode::project(&resolved.project)),
        revision: resolved.revision.as_ref().map(encode::revision),
        files: resolved.files.into_iter().map(|(path, file)| encode::entry(path, Some(file))).collect(),
    })
}

/// What becomes of each path, hashed. The first that is amiss is the answer.
async fn choices(wire: Vec<pb::ResolvedFile>) -> Result<Vec<Choice>, Error> {
    let heavy = wire.iter().filter_map(|file| file.content.as_ref()).map(decode::bytes).sum::<usize>() > HEAVY_BYTES;
    let decode = move || wire.into_iter().enumerate().map(|(index, file)| choice(index, file)).collect();
    off_thread(heavy, decode).await
}

fn choice(index: usize, wire: pb::ResolvedFile) -> Result<Choice, Error> {
    let refused = |name: &str, problem: &str| Error::Field { field: format!("files[{index}].{name}"), problem: problem.to_owned() };
    let path = decode::path(format!("files[{index}].path"), &wire.path)?;
    let take = match (pb::Take::try_from(wire.take), wire.content) {
        (Ok(pb::Take::Content), Some(content)) => Take::Content(decode::content(format!("files[{index}].content"), content)?),
        (Ok(pb::Take::Content), None) => return Err(refused("content", "is required with TAKE_CONTENT")),
        (Ok(pb::Take::Head | pb::Take::Turn), Some(_)) => return Err(refused("content", "must be absent without TAKE_CONTENT")),
        (Ok(pb::Take::Head), None) => Take::Head,
        (Ok(pb::Take::Turn), None) => Take::Turn,
        (Ok(pb::Take::Unspecified) | Err(_), _) => return Err(refused("take", "must be TAKE_HEAD, TAKE_TURN or TAKE_CONTENT")),
    };
    Ok(Choice { path, take })
}
