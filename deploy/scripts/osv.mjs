// Asks OSV about every crate of Cargo.lock. Exits with 1 if it knows of a fault, with 3 if it cannot be asked.
import { readFileSync } from "node:fs";

const api = process.env.OSV_API || "https://api.osv.dev";
const AT_ONCE = 1000; // what OSV takes in one request
const LIMIT_MS = 20_000;

const lock = readFileSync("Cargo.lock", "utf8");
const crates = [...lock.matchAll(/^name = "(.+)"\nversion = "(.+)"\nsource = "registry\+/gm)].map(([, name, version]) => ({ name, version }));
if (crates.length === 0) throw new Error("Cargo.lock names no crate of a registry");
const excused = new Set([...readFileSync("deny.toml", "utf8").matchAll(/\bid = "([^"]+)"/g)].map(([, id]) => id));

async function ask(some) {
  const queries = some.map(({ name, version }) => ({ package: { ecosystem: "crates.io", name }, version }));
  const answer = await fetch(`${api}/v1/querybatch`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ queries }),
    signal: AbortSignal.timeout(LIMIT_MS),
  });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const { results } = await answer.json();
  if (!Array.isArray(results) || results.length !== some.length) throw new Error("an answer of another length");
  return results.flatMap(({ vulns }, at) => (vulns ?? []).map(({ id }) => ({ id, ...some[at] })));
}

let found = [];
try {
  for (let at = 0; at < crates.length; at += AT_ONCE) found.push(...(await ask(crates.slice(at, at + AT_ONCE))));
} catch (error) {
  console.error(`osv: ${error.cause?.message || error.message}`);
  process.exit(3);
}
found = found.filter(({ id }) => !excused.has(id));
for (const { id, name, version } of found) console.error(`osv: ${name} ${version}: ${id}`);
process.exit(found.length > 0 ? 1 : 0);
