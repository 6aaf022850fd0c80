import { orders } from "./orders.js";
import { columns, paginate, select, toCsv } from "./view.js";

const money = new Intl.NumberFormat("en", { style: "currency", currency: "%%currency%%" });
const day = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeZone: "UTC" });
const formats = { amount: (value) => money.format(value), date: (value) => day.format(new Date(value)) };
const state = { query: "", status: "", sort: "date", descending: true, page: 1, size: 10 };
const element = (id) => document.getElementById(id);
const make = (name, properties = {}) => Object.assign(document.createElement(name), properties);

function makeHeader({ key, label, numeric }) {
  const header = make("th", { scope: "col", className: numeric ? "numeric" : "" });
  const button = make("button", { type: "button", textContent: label });
  button.addEventListener("click", () => update({ sort: key, descending: state.sort === key && !state.descending }));
  header.append(button);
  header.dataset.key = key;
  return header;
}

function makeRow(row) {
  const line = make("tr");
  for (const { key, numeric } of columns) {
    const text = formats[key]?.(row[key]) ?? row[key];
    const cell = make(key === "number" ? "th" : "td", { className: numeric ? "numeric" : "" });
    if (key === "number") cell.scope = "row";
    if (key === "status") cell.append(make("span", { className: `badge ${text.toLowerCase()}`, textContent: text }));
    else cell.textContent = text;
    line.append(cell);
  }
  return line;
}

function show() {
  const selected = select(orders, state);
  const { rows, page, pages } = paginate(selected, state.page, state.size);
  state.page = page;
  element("rows").replaceChildren(...rows.map(makeRow));
  for (const header of element("columns").children) {
    const sorted = header.dataset.key === state.sort;
    header.ariaSort = sorted ? (state.descending ? "descending" : "ascending") : null;
  }
  element("count").textContent = `${selected.length} of ${orders.length} orders`;
  element("empty").hidden = selected.length > 0;
  element("page").textContent = `Page ${page} of ${pages}`;
  element("previous").disabled = page === 1;
  element("next").disabled = page === pages;
}

// Every change except that of the page begins on the first page.
function update(change) {
  Object.assign(state, { page: 1 }, change);
  show();
}

function download() {
  const address = URL.createObjectURL(new Blob([toCsv(select(orders, state))], { type: "text/csv" }));
  make("a", { href: address, download: "orders.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address));
}

element("columns").append(...columns.map(makeHeader));
element("filters").addEventListener("submit", (event) => event.preventDefault());
element("query").addEventListener("input", ({ target }) => update({ query: target.value }));
element("status").addEventListener("change", ({ target }) => update({ status: target.value }));
element("size").addEventListener("change", ({ target }) => update({ size: Number(target.value) }));
element("previous").addEventListener("click", () => update({ page: state.page - 1 }));
element("next").addEventListener("click", () => update({ page: state.page + 1 }));
element("export").addEventListener("click", download);
show();
