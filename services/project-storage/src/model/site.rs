//! Published sites: their names, and the file that an address leads to.

use proto::id::{ProjectId, UserId};
use time::OffsetDateTime;

use crate::{
    git::{Entry, FileRef, Folder, Oid},
    model::project::StoreId,
};

/// Deployments that a site keeps. The oldest one goes when another one is published.
pub(crate) const MAX_DEPLOYMENTS: u32 = 50;
/// The file that a folder stands for.
pub(crate) const INDEX: &str = "index.html";
/// The page for addresses that the site does not have.
const NOT_FOUND: &str = "404.html";
/// Characters of a slug. The name of a host is at most 63 characters long.
const SLUG_CHARACTERS: std::ops::RangeInclusive<usize> = 3..=63;
/// Characters of a base path.
const BASE_CHARACTERS: usize = 256;
/// Names that people take for a part of the installation.
const RESERVED: &[&str] = &[
    "abuse",
    "account",
    "accounts",
    "admin",
    "administrator",
    "api",
    "app",
    "apps",
    "assets",
    "auth",
    "autoconfig",
    "autodiscover",
    "backlot",
    "billing",
    "blog",
    "cdn",
    "console",
    "dashboard",
    "demo",
    "dev",
    "dns",
    "docs",
    "email",
    "files",
    "ftp",
    "gateway",
    "git",
    "grpc",
    "help",
    "host",
    "hostmaster",
    "imap",
    "internal",
    "localhost",
    "login",
    "mail",
    "metrics",
    "mta-sts",
    "news",
    "noreply",
    "oauth",
    "operator",
    "pop",
    "postmaster",
    "preview",
    "previews",
    "private",
    "prod",
    "production",
    "public",
    "registry",
    "root",
    "secure",
    "security",
    "server",
    "signin",
    "signup",
    "site",
    "sites",
    "smtp",
    "ssh",
    "ssl",
    "sso",
    "staging",
    "static",
    "status",
    "support",
    "system",
    "test",
    "web",
    "webmail",
    "webmaster",
    "www",
];

/// The name in the address of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slug(String);

/// Why a text is no slug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadSlug {
    Malformed,
    Reserved,
}

impl Slug {
    /// Parses the name of a new site.
    pub(crate) fn parse(text: &str) -> Result<Self, BadSlug> {
        let is_legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let is_label =
            SLUG_CHARACTERS.contains(&text.len()) && text.bytes().all(is_legal) && !text.starts_with('-') && !text.ends_with('-');
        // Browsers show a label such as `xn--80ak6aa92e` as letters of another alphabet.
        if !is_label || text.get(2..4) == Some("--") {
            return Err(BadSlug::Malformed);
        }
        if RESERVED.contains(&text) { Err(BadSlug::Reserved) } else { Ok(Self(text.to_owned())) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The path of the folder that a site is served in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BasePath(String);

impl BasePath {
    /// Parses a base path; empty is `/`. `None` if it breaks the rule of the contract.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = if text.is_empty() { "/" } else { text };
        let is_legal = |c: u8| c.is_ascii_alphanumeric() || b"/-_.~@".contains(&c);
        let is_folder = text.len() <= BASE_CHARACTERS && text.starts_with('/') && text.ends_with('/') && text.bytes().all(is_legal);
        let mut parts = text.trim_matches('/').split('/');
        let has_names = text == "/" || parts.all(|part| !part.is_empty() && part != "." && part != "..");
        (is_folder && has_names && (text == "/" || !text.starts_with("//"))).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The site of a project.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) project: ProjectId,
    pub(crate) slug: String,
    /// The number of the deployment that is served.
    pub(crate) active: u32,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
}

/// The built files of one revision.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    pub(crate) number: u32,
    pub(crate) revision: Oid,
    pub(crate) base_path: String,
    pub(crate) files: u32,
    pub(crate) bytes: u64,
    pub(crate) user: UserId,
    pub(crate) created_at: OffsetDateTime,
}

/// A deployment as it is served.
#[derive(Debug, Clone)]
pub(crate) struct ServedDeployment {
    pub(crate) project: ProjectId,
    pub(crate) store: StoreId,
    pub(crate) number: u32,
    pub(crate) base_path: String,
    pub(crate) tree: Oid,
    /// The tree of the files whose paths have a hash of the content.
    pub(crate) hashed: Oid,
}

/// What an address of a site leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    File {
        path: String,
        file: FileRef,
    },
    /// The page for addresses that the site does not have.
    NotFoundPage {
        path: String,
        file: FileRef,
    },
    /// Another address, with `/` at its start.
    Redirect(String),
}

/// What a path leads to. `path` is decoded, without `/` at its start. `page`: a browser navigates to it. `None` if the site has neither the
/// path nor a page for unknown addresses.
///
/// - A folder stands for its `index.html`; its address ends with a slash.
/// - `name` stands for `name.html`.
/// - A site with `404.html` answers unknown addresses with it. In any other one they are views of the app, which are its first page.
pub(crate) fn find(root: &Folder, base_path: &str, path: &str, page: bool) -> Option<Found> {
    let Some(relative) = relative(base_path, path) else {
        let is_base = path.is_empty() || base_path.trim_matches('/') == path;
        return if is_base { Some(Found::Redirect(base_path.to_owned())) } else { not_found(root) };
    };
    let file = |path: String| root.file(&path).map(|file| Found::File { path, file });
    if relative.is_empty() {
        return file(INDEX.to_owned()).or_else(|| not_found(root));
    }
    if let Some(folder) = relative.strip_suffix('/') {
        return file(format!("{folder}/{INDEX}")).or_else(|| unknown(root, relative, page));
    }
    match root.get(relative) {
        Some(Entry::File(_)) => file(relative.to_owned()),
        Some(Entry::Folder(folder)) if folder.file(INDEX).is_some() => Some(Found::Redirect(format!("/{path}/"))),
        _ => file(format!("{relative}.html")).or_else(|| unknown(root, relative, page)),
    }
}

