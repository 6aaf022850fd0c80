import { newGame, step, turn } from "./rules.js";
import { draw } from "./draw.js";
import { loadBest, saveBest } from "./best.js";

const KEYS = {
  ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right", KeyW: "up", KeyS: "down", KeyA: "left", KeyD: "right",
};
const SLOWEST = 170;
const FASTEST = 80;
const element = (id) => document.getElementById(id);
const canvas = element("board");
let game = newGame();
let best = loadBest();
let running = false;
let last = 0;

function show() {
  draw(canvas, game);
  element("score").textContent = game.score;
  element("best").textContent = best;
}

function say(message, button) {
  element("message").textContent = message;
  element("start").textContent = button;
  element("overlay").hidden = false;
  element("status").textContent = message;
  element("start").focus();
}

function start() {
  if (game.over) game = newGame();
  running = true;
  last = performance.now();
  element("overlay").hidden = true;
  element("status").textContent = "The game runs.";
  requestAnimationFrame(frame);
}

function pause() {
  if (!running) return;
  running = false;
  say("Paused", "Continue");
}

function end() {
  running = false;
  if (game.score > best) saveBest((best = game.score));
  say(`The game is over. Your score is ${game.score}.`, "Play again");
}

function frame(now) {
  if (!running) return;
  if (now - last >= Math.max(FASTEST, SLOWEST - game.score * 4)) {
    last = now;
    game = step(game);
    if (game.over) end();
    show();
  }
  requestAnimationFrame(frame);
}

addEventListener("keydown", (event) => {
  const direction = KEYS[event.code];
  if (running && (direction || event.code === "Space")) {
    event.preventDefault();
    if (direction) game = turn(game, direction);
    else pause();
  }
});
document.querySelector(".pad").addEventListener("click", (event) => {
  const { direction } = event.target.dataset;
  if (direction && running) game = turn(game, direction);
});
addEventListener("visibilitychange", () => document.hidden && pause());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
element("start").addEventListener("click", start);
show();
