// What the page does when the server asks to wait (429 and 503 with Retry-After): the person reads for how long.

import { note } from "/page/view.js";

// How often a request is sent in all.
export const ATTEMPTS = 5;
// A longer wait is left to the person.
export const LONGEST_WAIT_S = 10;

// For how many seconds an answer asks to wait, in seconds or until a date; 0 if it does not.
export function waitOf(response) {
  if (response.status !== 429 && response.status !== 503) return 0;
  const asked = response.headers.get("retry-after");
  if (asked === null) return 0;
  const seconds = Number.isNaN(Number(asked)) ? (Date.parse(asked) - Date.now()) / 1000 : Number(asked);
  return Number.isNaN(seconds) ? 0 : Math.max(1, Math.ceil(seconds));
}

export function waitText(seconds, who = "The server") {
  const [count, unit] = seconds < 120 ? [seconds, "second"] : [Math.ceil(seconds / 60), "minute"];
  return `${who} asks to wait ${count} ${unit}${count === 1 ? "" : "s"}.`;
}

// The waits of this moment, in seconds; the longest is shown.
const waits = new Map();

function showWaits() {
  note(waits.size ? waitText(Math.max(...waits.values())) : "");
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

// Rejects with the signal's reason as soon as it is aborted.
export function sleep(milliseconds, signal) {
  return new Promise((done, fail) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      fail(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      done();
    }, milliseconds);
    signal?.addEventListener("abort", stop);
  });
}
