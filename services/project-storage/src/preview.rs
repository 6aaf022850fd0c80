//! Previews: capabilities to read a project's files as a browser would. A person has one capability for a project, whose host is the origin of
//! all revisions, so that what a page stores in the browser outlives a revision. A grant says what it shows. A grant ends one hour after its
//! last use, with its creator's access to the project, or with the session that created it. Revoking the capability ends all its grants, and
//! gives the person another one.

use std::{collections::HashMap, sync::Arc};

use chassis::{fault_time, secret::ClusterSecret};
use prost::bytes::Bytes;
use proto::id::{ProjectId, SessionId, UserId};
use ring::{
    digest::{SHA256, digest},
    hmac,
};
use time::{Duration, OffsetDateTime};

use crate::{
    error::Error,
    git::{Corruption, Entry, FileRef, Folder, Oid},
    model::{
        layout,
        limits::CHUNK_BYTES,
        media,
        path::FilePath,
        preview::Shown,
        project::{Role, StoreId, Target},
    },
    read::{
        blob::{self, BlobReader},
        history, member,
        objects::Objects,
        tree,
    },
    store::{
        self, Pool,
        previews::{self, NewGrant},
        projects,
    },
};

/// How long a grant is valid after its last use.
const LIFETIME: Duration = Duration::hours(1);
/// The time of a use is stored if the stored one is older than this.
const TOUCH_INTERVAL: std::time::Duration = std::time::Duration::from_secs(60);
/// Characters of a capability, five bits each.
const CAPABILITY_LENGTH: usize = 26;
/// The file that a folder stands for.
const INDEX: &str = "index.html";
/// Bytes of contents that are read together, unless there is only one.
const MAX_CONTENTS_BYTES: u64 = 8 * 1024 * 1024;
/// Attempts to store a grant while its origin is revoked.
const MAX_ATTEMPTS: u32 = 4;

/// A capability. The database has its hash only.
pub(crate) struct Capability(String);

/// Derives capabilities. Without the key, 130 bits of each are unknown.
pub(crate) struct Labels(hmac::Key);

impl Labels {
    pub(crate) fn new(secret: &ClusterSecret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret.derive("preview labels")))
    }

    /// The capability of a person for a project. Each generation has another one.
    fn capability(&self, project: ProjectId, user: UserId, generation: u32) -> Capability {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(project.0.as_bytes());
        context.update(user.0.as_bytes());
        context.update(&generation.to_be_bytes());
        let mut text = data_encoding::BASE32_NOPAD.encode(context.sign().as_ref()).to_ascii_lowercase();
        text.truncate(CAPABILITY_LENGTH);
        Capability(text)
    }
}

impl Capability {
    /// A capability from a host name, which may be in any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let letter = |c: u8| c.is_ascii_lowercase() || (b'2'..=b'7').contains(&c);
        let text = text.to_ascii_lowercase();
        (text.len() == CAPABILITY_LENGTH && text.bytes().all(letter)).then_some(Self(text))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    fn hash(&self) -> Vec<u8> {
        digest(&SHA256, self.0.as_bytes()).as_ref().to_vec()
    }
}

/// Grants the capability of a person to show a revision, or the head at the time of each use, in place of what the same session has granted
/// before. Returns it with the end of the grant.
///
/// # Errors
/// [`Error::SessionEnded`] if the creator's session has ended.
pub(crate) async fn create(
    pool: &Pool,
    labels: &Labels,
    new: NewPreview,
    now: OffsetDateTime,
) -> Result<(Capability, OffsetDateTime), Error> {
    let NewPreview { user, session, project, shown } = new;
    // Before the lock, so that only members wait for it.
    member::find(pool, user, &Target::Id(project), Role::Viewer).await?;
    if let Shown::Revision(Some(id)) = shown {
        history::find(pool, project, id).await?;
    }
    let expires_at = now + LIFETIME;
    for _ in 0..MAX_ATTEMPTS {
        let mut tx = store::begin(pool).await?;
        // The project cannot be deleted until the grant is stored, and a deletion ends the grant.
        projects::lock(&mut tx, project).await?;
        projects::find(&mut *tx, user, &Target::Id(project)).await?.ok_or(Error::ProjectNotFound)?;
        let generation = previews::generation(&mut *tx, project, user).await?;
        let capability = labels.capability(project, user, generation);
        let grant = NewGrant { hash: &capability.hash(), generation, project, user, session, shown, now, expires_at };
        let is_granted = previews::grant(&mut *tx, &grant).await?;
        store::commit(tx).await?;
        if is_granted {
            return Ok((capability, expires_at));
        }
        if previews::has_ended(pool, session).await? {
            return Err(Error::SessionEnded);
        }
        // The origin was revoked, or the person was removed, meanwhile.
    }
    Err(Error::Busy)
}

