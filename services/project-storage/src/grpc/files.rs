//! Saving and reading files.

use std::time::{Duration, Instant};

use chassis::{
    context::Context,
    share::{Exhausted, Holder, Share},
};
use prost::Message as _;
use proto::{error::Violations, id::ProjectId, project_storage as pb};
use ring::digest::{SHA256, digest};
use tonic::Request;

use super::{decode, encode};
use crate::{
    app::App,
    commit::{
        request::RequestKey,
        save::{self, Save},
    },
    error::{Error, SERVICE},
    git::{FileRef, Folder},
    merge::MergeMode,
    model::{
        limits::SUMMARY_CHARACTERS,
        project::{Member, Role, Target},
        revision::Revision,
    },
    read::{history, load, member, tree},
};

/// Of a caller that set no deadline.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

pub(super) async fn save(app: &App, request: Request<pb::SaveProjectRequest>) -> Result<pb::SaveProjectResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let mut wire = request.into_inner();
    let mut violations = Violations::default();
    let target = decode::target(&mut violations, &wire.project_id, &wire.draft_id);
    let mode = decode::merge_mode(&mut violations, wire.on_conflict);
    let base = decode::revision(&mut violations, "base_revision", &wire.base_revision);
    decode::line(&mut violations, "message", &wire.message, 0..=SUMMARY_CHARACTERS);
    decode::request_id(&mut violations, &wire.request_id);
    if wire.changes.is_empty() {
        violations.add("changes", "must hold 1 to 200 changes");
    }
    // What a repeat asks for is the same; the project has changed by the first one.
    let condition = decode::condition(&mut violations, std::mem::take(&mut wire.if_match));
    let target = decode::checked(violations, target)?;
    if mode == MergeMode::Paths {
        // The default is the same request, said or not.
        wire.on_conflict = pb::OnConflict::Unspecified.into();
    }
    let fingerprint = || digest(&SHA256, &wire.encode_to_vec()).as_ref().to_vec();
    let request = (!wire.request_id.is_empty()).then(|| RequestKey { fingerprint: fingerprint(), id: wire.request_id.clone() });
    let set = decode::changes(wire.changes, wire.replace).await?;
    let saved = save::save(app, &context, Save { user, target, condition, base, set, mode, message: wire.message, request }).await?;
    Ok(pb::SaveProjectResponse {
        replayed: saved.replayed,
        project: Some(encode::project(&saved.project)),
        revision: saved.revision.as_ref().map(encode::revision),
        files: saved.files.into_iter().map(|(path, file)| encode::entry(path, Some(file))).collect(),
    })
}

pub(super) async fn load(app: &App, request: Request<pb::LoadProjectRequest>) -> Result<pb::LoadProjectResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let wire = request.into_inner();
    let mut violations = Violations::default();
    let target = decode::target(&mut violations, &wire.project_id, &wire.draft_id);
    let mut id = decode::revision(&mut violations, "revision", &wire.revision);
    let bytes = page_bytes(&mut violations, wire.page_bytes);
    let scope = format!("LoadProject/{}/{}/{}/{}", user.id, wire.project_id, wire.draft_id, wire.revision);
    let begun = app.pages.open::<(String, String)>(&scope, &wire.page_token)?;
    let target = decode::checked(violations, target)?;
    if let Some((revision, _)) = &begun {
        id = decode::revision(&mut Violations::default(), "page_token", revision);
    }
    let member = member::find(&app.pool, user.id, &target, Role::Viewer).await?;
    let revision = history::resolve(&app.pool, &member, id).await?;
    let _permit = permit(app, &context).await?;
    let tree = tree::at_revision(app, member.project.store, revision.as_ref()).await?;
    let page = load::page(tree.walk_files(), begun.as_ref().map(|(_, path)| path.as_str()), bytes);
    let of = revision.as_ref().map(|revision| revision.id.to_string()).unwrap_or_default();
    Ok(pb::LoadProjectResponse {
        project: Some(encode::project(&member.project)),
        revision: revision.as_ref().map(encode::revision),
        files: with_content(app, &member, page.files).await?,
        next_page_token: page.next.map(|path| app.pages.seal(&scope, &(of, path))).unwrap_or_default(),
    })
}

