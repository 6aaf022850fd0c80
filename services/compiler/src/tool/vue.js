import { compileScript, compileStyle, compileTemplate, parse } from "vue/compiler-sfc";

const fail = (message, line = 1, column = 1) => ({ error: { message, line, column } });

// The message of the compiler without its frame, and the place of which the frame has the mark.
function place(error, block) {
  const [head, ...frame] = String(error.message).split("\n");
  const message = head.replace(/^\[@?vue\/compiler-sfc\]\s*/, "").replace(/\s*\(\d+:\d+\)$/, "");
  const mark = frame.findIndex((line) => /^\s*\|\s*\^/.test(line));
  const line = mark > 0 ? /^(\d+)/.exec(frame[mark - 1]) : null;
  if (line) {
    const text = frame[mark - 1].slice(frame[mark - 1].indexOf("|") + 3);
    const column = Math.max(1, frame[mark].indexOf("^") - frame[mark].indexOf("|") - 2);
    // The frame marks the start of a line at the end of the line before.
    return column > text.length + 1 ? fail(message, Number(line[1]) + 1) : fail(message, Number(line[1]), column);
  }
  const start = error.loc?.start ?? error.loc;
  if (start?.line) return fail(message, start.line + (block ? block.loc.start.line - 1 : 0), start.column + (error.loc.start ? 0 : 1));
  return fail(message, block?.loc.start.line, 1);
}

function unsupported({ template, script, scriptSetup, styles }) {
  const language = (script ?? scriptSetup)?.lang ?? "js";
  if (!["js", "ts", "jsx", "tsx"].includes(language)) return fail(`<script lang="${language}"> is not supported`, (script ?? scriptSetup).loc.start.line);
  for (const block of [template, script, scriptSetup, ...styles]) {
    if (block?.src) return fail(`<${block.type} src> is not supported`, block.loc.start.line);
  }
  if (template?.lang && template.lang !== "html") return fail(`<template lang="${template.lang}"> is not supported`, template.loc.start.line);
  const style = styles.find(({ lang }) => lang && !["css", "postcss"].includes(lang));
  if (style) return fail(`<style lang="${style.lang}"> is not supported`, style.loc.start.line);
}

const linesOf = (text) => text.split("\n").length - 1;

// A part of the code with its source map.
const mapped = (line, { names, sources, mappings }) => ({ line, map: JSON.stringify({ version: 3, names, sources, mappings }) });

// A part of the code that is a copy of a block.
const copied = (line, { loc, content }) => ({
  line, copy: { line: loc.start.line - 1, column: loc.start.column - 1, count: linesOf(content) + 1 },
});

function script(descriptor, options, isScoped) {
  const { template, scriptSetup } = descriptor;
  const hasScript = descriptor.script || scriptSetup;
  // An open page can exchange a render function alone.
  const isInline = Boolean(scriptSetup) && !options.isHot;
  const language = (scriptSetup ?? descriptor.script)?.lang;
  const expressionPlugins = ["ts", "tsx"].includes(language) ? ["typescript"] : [];
  const templateOptions = { scoped: isScoped, slotted: descriptor.slotted, id: options.id, filename: options.path, isProd: options.isProd };
  if (!hasScript && !template) return { code: "const component = {};\n", script: "", parts: [] };
  let code = "const component = {};\n";
  let bindings;
  const parts = [];
  if (hasScript) {
    const compiled = compileScript(descriptor, {
      id: options.id, isProd: options.isProd, inlineTemplate: isInline, genDefaultAs: "component", sourceMap: options.isHot, templateOptions,
    });
    if (options.isHot) parts.push(compiled.map ? mapped(0, compiled.map) : copied(0, descriptor.script));
    code = `${compiled.content}\n`;
    bindings = compiled.bindings;
  }
  const scriptCode = code;
  if (template && !isInline) {
    const compiled = compileTemplate({
      ...templateOptions, source: template.content, ast: template.ast, compilerOptions: { bindingMetadata: bindings, expressionPlugins },
    });
    if (compiled.errors.length > 0) return { error: compiled.errors[0] };
    if (options.isHot && compiled.map) parts.push(mapped(linesOf(code), compiled.map));
    code += `${compiled.code.replace(/\bexport (function|const) render\b/, "$1 render")}\ncomponent.render = render;\n`;
  }
  return { code, script: scriptCode, parts };
}

// A number of 53 bits for a text.
function hash(text) {
  let [high, low] = [1, 2];
  for (const letter of text) {
    high = Math.imul(high ^ letter.codePointAt(0), 2654435761);
    low = Math.imul(low ^ letter.codePointAt(0), 1597334677);
  }
  return 4294967296 * (2097151 & low) + (high >>> 0);
}

// Exchanges the component in an open page. It keeps its state if only the template has changed.
function exchange(id, text) {
  return `component.__hmrId = ${JSON.stringify(id)};
component.__script = ${hash(text)};
if (import.meta.hot && typeof __VUE_HMR_RUNTIME__ !== "undefined") {
  __VUE_HMR_RUNTIME__.createRecord(component.__hmrId, component);
  import.meta.hot.accept(({ default: updated }) => {
    if (updated.__script === component.__script && !updated.__cssModules) __VUE_HMR_RUNTIME__.rerender(updated.__hmrId, updated.render);
    else __VUE_HMR_RUNTIME__.reload(updated.__hmrId, updated);
  });
}
`;
}

function styles(descriptor, options) {
  const compiled = [];
  for (const block of descriptor.styles) {
    const line = block.loc.start.line - 1;
    const result = compileStyle({ source: block.content, filename: options.path, id: `data-v-${options.id}`, scoped: Boolean(block.scoped), isProd: options.isProd });
    const error = result.errors[0];
    if (error) return fail(error.reason ?? String(error.message).split("\n")[0], line + (error.line ?? 1), error.column ?? 1);
    const name = block.module === true ? "$style" : block.module;
    compiled.push({ text: result.code, line, name: name || undefined, module: name ? `styles${compiled.length}` : undefined });
  }
  return { compiled };
}

export function run({ source, path, id, isDevelopment, isHot }) {
  const options = { path, id, isProd: !isDevelopment, isHot };
  const { descriptor, errors } = parse(source, { filename: path, sourceMap: false });
  if (errors.length > 0) return place(errors[0]);
  const refused = unsupported(descriptor);
  if (refused) return refused;
  const isScoped = descriptor.styles.some((style) => style.scoped);
  let compiled;
  try {
    compiled = script(descriptor, options, isScoped);
  } catch (error) {
    // The text of an error of the parser is about the block.
    return place(error, descriptor.scriptSetup ?? descriptor.script);
  }
  if (compiled.error) return place(compiled.error);
  const sheets = styles(descriptor, options);
  if (sheets.error) return sheets;
  let code = compiled.code;
  const modules = sheets.compiled.filter((sheet) => sheet.module);
  if (modules.length > 0) {
    code += `component.__cssModules = { ${modules.map((sheet) => `${JSON.stringify(sheet.name)}: ${sheet.module}`).join(", ")} };\n`;
  }
  if (isScoped) code += `component.__scopeId = ${JSON.stringify(`data-v-${id}`)};\n`;
  if (isHot) code += exchange(id, `${isScoped}${compiled.script}`);
  const language = (descriptor.scriptSetup ?? descriptor.script)?.lang ?? "js";
  return { code: `${code}export default component;\n`, language, parts: compiled.parts, styles: sheets.compiled.filter((sheet) => sheet.module || sheet.text.trim()), warnings: [] };
}