/// The part of a path below a base path.
pub(crate) fn relative<'a>(base_path: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(base_path.trim_start_matches('/'))
}

/// The address of a file of a deployment, without `/` at its start.
pub(crate) fn address(base_path: &str, path: &str) -> String {
    format!("{}{path}", base_path.trim_start_matches('/'))
}

fn unknown(root: &Folder, relative: &str, page: bool) -> Option<Found> {
    let name = relative.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let is_view = page && !name.contains('.');
    let view = || root.file(INDEX).filter(|_| is_view).map(|file| Found::File { path: INDEX.to_owned(), file });
    not_found(root).or_else(view)
}

fn not_found(root: &Folder) -> Option<Found> {
    root.file(NOT_FOUND).map(|file| Found::NotFoundPage { path: NOT_FOUND.to_owned(), file })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::blob_id;

    fn tree(paths: &[&str]) -> Folder {
        let mut root = Folder::default();
        for path in paths {
            root.put(path, FileRef { oid: blob_id(path.as_bytes()).expect("id"), size: 1 }).expect("no clash");
        }
        root
    }

    #[test]
    fn a_slug_is_the_label_of_a_host() {
        for text in ["shop", "a1b", "my-shop-2", &"a".repeat(63), "123"] {
            assert_eq!(Slug::parse(text).map(|slug| slug.as_str().to_owned()), Ok(text.to_owned()));
        }
        for text in
            ["", "ab", "Shop", "-shop", "shop-", "a.b", "a_b", "shöp", "xn--80ak6aa92e", "ab--cd", &"a".repeat(64), "a b", "a/b", "shop\n"]
        {
            assert_eq!(Slug::parse(text), Err(BadSlug::Malformed), "{text}");
        }
        for text in RESERVED {
            assert_eq!(Slug::parse(text), Err(BadSlug::Reserved), "{text}");
        }
    }

    #[test]
    fn a_base_path_is_a_folder() {
        assert_eq!(BasePath::parse("").expect("root").as_str(), "/");
        for text in ["/", "/app/", "/a/b-c_d.e~f@g/"] {
            assert_eq!(BasePath::parse(text).expect(text).as_str(), text);
        }
        let long = format!("/{}/", "a".repeat(255));
        for text in ["app", "/app", "app/", "//", "/a//b/", "/../", "/a/./", "/a b/", "/ä/", "/a?b/", "/%41/", "//evil.example/", &long] {
            assert_eq!(BasePath::parse(text), None, "{text}");
        }
    }

    fn shown(found: Option<Found>) -> String {
        match found {
            Some(Found::File { path, .. }) => path,
            Some(Found::NotFoundPage { path, .. }) => format!("404 {path}"),
            Some(Found::Redirect(to)) => format!("-> {to}"),
            None => "none".to_owned(),
        }
    }

    #[test]
    fn an_address_leads_to_a_file() {
        let app = tree(&["index.html", "assets/a-1.js", "about.html", "docs/index.html", "docs/a.html", "empty/x.txt"]);
        for (path, page, expected) in [
            ("", true, "index.html"),
            ("index.html", false, "index.html"),
            ("assets/a-1.js", false, "assets/a-1.js"),
            ("about", true, "about.html"),
            ("docs", true, "-> /docs/"),
            ("docs/", true, "docs/index.html"),
            ("docs/a", false, "docs/a.html"),
            ("view/1", true, "index.html"),
            ("view/", true, "index.html"),
            ("view/1", false, "none"),
            ("empty", true, "index.html"),
            ("empty/", false, "none"),
            ("view.js", true, "none"),
            ("assets/gone-2.js", true, "none"),
            ("../index.html", true, "none"),
            ("/index.html", true, "none"),
            ("/docs", true, "index.html"),
            ("//evil.example", true, "none"),
            ("index.html/", true, "none"),
        ] {
            assert_eq!(shown(find(&app, "/", path, page)), expected, "{path:?} {page}");
        }
        let site = tree(&["index.html", "404.html", "a/404.html"]);
        for (path, expected) in
            [("view", "404 404.html"), ("a/", "404 404.html"), ("x.js", "404 404.html"), ("404", "404.html"), ("404.html", "404.html")]
        {
            assert_eq!(shown(find(&site, "/", path, true)), expected, "{path:?}");
        }
        assert_eq!(shown(find(&tree(&["a.txt"]), "/", "", true)), "none");
    }

    #[test]
    fn a_site_may_be_in_a_folder() {
        let app = tree(&["index.html", "docs/index.html", "a.js"]);
        for (path, expected) in [
            ("", "-> /shop/app/"),
            ("shop/app", "-> /shop/app/"),
            ("shop/app/", "index.html"),
            ("shop/app/a.js", "a.js"),
            ("shop/app/docs", "-> /shop/app/docs/"),
            ("shop/app/view", "index.html"),
            ("shop", "none"),
            ("a.js", "none"),
            ("shop/application/a.js", "none"),
        ] {
            assert_eq!(shown(find(&app, "/shop/app/", path, true)), expected, "{path:?}");
        }
    }
}