/// Waits until the caller may read a page: megabytes are read and decoded, and somebody who asks for many at once would take the
/// processor from everybody else.
async fn permit(app: &App, context: &Context) -> Result<Share, Error> {
    let refused = |exhausted: Exhausted| Error::Fault(exhausted.fault(SERVICE, "pages in work"));
    let person = context.user.as_ref().map(|user| user.id);
    let holder = Holder { connection: None, address: context.client_address, person };
    let until = context.deadline.unwrap_or_else(|| Instant::now() + LONGEST_WAIT);
    let mut share = app.loads.try_take(&holder, 0).map_err(refused)?;
    share.grow(1, until.into()).await.map_err(refused)?;
    Ok(share)
}

/// How large a page may be.
fn page_bytes(violations: &mut Violations, wanted: i32) -> usize {
    match usize::try_from(wanted) {
        Ok(0) => usize::MAX,
        Ok(bytes) => bytes.min(load::LARGEST_PAGE),
        Err(_) => {
            violations.add("page_bytes", format!("must be a whole number from 0; got {wanted}"));
            0
        }
    }
}

/// Files with their contents, in the order given.
pub(super) async fn with_content(app: &App, member: &Member, files: Vec<(String, FileRef)>) -> Result<Vec<pb::File>, Error> {
    let refs: Vec<FileRef> = files.iter().map(|(_, file)| *file).collect();
    let contents = tree::contents(app, member.project.store, &refs).await?;
    let file = |(path, file): (String, FileRef)| Some(encode::file(path, file, contents.get(&file.oid)?.clone()));
    Ok(files.into_iter().filter_map(file).collect())
}

pub(super) async fn list(app: &App, request: Request<pb::ListFilesRequest>) -> Result<pb::ListFilesResponse, Error> {
    let context = Context::of(&request);
    let pb::ListFilesRequest { project_id, revision } = request.into_inner();
    let (_, revision, tree) = open(app, &context, &project_id, &revision).await?;
    Ok(pb::ListFilesResponse {
        files: tree.walk().into_iter().map(|line| encode::entry(line.path, line.file)).collect(),
        revision: revision.map(|revision| revision.id.to_string()).unwrap_or_default(),
    })
}

pub(super) async fn get(app: &App, request: Request<pb::GetFileRequest>) -> Result<pb::GetFileResponse, Error> {
    let context = Context::of(&request);
    let pb::GetFileRequest { project_id, path, revision } = request.into_inner();
    let path = decode::path("path".to_owned(), &path)?;
    let (member, _, tree) = open(app, &context, &project_id, &revision).await?;
    let absent = || Error::FileNotFound { field: String::new(), path: path.to_string() };
    let file = tree.file(path.as_str()).ok_or_else(absent)?;
    let found = with_content(app, &member, vec![(path.to_string(), file)]).await?;
    Ok(pb::GetFileResponse { file: found.into_iter().next() })
}

type Opened = (Member, Option<Revision>, std::sync::Arc<Folder>);

/// A project's tree at a revision, for somebody who may read it.
async fn open(app: &App, context: &Context, project_id: &str, revision: &str) -> Result<Opened, Error> {
    let user = decode::user(context)?;
    let mut violations = Violations::default();
    let id = violations.parse::<ProjectId>("project_id", project_id);
    let wanted = decode::revision(&mut violations, "revision", revision);
    let id = decode::checked(violations, id)?;
    let member = member::find(&app.pool, user.id, &Target::Id(id), Role::Viewer).await?;
    let revision = history::resolve(&app.pool, &member, wanted).await?;
    let tree = tree::at_revision(app, member.project.store, revision.as_ref()).await?;
    Ok((member, revision, tree))
}
