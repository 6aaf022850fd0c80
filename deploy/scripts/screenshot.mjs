// Takes the README's screenshot: the first page of a running cluster, with a project of the demo model open.
//
//   BACKLOT_TEST_URL=http://127.0.0.1:8080 node deploy/scripts/screenshot.mjs docs/images/first-page.png
//
// BACKLOT_NODE_MODULES is the folder in which `make test` installed the browser driver. BACKLOT_CHROMIUM is the browser's executable.

import { launch, PASSWORD, TIMEOUT, url } from "../../tests/journeys/browser/support.mjs";

const [path] = process.argv.slice(2);
const browser = await launch();
const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: "reduce" })).newPage();
page.setDefaultTimeout(TIMEOUT.timeout);

async function send(prompt, revision) {
  await page.getByLabel("Prompt").fill(prompt);
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator("#revision", { hasText: `revision ${revision} ` }).waitFor(TIMEOUT);
  await page.locator("#state[data-kind=completed]").waitFor(TIMEOUT);
}

await page.goto(url);
await page.locator("body[aria-busy=false]").waitFor(TIMEOUT);
await page.getByLabel("E-mail").fill(`${crypto.randomUUID()}@example.com`);
await page.getByLabel("Password").fill(PASSWORD);
await page.getByRole("button", { name: "Create account" }).click();
await send("a to-do list", 1);
await page.locator("#files button", { hasText: "index.html" }).click();
const app = page.frameLocator("#preview");
for (const task of ["Choose a name", "Draw a logo", "Tell a friend"]) {
  await app.getByPlaceholder("What needs doing?").fill(task);
  await app.getByRole("button", { name: "Add" }).click();
}
await app.getByRole("checkbox").first().check();
await page.screenshot({ path });
await browser.close();
