// Runs the code of docs/chat-clients.md with a `fetch` that behaves like that of a browser.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { url } from "./support.mjs";

/** The code blocks of a language in the page. */
export async function blocks(language) {
  const text = await readFile(new URL("../../../docs/chat-clients.md", import.meta.url), "utf8");
  return [...text.matchAll(/```(\w+)\n([^]*?)```/g)].filter(([, named]) => named === language).map(([, , code]) => code);
}

/** The code of a module as the body of a function, without its imports and exports. */
export function body(code) {
  return code.replace(/^import .*\n/gm, "").replace(/^export /gm, "");
}

/** A `fetch` with relative URLs and the session of a page. */
export const inPage = (headers = {}) => (input, init = {}) => fetch(new URL(input, url), { ...init, headers: { ...headers, ...init.headers } });

/** A `fetch` whose body fails with the error of a browser if the connection is lost. */
export async function browserFetch(input, init) {
  const response = await fetch(input, init);
  if (!response.body) return response;
  const chunks = async function* () {
    try {
      yield* response.body;
    } catch (error) {
      throw error.name === "AbortError" ? error : new TypeError("network error");
    }
  };
  return new Response(ReadableStream.from(chunks()), response);
}

/** The component as a function that returns its chat, and its `fetchAnew` around any `fetch`. */
export async function documentedChat({ DefaultChatTransport, useChat, level, headers }) {
  const [code] = await blocks("jsx");
  for (const part of ['"x-backlot-ui-stream-level": "7"', "  // ...\n"]) assert.equal(code.split(part).length, 2, part);
  const whole = body(code)
    .replace('"x-backlot-ui-stream-level": "7"', `"x-backlot-ui-stream-level": "${level}"`)
    // Returns the properties of the hook.
    .replace("  // ...\n", "  return { stop, sendMessage, regenerate, status, error, messages };\n");
  const make = (fetch, useChat) => new Function("useChat", "DefaultChatTransport", "fetch", `${whole}\nreturn { Chat, fetchAnew };`)(useChat, DefaultChatTransport, fetch);
  const component = (properties) => {
    let chat;
    const page = make(inPage(headers), (options) => (chat = useChat(options)));
    const { stop } = page.Chat(properties);
    return Object.assign(chat, { stop });
  };
  return { component, fetchAnew: (fetch) => make(fetch, useChat).fetchAnew };
}

/** The function of the page that loads the messages of a project. */
export async function documentedLoad(headers) {
  const code = (await blocks("js")).find((code) => code.includes("function load("));
  return new Function("fetch", `${body(code)}\nreturn load;`)(inPage(headers));
}
