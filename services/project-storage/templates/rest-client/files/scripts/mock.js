// A server in the page, with the form of `fetch`. It keeps the contacts until the page is reloaded.
let nextId = 4;
let contacts = [
  { id: "1", name: "Maya Lindgren", email: "maya@example.com" },
  { id: "2", name: "Tomas Ferreira", email: "tomas@example.com" },
  { id: "3", name: "Aiko Tanaka", email: "aiko@example.com" },
];
const json = (status, value) => new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json" } });

function add(contact) {
  if (contacts.some(({ email }) => email.toLowerCase() === contact.email.toLowerCase())) {
    return json(409, { message: "A contact with this e-mail address exists already." });
  }
  const created = { id: String(nextId++), ...contact };
  contacts = [...contacts, created];
  return json(201, created);
}

function remove(id) {
  const rest = contacts.filter((contact) => contact.id !== id);
  if (rest.length === contacts.length) return json(404, { message: "The contact does not exist." });
  contacts = rest;
  return new Response(null, { status: 204 });
}

export async function mockFetch(path, { method, body }) {
  await new Promise((resolve) => setTimeout(resolve, 150));
  const [, id] = /^\/contacts(?:\/([^/]+))?$/.exec(path) ?? [];
  if (method === "GET") return json(200, contacts);
  if (method === "POST") return add(JSON.parse(body));
  if (method === "DELETE" && id) return remove(decodeURIComponent(id));
  return json(405, { message: "The method is not allowed." });
}
