// What a page does beside what it shows: its counted requests, its notes, its faults.

import assert from "node:assert/strict";

// Every request to the API is counted but for event streams.
const STREAMS = /^\/api\/(agent\/stream|turns\/[^/]+\/events)$/;

function counted(request, url) {
  const { origin, pathname } = new URL(request);
  return origin === new URL(url).origin && pathname.startsWith("/api/") && !STREAMS.test(pathname);
}

export class Watcher {
  faults = [];
  #requests = [];
  #refused = 0;
  #page;

  // Before the page's first load.
  static async of(page, url) {
    const watcher = new Watcher();
    watcher.#page = page;
    page.on("pageerror", (error) => watcher.faults.push(String(error)));
    page.on("console", (line) => line.type() === "error" && watcher.faults.push(`${line.text()} ${line.location().url}`));
    page.on("request", (request) => {
      if (counted(request.url(), url)) watcher.#requests.push(`${request.method()} ${new URL(request.url()).pathname}`);
    });
    page.on("response", (response) => {
      if (counted(response.url(), url)) watcher.#refused += response.status() === 429;
      else if (response.headers().ratelimit?.startsWith('"general"')) watcher.faults.push(`counted as well: ${response.url()}`);
    });
    // A note may be too short for a look from outside.
    await page.addInitScript(() => {
      window.notes = [];
      const look = () => window.notes.push(document.getElementById("note")?.textContent ?? "");
      new MutationObserver(look).observe(document, { childList: true, subtree: true });
    });
    return watcher;
  }

  forget() {
    this.#requests = [];
    this.#refused = 0;
  }

  // The counted requests since the last look; a refusal takes nothing from the policy.
  atMost(limit, what) {
    const count = this.#requests.length - this.#refused;
    assert.ok(count >= 1 && count <= limit, `${what}: ${count} requests, limit ${limit}: ${this.#requests.join(", ")}`);
    this.forget();
  }

  notes() {
    return this.#page.evaluate(() => window.notes);
  }

  faultless() {
    const unexpected = this.faults.filter((fault) => !/status of (400|401|429|503)/.test(fault));
    assert.deepEqual(unexpected, [], "no error in the console");
  }
}

// All that makes the look of a frame's page.
export function looksOf(frame) {
  return frame.locator("html").evaluate((root) => root.outerHTML + [...root.ownerDocument.styleSheets].map((s) => [...s.cssRules].map((r) => r.cssText).join()).join());
}

// Waits until a frame's page looks different.
export async function changedFrom(before, frame) {
  const end = Date.now() + 60_000;
  while (Date.now() < end) {
    await frame.locator("body *").first().waitFor();
    if ((await looksOf(frame)) !== before) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail("the prompt did not change the preview");
}
