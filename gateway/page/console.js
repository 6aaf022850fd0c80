// The console of the preview, in a tab. The project's own code writes it, so it is shown as text, and its end only.

import { placeOf } from "/page/live.js";
import { element, keepEnd, make } from "/page/view.js";

const LINES_SHOWN = 50;
const ERRORS_TOLD = 5;

let lines = [];

function row({ level, text }) {
  return make("li", { className: level }, make("span", {}, level), make("span", {}, text));
}

function draw() {
  keepEnd(element("pane-console"), () => element("console").replaceChildren(...lines.map(row)));
  element("logged").textContent = lines.length ? String(lines.length) : "";
  element("no-console").hidden = lines.length > 0;
}

function add(dropped, line) {
  if (dropped) lines.push({ level: "note", text: `${dropped} reports were left out.` });
  lines = [...lines, line].slice(-LINES_SHOWN);
  draw();
}

export const logged = {
  clear() {
    lines = [];
    draw();
  },
  // A report of what the page wrote.
  add: ({ level, message, dropped }) => add(dropped, { level, text: message, isWritten: true }),
  // A report of an error that the page did not catch, or that stops the page. It is listed once if it is reported again at once.
  addFailure: ({ dropped, ...failure }) => {
    const text = `${failure.message}${placeOf(failure)}`;
    if (dropped || lines.at(-1)?.text !== text) add(dropped, { level: "error", text });
  },
  // The last errors that the page wrote.
  errors: () => lines.filter(({ level, isWritten }) => level === "error" && isWritten).slice(-ERRORS_TOLD).map(({ text }) => text),
};
