// Shared code of the client journeys: the libraries, accounts, a network that can be cut, and messages to the test.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import net from "node:net";

// The folder in which `make test` installs the clients.
const modules = process.env.BACKLOT_CLIENT_MODULES ?? new URL(".", import.meta.url).pathname;
export const library = createRequire(`${modules}/`);

export const url = process.env.BACKLOT_TEST_URL;

/** Opens the gate with this name, at which the model server waits. */
export const open = (gate) => console.log(`open ${gate}`);

/** Polls until the probe returns a value. The limit is for a busy machine. */
export async function until(what, probe, limit = 150_000) {
  const end = Date.now() + limit;
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(Date.now() < end, `timeout: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Creates an account. Returns the headers for its requests. */
export async function person() {
  const body = JSON.stringify({ email: `${crypto.randomUUID()}@example.com`, password: "correct horse battery staple 7" });
  const answer = await fetch(`${url}/api/auth/signup`, { method: "POST", headers: { "content-type": "application/json" }, body });
  assert.ok(answer.ok, await answer.text());
  return { cookie: answer.headers.getSetCookie()[0].split(";")[0] };
}

export async function get(headers, path) {
  const answer = await fetch(url + path, { headers });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer.json();
}

/** A proxy between the client and the gateway. `cut` resets all connections. */
export async function startNetwork() {
  const target = new URL(url);
  const sockets = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(Number(target.port), target.hostname);
    for (const [socket, other] of [[near, far], [far, near]]) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => sockets.delete(socket));
      socket.pipe(other);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut: () => sockets.forEach((socket) => socket.resetAndDestroy()),
    close: () => {
      sockets.forEach((socket) => socket.destroy());
      server.close();
    },
  };
}

/** Runs the journeys one after the other and exits. The exit code is 1 if one of them failed. */
export async function run(name, journeys) {
  let failed = 0;
  for (const [what, journey] of Object.entries(journeys)) {
    try {
      await journey();
      console.log(`ok ${name}: ${what}`);
    } catch (error) {
      console.error(`FAILED ${name}: ${what}`, error);
      failed += 1;
    }
  }
  // Open connections would keep the process running.
  process.exit(failed ? 1 : 0);
}
