// Drives the first page in headless Chromium. Exits 0 only if the whole story happened.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

// `make test` installs the driver outside the working tree and names the folder.
const modules = process.env.BACKLOT_NODE_MODULES ?? new URL(".", import.meta.url).pathname;
const { chromium } = createRequire(`${modules}/`)("playwright-core");

const url = process.env.BACKLOT_TEST_URL;
const shots = process.env.BACKLOT_SCREENSHOTS;
const browser = await chromium.launch({
  executablePath: process.env.BACKLOT_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
const faults = [];
page.on("pageerror", (error) => faults.push(String(error)));
page.on("console", (line) => line.type() === "error" && faults.push(`${line.text()} ${line.location().url}`));
const shot = (name) => (shots ? page.screenshot({ path: `${shots}/${name}.png` }) : undefined);

try {
  await page.goto(url);
  await page.getByLabel("E-mail").fill(`${crypto.randomUUID()}@example.com`);
  await page.getByLabel("Password").fill("123456789");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.locator("#door .fault").filter({ hasText: "password" }).waitFor();
  await shot("1-weak-password");

  await page.getByLabel("Password").fill("correct horse battery staple 7");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByLabel("Prompt").fill("a to-do list");
  await shot("2-desk");
  await page.getByLabel("Prompt").press("Enter");
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await page.locator("#files button.live").first().waitFor();
  await shot("3-working");
  await page.locator("#state", { hasText: "done" }).waitFor({ timeout: 60_000 });

  await page.locator("#files button", { hasText: "index.html" }).waitFor();
  const frame = page.frameLocator("#preview");
  await frame.locator("body *").first().waitFor();
  assert.match(await page.locator("#revision").innerText(), /revision 1/);
  await page.getByRole("tab", { name: /Events/ }).click();
  assert.ok((await page.locator("#pane-events li").count()) >= 60, "the events are shown");
  await shot("4-done");
  const before = await frame.locator("html").evaluate((root) => root.outerHTML + [...root.ownerDocument.styleSheets].map((s) => [...s.cssRules].map((r) => r.cssText).join()).join());

  await page.getByLabel("Prompt").fill("make it dark");
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator("#revision", { hasText: "revision 2" }).waitFor({ timeout: 60_000 });
  await page.waitForFunction(() => document.querySelector("#state").dataset.kind === "completed");
  await frame.locator("body *").first().waitFor();
  const after = await frame.locator("html").evaluate((root) => root.outerHTML + [...root.ownerDocument.styleSheets].map((s) => [...s.cssRules].map((r) => r.cssText).join()).join());
  assert.notEqual(after, before, "the second prompt changed the preview");
  await shot("5-changed");

  await page.reload();
  await page.locator("#talk li.user", { hasText: "make it dark" }).waitFor();
  await page.locator("#revision", { hasText: "revision 2" }).waitFor();
  await frame.locator("body *").first().waitFor();

  // A reload in the middle of a turn goes on watching it.
  await page.getByLabel("Prompt").fill("add a footer");
  await page.getByLabel("Prompt").press("Enter");
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await page.reload();
  await page.locator("#revision", { hasText: "revision 3" }).waitFor({ timeout: 60_000 });

  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Create account" }).waitFor();
  const unexpected = faults.filter((fault) => !/status of 40[01]/.test(fault));
  assert.deepEqual(unexpected, [], "no error in the console");
  console.log("the first page did the main job");
} catch (error) {
  await shot("failed");
  console.error(error, faults);
  process.exitCode = 1;
} finally {
  await browser.close();
}
