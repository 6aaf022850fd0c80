// Draws the state of a game on the canvas, with the colours of the style sheet.
import { SIZE } from "./rules.js";

export function draw(canvas, game) {
  const context = canvas.getContext("2d");
  const cell = canvas.width / SIZE;
  const style = getComputedStyle(canvas);
  const color = (name) => style.getPropertyValue(name);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = style.color;
  game.snake.forEach(([x, y], index) => {
    context.globalAlpha = index === 0 ? 1 : Math.max(0.45, 0.85 - index * 0.015);
    context.beginPath();
    context.roundRect(x * cell + 1.5, y * cell + 1.5, cell - 3, cell - 3, cell * 0.3);
    context.fill();
  });
  context.globalAlpha = 1;
  if (!game.berry) return;
  context.fillStyle = color("--berry");
  context.beginPath();
  context.arc((game.berry[0] + 0.5) * cell, (game.berry[1] + 0.5) * cell, cell * 0.36, 0, Math.PI * 2);
  context.fill();
}
