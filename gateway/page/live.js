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

// The prompt that asks the agent to mend an error. The report comes from the project's own code, so the person reads it before it is sent.
export function promptToFix({ message, stack, file, line, column }) {
  const place = file ? ` at ${file}:${line}:${column}` : "";
  return `The preview reports this error${place}. Find its cause and fix it.\n\n${String(message).slice(0, 2_000)}\n${String(stack).slice(0, 4_000)}`.trim();
}

window.addEventListener("message", ({ source, origin, data }) => {
  const { frame, receive } = current;
  // Without a host of its own, a preview has the origin "null".
  if (!frame || source !== frame.contentWindow || (origin !== current.origin && origin !== "null")) return;
  if (data?.type === "backlot:ready") current.isReady = true;
  else if (typeof data?.type === "string" && data.type.startsWith("backlot:")) receive(data);
});
