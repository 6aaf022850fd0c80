// The page has two views: sign-in (also to create an account) and workspace (conversation, files and events, preview). All state that must
// survive a reload is in the URL (#project), in the session storage of the tab (typed text) or on the server.
//
// A load makes at most four requests that the policy `general` counts: the list of projects, and three for the workspace. The account is
// loaded when the user opens its menu, and the rules of a sign-up with the sign-in.

import { api } from "/page/api.js";
import { logged } from "/page/console.js";
import { promptToFix } from "/page/live.js";
import { check, failed, leave, listProjects, onSignedOut, openProject, reload, send, stop, workspace } from "/page/workspace.js";
import { previewPane } from "/page/preview-pane.js";
import { forgetPreviews } from "/page/preview.js";
import { keepTyped } from "/page/prompt.js";
import { showSignUpRules } from "/page/sign-up.js";
import { busy, element, note, say, show } from "/page/view.js";
import { wayOnOf, wordsOf } from "/page/words.js";

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
    // The workspace is shown before anything else is loaded, so that a first prompt can be written at once.
    show("workspace");
    const opened = openProject(location.hash.slice(1));
    if (document.activeElement === document.body) element("prompt").focus();
    await opened;
  } catch (error) {
    if (error.status === 401) showSignIn("");
    else if (error.body?.reason === "SECOND_FACTOR_MISSING") location.assign(wayOnOf(error).to);
    else note(`${wordsOf(error)}\nReload this page to try again.`);
  }
  busy(false);
}

// Leaves the workspace. Typed text is kept.
function showSignIn(message) {
  leave();
  forgetPreviews();
  element("account").open = false;
  show("sign-in");
  say("sign-in", message);
  element("sign-in").email.focus();
  showSignUpRules();
}

onSignedOut(() => showSignIn("Your session has ended. Sign in to continue where you were."));

element("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  if (form.ariaBusy === "true") return;
  const act = event.submitter?.value === "signup" ? api.signUp : api.signIn;
  say("sign-in", "");
  form.ariaBusy = "true";
  try {
    const answer = await act(form.email.value, form.password.value);
    form.reset();
    if (!answer.session) return say("sign-in", "A mail is on its way to the address. Open its link to continue.");
    // The focused element is about to be hidden.
    document.activeElement?.blur();
    await enter();
  } catch (error) {
    say("sign-in", wordsOf(error), wayOnOf(error));
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
  // A new document has nothing of the session.
  location.reload();
});

element("fresh").addEventListener("click", () => {
  openProject("");
  element("prompt").focus();
});
element("projects").addEventListener("change", (event) => openProject(event.target.value));
element("reload").addEventListener("click", reload);
element("check").addEventListener("click", check);
// The person reads the prompt, and sends it or not.
element("fix").addEventListener("click", () => {
  element("prompt").value = promptToFix(previewPane.failure, logged.errors());
  keepTyped(workspace.project, element("prompt").value);
  element("prompt").focus();
});
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

element("prompt").addEventListener("input", () => keepTyped(workspace.project, element("prompt").value));
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

// The user followed a link to another project, or went back or forward in the history.
addEventListener("hashchange", () => {
  const project = location.hash.slice(1);
  if (document.body.dataset.view === "workspace" && project !== workspace.project) openProject(project);
});

enter();
