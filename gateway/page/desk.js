// The desk: one project at a time, and the turn that runs on it.
//
// Opening a project makes at most three requests that the policy `general` counts: messages, files, and the preview unless the
// tab knows it. How the newest turn goes, or ended, is told by its event stream, which is not counted.

import { api } from "/page/api.js";
import { files } from "/page/files.js";
import { fresh, view } from "/page/panes.js";
import { forgetPreview, previewUrl } from "/page/preview.js";
import { requestOf, taken, typedIn, unanswered } from "/page/prompt.js";
import { follow, start } from "/page/stream.js";
import { element, events, look, lost, say, status, talk } from "/page/view.js";
import { endOf, endOfMessage, UNREACHED, wordsOf } from "/page/words.js";

// `visit` ends when another project is opened, and with it what still waits for this one. `sent` is the prompt that the
// server has not taken yet, `made` the revision that the turn has committed, `conflicts` the files that it could not. `own`:
// this visit has sent a prompt.
export const desk = { project: "", turn: "", sent: "", made: "", conflicts: [], own: false, running: null, recalling: null, visit: new AbortController() };

// What is done with an error that ends the session; the page sets it.
let signedOut = () => {};
export const onSignedOut = (then) => (signedOut = then);

// Every error that a person meets on the desk ends here.
export function failed(error) {
  if (error.status === 401) signedOut();
  else say("ask", wordsOf(error));
}

// Takes a button away; the focus goes where the person goes on.
function hideStop() {
  const had = document.activeElement === element("stop");
  element("stop").hidden = true;
  if (had) element("prompt").focus();
}

export async function send() {
  const prompt = element("prompt").value.trim();
  if (!prompt || desk.running) return;
  say("ask", "");
  if (document.activeElement === element("send")) element("prompt").focus();
  desk.recalling?.abort();
  talk.add("user", prompt);
  Object.assign(desk, { sent: prompt, own: true });
  const { visit } = desk;
  const accepted = await watch((signal, tell) => start(requestOf(desk.project, prompt), signal, tell));
  if (!accepted && desk.visit === visit) talk.dropLast();
}

// Stops the turn, or gives a prompt back that could not be sent yet.
export function stop() {
  if (desk.sent) {
    desk.running?.abort();
    status("", "");
    element("prompt").focus();
  } else api.cancel(desk.turn).catch(failed);
}

// The connection of the turn is lost, or there again.
function tell(isLost) {
  if (desk.sent && isLost) element("stop").hidden = false;
  else if (desk.sent) hideStop();
  const doing = desk.sent ? "Your prompt is sent as soon as it can be." : "The turn goes on; the page tries again.";
  lost(isLost ? `${UNREACHED} ${doing}` : "");
}

// Shows a turn until its end. Answers whether there was an event of it.
async function watch(open) {
  const running = (desk.running = new AbortController());
  let accepted = false;
  Object.assign(desk, { made: "", conflicts: [] });
  status("running", "working…");
  element("send").disabled = true;
  talk.writing(true);
  events.clear();
  try {
    for await (const event of open(running.signal, (isLost) => desk.running === running && tell(isLost))) {
      accepted = true;
      await apply(event);
    }
    if (!accepted) status("", "");
  } catch (error) {
    if (!running.signal.aborted) {
      status("failed", "");
      failed(error);
    }
  } finally {
    if (desk.running === running) {
      Object.assign(desk, { running: null, sent: "" });
      element("send").disabled = false;
      talk.writing(false);
      hideStop();
    }
  }
  return accepted;
}

async function apply(event) {
  events.add(event);
  const { type, data } = event;
  if (type === "turn.accepted") accepted(event);
  else if (type === "turn.queued") status("running", "waiting for another turn…");
  else if (type === "turn.started") status("running", "working…");
  else if (type === "step.started") [talk, files].forEach((part) => part.keep());
  else if (type === "step.superseded") [talk, files].forEach((part) => part.back());
  else if (type === "text.delta") talk.append(data.text);
  else if (type === "text.started") talk.block();
  else if (type === "file.opened") files.open(data.callId, data.path, data.operation);
  else if (type === "file.delta") files.append(data.callId, data.text);
  else if (type === "file.closed") files.close(data.callId, data.path, data.sizeBytes ?? 0);
  else if (type === "files.conflict") desk.conflicts = data.paths ?? [];
  else if (type === "turn.committing") status("running", "saving…");
  else if (type === "files.committed") desk.made = data.revision;
  else if (isEnd(type)) await finished(event);
}

const isEnd = (type) => /^turn\.(completed|failed|cancelled|conflicted)$/.test(type);

function accepted({ turnId, data }) {
  desk.turn = turnId;
  element("stop").hidden = false;
  if (desk.sent) {
    // The prompt is in the conversation; what the person has typed since stays in the box.
    const rest = taken(desk.project, desk.sent, data.projectId);
    if (element("prompt").value.trim() === desk.sent) element("prompt").value = rest;
    desk.sent = "";
  }
  if (!desk.project) {
    desk.project = data.projectId;
    history.replaceState(null, "", `#${desk.project}`);
  }
  talk.add("agent", "");
}

