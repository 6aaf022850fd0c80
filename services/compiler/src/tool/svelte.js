import { compile, compileModule } from "svelte/compiler";

// The preprocessors whose work is done without them, by package.
const KNOWN = { "@sveltejs/vite-plugin-svelte": ["vitePreprocess"], "svelte-preprocess": ["default", "sveltePreprocess"] };

// Nothing of a package runs in a configuration. What its functions return says which preprocessor it would be.
const standIn = (name) =>
  new Proxy({}, { get: (_, member) => (member === "then" ? undefined : () => ({ backlotPreprocessor: KNOWN[name]?.includes(member) ? "" : name })) });
const MODULES = { get: (key) => () => standIn(key.slice(0, key.lastIndexOf("#"))) };

// Options that are those of the page.
const OWN = ["cssOutputFilename", "dev", "discloseVersion", "filename", "generate", "hmr", "modernAst", "outputFilename", "rootDir", "sourcemap"];

const place = ({ code, message, start }) => ({
  code,
  message: message.replace(/\nhttps:\S+$/, ""),
  line: start?.line ?? 1,
  column: (start?.column ?? 0) + 1,
});

const unused = (error) => `it is not used: ${String(error?.message ?? error).replace(/\nhttps:\S+$/, "")}`;

// The options of a configuration, and what to say of it.
async function read({ modules, targets, path }) {
  try {
    const project = projectModules({ modules, targets });
    await project.loadAll();
    const { compilerOptions = {}, preprocess = [] } = project.exported(path) ?? {};
    const names = [preprocess].flat(Infinity).map((one) => one?.backlotPreprocessor ?? "of the project");
    const notes = names.filter(Boolean).map((name) => `the preprocessor ${name} is not run`);
    return { options: Object.fromEntries(Object.entries(compilerOptions).filter(([name]) => !OWN.includes(name))), notes };
  } catch (error) {
    return { options: {}, notes: [unused(error)] };
  }
}

// The last configuration that was read.
let last = { key: "", value: undefined };

// Components of packages have no configuration.
async function configured(configuration) {
  if (!configuration) return { options: {}, notes: [] };
  const key = JSON.stringify(configuration);
  if (last.key !== key) last = { key, value: await read(configuration) };
  return last.value;
}

function compiled({ source, path, isModule, isDevelopment, isHot }, options) {
  const own = { filename: path, generate: "client", dev: isDevelopment };
  const { experimental, warningFilter } = options;
  if (isModule) return compileModule(source, { ...(experimental && { experimental }), ...(warningFilter && { warningFilter }), ...own });
  return compile(source, { css: "external", ...options, ...own, discloseVersion: false, hmr: isHot });
}

export async function run(input) {
  const { source, path, isHot } = input;
  const { options, notes } = await configured(input.configuration);
  const said = [...notes];
  try {
    let result;
    try {
      result = compiled(input, options);
    } catch (error) {
      if (!String(error?.code).startsWith("options_")) throw error;
      said.push(unused(error));
      result = compiled(input, {});
    }
    const start = /<style(\s[^>]*)?>/.exec(source);
    const line = start ? source.slice(0, start.index + start[0].length).split("\n").length - 1 : 0;
    const styles = result.css?.code ? [{ text: result.css.code, line }] : [];
    const parts = isHot ? [{ line: 0, map: JSON.stringify({ version: 3, names: [], sources: [path], mappings: result.js.map.mappings }) }] : [];
    return { code: result.js.code, language: "js", styles, parts, warnings: result.warnings.map(place), notes: said };
  } catch (error) {
    if (error?.start === undefined && error?.code === undefined) throw error;
    return { error: place(error), notes: said };
  }
}
