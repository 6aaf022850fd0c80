// One turn as a sequence of events: the stream may break anywhere and goes on from the last event that was seen.

import { problemOf } from "/page/api.js";
import { obey, sleep } from "/page/patience.js";

const TERMINAL = new Set(["turn.completed", "turn.failed", "turn.cancelled", "turn.conflicted"]);
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
// Refusals in a row, with no event in between.
const REFUSALS = 10;

// Starts a turn. The key makes a repeated request the same turn.
export function start(request, signal) {
  const body = JSON.stringify({ ...request, idempotencyKey: crypto.randomUUID() });
  const open = () => fetch("/api/agent/stream", { method: "POST", headers: { "content-type": "application/json" }, body, signal });
  return events(open, undefined, 0, signal);
}

// Follows a turn that was started elsewhere, from its first event. A turn of somebody else and one whose events are no longer
// kept have none.
export async function* follow(turn, signal) {
  try {
    yield* events(null, turn, 0, signal);
  } catch (error) {
    if (error.status !== 404 && error.status !== 410) throw error;
  }
}

async function* events(open, turn, seq, signal) {
  let refusals = 0;
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    let asked = 0;
    try {
      const response = await (turn ? resume(turn, seq, signal) : open());
      if (response.status === 204) return;
      if (!response.ok) throw await problemOf(response);
      for await (const event of decode(response.body)) {
        if (event.seq <= seq) continue;
        wait = FIRST_WAIT_MS;
        refusals = 0;
        turn = event.turnId;
        seq = event.seq;
        yield event;
        if (TERMINAL.has(event.type)) return;
      }
    } catch (error) {
      // The request that starts a turn is refused for good: the person has the prompt still.
      const refused = error.status && (!turn || !error.wait || ++refusals === REFUSALS);
      if (signal.aborted || refused) throw error;
      asked = error.wait ?? 0;
    }
    // As the server asks, if it does; longer each time that this does not help.
    if (asked) await obey(Math.max(asked, Math.round(wait / 1000)), signal);
    else await sleep(wait, signal);
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
