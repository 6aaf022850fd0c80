// Reads the rendered conversation.

import { until } from "../clients/support.mjs";

// The markup, the position and the style of each line.
export function appearance(page) {
  return page.locator("#conversation li").evaluateAll((lines) =>
    lines.map((line) => {
      const [box, { border, color }] = [line.getBoundingClientRect(), getComputedStyle(line)];
      const [x, width, height] = [box.x, box.width, box.height].map(Math.round);
      return { html: line.outerHTML, x, width, height, border, color };
    }),
  );
}

export function waitForEndInView(page) {
  return until("the end of the conversation is in view", () => page.locator("#said").evaluate((list) => list.scrollHeight - list.scrollTop - list.clientHeight < 2));
}
