// Typed text, kept in the session storage of the tab, so that it survives a reload, a lost connection and the end of a session. A prompt
// that was sent and not answered keeps its idempotency key: sent again, it is the same turn.

const keyOf = (project) => `prompt ${project}`;

function read(project) {
  return JSON.parse(sessionStorage.getItem(keyOf(project))) ?? {};
}

function write(project, kept) {
  sessionStorage.setItem(keyOf(project), JSON.stringify(kept));
}

// The typed text of a project.
export const typedIn = (project) => read(project).text ?? "";

export function keepTyped(project, text) {
  write(project, { ...read(project), text });
}

// The request that sends a prompt. The first one has a draft id, for which the server creates a project.
export function requestOf(project, prompt) {
  const kept = read(project);
  const same = kept.sent?.prompt === prompt;
  const sent = same ? kept.sent : { prompt, key: crypto.randomUUID() };
  const draft = kept.draft ?? `draft-${crypto.randomUUID()}`;
  write(project, { ...kept, sent, draft });
  const target = project ? { projectId: project } : { draftId: draft };
  return { ...target, prompt, idempotencyKey: sent.key };
}

// The server has accepted this prompt. Text that was typed since then is kept for the project of the turn.
export function taken(project, prompt, made = project) {
  const { text = "" } = read(project);
  sessionStorage.removeItem(keyOf(project));
  const rest = text.trim() === prompt ? "" : text;
  if (rest) write(made, { text: rest });
  return rest;
}

// Whether this tab has sent the prompt and got no answer yet.
export const unanswered = (project, prompt) => read(project).sent?.prompt === prompt;
