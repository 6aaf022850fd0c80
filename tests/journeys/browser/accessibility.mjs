// Tests the first page with a keyboard, a screen reader, a small screen and a failing network. Exits with 0 only if all tests passed. The
// words of a prompt select the answer of the model. `hold` and `edit` wait at a gate.

import assert from "node:assert/strict";
import { open, until } from "../clients/support.mjs";
import { focused, checkPage, launch, PASSWORD, TIMEOUT, shot, url } from "./support.mjs";
import { network as startNetwork } from "./network.mjs";
import { waitForEndInView, appearance } from "./conversation.mjs";
import { Watcher } from "./watcher.mjs";
import { failureMessages, refusalMessages } from "./messages.mjs";

const network = await startNetwork();
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, proxy: network.proxy });
const page = await context.newPage();
page.setDefaultTimeout(TIMEOUT.timeout);
const watcher = await Watcher.of(page, url);
const email = `${crypto.randomUUID()}@example.com`;
const prompt = page.getByLabel("Prompt");
const { keyboard } = page;
const state = (kind, text) => page.locator(`#state[data-kind=${kind}]`, text && { hasText: text }).waitFor(TIMEOUT);
const loaded = () => page.locator("body[aria-busy=false]").waitFor(TIMEOUT);
const ended = (text) => page.locator("#conversation .end", { hasText: text }).last().waitFor(TIMEOUT);
const messagesOf = (who) => page.locator(`#conversation li.${who} .words`).allTextContents();
const newGate = () => crypto.randomUUID();
const deferred = () => {
  let resolve;
  return { promise: new Promise((done) => (resolve = done)), resolve };
};
const waitForFocus = (id) => until(`the focus is on ${id}`, async () => (await focused(page)) === id);

async function send(text) {
  await page.locator("#send:enabled").waitFor(TIMEOUT);
  await prompt.fill(text);
  await prompt.press("Enter");
}

async function turn(text) {
  await send(text);
  await state("running");
  await state("completed");
}

async function failingTurn(text) {
  const lines = await page.locator("#conversation li").count();
  await send(text);
  await page.locator("#conversation li").nth(lines + 1).locator(".end.failed").waitFor(TIMEOUT);
  await page.locator("#send:enabled").waitFor();
}

// Starts a turn that waits at a gate.
async function heldTurn(kind) {
  const gate = newGate();
  await send(`${kind} ${gate}`);
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await until("the answer begins", async () => (await messagesOf("agent")).at(-1));
  return gate;
}

