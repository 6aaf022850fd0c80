// The page: a door (sign up, sign in) and a desk (conversation, files and events, preview). All state that must survive a
// reload is in the address (#project) or on the server.
//
// A load makes at most four requests that the policy `general` counts: projects, messages, files, and the preview unless the
// tab knows it. The account is asked for when the person wants to see it. A turn that may still run is followed by its event
// stream, which is not counted.

import { api } from "/page/api.js";
import { forgetPreview, forgetPreviews, previewUrl } from "/page/preview.js";
import { start, follow } from "/page/stream.js";
import { busy, element, events, files, look, note, say, show, status, talk } from "/page/view.js";

// `visit` ends when another project is opened, and with it what still waits for this one. `sent` is the prompt that the
// server has not taken yet, `made` the revision that the turn has committed. `own`: this visit has sent a prompt.
const desk = { project: "", draft: "", turn: "", sent: "", made: "", own: false, running: null, visit: new AbortController() };

// The body of an async iteration over ReadableStream needs this in browsers that lack it.
if (!ReadableStream.prototype[Symbol.asyncIterator]) {
  ReadableStream.prototype[Symbol.asyncIterator] = async function* () {
    const reader = this.getReader();
    try {
      for (let next; !(next = await reader.read()).done; ) yield next.value;
    } finally {
      reader.releaseLock();
    }
  };
}

async function enter() {
  busy(true);
  try {
    await listProjects();
    // Whoever sees the desk can use it: the draft that a first prompt needs is made before anything else is waited for.
    show("desk");
    await openProject(location.hash.slice(1));
  } catch (error) {
    if (error.status === 401) show("door");
    else note(`${error.text ?? error}\nReload this page to try again.`);
  }
  busy(false);
}

element("door").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const act = event.submitter?.value === "signin" ? api.signIn : api.signUp;
  say("door", "");
  try {
    await act(form.email.value, form.password.value);
    form.reset();
    await enter();
  } catch (error) {
    say("door", error.text ?? String(error));
  }
});

element("leave").addEventListener("click", async () => {
  leave();
  forgetPreviews();
  element("account").open = false;
  await api.signOut().catch(() => {});
  location.hash = "";
  show("door");
});

element("fresh").addEventListener("click", () => openProject(""));
element("projects").addEventListener("change", (event) => openProject(event.target.value));
element("reload").addEventListener("click", () => {
  say("ask", "");
  forgetPreview(desk.project);
  const { signal } = desk.visit;
  refreshFiles().then(showPreview).catch((error) => signal.aborted || say("ask", error.text ?? String(error)));
});
element("account").addEventListener("toggle", async () => {
  element("who").textContent = "";
  if (!element("account").open) return;
  element("who").textContent = await api.session().then(({ user }) => user.email, (error) => error.text ?? String(error));
});
element("stop").addEventListener("click", () => api.cancel(desk.turn).catch((error) => say("ask", error.text)));

element("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    element("ask").requestSubmit();
  }
});

element("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const prompt = element("prompt").value.trim();
  if (!prompt || desk.running) return;
  say("ask", "");
  talk.add("user", prompt);
  Object.assign(desk, { sent: prompt, own: true });
  const target = desk.project ? { projectId: desk.project } : { draftId: desk.draft };
  const visit = desk.visit;
  const accepted = await watch((signal) => start({ ...target, prompt }, signal));
  if (!accepted && desk.visit === visit) talk.dropLast();
});

// Shows a turn until its end. Answers whether there was an event of it.
async function watch(open) {
  const running = (desk.running = new AbortController());
  let accepted = false;
  desk.made = "";
  status("running", "working…");
  element("send").disabled = true;
  events.clear();
  try {
    for await (const event of open(running.signal)) {
      accepted = true;
      await apply(event);
    }
    if (!accepted) status("", "");
  } catch (error) {
    if (!running.signal.aborted) {
      status("failed", "");
      say("ask", error.text ?? String(error));
    }
  } finally {
    if (desk.running === running) {
      desk.running = null;
      element("send").disabled = false;
      element("stop").hidden = true;
    }
  }
  return accepted;
}

