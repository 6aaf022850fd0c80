import { compile, compileModule } from "svelte/compiler";

const place = ({ code, message, start }) => ({
  code,
  message: message.replace(/\nhttps:\S+$/, ""),
  line: start?.line ?? 1,
  column: (start?.column ?? 0) + 1,
});

export function run({ source, path, isModule, isDevelopment }) {
  const options = { filename: path, generate: "client", dev: isDevelopment };
  try {
    const result = isModule ? compileModule(source, options) : compile(source, { ...options, css: "external", discloseVersion: false });
    const start = /<style(\s[^>]*)?>/.exec(source);
    const line = start ? source.slice(0, start.index + start[0].length).split("\n").length - 1 : 0;
    const styles = result.css?.code ? [{ text: result.css.code, line }] : [];
    return { code: result.js.code, language: "js", styles, warnings: result.warnings.map(place) };
  } catch (error) {
    if (error?.start === undefined && error?.code === undefined) throw error;
    return { error: place(error) };
  }
}
