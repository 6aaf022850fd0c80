// The rules of the game. They know no page and no clock, so they are easy to test.
export const SIZE = 20;
export const DIRECTIONS = { up: [0, -1], down: [0, 1], left: [-1, 0], right: [1, 0] };
const OPPOSITE = { up: "down", down: "up", left: "right", right: "left" };
const same = (a, b) => a[0] === b[0] && a[1] === b[1];

export function newGame(random = Math.random) {
  const snake = [[8, 10], [7, 10], [6, 10]];
  return { snake, direction: "right", turns: [], berry: placeBerry(snake, random), score: 0, over: false };
}

// Queues a turn. At most two turns wait, and the snake cannot turn back on itself.
export function turn(game, direction) {
  const last = game.turns.at(-1) ?? game.direction;
  if (direction === last || direction === OPPOSITE[last] || game.turns.length >= 2) return game;
  return { ...game, turns: [...game.turns, direction] };
}

export function step(game, random = Math.random) {
  if (game.over) return game;
  const [next, ...turns] = game.turns;
  const direction = next ?? game.direction;
  const [dx, dy] = DIRECTIONS[direction];
  const head = [game.snake[0][0] + dx, game.snake[0][1] + dy];
  const eats = same(head, game.berry);
  const tail = eats ? game.snake : game.snake.slice(0, -1);
  if (head.some((n) => n < 0 || n >= SIZE) || tail.some((cell) => same(cell, head))) return { ...game, over: true };
  const snake = [head, ...tail];
  const score = game.score + (eats ? 1 : 0);
  const berry = eats ? placeBerry(snake, random) : game.berry;
  return { ...game, snake, direction, turns, berry, score, over: berry === null };
}

// A free cell, or null if the snake fills the board.
function placeBerry(snake, random) {
  const free = [];
  for (let x = 0; x < SIZE; x += 1) {
    for (let y = 0; y < SIZE; y += 1) if (!snake.some((cell) => same(cell, [x, y]))) free.push([x, y]);
  }
  return free.length ? free[Math.floor(random() * free.length)] : null;
}
