import { channels, months, products } from "./data.js";
import { barChart, donutChart, lineChart } from "./charts.js";
import { html } from "./svg.js";

const money = new Intl.NumberFormat("en", { style: "currency", currency: "%%currency%%", maximumFractionDigits: 0 });
const shortMoney = new Intl.NumberFormat("en", { style: "currency", currency: "%%currency%%", notation: "compact" });
const number = new Intl.NumberFormat("en");
const percent = new Intl.NumberFormat("en", { style: "percent" });
const element = (id) => document.getElementById(id);
const sum = (rows, key) => rows.reduce((total, row) => total + row[key], 0);
const buttons = document.querySelectorAll("[data-months]");
let shown = 12;
let drawnWidth = 0;

// The growth from the first to the last month of the period.
const growth = (rows, key) => rows.at(-1)[key] / rows[0][key] - 1;

function makeFigure([name, value, change]) {
  const direction = change >= 0 ? "up" : "down";
  const text = `${change >= 0 ? "+" : ""}${percent.format(change)} in the period`;
  return html("li", {}, html("span", { textContent: name }), html("strong", { textContent: value }), html("span", { className: direction, textContent: text }));
}

function makeProduct({ name, share }, orders) {
  const meter = html("span", { className: "meter", ariaHidden: "true" });
  meter.style.setProperty("--share", share / products[0].share);
  return html("li", {}, html("span", { textContent: name }), html("strong", { textContent: number.format(Math.round(orders * share)) }), meter);
}

function drawCharts(rows) {
  const points = (key) => rows.map((row) => ({ label: row.name, value: row[key] }));
  const width = element("revenue").clientWidth;
  const formats = (format, tickFormat = format) => ({ format: (value) => format.format(value), tickFormat: (value) => tickFormat.format(value), width });
  element("revenue").replaceChildren(...lineChart(points("revenue"), formats(money, shortMoney)));
  element("orders").replaceChildren(...barChart(points("orders"), formats(number)));
  const shares = channels.map(({ name, share }) => ({ label: name, value: share }));
  element("channels").replaceChildren(...donutChart(shares, formats(percent)));
}

function show(count) {
  shown = count;
  const rows = months.slice(-count);
  const revenue = sum(rows, "revenue");
  const orders = sum(rows, "orders");
  const value = (row) => ({ value: row.revenue / row.orders });
  const figures = [
    ["Revenue", money.format(revenue), growth(rows, "revenue")],
    ["Orders", number.format(orders), growth(rows, "orders")],
    ["Average order", money.format(revenue / orders), growth(rows.map(value), "value")],
  ];
  element("figures").replaceChildren(...figures.map(makeFigure));
  drawCharts(rows);
  element("products").replaceChildren(...products.map((product) => makeProduct(product, orders)));
  for (const button of buttons) button.setAttribute("aria-pressed", String(Number(button.dataset.months) === count));
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    show(Number(button.dataset.months));
    element("status").textContent = `The last ${button.textContent} are shown.`;
  });
}
show(shown);

// The charts are drawn again if their width changes.
new ResizeObserver(([{ contentRect }]) => {
  if (drawnWidth && contentRect.width !== drawnWidth) drawCharts(months.slice(-shown));
  drawnWidth = contentRect.width;
}).observe(element("revenue"));
