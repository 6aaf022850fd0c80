// The conversation as it stands in the browser.

import { until } from "../clients/ground.mjs";

// How each line is made and where it stands.
export function looks(page) {
  return page.locator("#conversation li").evaluateAll((lines) =>
    lines.map((line) => {
      const [box, { border, color }] = [line.getBoundingClientRect(), getComputedStyle(line)];
      const [x, width, height] = [box.x, box.width, box.height].map(Math.round);
      return { made: line.outerHTML, x, width, height, border, color };
    }),
  );
}

export function endIsSeen(page) {
  return until("the end of the conversation is seen", () => page.locator("#said").evaluate((list) => list.scrollHeight - list.scrollTop - list.clientHeight < 2));
}
