// One turn as a sequence of events: the stream may break anywhere and goes on from the last event that was seen.

import { problemOf } from "/page/api.js";

const TERMINAL = new Set(["turn.completed", "turn.failed", "turn.cancelled", "turn.conflicted"]);
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;

// Starts a turn. The key makes a repeated request the same turn.
export function start(request, signal) {
  const body = JSON.stringify({ ...request, idempotencyKey: crypto.randomUUID() });
  const open = () => fetch("/api/agent/stream", { method: "POST", headers: { "content-type": "application/json" }, body, signal });
  return events(open, undefined, 0, signal);
}

// Follows a turn that was started elsewhere, after the event `seq`.
export function follow(turn, seq, signal) {
  return events(null, turn, seq, signal);
}

async function* events(open, turn, seq, signal) {
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    try {
      const response = await (turn ? resume(turn, seq, signal) : open());
      if (response.status === 204) return;
      if (!response.ok) throw await problemOf(response);
      for await (const event of decode(response.body)) {
        if (event.seq <= seq) continue;
        wait = FIRST_WAIT_MS;
        turn = event.turnId;
        seq = event.seq;
        yield event;
        if (TERMINAL.has(event.type)) return;
      }
    } catch (error) {
      const final = signal.aborted || (error.status && error.status !== 503 && error.status !== 429) || (error.status && !turn);
      if (final) throw error;
    }
    await new Promise((done) => setTimeout(done, wait));
    if (signal.aborted) throw signal.reason;
  }
}

function resume(turn, seq, signal) {
  return fetch(`/api/turns/${encodeURIComponent(turn)}/events`, { headers: { "last-event-id": String(seq) }, signal });
}

// Server-sent events of one response: `data:` lines of a block, joined, as JSON.
async function* decode(body) {
  let text = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const data = text.slice(0, end).split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
      text = text.slice(end + 2);
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}
