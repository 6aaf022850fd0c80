// Runs in a preview before everything else. It shows errors, reports them to the page that frames the preview, and updates the page
// after a commit. It listens only to its parent, and only if the parent has one of these origins. Without a parent it asks for the
// revision.
(() => {
  "use strict";
  /* hot */
  const ORIGINS = [/* origins */];
  const MESSAGE = 2_000;
  const STACK = 8_000;
  const WAITING = 50;
  const BURST = 50;
  const PER_SECOND = 10;
  const MAPS = 20;
  const FRAMES = 10;
  const POLL = 2_000;
  const MAX_POLL = 60_000;
  const ANSWER = 5_000;
  // What the status of a module means that did not load.
  const STATUSES = {
    200: "It can be loaded now.",
    404: "There is nothing at this address.",
    429: "Too many requests were sent in a short time.",
    503: "The server is busy, or it starts again.",
  };
  const tag = document.currentScript;
  const source = tag?.src;
  const own = { revision: tag?.dataset.revision, page: tag?.dataset.page, isError: tag?.dataset.errors !== undefined, base: tag?.dataset.base };
  tag?.remove();
  const cut = (text, length) => (text.length > length ? `${text.slice(0, length)}…` : text);

  // --- messages to the parent ---
  let parent = "";
  let waiting = [];
  let tokens = BURST;
  let filled = performance.now();
  let dropped = 0;

  function isAllowed() {
    const now = performance.now();
    tokens = Math.min(BURST, tokens + ((now - filled) / 1000) * PER_SECOND);
    filled = now;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  }

  function send(message) {
    if (window.parent === window) return;
    if (!isAllowed() || (!parent && waiting.length >= WAITING)) {
      dropped += 1;
      return;
    }
    const whole = dropped ? { ...message, dropped } : message;
    dropped = 0;
    if (parent) window.parent.postMessage(whole, parent);
    else waiting.push(whole);
  }

  window.addEventListener("message", (event) => {
    if (window.parent === window || event.source !== window.parent || !ORIGINS.includes(event.origin)) return;
    const { data } = event;
    if (data?.type === "backlot:connect") {
      parent = event.origin;
      window.parent.postMessage({ type: "backlot:ready" }, parent);
      for (const message of waiting) window.parent.postMessage(message, parent);
      waiting = [];
    } else if (data?.type === "backlot:update") {
      const revision = cut(String(data.revision ?? ""), 100);
      updates = updates.then(() => update(revision)).catch(() => done(revision, "reload"));
    }
  });

  // --- places in the source, through source maps ---
  const maps = new Map();
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

  // The lines of a map: for each, segments of column, source, line and column of the source.
  function decode(mappings) {
    let [source, line, column] = [0, 0, 0];
    return mappings.split(";").map((text) => {
      let start = 0;
      return text.split(",").filter(Boolean).map((segment) => {
        const numbers = [];
        let [value, shift] = [0, 0];
        for (const letter of segment) {
          const digit = DIGITS.indexOf(letter);
          value |= (digit & 31) << shift;
          shift += 5;
          if (digit & 32) continue;
          numbers.push(value & 1 ? -(value >> 1) : value >> 1);
          [value, shift] = [0, 0];
        }
        start += numbers[0] ?? 0;
        source += numbers[1] ?? 0;
        line += numbers[2] ?? 0;
        column += numbers[3] ?? 0;
        return [start, source, line, column];
      });
    });
  }

  async function readMap(url) {
    const code = await (await fetch(url)).text();
    const at = code.match(/\/\/# sourceMappingURL=(\S+)\s*$/)?.[1];
    if (!at) return undefined;
    const map = await (await fetch(new URL(at, url))).json();
    return { sources: map.sources, lines: decode(map.mappings) };
  }

  // The place in the source, or undefined. Lines and columns begin at 1.
  async function place(url, line, column) {
    const { origin, pathname } = new URL(url, location);
    if (own.base !== undefined && origin === new URL(location).origin && pathname.startsWith(own.base)) {
      return { file: decodeURI(pathname.slice(own.base.length)) || "index.html", line, column };
    }
    if (!pathname.includes("/@m/")) return undefined;
    if (!maps.has(url)) {
      if (maps.size >= MAPS) return undefined;
      maps.set(url, readMap(url).catch(() => undefined));
    }
    const map = await maps.get(url);
    const found = map?.lines[line - 1]?.findLast(([start]) => start <= column - 1);
    return found && { file: map.sources[found[1]], line: found[2] + 1, column: found[3] + 1 };
  }

  // The stack with files of the project where maps tell them.
  async function mapped(stack) {
    const lines = [];
    for (const [at, text] of cut(stack, STACK).split("\n").entries()) {
      const found = at <= FRAMES && text.match(/(https?:\/\/[^\s()]+?):(\d+):(\d+)/);
      const source = found && (await place(found[1], Number(found[2]), Number(found[3])).catch(() => undefined));
      lines.push(source ? text.replace(found[0], `${source.file}:${source.line}:${source.column}`) : text);
    }
    return lines.join("\n");
  }

  // --- errors and console ---
  // A short text of any value.
  function show(value, depth = 0) {
    if (typeof value === "string") return depth ? JSON.stringify(cut(value, MESSAGE)) : cut(value, MESSAGE);
    if (value instanceof Error) return cut(String(value.stack || value), STACK);
    if (value instanceof Element) return cut(value.cloneNode().outerHTML, 200);
    if (typeof value !== "object" || value === null) return cut(String(value), 200);
    if (depth > 2) return Array.isArray(value) ? "[…]" : "{…}";
    const names = Object.keys(value).slice(0, 20);
    if (Array.isArray(value)) return `[${names.map((name) => show(value[name], depth + 1)).join(", ")}]`;
    return `{ ${names.map((name) => `${name}: ${show(value[name], depth + 1)}`).join(", ")} }`;
  }

  function text(value) {
    try {
      return show(value);
    } catch {
      return "a value that cannot be shown";
    }
  }

  async function report(kind, error, event = {}) {
    const isError = error instanceof Error;
    const message = cut(isError ? `${error.name}: ${error.message}` : text(error ?? event.message ?? "an unknown error"), MESSAGE);
    const stack = await mapped(isError ? String(error.stack ?? "") : "");
    const source = event.filename && (await place(event.filename, event.lineno, event.colno).catch(() => undefined));
    const known = source || { file: event.filename ?? "", line: event.lineno ?? 0, column: event.colno ?? 0 };
    // The stack of some browsers begins with the message.
    const frames = stack.startsWith(message) ? stack.slice(message.length).trimStart() : stack;
    overlay(message, frames || (known.file ? `${known.file}:${known.line}:${known.column}` : ""));
    send({ type: "backlot:error", kind, message, stack: cut(stack, STACK), ...known, file: cut(known.file ?? "", MESSAGE) });
  }

  // The errors of a page that cannot be compiled, as one report: the first error and its place, and all of them in the stack.
  function reportBuild(page) {
    const sections = [...page.querySelectorAll("section")];
    const [first] = sections;
    if (!first) return;
    const [, file, line, column] = first.querySelector("h2")?.textContent.match(/^(.*):(\d+):(\d+)$/s) ?? [];
    const message = first.querySelector("p")?.textContent ?? "";
    const stack = sections.map((section) => section.textContent.trim()).join("\n\n");
    const known = { file: cut(file ?? "", MESSAGE), line: Number(line ?? 0), column: Number(column ?? 0) };
    send({ type: "backlot:error", kind: "build", message: cut(message, MESSAGE), stack: cut(stack, STACK), ...known });
  }

  window.addEventListener(
    "error",
    (event) => {
      const { target } = event;
      // A page works in spite of it: the browser only waits with further observations until the next frame.
      if (target === window && String(event.message).startsWith("ResizeObserver loop")) return;
      if (target === window || !(target instanceof Element)) return void report("error", event.error ?? event.message, event);
      if (target.rel === "modulepreload" && isOwn(target.href)) missed ??= target.href;
      if (isModule(target)) reportModule(target);
      else if (target.type !== "importmap") send({ type: "backlot:error", kind: "resource", message: cut(`cannot load ${target.src || target.href || target.localName}`, MESSAGE), stack: "", file: "", line: 0, column: 0 });
    },
    true,
  );
  window.addEventListener("unhandledrejection", (event) => report("unhandledrejection", event.reason));
  for (const level of ["debug", "log", "info", "warn", "error"]) {
    const write = console[level].bind(console);
    console[level] = (...values) => {
      write(...values);
      send({ type: "backlot:console", level, message: cut(values.slice(0, 20).map(text).join(" "), MESSAGE) });
    };
  }

  // --- modules that do not load ---
  // The first address that the page asked for in advance without success.
  let missed;
  const isOwn = (url) => url.startsWith(`${location.origin}/`);
  const isModule = (node) => node.localName === "script" && node.type === "module" && (!node.src || isOwn(node.src));

  // Without one of its modules a page stays empty, and the browser names neither the module nor the reason. So its address is asked once more.
  async function reportModule({ src }) {
    // The browser tells of a script and of what it imports in any order.
    await new Promise((resolve) => wait(resolve));
    const address = missed ?? src;
    const answer = address ? await ask(address, { signal: AbortSignal.timeout(ANSWER) }).catch(() => undefined) : undefined;
    const path = address ? new URL(address).pathname : location.pathname;
    const name = address ? (hot.nameOf(address) ?? path) : path;
    const isInner = !missed && (answer?.ok || !address);
    const message = cut(`${name}${isInner ? ", or a module that it imports," : ""} cannot be loaded`, MESSAGE);
    const status = answer && !isInner ? `The status of ${path} is ${answer.status}. ${STATUSES[answer.status] ?? ""}\n` : "";
    const why = `${address && !answer ? "The server does not answer.\n" : status}Load the page again.`;
    overlay(message, why);
    send({ type: "backlot:error", kind: "resource", message, stack: cut(why, STACK), file: "", line: 0, column: 0 });
  }

  // --- the overlay ---
  let host;
  function cover(name) {
    host?.remove();
    host = document.createElement("backlot-overlay");
    host.dataset.kind = name;
    host.style.cssText = "position:fixed;inset:0;z-index:2147483647;display:block";
    document.documentElement.append(host);
    return host.attachShadow({ mode: "open" });
  }

  function overlay(message, stack) {
    // The first error is usually the cause of the others.
    if (host?.isConnected || own.isError) return;
    const shadow = cover("runtime");
    const make = (tag, style, value) => {
      const node = document.createElement(tag);
      node.style.cssText = style;
      node.textContent = value;
      return node;
    };
    const box = make("div", "position:absolute;inset:0;overflow:auto;padding:2rem;box-sizing:border-box;background:#1b1b1f;color:#eee;font:14px/1.5 system-ui,sans-serif", "");
    box.setAttribute("role", "alert");
    const close = make("button", "float:right;font:inherit;padding:.4rem 1rem", "Close");
    close.addEventListener("click", () => host.remove());
    const again = make("button", "float:right;font:inherit;padding:.4rem 1rem;margin-right:.5rem", "Load again");
    again.addEventListener("click", () => location.reload());
    const font = "white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.5 ui-monospace,monospace";
    box.append(close, again, make("h1", "font-size:1.1rem;color:#ff8f8f;margin:0 0 1rem;white-space:pre-wrap;overflow-wrap:anywhere", message), make("pre", font, stack));
    shadow.append(box);
  }

  function showErrors(page) {
    for (const script of page.querySelectorAll("script")) script.remove();
    const frame = document.createElement("iframe");
    frame.title = "Errors";
    frame.setAttribute("sandbox", "");
    frame.style.cssText = "width:100%;height:100%;border:0;background:#fff";
    frame.srcdoc = `<!doctype html>${page.documentElement.outerHTML}`;
    cover("build").append(frame);
  }

  // --- updates ---
  let updates = Promise.resolve();
  const hot = createHot();
  hot.whenInvalidated((work) => {
    updates = updates.then(work).then((isDone) => isDone || location.reload(), () => location.reload());
  });
  const sheets = (page) => [...page.querySelectorAll('link[rel="stylesheet"][href*="@m/"]')];

  function done(revision, how) {
    send({ type: "backlot:updated", revision, how });
    if (how === "reload") location.reload();
  }

  async function update(revision) {
    // Any file can be part of a page of plain files.
    if (own.base !== undefined) return done(revision, "reload");
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-cache" });
    if (!answer.ok && answer.status !== 422) return done(revision, "reload");
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelector("script[data-page]")?.dataset;
    if (answer.status === 422 && !own.isError) {
      showErrors(page);
      done(revision, "errors");
      return reportBuild(page);
    }
    if (answer.status === 422 && next?.page === own.page) {
      done(revision, "none");
      return reportBuild(page);
    }
    if (!next || next.page !== own.page || own.isError) return done(revision, "reload");
    // A page that has failed is shown again as a whole.
    if (host?.isConnected && host.dataset.kind === "runtime") return done(revision, "reload");
    const how = await swap(page);
    if (how !== "reload") host?.remove();
    return done(revision, how);
  }

  // Exchanges modules and style sheets. "reload" if more has changed.
  async function swap(page) {
    const links = sheets(document);
    const others = sheets(page);
    if (links.length !== others.length) return "reload";
    const how = await hot.update(page);
    if (how === "reload") return how;
    const moved = links.filter((link, at) => link.getAttribute("href") !== others[at].getAttribute("href"));
    await Promise.all(moved.map((link) => swapLink(link, others[links.indexOf(link)].getAttribute("href"))));
    return how === "none" && moved.length ? "styles" : how;
  }

  function swapLink(link, href) {
    const next = link.cloneNode();
    next.href = href;
    return new Promise((resolve, reject) => {
      next.addEventListener("load", () => (link.remove(), resolve()));
      next.addEventListener("error", reject);
      link.after(next);
    });
  }

  // --- a page in a tab of its own ---
  const ask = window.fetch.bind(window);
  const wait = window.setTimeout.bind(window);

  async function shown() {
    while (document.visibilityState !== "visible") {
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    }
  }

  // Asks for the revision while the page is shown, and updates the page when it is another one. Ends with the preview.
  async function follow() {
    const root = new URL("../", source).pathname;
    const url = new URL(`revision/${location.pathname.slice(root.length)}`, source);
    let known = own.revision;
    let pause = POLL;
    for (;;) {
      await new Promise((resolve) => wait(resolve, pause));
      await shown();
      const answer = await ask(url, { cache: "no-cache" }).catch(() => undefined);
      const found = await answer?.json().catch(() => undefined);
      if (answer?.status === 404) {
        // The page is gone, and its address says so. A preview that has ended leaves its page.
        if (found?.reason === "FILE_NOT_FOUND") location.reload();
        return;
      }
      pause = answer?.ok ? POLL : Math.min(2 * pause, MAX_POLL);
      if (!answer?.ok || !found?.revision || found.revision === known) continue;
      known = found.revision;
      updates = updates.then(() => update(known)).catch(() => done(known, "reload"));
      await updates;
    }
  }
  if (own.isError) reportBuild(document);
  if (window.parent === window && own.revision && source) follow();
})();
