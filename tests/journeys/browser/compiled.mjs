// Opens the previews of two projects that are compiled (BACKLOT_PREVIEW, BACKLOT_LARGE_PREVIEW). Exits with 0 only if all steps passed: text, style
// and picture are there, a page of two thousand modules gets all of them, and nothing failed.

import assert from "node:assert/strict";
import { launch, shot, TIMEOUT } from "./support.mjs";

const browser = await launch();
const page = await browser.newPage();
const problems = [];
page.on("pageerror", (error) => problems.push(String(error)));
page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
page.on("response", (response) => response.status() >= 400 && problems.push(`${response.status()} ${response.url()}`));

// A busy machine compiles and answers two thousand modules slowly.
const LONG = { timeout: 600_000 };

// Shows the sum of all modules (BACKLOT_LARGE_HEADING), of which there are BACKLOT_LARGE_MODULES.
async function manyModules() {
  const answered = new Set();
  page.on("response", (response) => response.url().includes("/@m/") && response.ok() && answered.add(response.url()));
  await page.goto(process.env.BACKLOT_LARGE_PREVIEW, { ...LONG, waitUntil: "commit" });
  const heading = page.getByRole("heading", { name: process.env.BACKLOT_LARGE_HEADING, exact: true });
  // A module that does not come covers the page with an alert.
  await heading.or(page.getByRole("alert")).first().waitFor(LONG);
  assert.deepEqual(problems, []);
  assert.equal(await heading.count(), 1, await page.textContent("body"));
  assert.ok(answered.size >= Number(process.env.BACKLOT_LARGE_MODULES), `${answered.size} modules`);
}

try {
  await page.goto(process.env.BACKLOT_PREVIEW);
  await page.getByRole("heading", { name: "Hello, Ann" }).waitFor(TIMEOUT);
  assert.deepEqual(await page.getByRole("listitem").allTextContents(), ["an apple", "a pear"]);
  const style = await page.getByRole("listitem").first().evaluate((item) => [getComputedStyle(item).color, getComputedStyle(item).fontWeight]);
  assert.deepEqual(style, ["rgb(0, 128, 128)", "700"], "the CSS module, with nesting");
  await page.waitForFunction(() => document.querySelector("img").naturalWidth === 8, null, TIMEOUT);
  assert.equal(await page.title(), "Fruit");
  assert.deepEqual(problems, []);
  await manyModules();
  console.log("ok: compiled projects");
} catch (error) {
  await shot(page, "failed");
  console.error(problems, error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
