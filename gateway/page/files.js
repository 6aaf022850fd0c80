// The tree of files: as it is saved on the server, and the changes of the running turn.

import { element, keepEnd, make } from "/page/view.js";

const tree = { saved: new Map(), live: new Map(), current: "" };
let keptLive = new Map();
// The row of each path. A row stays the same element, so that the focus stays on it.
const rows = new Map();

export const files = {
  clear() {
    tree.saved.clear();
    tree.live.clear();
    tree.current = "";
    draw();
  },
  any: () => tree.saved.size > 0,
  // `working`: a running turn still changes the files.
  set(loaded, working = false) {
    tree.saved = new Map(loaded.map((f) => [f.path, { text: f.content?.text ?? (f.content?.binary ? "(binary)" : ""), size: f.sizeBytes ?? 0 }]));
    if (!working) tree.live.clear();
    if (!tree.live.size && !tree.saved.has(tree.current)) tree.current = loaded[0]?.path ?? "";
    draw();
  },
  // Removes the changes of a turn that ended without files.
  settle() {
    tree.live.clear();
    if (!tree.saved.has(tree.current)) tree.current = tree.saved.keys().next().value ?? "";
    draw();
  },
  open(call, path, operation) {
    tree.live.set(call, { path, text: operation === "FILE_OPERATION_WRITE" ? "" : (tree.saved.get(path)?.text ?? ""), size: 0 });
    tree.current = path;
    draw();
  },
  append(call, text) {
    const file = tree.live.get(call);
    if (!file) return;
    file.text += text;
    file.size = file.text.length;
    const size = rows.get(file.path)?.querySelector("span:last-child");
    if (size) size.textContent = sizeOf(file.size);
    if (file.path === tree.current) keepEnd(element("source"), () => element("source").firstElementChild.append(text));
  },
  close(call, path, size) {
    const file = tree.live.get(call);
    if (file) Object.assign(file, { path, size });
    draw();
  },
  keep: () => (keptLive = new Map([...tree.live].map(([call, file]) => [call, { ...file }]))),
  back() {
    tree.live = keptLive;
    draw();
  },
};

function draw() {
  const shown = new Map([...tree.saved].map(([path, file]) => [path, { ...file, live: false }]));
  for (const file of tree.live.values()) shown.set(file.path, { ...file, live: true });
  for (const [path, row] of rows) {
    if (shown.has(path)) continue;
    row.remove();
    rows.delete(path);
  }
  let before = null;
  for (const [path, file] of [...shown].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!rows.has(path)) rows.set(path, newRow(path));
    const row = rows.get(path);
    fill(row, path, file);
    const place = before ? before.nextElementSibling : element("files").firstElementChild;
    if (place !== row) element("files").insertBefore(row, place);
    before = row;
  }
  element("no-files").hidden = shown.size > 0;
  const text = shown.get(tree.current)?.text ?? "";
  const code = element("source").firstElementChild;
  if (code.textContent !== text) code.textContent = text;
  element("source").setAttribute("aria-label", tree.current ? `Source of ${tree.current}` : "Source");
}

function sizeOf(bytes) {
  return bytes < 1024 ? `${bytes} B` : `${(bytes / 1024).toFixed(1)} KiB`;
}

function newRow(path) {
  const button = make("button", { type: "button" }, make("span", {}, path), make("span", {}));
  button.dataset.path = path;
  button.addEventListener("click", () => {
    tree.current = path;
    draw();
    element("source").scrollTop = 0;
  });
  return make("li", {}, button);
}

function fill(row, path, file) {
  const button = row.firstElementChild;
  button.className = file.live ? "live" : "";
  button.setAttribute("aria-current", String(path === tree.current));
  button.lastElementChild.textContent = sizeOf(file.size);
}
