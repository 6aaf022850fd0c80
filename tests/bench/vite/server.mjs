// Vite's dev server on a project, as the baseline of `previews`: node server.mjs MODULES ROOT. MODULES is the folder with `node_modules`; the
// cache is beside the project, so that Tailwind does not read it.
// Prints `ready: URL`. After the line `load` on standard input it answers all modules of the page, as for a browser without a cache, and prints
// `loaded NUMBER`. After a change of a file it answers what an open page asks for, and prints `changed`.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [modules, root] = process.argv.slice(2);
const { createServer } = await import(pathToFileURL(`${modules}/node_modules/vite/dist/node/index.js`));
const server = await createServer({ root, cacheDir: `${root}/../cache`, logLevel: "error", server: { host: "127.0.0.1", port: 0, fs: { strict: false } } });
const { client } = server.environments;

// What the page is told is what it asks for next.
const send = client.hot.send.bind(client.hot);
client.hot.send = (...payload) => {
  send(...payload);
  const [{ type, updates = [] }] = payload;
  if (type === "update") answer(updates).catch(fail);
  if (type === "full-reload") load().then(() => console.log("changed"), fail);
};

async function answer(updates) {
  await Promise.all(updates.map(({ acceptedPath }) => client.transformRequest(acceptedPath)));
  console.log("changed");
}

async function load() {
  const page = await server.transformIndexHtml("/", readFileSync(`${root}/index.html`, "utf8"));
  const seen = new Set();
  const visit = async (url) => {
    if (seen.has(url)) return;
    seen.add(url);
    await client.transformRequest(url);
    const module = await client.moduleGraph.getModuleByUrl(url);
    // The files that a style sheet depends on have no id: they are no modules.
    const imported = [...(module?.importedModules ?? [])].filter(({ id }) => id);
    await Promise.all(imported.map(({ url }) => visit(url)));
  };
  const scripts = [...page.matchAll(/<script type="module" src="([^"]+)"/g)].map(([, src]) => src);
  await Promise.all(scripts.map(visit));
  await client.depsOptimizer?.scanProcessing;
  await client.waitForRequestsIdle();
  return seen.size;
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

createInterface({ input: process.stdin }).on("line", () => load().then((number) => console.log(`loaded ${number}`), fail));
await server.listen();
console.log(`ready: http://127.0.0.1:${server.httpServer.address().port}`);
