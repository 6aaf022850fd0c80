import { BASE_URL } from "./config.js";
import { createClient } from "./http.js";
import { createContacts } from "./contacts.js";
import { mockFetch } from "./mock.js";

const LOG_LENGTH = 12;
const element = (id) => document.getElementById(id);
const make = (name, properties, ...children) => {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
};
const transport = BASE_URL ? (url, options) => fetch(url, options) : mockFetch;
const api = createContacts(createClient({ baseUrl: BASE_URL, transport, onEnd: log }));

function log({ method, path, status, milliseconds }) {
  const kind = status >= 200 && status < 300 ? "good" : "bad";
  element("log").prepend(
    make("li", {}, make("strong", { textContent: method }), make("code", { textContent: path }),
      make("span", { className: kind, textContent: status || "no answer" }), make("span", { textContent: `${milliseconds} ms` })),
  );
  while (element("log").children.length > LOG_LENGTH) element("log").lastChild.remove();
}

function makeContact({ id, name, email }) {
  const remove = make("button", { type: "button", className: "button quiet", textContent: "Delete", ariaLabel: `Delete ${name}` });
  remove.addEventListener("click", () => attempt(async () => {
    remove.disabled = true;
    await api.remove(id).finally(() => (remove.disabled = false));
    await load(`${name} was deleted.`);
    element("name").focus();
  }));
  const text = make("div", {}, make("strong", { textContent: name }), make("span", { textContent: email }));
  return make("li", {}, make("span", { className: "avatar", ariaHidden: "true", textContent: name.slice(0, 1).toUpperCase() }), text, remove);
}

// Runs a call and shows its error.
async function attempt(call) {
  element("error").hidden = true;
  try {
    await call();
  } catch (error) {
    element("error").textContent = error.message;
    element("error").hidden = false;
  }
}

async function load(message = "") {
  element("contacts").ariaBusy = "true";
  try {
    const contacts = await api.list();
    const empty = make("li", { textContent: "There are no contacts yet." });
    element("contacts").replaceChildren(...(contacts.length ? contacts.map(makeContact) : [empty]));
    element("status").textContent = message;
  } finally {
    element("contacts").ariaBusy = "false";
  }
}

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const contact = { name: form.elements.name.value.trim(), email: form.elements.email.value.trim() };
  const button = form.querySelector("button");
  attempt(async () => {
    button.disabled = true;
    await api.add(contact).finally(() => (button.disabled = false));
    form.reset();
    await load(`${contact.name} was added.`);
    form.elements.name.focus();
  });
});
element("source").textContent = BASE_URL ? `Connected to ${BASE_URL}` : "Connected to the built-in mock";
attempt(() => load());
