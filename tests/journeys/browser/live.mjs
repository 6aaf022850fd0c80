// Tests the preview of a compiled project that is open in the first page while somebody saves (BACKLOT_CHANGES: the files of the project).
// Exits with 0 only if all steps passed: a style changes in place, a syntax error is shown, put into the prompt and goes, other changes load the
// page again, and a runtime error is shown, reported and put into the prompt with the last errors of the console, whose end the page shows as text.

import assert from "node:assert/strict";
import { checkPage, launch, PASSWORD, TIMEOUT, shot, url } from "./support.mjs";

const browser = await launch();
const page = await browser.newPage();
page.setDefaultTimeout(TIMEOUT.timeout);

const api = (path, body) =>
  page.evaluate(
    async ([path, body]) => {
      const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
      return answer.json();
    },
    [path, body],
  );

const COUNTER = `
const button = document.createElement('button');
let count: number = 0;
button.textContent = 'count 0';
button.addEventListener('click', () => { count += 1; button.textContent = \`count \${count}\`; });
const fail = document.createElement('button');
fail.textContent = 'fail';
interface Item { price: number }
fail.addEventListener('click', () => {
  console.error('the list is empty', '<b>not bold</b>');
  const item = undefined as unknown as Item;
  item.price.toFixed();
});
document.body.append(button, fail);
console.info('the page runs', { count });
`;