/// What a person wants to see, and in which session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewPreview {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) project: ProjectId,
    pub(crate) shown: Shown,
}

/// Revokes a capability. The person has another one from now on.
///
/// # Errors
/// [`Error::PreviewNotFound`] if it is not the user's and the user is no admin of the project.
pub(crate) async fn delete(pool: &Pool, user: UserId, project: ProjectId, capability: &Capability) -> Result<(), Error> {
    member::find(pool, user, &Target::Id(project), Role::Viewer).await?;
    if previews::revoke(pool, &capability.hash(), project, user).await? { Ok(()) } else { Err(Error::PreviewNotFound) }
}

/// A file as a browser gets it.
pub(crate) struct PreviewFile {
    pub(crate) content: Content,
    pub(crate) size: u32,
    pub(crate) content_type: String,
    pub(crate) path: String,
    pub(crate) id: Oid,
    /// `None` for staged files.
    pub(crate) revision: Option<Oid>,
    /// The tree, if the file is its page and is compiled.
    pub(crate) compiled: Option<Oid>,
    /// The path names the content.
    pub(crate) is_immutable: bool,
    /// The person of the grant.
    pub(crate) user: UserId,
}

/// The content of a file of a preview.
pub(crate) enum Content {
    Whole(Bytes),
    /// It is large, or the page of a tree that is compiled, and not read here.
    Omitted,
    /// The browser has it already.
    NotModified,
}

/// Reads the file that a path stands for: at the revision of the newest grant, at the head, or among staged files.
pub(crate) async fn read(objects: &Objects, capability: &Capability, request: FileRequest<'_>) -> Result<PreviewFile, Error> {
    let FileRequest { path, if_none_match, page, omit_large, staged, now } = request;
    let hash = capability.hash();
    let preview = previews::find(&objects.pool, &hash, None, now).await?.ok_or(Error::PreviewNotFound)?;
    if now - preview.used_at >= fault_time::shortened("preview-touch-interval", TOUCH_INTERVAL) {
        previews::touch(&objects.pool, (&hash, preview.session), now, now + LIFETIME).await?;
    }
    let not_found = || Error::FileNotFound { field: String::new(), path: path.to_owned() };
    let is_staged = staged.is_some();
    let (revision, tree_id, root) = match staged {
        Some(staged) if staged.project != preview.project => return Err(Error::PreviewNotFound),
        Some(staged) => (None, staged.tree_id, Arc::new(staged.root)),
        None => {
            let (revision, tree_id) = preview.revision_and_tree.ok_or_else(not_found)?;
            (Some(revision), tree_id, tree::load(objects, preview.store, tree_id).await?)
        }
    };
    let Location { path, file, is_compiled, is_immutable } = find(&root, path, page).ok_or_else(not_found)?;
    let content = if is_compiled {
        Content::Omitted
    } else if matches_etag(if_none_match, file.oid) {
        Content::NotModified
    } else if is_staged || omit_large && file.size as usize > CHUNK_BYTES {
        Content::Omitted
    } else {
        let content = objects.contents(preview.store, &[file]).await?.remove(&file.oid);
        Content::Whole(content.ok_or(Corruption::Missing(file.oid))?)
    };
    Ok(PreviewFile {
        content,
        size: file.size,
        content_type: media::by_name(&path),
        path,
        id: file.oid,
        revision,
        compiled: is_compiled.then_some(tree_id),
        is_immutable,
        user: preview.user,
    })
}

/// The tree of a revision of the project that a capability shows.
///
/// # Errors
/// [`Error::PreviewNotFound`], [`Error::RevisionNotFound`].
pub(crate) async fn tree(
    objects: &Objects,
    capability: &Capability,
    revision: Oid,
    now: OffsetDateTime,
) -> Result<(StoreId, Arc<Folder>), Error> {
    let preview = previews::find(&objects.pool, &capability.hash(), Some(revision), now).await?.ok_or(Error::PreviewNotFound)?;
    let (_, tree_id) = preview.revision_and_tree.ok_or(Error::RevisionNotFound)?;
    Ok((preview.store, tree::load(objects, preview.store, tree_id).await?))
}

