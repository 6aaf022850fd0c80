//! The installed packages as the bundler's file system, below a folder of their own, and which file a specifier names.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use compiler_client::message::{
    File,
    packages::{package_of, preact_for},
};
use oxc_resolver::{FileMetadata, ResolveError, ResolveOptions, ResolverGeneric};
use rolldown_fs::{FileSystem, OxcResolverFileSystem};

use crate::{
    graph,
    module::tailwind,
    tree::{path, patterns::Patterns},
};

/// The most words of the files of one pattern.
const MAX_WORDS: usize = 20_000;
/// The folder of the project.
pub(super) const ROOT: &str = "/project";
const EXTENSIONS: [&str; 8] = [".mjs", ".js", ".mts", ".ts", ".jsx", ".tsx", ".json", ".cjs"];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Development,
    Production,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

/// A file of a package.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) id: String,
    pub(crate) bytes: Bytes,
}

/// What a specifier names.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Resolution {
    /// The path of a file, without [`ROOT`], and that of its `package.json`.
    File(String, Option<String>),
    /// The package has nothing there for browsers, and says so.
    Empty,
    /// A module of Node.js.
    Builtin(String),
    Missing,
}

/// How a module asks for another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum By {
    Import,
    Require,
}

pub(crate) struct Files {
    pub(super) system: System,
    pub(super) mode: Mode,
    /// Preact stands in for React.
    has_preact_for_react: bool,
    import: ResolverGeneric<System>,
    require: ResolverGeneric<System>,
    style: ResolverGeneric<System>,
    /// For Sass.
    sheet: ResolverGeneric<System>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Files").field("files", &self.system.files.len()).finish_non_exhaustive()
    }
}

impl Files {
    pub(crate) fn new(files: Vec<File>, mode: Mode) -> Self {
        let system = System::new(files);
        let resolver = |conditions: &[&str], fields: &[&str], extensions: &[&str]| {
            let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let options = ResolveOptions {
                condition_names: list(conditions),
                main_fields: list(fields),
                alias_fields: vec![list(&["browser"])],
                extensions: list(extensions),
                extension_alias: vec![
                    (".js".to_owned(), list(&[".js", ".ts", ".tsx"])),
                    (".jsx".to_owned(), list(&[".jsx", ".tsx"])),
                    (".mjs".to_owned(), list(&[".mjs", ".mts"])),
                ],
                symlinks: false,
                ..ResolveOptions::default()
            };
            ResolverGeneric::new_with_file_system(system.clone(), options)
        };
        let fields = ["svelte", "browser", "module", "jsnext:main", "jsnext", "main"];
        let scripts = |by| resolver(&["svelte", "browser", "module", mode.name(), by, "default"], &fields, &EXTENSIONS);
        let (import, require) = (scripts("import"), scripts("require"));
        let style = resolver(&["style", "browser", mode.name(), "import", "default"], &["style", "main"], &[".css"]);
        let sheet = resolver(&["sass", "style", "default"], &["sass", "style", "main"], &[".scss", ".sass", ".css"]);
        Self { system, mode, has_preact_for_react: false, import, require, style, sheet }
    }

    pub(crate) fn with_preact_for_react(self, has_preact_for_react: bool) -> Self {
        Self { has_preact_for_react, ..self }
    }

    /// The file that a file names; `importer` is empty for the project itself. The specifier has no query.
    pub(super) fn find(&self, importer: &str, specifier: &str, by: By) -> Resolution {
        // The Preact of the project, wherever the importer is.
        let stand_in = Some(specifier).filter(|_| self.has_preact_for_react).and_then(preact_for);
        let (importer, specifier) = stand_in.as_deref().map_or((importer, specifier), |specifier| ("", specifier));
        let specifier = specifier.strip_prefix('~').unwrap_or(specifier);
        let specifier = if specifier.starts_with("/node_modules/") { format!("{ROOT}{specifier}") } else { specifier.to_owned() };
        let folder = Path::new(ROOT).join(path::folder(importer));
        let resolver = if by == By::Require { &self.require } else { &self.import };
        let mut found = resolver.resolve(&folder, &specifier);
        if found.is_err() && !graph::is_builtin(&specifier) && !matches!(found, Err(ResolveError::Ignored(_))) {
            found = self.style.resolve(&folder, &specifier).or(found);
        }
        match found {
            Ok(found) => match inside(found.path()) {
                Some(file) => Resolution::File(file, found.package_json().and_then(|manifest| manifest.path().to_str().map(str::to_owned))),
                None => Resolution::Missing,
            },
            Err(ResolveError::Ignored(_)) => Resolution::Empty,
            Err(_) if graph::is_builtin(&specifier) => Resolution::Builtin(specifier),
            Err(_) => Resolution::Missing,
        }
    }

