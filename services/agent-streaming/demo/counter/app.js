const KEY = "counter";
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

const output = document.querySelector("#value");
const step = document.querySelector("#step");
let value = storage.read(0);

function show() {
  output.textContent = value.toLocaleString();
  storage.write(value);
}

function change(by) {
  const size = Math.min(Math.max(Math.trunc(Number(step.value)) || 1, 1), 1000);
  value += by * size;
  output.classList.remove("bump");
  // Reading the width makes the browser start the animation again.
  void output.offsetWidth;
  output.classList.add("bump");
  show();
}

document.querySelector("#plus").addEventListener("click", () => change(1));
document.querySelector("#minus").addEventListener("click", () => change(-1));
document.querySelector("#reset").addEventListener("click", () => {
  value = 0;
  show();
});

document.addEventListener("keydown", (event) => {
  if (event.target === step) {
    return;
  }
  if (event.key === "ArrowUp" || event.key === "ArrowRight") {
    change(1);
  } else if (event.key === "ArrowDown" || event.key === "ArrowLeft") {
    change(-1);
  }
});

show();
