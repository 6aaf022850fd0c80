const time = document.querySelector("#time");
const ring = document.querySelector("#ring");
const phase = document.querySelector("#phase");
const toggle = document.querySelector("#toggle");
const minutes = document.querySelector("#minutes");
let total = 0;
let left = 0;
let endsAt = 0;
let ticking = 0;

function show() {
  const seconds = Math.ceil(left / 1000);
  const text = `${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(seconds % 60).padStart(2, "0")}`;
  time.textContent = text;
  document.title = ticking ? `${text} – ${heading}` : heading;
  ring.style.setProperty("--share", total ? left / total : 0);
  toggle.textContent = ticking ? "Pause" : "Start";
}

function stop() {
  clearInterval(ticking);
  ticking = 0;
}

function reset() {
  stop();
  total = Math.min(Math.max(Number(minutes.value) || 25, 1), 180) * 60_000;
  left = total;
  phase.textContent = "Ready when you are.";
  show();
}

// The clock decides, not the number of ticks: a tab in the background ticks rarely.
function tick() {
  left = Math.max(0, endsAt - Date.now());
  if (left === 0) {
    stop();
    phase.textContent = "Time is up. Take a break!";
  }
  show();
}

toggle.addEventListener("click", () => {
  if (ticking) {
    tick();
    stop();
    phase.textContent = "Paused.";
  } else {
    if (left === 0) {
      reset();
    }
    endsAt = Date.now() + left;
    ticking = setInterval(tick, 250);
    phase.textContent = "Stay with it.";
  }
  show();
});

const heading = document.title;
document.querySelector("#reset").addEventListener("click", reset);
minutes.addEventListener("change", reset);
reset();
