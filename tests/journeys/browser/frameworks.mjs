// Opens the previews of projects (BACKLOT_PREVIEWS, a JSON object of URLs by name) or published sites (BACKLOT_SITES, in the same form), clicks
// through each of them, and looks at texts and computed styles. The name of a site may have more words after that of its project. Exits with 0
// only if all steps passed, nothing failed in a page, and no overlay covers one. BACKLOT_ONLY has the names of the pages that are opened, if not
// all are, and BACKLOT_SCREENSHOTS a folder for pictures.

import assert from "node:assert/strict";
import { isAborted, launch, shot, TIMEOUT } from "./support.mjs";

const isOfSites = process.env.BACKLOT_SITES !== undefined;
const urls = JSON.parse(process.env.BACKLOT_SITES ?? process.env.BACKLOT_PREVIEWS);
const only = process.env.BACKLOT_ONLY ? process.env.BACKLOT_ONLY.split(",") : Object.keys(urls);
// Pages that are open at the same time.
const PAGES = 3;
// What a framework says in development.
const EXPECTED = /^Lit is in dev mode/;

const style = (locator, name) => locator.evaluate((node, name) => getComputedStyle(node)[name], name);
const sees = (page, text) => page.getByText(text).first().waitFor(TIMEOUT);

// Waits until the computed style has the value: a transition takes its time.
const hasStyle = async (page, locator, name, value) => {
  const node = await locator.elementHandle(TIMEOUT);
  await page.waitForFunction(([node, name, value]) => getComputedStyle(node)[name] === value, [node, name, value], TIMEOUT);
};

// The templates of create-vite have the same page: pictures, a counter, links.
async function template(page) {
  await page.getByRole("heading", { name: "Get started" }).waitFor(TIMEOUT);
  const counter = page.getByRole("button", { name: /^Count is/ });
  assert.equal((await counter.textContent()).trim(), "Count is 0");
  await counter.click();
  await counter.click();
  await page.getByRole("button", { name: "Count is 2" }).waitFor(TIMEOUT);
  const pictures = page.locator("img");
  assert.ok((await pictures.count()) >= 5);
  for (const picture of await pictures.all()) await picture.evaluate((node) => node.decode());
  assert.equal(await style(counter, "borderRadius"), "5px");
  assert.equal(await style(counter, "color"), "rgb(170, 59, 255)");
}

function refused(words) {
  const use = async (page) => {
    await page.getByRole("heading", { name: "An error stops this page" }).waitFor(TIMEOUT);
    await sees(page, words);
  };
  return Object.assign(use, { isRefused: true });
}

