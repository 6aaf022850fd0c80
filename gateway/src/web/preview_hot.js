// Exchanges modules of a compiled page while it is open: the part of preview_client.js that knows the modules. Each evaluation of a module has an
// address of its own, and an import map for that address says which instances it imports. `import.meta.hot` of a module is here, too.
function createHot() {
  const SHEET = /\.(css|scss|sass)$/;
  const MAX_ROUNDS = 100;
  // What the page shows: modules by ids, and addresses of packages.
  let graph;
  let round = 0;
  // Addresses of evaluated modules by ids, and the other way round.
  const instances = new Map();
  const ids = new Map();
  const used = new Set();
  // What modules have asked for, by addresses, and what they keep, by ids.
  const contexts = new Map();
  const kept = new Map();
  const invalidated = new Set();
  let isExchanging = false;
  let severalMaps;
  const absolute = (url) => new URL(url, document.baseURI).href;

  // --- the modules of a page ---
  function read(page) {
    const text = page.querySelector('script[data-backlot][type="application/json"]')?.textContent;
    if (!text) return undefined;
    const { entries, modules } = JSON.parse(text);
    const map = JSON.parse(page.querySelector('script[type="importmap"]')?.textContent || "{}").imports ?? {};
    const packages = new Map();
    const name = (at) => (at < 0 ? "" : modules[at][0]);
    const links = (imports) =>
      new Map(
        Object.entries(imports).map(([specifier, at]) => {
          if (at < 0 && map[specifier]) packages.set(specifier, absolute(map[specifier]));
          return [specifier, name(at)];
        }),
      );
    const node = ([id, url, imports, dynamic]) => [id, { url: absolute(url), imports: links(imports), dynamic: links(dynamic) }];
    return { entries: entries.map(name), nodes: new Map(modules.map(node)), packages };
  }

  function start() {
    if (graph) return;
    graph = read(document);
    if (!graph) return;
    for (const [id, { url }] of graph.nodes) ids.set(url, id);
    enter(graph.entries);
  }

  // Gives addresses to modules that are not evaluated yet, and to what they import.
  function enter(roots) {
    const entered = new Set();
    const open = [...roots];
    while (open.length) {
      const id = open.pop();
      const node = graph.nodes.get(id);
      if (!node || instances.has(id)) continue;
      const address = used.has(node.url) ? `${node.url}?t=${round}` : node.url;
      used.add(address);
      ids.set(address, id);
      instances.set(id, address);
      entered.add(id);
      open.push(...node.imports.values());
    }
    if (round > 0 && entered.size) bind(entered);
  }

  function addMap(map) {
    const script = document.createElement("script");
    script.type = "importmap";
    script.textContent = JSON.stringify(map);
    document.head.append(script);
    script.remove();
  }

  // Says which instances the modules import.
  function bind(entered) {
    const scopes = {};
    for (const id of entered) {
      const rules = [...graph.nodes.get(id).imports].map(([specifier, target]) => [specifier, target ? instances.get(target) : graph.packages.get(specifier)]);
      const known = rules.filter(([, address]) => address);
      if (known.length) scopes[instances.get(id)] = Object.fromEntries(known);
    }
    if (Object.keys(scopes).length) addMap({ scopes });
  }

  // Whether the browser lets a page have more than one import map.
  function hasSeveralMaps() {
    severalMaps ??= (async () => {
      addMap({ imports: { "backlot:several-maps": "data:text/javascript," } });
      return import("backlot:several-maps").then(
        () => true,
        () => false,
      );
    })();
    return severalMaps;
  }

  // `import()` in a module: its newest instance. `undefined` if only the browser knows what it names.
  function load(from, specifier) {
    start();
    const node = graph?.nodes.get(ids.get(from));
    const target = node?.dynamic.get(specifier) ?? node?.imports.get(specifier);
    if (target === undefined) return undefined;
    if (!target) return round > 0 && graph.packages.has(specifier) ? import(graph.packages.get(specifier)) : undefined;
    enter([target]);
    return import(instances.get(target));
  }

  // The file or the package at the address of a module.
  function nameOf(url) {
    start();
    return ids.get(url) ?? [...(graph?.packages ?? [])].find(([, address]) => address === url)?.[0];
  }

  // --- import.meta.hot ---
  function context(address) {
    start();
    const id = ids.get(address);
    if (id === undefined) return undefined;
    if (!contexts.has(address)) contexts.set(address, makeContext(id));
    return contexts.get(address).api;
  }

  function makeContext(id) {
    const own = { self: [], others: [], disposers: [], behaviour: undefined };
    const resolve = (name) => {
      const { imports, dynamic } = graph.nodes.get(id);
      const names = [name, new URL(name, `file:///${id}`).pathname];
      return names.map((specifier) => imports.get(specifier) ?? dynamic.get(specifier)).find(Boolean);
    };
    const ignore = () => {};
    own.api = {
      get data() {
        if (!kept.has(id)) kept.set(id, {});
        return kept.get(id);
      },
      accept(first, call) {
        if (first === undefined || typeof first === "function") own.self.push(first);
        else own.others.push({ ids: [first].flat().map(resolve), isList: Array.isArray(first), call });
      },
      dispose: (call) => void own.disposers.push(call),
      invalidate() {
        // Otherwise a module that calls this while it is evaluated would load the page again for ever.
        if (round === 0 && !isExchanging) return;
        invalidated.add(id);
        if (!isExchanging) later(() => exchange([]));
      },
      setBehaviour: (behaviour) => void (own.behaviour = behaviour),
      decline: ignore,
      prune: ignore,
      on: ignore,
      off: ignore,
      send: ignore,
    };
    return own;
  }

  const contextOf = (id) => contexts.get(instances.get(id));

  async function acceptsItself(id) {
    if (SHEET.test(id)) return true;
    const own = contextOf(id);
    return own !== undefined && (own.self.length > 0 || Boolean(own.behaviour?.accepts(await import(instances.get(id)))));
  }

  // --- the exchange ---
  // From changed modules to those that accept them: ids of all modules to evaluate again, and what each accepts. `undefined` if one has
  // nobody who accepts it.
  async function plan(changed, refused) {
    const seen = new Set();
    const outdated = new Set();
    const accepted = new Map();
    const accept = (by, id) => accepted.set(by, (accepted.get(by) ?? new Set()).add(id));
    const open = [...changed];
    while (open.length) {
      const id = open.pop();
      if (seen.has(id)) continue;
      seen.add(id);
      // A style sheet that refuses is in the page already.
      if (!refused.has(id) || !SHEET.test(id)) outdated.add(id);
      if (!refused.has(id) && (await acceptsItself(id))) {
        accept(id, id);
        continue;
      }
      const imports = (other) => [graph.nodes.get(other)?.imports, graph.nodes.get(other)?.dynamic].some((links) => links && [...links.values()].includes(id));
      const importers = [...instances.keys()].filter(imports);
      if (graph.entries.includes(id) || importers.length === 0) return undefined;
      for (const other of importers) {
        if (contextOf(other)?.others.some((one) => one.ids.includes(id))) accept(other, id);
        else open.push(other);
      }
    }
    return { outdated, accepted };
  }

  function dispose(id) {
    for (const call of contextOf(id)?.disposers ?? []) call(contextOf(id).api.data);
    instances.delete(id);
  }

  // Modules that the page no longer has.
  function prune() {
    for (const id of [...instances.keys()].filter((id) => !graph.nodes.has(id))) {
      dispose(id);
      for (const style of stylesOf(id)) style.remove();
    }
  }

  const stylesOf = (id) => [...document.querySelectorAll("style[data-file]")].filter((style) => style.dataset.file === id);

  // The element of a style sheet takes the place of the one before. Returns whether its importers need not know.
  function settleSheet(id, before, after) {
    const [first, ...others] = stylesOf(id);
    const last = others.at(-1);
    if (last) first.replaceWith(last);
    for (const style of others.slice(0, -1)) style.remove();
    const isText = typeof before.default === "string" && typeof after.default === "string";
    return isText || JSON.stringify(before) === JSON.stringify(after);
  }

  // Evaluates modules again, and tells those that accept them. Returns the ids of modules whose importers have to be evaluated, too.
  async function run({ outdated, accepted }, next, behaviours) {
    const before = new Map();
    for (const id of outdated) before.set(id, { own: contextOf(id), exports: await import(instances.get(id)) });
    const owners = new Map([...accepted.keys()].map((id) => [id, contextOf(id)]));
    for (const id of outdated) dispose(id);
    graph = next;
    round += 1;
    prune();
    const targets = [...new Set([...accepted.values()].flatMap((found) => [...found]))].filter((id) => graph.nodes.has(id));
    enter(targets);
    const after = new Map(await Promise.all(targets.map(async (id) => [id, await import(instances.get(id))])));
    const refused = new Set();
    for (const [by, found] of accepted) {
      const own = owners.get(by);
      if (found.has(by) && after.has(by)) {
        const [old, made] = [before.get(by).exports, after.get(by)];
        if (SHEET.test(by) && !settleSheet(by, old, made)) refused.add(by);
        for (const call of own?.self ?? []) call?.(made);
        if (own?.behaviour && own.self.length === 0) {
          behaviours.add(own.behaviour);
          if (!own.behaviour.exchange(by, old, made)) refused.add(by);
        }
      }
      for (const { ids: names, isList, call } of own?.others ?? []) {
        if (!names.some((id) => found.has(id))) continue;
        const made = names.map((id) => (found.has(id) ? after.get(id) : undefined));
        call?.(isList ? made : made[0]);
      }
    }
    return refused;
  }

  // Exchanges changed modules. Returns whether all of them could be exchanged.
  async function exchange(changed, next = graph) {
    const behaviours = new Set();
    const refused = new Set(invalidated);
    let open = new Set([...changed, ...invalidated]);
    invalidated.clear();
    isExchanging = true;
    try {
      for (let count = 0; open.size; count += 1) {
        const found = count < MAX_ROUNDS ? await plan(open, refused) : undefined;
        if (!found) return false;
        // A style sheet that imports nothing needs no map.
        const needsMap = [...found.outdated].some((id) => !SHEET.test(id) || next.nodes.get(id)?.imports.size);
        if (needsMap && !(await hasSeveralMaps())) return false;
        open = await run(found, next, behaviours);
        for (const id of invalidated) open.add(id);
        invalidated.clear();
        for (const id of open) refused.add(id);
      }
      for (const behaviour of behaviours) behaviour.finish();
      return true;
    } finally {
      isExchanging = false;
    }
  }

  // Whether a module has another text, or imports other files with it.
  function isChanged(before, after) {
    if (!before || !after) return false;
    return before.url !== after.url || [...after.imports].some(([specifier, id]) => before.imports.get(specifier) !== id);
  }

  // Shows the modules of a newer page. Returns what has changed: `none`, `styles`, `modules`, or `reload` if the page has to be loaded again.
  async function update(page) {
    start();
    const next = read(page);
    if (!graph || !next || graph.entries.join() !== next.entries.join()) return "reload";
    const isOther = ([specifier, address]) => next.packages.has(specifier) && next.packages.get(specifier) !== address;
    if ([...graph.packages].some(isOther)) return "reload";
    for (const [id, { url }] of next.nodes) ids.set(url, id);
    const changed = [...instances.keys()].filter((id) => isChanged(graph.nodes.get(id), next.nodes.get(id)));
    if (changed.length === 0) {
      graph = next;
      return "none";
    }
    const evaluated = round;
    if (!(await exchange(changed, next))) return "reload";
    return changed.every((id) => SHEET.test(id)) && round === evaluated + 1 ? "styles" : "modules";
  }

  // Set by the caller: does work after the updates that wait, and loads the page again if it returns false.
  let later = () => {};
  Object.defineProperty(globalThis, Symbol.for("backlot:hot"), { value: Object.freeze({ context, load }) });
  return { update, nameOf, whenInvalidated: (call) => void (later = call) };
}
