import { TIMEOUT_MS } from "./config.js";

// An answer that is not a success. `status` is 0 if there was no answer.
export class HttpError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// Makes a function that sends JSON. `transport` has the form of `fetch`; `onEnd` gets every request with its status and its time.
export function createClient({ baseUrl, transport, onEnd }) {
  return async function request(method, path, body) {
    const began = performance.now();
    let status = 0;
    try {
      const response = await transport(`${baseUrl}${path}`, {
        method,
        headers: { accept: "application/json", ...(body && { "content-type": "application/json" }) },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      status = response.status;
      const text = await response.text();
      if (!response.ok) throw new HttpError(messageOf(text) ?? `The server answered ${status}.`, status);
      return text ? JSON.parse(text) : null;
    } catch (error) {
      throw error instanceof HttpError ? error : new HttpError("The server could not be reached.", status);
    } finally {
      onEnd({ method, path, status, milliseconds: Math.round(performance.now() - began) });
    }
  };
}

function messageOf(text) {
  try {
    return JSON.parse(text).message;
  } catch {
    return undefined;
  }
}
