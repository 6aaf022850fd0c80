// Opens each starter project in a browser, on a large and on a small screen, light and dark, and uses it once. Starters that are compiled are
// opened only in previews. Exits with 0 only if all tests passed.
//
// Run: BACKLOT_NODE_MODULES=<folder with playwright-core and axe-core> node tests/journeys/browser/starters.mjs
// BACKLOT_CHROMIUM names the browser, BACKLOT_STARTERS another folder of templates, BACKLOT_SCREENSHOTS a folder for pictures.
// BACKLOT_PREVIEWS, a JSON object, has URLs by title: a starter is opened there, and else on a server of this script.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { checkPage, isAborted, launch, shot, TIMEOUT } from "./support.mjs";

const root = process.env.BACKLOT_STARTERS ?? fileURLToPath(new URL("../../../services/project-storage/templates", import.meta.url));
const previews = JSON.parse(process.env.BACKLOT_PREVIEWS ?? "{}");
const TYPES = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };
const MAX_FILE = 51_200;
const MAX_FILES = 60;

const read = async (slug) => JSON.parse(await readFile(join(root, slug, "template.json"), "utf8"));

function fill(text, variables) {
  return variables.reduce((filled, { name, default: value }) => filled.replaceAll(`%%${name}%%`, value), text);
}

