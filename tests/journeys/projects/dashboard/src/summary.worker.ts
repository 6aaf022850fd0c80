import type { Day } from "./sales";

self.onmessage = ({ data }: MessageEvent<Day[]>) => {
  const revenue = data.reduce((sum, day) => sum + day.revenue, 0);
  self.postMessage({ revenue, best: data.reduce((a, b) => (b.revenue > a.revenue ? b : a)).day });
};
