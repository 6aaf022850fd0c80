// SHEETS and MODULES are the style sheets and plugins of packages, by specifier. The lines before this one define them.

const fail = (message, line = 1, column = 1, path = "") => ({ error: { message, line, column, path } });

function place(error, css, path) {
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

// A sheet with files of its own stays an import, so that their addresses are found.
const hasFiles = (text) => /url\(\s*["']?(?!data:|https?:|#|\/\/)/.test(text) && !/@(apply|theme|utility|plugin|custom-variant|tailwind)\b/.test(text);

export async function run({ css, path, sheets, words }) {
  const kept = new Set();
  const loadStylesheet = async (id, base) => {
    const own = sheets[`${base} ${id}`];
    if (own) return { path: own.path, base: own.path, content: own.text };
    const text = SHEETS.get(id);
    if (text === undefined) throw new Error(`there is no style sheet for the import ${id}`);
    if (!hasFiles(text)) return { path: id, base: id, content: text };
    kept.add(id);
    return { path: id, base: id, content: "" };
  };
  const loadModule = async (id) => {
    const module = MODULES.get(id);
    if (module === undefined) throw new Error(`plugins and configurations of the project do not run here: ${id}`);
    return { path: id, base: id, module: module.default ?? module };
  };
  if (typeof compile !== "function") return fail("the package tailwindcss is not version 4");
  try {
    const compiled = await compile(css, { base: path, from: path, loadStylesheet, loadModule });
    const text = compiled.build(compiled.root === "none" ? [] : words);
    return { css: [...kept].map((id) => `@import ${JSON.stringify(id)};\n`).join("") + text };
  } catch (error) {
    return place(error, css, path);
  }
}
