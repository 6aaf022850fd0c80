// Opens the preview of a project that is compiled (BACKLOT_PREVIEW). Exits with 0 only if all steps passed: text, style and picture are there,
// and nothing failed.

import assert from "node:assert/strict";
import { launch, shot, TIMEOUT } from "./support.mjs";

const browser = await launch();
const page = await browser.newPage();
const problems = [];
page.on("pageerror", (error) => problems.push(String(error)));
page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
page.on("response", (response) => response.status() >= 400 && problems.push(`${response.status()} ${response.url()}`));

try {
  await page.goto(process.env.BACKLOT_PREVIEW);
  await page.getByRole("heading", { name: "Hello, Ann" }).waitFor(TIMEOUT);
  assert.deepEqual(await page.getByRole("listitem").allTextContents(), ["an apple", "a pear"]);
  const style = await page.getByRole("listitem").first().evaluate((item) => [getComputedStyle(item).color, getComputedStyle(item).fontWeight]);
  assert.deepEqual(style, ["rgb(0, 128, 128)", "700"], "the CSS module, with nesting");
  await page.waitForFunction(() => document.querySelector("img").naturalWidth === 8, null, TIMEOUT);
  assert.equal(await page.title(), "Fruit");
  assert.deepEqual(problems, []);
  console.log("ok: a compiled project");
} catch (error) {
  await shot(page, "failed");
  console.error(problems, error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
