// Tailwind 4. SHEETS and MODULES are the style sheets and modules of packages, by specifier. The lines before these define them.

function place(error, css, path) {
  if (error?.backlotPath) return fail(error.message, 1, 1, error.backlotPath);
  const message = String(error.message).split("\n").at(-1).replace(/^CssSyntaxError:\s*/, "").replace(/^.*?:\d+:\d+:\s*/, "");
  const [source, start] = error.loc ?? [];
  if (source?.code !== undefined) {
    const before = source.code.slice(0, start).split("\n");
    return fail(message, before.length, before.at(-1).length + 1, source.file ?? path);
  }
  // The message names what is wrong: `@apply` of an unknown class.
  const name = /`([^`]+)`/.exec(message)?.[1];
  const at = name ? css.indexOf(name) : -1;
  if (at < 0) return fail(message, 1, 1, path);
  const before = css.slice(0, at).split("\n");
  return fail(message, before.length, before.at(-1).length + 1, path);
}

// `sources` are the patterns of files that are read besides the modules of the page.
export async function run({ css, path, sheets, words, files, ...config }) {
  globalThis.backlotFiles = files;
  const kept = new Set();
  const loadStylesheet = async (id, base) => {
    const own = sheets[`${base} ${id}`];
    if (own) return { path: own.path, base: own.path, content: rebase(own.text, own.path, path) };
    const text = SHEETS.get(id);
    if (text === undefined) throw new Error(`there is no style sheet for the import ${id}`);
    if (!hasFiles(text)) return { path: id, base: id, content: text };
    kept.add(id);
    return { path: id, base: id, content: "" };
  };
  if (typeof compile !== "function") return fail("the package tailwindcss is not version 4");
  try {
    const own = projectModules(config);
    await own.loadAll();
    const loadModule = async (id, base) => {
      const target = config.targets?.[`${base} ${id}`];
      if (target) return { path: target, base: target, module: own.exported(target) };
      const module = MODULES.get(`${id}#import`)?.();
      if (module === undefined) throw new Error(`Cannot find module '${id}'`);
      return { path: id, base: id, module: module.default ?? module };
    };
    const compiled = await compile(css, { base: path, from: path, loadStylesheet, loadModule });
    const isClosed = compiled.root === "none";
    const text = compiled.build([...(isClosed ? [] : words.loaded), ...words.named, ...WORDS]);
    return { css: [...kept].map((id) => `@import ${JSON.stringify(id)};\n`).join("") + text, sources: compiled.sources ?? [], isClosed };
  } catch (error) {
    return place(error, css, path);
  }
}
