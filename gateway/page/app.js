// The page: a door (sign in, create an account) and a desk (conversation, files and events, preview). All state that must
// survive a reload is in the address (#project), in the tab (what is typed) or on the server.
//
// A load makes at most four requests that the policy `general` counts: the list of projects, and three of the desk's. The
// account is asked for when the person wants to see it.

import { api } from "/page/api.js";
import { desk, failed, leave, listProjects, onSignedOut, openProject, reload, send, stop } from "/page/desk.js";
import { forgetPreviews } from "/page/preview.js";
import { keepTyped } from "/page/prompt.js";
import { busy, element, note, say, show } from "/page/view.js";
import { wordsOf } from "/page/words.js";

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
    // Whoever sees the desk can use it: what a first prompt needs is there before anything else is waited for.
    show("desk");
    const opened = openProject(location.hash.slice(1));
    if (document.activeElement === document.body) element("prompt").focus();
    await opened;
  } catch (error) {
    if (error.status === 401) toDoor("");
    else note(`${wordsOf(error)}\nReload this page to try again.`);
  }
  busy(false);
}

// The desk is left; what was typed stays in the tab.
function toDoor(why) {
  leave();
  forgetPreviews();
  element("account").open = false;
  show("door");
  say("door", why);
  element("door").email.focus();
}

onSignedOut(() => toDoor("Your session has ended. Sign in to go on where you were."));

element("door").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  if (form.ariaBusy === "true") return;
  const act = event.submitter?.value === "signup" ? api.signUp : api.signIn;
  say("door", "");
  form.ariaBusy = "true";
  try {
    await act(form.email.value, form.password.value);
    form.reset();
    // What has the focus is about to go.
    document.activeElement?.blur();
    await enter();
  } catch (error) {
    say("door", wordsOf(error));
  } finally {
    form.ariaBusy = "false";
  }
});

element("leave").addEventListener("click", async () => {
  try {
    await api.signOut();
  } catch (error) {
    if (error.status !== 401) return failed(error);
  }
  sessionStorage.clear();
  history.replaceState(null, "", location.pathname);
  toDoor("");
});

element("fresh").addEventListener("click", () => {
  openProject("");
  element("prompt").focus();
});
element("projects").addEventListener("change", (event) => openProject(event.target.value));
element("reload").addEventListener("click", reload);
element("account").addEventListener("toggle", async () => {
  element("who").textContent = "";
  if (!element("account").open) return;
  element("who").textContent = await api.session().then(({ user }) => user.email, (error) => (error.status === 401 && failed(error), wordsOf(error)));
});
element("account").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  element("account").open = false;
  element("account").firstElementChild.focus();
});
element("stop").addEventListener("click", stop);

element("prompt").addEventListener("input", () => keepTyped(desk.project, element("prompt").value));
element("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    element("ask").requestSubmit();
  }
});

element("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});

// A link to another project, or the browser's own way back.
addEventListener("hashchange", () => {
  const project = location.hash.slice(1);
  if (document.body.dataset.view === "desk" && project !== desk.project) openProject(project);
});

enter();
