// The calls of the API, one function for each.
export const createContacts = (request) => ({
  list: () => request("GET", "/contacts"),
  add: (contact) => request("POST", "/contacts", contact),
  remove: (id) => request("DELETE", `/contacts/${encodeURIComponent(id)}`),
});
