// What every client journey stands on: the libraries, people, a network that can be cut, and a word to the test that runs us.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import net from "node:net";

// `make test` installs the clients outside the working tree and names the folder.
const modules = process.env.BACKLOT_CLIENT_MODULES ?? new URL(".", import.meta.url).pathname;
export const library = createRequire(`${modules}/`);

export const url = process.env.BACKLOT_TEST_URL;

/** Lets the model go on that waits at the gate of this name. */
export const open = (gate) => console.log(`open ${gate}`);

/** Waits until something holds; far longer than it takes on a busy machine. */
export async function until(what, probe, limit = 150_000) {
  const end = Date.now() + limit;
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(Date.now() < end, `waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A new account: the headers of its requests. */
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

/** A network between client and gateway; `cut` breaks every connection in the middle of whatever it carries. */
export async function wire() {
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

/** Runs the journeys one after the other; the process fails if one of them does. */
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
  // Connections that are kept open would keep the process, too.
  process.exit(failed ? 1 : 0);
}
