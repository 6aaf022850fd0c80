// Waits when the server requires it (429 and 503 with Retry-After) or cannot be reached, and shows that to the user.

import { note } from "/page/view.js";
import { UNREACHED, waitText } from "/page/words.js";

// How often a request is sent in total.
export const ATTEMPTS = 5;
// The page does not wait longer by itself.
export const LONGEST_WAIT_S = 10;
// Pauses between attempts to reach the server.
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;

// The wait that an answer requires, in seconds. The header has seconds or a date. 0 if there is none.
export function waitOf(response) {
  if (response.status !== 429 && response.status !== 503) return 0;
  const value = response.headers.get("retry-after");
  if (value === null) return 0;
  const seconds = Number.isNaN(Number(value)) ? (Date.parse(value) - Date.now()) / 1000 : Number(value);
  return Number.isNaN(seconds) ? 0 : Math.max(1, Math.ceil(seconds));
}

// The current waits, in seconds or for a connection. The longest one is shown.
const waits = new Map();

function showWaits() {
  const longest = Math.max(...waits.values());
  note(!waits.size ? "" : longest === Infinity ? `${UNREACHED} The page tries again.` : waitText(longest));
}

// Waits as long as the server requires, and shows that to the user.
export async function obey(seconds, signal) {
  const wait = Symbol();
  waits.set(wait, seconds);
  showWaits();
  try {
    await sleep(seconds * 1000, signal);
  } finally {
    waits.delete(wait);
    showWaits();
  }
}

// A time without a connection, which is shown to the user until it is over. Each wait is longer than the one before, and ends as soon as
// the browser has a network again.
export function outage() {
  const key = Symbol();
  let next = FIRST_WAIT_MS;
  return {
    async wait(signal) {
      waits.set(key, Infinity);
      showWaits();
      await sleep(next, signal, true);
      next = Math.min(next * 2, LONGEST_WAIT_MS);
    },
    over() {
      if (waits.delete(key)) showWaits();
    },
  };
}

// Rejects with the signal's reason when the signal is aborted. `network`: also ends when the browser has a network again.
export function sleep(milliseconds, signal, network = false) {
  return new Promise((done, fail) => {
    signal?.throwIfAborted();
    const ended = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      removeEventListener("online", wake);
    };
    const stop = () => (ended(), fail(signal.reason));
    const wake = () => (ended(), done());
    const timer = setTimeout(wake, milliseconds);
    signal?.addEventListener("abort", stop);
    if (network) addEventListener("online", wake);
  });
}