// Checks the files of a starter: their sizes and paths, that all variables are declared and used, and that their defaults are valid.
async function checkFiles(slug) {
  const { variables, picture } = await read(slug);
  const files = (await readdir(join(root, slug, "files"), { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  assert(files.length <= MAX_FILES, `${slug} has ${files.length} files`);
  const used = new Set();
  for (const { name, parentPath } of files) {
    const text = await readFile(join(parentPath, name), "utf8");
    assert(Buffer.byteLength(text) < MAX_FILE && /^[\w.-]+$/.test(name), `${slug}: ${name}`);
    assert(text.endsWith("\n") && !/[ \t\r]$/m.test(text), `${slug}: white space in ${name}`);
    for (const [, variable] of text.matchAll(/%%(\w+)%%/g)) used.add(variable);
  }
  assert.deepEqual([...used].sort(), variables.map(({ name }) => name).sort(), `${slug}: the variables`);
  for (const { name, pattern, default: value } of variables) assert(new RegExp(pattern).test(value), `${slug}: the default of ${name}`);
  if (picture) assert(existsSync(join(root, slug, "files", picture)), `${slug}: the picture`);
}

// Serves all starters, each below its slug, with the defaults in place of the variables.
async function serve() {
  const server = createServer(async (request, response) => {
    const [, slug, ...rest] = decodeURIComponent(new URL(request.url, "http://local").pathname).split("/");
    const path = normalize(rest.join("/") || "index.html");
    try {
      const text = await readFile(join(root, slug, "files", path), "utf8");
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "text/plain" }).end(fill(text, (await read(slug)).variables));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

const text = (page, selector) => page.locator(selector).textContent(TIMEOUT);
const shows = (page, selector, hasText) => page.locator(selector, { hasText }).first().waitFor(TIMEOUT);

// One interaction for each starter. They run on a small screen.
const INTERACTIONS = {
  async "static-site"(page) {
    await page.getByRole("button", { name: "Menu" }).click();
    await page.getByRole("navigation").getByRole("link", { name: "About" }).click();
    await shows(page, "h1", "one workshop");
  },
  async "landing-page"(page) {
    await page.getByRole("radio", { name: /Yearly/ }).check();
    await shows(page, ".price", "$8");
    await page.getByText("Where is our data?").click();
    await page.getByText("In the European Union").waitFor(TIMEOUT);
  },
  async blog(page) {
    await page.getByRole("button", { name: "Cooking" }).click();
    assert.equal(await page.locator(".posts > li:visible").count(), 1);
    await page.getByRole("link", { name: "Bread without a recipe" }).click();
    await shows(page, "h1", "Bread without a recipe");
  },
  async game(page) {
    // On a slow machine the snake may reach the wall before the pause.
    await page.getByRole("button", { name: "Start" }).click();
    await page.keyboard.press("Space");
    await shows(page, "#message", /^Paused|^The game is over/);
    await page.getByRole("button", { name: /Continue|Play again/ }).click();
    await page.getByRole("button", { name: "Up" }).click();
    await shows(page, "#message", /^The game is over/);
    await page.getByRole("button", { name: "Play again" }).waitFor(TIMEOUT);
  },
  async "form-validation"(page) {
    const submit = page.getByRole("button", { name: "Register", exact: true });
    await submit.click();
    await shows(page, "#summary", "4 fields need your attention");
    await page.getByLabel("Full name").fill("Ada Ruiz");
    await page.getByLabel("E-mail address").fill("ada");
    await page.getByLabel("Group").selectOption("beginners");
    await page.getByLabel("I accept").check();
    await submit.click();
    await shows(page, "#email-error", "name@example.com");
    await page.getByLabel("E-mail address").fill("ada@example.com");
    await submit.click();
    await shows(page, "#done", "ada@example.com");
  },
  async "data-table"(page) {
    await page.getByRole("button", { name: "Amount" }).click();
    const amounts = await page.locator("tbody td.numeric").allTextContents();
    const values = amounts.map((amount) => Number(amount.replace(/[^\d.]/g, "")));
    assert.deepEqual(values, [...values].sort((a, b) => a - b));
    await page.getByRole("button", { name: "Next" }).click();
    assert.match(await text(page, "#page"), /^Page 2 of 9$/);
    await page.getByLabel("Search").fill("bergen");
    assert.equal(new Set(await page.locator("tbody td:nth-child(3)").allTextContents()).size, 1);
    await page.getByLabel("Search").fill("no such order");
    await shows(page, "#empty", "No order matches");
  },
  async "rest-client"(page) {
    await shows(page, "#contacts", "Maya Lindgren");
    await page.getByLabel("Name").fill("Ada Ruiz");
    await page.getByLabel("E-mail address").fill("ada@example.com");
    await page.getByRole("button", { name: "Add" }).click();
    await shows(page, "#contacts", "Ada Ruiz");
    await page.getByLabel("Name").fill("Ada Again");
    await page.getByLabel("E-mail address").fill("ada@example.com");
    await page.getByRole("button", { name: "Add" }).click();
    await shows(page, "#error", "exists already");
    await page.getByRole("button", { name: "Delete Ada Ruiz" }).click();
    await shows(page, "#log li", "DELETE");
  },
  async dashboard(page) {
    await page.getByRole("button", { name: "3 months" }).click();
    assert.equal(await page.locator(".bar").count(), 3);
    assert.match(await page.locator("#revenue svg").getAttribute("aria-label"), /^Apr \$44,600/);
    await page.locator("#orders summary").click();
    await shows(page, "#orders td", "633");
  },
  async "react-tailwind"(page) {
    const all = await page.getByRole("checkbox").count();
    await page.getByLabel("New task").fill("Feed the cat");
    await page.getByRole("button", { name: "Add" }).click();
    await page.getByRole("checkbox", { name: "Feed the cat" }).check();
    assert.equal(await page.getByRole("checkbox").count(), all + 1);
    await page.getByRole("button", { name: "Done", exact: true }).click();
    await shows(page, "li", "Feed the cat");
    const line = await page.getByText("Feed the cat").evaluate((node) => getComputedStyle(node).textDecorationLine);
    assert.equal(line, "line-through", "a class of Tailwind");
    await page.getByRole("button", { name: "Remove finished tasks" }).click();
    await shows(page, "p", "There is nothing here.");
  },
  async vue(page) {
    await page.getByLabel("Title").fill("Salt Roads");
    await page.getByLabel("Author").fill("Ada Ruiz");
    await page.getByRole("button", { name: "Add book" }).click();
    await page.getByLabel("State of Salt Roads").selectOption({ label: "Finished" });
    await page.getByRole("button", { name: "Finished" }).click();
    await shows(page, "li", "Salt Roads");
    await page.getByRole("button", { name: "Delete Salt Roads" }).click();
    await page.getByText("Salt Roads").waitFor({ state: "detached", ...TIMEOUT });
  },
};

async function checkStarter(browser, server, slug) {
  const { title: name, variables } = await read(slug);
  const url = previews[name] ?? `${server}/${slug}/`;
  const base = new URL(url).origin;
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT.timeout);
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
  page.on("requestfailed", (request) => isAborted(request) || problems.push(`failed: ${request.url()}`));
  page.on("request", (request) => request.url().startsWith("blob:") || request.url().startsWith(base) || problems.push(`foreign: ${request.url()}`));
  page.on("response", (response) => response.status() >= 400 && problems.push(`${response.status()}: ${response.url()}`));
  await page.goto(url, { waitUntil: "networkidle" });
  const title = variables.find(({ name }) => name === "siteTitle").default;
  assert.equal(await page.title(), title, `${slug}: the title`);
  assert.equal(await page.getByRole("main").count(), 1, `${slug}: the main landmark`);
  assert.equal(await page.locator("h1").count(), 1, `${slug}: one h1`);
  assert(!(await page.content()).includes("%%"), `${slug}: a variable is not filled`);
  await checkPage(page, slug);
  await page.setViewportSize({ width: 390, height: 844 });
  await INTERACTIONS[slug](page);
  await checkPage(page, `${slug}-used`);
  assert.deepEqual(problems, [], slug);
  await context.close();
}

const slugs = (await readdir(root, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
const server = await serve();
const browser = await launch();
try {
  for (const slug of slugs) await checkFiles(slug);
  assert.deepEqual(slugs.toSorted(), Object.keys(INTERACTIONS).sort());
  const isPlain = (slug) => !existsSync(join(root, slug, "files", "package.json"));
  const opened = slugs.filter((slug) => process.env.BACKLOT_PREVIEWS || isPlain(slug));
  for (const slug of opened) await checkStarter(browser, `http://127.0.0.1:${server.address().port}`, slug);
} finally {
  await browser.close();
  server.close();
}
