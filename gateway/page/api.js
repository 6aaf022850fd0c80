// The public API as functions that send and return JSON. Every status other than 2xx is thrown as a Problem.

import { ATTEMPTS, LONGEST_WAIT_S, obey, outage, waitOf } from "/page/patience.js";
import { note } from "/page/view.js";

// Far longer than any answer takes. It ends requests on a connection whose peer has disappeared.
const ANSWER_MS = 30_000;
// As long as a check may take.
const CHECK_MS = 90_000;

export class Problem extends Error {
  constructor(status, body, wait) {
    super(body?.title ?? `The server answered ${status}`);
    this.status = status;
    this.body = body ?? {};
    // For how many seconds the server asks to wait; 0 if it does not.
    this.wait = wait;
  }
}

export async function problemOf(response) {
  return new Problem(response.status, await response.json().catch(() => null), waitOf(response));
}

// After a 429 the request has had no effect. After a 503 or a lost connection it may have had one, so a request that must not take effect
// twice is not repeated. A request that only reads is repeated until there is a connection.
async function call(method, path, { body, signal, once, answerMs = ANSWER_MS } = {}) {
  const json = body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const lost = outage();
  try {
    for (let attempt = 1; ; ) {
      let response;
      try {
        const limit = AbortSignal.timeout(answerMs);
        response = await fetch(path, { method, signal: signal ? AbortSignal.any([signal, limit]) : limit, ...json });
        if (response.ok) return response.status === 204 ? {} : await response.json();
      } catch (error) {
        if (signal?.aborted || method !== "GET") throw error;
        await lost.wait(signal);
        continue;
      }
      lost.over();
      const problem = await problemOf(response);
      const retry = problem.wait && problem.wait <= LONGEST_WAIT_S && attempt++ < ATTEMPTS && !(once && problem.status === 503);
      if (!retry) throw problem;
      await obey(problem.wait, signal);
    }
  } finally {
    lost.over();
  }
}

// Solves the challenge that the server may ask for.
async function signIn(email, password) {
  const send = (challengeSolution) => call("POST", "/api/auth/signin", { body: { email, password, challengeSolution }, once: true });
  try {
    return await send();
  } catch (error) {
    if (error.body?.reason !== "CHALLENGE_REQUIRED") throw error;
    note("This browser solves a task before it signs you in, which takes some seconds.");
    try {
      const { solve } = await import("/page/challenge.js");
      const { challenge, bits } = error.body.metadata;
      return await send(await solve(challenge, Number(bits)));
    } finally {
      note("");
    }
  }
}

const id = encodeURIComponent;

export const api = {
  signUp: (email, password) => call("POST", "/api/auth/signup", { body: { email, password }, once: true }),
  signIn,
  // Who can sign up, and the rule of a new password.
  signUpRules: () => call("GET", "/api/auth/providers"),
  signOut: () => call("POST", "/api/auth/signout", { body: {} }),
  session: () => call("GET", "/api/auth/session"),
  projects: (signal) => call("GET", "/api/projects", { signal }),
  messages: (project, signal) => call("GET", `/api/projects/${id(project)}/messages?pageSize=50`, { signal }),
  load: (project, signal) => call("GET", `/api/projects/load?projectId=${id(project)}`, { signal }),
  findings: (project, signal) => call("GET", `/api/projects/${id(project)}/findings`, { signal, answerMs: CHECK_MS }),
  preview: (project, signal) => call("POST", `/api/projects/${id(project)}/previews`, { body: {}, signal }),
  cancel: (turn) => call("POST", `/api/turns/${id(turn)}/cancel`, { body: {} }),
};
