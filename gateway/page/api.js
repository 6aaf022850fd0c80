// The public API as functions: JSON in, JSON out, a Problem for everything that is not 2xx.

import { ATTEMPTS, LONGEST_WAIT_S, obey, waitOf, waitText } from "/page/patience.js";

export class Problem extends Error {
  constructor(status, body, wait) {
    super(body?.title ?? `The server answered ${status}`);
    this.status = status;
    this.body = body ?? {};
    // For how many seconds the server asks to wait; 0 if it does not.
    this.wait = wait;
  }

  // What a person should read: how long to wait, the fields that were wrong, else the sentence of the problem.
  get text() {
    if (this.wait) return this.status === 429 ? waitText(this.wait) : `The server cannot do this now. ${waitText(this.wait, "It")}`;
    const fields = (this.body.errors ?? []).map((e) => `${e.field ?? e.pointer}: ${e.detail}`);
    return fields.join("\n") || this.body.detail || this.message;
  }
}

export async function problemOf(response) {
  return new Problem(response.status, await response.json().catch(() => null), waitOf(response));
}

// A 429 has done nothing. A 503 may have, so a request that must not take effect twice is not sent again after it.
async function call(method, path, { body, signal, once } = {}) {
  const json = body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(path, { method, signal, ...json });
    if (response.ok) return response.status === 204 ? {} : response.json();
    const problem = await problemOf(response);
    const again = problem.wait && problem.wait <= LONGEST_WAIT_S && attempt < ATTEMPTS && !(once && problem.status === 503);
    if (!again) throw problem;
    await obey(problem.wait, signal);
  }
}

const id = encodeURIComponent;

export const api = {
  signUp: (email, password) => call("POST", "/api/auth/signup", { body: { email, password }, once: true }),
  signIn: (email, password) => call("POST", "/api/auth/signin", { body: { email, password }, once: true }),
  signOut: () => call("POST", "/api/auth/signout", { body: {} }),
  session: () => call("GET", "/api/auth/session"),
  projects: () => call("GET", "/api/projects"),
  messages: (project, signal) => call("GET", `/api/projects/${id(project)}/messages?pageSize=50`, { signal }),
  load: (project, signal) => call("GET", `/api/projects/load?projectId=${id(project)}`, { signal }),
  preview: (project, signal) => call("POST", `/api/projects/${id(project)}/previews`, { body: {}, signal }),
  cancel: (turn) => call("POST", `/api/turns/${id(turn)}/cancel`, { body: {} }),
};
