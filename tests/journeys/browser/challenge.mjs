// Tests the challenge of the sign-in page, from a network that has tried a list of passwords (BACKLOT_TEST_URL: the cluster, which reads the client's address from X-Forwarded-For).
// Exits with 0 only if all steps passed: the hash of the script has known answers, a page without scripts says how long to wait, and a browser solves the challenge and signs in, also on the first page.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { checkPage, launch, PASSWORD, TIMEOUT, url } from "./support.mjs";

const email = `${crypto.randomUUID()}@example.com`;
const HOME = "198.51.100.7";
const [ATTACKER, OTHER] = ["203.0.113.1", "203.0.113.2"].map((address) => ({ "x-forwarded-for": address }));

const send = (path, headers, body) =>
  fetch(`${url}${path}`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });

const signedUp = await send("/api/auth/signup", { "x-forwarded-for": HOME }, { email, password: PASSWORD });
assert.ok(signedUp.ok, await signedUp.text());
for (const network of [ATTACKER, OTHER]) {
  const tried = [];
  for (const number of [1, 2, 3]) tried.push((await send("/api/auth/signin", network, { email: `person${number}@example.org`, password: "stolen" })).status);
  assert.deepEqual(tried, [401, 401, 429]);
}

const browser = await launch();

// The hash is that of another implementation.
async function checkHash() {
  const page = await (await browser.newContext({ bypassCSP: true })).newPage();
  await page.goto(`${url}/account/sign-in`, TIMEOUT);
  const texts = ["abc", ...Array.from({ length: 200 }, (_, length) => "1790000300.Az-_".repeat(14).slice(0, length))];
  const found = await page.evaluate(async (texts) => {
    const { hasher } = await import("/page/challenge.js");
    const hex = (words) => [...words].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
    return texts.map((text) => {
      const start = text.length - (text.length % 41);
      return hex(hasher(text.slice(0, start))(text.slice(start)));
    });
  }, texts);
  assert.equal(found[0], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert.deepEqual(found, texts.map((text) => createHash("sha256").update(text).digest("hex")));
}

async function enterPassword(page) {
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

async function signIn(page) {
  page.setDefaultTimeout(TIMEOUT.timeout);
  await page.goto(`${url}/account/sign-in`);
  await page.getByLabel("E-mail address").fill(email);
  await enterPassword(page);
  await page.getByText("Many wrong passwords came from your network, or for this account.").waitFor();
  assert.equal(await page.getByLabel("E-mail address").inputValue(), email);
  assert.equal(await page.getByLabel("Password").inputValue(), "");
}

try {
  await checkHash();

  const plain = await (await browser.newContext({ javaScriptEnabled: false, extraHTTPHeaders: ATTACKER })).newPage();
  await signIn(plain);
  await plain.getByText(/or try again in \d+ hours/).waitFor();
  assert.equal(await plain.locator("#challenge").textContent(), "");

  const page = await (await browser.newContext({ extraHTTPHeaders: ATTACKER })).newPage();
  await signIn(page);
  await page.getByText("This browser has solved the task for it.").waitFor();
  await checkPage(page, "challenge");

  await page.locator("input[name=challenge_solution]").evaluate((field) => {
    field.value = "1.a.b.2";
  });
  await enterPassword(page);
  await page.getByText("The solution of your browser was wrong").waitFor();
  // The form waits for the solution.
  await enterPassword(page);
  await page.waitForURL(`${url}/`);

  const first = await (await browser.newContext({ extraHTTPHeaders: OTHER })).newPage();
  first.setDefaultTimeout(TIMEOUT.timeout);
  await first.goto(url);
  await first.getByLabel("E-mail").fill(email);
  await enterPassword(first);
  await first.getByRole("button", { name: "New project" }).waitFor();
  console.log("ok");
} finally {
  await browser.close();
}