try {
  await page.goto(url);
  await api("/api/auth/signup", { email: `${crypto.randomUUID()}@example.com`, password: PASSWORD });
  const changes = JSON.parse(process.env.BACKLOT_CHANGES);
  const main = changes.find(({ path }) => path === "src/main.ts");
  main.write.text += COUNTER;
  const { project } = await api("/api/projects/save", { draftId: "live", changes });
  const save = (path, text) => api("/api/projects/save", { projectId: project.id, changes: [{ path, write: { text } }] });

  await page.goto(`${url}/#${project.id}`);
  await page.reload();
  await page.evaluate(() => {
    window.reports = [];
    window.addEventListener("message", ({ data }) => window.reports.push(data));
  });
  const reported = (what) =>
    page.waitForFunction((what) => window.reports.find((report) => Object.entries(what).every(([name, value]) => report?.[name] === value)), what, TIMEOUT).then((found) => found.jsonValue());
  const frame = page.frameLocator("#preview");
  await page.evaluate(() => void document.querySelector("#reload").click());
  await reported({ type: "backlot:ready" });
  assert.match((await reported({ type: "backlot:console", level: "info" })).message, /^the page runs \{ count: 0 \}$/);
  await frame.getByRole("button", { name: "count 0" }).click();
  await frame.getByRole("button", { name: "count 1" }).waitFor(TIMEOUT);

  await save("src/list.module.css", ".list { color: rgb(200, 0, 0); & li { font-weight: 700 } }\n");
  assert.equal((await reported({ type: "backlot:updated" })).how, "styles");
  assert.equal(await frame.getByRole("listitem").first().evaluate((item) => getComputedStyle(item).color), "rgb(200, 0, 0)");
  assert.equal(await frame.getByRole("button", { name: "count 1" }).count(), 1, "the state is kept");

  const greet = changes.find(({ path }) => path === "src/greet.ts").write.text;
  await save("src/greet.ts", "export const greet = ;\n");
  await reported({ type: "backlot:updated", how: "errors" });
  await frame.frameLocator("backlot-overlay iframe").getByText(/src\/greet\.ts/).first().waitFor(TIMEOUT);
  const built = await reported({ type: "backlot:error", kind: "build" });
  assert.equal(built.file, "src/greet.ts");
  await shot(page, "live-errors");
  const fix = page.getByRole("button", { name: "Fix the error" });
  await fix.click();
  const told = await page.locator("#prompt").inputValue();
  assert.match(told, /^The preview cannot be compiled\.[^]*src\/greet\.ts:1:\d+/);
  assert.ok(told.includes(built.message), told);
  await save("src/greet.ts", greet);
  await reported({ type: "backlot:updated", how: "none" });
  assert.equal(await frame.locator("backlot-overlay").count(), 0, "the errors are gone");
  await fix.waitFor({ ...TIMEOUT, state: "hidden" });
  assert.equal(await frame.getByRole("button", { name: "count 1" }).count(), 1, "the state is kept");

  await save("src/greet.ts", greet.replace("Hello", "Good day"));
  await reported({ type: "backlot:updated", how: "reload" });
  await frame.getByRole("heading", { name: "Good day, Ann" }).waitFor(TIMEOUT);
  await frame.getByRole("button", { name: "count 0" }).waitFor(TIMEOUT);

  await frame.getByRole("button", { name: "fail" }).click();
  const error = await reported({ type: "backlot:error", kind: "error" });
  assert.equal(error.kind, "error");
  assert.match(error.message, /^TypeError: .*price/);
  const line = main.write.text.split("\n").findIndex((text) => text.includes("item.price.toFixed")) + 1;
  assert.equal(`${error.file}:${error.line}`.replace(/^\//, ""), `src/main.ts:${line}`);
  assert.match(error.stack, new RegExp(`src/main\\.ts:${line}:`));
  await frame.getByRole("alert").getByText(/TypeError/).first().waitFor(TIMEOUT);
  const alert = frame.getByRole("alert");
  assert.equal((await alert.textContent()).split(error.message).length, 2, "the message is shown once");
  assert.equal(await alert.evaluate((box) => getComputedStyle(box).backgroundColor), "rgb(27, 27, 31)", "nothing shines through");
  await shot(page, "live-runtime");
  await page.getByRole("button", { name: "Fix the error" }).click();
  const asked = await page.locator("#prompt").inputValue();
  assert.match(asked, /src\/main\.ts:\d+:\d+\. Find its cause[^]*TypeError/);
  assert.ok(asked.endsWith("The last errors in its console:\n- the list is empty <b>not bold</b>"), asked);

  // The page shows the console as text, and only its end. A script of the preview may send anything.
  const lines = page.locator("#console li");
  await page.getByRole("tab", { name: /^Console/ }).click();
  assert.deepEqual(await lines.allTextContents(), [
    "infothe page runs { count: 0 }",
    "errorthe list is empty <b>not bold</b>",
    `error${error.message} at ${error.file}:${error.line}:${error.column}`,
  ]);
  assert.equal(await page.locator("#console b").count(), 0);
  await checkPage(page, "live-console", "Files");
  await frame.locator("body").evaluate(() => {
    for (let at = 0; at < 60; at++) parent.postMessage({ type: "backlot:console", level: "warn", message: `line ${at}` }, "*");
    parent.postMessage({ type: "backlot:console", level: { toString: 1 }, message: "a".repeat(10_000), dropped: 7 }, "*");
  });
  await lines.filter({ hasText: "aaa" }).waitFor(TIMEOUT);
  const shown = await lines.allTextContents();
  assert.deepEqual([shown.length, shown[0], shown.at(-2), shown.at(-1).length], [50, "warnline 12", "note7 reports were left out.", 2004]);
  await frame.getByRole("button", { name: "Close" }).click();
  assert.equal(await frame.getByRole("alert").count(), 0);

  // A page that cannot be compiled when it is opened has the button, too, also after a save that does not mend it.
  await save("src/greet.ts", "export const greet = ;\n");
  await page.evaluate(() => {
    window.reports = [];
    document.querySelector("#reload").click();
  });
  await reported({ type: "backlot:error", kind: "build" });
  await fix.waitFor(TIMEOUT);
  await page.evaluate(() => void (window.reports = []));
  await save("notes.txt", "a file that the page does not load\n");
  await reported({ type: "backlot:updated", how: "none" });
  await reported({ type: "backlot:error", kind: "build" });
  await fix.waitFor(TIMEOUT);
  assert.equal(await lines.filter({ hasText: "src/greet.ts" }).count(), 1, "the error is listed once");

  // While the preview is built, the page says so.
  const { port } = new URL(await page.locator("#preview").getAttribute("src"));
  let open;
  const gate = new Promise((done) => (open = done));
  await page.route((asked) => asked.port === port, async (route) => {
    await gate;
    await route.continue();
  });
  await page.evaluate(() => void document.querySelector("#reload").click());
  const building = page.getByText("The preview is being built.");
  await building.waitFor(TIMEOUT);
  open();
  await building.waitFor({ ...TIMEOUT, state: "hidden" });
  console.log("ok: a live preview");
} catch (error) {
  await shot(page, "failed");
  console.error(await page.evaluate(() => window.reports).catch(() => undefined), error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