    /// The file that Sass reads for the specifier of a package.
    pub(super) fn find_sheet(&self, specifier: &str) -> Option<String> {
        inside(self.sheet.resolve(Path::new(ROOT), specifier).ok()?.path())
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.system.files.keys().map(String::as_str)
    }

    /// Whether the file has the same rules as another one, without spaces.
    pub(super) fn is_minified_copy(&self, path: &str) -> bool {
        path.strip_suffix(".min.css").is_some_and(|stem| self.system.files.contains_key(&format!("{stem}.css")))
    }

    pub(crate) fn content(&self, path: &str) -> Option<&Content> {
        self.system.files.get(path)
    }

    /// The words of the files that a pattern names, which begins with the name of a package. See [`tailwind::words`].
    pub(super) fn words(&self, pattern: &str) -> String {
        let package = format!("node_modules/{}/", package_of(pattern));
        let pattern = Patterns::new([format!("node_modules/{pattern}").as_str()]);
        let below = self.system.files.range(package.clone()..).take_while(|(path, _)| path.starts_with(&package));
        let named = below.filter(|(path, _)| pattern.is_match(path)).filter_map(|(_, content)| std::str::from_utf8(&content.bytes).ok());
        let mut words = BTreeSet::new();
        for text in named {
            words.extend(tailwind::words(text).lines().map(str::to_owned));
        }
        words.into_iter().take(MAX_WORDS).collect::<Vec<_>>().join("\n")
    }

    /// Whether a package of the name is installed for the project.
    pub(super) fn has_package(&self, name: &str) -> bool {
        self.system.files.contains_key(&format!("node_modules/{name}/package.json"))
    }

    /// Whether the package of a file works without the package of a specifier, by its `package.json`.
    pub(super) fn is_optional(&self, importer: &str, specifier: &str) -> bool {
        let Some(manifest) = self.manifest_of(importer) else { return false };
        let name = package_of(specifier);
        let optional = [&manifest["peerDependenciesMeta"][name]["optional"], &manifest["optionalDependencies"][name]];
        optional[0] == &serde_json::Value::Bool(true) || optional[1].is_string()
    }

    fn manifest_of(&self, file: &str) -> Option<serde_json::Value> {
        let (before, inside) = file.rsplit_once("node_modules/")?;
        let path = format!("{before}node_modules/{}/package.json", package_of(inside));
        serde_json::from_slice(&self.content(&path)?.bytes).ok()
    }
}

fn inside(path: &Path) -> Option<String> {
    Some(path.to_str()?.strip_prefix(ROOT)?.trim_start_matches('/').to_owned())
}

/// Cheap to copy.
#[derive(Clone, Debug)]
pub(super) struct System {
    files: Arc<BTreeMap<String, Content>>,
    folders: Arc<BTreeSet<String>>,
}

impl System {
    fn new(files: Vec<File>) -> Self {
        let mut all = BTreeMap::new();
        let mut folders = BTreeSet::from([String::new()]);
        for file in files {
            let Some(bytes) = file.content.filter(|_| file.path.starts_with("node_modules/")) else { continue };
            let mut folder = path::folder(&file.path);
            while folders.insert(folder.to_owned()) {
                folder = path::folder(folder);
            }
            all.insert(file.path, Content { id: file.id, bytes });
        }
        Self { files: Arc::new(all), folders: Arc::new(folders) }
    }
}

impl OxcResolverFileSystem for System {
    fn new(_: bool) -> Self {
        Self::new(Vec::new())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let content = inside(path).and_then(|path| self.files.get(&path));
        content.map(|content| content.bytes.to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_to_string(&self, path: &Path) -> io::Result<String> {
        String::from_utf8(self.read(path)?).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        if path == Path::new("/") {
            return Ok(FileMetadata::new(false, true, false));
        }
        let path = inside(path).ok_or(io::ErrorKind::NotFound)?;
        match (self.files.contains_key(&path), self.folders.contains(&path)) {
            (true, _) => Ok(FileMetadata::new(true, false, false)),
            (_, true) => Ok(FileMetadata::new(false, true, false)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn symlink_metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        self.metadata(path)
    }

    fn read_link(&self, _: &Path) -> Result<PathBuf, ResolveError> {
        Err(io::Error::from(io::ErrorKind::InvalidInput).into())
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }
}

/// It is never written.
impl FileSystem for System {
    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn write(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn exists(&self, path: &Path) -> bool {
        self.metadata(path).is_ok()
    }

    fn read_dir(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
