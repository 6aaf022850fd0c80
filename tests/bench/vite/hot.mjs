// From a save to the text in the page, in Chromium: previews of Backlot beside Vite's dev server, in turns. BACKLOT_BENCH has the addresses, the
// session, the file and the rounds as JSON. Prints the times in ms as one line of JSON.

import { writeFileSync } from "node:fs";
import { launch, TIMEOUT } from "../../journeys/browser/support.mjs";

const { url, cookie, project, path, text, marker, vite, root, rounds } = JSON.parse(process.env.BACKLOT_BENCH);
const browser = await launch();
const context = await browser.newContext();
const [name, value] = cookie.split("=");
await context.addCookies([{ name, value, url }]);

const version = (round) => [`${marker} ${round}`, text.replace(marker, `${marker} ${round}`)];

// Resolves to the time at which the text is in the document.
const shown = (frame, wanted) =>
  frame.evaluate((wanted) => {
    return new Promise((resolve) => {
      const check = () => document.body.textContent.includes(wanted) && resolve(Date.now());
      new MutationObserver(check).observe(document, { subtree: true, childList: true, characterData: true });
      check();
    });
  }, wanted);

// Measures from `save`, which returns when it began.
async function measure(page, frame, round, save) {
  await page.bringToFront();
  const [wanted, content] = version(round);
  const end = shown(frame, wanted);
  const start = await save(content);
  return (await end) - start;
}

try {
  const ours = await context.newPage();
  ours.setDefaultTimeout(TIMEOUT.timeout);
  await ours.goto(`${url}/#${project}`);
  await ours.locator("#reload").click();
  await ours.frameLocator("#preview").getByText(marker).first().waitFor(TIMEOUT);
  const frame = await (await ours.$("#preview")).contentFrame();
  const theirs = await context.newPage();
  await theirs.goto(vite);
  await theirs.getByText(marker).first().waitFor(TIMEOUT);

  const save = (content) =>
    ours.evaluate(
      ([projectId, path, text]) => {
        const start = Date.now();
        const body = JSON.stringify({ projectId, changes: [{ path, write: { text } }] });
        const sent = fetch("/api/projects/save", { method: "POST", headers: { "content-type": "application/json" }, body });
        return sent.then((answer) => (answer.ok ? start : Promise.reject(new Error(`a save: ${answer.status}`))));
      },
      [project, path, content],
    );
  const write = (content) => {
    const start = Date.now();
    writeFileSync(`${root}/${path}`, content);
    return start;
  };
  const times = { ours: [], vite: [] };
  for (let round = 0; round < rounds; round++) {
    times.ours.push(await measure(ours, frame, round, save));
    times.vite.push(await measure(theirs, theirs, round, write));
  }
  console.log(JSON.stringify(times));
} finally {
  await browser.close();
}
