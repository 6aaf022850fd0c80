// Tests that an open preview exchanges modules after a save and keeps its state: React, Vue, Svelte, Preact, code that accepts itself, and a browser with one import map. Packages come
// from the registry of the cluster. Exits with 0 only if all steps passed.

import assert from "node:assert/strict";
import { launch, PASSWORD, TIMEOUT, shot, url } from "./support.mjs";
import * as react from "./hot/react.mjs";
import * as components from "./hot/components.mjs";

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

// A project that is open in the first page.
async function open(name, files) {
  const write = (files) => Object.entries(files).map(([path, text]) => ({ path, write: { text } }));
  const { project } = await api("/api/projects/save", { draftId: name, changes: write(files) });
  await page.goto(`${url}/#${project.id}`);
  await page.reload();
  await page.evaluate(() => {
    window.reports = [];
    window.addEventListener("message", ({ data }) => window.reports.push(data));
    document.querySelector("#reload").click();
  });
  const reported = (type) => page.waitForFunction((type) => window.reports.find((report) => report?.type === type), type, TIMEOUT).then((found) => found.jsonValue());
  await reported("backlot:ready");
  const frame = page.frameLocator("#preview");
  const shows = (text) => frame.getByText(text, { exact: true }).first().waitFor(TIMEOUT);
  const click = (text) => frame.getByRole("button", { name: text, exact: true }).click();
  const forget = () => page.evaluate(() => void (window.reports = []));
  // Saves files. Returns what the open preview did with them.
  const save = async (files) => {
    await forget();
    await api("/api/projects/save", { projectId: project.id, changes: write(files) });
    return (await reported("backlot:updated")).how;
  };
  const errors = () => page.evaluate(() => window.reports.filter((report) => report?.type === "backlot:error"));
  return { frame, shows, click, save, errors, forget, reported };
}

try {
  await page.goto(url);
  await api("/api/auth/signup", { email: `${crypto.randomUUID()}@example.com`, password: PASSWORD });
  // The last one changes the browser.
  const cases = [react, components.vue, components.svelte, components.preact, components.own, components.plain, components.oneMap];
  for (const { name, files, steps, init } of cases) {
    if (init) await page.addInitScript(init);
    const project = await open(name, files);
    await steps(project);
    assert.deepEqual(await project.errors(), [], name);
    await shot(page, `hot-${name}`);
    console.log(`ok: ${name}`);
  }
} catch (error) {
  await shot(page, "failed");
  console.error(await page.evaluate(() => window.reports).catch(() => undefined), error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
