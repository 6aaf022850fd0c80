// The workspace: one project at a time, and the turn that runs on it.
//
// Opening a project makes at most three requests that the policy `general` counts: messages, files, and the preview unless the tab has its
// URL. The state of the newest turn comes from its event stream, which is not counted.

import { api } from "/page/api.js";
import { files } from "/page/files.js";
import { detailsOf, findings } from "/page/findings.js";
import { fresh, view } from "/page/panes.js";
import { previewPane } from "/page/preview-pane.js";
import { forgetPreview, previewUrl } from "/page/preview.js";
import { requestOf, taken, typedIn, unanswered } from "/page/prompt.js";
import { changes, follow, isTerminal, start } from "/page/stream.js";
import { conversation, element, events, lost, say, status } from "/page/view.js";
import { endOf, endOfMessage, UNREACHED, wordsOf } from "/page/words.js";

// `visit` is aborted when another project is opened, with all requests for this one. `sent` is the prompt that the server has not accepted
// yet, `made` the revision that the turn has committed, `head` the newest revision that the project's events told of, `conflicts` the files in
// conflict. `own`: this visit has sent a prompt.
export const workspace = { project: "", turn: "", sent: "", made: "", head: "", conflicts: [], own: false, running: null, recalling: null, visit: new AbortController() };

// Called when the session has ended; the page sets it.
let signedOut = () => {};
export const onSignedOut = (then) => (signedOut = then);

// Shows an error of the workspace, or the end of the session.
export function failed(error) {
  if (error.status === 401) signedOut();
  else say("ask", wordsOf(error));
}

// Hides the button. If it had the focus, the prompt gets it.
function hideStop() {
  const had = document.activeElement === element("stop");
  element("stop").hidden = true;
  if (had) element("prompt").focus();
}

export async function send() {
  const prompt = element("prompt").value.trim();
  if (!prompt || workspace.running) return;
  say("ask", "");
  if (document.activeElement === element("send")) element("prompt").focus();
  workspace.recalling?.abort();
  conversation.add("user", prompt);
  Object.assign(workspace, { sent: prompt, own: true });
  const { visit } = workspace;
  const accepted = await watch((signal, tell) => start(requestOf(workspace.project, prompt), signal, tell));
  if (!accepted && workspace.visit === visit) conversation.dropLast();
}

// Cancels the turn, or withdraws a prompt that could not be sent yet.
export function stop() {
  if (workspace.sent) {
    workspace.running?.abort();
    status("", "");
    element("prompt").focus();
  } else api.cancel(workspace.turn).catch(failed);
}

// Shows that the connection of the turn is lost, or that it is back.
function tell(isLost) {
  if (workspace.sent && isLost) element("stop").hidden = false;
  else if (workspace.sent) hideStop();
  const doing = workspace.sent ? "Your prompt is sent as soon as it can be." : "The turn goes on; the page tries again.";
  lost(isLost ? `${UNREACHED} ${doing}` : "");
}

