// Tests the findings in the first page (BACKLOT_CHANGES: the files of the project). The model writes a broken import and does not correct it. The
// turn shows what the check has found, also after a reload, and the tab shows the findings of the newest revision on request.

import assert from "node:assert/strict";
import { launch, PASSWORD, TIMEOUT, shot, url } from "./support.mjs";

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

try {
  await page.goto(url);
  await api("/api/auth/signup", { email: `${crypto.randomUUID()}@example.com`, password: PASSWORD });
  const { project } = await api("/api/projects/save", { draftId: "checks", changes: JSON.parse(process.env.BACKLOT_CHANGES) });
  await page.goto(`${url}/#${project.id}`);
  await page.reload();

  await page.locator("#prompt").fill("say hello");
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator("#state", { hasText: "done" }).waitFor();
  const shown = page.locator("#conversation .checks");
  const seen = async () => {
    await shown.getByText("The check found 1 error.").waitFor();
    assert.match(await shown.locator("li b").innerText(), /^src\/hello\.ts:1:\d+$/);
    assert.match(await shown.locator("li p").first().innerText(), /Error: .*\.\/great/);
    assert.match(await shown.locator("pre").innerText(), /1 \|.*\.\/great/);
    assert.equal(await shown.count(), 1, "the last check of the turn");
  };
  await seen();
  await shot(page, "checks-turn");
  await page.reload();
  await page.locator("#state", { hasText: "done" }).waitFor();
  await seen();

  await page.getByRole("tab", { name: /Findings/ }).click();
  await page.locator("#checked", { hasText: "this turn" }).waitFor();
  const save = (text) => api("/api/projects/save", { projectId: project.id, changes: [{ path: "src/hello.ts", write: { text } }] });
  await save("export const hello = ;\n");
  await page.getByRole("button", { name: "Check now" }).click();
  await page.locator("#checked", { hasText: "Checked: revision" }).waitFor();
  await page.locator("#findings li", { hasText: "src/hello.ts:1" }).waitFor();
  assert.match(await page.locator("#checked").innerText(), /^The check found 1 error\. Checked: revision [0-9a-f]{8}\.$/);
  assert.equal(await page.locator("#found").innerText(), "1");
  await shot(page, "checks-tab");
  await save("export const hello = 1;\n");
  await page.getByRole("button", { name: "Check now" }).click();
  await page.locator("#checked", { hasText: "The check found nothing." }).waitFor();
  assert.equal(await page.locator("#findings li").count(), 0);
  console.log("ok: findings in the page");
} catch (error) {
  await shot(page, "failed");
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
