// What the page does when the server asks to wait (429 and 503 with Retry-After) or cannot be reached: the person reads it.

import { note } from "/page/view.js";
import { UNREACHED, waitText } from "/page/words.js";

// How often a request is sent in all.
export const ATTEMPTS = 5;
// A longer wait is left to the person.
export const LONGEST_WAIT_S = 10;
// Between attempts to reach the server.
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;

// For how many seconds an answer asks to wait, in seconds or until a date; 0 if it does not.
export function waitOf(response) {
  if (response.status !== 429 && response.status !== 503) return 0;
  const asked = response.headers.get("retry-after");
  if (asked === null) return 0;
  const seconds = Number.isNaN(Number(asked)) ? (Date.parse(asked) - Date.now()) / 1000 : Number(asked);
  return Number.isNaN(seconds) ? 0 : Math.max(1, Math.ceil(seconds));
}

// The waits of this moment: for seconds, or for a connection. The longest is shown.
const waits = new Map();

function showWaits() {
  const longest = Math.max(...waits.values());
  note(!waits.size ? "" : longest === Infinity ? `${UNREACHED} The page tries again.` : waitText(longest));
}

// Waits for as long as the server asked, with a note to the person.
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

// A time without a connection, with a note to the person until it is over. Each wait is longer than the one before, and ends as
// soon as the browser has a network again.
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

// Rejects with the signal's reason as soon as it is aborted. `network`: ends as well when the browser has a network again.
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
