// The texts for the user when a request is refused or fails.

export const UNREACHED = "The server cannot be reached.";

// "1 prompt", "2 prompts".
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

function span(seconds) {
  if (seconds < 120) return count(seconds, "second");
  return seconds < 7200 ? count(Math.ceil(seconds / 60), "minute") : count(Math.ceil(seconds / 3600), "hour");
}

export function waitText(seconds, who = "The server") {
  return `${who} asks to wait ${span(seconds)}.`;
}

// The text for a refusal by each policy.
const takes = (noun, more = "") => ({ limit, window, wait }) =>
  limit && window ? `The server takes ${count(limit, noun)}${more} in ${span(window)}. Try again in ${span(wait)}.` : waitText(wait);
const REFUSALS = {
  agent: takes("prompt"),
  auth: takes("attempt", " to sign in or to create an account"),
  "auth-account": takes("attempt", " to sign in to one account from new addresses"),
  "auth-challenge": takes("attempt", " with a solved task to sign in to one account"),
  "auth-guess": takes("attempt", " to sign in to one account from one address"),
  "auth-once": ({ wait }) => waitText(wait),
  "auth-stuffing": takes("wrong pair", " of address and password from one network"),
  edge: takes("request", " from one address"),
  general: takes("request"),
  openings: ({ wait }) => `Your tabs and apps connect too often. Close one, or try again in ${span(wait)}.`,
  save: takes("save"),
  "service-accounts": takes("new service account"),
  streams: () => "Too many of your tabs and apps follow a turn. Close one, then try again.",
};

// The text for a refusal by its reason. Those of a sign-in and a sign-up are complete; a test compares them.
const BY_REASON = {
  ACCOUNT_TOO_LARGE: "Your account has no room for more files. Delete a project that you do not need.",
  BAD_CREDENTIALS: "No account has this e-mail address and password. If you are new here, choose “Create account”.",
  EMAIL_TAKEN: "This e-mail address has an account already. Choose “Sign in”.",
  INVITE_INVALID: "The invite has been used, was revoked, has expired, or is for another e-mail address. Ask the operator for a new one.",
  INVITE_REQUIRED: "You need an invite to create an account here. Open the link that the operator of this site has given to you.",
  PROJECT_NOT_FOUND: "This project does not exist, or it belongs to somebody else.",
  SECOND_FACTOR_MISSING: "This site requires a second factor, and your account has none.",
  SECOND_FACTOR_REQUIRED: "Your account has a second factor, which this page cannot ask for.",
  SIGNUP_CLOSED: "Nobody can create an account here with this address. Ask the operator for one.",
  TOO_LATE: "The turn could not be stopped: it had ended already, or was saving its files.",
  TOO_MANY_PROJECTS: "Your account cannot have more projects. Delete one that you do not need.",
};

const BY_STATUS = {
  401: "You are signed out.",
  500: "Something went wrong on the server. Try again.",
  502: UNREACHED,
  504: "The server took too long. Try again.",
};

// Makes a sentence: with a capital letter, a full stop, and without backticks.
function sentence(text) {
  const plain = String(text).replaceAll("`", "").trim();
  const whole = /[.!?…]$/.test(plain) ? plain : `${plain}.`;
  return whole[0].toUpperCase() + whole.slice(1);
}

function refusal({ body, wait }) {
  const { policy, limit, window } = body.metadata ?? {};
  const words = REFUSALS[body["violated-policies"]?.[0] ?? policy];
  return words ? words({ limit: Number(limit), window: Number(window), wait }) : waitText(wait);
}

// The browser has not solved the challenge, or the server has not accepted its solution.
function challenged(wait) {
  const when = wait ? `in ${span(wait)}` : "later";
  return `Many wrong passwords came from your network, or for this account. Sign in from a network in which you have signed in before, set a new password, or try again ${when}.`;
}

// Where a person can go on after a refusal: the address and its label.
const WAYS_ON = {
  SECOND_FACTOR_MISSING: { to: "/account/second-factor?required=yes", label: "Add one" },
  SECOND_FACTOR_REQUIRED: { to: "/account/sign-in", label: "Sign in with it" },
};
export const wayOnOf = (error) => WAYS_ON[error.body?.reason];

