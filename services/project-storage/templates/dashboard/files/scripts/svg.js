// Small helpers for SVG and HTML nodes.
const NAMESPACE = "http://www.w3.org/2000/svg";

export function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export function html(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

// A round number above the greatest value, for the top of an axis.
export function niceMax(values) {
  const greatest = Math.max(1, ...values);
  const unit = 10 ** Math.floor(Math.log10(greatest));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * unit).find((top) => top >= greatest);
}

// The same values as a table, for everybody who cannot or does not want to read the picture.
export function dataTable(points, format) {
  const rows = points.map(({ label, value }) => html("tr", {}, html("th", { scope: "row", textContent: label }), html("td", { textContent: format(value) })));
  return html("details", {}, html("summary", { textContent: "Show as a table" }), html("table", {}, html("tbody", {}, ...rows)));
}
