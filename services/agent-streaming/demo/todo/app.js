const KEY = "todo";
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

const list = document.querySelector("#list");
const form = document.querySelector("#add");
const field = document.querySelector("#text");
let tasks = storage.read([]);

function render() {
  list.replaceChildren(...tasks.map(row));
  const open = tasks.filter((task) => !task.done).length;
  document.querySelector("#summary").textContent = `${open} of ${tasks.length} to do`;
  document.querySelector("#clear").disabled = open === tasks.length;
  storage.write(tasks);
}

function row(task) {
  const item = document.createElement("li");
  item.className = task.done ? "done" : "";
  const label = document.createElement("label");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = task.done;
  box.addEventListener("change", () => {
    task.done = box.checked;
    render();
  });
  label.append(box, task.text);
  const remove = document.createElement("button");
  remove.textContent = "✕";
  remove.setAttribute("aria-label", `Remove ${task.text}`);
  remove.addEventListener("click", () => {
    tasks = tasks.filter((other) => other !== task);
    render();
  });
  item.append(label, remove);
  return item;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = field.value.trim();
  if (text) {
    tasks.push({ text, done: false });
    field.value = "";
    render();
  }
});

document.querySelector("#clear").addEventListener("click", () => {
  tasks = tasks.filter((task) => !task.done);
  render();
});

render();
