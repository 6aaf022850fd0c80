//! Previews: a capability to read a project's files as a browser would, for one hour from its last use, for as long as the person
//! who made it may read the project, and until the session ends that made it or somebody revokes it.

use prost::bytes::Bytes;
use proto::id::{ProjectId, SessionId, UserId};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use time::{Duration, OffsetDateTime};

use crate::{
    app::App,
    error::Error,
    git::{Entry, FileRef, Folder, Oid},
    model::project::{Role, Target},
    read::{history, member, tree},
    store::previews::{self, NewPreview},
};

/// How long a capability lives after its last use.
const LIFETIME: Duration = Duration::hours(1);
/// A use within this of the one before is not written down.
const TOUCH_INTERVAL: Duration = Duration::minutes(1);
/// Letters of a capability, five bits each.
const CAPABILITY_LENGTH: usize = 26;
/// The page of a folder.
const INDEX: &str = "index.html";

/// A capability, which is never kept as it is.
pub(crate) struct Capability(String);

impl Capability {
    /// A new one: 130 random bits.
    fn generate() -> Self {
        let mut bytes = [0; 17];
        SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
        let mut text = data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
        text.truncate(CAPABILITY_LENGTH);
        Self(text)
    }

    /// What a browser showed; host names come in any case.
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

/// Makes a capability for a revision, or for whatever is the head when it is used.
pub(crate) async fn create(
    app: &App,
    creator: Creator,
    project: ProjectId,
    revision: Option<Oid>,
    now: OffsetDateTime,
) -> Result<(Capability, OffsetDateTime), Error> {
    let Creator { user, session } = creator;
    member::find(&app.pool, user, &Target::Id(project), Role::Viewer).await?;
    if let Some(id) = revision {
        history::find(&app.pool, project, id).await?;
    }
    let (capability, expires_at) = (Capability::generate(), now + LIFETIME);
    let new = NewPreview { hash: &capability.hash(), project, user, session, revision, now, expires_at };
    if !previews::insert(&app.pool, &new).await? {
        return Err(Error::SessionEnded);
    }
    Ok((capability, expires_at))
}

/// Who makes a preview, and with which session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Creator {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
}

/// Ends a capability for everybody who has it.
pub(crate) async fn delete(app: &App, user: UserId, project: ProjectId, capability: &Capability) -> Result<(), Error> {
    member::find(&app.pool, user, &Target::Id(project), Role::Viewer).await?;
    if previews::delete(&app.pool, &capability.hash(), project, user).await? { Ok(()) } else { Err(Error::PreviewNotFound) }
}

/// A file as a browser gets it.
pub(crate) struct PreviewFile {
    /// `None` if the browser has it already.
    pub(crate) content: Option<Bytes>,
    pub(crate) content_type: String,
    pub(crate) path: String,
    pub(crate) id: Oid,
    pub(crate) revision: Oid,
}

/// The file that a path means, at the revision of the capability or at the head of this moment.
pub(crate) async fn read(app: &App, capability: &Capability, request: FileRequest<'_>) -> Result<PreviewFile, Error> {
    let FileRequest { path, if_none_match, page, now } = request;
    let hash = capability.hash();
    let opened = previews::open(&app.pool, &hash, now).await?.ok_or(Error::PreviewNotFound)?;
    if now - opened.touched_at >= TOUCH_INTERVAL {
        previews::touch(&app.pool, &hash, now, now + LIFETIME).await?;
    }
    let absent = || Error::FileNotFound { field: String::new(), path: path.to_owned() };
    let (revision, root) = opened.read.ok_or_else(absent)?;
    let root = tree::load(app, opened.store, root).await?;
    let fallback = || if page && !has_extension(path) { resolve(&root, "") } else { None };
    let (path, file) = resolve(&root, path).or_else(fallback).ok_or_else(absent)?;
    let content = if has(if_none_match, file.oid) { None } else { tree::contents(app, opened.store, &[file]).await?.remove(&file.oid) };
    Ok(PreviewFile { content, content_type: content_type(&path), path, id: file.oid, revision })
}

/// What a browser asks for.
pub(crate) struct FileRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) if_none_match: &'a str,
    /// A page is wanted; see the contract.
    pub(crate) page: bool,
    pub(crate) now: OffsetDateTime,
}

/// The file at a path; a folder means its page.
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

/// Whether the last name of a path is that of a file; views of an app have none.
fn has_extension(path: &str) -> bool {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().contains('.')
}

/// Whether a list of ETags names the file.
fn has(if_none_match: &str, id: Oid) -> bool {
    if_none_match.split(',').map(str::trim).any(|etag| etag == "*" || Oid::from_etag(etag) == Some(id))
}

/// The type by the file's name alone: what is served does not depend on what is in it.
fn content_type(path: &str) -> String {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "js" | "mjs" | "cjs" => return "text/javascript; charset=utf-8".to_owned(),
        // The registry of types takes `.ts` for a video; no browser runs the others.
        "ts" | "tsx" | "jsx" | "mts" | "cts" | "vue" | "svelte" => return "text/plain; charset=utf-8".to_owned(),
        "webmanifest" => return "application/manifest+json".to_owned(),
        _ => {}
    }
    let guess = mime_guess::from_path(path).first_or_octet_stream();
    let is_text = guess.type_() == mime_guess::mime::TEXT || ["json", "xml", "javascript"].iter().any(|t| guess.subtype() == *t);
    if is_text { format!("{}; charset=utf-8", guess.essence_str()) } else { guess.essence_str().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_26_letters_that_a_host_name_can_hold() {
        let one = Capability::generate();
        assert_eq!(one.expose().len(), 26);
        assert!(Capability::parse(&one.expose().to_uppercase()).is_some_and(|same| same.hash() == one.hash()));
        assert_ne!(one.expose(), Capability::generate().expose());
        for bad in ["", "a", "0aaaaaaaaaaaaaaaaaaaaaaaaa", "éaaaaaaaaaaaaaaaaaaaaaaaa", "../aaaaaaaaaaaaaaaaaaaaaaa"] {
            assert!(Capability::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_folder_means_its_page() {
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
        for absent in ["empty", "empty/", "app.js/", "../index.html", "docs//", "//", "nothing"] {
            assert_eq!(found(absent), None, "{absent}");
        }
    }

    #[test]
    fn types() {
        for (path, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b.CSS", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("App.tsx", "text/plain; charset=utf-8"),
            ("data.json", "application/json; charset=utf-8"),
            ("logo.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("font.woff2", "font/woff2"),
            ("app.wasm", "application/wasm"),
            ("Makefile", "application/octet-stream"),
        ] {
            assert_eq!(content_type(path), expected, "{path}");
        }
    }

    #[test]
    fn an_etag_in_a_list_counts() {
        let id = Oid::EMPTY_TREE;
        assert!(has(&id.etag(), id) && has(&format!("\"x\", W/{}", id.etag()), id) && has("*", id));
        assert!(!has("", id) && !has("\"x\"", id));
    }
}
