// What the person has typed, kept for the life of the tab, so that neither a reload nor a lost connection nor the end of a session
// takes it away. A prompt that was sent and not answered keeps its key: sent once more, it is the same turn.

const keyOf = (project) => `prompt ${project}`;

function read(project) {
  return JSON.parse(sessionStorage.getItem(keyOf(project))) ?? {};
}

function write(project, kept) {
  sessionStorage.setItem(keyOf(project), JSON.stringify(kept));
}

// What belongs into the box of a project.
export const typedIn = (project) => read(project).text ?? "";

export function keepTyped(project, text) {
  write(project, { ...read(project), text });
}

// The request that sends a prompt. The first one of a project has a draft, which makes the project.
export function requestOf(project, prompt) {
  const kept = read(project);
  const same = kept.sent?.prompt === prompt;
  const sent = same ? kept.sent : { prompt, key: crypto.randomUUID() };
  const draft = kept.draft ?? `draft-${crypto.randomUUID()}`;
  write(project, { ...kept, sent, draft });
  const target = project ? { projectId: project } : { draftId: draft };
  return { ...target, prompt, idempotencyKey: sent.key };
}

// The server has this prompt; what was typed since stays, and goes to the project that the turn made.
export function taken(project, prompt, made = project) {
  const { text = "" } = read(project);
  sessionStorage.removeItem(keyOf(project));
  const rest = text.trim() === prompt ? "" : text;
  if (rest) write(made, { text: rest });
  return rest;
}

// Whether this was sent from here, with no answer yet.
export const unanswered = (project, prompt) => read(project).sent?.prompt === prompt;
