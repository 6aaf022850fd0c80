// What the page shows. Nothing here calls the server. Text is inserted as text, never as HTML.

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

// What the turn does; while the connection is lost, that stands in its place.
const shown = { kind: "", text: "", lost: "" };

export function status(kind, text) {
  Object.assign(shown, { kind, text, lost: "" });
  drawStatus();
}

export function lost(text) {
  if (shown.lost === text) return;
  shown.lost = text;
  drawStatus();
}

function drawStatus() {
  element("state").dataset.kind = shown.lost ? "lost" : shown.kind;
  element("state").textContent = shown.lost || shown.text;
}

export function make(tag, attributes, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

export function keepEnd(list, change) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  change();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

// Who reads the end of the conversation stays there when the room for it changes, or when it is seen again. A scroll that is told
// after such a change, and before it is followed, says nothing of where the person reads.
let [atEnd, room] = [true, element("said").clientHeight];
element("said").addEventListener("scroll", ({ currentTarget: list }) => {
  if (list.clientHeight && list.clientHeight === room) atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
});
new ResizeObserver(([{ target: list }]) => {
  room = list.clientHeight;
  if (atEnd) list.scrollTop = list.scrollHeight;
}).observe(element("said"));

const NAMES = { user: "You:", agent: "Agent:" };
const ending = (kind, text) => make("p", { className: `end ${kind}` }, text);

// `end` tells how the turn ended, if that is known and it brought no files.
function saying(who, text, { partial, end } = {}) {
  const line = make("li", { className: who }, make("span", { className: "sr" }, NAMES[who]), make("div", { className: "words" }, text));
  if (end?.line) line.append(ending(end.kind, end.line));
  else if (partial) line.append(ending("partial", "This answer did not come to its end. No file was changed."));
  return line;
}

const last = (what) => element("conversation").lastElementChild?.querySelector(what);
let keptText = "";
// Space at the end belongs to no answer.
const rewrite = (change) => last(".words")?.replaceChildren(change(last(".words").textContent.trimEnd()));

// The conversation: who said it, what, and how a turn ended that brought nothing.
export const conversation = {
  clear: () => element("conversation").replaceChildren(),
  add(who, text) {
    keepEnd(element("said"), () => element("conversation").append(saying(who, text)));
    // Whoever says something sees it.
    if (who === "user") element("said").scrollTop = element("said").scrollHeight;
  },
  // What was said before; the person may have said something since. `endOf` gives the end that stands below a message.
  before(messages, endOf) {
    const lines = messages.flatMap((message) => {
      const { role, text, partial } = message;
      const end = endOf(message);
      if (role !== "MESSAGE_ROLE_USER") return text || partial || end?.line ? [saying("agent", text, { partial, end })] : [];
      // As it looked live: what became of a prompt is told by whoever did not answer it.
      return end?.line ? [saying("user", text), saying("agent", "", { end })] : [saying("user", text)];
    });
    keepEnd(element("said"), () => element("conversation").prepend(...lines));
  },
  append: (text) => keepEnd(element("said"), () => last(".words")?.append(text)),
  // Another block of the answer, as it is stored: an empty line between.
  block: () => keepEnd(element("said"), () => rewrite((text) => text && `${text}\n\n`)),
  // Stands below the agent's last answer; another one takes its place.
  end(kind, text) {
    last(".end")?.remove();
    if (!element("conversation").lastElementChild?.matches(".agent")) {
      if (text) conversation.add("agent", "");
    } else {
      rewrite((answer) => answer);
      // An answer without words says something by its end alone.
      if (!text && !last(".words").textContent) conversation.dropLast();
    }
    if (text) keepEnd(element("said"), () => element("conversation").lastElementChild.append(ending(kind, text)));
  },
  dropLast: () => element("conversation").lastElementChild?.remove(),
  // What was said before the step that runs, and back to it.
  keep: () => (keptText = last(".words")?.textContent.trimEnd() ?? ""),
  back: () => last(".words")?.replaceChildren(keptText),
  // A reader on a screen hears an answer once it is whole.
  writing: (is) => element("said").setAttribute("aria-busy", String(is)),
};

export const events = {
  clear() {
    element("events").replaceChildren();
    element("count").textContent = "0";
  },
  add({ seq, type, data }) {
    keepEnd(element("pane-events"), () => {
      const list = element("events");
      list.append(make("li", {}, make("span", {}, String(seq)), make("span", {}, type), make("span", {}, JSON.stringify(data))));
      if (list.childElementCount > EVENTS_SHOWN) list.firstElementChild.remove();
    });
    element("count").textContent = String(seq);
  },
};

export const previewPane = {
  // The id of the revision that the page shows.
  shown: "",
  clear() {
    this.frame("");
    element("open").hidden = true;
    element("empty").hidden = false;
    this.revision();
  },
  // A new frame each time: one that goes from page to page adds to the steps of the browser's way back.
  frame(url) {
    const frame = element("preview").cloneNode();
    frame.removeAttribute("src");
    if (url) frame.src = url;
    frame.hidden = !url;
    element("preview").replaceWith(frame);
  },
  revision(revision) {
    this.shown = revision?.id ?? "";
    element("revision").textContent = revision ? `revision ${revision.number} · ${revision.id.slice(0, 8)}` : "no revision yet";
  },
  at(url) {
    this.frame(url);
    element("empty").hidden = true;
    element("open").href = url;
    element("open").hidden = false;
  },
};
