import { check, rules, MAX_NOTES } from "./rules.js";
import { send } from "./send.js";

const form = document.querySelector("#form");
const summary = document.querySelector("#summary");
const done = document.querySelector("#done");
const touched = new Set();

const valueOf = (field) => (form.elements[field].type === "checkbox" ? form.elements[field].checked : form.elements[field].value);
const values = () => Object.fromEntries(Object.keys(rules).map((field) => [field, valueOf(field)]));

function showError(field, error) {
  document.getElementById(`${field}-error`).textContent = error;
  if (error) form.elements[field].setAttribute("aria-invalid", "true");
  else form.elements[field].removeAttribute("aria-invalid");
}

function showSummary(errors) {
  summary.hidden = errors.length === 0;
  const title = document.createElement("p");
  title.textContent = errors.length === 1 ? "One field needs your attention:" : `${errors.length} fields need your attention:`;
  const list = document.createElement("ul");
  for (const [field, error] of errors) {
    const link = document.createElement("a");
    link.href = `#${field}`;
    link.textContent = error;
    const item = document.createElement("li");
    item.append(link);
    list.append(item);
  }
  summary.replaceChildren(title, list);
}

// A field is checked when the person leaves it, and from then on at each change.
function visit({ target }) {
  if (!(target.name in rules)) return;
  touched.add(target.name);
  showError(target.name, rules[target.name](valueOf(target.name)));
}

function change({ target }) {
  if (target.name === "notes") {
    const left = MAX_NOTES - target.value.length;
    document.querySelector("#notes-count").textContent = left >= 0 ? `${left} characters left` : `${-left} characters too many`;
  }
  if (touched.has(target.name)) showError(target.name, rules[target.name](valueOf(target.name)));
}

async function submit(event) {
  event.preventDefault();
  const errors = check(values());
  const found = Object.fromEntries(errors);
  for (const field of Object.keys(rules)) {
    touched.add(field);
    showError(field, found[field] ?? "");
  }
  showSummary(errors);
  if (errors.length) return summary.focus();
  const registration = values();
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  try {
    const { reference } = await send(registration);
    document.querySelector("#done-text").textContent = `We sent a confirmation to ${registration.email.trim()}. Your reference is ${reference}.`;
    form.hidden = true;
    done.hidden = false;
    done.focus();
  } catch {
    showSummary([["name", "The registration was not sent. Try again in a moment."]]);
  } finally {
    button.disabled = false;
  }
}

function restart() {
  form.reset();
  touched.clear();
  document.querySelector("#notes-count").textContent = `${MAX_NOTES} characters left`;
  form.hidden = false;
  done.hidden = true;
  form.elements.name.focus();
}

form.addEventListener("focusout", visit);
form.addEventListener("input", change);
form.addEventListener("submit", submit);
document.querySelector("#again").addEventListener("click", restart);
