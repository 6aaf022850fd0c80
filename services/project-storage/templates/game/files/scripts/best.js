// Keeps the best score. The game also works if the browser stores nothing.
const KEY = "best-score";

export function loadBest() {
  try {
    return Number(localStorage.getItem(KEY)) || 0;
  } catch {
    return 0;
  }
}

export function saveBest(score) {
  try {
    localStorage.setItem(KEY, String(score));
  } catch {
    // The score is only shown.
  }
}
