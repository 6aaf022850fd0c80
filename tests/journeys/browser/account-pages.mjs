// Opens every page of accounts (BACKLOT_PAGES: their paths; BACKLOT_LINK: the link of a mail), and sends a wrong form of each page that has one. Exits with 0 only if all steps
// passed: without scripts the summary of a refusal has the focus and leads to the wrong fields, which alone are marked; axe and the sizes are right.

import assert from "node:assert/strict";
import { checkPage, launch, PASSWORD, TIMEOUT, url } from "./support.mjs";

const paths = JSON.parse(process.env.BACKLOT_PAGES);
// Pages that have no form with these settings, or whose form is always right.
const NOT_REFUSED = ["/account/identities", "/account/export", "/account/new-email"];
// Pages of links. One that nobody can use has no form.
const OF_LINKS = ["/account/verify", "/account/reset/confirm", "/account/remove-factor"];
// Pages whose wrong fields are known.
const WITH_FIELDS = ["/account/sign-in", "/account/sign-up", "/account/reset", "/account/email", "/account/password", "/account/reset/confirm", "/account/keys", "/account/service-accounts", "/account/device", "/account/delete"];
const LONG = "a".repeat(500);

const browser = await launch();

// A new account. Its proof of who the person is stays recent, however long the other pages take.
async function signUp(page) {
  await page.goto(`${url}/account/sign-up`);
  await page.getByLabel("E-mail address").fill(`${crypto.randomUUID()}@example.com`);
  await page.getByLabel("New password").fill(PASSWORD);
  await page.getByRole("button", { name: "Create an account" }).click();
  await page.waitForURL(`${url}/`);
}

// The first form of the page with a visible field, or the first one of all.
async function formOf(page) {
  const forms = page.locator("main form");
  const withField = forms.filter({ has: page.locator("input:not([type=hidden])") });
  return (await withField.count()) ? withField.first() : forms.first();
}

// Sends a form that a browser accepts and the server does not. Returns the status of the answer.
async function sendWrong(page, form) {
  const fields = form.locator("input:not([type=hidden])");
  const count = await fields.count();
  for (let at = 0; at < count; at++) {
    const field = fields.nth(at);
    await field.fill((await field.getAttribute("type")) === "email" ? `${LONG}@example.com` : LONG);
  }
  const action = form.locator("input[name=action]");
  if (!count && (await action.count())) await action.evaluate((field) => (field.value = "nothing"));
  const answer = page.waitForResponse((response) => response.request().method() === "POST", TIMEOUT);
  await form.getByRole("button").click();
  return (await answer).status();
}

async function checkRefusal(page, path) {
  await page.locator("#fault:focus").waitFor(TIMEOUT);
  assert.match(await page.title(), /^Error: /, path);
  const links = page.locator("#fault a");
  const linked = await links.evaluateAll((nodes) => nodes.map((node) => node.getAttribute("href").slice(1)));
  const marked = await page.locator("[aria-invalid=true]").evaluateAll((nodes) =>
    nodes.map((node) => {
      const described = node.getAttribute("aria-describedby").split(" ");
      return { id: node.id, hasText: described.every((id) => document.getElementById(id)?.textContent) && described.includes(`${node.id}-fault`) };
    }),
  );
  assert.deepEqual([...new Set(linked)].sort(), marked.map(({ id }) => id).sort(), `${path}: the links lead to the wrong fields`);
  assert.ok(marked.every(({ hasText }) => hasText), `${path}: ${JSON.stringify(marked)}`);
  assert.ok(linked.length || !WITH_FIELDS.includes(path), `${path}: no field is named`);
  if (!linked.length) return;
  await links.first().click();
  await page.locator(`[id="${linked[0]}"]:focus`).waitFor(TIMEOUT);
}

// Opens a page and has its form refused. Returns whether it has one. Without scripts the focus and the marks are checked. axe is a script, so a
// second time has them.
async function check(page, path, hasScripts) {
  const name = path.slice(1).replaceAll("/", "-");
  await page.goto(`${url}${path}`);
  if (hasScripts) await checkPage(page, name);
  if (NOT_REFUSED.includes(path)) return false;
  if (OF_LINKS.includes(path)) {
    await page.goto(`${url}${path}?token=abc`);
    await page.getByText("The link has been used, has expired, or is incomplete.").waitFor();
    assert.equal(await page.locator("main form").count(), 0, path);
    if (hasScripts) await checkPage(page, `${name}-dead`);
    if (!process.env.BACKLOT_LINK.startsWith(`${url}${path}?`)) return false;
    await page.goto(process.env.BACKLOT_LINK);
    if (hasScripts) await checkPage(page, `${name}-form`);
  }
  const form = await formOf(page);
  assert.ok(await form.count(), `${path} has no form; list it in NOT_REFUSED`);
  const status = await sendWrong(page, form);
  assert.ok(status >= 400 && status < 600, `${path} answers ${status} to a wrong form`);
  await page.locator("#fault").waitFor();
  if (hasScripts) await checkPage(page, `${name}-refused`);
  else await checkRefusal(page, path);
  return true;
}

try {
  let refused = 0;
  for (const hasScripts of [false, true]) {
    for (const path of paths) {
      const context = await browser.newContext({ javaScriptEnabled: hasScripts });
      const page = await context.newPage();
      page.setDefaultTimeout(TIMEOUT.timeout);
      await signUp(page);
      if (await check(page, path, hasScripts)) refused += 1;
      await context.close();
    }
  }
  assert.ok(refused > 24, `${refused} forms were refused`);
  console.log("ok: the pages of accounts");
} finally {
  await browser.close();
}
