// Three charts. Each takes [{label, value}] and options (the format of values and of ticks, the width in pixels) and returns nodes: an SVG picture with a text alternative, and a table or a legend.
import { dataTable, html, niceMax, svg } from "./svg.js";

const HEIGHT = 260;
const BOX = { left: 52, right: 12, top: 14, bottom: 34 };
const INNER_HEIGHT = HEIGHT - BOX.top - BOX.bottom;
const LINES = 4;
const LABEL_WIDTH = 34;

const summary = (points, format) => points.map(({ label, value }) => `${label} ${format(value)}`).join(", ");

function frame(points, { format, tickFormat, width }, top) {
  const lines = Array.from({ length: LINES + 1 }, (_, index) => {
    const y = BOX.top + (INNER_HEIGHT * index) / LINES;
    const text = tickFormat((top * (LINES - index)) / LINES);
    return [svg("line", { x1: BOX.left, x2: width - BOX.right, y1: y, y2: y, class: "grid" }), svg("text", { x: BOX.left - 10, y: y + 4, class: "tick end" }, text)];
  });
  return svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": summary(points, format) }, ...lines.flat());
}


// The names below the axis. If there is no room for all, every second one is left out, and so on.
function labels(points, slot, x) {
  const every = Math.ceil(LABEL_WIDTH / slot);
  const shown = points.map(({ label }, index) => [label, index]).filter(([, index]) => (points.length - 1 - index) % every === 0);
  return shown.map(([label, index]) => svg("text", { x: x(index), y: HEIGHT - 8, class: "tick middle" }, label));
}

const tip = (point, format) => svg("title", {}, `${point.label}: ${format(point.value)}`);

export function lineChart(points, options) {
  const { format, width } = options;
  const top = niceMax(points.map(({ value }) => value));
  const picture = frame(points, options, top);
  const slot = (width - BOX.left - BOX.right) / points.length;
  const x = (index) => BOX.left + slot * (index + 0.5);
  const y = (value) => BOX.top + INNER_HEIGHT * (1 - value / top);
  const path = points.map(({ value }, index) => `${index ? "L" : "M"}${x(index)} ${y(value)}`).join("");
  const bottom = BOX.top + INNER_HEIGHT;
  picture.append(svg("path", { d: `${path}L${x(points.length - 1)} ${bottom}L${x(0)} ${bottom}Z`, class: "area" }), svg("path", { d: path, class: "line" }));
  points.forEach((point, index) => {
    picture.append(svg("circle", { cx: x(index), cy: y(point.value), r: 5, class: "dot" }, tip(point, format)));
  });
  picture.append(...labels(points, slot, x));
  return [picture, dataTable(points, format)];
}

export function barChart(points, options) {
  const { format, width } = options;
  const top = niceMax(points.map(({ value }) => value));
  const picture = frame(points, options, top);
  const slot = (width - BOX.left - BOX.right) / points.length;
  const x = (index) => BOX.left + slot * (index + 0.5);
  const barWidth = Math.min(44, slot * 0.6);
  points.forEach((point, index) => {
    const height = (INNER_HEIGHT * point.value) / top;
    const bar = { x: x(index) - barWidth / 2, y: BOX.top + INNER_HEIGHT - height, width: barWidth, height, rx: 5, class: "bar" };
    picture.append(svg("rect", bar, tip(point, format)));
  });
  picture.append(...labels(points, slot, x));
  return [picture, dataTable(points, format)];
}

export function donutChart(points, { format }) {
  const radius = 70;
  const length = 2 * Math.PI * radius;
  const picture = svg("svg", { viewBox: "0 0 200 200", role: "img", class: "donut", "aria-label": summary(points, format) });
  let offset = 0;
  points.forEach((point, index) => {
    const arc = { cx: 100, cy: 100, r: radius, class: `arc series-${index}`, "stroke-dasharray": `${point.value * length - 4} ${length}` };
    picture.append(svg("circle", { ...arc, transform: `rotate(${offset * 360 - 90} 100 100)` }, tip(point, format)));
    offset += point.value;
  });
  const rows = points.map((point, index) => {
    const mark = html("span", { className: `mark series-${index}`, ariaHidden: "true" });
    return html("li", {}, mark, html("span", { textContent: point.label }), html("strong", { textContent: format(point.value) }));
  });
  return [picture, html("ul", { className: "legend" }, ...rows)];
}
