// The preview URLs of projects, kept in the session storage of the tab. A capability is valid for an hour after its last use and always
// shows the head, so a reload or a new revision does not need another one. It ends with the session.

import { api } from "/page/api.js";

const USABLE_MS = 50 * 60 * 1000;
const keyOf = (project) => `preview ${project}`;

export async function previewUrl(project, signal) {
  const known = JSON.parse(sessionStorage.getItem(keyOf(project)));
  const url = known && Date.now() < known.usedAt + USABLE_MS ? known.url : (await api.preview(project, signal)).url;
  sessionStorage.setItem(keyOf(project), JSON.stringify({ url, usedAt: Date.now() }));
  return url;
}

export function forgetPreview(project) {
  sessionStorage.removeItem(keyOf(project));
}

export function forgetPreviews() {
  for (const key of Object.keys(sessionStorage)) if (key.startsWith(keyOf(""))) sessionStorage.removeItem(key);
}
