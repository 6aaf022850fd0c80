// What the browser's stories stand on: the browser, waits that suit a busy machine, and a look at what a person with other means
// meets.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// `make test` installs the driver and axe outside the working tree and names the folder.
const modules = process.env.BACKLOT_NODE_MODULES ?? new URL(".", import.meta.url).pathname;
const library = createRequire(`${modules}/`);
const axe = () => readFileSync(library.resolve("axe-core/axe.min.js"), "utf8");

export const url = process.env.BACKLOT_TEST_URL;
const shots = process.env.BACKLOT_SCREENSHOTS;
export const shot = (page, name) => (shots ? page.screenshot({ path: `${shots}/${name}.png` }) : undefined);
// Far longer than anything takes on a busy machine; the server may ask a load to wait several times.
export const PATIENT = { timeout: 150_000 };
export const PASSWORD = "correct horse battery staple 7";

export function launch() {
  return library("playwright-core").chromium.launch({
    executablePath: process.env.BACKLOT_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

const WIDTHS = [[1440, 900], [390, 844]];
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

// The page as it stands, on a desk and on a telephone, light and dark: axe finds nothing, nothing is wider than the screen, and
// whatever can be pressed can be hit.
// On a telephone one view at a time is seen, and the focus goes with what is no longer seen.
export async function isFine(page, name, view = "") {
  for (const [width, height] of WIDTHS) {
    await page.setViewportSize({ width, height });
    if (view && width < 1000) await page.getByRole("navigation").getByRole("button", { name: view }).click();
    for (const colorScheme of ["light", "dark"]) {
      const what = `${name} at ${width}, ${colorScheme}`;
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.evaluate(axe());
      const { violations } = await page.evaluate((values) => window.axe.run(document, { iframes: false, runOnly: { type: "tag", values } }), RULES);
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`), [], what);
      await fits(page, what);
      await shot(page, `${name}-${width}-${colorScheme}`);
    }
  }
  const [[width, height]] = WIDTHS;
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme: "light" });
}

async function fits(page, what) {
  const { wide, small } = await page.evaluate(() => {
    const boxes = (what) => [...document.querySelectorAll(what)].map((node) => [node, node.getBoundingClientRect()]).filter(([, box]) => box.width && box.height);
    const pressed = boxes("button, a[href], input, select, textarea, summary");
    const words = boxes("p, h1, li").filter(([node]) => !node.closest("pre"));
    const name = ([node, box]) => `${node.outerHTML.slice(0, 80)} ${box.left},${box.top} ${box.width}x${box.height}`;
    return {
      wide: document.documentElement.scrollWidth > innerWidth ? ["the page"] : [...pressed, ...words].filter(([, box]) => box.left < 0 || box.right > innerWidth).map(name),
      small: pressed.filter(([, box]) => box.height < 32 || box.width < 32).map(name),
    };
  });
  assert.deepEqual([wide, small], [[], []], what);
}

// What has the focus: its id, its text, or the kind of element.
export function focused(page) {
  return page.evaluate(() => {
    const node = document.activeElement;
    return node.id || node.dataset.path || node.name || node.textContent.trim() || node.tagName;
  });
}