/// Contents of files of a tree, by their ids and in their order.
///
/// # Errors
/// No file has one of the contents, or they are too large together.
pub(crate) async fn contents(objects: &Objects, (store, root): (StoreId, &Folder), ids: &[Oid]) -> Result<Vec<Bytes>, Error> {
    let known: HashMap<Oid, FileRef> = root.walk_files().into_iter().map(|(_, file)| (file.oid, file)).collect();
    let absent = |id: &Oid| Error::FileNotFound { field: "blob_ids".to_owned(), path: id.to_string() };
    let files: Vec<FileRef> = ids.iter().map(|id| known.get(id).copied().ok_or_else(|| absent(id))).collect::<Result<_, _>>()?;
    if files.len() > 1 && files.iter().map(|file| u64::from(file.size)).sum::<u64>() > MAX_CONTENTS_BYTES {
        let problem = format!("must be one id, or have contents of at most {MAX_CONTENTS_BYTES} bytes together");
        return Err(Error::Field { field: "blob_ids".to_owned(), problem });
    }
    let found = objects.contents(store, &files).await?;
    Ok(files.iter().filter_map(|file| found.get(&file.oid).cloned()).collect())
}

/// Opens a file that [`read`] has found at a revision, or a part of it.
pub(crate) async fn open(
    objects: &Objects,
    capability: &Capability,
    (revision, path): (Oid, &FilePath),
    (offset, length): (u64, Option<u64>),
    now: OffsetDateTime,
) -> Result<BlobReader, Error> {
    let preview = previews::find(&objects.pool, &capability.hash(), Some(revision), now).await?.ok_or(Error::PreviewNotFound)?;
    let not_found = || Error::FileNotFound { field: String::new(), path: path.to_string() };
    let (_, root) = preview.revision_and_tree.ok_or_else(not_found)?;
    let root = tree::load(objects, preview.store, root).await?;
    let file = root.file(path.as_str()).ok_or_else(not_found)?;
    let range = blob::range(file, offset, length)?;
    BlobReader::open(objects, preview.store, file, range).await
}

/// Why a stream of a preview ends. If something is missing, the preview is looked up again.
pub(crate) async fn why_ended(pool: &Pool, capability: &Capability, error: Error, now: OffsetDateTime) -> Error {
    let has_ended = error.is_missing() && matches!(previews::find(pool, &capability.hash(), None, now).await, Ok(None));
    if has_ended { Error::PreviewNotFound } else { error }
}

/// A browser's request for a file.
pub(crate) struct FileRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) if_none_match: &'a str,
    /// The browser navigates to a page, so a path without an extension may be a view of the app.
    pub(crate) page: bool,
    /// The content of a large file is left out.
    pub(crate) omit_large: bool,
    /// The files of a running turn, which are read in place of a revision. Their contents are elsewhere.
    pub(crate) staged: Option<StagedTree>,
    pub(crate) now: OffsetDateTime,
}

/// The files of a running turn.
pub(crate) struct StagedTree {
    pub(crate) project: ProjectId,
    pub(crate) tree_id: Oid,
    pub(crate) root: Folder,
}

/// What a path of a request leads to.
struct Location {
    path: String,
    file: FileRef,
    /// It is the page of a tree that is compiled.
    is_compiled: bool,
    is_immutable: bool,
}

/// The file that a request gets. `page`: a path without an extension may be a view of the app.
fn find(root: &Folder, path: &str, page: bool) -> Option<Location> {
    let has_compiler = layout::is_compiled(root);
    let exact = |path: &str| resolve(root, path).map(|(path, file)| (path, file, false));
    let of_layout = if has_compiler { layout::resolve(root, path) } else { None };
    let compiled = || layout::page(root).filter(|_| has_compiler).map(|file| (layout::PAGE.to_owned(), file, false));
    let is_root = ["", "/", layout::PAGE].contains(&path);
    let view = || if is_root || page && !has_extension(path) { compiled().or_else(|| exact("")) } else { None };
    let (path, file, is_immutable) = of_layout.or_else(|| exact(path)).or_else(view)?;
    let is_compiled = has_compiler && path == layout::PAGE;
    Some(Location { path, file, is_compiled, is_immutable })
}

/// The file at a path. A folder stands for its index file.
fn resolve(root: &Folder, path: &str) -> Option<(String, FileRef)> {
    let index = |folder: &str| {
        let path = if folder.is_empty() { INDEX.to_owned() } else { format!("{folder}/{INDEX}") };
        Some((path.clone(), root.file(&path)?))
    };
    match path.strip_suffix('/').unwrap_or(path) {
        "" => index(""),
        folder if path.ends_with('/') => index(folder),
        name => match root.get(name)? {
            Entry::File(file) => Some((name.to_owned(), *file)),
            Entry::Folder(_) => index(name),
        },
    }
}

