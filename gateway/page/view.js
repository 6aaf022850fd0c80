// What the page shows. Nothing here calls the server. Text is inserted as text, never as HTML.

export const element = (id) => document.getElementById(id);
const EVENTS_SHOWN = 2000;

export function show(view) {
  document.body.dataset.view = view;
}

// `wayOn`: the address and the label of a link after the text.
export function say(form, text, wayOn) {
  const line = element(form).querySelector(".fault");
  line.replaceChildren(text, ...(wayOn ? ["\n", make("a", { href: wayOn.to }, wayOn.label)] : []));
  line.hidden = !text;
}

// Shows one line in every view. An empty text removes it.
export function note(text) {
  element("note").textContent = text;
  element("note").hidden = !text;
}

// Whether the page is still loading.
export function busy(is) {
  document.body.setAttribute("aria-busy", String(is));
}

// The state of the turn. While the connection is lost, that is shown instead.
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

// The conversation stays scrolled to its end when its size changes, or when it is shown again. A scroll event between such a change and the
// correction is ignored.
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

// `end` is how the turn ended, if it is known and the turn changed no files.
function saying(who, text, { partial, end } = {}) {
  const line = make("li", { className: who }, make("span", { className: "sr" }, NAMES[who]), make("div", { className: "words" }, text));
  if (end?.line) line.append(ending(end.kind, end.line));
  else if (partial) line.append(ending("partial", "This answer is incomplete. No file was changed."));
  return line;
}

const last = (what) => element("conversation").lastElementChild?.querySelector(what);
let keptText = "";
// White space at the end does not belong to the answer.
const rewrite = (change) => last(".words")?.replaceChildren(change(last(".words").textContent.trimEnd()));

// The conversation: messages, and how a turn ended that changed no files.
export const conversation = {
  clear: () => element("conversation").replaceChildren(),
  add(who, text) {
    keepEnd(element("said"), () => element("conversation").append(saying(who, text)));
    // A new prompt is scrolled into view.
    if (who === "user") element("said").scrollTop = element("said").scrollHeight;
  },
  // Inserts earlier messages before those that are there. `endOf` returns the end that is shown below a message.
  before(messages, endOf) {
    const lines = messages.flatMap((message) => {
      const { role, text, partial } = message;
      const end = endOf(message);
      if (role !== "MESSAGE_ROLE_USER") return text || partial || end?.line ? [saying("agent", text, { partial, end })] : [];
      // As in a live turn: the end of a turn without an answer is shown as a message of the agent.
      return end?.line ? [saying("user", text), saying("agent", "", { end })] : [saying("user", text)];
    });
    keepEnd(element("said"), () => element("conversation").prepend(...lines));
  },
  append: (text) => keepEnd(element("said"), () => last(".words")?.append(text)),
  // Begins another block of the answer, after an empty line, as it is stored.
  block: () => keepEnd(element("said"), () => rewrite((text) => text && `${text}\n\n`)),
  // Shows the end below the last answer of the agent, in place of an earlier one.
  end(kind, text) {
    last(".end")?.remove();
    if (!element("conversation").lastElementChild?.matches(".agent")) {
      if (text) conversation.add("agent", "");
    } else {
      rewrite((answer) => answer);
      // An empty answer without an end is removed.
      if (!text && !last(".words").textContent) conversation.dropLast();
    }
    if (text) keepEnd(element("said"), () => element("conversation").lastElementChild.append(ending(kind, text)));
  },
  // Shows what a check of the turn has found, in place of an earlier check.
  checked(details) {
    last(".checks")?.remove();
    if (details && element("conversation").lastElementChild?.matches(".agent")) keepEnd(element("said"), () => element("conversation").lastElementChild.append(details));
  },
  dropLast: () => element("conversation").lastElementChild?.remove(),
  // Remembers the text before a step, and returns to it.
  keep: () => (keptText = last(".words")?.textContent.trimEnd() ?? ""),
  back: () => last(".words")?.replaceChildren(keptText),
  // Screen readers announce an answer when it is complete.
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