// The text for an error.
export function wordsOf(error) {
  if (!error.status) return error instanceof TypeError || error.name === "TimeoutError" ? `${UNREACHED} Try again.` : sentence(error.message ?? error);
  const { status, body, wait } = error;
  if (body.reason === "CHALLENGE_REQUIRED") return challenged(wait);
  if (wait) return status === 429 ? refusal(error) : `The server cannot do this now. ${waitText(wait, "It")}`;
  const fields = (body.errors ?? []).map((e) => sentence(`${e.field ?? e.pointer}: ${e.detail}`));
  return BY_REASON[body.reason] ?? (fields.join("\n") || BY_STATUS[status] || sentence(body.detail || error.message));
}

const FAILURES = {
  ACCESS_LOST: "You may no longer change this project.",
  CHECKS_UNAVAILABLE: "The files could not be checked.",
  EMPTY_ANSWER: "The model gave two empty answers.",
  FILES_NOT_CLEAN: "The files have errors.",
  INTERNAL: "Something went wrong on the server.",
  LIMIT_EXCEEDED: "The answer reached a limit.",
  NOT_BEGUN: "The turn could not start.",
  PATH_LOCKED: "A locked path would have been changed.",
  PIN_MISSING: "A pinned file does not exist.",
  PROMPT_TOO_LONG: "The request and what belongs to it are too long for the model.",
  PROVIDER_KEY_MISSING: "The stored key of the provider was deleted.",
  PROVIDER_ERROR: "The model's provider did not answer properly.",
  PROVIDER_REFUSED: "The model's provider refused the request.",
  PROVIDER_STALLED: "The model's provider stopped in the middle.",
  TOO_MANY_STEPS: "The agent took more steps than it may.",
  TRUNCATED: "The answer was cut before its end.",
  WORKER_LOST: "The processes that ran the turn were lost.",
};

// Reasons for which the message of the server has more details.
const SAYS_MORE = new Set(["FILES_NOT_CLEAN", "LIMIT_EXCEEDED", "NOT_BEGUN", "PATH_LOCKED", "PIN_MISSING", "PROMPT_TOO_LONG", "PROVIDER_ERROR", "PROVIDER_REFUSED"]);

const RESOLVED = { kind: "completed", word: "resolved", line: "Not saved at first: somebody else had changed the same lines. The conflict has been resolved since." };
const ENDS = {
  TURN_OUTCOME_CONFLICTED: "turn.conflicted",
  TURN_OUTCOME_FAILED: "turn.failed",
  TURN_OUTCOME_CANCELLED: "turn.cancelled",
};

// How the turn of a stored message ended, if it changed no files.
export function endOfMessage({ turnOutcome, conflictPaths, failureReason }) {
  if (turnOutcome === "TURN_OUTCOME_RESOLVED") return RESOLVED;
  const type = ENDS[turnOutcome];
  return type && endOf({ type, data: { reason: failureReason } }, conflictPaths);
}

// How a turn ended: a word for the status and, if it changed no files, a line for the conversation, which is the same for a stored message.
// Only the newest turn has `more`, from its events.
export function endOf({ type, data }, conflicts = []) {
  if (type === "turn.completed") return { kind: "completed", word: "done", line: "" };
  if (type === "turn.cancelled") return { kind: "cancelled", word: "stopped", line: "Stopped. No file was changed." };
  if (type === "turn.conflicted") {
    const which = conflicts.length ? `: ${conflicts.slice(0, 5).join(", ")}${conflicts.length > 5 ? " and more" : ""}` : "";
    return { kind: "conflicted", word: "not saved", line: `Not saved. Somebody else changed the same lines meanwhile${which}. The project has their version; send the prompt again to work on it.` };
  }
  const known = FAILURES[data.reason];
  const more = data.message && (!known || SAYS_MORE.has(data.reason)) ? sentence(data.message) : "";
  return { kind: "failed", word: "failed", line: ["Failed.", known, "No file was changed."].filter(Boolean).join(" "), more: more === known ? "" : more };
}