/// Whether the last part of a path has an extension. The path of a view of an app has none.
fn has_extension(path: &str) -> bool {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().contains('.')
}

/// Whether a list of ETags has that of the file.
pub(crate) fn matches_etag(if_none_match: &str, id: Oid) -> bool {
    if_none_match.split(',').map(str::trim).any(|etag| etag == "*" || Oid::from_etag(etag) == Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_can_be_a_part_of_a_host_name() {
        let labels = Labels::new(&ClusterSecret::of_bytes(b"a secret"));
        let one = labels.capability(ProjectId::generate(), UserId::generate(), 1);
        assert_eq!(one.expose().len(), 26);
        assert!(Capability::parse(&one.expose().to_uppercase()).is_some_and(|same| same.hash() == one.hash()));
        for bad in ["", "a", "0aaaaaaaaaaaaaaaaaaaaaaaaa", "éaaaaaaaaaaaaaaaaaaaaaaaa", "../aaaaaaaaaaaaaaaaaaaaaaa"] {
            assert!(Capability::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_capability_depends_on_project_person_generation_and_secret() {
        let labels = |secret: &[u8]| Labels::new(&ClusterSecret::of_bytes(secret));
        let (one, other) = (ProjectId::generate(), UserId::generate());
        let of = |secret, project, user, generation| labels(secret).capability(project, user, generation).0;
        let label = of(b"a", one, other, 1);
        assert_eq!(label, of(b"a", one, other, 1));
        let others = [
            of(b"b", one, other, 1),
            of(b"a", ProjectId::generate(), other, 1),
            of(b"a", one, UserId::generate(), 1),
            of(b"a", one, other, 2),
            of(b"a", ProjectId(other.0), UserId(one.0), 1),
        ];
        assert!(others.iter().all(|other| *other != label), "{label}: {others:?}");
    }

    #[test]
    fn a_folder_stands_for_its_index() {
        let mut root = Folder::default();
        for (n, path) in ["index.html", "app.js", "docs/index.html", "empty/x"].into_iter().enumerate() {
            root.put(path, FileRef { oid: Oid::from_bytes(&[u8::try_from(n).expect("small"); 20]).expect("oid"), size: 1 })
                .expect("no clash");
        }
        let found = |path: &str| resolve(&root, path).map(|(path, _)| path);
        assert_eq!(found("").as_deref(), Some("index.html"));
        assert_eq!(found("/").as_deref(), Some("index.html"));
        assert_eq!(found("app.js").as_deref(), Some("app.js"));
        assert_eq!(found("docs").as_deref(), Some("docs/index.html"));
        assert_eq!(found("docs/").as_deref(), Some("docs/index.html"));
        for path in ["empty", "empty/", "app.js/", "../index.html", "docs//", "//", "nothing"] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn a_project_that_lacks_its_page_is_compiled_to_say_so() {
        let found = |paths: &[&str], path: &str, page: bool| {
            let mut root = Folder::default();
            for path in paths {
                root.put(path, FileRef { oid: Oid::EMPTY_TREE, size: 1 }).expect("no clash");
            }
            find(&root, path, page).map(|location| (location.path, location.is_compiled))
        };
        let angular = ["package.json", "src/main.ts", "docs/index.html", "README.md"];
        let own = Some(("index.html".to_owned(), true));
        for (path, page) in [("", false), ("index.html", false), ("orders", true)] {
            assert_eq!(found(&angular, path, page), own, "{path}");
        }
        assert_eq!(found(&angular, "docs", true), Some(("docs/index.html".to_owned(), false)));
        assert_eq!(found(&angular, "README.md", true), Some(("README.md".to_owned(), false)));
        assert_eq!((found(&angular, "a.js", true), found(&angular, "orders", false)), (None, None));
        assert_eq!(found(&["package.json", "server.js"], "", true), None);
    }

    #[test]
    fn a_list_of_etags_matches_a_file() {
        let id = Oid::EMPTY_TREE;
        assert!(matches_etag(&id.etag(), id) && matches_etag(&format!("\"x\", W/{}", id.etag()), id) && matches_etag("*", id));
        assert!(!matches_etag("", id) && !matches_etag("\"x\"", id));
    }
}