const PROJECTS = {
  async shop(page, url) {
    await page.getByRole("heading", { name: "Light for every evening" }).waitFor(TIMEOUT);
    assert.equal(await style(page.locator("section").first(), "display"), "grid", "a CSS module");
    await page.getByRole("tab", { name: "Electric" }).click();
    await page.getByText("Storm lantern").waitFor({ state: "hidden", ...TIMEOUT });
    const add = page.getByRole("button", { name: "Add Desk lamp" });
    assert.deepEqual([await style(add, "backgroundColor"), await style(add, "borderRadius")], ["rgb(180, 83, 9)", "8px"], "Tailwind");
    await add.click();
    await add.click();
    await page.getByRole("button", { name: "Cart, 2 items" }).click();
    const cart = page.getByRole("dialog", { name: "Your cart" });
    await cart.getByText("Total $159.00").waitFor(TIMEOUT);
    assert.ok((await cart.locator("svg").count()) >= 3, "icons");
    await cart.getByRole("button", { name: "One Desk lamp more" }).click();
    await cart.getByText("Total $238.50").waitFor(TIMEOUT);
    await shot(page, "shop-cart");
    await page.keyboard.press("Escape");
    await cart.waitFor({ state: "detached", ...TIMEOUT });
    await page.getByRole("link", { name: "Garden light" }).click();
    await page.getByRole("heading", { name: "Garden light" }).waitFor(TIMEOUT);
    assert.equal(new URL(page.url()).pathname, "/products/garden");
    await page.reload();
    await page.getByRole("heading", { name: "Garden light" }).waitFor(TIMEOUT);
    await page.getByRole("button", { name: "Cart, 3 items" }).waitFor(TIMEOUT);
    await page.getByRole("button", { name: "Dark theme" }).click();
    await hasStyle(page, page.locator("body"), "backgroundColor", "rgb(20, 20, 23)");
    await page.goto(new URL("/none", url).href);
    await sees(page, "This page does not exist.");
  },
  // Tailwind 3 with a configuration in TypeScript, plugins of packages and one of the project.
  async planner(page) {
    await sees(page, "2 open tasks");
    assert.deepEqual([await style(page.locator("body"), "backgroundColor"), await style(page.locator("h1"), "fontSize")], ["rgb(252, 250, 248)", "30px"]);
    assert.match(await style(page.locator("body"), "fontFamily"), /^Georgia/);
    assert.match(await style(page.locator("header"), "backgroundImage"), /^repeating-linear-gradient/);
    assert.equal(await style(page.locator("h2"), "fontWeight"), "700", "typography");
    const task = page.getByRole("listitem").first();
    assert.deepEqual([await style(task, "borderRadius"), await style(task, "display")], ["12px", "flex"], "@apply");
    assert.equal(await style(task, "animationName"), "enter", "tailwindcss-animate");
    await task.getByRole("button", { name: "Done" }).click();
    await sees(page, "1 open tasks");
    await hasStyle(page, task, "opacity", "0.5");
    await page.getByRole("button", { name: "Dark theme" }).click();
    await hasStyle(page, page.locator("body"), "backgroundColor", "rgb(15, 23, 41)");
    await shot(page, "planner-dark");
  },
  async dashboard(page) {
    await sees(page, "€7,250 in 7 days, most on 10 Jan");
    const bars = page.getByRole("region", { name: "Orders" }).locator(".recharts-bar-rectangle");
    await bars.nth(6).waitFor(TIMEOUT);
    assert.equal(await bars.count(), 7);
    await page.locator("path.recharts-area-area").waitFor(TIMEOUT);
    const before = await page.locator("path.recharts-area-area").getAttribute("d");
    const range = page.getByRole("button", { name: "30 days" });
    await range.click();
    await bars.nth(29).waitFor(TIMEOUT);
    await hasStyle(page, range, "backgroundColor", "rgb(15, 118, 110)");
    assert.notEqual(await page.locator("path.recharts-area-area").getAttribute("d"), before);
    await page.getByText(/in 30 days, most on/).waitFor(TIMEOUT);
    await page.locator(".recharts-surface").first().hover();
    await page.locator(".recharts-tooltip-wrapper").getByText(/revenue/).waitFor(TIMEOUT);
    await sees(page, "All sums are in the currency of the shop.");
  },
  async form(page) {
    const book = page.getByRole("button", { name: "Book", exact: true });
    await book.click();
    await page.getByRole("alert").getByText("Please enter your name").waitFor(TIMEOUT);
    assert.equal(await page.getByRole("alert").count(), 4);
    await hasStyle(page, page.getByLabel("Name"), "borderTopColor", "rgb(185, 28, 28)");
    await shot(page, "form-errors");
    await page.getByLabel("Name").fill("Ada Ruiz");
    await page.getByLabel("E-mail").fill("ada@example.com");
    await page.getByLabel("Guests").fill("9");
    await page.getByLabel("Arrival").fill("2027-03-10");
    await page.getByLabel("Departure").fill("2027-03-09");
    await page.getByRole("button", { name: "Add a wish" }).click();
    await page.getByLabel("Wish 1").fill("A quiet room");
    await book.click();
    await page.getByText("At most eight guests").waitFor(TIMEOUT);
    await page.getByLabel("Guests (9)").fill("3");
    await page.getByText("The departure must be after the arrival").waitFor(TIMEOUT);
    await page.getByLabel("Departure").fill("2027-03-12");
    await book.click();
    await page.getByRole("heading", { name: "Thank you, Ada Ruiz" }).waitFor(TIMEOUT);
    assert.equal(await page.getByTestId("summary").textContent(), "3 guests from 2027-03-10 to 2027-03-12");
  },
  async reading(page, url) {
    await page.getByText("312 pages are read.").waitFor(TIMEOUT);
    assert.equal(await page.title(), "Reading: home");
    await page.getByRole("checkbox").nth(1).check();
    await page.getByText("520 pages are read.").waitFor(TIMEOUT);
    assert.equal(await style(page.getByRole("link", { name: "Bread and Salt" }), "color"), "rgb(21, 128, 61)", "a scoped style");
    await page.getByLabel("Title").fill("  Salt Roads ");
    await page.getByLabel("Pages").fill("44");
    await page.getByRole("button", { name: "Add" }).click();
    await page.getByRole("link", { name: "Salt Roads" }).click();
    await page.getByRole("heading", { name: "Salt Roads" }).waitFor(TIMEOUT);
    assert.equal(page.url(), new URL("books/3", url).href);
    await sees(page, "44 pages, not read yet");
    assert.equal(await style(page.locator("article"), "borderLeftColor"), "rgb(15, 118, 110)", "a CSS module");
    await page.getByRole("button", { name: "Back" }).click();
    await page.getByRole("link", { name: "About" }).click();
    await sees(page, "Loaded on demand.");
    assert.equal(await style(page.getByRole("link", { name: "About" }), "color"), "rgb(15, 118, 110)");
    await page.goto(new URL("books/1", url).href);
    await page.getByRole("heading", { name: "The Night Train" }).waitFor(TIMEOUT);
  },
  async notes(page) {
    await page.getByText("2 open").waitFor(TIMEOUT);
    await page.getByRole("checkbox", { name: "Buy bread" }).check();
    await page.getByText("1 open").waitFor(TIMEOUT);
    const label = page.locator("label", { hasText: "Buy bread" });
    assert.equal(await style(label, "textDecorationLine"), "line-through", "a scoped style");
    await page.getByLabel("Note", { exact: true }).fill("Water the plants");
    await page.getByRole("button", { name: "Add" }).click();
    await page.getByText("2 open").waitFor(TIMEOUT);
    await page.getByRole("link", { name: "Details of Water the plants" }).click();
    await page.getByRole("heading", { name: "Water the plants" }).waitFor(TIMEOUT);
    assert.equal(new URL(page.url()).hash, "#/notes/3");
    await page.getByText("at /notes/3").waitFor(TIMEOUT);
    assert.equal(await style(page.getByRole("heading"), "color"), "rgb(194, 65, 12)", "a global style");
    await page.getByRole("button", { name: "Back" }).click();
    await page.getByText("2 open").waitFor(TIMEOUT);
    await page.getByRole("link", { name: "About" }).click();
    await sees(page, "Loaded on demand.");
  },
};

