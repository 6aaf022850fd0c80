// A configuration of the project and what it loads. MODULES has the modules of packages: `import` and `require`, by specifier.

const AsyncFunction = (async () => {}).constructor;
const PARAMETERS = ["module", "exports", "require", "__filename", "__dirname", "__vite_ssr_import__", "__vite_ssr_dynamic_import__"];
const EXPORTS = ["__vite_ssr_exports__", "__vite_ssr_exportAll__", "__vite_ssr_import_meta__"];
const BUILTINS = { fs: builtinFs, "fs/promises": builtinFs.promises, path: builtinPath, url: builtinUrl, os: builtinOs, module: builtinModule };

// An error of a module, with the path of its file.
const located = (error, path) => Object.assign(error instanceof Error ? error : new Error(String(error)), { backlotPath: error?.backlotPath ?? path });

const folderOf = (path) => `/${path}`.slice(0, `/${path}`.lastIndexOf("/")) || "/";

// What `import` gets of a module in CommonJS.
const namespaceOf = (value) => (typeof value === "object" && value !== null ? { ...value, default: value } : { default: value });

// What `require` gets of an ECMAScript module.
const valueOf = (names) => ("default" in names && Object.keys(names).length === 1 ? names.default : names);

// `modules` are files by path, in the order in which they can run. `targets` names one by importer and specifier.
function projectModules({ modules = [], targets = {} }) {
  const loaded = new Map();

  const find = (importer, specifier, kind) => {
    const own = loaded.get(targets[`${importer} ${specifier}`]);
    if (own) return own[kind];
    const builtin = BUILTINS[specifier.replace(/^node:/, "")];
    if (builtin) return kind === "import" ? namespaceOf(builtin) : builtin;
    const foreign = MODULES.get(`${specifier}#${kind}`);
    if (foreign) return foreign();
    throw new Error(`Cannot find module '${specifier}'`);
  };
  const requireOf = (importer) => {
    const own = (specifier) => find(importer, specifier, "require");
    const resolve = (specifier) => {
      const target = targets[`${importer} ${specifier}`];
      if (target) return `/${target}`;
      if (/^\.{0,2}\//.test(specifier)) return builtinPath.resolve(folderOf(importer), specifier);
      // A package without a path in it: its main file is not known, and its folder is what a configuration wants.
      return /^(@[^/]+\/)?[^/]+$/.test(specifier) ? `/node_modules/${specifier}/package.json` : `/node_modules/${specifier}`;
    };
    return Object.assign(own, { resolve, cache: {} });
  };
  globalThis.backlotRequire = (from) => requireOf(from.replace(/^(file:\/\/)?\/+/, ""));

  const load = async ({ path, code, isModule }) => {
    const module = { exports: {} };
    const { exports } = module;
    const names = {};
    const load = async (specifier) => find(path, specifier, "import");
    const addAll = (all) => {
      for (const key of Object.keys(all)) {
        if (key !== "default" && !(key in names)) Object.defineProperty(names, key, { enumerable: true, configurable: true, get: () => all[key] });
      }
    };
    const meta = { url: `file:///${path}`, dirname: folderOf(path), filename: `/${path}`, env: {} };
    // In a block, a module can define a name of a parameter.
    const run = new AsyncFunction(...PARAMETERS, ...EXPORTS, `${isModule ? '"use strict";' : ""}{${code}\n}`);
    await run(module, exports, requireOf(path), `/${path}`, folderOf(path), load, load, names, addAll, meta);
    // TypeScript allows `module.exports` in a file with imports.
    const isOwn = isModule && module.exports === exports && Object.keys(exports).length === 0;
    loaded.set(path, isOwn ? { import: names, require: valueOf(names) } : { import: namespaceOf(module.exports), require: module.exports });
  };

  return {
    async loadAll() {
      for (const module of modules) {
        try {
          await load(module);
        } catch (error) {
          throw located(error, module.path);
        }
      }
    },
    // The default export of a file.
    exported(path) {
      const found = loaded.get(path)?.import;
      return found?.default ?? found;
    },
  };
}