// Shows a turn until its end. Returns whether it had an event.
async function watch(open) {
  const running = (workspace.running = new AbortController());
  let accepted = false;
  Object.assign(workspace, { made: "", conflicts: [] });
  status("running", "working…");
  element("send").disabled = true;
  conversation.writing(true);
  events.clear();
  try {
    for await (const event of open(running.signal, (isLost) => workspace.running === running && tell(isLost))) {
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
    if (workspace.running === running) {
      Object.assign(workspace, { running: null, sent: "" });
      element("send").disabled = false;
      conversation.writing(false);
      hideStop();
      catchUp().catch(failed);
    }
  }
  return accepted;
}

// Follows the project while the page is visible: a browser has few connections for all tabs of an origin.
let watching = new AbortController();
async function watchProject() {
  watching.abort();
  const { project, visit } = workspace;
  if (!project || document.hidden || visit.signal.aborted) return;
  watching = new AbortController();
  const signal = AbortSignal.any([visit.signal, watching.signal]);
  try {
    for await (const { data } of changes(project, signal)) {
      if (data.revision) workspace.head = data.revision.id;
      try {
        await catchUp();
      } catch (error) {
        // The next revision is another chance, but not without a session.
        if (signal.aborted || error.status === 401) throw error;
        failed(error);
      }
    }
  } catch (error) {
    if (!signal.aborted) failed(error);
  }
}
document.addEventListener("visibilitychange", watchProject);

// Shows the revision that somebody else has made, but not below a running turn, which shows its own files.
async function catchUp() {
  if (workspace.running || !workspace.head || workspace.head === previewPane.shown) return;
  await refreshFiles();
  await showPreview();
  fresh("preview");
}

async function apply(event) {
  events.add(event);
  const { type, data } = event;
  if (type === "turn.accepted") accepted(event);
  else if (type === "turn.queued") status("running", "waiting for another turn…");
  else if (type === "turn.started") status("running", "working…");
  else if (type === "step.started") [conversation, files].forEach((part) => part.keep());
  else if (type === "step.superseded") [conversation, files].forEach((part) => part.back());
  else if (type === "text.delta") conversation.append(data.text);
  else if (type === "text.started") conversation.block();
  else if (type === "file.opened") files.open(data.callId, data.path, data.operation);
  else if (type === "file.delta") files.append(data.callId, data.text);
  else if (type === "file.closed") files.close(data.callId, data.path, data.sizeBytes ?? 0);
  else if (type === "files.conflict") workspace.conflicts = data.paths ?? [];
  else if (type === "checks.finished") checked(data);
  else if (type === "turn.committing") status("running", "saving…");
  else if (type === "files.committed") workspace.made = data.revision;
  else if (isTerminal(type)) await finished(event);
}

// A check that the agent has asked for is shown in the tab alone.
function checked(data) {
  findings.show(data, "this turn");
  if (!data.callId) conversation.checked(detailsOf(data));
}

// Checks the newest revision.
export async function check() {
  const { project, visit } = workspace;
  if (!project) return;
  element("check").disabled = true;
  element("checked").textContent = "Checking…";
  try {
    const found = await api.findings(project, visit.signal);
    if (workspace.visit === visit) findings.show(found, found.revision ? `revision ${found.revision.slice(0, 8)}` : "no revision");
  } catch (error) {
    if (!visit.signal.aborted) element("checked").textContent = wordsOf(error);
    if (error.status === 401) failed(error);
  } finally {
    element("check").disabled = false;
  }
}

function accepted({ turnId, data }) {
  workspace.turn = turnId;
  element("stop").hidden = false;
  if (workspace.sent) {
    // The prompt is in the conversation. Text that was typed since then stays in the input.
    const rest = taken(workspace.project, workspace.sent, data.projectId);
    if (element("prompt").value.trim() === workspace.sent) element("prompt").value = rest;
    workspace.sent = "";
  }
  if (!workspace.project) {
    workspace.project = data.projectId;
    history.replaceState(null, "", `#${workspace.project}`);
    watchProject();
  }
  conversation.add("agent", "");
}

// The end that is stored with the message has precedence: a conflict may have been resolved since.
function showEnd(event, stored) {
  const told = endOf(event, workspace.conflicts);
  const { kind, word, line } = stored ?? told;
  status(kind, word);
  conversation.end(kind, line);
  if (told.more) say("ask", told.more);
  return kind;
}

async function finished(event) {
  const kind = showEnd(event);
  hideStop();
  // After a conflict the head has the changes of another user. Files that were loaded after the end of the turn are not loaded again.
  if ((kind === "conflicted" && workspace.own) || (workspace.made && workspace.made !== previewPane.shown)) {
    await refreshFiles();
    await showPreview();
    fresh("preview");
  } else files.settle();
  const listed = [...element("projects").options].some((option) => option.value === workspace.project);
  if (!listed) await listProjects(workspace.visit.signal);
}

// The turn of a prompt without an answer may be running, or it has ended since; its events show that. The events of a turn with an answer
// show how it ended.
function resume(newest) {
  if (!newest || workspace.running) return undefined;
  return newest.role === "MESSAGE_ROLE_USER" ? watchAgain(newest) : recall(newest);
}

async function watchAgain(prompt) {
  const { visit } = workspace;
  const told = await watch((signal, tell) => follow(prompt.turnId, signal, tell));
  // If the events are no longer kept, the message has the end.
  const end = endOfMessage(prompt);
  if (told || !end || workspace.visit !== visit || workspace.own) return;
  status(end.kind, end.word);
  conversation.end(end.kind, end.line);
}

async function recall(answer) {
  const { signal } = (workspace.recalling = new AbortController());
  events.clear();
  workspace.conflicts = [];
  try {
    for await (const event of follow(answer.turnId, signal)) {
      if (signal.aborted) return;
      events.add(event);
      if (event.type === "files.conflict") workspace.conflicts = event.data.paths ?? [];
      else if (event.type === "checks.finished") checked(event.data);
      else if (isTerminal(event.type)) showEnd(event, endOfMessage(answer));
    }
  } catch (error) {
    if (!signal.aborted) failed(error);
  }
}

export async function listProjects(signal) {
  const { projects = [] } = await api.projects(signal);
  const options = projects.map((p) => new Option(p.displayName, p.id, false, p.id === workspace.project));
  element("projects").replaceChildren(new Option("New project", "", false, !workspace.project), ...options);
}

// Aborts all requests of the open project.
export function leave() {
  for (const part of [workspace.running, workspace.recalling, workspace.visit]) part?.abort();
}

export async function openProject(project) {
  leave();
  const visit = new AbortController();
  Object.assign(workspace, { project, turn: "", sent: "", head: "", own: false, running: null, recalling: null, visit });
  element("projects").value = project;
  history.replaceState(null, "", project ? `#${project}` : location.pathname);
  for (const part of [conversation, events, files, findings, previewPane]) part.clear();
  view("conversation");
  conversation.writing(false);
  element("prompt").value = typedIn(project);
  element("send").disabled = false;
  element("stop").hidden = true;
  status("", "");
  say("ask", "");
  if (!project) return;
  try {
    const { messages = [] } = await api.messages(project, visit.signal);
    // The user may have sent a prompt in the meantime.
    conversation.before(byTurn(messages.filter((m) => m.turnId !== workspace.turn).toReversed()), endAmong(messages));
    if (!workspace.running) answered(messages);
    await refreshFiles(workspace.running !== null);
    await showPreview();
    resume(messages[0]);
    watchProject();
  } catch (error) {
    if (!visit.signal.aborted) failed(error);
  }
}

// Puts answers after their own prompts, even if another prompt was sent before the answer.
function byTurn(messages) {
  const turns = Map.groupBy(messages, (message) => message.turnId);
  return [...turns.values()].flat();
}

// The end of a turn is shown below its last message. The end of the newest turn comes from its events if it has no answer.
function endAmong(messages) {
  const newestOf = new Map(messages.toReversed().map((message) => [message.turnId, message]));
  if (messages[0]?.role === "MESSAGE_ROLE_USER") newestOf.delete(messages[0].turnId);
  return (message) => (newestOf.get(message.turnId) === message ? endOfMessage(message) : undefined);
}

// A prompt whose response was lost may already be in the conversation.
function answered(messages) {
  const newest = messages.find((m) => m.role === "MESSAGE_ROLE_USER");
  if (newest && unanswered(workspace.project, newest.text)) element("prompt").value = taken(workspace.project, newest.text);
}

async function refreshFiles(working) {
  if (!workspace.project) return;
  const loaded = await api.load(workspace.project, workspace.visit.signal);
  files.set(loaded.files ?? [], working);
  previewPane.revision(loaded.revision);
}

async function showPreview() {
  if (!workspace.project || !files.any()) return;
  previewPane.at(await previewUrl(workspace.project, workspace.visit.signal));
}

export async function reload() {
  say("ask", "");
  forgetPreview(workspace.project);
  const { signal } = workspace.visit;
  try {
    await refreshFiles();
    previewPane.frame("");
    await showPreview();
    watchProject();
  } catch (error) {
    if (!signal.aborted) failed(error);
  }
}
