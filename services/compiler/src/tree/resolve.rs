//! Which file a specifier names: relative and absolute paths, aliases of Vite, paths of `tsconfig.json`, `imports` of `package.json`,
//! extensions, and the files of `public`.

use std::{cell::RefCell, collections::HashMap, path::Path, sync::Arc};

use compiler_client::message::facts::Alias;
use oxc_resolver::{ResolveOptions, ResolverGeneric, TsConfig, TsconfigDiscovery};

use super::{
    Tree, path,
    view::{ROOT, View},
};

/// The extensions that Vite tries, in its order.
const EXTENSIONS: [&str; 7] = [".mjs", ".js", ".mts", ".ts", ".jsx", ".tsx", ".json"];
/// The folder whose files have the addresses of the root.
pub(crate) const PUBLIC: &str = "public";

pub(crate) struct Resolver {
    tree: Tree,
    inner: ResolverGeneric<View>,
    aliases: Vec<Alias>,
    /// See [`Resolver::exact`].
    is_exact: bool,
    /// Files by absolute specifier. Many modules import one file, and the walk and the checks ask for each import.
    found: RefCell<HashMap<String, Option<String>>>,
    /// Configurations by the path of their file.
    configurations: RefCell<HashMap<String, Option<Arc<TsConfig>>>>,
}

impl Resolver {
    pub(crate) fn new(tree: &Tree, aliases: Vec<Alias>) -> Self {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let options = ResolveOptions {
            tsconfig: Some(TsconfigDiscovery::Auto),
            condition_names: list(&["browser", "module", "import", "development", "default"]),
            main_fields: list(&["browser", "module", "main"]),
            extensions: list(&EXTENSIONS),
            extension_alias: vec![
                (".js".to_owned(), list(&[".js", ".ts", ".tsx"])),
                (".jsx".to_owned(), list(&[".jsx", ".tsx"])),
                (".mjs".to_owned(), list(&[".mjs", ".mts"])),
            ],
            modules: Vec::new(),
            symlinks: false,
            ..ResolveOptions::default()
        };
        Self {
            tree: tree.clone(),
            inner: ResolverGeneric::new_with_file_system(View::of(tree), options),
            aliases,
            is_exact: false,
            found: RefCell::default(),
            configurations: RefCell::default(),
        }
    }

    /// A resolver that finds what a browser finds in files that it gets as they are: only the file at the very path.
    pub(crate) fn exact(tree: &Tree) -> Self {
        Self { is_exact: true, ..Self::new(tree, Vec::new()) }
    }

    /// The path of the file that a file names, without the query. `None` for a package and for a file that does not exist.
    pub(crate) fn resolve(&self, importer: &str, specifier: &str) -> Option<String> {
        let (name, _) = path::split_query(specifier);
        let decoded = path::decoded(name);
        if self.is_exact {
            return self.named(importer, decoded.as_deref().unwrap_or(name));
        }
        // Addresses in pages and style sheets are encoded, names of modules are not.
        self.named(importer, name).or_else(|| self.named(importer, &decoded?))
    }

    /// As [`Resolver::resolve`], for a name without a query.
    fn named(&self, importer: &str, name: &str) -> Option<String> {
        if self.is_exact {
            let path = if path::is_relative(name) { path::join(path::folder(importer), name) } else { name.to_owned() };
            return path.strip_prefix('/').filter(|path| self.tree.has(path)).map(str::to_owned);
        }
        if path::is_relative(name) {
            return self.at(&path::join(path::folder(importer), name));
        }
        if name.starts_with('/') {
            return self.at(name);
        }
        let aliased = self.aliases.iter().find_map(|alias| replaced(alias, name));
        if let Some(found) = aliased.and_then(|specifier| self.at(&specifier)) {
            return Some(found);
        }
        if name.starts_with('#') {
            let found = self.inner.resolve_file(absolute(&format!("/{importer}")), name).ok()?;
            return inside(found.path());
        }
        let candidates = self.configuration(importer)?.resolve_path_alias_or_base_url(name);
        candidates.iter().find_map(|candidate| self.at(candidate.to_str()?.strip_prefix(ROOT)?))
    }

    /// Whether an alias or a path of the configuration covers the specifier, so that it names no package.
    pub(crate) fn is_local(&self, importer: &str, specifier: &str) -> bool {
        let (name, _) = path::split_query(specifier);
        let is_path = path::is_relative(name) || name.starts_with(['/', '#']);
        if self.is_exact {
            return is_path;
        }
        let is_alias = || self.aliases.iter().any(|alias| replaced(alias, name).is_some());
        // `*` covers every name, also that of a package.
        let is_pattern =
            |pattern: &str| pattern != "*" && (pattern == name || pattern.strip_suffix('*').is_some_and(|start| name.starts_with(start)));
        let is_configured = || {
            let configuration = self.configuration(importer)?;
            Some(configuration.compiler_options.paths.as_ref()?.keys().any(|pattern| is_pattern(pattern)))
        };
        is_path || is_alias() || is_configured() == Some(true)
    }

    /// The `tsconfig.json` or `jsconfig.json` of a file, and that of the root for a file that none includes.
    pub(crate) fn configuration(&self, importer: &str) -> Option<Arc<TsConfig>> {
        if let Some(known) = self.configurations.borrow().get(importer) {
            return known.clone();
        }
        let own = self.inner.find_tsconfig(absolute(&format!("/{importer}"))).ok().flatten();
        let configuration = own.or_else(|| self.inner.resolve_tsconfig(absolute("/tsconfig.json")).ok());
        self.configurations.borrow_mut().insert(importer.to_owned(), configuration.clone());
        configuration
    }

    /// The file of an absolute specifier.
    fn at(&self, specifier: &str) -> Option<String> {
        let exact = specifier.trim_start_matches('/');
        if self.tree.has(exact) {
            return Some(exact.to_owned());
        }
        if let Some(known) = self.found.borrow().get(specifier) {
            return known.clone();
        }
        let found = self.search(specifier, exact);
        self.found.borrow_mut().insert(specifier.to_owned(), found.clone());
        found
    }

    fn search(&self, specifier: &str, exact: &str) -> Option<String> {
        // What most imports are, without the resolver, which keeps every name that it looks at. An extension can stand for another one.
        if !EXTENSIONS.iter().any(|extension| exact.ends_with(extension))
            && let Some(found) = EXTENSIONS.iter().map(|extension| format!("{exact}{extension}")).find(|path| self.tree.has(path))
        {
            return Some(found);
        }
        if let Some(found) = self.inner.resolve(ROOT, &absolute(specifier)).ok().and_then(|found| inside(found.path())) {
            return Some(found);
        }
        let public = format!("{PUBLIC}/{exact}");
        self.tree.has(&public).then_some(public)
    }
}

/// The absolute specifier that an alias makes of a name.
fn replaced(alias: &Alias, name: &str) -> Option<String> {
    let rest = name.strip_prefix(alias.from.as_str())?;
    let is_whole = rest.is_empty() || rest.starts_with('/') || alias.from.ends_with('/');
    is_whole.then(|| path::join(&alias.to, rest))
}

fn absolute(specifier: &str) -> String {
    format!("{ROOT}{specifier}")
}

fn inside(path: &Path) -> Option<String> {
    Some(path.to_str()?.strip_prefix(ROOT)?.trim_start_matches('/').to_owned())
}
