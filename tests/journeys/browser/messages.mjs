// The messages that the page shows for refusals and failures.

import assert from "node:assert/strict";

export async function refusalMessages(page) {
  const rows = [
    [{ status: 429, wait: 26, body: { reason: "RATE_LIMITED", "violated-policies": ["agent"], metadata: { limit: "3", window: "60" }, detail: "policy `agent` allows 3 per 60 s" } }, "The server takes 3 prompts in 60 seconds. Try again in 26 seconds."],
    [{ status: 429, wait: 840, body: { reason: "RATE_LIMITED", "violated-policies": ["auth"], metadata: { limit: "5", window: "900" } } }, "The server takes 5 attempts to sign in or to create an account in 15 minutes. Try again in 14 minutes."],
    [{ status: 429, wait: 1, body: { "violated-policies": ["general"], metadata: { limit: "10", window: "10" } } }, "The server takes 10 requests in 10 seconds. Try again in 1 second."],
    [{ status: 429, wait: 1, body: { "violated-policies": ["edge"], metadata: { limit: "1", window: "1" } } }, "The server takes 1 request from one address in 1 second. Try again in 1 second."],
    [{ status: 429, wait: 60, body: { metadata: { policy: "auth-account", limit: "45", window: "900" } } }, "The server takes 45 attempts to sign in to one account from new addresses in 15 minutes. Try again in 60 seconds."],
    [{ status: 429, wait: 60, body: { "violated-policies": ["auth-guess"], metadata: { limit: "1", window: "900" } } }, "The server takes 1 attempt to sign in to one account from one address in 15 minutes. Try again in 60 seconds."],
    [{ status: 429, wait: 60, body: { "violated-policies": ["save"], metadata: { limit: "1", window: "3600" } } }, "The server takes 1 save in 60 minutes. Try again in 60 seconds."],
    [{ status: 429, wait: 60, body: { "violated-policies": ["of-its-own"], metadata: { limit: "1", window: "3600" } } }, "The server asks to wait 60 seconds."],
    [{ status: 429, wait: 1, body: { "violated-policies": ["streams"] } }, "Too many of your tabs and apps follow a turn. Close one, then try again."],
    [{ status: 429, wait: 3, body: { "violated-policies": ["openings"] } }, "Your tabs and apps connect too often. Close one, or try again in 3 seconds."],
    [{ status: 429, wait: 840, body: { reason: "CHALLENGE_REQUIRED", metadata: { challenge: "1.a.b", bits: "20" } } }, "Many wrong passwords came from your network, or for this account. Sign in from a network in which you have signed in before, set a new password, or try again in 14 minutes."],
    [{ status: 401, wait: 0, body: { reason: "SECOND_FACTOR_REQUIRED", detail: "x" } }, "Your account has a second factor, which this page cannot ask for."],
    [{ status: 403, wait: 0, body: { reason: "SECOND_FACTOR_MISSING", detail: "x" } }, "This site requires a second factor, and your account has none."],
    [{ status: 401, wait: 0, body: { reason: "SESSION_ENDED", detail: "x" } }, "You are signed out."],
    [{ status: 403, wait: 0, body: { reason: "INVITE_REQUIRED", detail: "x" } }, "You need an invite to create an account here. Open the link that the operator of this site has given to you."],
    [{ status: 503, wait: 2, body: null }, "The server cannot do this now. It asks to wait 2 seconds."],
    [{ status: 409, wait: 0, body: { reason: "EMAIL_TAKEN" } }, "This e-mail address has an account already. Choose “Sign in”."],
    [{ status: 400, wait: 0, body: { errors: [{ field: "password", detail: "must have 8 characters" }, { field: "email", detail: "has no `@`" }] } }, "Password: must have 8 characters.\nEmail: has no @."],
    [{ status: 404, wait: 0, body: { reason: "PROJECT_NOT_FOUND", detail: "no such project" } }, "This project does not exist, or it belongs to somebody else."],
    [{ status: 409, wait: 0, body: { reason: "NEW_ONE", detail: "turn `x` is running" } }, "Turn x is running."],
    [{ status: 500, wait: 0, body: { reason: "INTERNAL", detail: "internal error" } }, "Something went wrong on the server. Try again."],
    [{ status: 502, wait: 0, body: null }, "The server cannot be reached."],
  ];
  const words = await page.evaluate(async (rows) => {
    const [{ Problem }, { wordsOf }] = await Promise.all([import("/page/api.js"), import("/page/words.js")]);
    return [...rows.map(({ status, body, wait }) => wordsOf(new Problem(status, body, wait))), wordsOf(new TypeError("Failed to fetch"))];
  }, rows.map(([problem]) => problem));
  assert.deepEqual(words, [...rows.map(([, text]) => text), "The server cannot be reached. Try again."]);
}

// The message of a failure is shown with its reason, unless it says the same.
export async function failureMessages(page) {
  const rows = [
    ["TOO_MANY_STEPS", "the agent was not done after 1 step", "Failed. The agent took more steps than it may. No file was changed.", ""],
    ["WORKER_LOST", "the processes that ran the turn were lost", "Failed. The processes that ran the turn were lost. No file was changed.", ""],
    ["LIMIT_EXCEEDED", "one answer took too long", "Failed. The answer reached a limit. No file was changed.", "One answer took too long."],
    ["NEW_ONE", "something new", "Failed. No file was changed.", "Something new."],
  ];
  const messages = await page.evaluate(async (rows) => {
    const { endOf } = await import("/page/words.js");
    return rows.map(([reason, message]) => endOf({ type: "turn.failed", data: { reason, message } })).map(({ line, more }) => [line, more]);
  }, rows);
  assert.deepEqual(messages, rows.map(([, , ...expected]) => expected));
}
