// Talks to the preview in a frame. A compiled preview updates itself after a commit, and reports its errors and its console. Other previews do
// not answer, and are loaded again.

let current = { frame: undefined, origin: "", isReady: false, receive: undefined };

// Connects the page in a frame each time that it is loaded. `receive` gets each report of the page.
export function connectPreview(frame, receive) {
  if (!frame.src) {
    current = { frame: undefined, origin: "", isReady: false, receive: undefined };
    return;
  }
  const connection = { frame, origin: new URL(frame.src).origin, isReady: false, receive };
  current = connection;
  frame.addEventListener("load", () => {
    connection.isReady = false;
    // The page is sandboxed, and may have an opaque origin that cannot be named. The message is no secret.
    frame.contentWindow?.postMessage({ type: "backlot:connect" }, "*");
  });
}

// Asks the page to show a revision. Returns whether it can.
export function updatePreview(revision) {
  if (!current.isReady || !current.frame?.isConnected) return false;
  current.frame.contentWindow.postMessage({ type: "backlot:update", revision }, "*");
  return true;
}

// The place of an error in the source, if it is known.
export const placeOf = ({ file, line, column }) => (file ? ` at ${file}:${line}:${column}` : "");

// The prompt that asks the agent to fix an error. `logged` has errors that the page wrote to its console. All of it comes from the project's
// own code, so the person reads the prompt before it is sent.
export function promptToFix(error, logged = []) {
  // The console of a page that cannot be compiled is that of the page before.
  if (error.kind === "build") return `The preview cannot be compiled. Fix what stops it.\n\n${error.stack.slice(0, 4_000)}`;
  // The stack of some browsers begins with the message.
  const stack = error.stack.startsWith(error.message) ? error.stack : `${error.message}\n${error.stack}`;
  const cause = stack.slice(0, 4_000).trim();
  const written = logged.length ? `\n\nThe last errors in its console:\n${logged.map((text) => `- ${text.slice(0, 500)}`).join("\n")}` : "";
  return `The preview reports this error${placeOf(error)}. Find its cause and fix it.\n\n${cause}${written}`;
}

const LEVELS = ["debug", "log", "info", "warn", "error"];
const textOf = (value, length) => (typeof value === "string" ? value.slice(0, length) : "");
const numberOf = (value) => (Number.isSafeInteger(value) && value > 0 ? value : 0);

// A report with fields of the documented types and lengths: any script of the preview can send a message. A text that was cut has one more
// character, an ellipsis.
function checked({ type, revision, how, kind, level, message, stack, file, line, column, dropped }) {
  return {
    type,
    revision: textOf(revision, 100),
    how: textOf(how, 20),
    kind: textOf(kind, 20),
    level: LEVELS.includes(level) ? level : "log",
    message: textOf(message, 2_001),
    stack: textOf(stack, 8_001),
    file: textOf(file, 2_001),
    line: numberOf(line),
    column: numberOf(column),
    dropped: numberOf(dropped),
  };
}

window.addEventListener("message", ({ source, origin, data }) => {
  const { frame, receive } = current;
  // Without a host of its own, a preview has the origin "null".
  if (!frame || source !== frame.contentWindow || (origin !== current.origin && origin !== "null")) return;
  if (data?.type === "backlot:ready") current.isReady = true;
  else if (typeof data?.type === "string" && data.type.startsWith("backlot:")) receive(checked(data));
});
