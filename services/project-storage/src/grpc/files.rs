//! Saving and reading files as messages.

use chassis::{clock::now, context::Context};
use prost::Message as _;
use proto::{error::Violations, project_storage as pb};
use ring::digest::{SHA256, digest};
use tonic::Request;

use super::{decode, encode, text};
use crate::{
    app::App,
    commit::{
        request::SavePolicy,
        save::{self, Save},
    },
    error::Error,
    merge::MergeMode,
    model::revision::Actor,
    read::{
        checkout,
        load::{self, Load, MAX_PAGE_BYTES},
    },
};

pub(super) async fn save(app: &App, request: Request<pb::SaveProjectRequest>) -> Result<pb::SaveProjectResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let mut wire = request.into_inner();
    let mut violations = Violations::default();
    let target = decode::target(&mut violations, &wire.project_id, &wire.draft_id);
    let mode = decode::merge_mode(&mut violations, wire.on_conflict);
    let base = decode::revision(&mut violations, "base_revision", &wire.base_revision);
    text::MESSAGE.check(&mut violations, &wire.message);
    text::REQUEST_ID.check(&mut violations, &wire.request_id);
    if wire.changes.is_empty() {
        violations.add("changes", "must hold 1 to 200 changes");
    }
    // The condition is not part of the fingerprint: the first request has changed the project's ETag, so a repeat may have another one.
    let condition = decode::condition(&mut violations, std::mem::take(&mut wire.if_match));
    let target = decode::checked(violations, target)?;
    if mode == MergeMode::Paths {
        // A repeat may name the default.
        wire.on_conflict = pb::OnConflict::Unspecified.into();
    }
    let request = decode::request_key(wire.request_id.clone(), || digest(&SHA256, &wire.encode_to_vec()).as_ref().to_vec());
    let set = decode::changes(wire.changes, wire.replace).await?;
    let policy = SavePolicy::new(app.limiter.clone(), &context);
    let actor = Actor::Person;
    let save = Save { user, target, created: None, condition, actor, base, set, mode, message: wire.message, request, lease: None };
    let saved = save::save(app.writer(), policy, save, now()).await?;
    Ok(pb::SaveProjectResponse {
        replayed: saved.replayed,
        project: Some(encode::project(&saved.project)),
        revision: saved.revision.as_ref().map(encode::revision),
        files: encode::files(saved.files),
    })
}

pub(super) async fn load(app: &App, request: Request<pb::LoadProjectRequest>) -> Result<pb::LoadProjectResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?.id;
    let wire = request.into_inner();
    let mut violations = Violations::default();
    let target = decode::target(&mut violations, &wire.project_id, &wire.draft_id);
    let mut revision = decode::revision(&mut violations, "revision", &wire.revision);
    let max_bytes = page_bytes(&mut violations, wire.page_bytes);
    let scope = format!("LoadProject/{user}/{}/{}/{}", wire.project_id, wire.draft_id, wire.revision);
    let token = app.page_tokens.open::<(String, String)>(&scope, &wire.page_token)?;
    let target = decode::checked(violations, target)?;
    let after = token.map(|(pinned, path)| {
        revision = pinned.parse().ok();
        path
    });
    let load = Load { user, target, revision, after, max_bytes };
    let page = load::load(&app.objects, &app.load_slots, &context, load).await?;
    let pinned = encode::optional_id(page.revision.as_ref());
    Ok(pb::LoadProjectResponse {
        project: Some(encode::project(&page.project)),
        revision: page.revision.as_ref().map(encode::revision),
        files: page.files.into_iter().map(encode::file).collect(),
        next_page_token: page.next.map(|path| app.page_tokens.seal(&scope, &(pinned, path))).unwrap_or_default(),
    })
}

/// The largest size of a page; 0 asks for all files in one answer.
fn page_bytes(violations: &mut Violations, requested: i32) -> usize {
    match usize::try_from(requested) {
        Ok(0) => usize::MAX,
        Ok(bytes) => bytes.min(MAX_PAGE_BYTES),
        Err(_) => {
            violations.add("page_bytes", format!("must be a whole number from 0; got {requested}"));
            0
        }
    }
}

pub(super) async fn list(app: &App, request: Request<pb::ListFilesRequest>) -> Result<pb::ListFilesResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::ListFilesRequest { project_id, revision } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let revision = decode::revision(&mut violations, "revision", &revision);
    let project = decode::checked(violations, project)?;
    let checkout = checkout::for_user(&app.objects, user.id, project, revision).await?;
    Ok(pb::ListFilesResponse {
        files: checkout.tree.walk().into_iter().map(|entry| encode::entry(entry.path, entry.file)).collect(),
        revision: encode::optional_id(checkout.revision.as_ref()),
    })
}

pub(super) async fn get(app: &App, request: Request<pb::GetFileRequest>) -> Result<pb::GetFileResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::GetFileRequest { project_id, path, revision } = request.into_inner();
    let path = decode::path("path".to_owned(), &path)?;
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let revision = decode::revision(&mut violations, "revision", &revision);
    let project = decode::checked(violations, project)?;
    let file = checkout::file(&app.objects, user.id, project, revision, &path).await?;
    Ok(pb::GetFileResponse { file: Some(encode::file(file)) })
}
