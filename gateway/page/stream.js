// One turn, or what happens to one project, as a sequence of events. The stream may break or fall silent at any point; it is resumed after the
// last event.

import { problemOf } from "/page/api.js";
import { obey, sleep } from "/page/patience.js";

const TERMINAL = new Set(["turn.completed", "turn.failed", "turn.cancelled", "turn.conflicted"]);
// Whether an event of this type is the last one of its turn.
export const isTerminal = (type) => TERMINAL.has(type);
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
// The number of refusals in a row, without an event in between, that is an error.
const REFUSALS = 10;
// A stream sends something at each heartbeat. After two missed heartbeats it counts as lost, even if the connection seems open.
const HEARTBEAT_MS = Number(document.querySelector("meta[name=heartbeat]").content) || 15_000;
const SILENCE_MS = 2 * HEARTBEAT_MS + 3000;

// Starts a turn. The idempotency key makes a repeated request the same turn. `tell(true)` means that the connection is lost, `tell(false)`
// that it is back.
export function start(request, signal, tell) {
  const body = JSON.stringify(request);
  const open = (signal) => fetch("/api/agent/stream", { method: "POST", headers: { "content-type": "application/json" }, body, signal });
  return events(open, undefined, signal, tell);
}

// The events of a turn that was started elsewhere, from the first one; events that are in the log already come in compact form. A turn of
// somebody else, or one whose events are no longer kept, has none.
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
    let required = 0;
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
        if (isTerminal(event.type)) return;
      }
    } catch (error) {
      // A refusal of the request that starts a turn is final, because the user still has the prompt.
      const refused = error.status && (!turn || !error.wait || ++refusals === REFUSALS);
      if (signal.aborted || refused) throw error;
      required = error.wait ?? 0;
      if (!error.status) tell(true);
    } finally {
      silence.end();
    }
    // Waits as long as the server requires, and longer with each attempt.
    if (required) await obey(Math.max(required, Math.round(wait / 1000)), signal);
    else await sleep(wait, signal, true);
  }
}

function resume(turn, seq, signal) {
  return fetch(`/api/turns/${encodeURIComponent(turn)}/events?compact=true`, { headers: { "last-event-id": String(seq) }, signal });
}

// What happens to a project, from its head on, until the signal. Nothing is shown while the server cannot be reached.
export async function* changes(project, signal) {
  let seq;
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    let required = 0;
    const silence = watch(signal);
    try {
      const headers = seq === undefined ? {} : { "last-event-id": String(seq) };
      const response = await fetch(`/api/projects/${encodeURIComponent(project)}/events`, { headers, signal: silence.signal });
      if (!response.ok) throw await problemOf(response);
      for await (const event of decode(response.body, silence.heard)) {
        wait = FIRST_WAIT_MS;
        seq = event.seq;
        yield event;
      }
    } catch (error) {
      if (signal.aborted || (error.status && !error.wait)) throw error;
      required = 1000 * (error.wait ?? 0);
    } finally {
      silence.end();
    }
    await sleep(Math.max(wait, required), signal, true);
  }
}

// A signal that aborts a request that has received nothing for too long, or with the given signal.
function watch(signal) {
  const request = new AbortController();
  const stop = () => request.abort(signal.reason);
  const silent = () => request.abort(new Error("nothing was received"));
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

// The server-sent events of a response: the joined `data:` lines of each block as JSON.
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
