// Tests a preview in a tab of its own, which nobody frames (BACKLOT_CHANGES: the files of a compiled project). Exits with 0 only if all steps passed:
// a page of plain files is loaded again after a save, a compiled page exchanges a style and keeps its state, an error covers it and goes, a page
// without one of its modules says so, and a page whose preview has ended stops to ask.

import assert from "node:assert/strict";
import { launch, PASSWORD, TIMEOUT, shot, url } from "./support.mjs";

const browser = await launch();
const context = await browser.newContext();
const page = await context.newPage();
page.setDefaultTimeout(TIMEOUT.timeout);

const api = (path, body, method = "POST") =>
  page.evaluate(
    async ([path, body, method]) => {
      const answer = await fetch(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
      return method === "DELETE" ? undefined : answer.json();
    },
    [path, body, method],
  );

// A project with its preview in a tab.
async function open(draftId, changes) {
  const { project } = await api("/api/projects/save", { draftId, changes });
  const preview = await api(`/api/projects/${project.id}/previews`, {});
  const tab = await context.newPage();
  tab.setDefaultTimeout(TIMEOUT.timeout);
  await tab.goto(preview.url);
  const save = (path, text) => api("/api/projects/save", { projectId: project.id, changes: [{ path, write: { text } }] });
  return { project, tab, save, preview };
}

const plain = (word) => `<!doctype html><title>Plain</title><script>window.loads = 1</script><p>${word}</p>`;

// A module that does not come covers the page with its name and its status, also in the first page, and the page can be loaded again.
async function loses(preview, project) {
  const tab = await context.newPage();
  tab.setDefaultTimeout(TIMEOUT.timeout);
  await tab.goto(preview.url);
  const modules = await tab.evaluate(() => JSON.parse(document.querySelector("script[data-backlot]").textContent).modules);
  const refuse = async (file, status) => {
    const [, address] = modules.find(([id]) => id === file);
    const match = (asked) => asked.pathname === address;
    await tab.route(match, (route) => route.fulfill({ status, contentType: "application/problem+json", body: "{}" }));
    return () => tab.unroute(match);
  };
  for (const [file, status, words] of [
    ["src/greet.ts", 503, "The server is busy"],
    ["src/greet.ts", 429, "Too many requests"],
    ["src/main.ts", 404, "There is nothing at this address"],
  ]) {
    const allow = await refuse(file, status);
    await tab.goto(preview.url);
    const alert = tab.getByRole("alert");
    await alert.getByRole("heading", { name: `${file} cannot be loaded` }).waitFor();
    const text = await alert.textContent();
    assert.ok(text.includes(` is ${status}. ${words}`) && text.includes("Load the page again."), text);
    await shot(tab, `tab-lost-${status}`);
    await allow();
    await alert.getByRole("button", { name: "Load again" }).click();
    await tab.getByRole("heading", { name: "Hello, Ann" }).waitFor();
    assert.equal(await tab.locator("backlot-overlay").count(), 0, "nothing covers the page");
  }
  await refuse("src/greet.ts", 503);
  await tab.goto(`${url}/#${project.id}`);
  await tab.frameLocator("#preview").getByRole("heading", { name: "src/greet.ts cannot be loaded" }).waitFor();
  await tab.close();
}

try {
  await page.goto(url);
  await api("/api/auth/signup", { email: `${crypto.randomUUID()}@example.com`, password: PASSWORD });

  const first = await open("plain", [{ path: "about.html", write: { text: plain("one") } }, { path: "index.html", write: { text: plain("one") } }]);
  await first.tab.getByText("one", { exact: true }).waitFor();
  await first.save("index.html", plain("two"));
  await first.tab.getByText("two", { exact: true }).waitFor();
  // Without another save the page stays.
  await first.tab.evaluate(() => void (window.loads = 2));
  await first.tab.waitForResponse((answer) => answer.url().includes("/@b/revision/"));
  await first.tab.waitForResponse((answer) => answer.url().includes("/@b/revision/"));
  assert.equal(await first.tab.evaluate(() => window.loads), 2, "the page is not loaded again");

  const changes = JSON.parse(process.env.BACKLOT_CHANGES);
  const { tab, save, project, preview } = await open("compiled", changes);
  const color = (wanted) =>
    tab.waitForFunction((wanted) => getComputedStyle(document.querySelector("li")).color === wanted, wanted, TIMEOUT);
  await tab.getByRole("heading", { name: "Hello, Ann" }).waitFor();
  await loses(preview, project);
  await tab.evaluate(() => void (window.kept = true));
  await save("src/list.module.css", ".list { color: rgb(200, 0, 0); & li { font-weight: 700 } }\n");
  await color("rgb(200, 0, 0)");
  assert.equal(await tab.evaluate(() => window.kept), true, "the state is kept");
  const greet = changes.find(({ path }) => path === "src/greet.ts").write.text;
  await save("src/greet.ts", "export const greet = ;\n");
  await tab.frameLocator("backlot-overlay iframe").getByText(/src\/greet\.ts/).first().waitFor();
  await shot(tab, "tab-errors");
  await save("src/greet.ts", greet.replace("Hello", "Good day"));
  await tab.getByRole("heading", { name: "Good day, Ann" }).waitFor();
  assert.equal(await tab.locator("backlot-overlay").count(), 0, "the errors are gone");

  // The end of the preview leaves the page, and ends its questions.
  const refused = tab.waitForResponse((answer) => answer.url().includes("/@b/revision/") && answer.status() === 404);
  await api(`/api/projects/${project.id}/previews/${new URL(preview.url).hostname.split(".")[0]}`, {}, "DELETE");
  await refused;
  let questions = 0;
  tab.on("request", (request) => (questions += request.url().includes("/@b/revision/") ? 1 : 0));
  // Longer than the page waits between two questions.
  await tab.waitForTimeout(5_000);
  assert.equal(questions, 0, "the page does not ask any more");
  await tab.getByRole("heading", { name: "Good day, Ann" }).waitFor();
  console.log("ok: a preview in a tab");
} catch (error) {
  await shot(page, "failed");
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
