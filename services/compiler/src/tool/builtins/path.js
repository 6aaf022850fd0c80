// The module `path` for a configuration and its plugins: paths of POSIX, with `/` as the working directory.
const normalizeParts = (path, isAbsolute) => {
  const parts = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (!isAbsolute) parts.push("..");
  }
  return parts.join("/");
};

const isAbsolute = (path) => path.startsWith("/");

function normalize(path) {
  const isRooted = isAbsolute(path);
  const inner = normalizeParts(path, isRooted);
  const end = inner !== "" && path.endsWith("/") ? "/" : "";
  return (isRooted ? "/" : "") + inner + end || ".";
}

const join = (...paths) => normalize(paths.filter((path) => path !== "").join("/"));

function resolve(...paths) {
  let found = "";
  for (const path of [...paths].reverse()) {
    if (path !== "") found = found === "" ? path : `${path}/${found}`;
    if (isAbsolute(found)) break;
  }
  return `/${normalizeParts(`/${found}`, true)}`;
}

function dirname(path) {
  const end = path.replace(/\/+$/, "").lastIndexOf("/");
  if (end < 0) return path.startsWith("/") ? "/" : ".";
  return path.slice(0, end) || "/";
}

function basename(path, end = "") {
  const name = path.replace(/\/+$/, "").split("/").at(-1);
  return end !== "" && name !== end && name.endsWith(end) ? name.slice(0, -end.length) : name;
}

function extname(path) {
  const name = basename(path);
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(dot) : "";
}

function relative(from, to) {
  const [start, end] = [from, to].map((path) => resolve(path).split("/").filter(Boolean));
  let shared = 0;
  while (shared < start.length && start[shared] === end[shared]) shared += 1;
  return [...start.slice(shared).map(() => ".."), ...end.slice(shared)].join("/");
}

function parse(path) {
  const [base, ext] = [basename(path), extname(path)];
  const dir = path.includes("/") ? dirname(path) : "";
  return { root: isAbsolute(path) ? "/" : "", dir, base, ext, name: base.slice(0, base.length - ext.length) };
}

const format = ({ dir, root, base, name = "", ext = "" }) => join(dir || root || "", base ?? name + ext);

const path = { sep: "/", delimiter: ":", isAbsolute, normalize, join, resolve, dirname, basename, extname, relative, parse, format };
module.exports = { ...path, posix: path };
