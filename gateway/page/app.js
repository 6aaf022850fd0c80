// The page: a door (sign up, sign in) and a desk (conversation, files and events, preview). All state that must survive a
// reload is in the address (#project) or on the server.

import { api } from "/page/api.js";
import { start, follow } from "/page/stream.js";
import { element, events, files, look, say, show, status, talk } from "/page/view.js";

const desk = { project: "", draft: "", turn: "", running: null };

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
  try {
    const { user } = await api.session();
    element("who").textContent = user.email;
    await listProjects();
    // Whoever sees the desk can use it: the draft that a first prompt needs is made before anything else is waited for.
    show("desk");
    await openProject(location.hash.slice(1));
  } catch (error) {
    if (error.status !== 401) say("door", error.text ?? String(error));
    show("door");
  }
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
  desk.running?.abort();
  await api.signOut().catch(() => {});
  location.hash = "";
  show("door");
});

element("fresh").addEventListener("click", () => openProject(""));
element("projects").addEventListener("change", (event) => openProject(event.target.value));
element("reload").addEventListener("click", () => refreshPreview());
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
  element("prompt").value = "";
  const target = desk.project ? { projectId: desk.project } : { draftId: desk.draft };
  const accepted = await watch((signal) => start({ ...target, prompt }, signal));
  if (!accepted) element("prompt").value = prompt;
});

// Shows a turn until its end. Answers whether the server took it.
async function watch(open) {
  const running = (desk.running = new AbortController());
  let accepted = false;
  status("running", "working…");
  element("send").disabled = true;
  events.clear();
  try {
    for await (const event of open(running.signal)) {
      accepted = true;
      await apply(event);
    }
  } catch (error) {
    if (!running.signal.aborted) {
      status("failed", "");
      say("ask", error.text ?? String(error));
      if (!accepted) talk.dropLast();
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
  else if (type === "turn.completed") await finished("completed", "done");
  else if (type === "turn.cancelled") await finished("cancelled", "stopped");
  else if (type === "turn.conflicted") await finished("conflicted", "somebody else changed the same files");
  else if (type === "turn.failed") await finished("failed", data.message || data.reason);
}

async function finished(kind, text) {
  status(kind, text);
  await Promise.all([refreshFiles(), listProjects()]);
  if (kind === "completed") await refreshPreview();
}

async function listProjects() {
  const { projects = [] } = await api.projects();
  const options = projects.map((p) => new Option(p.displayName, p.id, false, p.id === desk.project));
  element("projects").replaceChildren(new Option("New project", "", false, !desk.project), ...options);
}

async function openProject(project) {
  desk.running?.abort();
  Object.assign(desk, { project, draft: `draft-${crypto.randomUUID()}`, turn: "", running: null });
  element("projects").value = project;
  history.replaceState(null, "", project ? `#${project}` : location.pathname);
  for (const part of [talk, events, files, look]) part.clear();
  status("", "");
  say("ask", "");
  if (!project) return;
  try {
    const { messages = [] } = await api.messages(project);
    for (const m of messages.toReversed()) talk.add(m.role === "MESSAGE_ROLE_USER" ? "user" : "agent", m.text, m.partial);
    await refreshFiles();
    await refreshPreview();
    await resume(messages[0]);
  } catch (error) {
    say("ask", error.text ?? String(error));
  }
}

// A prompt without an answer may still be worked on: follow it from its first event.
async function resume(newest) {
  if (newest?.role !== "MESSAGE_ROLE_USER") return;
  const turn = await api.turn(newest.turnId);
  if (!turn.endTime) await watch((signal) => follow(turn.id, 0, signal));
}

async function refreshFiles() {
  if (!desk.project) return;
  const loaded = await api.load(desk.project);
  files.set(loaded.files ?? []);
  look.revision(loaded.revision);
}

async function refreshPreview() {
  if (!desk.project || !files.any()) return;
  const { url } = await api.preview(desk.project);
  look.at(url);
}

enter();