// What is stored with the message comes first: a conflict may have been resolved since.
function showEnd(event, stored) {
  const told = endOf(event, desk.conflicts);
  const { kind, word, line } = stored ?? told;
  status(kind, word);
  talk.end(kind, line);
  if (told.more) say("ask", told.more);
  return kind;
}

async function finished(event) {
  const kind = showEnd(event);
  hideStop();
  // After a conflict the head has somebody else's work. Files that were loaded after the turn's end are not loaded again.
  if ((kind === "conflicted" && desk.own) || (desk.made && desk.made !== look.shown)) {
    await refreshFiles();
    await showPreview();
    fresh("look");
  } else files.settle();
  const listed = [...element("projects").options].some((option) => option.value === desk.project);
  if (!listed) await listProjects(desk.visit.signal);
}

// A prompt without an answer may still be worked on, or its turn has ended since: its events tell. Of a turn that has an answer
// they tell how it ended.
function resume(newest) {
  if (!newest || desk.running) return undefined;
  return newest.role === "MESSAGE_ROLE_USER" ? watchAgain(newest) : recall(newest);
}

async function watchAgain(prompt) {
  const { visit } = desk;
  const told = await watch((signal, tell) => follow(prompt.turnId, signal, tell));
  // Where the events are no longer kept, the message tells.
  const end = endOfMessage(prompt);
  if (told || !end || desk.visit !== visit || desk.own) return;
  status(end.kind, end.word);
  talk.end(end.kind, end.line);
}

async function recall(answer) {
  const { signal } = (desk.recalling = new AbortController());
  events.clear();
  desk.conflicts = [];
  try {
    for await (const event of follow(answer.turnId, signal)) {
      if (signal.aborted) return;
      events.add(event);
      if (event.type === "files.conflict") desk.conflicts = event.data.paths ?? [];
      else if (isEnd(event.type)) showEnd(event, endOfMessage(answer));
    }
  } catch (error) {
    if (!signal.aborted) failed(error);
  }
}

export async function listProjects(signal) {
  const { projects = [] } = await api.projects(signal);
  const options = projects.map((p) => new Option(p.displayName, p.id, false, p.id === desk.project));
  element("projects").replaceChildren(new Option("New project", "", false, !desk.project), ...options);
}

// Ends what still waits for the server on behalf of the project that is open.
export function leave() {
  for (const part of [desk.running, desk.recalling, desk.visit]) part?.abort();
}

export async function openProject(project) {
  leave();
  const visit = new AbortController();
  Object.assign(desk, { project, turn: "", sent: "", own: false, running: null, recalling: null, visit });
  element("projects").value = project;
  history.replaceState(null, "", project ? `#${project}` : location.pathname);
  for (const part of [talk, events, files, look]) part.clear();
  view("talk");
  talk.writing(false);
  element("prompt").value = typedIn(project);
  element("send").disabled = false;
  element("stop").hidden = true;
  status("", "");
  say("ask", "");
  if (!project) return;
  try {
    const { messages = [] } = await api.messages(project, visit.signal);
    // Whoever was quick has sent a prompt by now.
    talk.before(byTurn(messages.filter((m) => m.turnId !== desk.turn).toReversed()), endAmong(messages));
    if (!desk.running) answered(messages);
    await refreshFiles(desk.running !== null);
    await showPreview();
    resume(messages[0]);
  } catch (error) {
    if (!visit.signal.aborted) failed(error);
  }
}

// Answers follow their own prompts, also where somebody asked again before an answer was there.
function byTurn(messages) {
  const turns = Map.groupBy(messages, (message) => message.turnId);
  return [...turns.values()].flat();
}

// The end of a turn stands below the last message that the turn has. How the newest turn ended without an answer is told by its
// events.
function endAmong(messages) {
  const newestOf = new Map(messages.toReversed().map((message) => [message.turnId, message]));
  if (messages[0]?.role === "MESSAGE_ROLE_USER") newestOf.delete(messages[0].turnId);
  return (message) => (newestOf.get(message.turnId) === message ? endOfMessage(message) : undefined);
}

// A prompt whose answer was lost on its way here may be in the conversation all the same.
function answered(messages) {
  const newest = messages.find((m) => m.role === "MESSAGE_ROLE_USER");
  if (newest && unanswered(desk.project, newest.text)) element("prompt").value = taken(desk.project, newest.text);
}

async function refreshFiles(working) {
  if (!desk.project) return;
  const loaded = await api.load(desk.project, desk.visit.signal);
  files.set(loaded.files ?? [], working);
  look.revision(loaded.revision);
}

async function showPreview() {
  if (!desk.project || !files.any()) return;
  look.at(await previewUrl(desk.project, desk.visit.signal));
}

export async function reload() {
  say("ask", "");
  forgetPreview(desk.project);
  const { signal } = desk.visit;
  try {
    await refreshFiles();
    await showPreview();
  } catch (error) {
    if (!signal.aborted) failed(error);
  }
}
