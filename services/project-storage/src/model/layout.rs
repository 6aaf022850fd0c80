//! Whether a project is compiled before a browser runs it, and where its addresses lead then. Only names decide: no content is read.

pub(crate) use proto::layout::PAGE;
use proto::layout::{CONFIGURATIONS, MANIFEST, SOURCES, is_ignored, is_source};

use crate::git::{Entry, FileRef, Folder, Oid};

/// The folder whose files are answered at the root.
const PUBLIC: &str = "public";
/// Where the compiler puts the addresses of files.
const ASSETS: &str = "@a/";

/// Whether the tree has Vite's layout, or a file that must be compiled, and a page or `package.json`.
pub(crate) fn is_compiled(root: &Folder) -> bool {
    let has_layout = || root.file(MANIFEST).is_some() && matches!(root.get(SOURCES), Some(Entry::Folder(_)));
    page(root).is_some() && (CONFIGURATIONS.iter().any(|name| root.file(name).is_some()) || has_layout() || has_source(root))
}

/// The page, or `package.json` of a project that should have one: the compiler says why it has none.
pub(crate) fn page(root: &Folder) -> Option<FileRef> {
    root.file(PAGE).or_else(|| root.file(MANIFEST))
}

fn has_source(folder: &Folder) -> bool {
    folder.entries().iter().any(|(name, entry)| match entry {
        Entry::File(_) => is_source(name),
        Entry::Folder(below) => !is_ignored(name) && has_source(below),
    })
}

/// The file that an address of a compiled page leads to, before the files at the path itself: one of `public`, or the content that an
/// address of the compiler names, which never changes. The last value says whether it is the latter.
pub(crate) fn resolve(root: &Folder, path: &str) -> Option<(String, FileRef, bool)> {
    if let Some(name) = path.strip_prefix(ASSETS) {
        let (id, extension) = name.split_once('.')?;
        let (path, file) = find(root, id.parse().ok()?, extension, "")?;
        return Some((path, file, true));
    }
    // A page of `public` does not replace the project's own.
    if path.is_empty() || path == PAGE {
        return None;
    }
    let path = format!("{PUBLIC}/{path}");
    let file = root.file(&path)?;
    Some((path, file, false))
}

fn find(folder: &Folder, id: Oid, extension: &str, prefix: &str) -> Option<(String, FileRef)> {
    folder.entries().iter().find_map(|(name, entry)| match entry {
        Entry::File(file) => {
            let is_same = file.oid == id && name.rsplit_once('.').map_or("", |(_, end)| end).eq_ignore_ascii_case(extension);
            is_same.then(|| (format!("{prefix}{name}"), *file))
        }
        Entry::Folder(below) => find(below, id, extension, &format!("{prefix}{name}/")),
    })
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
    fn names_decide_what_is_compiled() {
        for paths in [
            &["index.html", "vite.config.js"][..],
            &["index.html", "package.json", "src/main.js"],
            &["index.html", "src/main.tsx"],
            &["index.html", "a/b/c.module.css"],
            &["index.html", "main.vue", "style.css"],
            &["src/main.tsx", "vite.config.ts", "package.json"],
            &["package.json", "app/page.tsx"],
        ] {
            assert!(is_compiled(&tree(paths)) && proto::layout::is_compiled(paths.iter().copied()), "{paths:?}");
        }
        for paths in [
            &["index.html", "style.css", "app.js", "data.json"][..],
            &["index.html", "src/main.js"],
            &["index.html", "package.json", "scripts/main.js"],
            &["index.html", "types.d.ts", "dist/a.ts", "node_modules/x/a.tsx"],
            &["src/main.tsx", "vite.config.ts"],
            &["package.json", "server.js"],
            &[],
        ] {
            assert!(!is_compiled(&tree(paths)) && !proto::layout::is_compiled(paths.iter().copied()), "{paths:?}");
        }
    }

    #[test]
    fn addresses_lead_to_public_files_and_to_contents() {
        let root = tree(&["index.html", "public/icon.svg", "public/index.html", "src/x.PNG", "icon.svg"]);
        let found = |path: &str| resolve(&root, path).map(|(path, _, is_content)| (path, is_content));
        let id = blob_id(b"src/x.PNG").expect("id");
        assert_eq!(found("icon.svg"), Some(("public/icon.svg".to_owned(), false)));
        assert_eq!(found(&format!("@a/{id}.png")), Some(("src/x.PNG".to_owned(), true)));
        for path in ["", "index.html", "src/x.PNG", "@a/", "@a/x.png", "../icon.svg", &format!("@a/{id}.svg"), &format!("@a/{id}")] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
