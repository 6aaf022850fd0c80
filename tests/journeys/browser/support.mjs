// Shared code of the browser tests: the browser, timeouts for a busy machine, and accessibility checks.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The folder in which `make test` installs the driver and axe.
const modules = process.env.BACKLOT_NODE_MODULES ?? new URL(".", import.meta.url).pathname;
const library = createRequire(`${modules}/`);
const axe = () => readFileSync(library.resolve("axe-core/axe.min.js"), "utf8");

export const url = process.env.BACKLOT_TEST_URL;
const shots = process.env.BACKLOT_SCREENSHOTS;
export const shot = (page, name) => (shots ? page.screenshot({ path: `${shots}/${name}.png` }) : undefined);
// A limit for a busy machine. The server may delay a load several times.
export const TIMEOUT = { timeout: 150_000 };
export const PASSWORD = "correct horse battery staple 7";

// The browser gave a request up, for example the icon of a page that it leaves. An error of the server or of the network has another name.
export const isAborted = (request) => request.failure()?.errorText === "net::ERR_ABORTED";

export function launch(more = []) {
  return library("playwright-core").chromium.launch({
    executablePath: process.env.BACKLOT_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", ...more],
  });
}

const WIDTHS = [[1440, 900], [390, 844]];
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

// Checks the page on a large and on a small screen, light and dark: axe reports no violation, nothing is wider than the screen, and controls
// are large enough. A small screen shows one view at a time, so the focus can be lost.
export async function checkPage(page, name, view = "") {
  for (const [width, height] of WIDTHS) {
    await page.setViewportSize({ width, height });
    if (view && width < 1000) await page.getByRole("navigation").getByRole("button", { name: view }).click();
    for (const colorScheme of ["light", "dark"]) {
      const what = `${name} at ${width}, ${colorScheme}`;
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.evaluate(axe());
      const { violations } = await page.evaluate((values) => window.axe.run(document, { iframes: false, runOnly: { type: "tag", values } }), RULES);
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`), [], what);
      await checkSizes(page, what);
      await shot(page, `${name}-${width}-${colorScheme}`);
    }
  }
  const [[width, height]] = WIDTHS;
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme: "light" });
}

async function checkSizes(page, what) {
  const { wide, small } = await page.evaluate(() => {
    const boxes = (what) => [...document.querySelectorAll(what)].map((node) => [node, node.getBoundingClientRect()]).filter(([, box]) => box.width && box.height);
    // A region that scrolls with the keyboard may be wider than the screen.
    const fixed = ([node]) => !node.closest('[role=region][tabindex="0"]');
    const controls = boxes("button, a[href], input, select, textarea, summary");
    const texts = boxes("p, h1, li").filter(([node]) => !node.closest("pre"));
    const name = ([node, box]) => `${node.outerHTML.slice(0, 80)} ${box.left},${box.top} ${box.width}x${box.height}`;
    return {
      wide: document.documentElement.scrollWidth > innerWidth ? ["the page"] : [...controls, ...texts].filter(fixed).filter(([, box]) => box.left < 0 || box.right > innerWidth).map(name),
      small: controls.filter(([, box]) => box.height < 32 || box.width < 32).map(name),
    };
  });
  assert.deepEqual([wide, small], [[], []], what);
}

// The focused element: its id, path, name, text or tag.
export function focused(page) {
  return page.evaluate(() => {
    const node = document.activeElement;
    return node.id || node.dataset.path || node.name || node.textContent.trim() || node.tagName;
  });
}
