// Queries OSV for every crate of Cargo.lock. Exits with 1 if there is an advisory, and with 3 if OSV does not answer.
import { readFileSync } from "node:fs";

const api = process.env.OSV_API || "https://api.osv.dev";
const BATCH = 1000; // the most queries that OSV accepts in one request
const LIMIT_MS = 20_000;

const lock = readFileSync("Cargo.lock", "utf8");
const crates = [...lock.matchAll(/^name = "(.+)"\nversion = "(.+)"\nsource = "registry\+/gm)].map(([, name, version]) => ({ name, version }));
if (crates.length === 0) throw new Error("Cargo.lock lists no crate of a registry");
const ignored = new Set([...readFileSync("deny.toml", "utf8").matchAll(/\bid = "([^"]+)"/g)].map(([, id]) => id));

async function query(batch) {
  const queries = batch.map(({ name, version }) => ({ package: { ecosystem: "crates.io", name }, version }));
  const answer = await fetch(`${api}/v1/querybatch`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ queries }),
    signal: AbortSignal.timeout(LIMIT_MS),
  });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const { results } = await answer.json();
  if (!Array.isArray(results) || results.length !== batch.length) throw new Error("the answer has the wrong number of results");
  return results.flatMap(({ vulns }, at) => (vulns ?? []).map(({ id }) => ({ id, ...batch[at] })));
}

let found = [];
try {
  for (let at = 0; at < crates.length; at += BATCH) found.push(...(await query(crates.slice(at, at + BATCH))));
} catch (error) {
  console.error(`osv: ${error.cause?.message || error.message}`);
  process.exit(3);
}
found = found.filter(({ id }) => !ignored.has(id));
for (const { id, name, version } of found) console.error(`osv: ${name} ${version}: ${id}`);
process.exit(found.length > 0 ? 1 : 0);
