// One turn as a sequence of events: the stream may break anywhere, or fall silent, and goes on from the last event that was seen.

import { problemOf } from "/page/api.js";
import { obey, sleep } from "/page/patience.js";

const TERMINAL = new Set(["turn.completed", "turn.failed", "turn.cancelled", "turn.conflicted"]);
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
// Refusals in a row, with no event in between.
const REFUSALS = 10;
// A stream says something at each heartbeat. One that has missed two is lost, though this side of the connection is open.
const HEARTBEAT_MS = Number(document.querySelector("meta[name=heartbeat]").content) || 15_000;
const SILENCE_MS = 2 * HEARTBEAT_MS + 3000;

// Starts a turn. The key makes a repeated request the same turn. `tell(true)` says that the connection is lost, `tell(false)`
// that it is there again.
export function start(request, signal, tell) {
  const body = JSON.stringify(request);
  const open = (signal) => fetch("/api/agent/stream", { method: "POST", headers: { "content-type": "application/json" }, body, signal });
  return events(open, undefined, signal, tell);
}

// Follows a turn that was started elsewhere, from its first event; what is in the log already comes joined. A turn of somebody
// else and one whose events are no longer kept have none.
export async function* follow(turn, signal, tell = () => {}) {
  try {
    yield* events(null, turn, signal, tell);
  } catch (error) {
    if (error.status !== 404 && error.status !== 410) throw error;
  }
}

async function* events(open, turn, signal, tell) {
  let [seq, refusals] = [0, 0];
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    let asked = 0;
    const silence = watch(signal);
    try {
      const response = await (turn ? resume(turn, seq, silence.signal) : open(silence.signal));
      tell(false);
      if (response.status === 204) return;
      if (!response.ok) throw await problemOf(response);
      for await (const event of decode(response.body, silence.heard)) {
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
      if (!error.status) tell(true);
    } finally {
      silence.end();
    }
    // As the server asks, if it does; longer each time that this does not help.
    if (asked) await obey(Math.max(asked, Math.round(wait / 1000)), signal);
    else await sleep(wait, signal, true);
  }
}

function resume(turn, seq, signal) {
  return fetch(`/api/turns/${encodeURIComponent(turn)}/events?compact=true`, { headers: { "last-event-id": String(seq) }, signal });
}

// A signal that ends a request that has brought nothing for too long, or with the signal that is given.
function watch(signal) {
  const request = new AbortController();
  const stop = () => request.abort(signal.reason);
  const silent = () => request.abort(new Error("nothing was heard"));
  let timer = setTimeout(silent, SILENCE_MS);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop);
  return {
    signal: request.signal,
    heard() {
      clearTimeout(timer);
      timer = setTimeout(silent, SILENCE_MS);
    },
    end() {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      request.abort();
    },
  };
}

// Server-sent events of one response: `data:` lines of a block, joined, as JSON.
async function* decode(body, heard) {
  let text = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    heard();
    text += chunk;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const data = text.slice(0, end).split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
      text = text.slice(end + 2);
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}
