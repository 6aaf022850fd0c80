// The code of docs/chat-clients.md, as it is written there, on a `fetch` that behaves like a browser's.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { url } from "./ground.mjs";

/** The code blocks of one language in the page. */
export async function blocks(language) {
  const text = await readFile(new URL("../../../docs/chat-clients.md", import.meta.url), "utf8");
  return [...text.matchAll(/```(\w+)\n([^]*?)```/g)].filter(([, named]) => named === language).map(([, , code]) => code);
}

/** A module's code as the body of a function: its imports are arguments, what it exports is the result. */
export function body(code) {
  return code.replace(/^import .*\n/gm, "").replace(/^export /gm, "");
}

/** `fetch` that knows the page's address and sends the session along. */
export const inPage = (headers = {}) => (input, init = {}) => fetch(new URL(input, url), { ...init, headers: { ...headers, ...init.headers } });

/** `fetch` whose body ends in a browser's words if the connection is lost. */
export async function asBrowsersDo(input, init) {
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

/** The chat's component as a function that answers all that it has, and its `fetchAnew` around any `fetch`. */
export async function readme({ DefaultChatTransport, useChat, level, headers }) {
  const [code] = await blocks("jsx");
  for (const part of ['"x-backlot-ui-stream-level": "7"', "  // ...\n"]) assert.equal(code.split(part).length, 2, part);
  const whole = body(code)
    .replace('"x-backlot-ui-stream-level": "7"', `"x-backlot-ui-stream-level": "${level}"`)
    // The hook's chat, whose properties are read when they are looked at.
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
