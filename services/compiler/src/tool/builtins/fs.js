// The module `fs` for a configuration and its plugins. It reads the files that the tool was given, and no others.
const files = () => globalThis.backlotFiles ?? {};
const inside = (path) => String(path).replace(/^file:\/\//, "").replace(/^(\.?\/)+/, "");

const absent = (path) => {
  throw Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), { code: "ENOENT" });
};

const has = (path) => Object.hasOwn(files(), inside(path));
const names = (path) => {
  const start = inside(path) === "" ? "" : `${inside(path).replace(/\/+$/, "")}/`;
  const below = Object.keys(files()).filter((file) => file.startsWith(start));
  return [...new Set(below.map((file) => file.slice(start.length).split("/")[0]))].sort();
};
const isFolder = (path) => !has(path) && names(path).length > 0;

const readFileSync = (path) => (has(path) ? files()[inside(path)] : absent(path));
const readdirSync = (path) => (isFolder(path) ? names(path) : absent(path));
const existsSync = (path) => has(path) || isFolder(path);
function statSync(path) {
  if (!existsSync(path)) absent(path);
  return { isFile: () => has(path), isDirectory: () => isFolder(path), mtimeMs: 0, size: has(path) ? files()[inside(path)].length : 0 };
}

const promises = {
  readFile: async (path) => readFileSync(path),
  readdir: async (path) => readdirSync(path),
  stat: async (path) => statSync(path),
};
module.exports = { readFileSync, readdirSync, existsSync, statSync, lstatSync: statSync, realpathSync: (path) => path, promises };
