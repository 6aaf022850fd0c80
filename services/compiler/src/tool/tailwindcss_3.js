// Tailwind 3. SHEETS and MODULES are the style sheets and modules of packages, by specifier. The lines before these define them.

const inner = (module) => module.default ?? module;
const MARKS = /@(tailwind|apply|screen|layer|variants|responsive|config)\b|\b(theme|screen)\(/;
const MAX_DEPTH = 50;

function place(error, path) {
  if (error?.backlotPath) return fail(error.message, 1, 1, error.backlotPath);
  if (error?.name === "CssSyntaxError") return fail(error.reason, error.line, error.column, error.file ?? path);
  throw error;
}

// The address of an import, and the conditions after it.
function importOf(rule) {
  const [, , address, rest] = /^\s*(?:url\(\s*)?(["']?)([^"')]+)\1\s*\)?\s*([^]*)$/.exec(rule.params) ?? [];
  return { address: address ?? "", conditions: rest?.trim() ?? "" };
}

// The nodes in the blocks that an import asks for.
function wrapped(nodes, conditions) {
  const [, layer, layerName, supports, media] = /^(layer(?:\(([^)]*)\))?(?=\s|$))?\s*(supports\([^]*?\)(?=\s|$))?\s*([^]*)$/.exec(conditions);
  const around = (name, params, inside) => [postcss.atRule({ name, params, nodes: inside })];
  let found = nodes;
  if (layer) found = around("layer", layerName ?? "", found);
  if (supports) found = around("supports", supports.slice("supports".length), found);
  return media ? around("media", media.trim(), found) : found;
}

// Puts the imported sheets in place of their imports. Those of addresses and of files that Tailwind does not read stay, and come first.
function inline(root, path, { entry, sheets, kept }, open = [path]) {
  root.walkAtRules("import", (rule) => {
    if (rule.parent !== root) return;
    const { address, conditions } = importOf(rule);
    const own = sheets[`${path} ${address}`];
    const text = own?.text ?? SHEETS.get(address);
    const isKept = text === undefined || (!own && (hasFiles(text) || /@import\b/.test(text)));
    if (isKept) {
      kept.push(rule);
      return;
    }
    const name = own?.path ?? address;
    if (open.includes(name) || open.length > MAX_DEPTH) {
      rule.remove();
      return;
    }
    const sheet = postcss.parse(own ? rebase(text, name, entry) : text, { from: name });
    inline(sheet, name, { entry, sheets, kept }, [...open, name]);
    rule.replaceWith(wrapped(sheet.nodes, conditions));
  });
}

async function resolved(config) {
  const own = projectModules(config);
  await own.loadAll();
  return inner(resolveConfig)(config.configuration ? own.exported(config.configuration) : {});
}

// The patterns of the files that a configuration names.
function sourcesOf({ files, relative }, path) {
  const patterns = files.filter((file) => typeof file === "string");
  const base = relative && path ? path : "";
  return patterns.map((pattern) => {
    const negated = pattern.startsWith("!");
    return { base, pattern: negated ? pattern.slice(1) : pattern, negated };
  });
}

// Texts that a configuration has in place of files.
const textsOf = ({ files }) =>
  files.filter((file) => typeof file?.raw === "string").map(({ raw, extension = "html" }) => ({ content: raw, extension: String(extension) }));

export async function run({ css, path, sheets, words, files, hasNesting, ...config }) {
  globalThis.backlotFiles = { ...files, "css/preflight.css": preflight };
  const kept = [];
  try {
    const root = postcss.parse(css, { from: path });
    inline(root, path, { entry: path, sheets, kept });
    for (const rule of kept.reverse()) root.prepend(rule.remove());
    if (!MARKS.test(root.toString())) return { css: root.toString(), sources: [], isClosed: false };
    root.walkAtRules("config", (rule) => rule.remove());
    const options = await resolved(config);
    const result = { opts: { from: path }, messages: [], root, warn() {} };
    if (hasNesting) inner(nesting)().Once(root, { result });
    const content = [...words.loaded, ...words.named, ...WORDS].join("\n");
    const features = inner(processTailwindFeatures)(({ createContext }) => () => createContext(options, [{ content, extension: "html" }, ...textsOf(options.content)]));
    await features(root, result);
    return { css: root.toString(), sources: sourcesOf(options.content, config.configuration), isClosed: false };
  } catch (error) {
    return place(error, path);
  }
}
