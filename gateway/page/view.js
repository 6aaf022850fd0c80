// What the page shows. Nothing here talks to the server; text only ever enters as text.

export const element = (id) => document.getElementById(id);
const EVENTS_SHOWN = 2000;

export function show(view) {
  document.body.dataset.view = view;
}

export function say(form, text) {
  const line = element(form).querySelector(".fault");
  line.textContent = text;
  line.hidden = !text;
}

// One line for the person, in every view; no text takes it away.
export function note(text) {
  element("note").textContent = text;
  element("note").hidden = !text;
}

// Whether the page is still being filled with what the server has.
export function busy(is) {
  document.body.setAttribute("aria-busy", String(is));
}

export function status(kind, text) {
  element("state").dataset.kind = kind;
  element("state").textContent = text;
}

function make(tag, attributes, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

function keepEnd(list, change) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  change();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

export const talk = {
  clear: () => element("talk").replaceChildren(),
  add: (who, text, partial) => keepEnd(element("talk"), () => element("talk").append(make("li", { className: partial ? `${who} partial` : who }, text))),
  append: (text) => keepEnd(element("talk"), () => element("talk").lastElementChild?.append(text)),
  dropLast: () => element("talk").lastElementChild?.remove(),
  // What was said before the step that runs, and back to it.
  keep: () => (kept.text = element("talk").lastElementChild?.textContent ?? ""),
  back: () => element("talk").lastElementChild?.replaceChildren(kept.text),
};

const kept = { text: "", live: new Map() };

export const events = {
  clear() {
    element("pane-events").replaceChildren();
    element("count").textContent = "0";
  },
  add({ seq, type, data }) {
    const list = element("pane-events");
    keepEnd(list, () => {
      list.append(make("li", {}, make("span", {}, String(seq)), make("span", {}, type), make("span", {}, JSON.stringify(data))));
      if (list.childElementCount > EVENTS_SHOWN) list.firstElementChild.remove();
    });
    element("count").textContent = String(seq);
  },
};

// The tree as the server has it, and what the running turn does to it.
const tree = { saved: new Map(), live: new Map(), current: "" };

export const files = {
  clear() {
    tree.saved.clear();
    tree.live.clear();
    tree.current = "";
    draw();
  },
  any: () => tree.saved.size > 0,
  set(loaded) {
    tree.saved = new Map(loaded.map((f) => [f.path, { text: f.content?.text ?? (f.content?.binary ? "(binary)" : ""), size: f.sizeBytes ?? 0 }]));
    tree.live.clear();
    if (!tree.saved.has(tree.current)) tree.current = loaded[0]?.path ?? "";
    draw();
  },
  // Takes back what a turn did that ended without files.
  settle() {
    tree.live.clear();
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
    const shown = element("files").querySelector(`[data-path="${CSS.escape(file.path)}"] span:last-child`);
    if (shown) shown.textContent = sizeOf(file.size);
    if (file.path === tree.current) keepEnd(element("source"), () => element("source").firstElementChild.append(text));
  },
  close(call, path, size) {
    const file = tree.live.get(call);
    if (file) Object.assign(file, { path, size });
    draw();
  },
  keep: () => (kept.live = new Map([...tree.live].map(([call, file]) => [call, { ...file }]))),
  back() {
    tree.live = kept.live;
    draw();
  },
};

function draw() {
  const shown = new Map([...tree.saved].map(([path, file]) => [path, { ...file, live: false }]));
  for (const file of tree.live.values()) shown.set(file.path, { ...file, live: true });
  const rows = [...shown].sort(([a], [b]) => (a < b ? -1 : 1)).map(([path, file]) => row(path, file));
  element("files").replaceChildren(...rows);
  element("source").firstElementChild.textContent = shown.get(tree.current)?.text ?? "";
}

function sizeOf(bytes) {
  return bytes < 1024 ? `${bytes} B` : `${(bytes / 1024).toFixed(1)} KiB`;
}

function row(path, file) {
  const button = make("button", { type: "button", className: file.live ? "live" : "" }, make("span", {}, path), make("span", {}, sizeOf(file.size)));
  button.dataset.path = path;
  button.setAttribute("aria-current", String(path === tree.current));
  button.addEventListener("click", () => {
    tree.current = path;
    draw();
  });
  return make("li", {}, button);
}

export const look = {
  // The id of the revision that the page shows.
  shown: "",
  clear() {
    element("preview").hidden = true;
    element("preview").removeAttribute("src");
    element("open").hidden = true;
    element("empty").hidden = false;
    this.revision();
  },
  revision(revision) {
    this.shown = revision?.id ?? "";
    element("revision").textContent = revision ? `revision ${revision.number} · ${revision.id.slice(0, 8)}` : "no revision yet";
  },
  at(url) {
    element("preview").src = url;
    element("preview").hidden = false;
    element("empty").hidden = true;
    element("open").href = url;
    element("open").hidden = false;
  },
};

for (const tab of document.querySelectorAll("[role=tab]")) {
  tab.addEventListener("click", () => {
    for (const other of document.querySelectorAll("[role=tab]")) {
      other.setAttribute("aria-selected", String(other === tab));
      element(other.getAttribute("aria-controls")).hidden = other !== tab;
    }
  });
}
