// The public API as functions: JSON in, JSON out, a Problem for everything that is not 2xx.

export class Problem extends Error {
  constructor(status, body) {
    super(body?.title ?? `The server answered ${status}`);
    this.status = status;
    this.reason = body?.reason ?? "";
    this.body = body ?? {};
  }

  // What a person should read: the fields that were wrong, else the sentence of the problem.
  get text() {
    const fields = (this.body.errors ?? []).map((e) => `${e.field ?? e.pointer}: ${e.detail}`);
    if (fields.length) return fields.join("\n");
    const wait = this.status === 429 && this.body.retryAfter ? ` Try again in ${this.body.retryAfter} s.` : "";
    return (this.body.detail || this.message) + wait;
  }
}

export async function problemOf(response) {
  const body = await response.json().catch(() => null);
  const problem = new Problem(response.status, body);
  problem.body.retryAfter ??= Number(response.headers.get("retry-after")) || undefined;
  return problem;
}

// A refused request that a short wait makes good is sent again, once: the page itself makes several in a row.
const LONGEST_WAIT_S = 10;

async function call(method, path, body, patient = true) {
  const response = await fetch(path, {
    method,
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const wait = response.status === 429 ? Number(response.headers.get("retry-after")) : 0;
  if (wait && wait <= LONGEST_WAIT_S && patient) {
    await new Promise((done) => setTimeout(done, wait * 1000));
    return call(method, path, body, false);
  }
  if (!response.ok) throw await problemOf(response);
  return response.status === 204 ? {} : response.json();
}

const id = encodeURIComponent;

export const api = {
  signUp: (email, password) => call("POST", "/api/auth/signup", { email, password }),
  signIn: (email, password) => call("POST", "/api/auth/signin", { email, password }),
  signOut: () => call("POST", "/api/auth/signout", {}),
  session: () => call("GET", "/api/auth/session"),
  projects: () => call("GET", "/api/projects"),
  messages: (project) => call("GET", `/api/projects/${id(project)}/messages?pageSize=50`),
  load: (project) => call("GET", `/api/projects/load?projectId=${id(project)}`),
  preview: (project) => call("POST", `/api/projects/${id(project)}/previews`, {}),
  turn: (turn) => call("GET", `/api/turns/${id(turn)}`),
  cancel: (turn) => call("POST", `/api/turns/${id(turn)}/cancel`, {}),
};