for (const name of ["vanilla", "react", "preact", "lit", "svelte", "vue"]) {
  for (const end of ["", "-ts"]) PROJECTS[`template-${name}${end}`] = template;
}
for (const [name, words] of [["solid", "Solid has a JSX compiler of its own"], ["qwik", "Qwik has a compiler of its own"]]) {
  for (const end of ["", "-ts"]) PROJECTS[`template-${name}${end}`] = refused(words);
}
PROJECTS.angular = refused("Angular has a compiler of its own");
PROJECTS.astro = refused("Astro needs a server");

// Opens a project and uses it. Prints what is wrong.
async function check(browser, name) {
  const url = urls[name];
  const use = PROJECTS[name.split(" ")[0]];
  const started = performance.now();
  const context = await browser.newContext({ colorScheme: "light" });
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT.timeout);
  const problems = [];
  page.on("pageerror", (error) => problems.push(`error: ${error.stack ?? error}`));
  page.on("requestfailed", (request) => isAborted(request) || problems.push(`failed: ${request.url()} ${request.failure()?.errorText}`));
  page.on("request", (request) => /^(blob|data):/.test(request.url()) || request.url().startsWith(new URL(url).origin) || problems.push(`foreign: ${request.url()}`));
  if (!use.isRefused) {
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && !EXPECTED.test(message.text()) && problems.push(`console: ${message.text()}`));
    page.on("response", (response) => response.status() >= 400 && problems.push(`${response.status()} ${response.url()}`));
  }
  try {
    const answer = await page.goto(url);
    const text = await answer.text();
    assert.equal(answer.status(), use.isRefused ? 422 : 200, text);
    if (isOfSites) assert.ok(!text.includes("@m/"), "a built page has no modules of a preview");
    await use(page, url);
    assert.equal(await page.locator("backlot-overlay").count(), 0, "an overlay covers the page");
  } catch (error) {
    problems.push(String(error.stack ?? error));
    problems.push((await page.locator("body").innerText({ timeout: 1_000 }).catch(String)).slice(0, 1_500));
  }
  await shot(page, name);
  await context.close();
  console.log(`${name}: ${Math.round(performance.now() - started)} ms`);
  if (problems.length === 0) return;
  console.error(`${name}: ${problems.join("\n  ")}`);
  process.exitCode = 1;
}

const names = Object.keys(urls);
const browser = await launch();
try {
  if (!isOfSites) assert.deepEqual(names.toSorted(), Object.keys(PROJECTS).toSorted(), "each project has its steps");
  const open = names.filter((name) => only.includes(name));
  assert.equal(open.length, only.length, only.join());
  const work = async () => {
    for (let name = open.shift(); name; name = open.shift()) await check(browser, name);
  };
  await Promise.all(Array.from({ length: PAGES }, work));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
}
