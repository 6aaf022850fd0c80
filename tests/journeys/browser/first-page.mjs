// Tests the main path of the first page. Exits with 0 only if all steps passed. The shipped policy `general` applies, and the fourth prompt
// is refused.

import assert from "node:assert/strict";
import { launch, PASSWORD, TIMEOUT, shot as take, url } from "./support.mjs";
import { Watcher, waitForChange, appearanceOf } from "./watcher.mjs";

const LOAD_REQUESTS = 4;
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
const page = await context.newPage();
page.setDefaultTimeout(TIMEOUT.timeout);
const watcher = await Watcher.of(page, url);
const frame = page.frameLocator("#preview");
const shot = (name) => take(page, name);
const prompt = page.getByLabel("Prompt");
const revision = (number) => page.locator("#revision", { hasText: `revision ${number} ` }).waitFor(TIMEOUT);
const loaded = (tab = page) => tab.locator("body[aria-busy=false]").waitFor(TIMEOUT);
const ended = () => page.locator("#state[data-kind=completed]").waitFor(TIMEOUT);

async function signUp() {
  await page.goto(url);
  await loaded();
  watcher.atMost(LOAD_REQUESTS, "the sign-in");
  await page.getByLabel("E-mail").fill(`${crypto.randomUUID()}@example.com`);
  await page.getByLabel("Password").fill("123456789123456789");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.locator("#sign-in .fault").filter({ hasText: "password" }).waitFor();
  await shot("1-weak-password");

  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Create account" }).click();
  await prompt.fill("a to-do list");
  await shot("2-workspace");
}

async function twoTurns() {
  await prompt.press("Enter");
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await page.locator("#files button.live").first().waitFor();
  await shot("3-working");
  await page.locator("#state", { hasText: "done" }).waitFor(TIMEOUT);
  assert.equal(await prompt.inputValue(), "", "an accepted prompt is removed from the input");

  await page.locator("#files button", { hasText: "index.html" }).waitFor(TIMEOUT);
  await frame.locator("body *").first().waitFor(TIMEOUT);
  await revision(1);
  await page.getByRole("tab", { name: /Events/ }).click();
  assert.ok((await page.locator("#pane-events li").count()) >= 60, "the events are shown");
  await page.locator("#account summary").click();
  await page.locator("#who", { hasText: "@example.com" }).waitFor(TIMEOUT);
  await shot("4-done");
  await page.locator("#account summary").click();
  const before = await appearanceOf(frame);

  await prompt.fill("make it dark");
  await page.getByRole("button", { name: "Send" }).click();
  await revision(2);
  await ended();
  await waitForChange(before, frame);
  await shot("5-changed");
}

// Waits until the page shows this revision and this prompt.
async function waitForRevision(number, text, tab = page) {
  await loaded(tab);
  await tab.locator("#conversation li.user", { hasText: text }).waitFor(TIMEOUT);
  await tab.locator("#revision", { hasText: `revision ${number} ` }).waitFor(TIMEOUT);
  await tab.frameLocator("#preview").locator("body *").first().waitFor(TIMEOUT);
  await tab.locator("#note").waitFor({ state: "hidden", ...TIMEOUT });
  assert.ok(await tab.locator("#ask .fault").isHidden(), "no error is shown");
}

async function requestsPerLoad() {
  const address = page.url();
  for (const [what, target, shows] of [
    ["the workspace without a project", url, loaded],
    ["a project in a new tab", address, (tab) => waitForRevision(2, "make it dark", tab)],
  ]) {
    const tab = await context.newPage();
    const fresh = await Watcher.of(tab, url);
    await tab.goto(target);
    await shows(tab);
    fresh.atMost(LOAD_REQUESTS, what);
    fresh.checkNoErrors();
    await tab.close();
  }
}

async function quickReloads() {
  for (let round = 0; round < 3; round++) {
    watcher.forget();
    await page.reload();
    await waitForRevision(2, "make it dark");
    watcher.atMost(LOAD_REQUESTS - 1, "a reload, whose tab knows the preview");
  }
  for (let round = 0; round < 3; round++) await page.reload();
  await waitForRevision(2, "make it dark");
  await shot("6-reloaded");
}

// A reload during a turn continues to follow it.
async function reloadDuringTurn() {
  await prompt.fill("add a footer");
  await prompt.press("Enter");
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await page.reload();
  await revision(3);
  await waitForRevision(3, "add a footer");
}

// The turn ends after the load has read older messages and files.
async function turnEndsDuringLoad(filesBefore) {
  const path = /\/messages\?/;
  await page.route(path, async (route) => {
    const answer = await route.fetch();
    // The request may be refused and retried.
    if (!answer.ok()) return route.fulfill({ response: answer });
    const body = await answer.json();
    assert.equal(body.messages[0].role, "MESSAGE_ROLE_ASSISTANT");
    await page.unroute(path);
    await route.fulfill({ json: { ...body, messages: body.messages.slice(1) } });
  });
  await page.route(/\/projects\/load\?/, (route) => route.fulfill({ json: filesBefore }), { times: 1 });
  watcher.forget();
  await page.reload();
  await ended();
  await waitForRevision(3, "add a footer");
  watcher.atMost(LOAD_REQUESTS, "a reload while the turn ends");
}