const tests = {
  async "the sign-in says who can sign up"() {
    const rows = [
      [{ signUpClosed: true }, "Only the operator of this site creates accounts.", false],
      [{ inviteRequired: true }, "You need an invite to create an account here.", false],
      [{ signUpDomainsOnly: true }, "Only addresses of certain domains can create an account here.", true],
    ];
    for (const [rules, text, canSignUp] of rows) {
      await page.route("**/api/auth/providers", (route) => route.fulfill({ json: { passwordMinLength: 15, ...rules } }), { times: 1 });
      await page.goto(url);
      await page.locator("#sign-up-rule", { hasText: text }).waitFor();
      assert.equal(await page.getByRole("button", { name: "Create account" }).isVisible(), canSignUp, text);
      assert.equal(await page.getByRole("link", { name: "About sign-up" }).getAttribute("href"), "/account/sign-up");
      await checkPage(page, `sign-in-${Object.keys(rules)}`);
    }
  },

  async "the sign-in, by keyboard"() {
    const sent = [];
    page.on("request", (request) => request.method() === "POST" && sent.push(new URL(request.url()).pathname));
    await page.goto(url);
    await loaded();
    await waitForFocus("email");
    await page.locator("#password-rule", { hasText: "A new password has at least 15 characters." }).waitFor();
    assert.ok((await page.getByLabel("Password").getAttribute("aria-describedby")).includes("password-rule"));
    assert.ok(await page.locator("#sign-up-rule").isHidden());
    const ways = await page.locator(".ways a").evaluateAll((links) => links.map((link) => link.getAttribute("href")));
    assert.deepEqual(ways, ["/account/sign-in", "/account/reset"]);
    await checkPage(page, "sign-in");
    await keyboard.type(email);
    await keyboard.press("Tab");
    await keyboard.type(PASSWORD);
    await keyboard.press("Enter");
    await page.locator("#sign-in .fault", { hasText: "No account has this e-mail address and password." }).waitFor();
    assert.equal(await focused(page), "password");
    await checkPage(page, "sign-in-refused");
    for (const _ of ["sign in", "create an account"]) await keyboard.press("Tab");
    await keyboard.press("Enter");
    await waitForFocus("prompt");
    await checkPage(page, "workspace-empty");
    await page.getByRole("button", { name: "Sign out" }).focus();
    const loadedAgain = page.waitForEvent("load");
    await keyboard.press("Enter");
    await loadedAgain;
    await loaded();
    await waitForFocus("email");
    sent.length = 0;
    await keyboard.type(email);
    await keyboard.press("Tab");
    await keyboard.type(PASSWORD);
    await keyboard.press("Enter");
    await waitForFocus("prompt");
    assert.deepEqual(sent, ["/api/auth/signin"], "Enter signs in with a known account");
  },

  async "the view of a project"() {
    await turn("page one");
    await page.frameLocator("#preview").locator("h1", { hasText: "page one" }).waitFor(TIMEOUT);
    assert.equal(await focused(page), "prompt");
    await checkPage(page, "done");
    for (const name of ["main", "h1"]) assert.equal(await page.locator(name).filter({ visible: true }).count(), 1, name);
    for (const list of ["#conversation", "#files"]) assert.ok((await page.locator(list).getByRole("listitem").count()) > 1, list);
  },

  async "files and events, by keyboard"() {
    const [first, second] = ["index.html", "src/a-folder-with-a-name/app.js"];
    await page.locator(`#files [data-path="${first}"]`).focus();
    await keyboard.press("Tab");
    assert.equal(await focused(page), second);
    await keyboard.press("Enter");
    await page.locator("#source", { hasText: "const line1 =" }).waitFor();
    assert.equal(await focused(page), second, "selecting a file keeps the focus");
    await keyboard.press("Shift+Tab");
    await keyboard.press("Space");
    await page.locator("#source", { hasText: "<h1>page one</h1>" }).waitFor();
    assert.equal(await focused(page), first);
    await keyboard.press("Shift+Tab");
    assert.equal(await focused(page), "tab-files");
    await keyboard.press("ArrowRight");
    assert.equal(await focused(page), "tab-events");
    assert.ok((await page.locator("#events").getByRole("listitem").count()) > 10);
    await keyboard.press("Home");
    assert.ok(await page.locator("#pane-files").isVisible());
    await page.getByRole("tab", { name: /Events/ }).click();
    await checkPage(page, "events", "Files");
    await page.getByRole("tab", { name: "Files" }).click();
    await page.locator("#account summary").focus();
    await keyboard.press("Enter");
    await page.locator("#who", { hasText: email }).waitFor();
    assert.equal(await page.getByRole("link", { name: "Account settings" }).getAttribute("href"), "/account");
    await checkPage(page, "account");
    await page.locator("#account summary").focus();
    await keyboard.press("Escape");
    assert.ok(await page.locator("#who").isHidden());
  },

  async "a small screen"() {
    await page.setViewportSize({ width: 390, height: 844 });
    const views = { Conversation: "#ask", Files: "#source", Preview: "#preview" };
    for (const [name, what] of Object.entries(views)) {
      await page.getByRole("navigation").getByRole("button", { name }).click();
      const box = await page.locator(what).boundingBox();
      assert.ok(box.y + box.height <= 844 && box.height > 100, `${name}: ${JSON.stringify(box)}`);
      for (const other of Object.values(views)) assert.equal(await page.locator(other).isVisible(), other === what, `${name}: ${other}`);
      await checkPage(page, `view-${name}`, name);
      await page.setViewportSize({ width: 390, height: 844 });
    }
    assert.ok((await page.locator("#preview").boundingBox()).y < 250, "the preview begins near the top");
    await page.getByRole("navigation").getByRole("button", { name: "Conversation" }).click();
    await turn("page for a telephone");
    await page.locator(".views .fresh", { hasText: "Preview" }).waitFor();
    await checkPage(page, "telephone-done");
  },

  async "a stop keeps the focus and is shown after a reload"() {
    const gate = await heldTurn("hold");
    await checkPage(page, "working");
    await page.getByRole("button", { name: "Stop" }).focus();
    await keyboard.press("Enter");
    await state("cancelled");
    assert.equal(await focused(page), "prompt");
    open(gate);
    await ended("Stopped. No file was changed.");
    await page.reload();
    await state("cancelled");
    await ended("Stopped. No file was changed.");
  },

  async "a connection that is open only on this side"() {
    const gate = await heldTurn("hold");
    network.freeze();
    await state("lost", "The server cannot be reached. The turn goes on; the page tries again.");
    await checkPage(page, "lost");
    open(gate);
    // The old connection stays frozen. Only a new one works.
    await state("completed");
    assert.equal((await messagesOf("agent")).at(-1).trim(), "This takes a while, but then it is done.");
    await loaded();
  },

  async "a connection that is cut"() {
    const gate = await heldTurn("hold");
    network.cut();
    open(gate);
    await state("completed");
    assert.equal((await messagesOf("agent")).at(-1).trim(), "This takes a while, but then it is done.");
  },

  async "a prompt that is sent without a network"() {
    await context.setOffline(true);
    await send("page from a train");
    await state("lost", "The server cannot be reached. Your prompt is sent as soon as it can be.");
    assert.equal(await prompt.inputValue(), "page from a train", "the prompt stays in the input until it is accepted");
    await checkPage(page, "offline");
    await context.setOffline(false);
    await state("completed");
    assert.equal(await prompt.inputValue(), "");
    await page.reload();
    await loaded();
    assert.equal((await messagesOf("user")).filter((text) => text === "page from a train").length, 1, "the prompt is sent once");

    await context.setOffline(true);
    await send("page of another day");
    await page.getByRole("button", { name: "Stop" }).click();
    await page.locator("#send:enabled").waitFor();
    assert.equal(await focused(page), "prompt");
    assert.ok(!(await messagesOf("user")).includes("page of another day"));
    await prompt.press("End");
    await keyboard.type(" or two");
    await context.setOffline(false);
    await page.reload();
    await loaded();
    assert.equal(await prompt.inputValue(), "page of another day or two", "a reload keeps the input");
    await prompt.fill("");
  },

  async "a prompt whose answer is lost starts one turn"() {
    const before = (await messagesOf("user")).length;
    const keys = [];
    await page.route("**/api/agent/stream", async (route) => {
      const { idempotencyKey, projectId } = route.request().postDataJSON();
      keys.push(idempotencyKey);
      if (keys.length > 1) return route.continue();
      // The server accepts the prompt, and the answer is lost.
      const { headers } = route.request();
      const answer = await page.request.post(`${url}/api/turns`, { headers, data: { projectId, prompt: "page twice", idempotencyKey } });
      assert.ok(answer.ok(), await answer.text());
      await route.abort("connectionreset");
    });
    await send("page twice");
    await state("completed");
    await page.unroute("**/api/agent/stream");
    assert.deepEqual([keys.length, keys[0]], [2, keys[1]]);
    await page.reload();
    await loaded();
    assert.equal((await messagesOf("user")).length, before + 1);
  },

  async "a load continues when the network is back"() {
    await context.setOffline(true);
    await page.getByRole("button", { name: "Reload" }).click();
    await page.locator("#note", { hasText: "The server cannot be reached. The page tries again." }).waitFor();
    await checkPage(page, "offline-note");
    await context.setOffline(false);
    await page.locator("#note").waitFor({ state: "hidden" });
    assert.ok(await page.locator("#ask .fault").isHidden());
  },

  async "a prompt that is sent before the page is loaded"() {
    const before = await messagesOf("user");
    const [history, gate] = [deferred(), newGate()];
    await page.route(/\/messages\?/, async (route) => {
      await history.promise;
      await route.continue();
    }, { times: 1 });
    await page.reload({ waitUntil: "commit" });
    await page.locator("#prompt").waitFor();
    await send(`edit ${gate}`);
    await page.getByRole("button", { name: "Stop" }).waitFor();
    history.resolve();
    await loaded();
    assert.deepEqual(await messagesOf("user"), [...before, `edit ${gate}`], "every message is shown once and in order");
    open(gate);
    await state("completed");
    await page.frameLocator("#preview").locator("h1", { hasText: "edited" }).waitFor(TIMEOUT);
  },

  async "a conflict is shown, also after a reload"() {
    const gate = await heldTurn("edit");
    const project = new URL(page.url()).hash.slice(1);
    const content = "<!doctype html>\n<title>App</title>\n<h1>by hand</h1>\n";
    const body = { projectId: project, changes: [{ path: "index.html", write: { text: content } }] };
    const saved = await page.evaluate(
      (body) => fetch("/api/projects/save", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }).then((answer) => answer.status),
      body,
    );
    assert.equal(saved, 200);
    open(gate);
    const words = "Somebody else changed the same lines meanwhile: index.html.";
    let live;
    for (const round of ["live", "reloaded"]) {
      await state("conflicted", "not saved");
      await ended(words);
      live ??= await appearance(page);
      assert.deepEqual(await appearance(page), live);
      await page.frameLocator("#preview").locator("h1", { hasText: "by hand" }).waitFor(TIMEOUT);
      if (round === "live") await page.reload();
    }
    await checkPage(page, "conflict");
    // The events still contain the conflict after it was resolved.
    await page.route(/\/messages\?/, async (route) => {
      const answer = await route.fetch();
      const { messages, ...rest } = await answer.json();
      messages[0].turnOutcome = "TURN_OUTCOME_RESOLVED";
      await route.fulfill({ json: { messages, ...rest } });
    }, { times: 1 });
    await page.reload();
    await page.locator("#events", { hasText: "turn.conflicted" }).waitFor({ state: "attached" });
    await state("completed", "resolved");
    await ended("The conflict has been resolved since.");
  },

  async "a failure shows its reason, also after a reload"() {
    await send("something that the model refuses");
    for (const round of ["live", "reloaded"]) {
      await state("failed");
      await ended("The model's provider refused the request.");
      await ended("No file was changed.");
      assert.equal(await page.locator("#conversation .end").last().evaluate((line) => line.closest("li").className), "agent");
      await page.locator("#ask .fault", { hasText: "as the script says" }).waitFor(TIMEOUT);
      if (round === "live") await page.reload();
    }
    const live = await appearance(page);
    await page.route(/\/turns\/[^/]+\/events/, (route) => route.fulfill({ status: 410, json: { reason: "EVENTS_GONE" } }), { times: 1 });
    await page.reload();
    await state("failed");
    assert.deepEqual(await appearance(page), live, "without the events the messages show the failure");
    await failureMessages(page);
    await checkPage(page, "failure");
  },

  async "messages of refusals"() {
    await refusalMessages(page);
    await page.goto(`${url}/#${crypto.randomUUID()}`);
    await page.locator("#ask .fault", { hasText: "does not exist" }).waitFor();
    await page.goBack();
    await state("failed");
  },

  async "the ends of older turns are shown"() {
    await turn("page of the next day");
    await page.reload();
    await loaded();
    const ends = await page.locator("#conversation .end").allTextContents();
    for (const words of ["Somebody else changed the same lines meanwhile: index.html.", "The model's provider refused the request."])
      assert.ok(ends.some((end) => end.includes(words)), `the ends of older turns: ${ends}`);
    await checkPage(page, "older-ends");
  },

  async "a session that was ended elsewhere"() {
    const project = new URL(page.url()).hash;
    const cookies = (await context.cookies()).map(({ name, value }) => `${name}=${value}`).join("; ");
    await prompt.fill("page after all");
    const answer = await fetch(`${url}/api/auth/signout`, { method: "POST", headers: { cookie: cookies, "content-type": "application/json" }, body: "{}" });
    assert.ok(answer.ok);
    await prompt.press("Enter");
    await page.locator("#sign-in .fault", { hasText: "Your session has ended. Sign in to continue where you were." }).waitFor();
    await waitForFocus("email");
    await checkPage(page, "session-ended");
    await keyboard.type(email);
    await keyboard.press("Tab");
    await keyboard.type(PASSWORD);
    await keyboard.press("Enter");
    await waitForFocus("prompt");
    await loaded();
    assert.equal(new URL(page.url()).hash, project);
    assert.equal(await prompt.inputValue(), "page after all", "the prompt is still in the input");
    await prompt.press("Enter");
    await state("completed");
    await page.frameLocator("#preview").locator("h1", { hasText: "page after all" }).waitFor(TIMEOUT);
  },

  async "a reload does not change the conversation"() {
    await page.getByRole("button", { name: "New project" }).click();
    await turn("page of two texts");
    const gate = await heldTurn("hold");
    await page.getByRole("button", { name: "Stop" }).click();
    await state("cancelled");
    open(gate);
    for (const words of ["something that the model refuses", "cut in the middle"]) await failingTurn(words);
    // The end of the newest turn is read from its events, the end of others from the messages.
    const next = [[() => {}, "failed"], [() => turn("page of the end"), "completed"], [() => failingTurn("something else that the model refuses"), "failed"]];
    for (const [action, kind] of next) {
      await action();
      await page.locator("#send:enabled").waitFor();
      await waitForEndInView(page);
      const live = await appearance(page);
      assert.deepEqual(live.filter(({ border }) => border.includes("dashed")), []);
      await page.reload();
      await state(kind);
      await loaded();
      assert.deepEqual(await appearance(page), live);
      await waitForEndInView(page);
    }
    const texts = await page.locator("#conversation li.agent .words").allTextContents();
    assert.equal(texts[0], "I write a page, and a script for it.\n\nDone.", "blocks of text are paragraphs");
    await checkPage(page, "reloaded", "Conversation");
  },
};

let test;
try {
  for (test of Object.keys(tests)) {
    await tests[test]();
    console.log(`ok: ${test}`);
  }
  const unexpected = watcher.errors.filter((error) => !/status of (400|401|404|410|429|503)|net::ERR_/.test(error));
  assert.deepEqual(unexpected, [], "no error in the console");
} catch (error) {
  await shot(page, "failed-accessibility");
  console.error(`FAILED: ${test}`, error, watcher.errors);
  process.exitCode = 1;
} finally {
  await browser.close();
  network.close();
}
