// Tests the origin of previews. Exits with 0 only if all steps passed: what a page stores survives a new revision, a pinned revision and a new
// session, and is gone after the preview was revoked.

import assert from "node:assert/strict";
import { launch, PASSWORD, TIMEOUT, shot, url } from "./support.mjs";

const browser = await launch();
const context = await browser.newContext();
const page = await context.newPage();
page.setDefaultTimeout(TIMEOUT.timeout);

// Sends a request from the first page, with its cookie.
const api = (path, body, method = "POST") =>
  page.evaluate(
    async ([path, body, method]) => {
      const answer = await fetch(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
      return answer.json();
    },
    [path, body, method],
  );

// A page that counts its visits, and shows a word of its revision.
const html = (word) =>
  `<!doctype html><title>Visits</title><p id="visits"></p><p>${word}</p>
<script>
localStorage.visits = Number(localStorage.visits ?? 0) + 1;
document.getElementById("visits").textContent = localStorage.visits;
</script>`;
const save = (word) => api("/api/projects/save", { draftId: "visits", changes: [{ path: "index.html", write: { text: html(word) } }] });

// Opens a preview in a tab, and returns the number of visits.
async function visit(preview, word) {
  const tab = await context.newPage();
  await tab.goto(preview);
  await tab.getByText(word, { exact: true }).waitFor(TIMEOUT);
  const visits = await tab.locator("#visits").textContent();
  await tab.close();
  return Number(visits);
}

try {
  await page.goto(url);
  const account = { email: `${crypto.randomUUID()}@example.com`, password: PASSWORD };
  await api("/api/auth/signup", account);
  const { project, revision } = await save("first");
  const previews = `/api/projects/${project.id}/previews`;
  const first = (await api(previews, {})).url;
  assert.equal(await visit(first, "first"), 1);
  await save("second");
  assert.equal(await visit(first, "second"), 2, "a new revision");
  const pinned = (await api(previews, { revision: revision.id })).url;
  assert.equal(pinned, first, "one origin for all revisions");
  assert.equal(await visit(pinned, "first"), 3, "a pinned revision");

  await api("/api/auth/signout", {});
  await api("/api/auth/signin", account);
  const again = (await api(previews, {})).url;
  assert.equal(again, first, "one origin for all sessions");
  assert.equal(await visit(again, "second"), 4, "a new session");

  const capability = new URL(first).host.match(/[a-z2-7]{26}/)[0];
  await api(`${previews}/${capability}`, {}, "DELETE");
  const next = (await api(previews, {})).url;
  assert.notEqual(new URL(next).origin, new URL(first).origin, "revoking changes the origin");
  assert.equal(await visit(next, "second"), 1, "a page at another origin has stored nothing");
  const ended = await page.context().newPage();
  assert.equal((await ended.goto(first)).status(), 404, "the revoked URL stays closed");
  console.log("ok: the origin of previews");
} catch (error) {
  await shot(page, "failed");
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