async function refusedLoads() {
  // Each request of a load is refused once.
  const refusals = [[/\/api\/projects$/, 429, 2], [/\/messages\?/, 503, 1], [/\/projects\/load\?/, 429, 1], [/\/previews$/, 503, 1]];
  for (const [path, status, wait] of refusals) await refuse(path, status, wait, { times: 1 });
  await page.evaluate(() => sessionStorage.clear());
  await page.reload();
  await page.locator("#note", { hasText: "wait" }).waitFor(TIMEOUT).then(() => shot("7-asked-to-wait"));
  await waitForRevision(3, "add a footer");
  const notes = await watcher.notes();
  assert.ok(notes.includes("The server asks to wait 2 seconds."), `${notes}`);
  assert.ok(notes.includes("The server asks to wait 1 second."), `${notes}`);

  // The number of retries is limited, and a long wait is not awaited.
  const rows = [
    [503, 1, 5, "The server cannot do this now. It asks to wait 1 second."],
    [429, 900, 1, "The server asks to wait 15 minutes."],
  ];
  for (const [status, wait, sent, text] of rows) {
    const count = await refuse(/\/projects\/load\?/, status, wait);
    await page.reload();
    await page.locator("#ask .fault", { hasText: text }).waitFor(TIMEOUT);
    assert.equal(count(), sent, `requests until the page gives up after ${status} with ${wait} s`);
    await loaded();
    await shot(`8-gave-up-${status}`);
    await page.unroute(/\/projects\/load\?/);
    await page.getByRole("button", { name: "Reload" }).click();
    await waitForRevision(3, "add a footer");
  }
  const count = await refuse(/\/api\/projects$/, 503, 1);
  await page.reload();
  await page.locator("#note", { hasText: "Reload this page" }).waitFor(TIMEOUT);
  assert.equal(count(), 5, "requests until the page gives up the load");
  await shot("9-not-loaded");
  await page.unroute(/\/api\/projects$/);
  await page.reload();
  await waitForRevision(3, "add a footer");
}

async function refuse(path, status, wait, options) {
  let count = 0;
  await page.route(path, (route) => (count++, route.fulfill({ status, headers: { "retry-after": String(wait) }, json: {} })), options);
  return () => count;
}

// Another tab saves, and the page shows the revision without a reload.
async function savedElsewhere() {
  const other = await context.newPage();
  await other.goto(url);
  await loaded(other);
  const project = new URL(page.url()).hash.slice(1);
  await page.bringToFront();
  await other.evaluate(async (projectId) => {
    const changes = [{ path: "index.html", write: { text: "<h1>saved elsewhere</h1>" } }];
    const body = JSON.stringify({ projectId, changes });
    const send = () => fetch("/api/projects/save", { method: "POST", headers: { "content-type": "application/json" }, body });
    let answer = await send();
    // The shipped policies apply to this test, too.
    for (; answer.status === 429; answer = await send()) {
      await new Promise((done) => setTimeout(done, 1000 * Number(answer.headers.get("retry-after"))));
    }
    if (!answer.ok) throw new Error(`${answer.status}`);
  }, project);
  await revision(4);
  await frame.getByText("saved elsewhere").waitFor(TIMEOUT);
  await other.close();
  await shot("11-saved-elsewhere");
}

async function refusedPrompt() {
  const lines = await page.locator("#conversation li").count();
  await prompt.fill("one more");
  await prompt.press("Enter");
  await page.locator("#ask .fault", { hasText: /^The server takes 3 prompts in 60 minutes\. Try again in \d+ minutes\.$/ }).waitFor(TIMEOUT);
  assert.equal(await prompt.inputValue(), "one more", "a refused prompt stays in the input");
  assert.equal(await page.locator("#conversation li").count(), lines, "a refused prompt is not in the conversation");
  await shot("10-refused-prompt");
}

// Nothing of the session stays in the browser.
async function signOut() {
  assert.ok((await page.content()).includes("add a footer"), "the page has a prompt");
  const answered = page.waitForResponse((response) => response.url().endsWith("/api/auth/signout") && response.ok(), TIMEOUT);
  await page.getByRole("button", { name: "Sign out" }).click();
  assert.equal((await (await answered).allHeaders())["clear-site-data"], '"cache", "storage"');
  await page.getByRole("button", { name: "Create account" }).waitFor(TIMEOUT);
  assert.ok(!(await page.content()).includes("add a footer"), "the page has no prompt");
  assert.deepEqual(await page.evaluate(() => [sessionStorage.length, localStorage.length, document.cookie]), [0, 0, ""]);
}

try {
  await signUp();
  await twoTurns();
  await requestsPerLoad();
  await quickReloads();
  const project = new URL(page.url()).hash.slice(1);
  const filesBefore = await page.evaluate(async (id) => (await import("/page/api.js")).api.load(id), project);
  await reloadDuringTurn();
  await turnEndsDuringLoad(filesBefore);
  await refusedLoads();
  await refusedPrompt();
  await savedElsewhere();
  await signOut();
  watcher.checkNoErrors();
  console.log("ok: the main path of the first page");
} catch (error) {
  await shot("failed");
  console.error(error, watcher.errors);
  process.exitCode = 1;
} finally {
  await browser.close();
}
