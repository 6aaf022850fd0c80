const KEY = "notes";
// A sandboxed preview may refuse storage; then the page remembers only while it is open.
const storage = {
  read(fallback) {
    try {
      return JSON.parse(localStorage.getItem(KEY)) ?? fallback;
    } catch {
      return fallback;
    }
  },
  write(value) {
    try {
      localStorage.setItem(KEY, JSON.stringify(value));
    } catch {
      // Nothing to do: the page goes on without it.
    }
  },
};

const board = document.querySelector("#notes");
const filter = document.querySelector("#filter");
let notes = storage.read([{ text: "Welcome! Write here; it is kept in your browser.", time: 0 }]);

function save() {
  storage.write(notes);
  document.querySelector("#summary").textContent = notes.length === 1 ? "1 note" : `${notes.length} notes`;
}

function render() {
  const wanted = filter.value.trim().toLowerCase();
  const shown = notes.filter((note) => note.text.toLowerCase().includes(wanted));
  board.replaceChildren(...shown.map(card));
  save();
}

function card(note) {
  const article = document.createElement("article");
  article.className = "panel note";
  const text = document.createElement("textarea");
  text.value = note.text;
  text.setAttribute("aria-label", "Note");
  const footer = document.createElement("footer");
  const time = document.createElement("span");
  const showTime = () => {
    time.textContent = note.time ? new Date(note.time).toLocaleString() : "";
  };
  text.addEventListener("input", () => {
    note.text = text.value;
    note.time = Date.now();
    showTime();
    save();
  });
  const remove = document.createElement("button");
  remove.textContent = "Delete";
  remove.addEventListener("click", () => {
    notes = notes.filter((other) => other !== note);
    render();
  });
  showTime();
  footer.append(time, remove);
  article.append(text, footer);
  return article;
}

document.querySelector("#new").addEventListener("click", () => {
  filter.value = "";
  notes.unshift({ text: "", time: Date.now() });
  render();
  board.querySelector("textarea").focus();
});

filter.addEventListener("input", render);
render();
