// Records the requests, the notes and the errors of a page.

import assert from "node:assert/strict";

// Requests to the API are counted, except event streams.
const STREAMS = /^\/api\/(agent\/stream|(turns|projects)\/[^/]+\/events)$/;

function counted(request, url) {
  const { origin, pathname } = new URL(request);
  return origin === new URL(url).origin && pathname.startsWith("/api/") && !STREAMS.test(pathname);
}

export class Watcher {
  errors = [];
  #requests = [];
  #refused = 0;
  #page;

  // Call this before the first load of the page.
  static async of(page, url) {
    const watcher = new Watcher();
    watcher.#page = page;
    page.on("pageerror", (error) => watcher.errors.push(String(error)));
    page.on("console", (line) => line.type() === "error" && watcher.errors.push(`${line.text()} ${line.location().url}`));
    page.on("request", (request) => {
      if (counted(request.url(), url)) watcher.#requests.push(`${request.method()} ${new URL(request.url()).pathname}`);
    });
    page.on("response", (response) => {
      if (counted(response.url(), url)) watcher.#refused += response.status() === 429;
      else if (response.headers().ratelimit?.startsWith('"general"')) watcher.errors.push(`an uncounted request that the policy counts: ${response.url()}`);
    });
    // Records all notes, because a note can disappear before a test reads it.
    await page.addInitScript(() => {
      window.notes = [];
      const record = () => window.notes.push(document.getElementById("note")?.textContent ?? "");
      new MutationObserver(record).observe(document, { childList: true, subtree: true });
    });
    return watcher;
  }

  forget() {
    this.#requests = [];
    this.#refused = 0;
  }

  // Checks the number of requests since the last call. Refused requests do not count.
  atMost(limit, what) {
    const count = this.#requests.length - this.#refused;
    assert.ok(count >= 1 && count <= limit, `${what}: ${count} requests, limit ${limit}: ${this.#requests.join(", ")}`);
    this.forget();
  }

  notes() {
    return this.#page.evaluate(() => window.notes);
  }

  checkNoErrors() {
    const unexpected = this.errors.filter((error) => !/status of (400|401|429|503)/.test(error));
    assert.deepEqual(unexpected, [], "no error in the console");
  }
}

// The markup and the styles of a frame.
export function appearanceOf(frame) {
  return frame.locator("html").evaluate((root) => root.outerHTML + [...root.ownerDocument.styleSheets].map((s) => [...s.cssRules].map((r) => r.cssText).join()).join());
}

// Waits until the markup or the styles of a frame change.
export async function waitForChange(before, frame) {
  const end = Date.now() + 60_000;
  while (Date.now() < end) {
    await frame.locator("body *").first().waitFor();
    if ((await appearanceOf(frame)) !== before) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail("the prompt did not change the preview");
}