async function apply(event) {
  events.add(event);
  const { type, data } = event;
  if (type === "turn.accepted") {
    desk.turn = event.turnId;
    element("stop").hidden = false;
    taken();
    if (!desk.project) {
      desk.project = data.projectId;
      history.replaceState(null, "", `#${desk.project}`);
    }
    talk.add("agent", "");
  } else if (type === "turn.queued") status("running", "waiting for another turn…");
  else if (type === "turn.started") status("running", "working…");
  else if (type === "step.started") [talk, files].forEach((part) => part.keep());
  else if (type === "step.superseded") [talk, files].forEach((part) => part.back());
  else if (type === "text.delta") talk.append(data.text);
  else if (type === "text.finished") talk.append("\n");
  else if (type === "file.opened") files.open(data.callId, data.path, data.operation);
  else if (type === "file.delta") files.append(data.callId, data.text);
  else if (type === "file.closed") files.close(data.callId, data.path, data.sizeBytes ?? 0);
  else if (type === "turn.committing") status("running", "saving…");
  else if (type === "files.committed") desk.made = data.revision;
  else if (type === "turn.completed") await finished("completed", "done");
  else if (type === "turn.cancelled") await finished("cancelled", "stopped");
  else if (type === "turn.conflicted") await finished("conflicted", "somebody else changed the same files");
  else if (type === "turn.failed") await finished("failed", data.message || data.reason);
}

// The prompt is in the conversation; what the person has typed since stays in the box.
function taken() {
  if (element("prompt").value.trim() === desk.sent) element("prompt").value = "";
  desk.sent = "";
}

async function finished(kind, text) {
  status(kind, text);
  element("stop").hidden = true;
  // After a conflict the head has somebody else's work. Files that were loaded after the turn's end are not loaded again.
  if ((kind === "conflicted" && desk.own) || (desk.made && desk.made !== look.shown)) {
    await refreshFiles();
    await showPreview();
  } else files.settle();
  const listed = [...element("projects").options].some((option) => option.value === desk.project);
  if (!listed) await listProjects();
}

async function listProjects() {
  const { projects = [] } = await api.projects();
  const options = projects.map((p) => new Option(p.displayName, p.id, false, p.id === desk.project));
  element("projects").replaceChildren(new Option("New project", "", false, !desk.project), ...options);
}

// Ends what still waits for the server on behalf of the project that is open.
function leave() {
  desk.running?.abort();
  desk.visit.abort();
}

async function openProject(project) {
  leave();
  const visit = new AbortController();
  Object.assign(desk, { project, draft: `draft-${crypto.randomUUID()}`, turn: "", sent: "", own: false, running: null, visit });
  element("projects").value = project;
  history.replaceState(null, "", project ? `#${project}` : location.pathname);
  for (const part of [talk, events, files, look]) part.clear();
  element("send").disabled = false;
  element("stop").hidden = true;
  status("", "");
  say("ask", "");
  if (!project) return;
  try {
    const { messages = [] } = await api.messages(project, visit.signal);
    for (const m of messages.toReversed()) talk.add(m.role === "MESSAGE_ROLE_USER" ? "user" : "agent", m.text, m.partial);
    await refreshFiles();
    await showPreview();
    resume(messages[0]);
  } catch (error) {
    if (!visit.signal.aborted) say("ask", error.text ?? String(error));
  }
}

// A prompt without an answer may still be worked on, or its turn has ended since: its events tell.
function resume(newest) {
  if (newest?.role === "MESSAGE_ROLE_USER" && !desk.running) watch((signal) => follow(newest.turnId, signal));
}

async function refreshFiles() {
  if (!desk.project) return;
  const loaded = await api.load(desk.project, desk.visit.signal);
  files.set(loaded.files ?? []);
  look.revision(loaded.revision);
}

async function showPreview() {
  if (!desk.project || !files.any()) return;
  look.at(await previewUrl(desk.project, desk.visit.signal));
}

enter();
